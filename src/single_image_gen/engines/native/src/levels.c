/* Reduced copies of a source, each smaller than the one before by the square root of 2.
 *
 * A strong reduction begins from such a level, so that what an image costs does not grow with its
 * crop. Level k has the source's sides divided by 2^(k/2), rounded; it is made of level k - 2 (of
 * the source, if there is none) by the bicubic filter. That filter's second moment is 0, and so is
 * that of several one after another: a level is as sharp as a single bicubic reduction, up to
 * moments of fourth order.
 *
 * Levels above SIG_LEVEL_BYTES are never created; the source is used instead. So whether a level is
 * used depends on the source's size alone, and the bytes never depend on which levels are cached.
 */
#include "levels.h"

#include "resize.h"

double level_factor(int k) {
    const double whole = (double)((int64_t)1 << k / 2);
    return k % 2 ? whole * 1.41421356237309505 : whole;
}

static int32_t reduced(int32_t side, int k) {
    const int32_t whole = (int32_t)(side / level_factor(k) + 0.5);
    return whole < 1 ? 1 : whole;
}

static int exists(const sig_level *source, int k) {
    return 3 * (int64_t)reduced(source->width, k) * reduced(source->height, k) <= SIG_LEVEL_BYTES;
}

int choose_level(const sig_level *source, double scale, double left) {
    int k = 0;
    while (k + 1 < SIG_MAX_LEVELS && level_factor(k + 1) * left <= scale) k++;
    return exists(source, k) ? k : 0;
}

int32_t check_level(const sig_level *levels, int k) {
    if (!levels[k].pixels) return k;
    const int fits = levels[k].width == reduced(levels->width, k) &&
                     levels[k].height == reduced(levels->height, k);
    return fits ? SIG_OK : SIG_BAD_SOURCE;
}

int32_t sig_level_size(const sig_level *source, int32_t k, int32_t *width, int32_t *height,
                       int32_t *parent) {
    if (!source || !width || !height || !parent || source->width < 1 || source->height < 1 ||
        source->width > SIG_MAX_SOURCE || source->height > SIG_MAX_SOURCE)
        return SIG_BAD_SOURCE;
    if (k < 1 || k >= SIG_MAX_LEVELS || !exists(source, k)) return SIG_BAD_JOB;
    *width = reduced(source->width, k);
    *height = reduced(source->height, k);
    *parent = k > 2 && exists(source, k - 2) ? k - 2 : 0;
    return SIG_OK;
}

static int is_level(const sig_level *level) {
    return level && level->pixels && level->width >= 1 && level->height >= 1 &&
           level->width <= SIG_MAX_SOURCE && level->height <= SIG_MAX_SOURCE;
}

int32_t sig_make_level(const sig_level *from, const sig_level *to, sig_workspace *workspace) {
    if (!workspace || !is_level(from) || !is_level(to) || to->width > from->width ||
        to->height > from->height)
        return SIG_BAD_SOURCE;
    const axis columns = axis_of_pillow(0, from->width, from->width, to->width, SIG_BICUBIC);
    const axis rows = axis_of_pillow(0, from->height, from->height, to->height, SIG_BICUBIC);
    const size_t line_bytes = 3 * (size_t)from->width;
    layout parts = {0};
    const size_t plan_at = layout_add(&parts, resize_bytes(&columns, &rows));
    const size_t line_at = layout_add(&parts, line_bytes + 4 * (size_t)max_taps(&columns) + 64);
    const size_t output_at = layout_add(&parts, 4 * (size_t)to->width + 32);
    u8 *memory = workspace_memory(workspace, &parts);
    if (!memory) return SIG_NO_MEMORY;

    const kernels *steps = workspace->steps;
    const resize plan = resize_in(memory + plan_at, &columns, &rows);
    resize_prepare(&plan, 0, to->width, 0, to->height);
    u8 *line = memory + line_at, *output = memory + output_at;
    u8 *target = (u8 *)to->pixels; /* what the caller wants to have written */
    for (int y = 0; y < to->height; y++) {
        const u8 *first = from->pixels + plan.row_taps.first[y] * (int64_t)line_bytes;
        sum_rows_of(steps, &plan, y, first, (int64_t)line_bytes, (int)line_bytes, 0, line);
        sum_columns_of(steps, &plan, line, 3, 0, to->width, output);
        steps->pack((const uint32_t *)output, to->width, 0, 0, target + 3 * (int64_t)to->width * y);
    }
    workspace_trim(workspace);
    return SIG_OK;
}
