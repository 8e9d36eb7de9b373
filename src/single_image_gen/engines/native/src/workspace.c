/* Memory for the images of one thread: it grows to what the largest image needs, and stays. */
#include "workspace.h"

#include <stdlib.h>

#include "dispatch.h"

#if defined(__SANITIZE_ADDRESS__)
#define CHECKED
#include <sanitizer/asan_interface.h>
#endif

enum { ALIGNMENT = 64 };         /* a cache line, and enough for every vector */
#if defined(CHECKED)
enum { GAP = 256 }; /* between parts, so that a step that leaves its own is found */
#else
enum { GAP = 0 };
#endif
enum { KEPT_BYTES = 32 << 20 };  /* images of 1,024 pixels need 16 MiB */

static size_t align(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

size_t layout_add(layout *of, size_t bytes) {
    const size_t offset = of->total;
    of->ends[of->parts++] = offset + bytes;
    of->total = align(offset + bytes) + GAP;
    return offset;
}

#if defined(CHECKED)
/* Have AddressSanitizer watch what lies between the parts. */
static void watch_gaps(const sig_workspace *workspace, const layout *parts) {
    ASAN_UNPOISON_MEMORY_REGION(workspace->memory, workspace->size);
    for (int k = 0; k < parts->parts; k++) {
        const size_t begin = parts->ends[k];
        const size_t end = begin + GAP < workspace->size ? begin + GAP : workspace->size;
        ASAN_POISON_MEMORY_REGION(workspace->memory + begin, end - begin);
    }
}
#else
static void watch_gaps(const sig_workspace *workspace, const layout *parts) {
    (void)workspace, (void)parts;
}
#endif

static void release(sig_workspace *workspace) {
    const layout none = {0};
    watch_gaps(workspace, &none);
    free(workspace->memory);
    workspace->memory = NULL;
    workspace->size = 0;
}

sig_workspace *sig_workspace_new(int32_t portable) {
    sig_workspace *workspace = calloc(1, sizeof *workspace);
    if (workspace) workspace->steps = choose_kernels(portable);
    return workspace;
}

void sig_workspace_free(sig_workspace *workspace) {
    if (!workspace) return;
    release(workspace);
    free(workspace);
}

const char *sig_workspace_target(const sig_workspace *workspace) {
    return workspace->steps->target;
}

u8 *workspace_memory(sig_workspace *workspace, const layout *parts) {
    if (parts->total > workspace->size) {
        release(workspace);
        void *memory;
        if (posix_memalign(&memory, ALIGNMENT, parts->total)) return NULL;
        workspace->memory = memory;
        workspace->size = parts->total;
    }
    watch_gaps(workspace, parts);
    return workspace->memory;
}

void workspace_trim(sig_workspace *workspace) {
    if (workspace->size > KEPT_BYTES) release(workspace);
}
