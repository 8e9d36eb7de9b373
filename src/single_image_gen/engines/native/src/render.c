/* The entry: what comes from outside is checked here, once, and the steps below rely on it. */
#include "native.h"
#include "output.h"
#include "recipes.h"

int32_t sig_kernel_version(void) { return SIG_KERNEL_VERSION; }

int32_t sig_interface(void) { return SIG_INTERFACE * 10000 + (int32_t)sizeof(sig_job); }

static int within(double value, double low, double high) { /* not a number is not within */
    return value >= low && value <= high;
}

static int is_flag(int32_t value) { return value == 0 || value == 1; }

static int is_box(const sig_box *box, int32_t largest) {
    return box->width >= 1 && box->height >= 1 && box->width <= largest && box->height <= largest &&
           within(box->left, -largest, largest) && within(box->top, -largest, largest);
}

static int holds(const sig_level *source, const sig_box *box) {
    return box->left >= 0 && box->top >= 0 && (int64_t)box->left + box->width <= source->width &&
           (int64_t)box->top + box->height <= source->height;
}

/* A turned or sheared region has its own area, and a crop lies inside it. */
static int is_turned_crop(const sig_box *crop, const sig_box *region) {
    const int64_t area = (int64_t)region->width * region->height;
    return (int64_t)crop->width * crop->height <= area;
}

static int is_jitter(const sig_job *job) {
    int seen = 0;
    for (int k = 0; k < 4; k++) {
        if (job->order[k] < 0 || job->order[k] > 3) return 0;
        seen |= 1 << job->order[k];
    }
    for (int k = 0; k < 3; k++)
        if (!within(job->factor[k], 0, 10000)) return 0;
    return seen == 15 && within(job->hue, -0.5, 0.5);
}

static int is_source(const sig_level *levels) {
    return levels && levels->pixels && levels->width >= 1 && levels->height >= 1 &&
           levels->width <= SIG_MAX_SOURCE && levels->height <= SIG_MAX_SOURCE;
}

static int is_job(const sig_job *job, const sig_level *source) {
    return (job->recipe == SIG_SCRIPT || job->recipe == SIG_PAPER) && job->side >= 1 &&
           job->side <= SIG_MAX_SIDE && job->filter >= SIG_BICUBIC && job->filter <= SIG_LANCZOS &&
           is_flag(job->hflip) && is_flag(job->vflip) && is_flag(job->jitter) &&
           is_flag(job->bgr) && within(job->angle, -360, 360) && job->shear > -90 &&
           job->shear < 90 && is_box(&job->region, SIG_MAX_SOURCE) &&
           is_box(&job->crop, SIG_MAX_SOURCE) && holds(source, &job->region) &&
           (job->recipe == SIG_SCRIPT ? holds(source, &job->crop)
                                      : is_turned_crop(&job->crop, &job->region)) &&
           (!job->jitter || is_jitter(job));
}

int32_t sig_render(const sig_job *job, const sig_level *levels, sig_workspace *workspace,
                   uint8_t *out) {
    if (!is_source(levels)) return SIG_BAD_SOURCE;
    if (!job || !workspace || !out || !is_job(job, levels)) return SIG_BAD_JOB;
    const int32_t result = job->recipe == SIG_SCRIPT ? render_script(job, levels, workspace, out)
                                                     : render_paper(job, levels, workspace, out);
    workspace_trim(workspace);
    return result;
}

int32_t sig_adjust(uint32_t *pixels, int32_t n, int32_t operation, double value, int32_t gray,
                   sig_workspace *workspace) {
    if (!pixels || n < 0 || n % 16 || operation < SIG_BRIGHTNESS || operation > SIG_HUE ||
        gray < 0 || gray > 255 || !workspace)
        return SIG_BAD_JOB;
    if (operation == SIG_HUE ? !within(value, -0.5, 0.5) : !within(value, 0, 10000))
        return SIG_BAD_JOB;
    const color_step step = color_step_of(operation, value, gray);
    workspace->steps->adjust(pixels, n, &step, 1);
    return SIG_OK;
}
