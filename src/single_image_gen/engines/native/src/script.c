/* The script recipe: resize the crop to a canvas of int(sqrt(2) side) pixels, turn and shear it
 * with black outside, cut out the center.
 *
 * Only what the output square samples of the canvas is computed: for each canvas row the columns
 * between the square's edges, half of the canvas in the mean. A strong reduction starts from a
 * level (levels.c).
 */
#include "angles.h"
#include "levels.h"
#include "output.h"
#include "recipes.h"
#include "resize.h"
#include "warp.h"

/* What a level leaves to reduce at least, see levels.c. Of the smallest images every pixel counts:
   there a level's pixels across the crop's edges show, and more costs nothing. */
static double left_to_reduce(int side) { return side > 16 ? 2.0 : 8.0; }

/* Rows of the source that are fetched ahead: those that the next canvas row begins with. */
enum { PREFETCH_ROWS = 2 };

typedef struct {
    int32_t begin, end;
} span;

/* Output pixel (u, v) to the canvas, whose first pixel's middle is at (1/2, 1/2): about the middle
   of both, of which the square's is rounded to whole canvas pixels. */
static void canvas_matrix(const sig_job *job, int canvas, double matrix[6]) {
    double linear[4];
    inverse_matrix(job->angle, job->shear, linear);
    const int twice = canvas - job->side;
    /* torchvision's center_crop: round(twice / 2), half to even */
    const int offset = twice / 2 + (twice % 2 && twice / 2 % 2);
    const double middle = canvas / 2.0, first = offset + 0.5 - middle;
    for (int i = 0; i < 2; i++) {
        matrix[3 * i] = linear[2 * i];
        matrix[3 * i + 1] = linear[2 * i + 1];
        matrix[3 * i + 2] = middle + (linear[2 * i] + linear[2 * i + 1]) * first;
    }
}

/* The extent in x of an edge of the square, from (ax, ay) to (bx, by), within low <= y <= high. */
static void widen_by_edge(double ax, double ay, double bx, double by, double low, double high,
                          double *left, double *right) {
    if (ay > by) {
        widen_by_edge(bx, by, ax, ay, low, high, left, right);
        return;
    }
    if (by < low || ay > high) return;
    const double slope = by > ay ? (bx - ax) / (by - ay) : 0;
    const double upper = ay < low ? ax + slope * (low - ay) : ax;
    const double lower = by > high ? bx - slope * (by - high) : bx;
    *left = upper < *left ? upper : *left;
    *left = lower < *left ? lower : *left;
    *right = upper > *right ? upper : *right;
    *right = lower > *right ? lower : *right;
}

static int floor_within(double value, int low, int high) {
    if (!(value > low)) return low;
    if (value >= high) return high;
    return (int)value; /* 0 <= low < value */
}

/* The canvas rows [*top, *bottom) that the square samples, and in each the columns.
 *
 * A sample at (x, y), in pixels between middles, takes the rows floor(y) and floor(y) + 1; the first
 * and the last row also stand for what lies beyond them. A row r is thus touched by the part of the
 * square with r - 1 < y < r + 1, to which a hundredth is added: more than the 2^-11 by which
 * warp.c may be off. Likewise in x. */
static void find_spans(const double m[6], int side, int canvas, span *spans, int *top,
                       int *bottom) {
    const double margin = 0.01, far = 1e12;
    double x[4], y[4], lowest = far, highest = -far;
    for (int corner = 0; corner < 4; corner++) { /* around the square */
        const double u = corner == 1 || corner == 2 ? side - 1 : 0, v = corner >= 2 ? side - 1 : 0;
        x[corner] = m[0] * u + m[1] * v + m[2] - 0.5;
        y[corner] = m[3] * u + m[4] * v + m[5] - 0.5;
        lowest = y[corner] < lowest ? y[corner] : lowest;
        highest = y[corner] > highest ? y[corner] : highest;
    }
    *top = floor_within(lowest - margin, 0, canvas - 1);
    *bottom = floor_within(highest + margin, 0, canvas - 2 > 0 ? canvas - 2 : 0) + 2;
    if (*bottom > canvas) *bottom = canvas;
    for (int r = *top; r < *bottom; r++) {
        const double low = r == 0 ? -far : r - 1 - margin;
        const double high = r == canvas - 1 ? far : r + 1 + margin;
        double left = far, right = -far;
        for (int k = 0; k < 4; k++)
            widen_by_edge(x[k], y[k], x[(k + 1) % 4], y[(k + 1) % 4], low, high, &left, &right);
        spans[r].begin = spans[r].end = 0;
        if (left > right) continue;
        spans[r].begin = floor_within(left - margin, 0, canvas - 1);
        spans[r].end = floor_within(right + margin, 0, canvas - 1) + 2;
        if (spans[r].end > canvas) spans[r].end = canvas;
    }
}

/* The smallest span that holds all. */
static span hull(const span *spans, int top, int bottom, int canvas) {
    span whole = {canvas, 0};
    for (int r = top; r < bottom; r++) {
        if (spans[r].begin == spans[r].end) continue;
        if (spans[r].begin < whole.begin) whole.begin = spans[r].begin;
        if (spans[r].end > whole.end) whole.end = spans[r].end;
    }
    return whole;
}

/* A crop along one axis of a level: the pixels that it touches, and the part of them it covers. */
typedef struct {
    int first;
    axis along;
} cropped;

static cropped crop_axis(int begin, int length, int whole, int level_pixels, int canvas,
                         int filter) {
    const double reduced = (double)whole / level_pixels; /* exactly 1 on the source itself */
    const double start = begin / reduced, stop = (begin + length) / reduced;
    const int first = (int)start;
    int end = (int)stop;
    if (end < stop) end++;
    if (end > level_pixels) end = level_pixels;
    const cropped crop = {
        first, axis_of_pillow(start - first, stop - start, end - first, canvas, filter)};
    return crop;
}

/* The spans of the canvas, each row from the rows of the level's crop. */
static void resize_spans(const kernels *steps, const resize *plan, const u8 *crop, int64_t stride,
                         const span *spans, int top, int bottom, u8 *line, u8 *canvas,
                         int64_t canvas_stride) {
    const taps *columns = &plan->column_taps;
    for (int r = top; r < bottom; r++) {
        const int begin = spans[r].begin, end = spans[r].end;
        if (begin == end) continue;
        const int64_t first = columns->first[begin];
        const int64_t stop = columns->first[end - 1] + columns->count[end - 1];
        const u8 *from = crop + plan->row_taps.first[r] * stride + 3 * first;
        /* what `line` holds begins at column `first` */
        sum_rows_of(steps, plan, r, from, stride, (int)(3 * (stop - first)), PREFETCH_ROWS, line);
        sum_columns_of(steps, plan, line - 3 * first, 3, begin, end, canvas + r * canvas_stride);
    }
}

static void warp_rows(const sampler *canvas, output *image, int side) {
    for (int v = 0; v < side; v++) {
        int begin = 0, end = side;
        clip_row(canvas, v, &begin, &end);
        uint32_t *row = output_row(image, v);
        sample_row(canvas, v, begin, end, row);
        memset(row, 0, sizeof *row * (size_t)begin);
        memset(row + end, 0, sizeof *row * (size_t)(side - end));
        output_row_done(image, v);
    }
}

int32_t render_script(const sig_job *job, const sig_level *levels, sig_workspace *workspace,
                      uint8_t *out) {
    const int side = job->side, canvas = (int)(1.4142135623730951 * side);
    const sig_box *box = &job->crop;
    const int shorter = box->width < box->height ? box->width : box->height;
    const int k = choose_level(levels, (double)shorter / canvas, left_to_reduce(side));
    const sig_level *level = levels + k;
    const int32_t problem = check_level(levels, k);
    if (problem) return problem;

    double matrix[6];
    canvas_matrix(job, canvas, matrix);
    const cropped x =
        crop_axis(box->left, box->width, levels->width, level->width, canvas, job->filter);
    const cropped y =
        crop_axis(box->top, box->height, levels->height, level->height, canvas, job->filter);

    const int64_t canvas_stride = 4 * ((int64_t)canvas + 8);
    layout parts = {0};
    const size_t plan_at = layout_add(&parts, resize_bytes(&x.along, &y.along));
    const size_t line_at = layout_add(
        &parts, 3 * (size_t)x.along.pixels + 4 * (size_t)max_taps(&x.along) + 64);
    const size_t spans_at = layout_add(&parts, sizeof(span) * (size_t)canvas);
    const size_t canvas_at = layout_add(&parts, (size_t)canvas_stride * (size_t)canvas);
    const size_t output_at = layout_add(&parts, output_bytes(job));
    u8 *memory = workspace_memory(workspace, &parts);
    if (!memory) return SIG_NO_MEMORY;

    sampler turned;
    const plane drawn = {memory + canvas_at, canvas_stride, canvas, canvas, 4};
    if (!sampler_of(workspace->steps, &drawn, matrix, side, side, &turned)) return SIG_BAD_JOB;
    span *spans = (span *)(memory + spans_at);
    int top, bottom;
    find_spans(matrix, side, canvas, spans, &top, &bottom);
    const resize plan = resize_in(memory + plan_at, &x.along, &y.along);
    const span columns = hull(spans, top, bottom, canvas);
    if (columns.begin < columns.end)
        resize_prepare(&plan, columns.begin, columns.end, top, bottom);
    const int64_t stride = 3 * (int64_t)level->width;
    const u8 *crop = level->pixels + y.first * stride + 3 * (int64_t)x.first;
    resize_spans(workspace->steps, &plan, crop, stride, spans, top, bottom, memory + line_at,
                 memory + canvas_at, canvas_stride);

    output image = output_in(memory + output_at, job, workspace->steps, out);
    warp_rows(&turned, &image, side);
    output_finish(&image);
    return SIG_OK;
}
