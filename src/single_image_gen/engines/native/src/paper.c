/* The paper recipe: turn the source bilinearly, crop, reduce to side x side pixels.
 *
 * The crop of the turned source is sampled straight from the source or from a level of it
 * (levels.c), with steps of one pixel of that, and the samples are reduced with a filter that is
 * narrower for the blur which they have already.
 *
 * How much narrower: the reference samples bilinearly at every source pixel, then applies a triangle
 * of half-width s source pixels (s the scale). A triangle's variance is its half-width squared over 6,
 * so that is (1 + s^2) / 6. Sampling a level with pixels of B source pixels has B^2 / 6 (the level
 * itself has 0, see levels.c), which leaves a triangle of half-width
 *
 *     t = sqrt(1 + s^2 - B^2).
 *
 * Variances match, higher moments do not: the more is left to reduce beyond B, the closer.
 */
#include "angles.h"
#include "levels.h"
#include "output.h"
#include "recipes.h"
#include "resize.h"
#include "warp.h"

/* What a level leaves to reduce at least. A small image shows more of what is left out, and costs
   less; cubic and Lanczos filters have no variance that could be narrowed. */
static double left_to_reduce(const sig_job *job) {
    if (job->side <= 16) return 8.0;
    if (job->filter != SIG_BILINEAR) return 3.4;
    return job->side > 64 ? 1.7 : 2.5;
}

enum { TILE_COLUMNS = 64, TILE_ROWS = 16 };

/* Samples along an axis of n turned source pixels, and the filter over them. `factor`: source pixels
   to a pixel of the level. */
static axis sample_axis(int n, double factor, const sig_job *job) {
    const double scale = (double)n / job->side, count = n / factor;
    int samples = (int)count;
    if (samples < count) samples++;
    axis along = axis_of_pillow(0, samples, samples, job->side, job->filter);
    const double width = __builtin_sqrt(1 + scale * scale - factor * factor) * samples / n;
    if (width > 1) along.width = width;
    return along;
}

/* Sample (i, j) of the turned crop to the level, in whose pixels a middle is at 1/2. Sample 0 is half
   a step inside the crop's edge; angles are about the region's middle. */
static void sample_matrix(const sig_job *job, const axis *columns, const axis *rows,
                          double factor_x, double factor_y, double matrix[6]) {
    const sig_box *crop = &job->crop, *region = &job->region;
    const double step_x = (double)crop->width / columns->pixels;
    const double step_y = (double)crop->height / rows->pixels;
    const double middle_x = region->left + region->width / 2.0;
    const double middle_y = region->top + region->height / 2.0;
    const double x = crop->left + step_x / 2 - middle_x, y = crop->top + step_y / 2 - middle_y;
    double linear[4];
    inverse_matrix(job->angle, job->shear, linear);
    matrix[0] = linear[0] * step_x / factor_x;
    matrix[1] = linear[1] * step_y / factor_x;
    matrix[2] = (middle_x + linear[0] * x + linear[1] * y) / factor_x;
    matrix[3] = linear[2] * step_x / factor_y;
    matrix[4] = linear[3] * step_y / factor_y;
    matrix[5] = (middle_y + linear[2] * x + linear[3] * y) / factor_y;
}

/* Rows of samples, a window of them that moves downward. */
typedef struct {
    const sampler *turned;
    u8 *pixels;
    int64_t stride;
    int columns, rows;      /* samples in all */
    int begin, end, height; /* of the window, and its height at most */
} window;

/* Sample the rows up to `stop` (and some more) and drop those before `first`. */
static void window_move(window *rows, int first, int stop) {
    if (stop <= rows->end) return;
    if (first > rows->begin) {
        if (rows->end > first)
            memmove(rows->pixels, rows->pixels + (first - rows->begin) * rows->stride,
                    (size_t)((rows->end - first) * rows->stride));
        else
            rows->end = first;
        rows->begin = first;
    }
    int end = rows->end + TILE_ROWS > stop ? rows->end + TILE_ROWS : stop;
    if (end > rows->begin + rows->height) end = rows->begin + rows->height;
    if (end > rows->rows) end = rows->rows;
    /* in tiles, since a row of a turned crop crosses many rows of the level */
    for (int left = 0; left < rows->columns; left += TILE_COLUMNS) {
        const int right = left + TILE_COLUMNS < rows->columns ? left + TILE_COLUMNS : rows->columns;
        for (int j = rows->end; j < end; j++) {
            u8 *line = rows->pixels + (j - rows->begin) * rows->stride;
            sample_row(rows->turned, j, left, right, (uint32_t *)line);
        }
    }
    rows->end = end;
}

static void reduce_rows(window *rows, const resize *plan, u8 *line, output *image, int side) {
    for (int v = 0; v < side; v++) {
        const int first = plan->row_taps.first[v];
        window_move(rows, first, first + plan->row_taps.count[v]);
        const u8 *from = rows->pixels + (first - rows->begin) * rows->stride;
        sum_rows_of(image->steps, plan, v, from, rows->stride, 4 * rows->columns, 0, line);
        sum_columns_of(image->steps, plan, line, 4, 0, side, (u8 *)output_row(image, v));
        output_row_done(image, v);
    }
}

/* Where the samples of the next tile below are, from those of this one. */
static int64_t next_tile(const affine *map, int64_t stride) {
    const int64_t across = (map->b * TILE_ROWS) >> 32, down = (map->d * TILE_ROWS) >> 32;
    return down * stride + 3 * across;
}

int32_t render_paper(const sig_job *job, const sig_level *levels, sig_workspace *workspace,
                     uint8_t *out) {
    const sig_box *crop = &job->crop;
    const int shorter = crop->width < crop->height ? crop->width : crop->height;
    const int k = choose_level(levels, (double)shorter / job->side, left_to_reduce(job));
    const sig_level *level = levels + k;
    const int32_t problem = check_level(levels, k);
    if (problem) return problem;

    const double factor_x = (double)levels->width / level->width;
    const double factor_y = (double)levels->height / level->height;
    const axis columns = sample_axis(crop->width, factor_x, job);
    const axis rows = sample_axis(crop->height, factor_y, job);
    double matrix[6];
    sampler turned;
    const plane from = {level->pixels, 3 * (int64_t)level->width, level->width, level->height, 3};
    sample_matrix(job, &columns, &rows, factor_x, factor_y, matrix);
    if (!sampler_of(workspace->steps, &from, matrix, columns.pixels, rows.pixels, &turned))
        return SIG_BAD_JOB;
    turned.prefetch = next_tile(&turned.map, from.stride);

    const int64_t stride = 4 * ((int64_t)columns.pixels + 8);
    const int height = max_taps(&rows) + TILE_ROWS;
    layout parts = {0};
    const size_t plan_at = layout_add(&parts, resize_bytes(&columns, &rows));
    const size_t window_at = layout_add(&parts, (size_t)stride * (size_t)height);
    const size_t line_at = layout_add(&parts, (size_t)stride + 4 * (size_t)max_taps(&columns) + 64);
    const size_t output_at = layout_add(&parts, output_bytes(job));
    u8 *memory = workspace_memory(workspace, &parts);
    if (!memory) return SIG_NO_MEMORY;

    const resize plan = resize_in(memory + plan_at, &columns, &rows);
    resize_prepare(&plan, 0, job->side, 0, job->side);
    window samples = {
        .turned = &turned,
        .pixels = memory + window_at,
        .stride = stride,
        .columns = columns.pixels,
        .rows = rows.pixels,
        .height = height,
    };
    output image = output_in(memory + output_at, job, workspace->steps, out);
    reduce_rows(&samples, &plan, memory + line_at, &image, job->side);
    output_finish(&image);
    return SIG_OK;
}
