/* From a recipe's rows to the image: color jitter, flips, three bytes a pixel.
 *
 * Contrast blends with the image's mean luma, which is known when every row has undergone the
 * operations before it. So each row undergoes those while it is in the cache, and the sum is taken;
 * contrast and what comes after it wait for the last row.
 */
#include "output.h"

enum { SPARE = 16 }; /* color operations go on to a multiple of 16 pixels */

static int pitch_of(const sig_job *job) { return (job->side + SPARE - 1) / SPARE * SPARE + SPARE; }

size_t output_bytes(const sig_job *job) {
    const size_t rows = job->jitter ? (size_t)job->side : 1;
    return rows * (size_t)pitch_of(job) * sizeof(uint32_t);
}

output output_in(u8 *memory, const sig_job *job, const kernels *steps, u8 *bytes) {
    const output image = {
        .job = job,
        .steps = steps,
        .bytes = bytes,
        .rows = (uint32_t *)memory,
        .pitch = pitch_of(job),
    };
    return image;
}

uint32_t *output_row(const output *image, int v) {
    return image->rows + (image->job->jitter ? (int64_t)image->pitch * v : 0);
}

color_step color_step_of(int operation, double value, int gray) {
    const int hue = operation == SIG_HUE;
    const color_step step = {
        .operation = operation,
        .factor = hue ? 0 : (float)value,
        .level = hue ? (int)(value * 255) & 255 : gray, /* as torchvision: cut off, modulo 256 */
    };
    return step;
}

/* The operations of the job's order from number `begin` up to `end`. */
static void adjust_row(const output *image, uint32_t *row, int begin, int end, int gray) {
    const sig_job *job = image->job;
    color_step steps[4];
    for (int k = begin; k < end; k++) {
        const int operation = job->order[k];
        const double value = operation == SIG_HUE ? job->hue : job->factor[operation];
        steps[k - begin] = color_step_of(operation, value, gray);
    }
    image->steps->adjust(row, (job->side + SPARE - 1) / SPARE * SPARE, steps, end - begin);
}

static int place_of_contrast(const sig_job *job) {
    int k = 0;
    while (job->order[k] != SIG_CONTRAST) k++;
    return k;
}

static void store_row(const output *image, const uint32_t *row, int v) {
    const sig_job *job = image->job;
    const int64_t line = job->vflip ? job->side - 1 - v : v;
    image->steps->pack(row, job->side, job->hflip, job->bgr, image->bytes + 3 * job->side * line);
}

void output_row_done(output *image, int v) {
    uint32_t *row = output_row(image, v);
    if (!image->job->jitter) {
        store_row(image, row, v);
        return;
    }
    const int contrast = place_of_contrast(image->job);
    if (contrast) adjust_row(image, row, 0, contrast, 0);
    image->luma += image->steps->sum_luma(row, image->job->side);
}

void output_finish(output *image) {
    const sig_job *job = image->job;
    if (!job->jitter) return;
    const double pixels = (double)job->side * job->side;
    const int mean = (int)((double)image->luma / pixels + 0.5);
    const int contrast = place_of_contrast(job);
    for (int v = 0; v < job->side; v++) {
        uint32_t *row = output_row(image, v);
        adjust_row(image, row, contrast, 4, mean);
        store_row(image, row, v);
    }
}
