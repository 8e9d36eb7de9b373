/* Renders jobs from a file without Python: to run the engine under sanitizers and emulators.
 *
 *     replay FILE [portable] > images
 *
 * FILE holds int32 width, height; width * height * 3 bytes; sig_job after sig_job. For each job an
 * int32 result is written, and the image where that is 0. The source is a block of exactly its own
 * size, and so is each level, so that a sanitizer sees every byte that is read beyond it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../src/single_image_gen/engines/native/src/native.h"

static void fail(const char *what) {
    fprintf(stderr, "replay: %s\n", what);
    exit(1);
}

static uint8_t *pixels_of(int32_t width, int32_t height) {
    uint8_t *pixels = malloc((size_t)width * (size_t)height * 3);
    if (!pixels) fail("no memory");
    return pixels;
}

static void make_level(sig_level *levels, int32_t k, sig_workspace *workspace) {
    int32_t width, height, parent;
    if (sig_level_size(levels, k, &width, &height, &parent) != SIG_OK) fail("no such level");
    if (!levels[parent].pixels) make_level(levels, parent, workspace);
    const sig_level level = {pixels_of(width, height), width, height};
    if (sig_make_level(levels + parent, &level, workspace) != SIG_OK) fail("level not made");
    levels[k] = level;
}

int main(int argc, char **argv) {
    sig_level levels[SIG_MAX_LEVELS];
    sig_job job;
    memset(levels, 0, sizeof levels);
    if (argc < 2) fail("which file?");
    FILE *file = fopen(argv[1], "rb");
    if (!file || fread(&levels->width, 4, 1, file) != 1 || fread(&levels->height, 4, 1, file) != 1)
        fail("cannot read the file");
    uint8_t *source = pixels_of(levels->width, levels->height);
    const size_t row = 3 * (size_t)levels->width;
    if (fread(source, row, (size_t)levels->height, file) != (size_t)levels->height)
        fail("the source is cut off");
    levels->pixels = source;
    sig_workspace *workspace = sig_workspace_new(argc > 2 && !strcmp(argv[2], "portable"));
    if (!workspace) fail("no memory");
    fprintf(stderr, "%s\n", sig_workspace_target(workspace));
    while (fread(&job, sizeof job, 1, file) == 1) {
        const int known = job.side > 0 && job.side <= 4096;
        const size_t bytes = known ? 3 * (size_t)job.side * (size_t)job.side : 1;
        uint8_t *out = malloc(bytes);
        if (!out) fail("no memory");
        memset(out, 0, bytes);
        /* a side out of the range goes to the library as it is, which refuses it */
        int32_t result = known || job.side < 1 || job.side > SIG_MAX_SIDE
                             ? sig_render(&job, levels, workspace, out)
                             : SIG_BAD_JOB;
        if (result > 0) {
            make_level(levels, result, workspace);
            result = sig_render(&job, levels, workspace, out);
        }
        fwrite(&result, sizeof result, 1, stdout);
        if (result == SIG_OK) fwrite(out, bytes, 1, stdout);
        free(out);
    }
    sig_workspace_free(workspace);
    for (int k = 0; k < SIG_MAX_LEVELS; k++) free((void *)levels[k].pixels);
    fclose(file);
    return 0;
}
