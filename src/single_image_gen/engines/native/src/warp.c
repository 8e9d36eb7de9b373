/* Bilinear sampling along the rows of an affine map, as Pillow's Image.transform does it.
 *
 * Pillow (libImaging/Geometry.c) samples at (x - 1/2, y - 1/2), weighs the four pixels around, and
 * cuts the result off to a whole number rather than rounding it; torchvision's `affine` fills what
 * lies outside [0, width) x [0, height) and shows the nearest pixels' mean at the edges within.
 *
 * Here points are whole multiples of 2^-32 in 64 bits, exact for every output pixel. A run of up to
 * RUN pixels starts from such a point, counted from the pixel below it, and continues in steps of
 * 2^-16 in 32 bits: off by at most RUN * 2^-17 = 2^-11 pixels. Weights have 7 bits, so that all four
 * are bytes that sum up to 128: with fractions f and g,
 *
 *     w3 = round(f g / 128), w1 = f - w3, w2 = g - w3, w0 = 128 - f - g + w3.
 */
#include "warp.h"

enum { RUN = 64 };
/* How far from its first point a run may lead, in pixels along x: it keeps 16.16 within 31 bits. */
enum { REACH = 8192 };

static int to_fixed(double value, int64_t *fixed) {
    const double limit = 536870912.0; /* 2^29 */
    if (!(value > -limit && value < limit)) return 0;
    value *= 4294967296.0;
    *fixed = (int64_t)(value < 0 ? value - 0.5 : value + 0.5);
    return 1;
}

static int affine_of(const double m[6], int columns, int rows, affine *map) {
    int64_t unused;
    for (int corner = 0; corner < 4; corner++) {
        const double u = corner % 2 ? columns - 1 : 0, v = corner / 2 ? rows - 1 : 0;
        if (!to_fixed(m[0] * u + m[1] * v + m[2], &unused)) return 0;
        if (!to_fixed(m[3] * u + m[4] * v + m[5], &unused)) return 0;
    }
    return to_fixed(m[0], &map->a) && to_fixed(m[1], &map->b) && to_fixed(m[2], &map->x) &&
           to_fixed(m[3], &map->c) && to_fixed(m[4], &map->d) && to_fixed(m[5], &map->y);
}

/* How many pixels a run with this step (2^-32) may have. */
static int run_length(int64_t step, int64_t reach) {
    const int64_t size = (step < 0 ? -step : step) + 65536;
    const int64_t most = (reach << 31) / size; /* half of the reach: it begins within the other */
    return most < 1 ? 1 : most > RUN ? RUN : (int)most;
}

int sampler_of(const kernels *steps, const plane *from, const double matrix[6], int columns,
               int rows, sampler *made) {
    made->steps = steps;
    made->from = *from;
    made->prefetch = 0;
    if (!affine_of(matrix, columns, rows, &made->map)) return 0;
    const int64_t rows_within = ((int64_t)1 << 30) / from->stride;
    made->reach_y = rows_within < REACH ? (int32_t)rows_within : REACH;
    const int by_x = run_length(made->map.a, REACH), by_y = run_length(made->map.c, made->reach_y);
    made->run_length = by_x < by_y ? by_x : by_y;
    return 1;
}

static int64_t floor_divide(int64_t a, int64_t b) {
    const int64_t quotient = a / b;
    return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

/* Narrow [begin, end) to the u with 0 <= start + step u < limit. */
static void clip_axis(int64_t start, int64_t step, int64_t limit, int *begin, int *end) {
    int64_t low = *begin, high = *end;
    if (step == 0) {
        if (start < 0 || start >= limit) high = low;
    } else {
        /* the first u at or past each bound, in the direction of the step */
        const int64_t size = step > 0 ? step : -step;
        const int64_t enter = step > 0 ? -start : start - limit + 1;
        const int64_t leave = step > 0 ? limit - start : start + 1;
        const int64_t first = floor_divide(enter + size - 1, size);
        const int64_t stop = floor_divide(leave + size - 1, size);
        if (first > low) low = first;
        if (stop < high) high = stop;
    }
    if (high < low) low = high = *begin;
    *begin = (int)low;
    *end = (int)high;
}

void clip_row(const sampler *by, int v, int *begin, int *end) {
    const affine *map = &by->map;
    clip_axis(map->x + map->b * v, map->a, (int64_t)by->from.width << 32, begin, end);
    clip_axis(map->y + map->d * v, map->c, (int64_t)by->from.height << 32, begin, end);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

/* One pixel after another, reading nothing but the four pixels around: where a vector of bytes
   could reach beyond the plane's end, or there is no second row or column. */
static void warp_carefully(const plane *from, const sample_run *run, u8 *to) {
    const int64_t right = from->width > 1 ? from->size : 0;
    const int64_t down = from->height > 1 ? run->stride : 0, across = right + down;
    for (int u = 0; u < run->count; u++, to += 4) {
        const int x = (int)clamp(run->x + u * run->dx, run->x_low, run->x_high);
        const int y = (int)clamp(run->y + u * run->dy, run->y_low, run->y_high);
        int column = x >> 16, line = y >> 16;
        if (x == run->x_high && column > run->x_low >> 16) column--;
        if (y == run->y_high && line > run->y_low >> 16) line--;
        const int f = right ? (x - column * 65536) >> 9 : 0, g = down ? (y - line * 65536) >> 9 : 0;
        const int w3 = (f * g + 64) >> 7, w1 = f - w3, w2 = g - w3, w0 = 128 - f - w2;
        const u8 *p = run->origin + line * run->stride + column * from->size;
        for (int k = 0; k < 3; k++) {
            const int above = w0 * p[k] + w1 * p[k + right];
            to[k] = (u8)((above + w2 * p[k + down] + w3 * p[k + across]) >> 7);
        }
        to[3] = 0;
    }
}

static int32_t per_pixel(int64_t step, int count) {
    return count == 1 ? 0 : (int32_t)((step + 32768) >> 16);
}

static int32_t last_point(int32_t first, int32_t step, int count) {
    return first + step * (count - 1);
}

static int is_between(int32_t a, int32_t b, int32_t low, int32_t high) {
    return a >= low && b >= low && a < high && b < high;
}

static int is_inside(const sample_run *run) {
    return is_between(run->x, last_point(run->x, run->dx, run->count), run->x_low, run->x_high) &&
           is_between(run->y, last_point(run->y, run->dy, run->count), run->y_low, run->y_high);
}

/* The largest coordinate of a run, once points beyond the edges are moved there. */
static int32_t farthest(int32_t first, int32_t last, int32_t low, int32_t high) {
    return (int32_t)clamp(first > last ? first : last, low, high);
}

/* Whether a sample's eight bytes may end beyond the plane: those of its last two pixels do. */
static int reaches_end(const sample_run *run) {
    const int32_t x = last_point(run->x, run->dx, run->count);
    const int32_t y = last_point(run->y, run->dy, run->count);
    return farthest(run->x, x, run->x_low, run->x_high) >= run->x_high - 65536 &&
           farthest(run->y, y, run->y_low, run->y_high) >= run->y_high - 65536;
}

/* The run that begins with a point in units of 2^-32, counted between middles. */
static sample_run run_from(const sampler *by, int64_t x, int64_t y, int count) {
    const plane *from = &by->from;
    const int64_t reach_y = by->reach_y;
    const int64_t column = clamp(x >> 32, 0, from->width - 1);
    const int64_t row = clamp(y >> 32, 0, from->height - 1);
    sample_run run = {
        .origin = from->pixels + row * from->stride + column * from->size,
        .stride = from->stride,
        .x = (int32_t)clamp((x - (column << 32)) >> 16, -REACH * 65536, REACH * 65536),
        .y = (int32_t)clamp((y - (row << 32)) >> 16, -reach_y * 65536, reach_y * 65536),
        .dx = per_pixel(by->map.a, by->run_length),
        .dy = per_pixel(by->map.c, by->run_length),
        .x_low = (int32_t)clamp(-column, -REACH, 0) * 65536,
        .x_high = (int32_t)clamp(from->width - 1 - column, 0, REACH) * 65536,
        .y_low = (int32_t)clamp(-row, -reach_y, 0) * 65536,
        .y_high = (int32_t)clamp(from->height - 1 - row, 0, reach_y) * 65536,
        .count = count,
        .prefetch = by->prefetch,
    };
    run.inside = is_inside(&run);
    return run;
}

void sample_row(const sampler *by, int v, int begin, int end, uint32_t *row) {
    const affine *map = &by->map;
    const int64_t half = (int64_t)1 << 31;
    const int64_t x = map->x + map->b * v - half, y = map->y + map->d * v - half;
    const int tiny = by->from.width < 2 || by->from.height < 2;
    for (int u = begin; u < end; u += by->run_length) {
        const int count = end - u < by->run_length ? end - u : by->run_length;
        const sample_run run = run_from(by, x + map->a * u, y + map->c * u, count);
        u8 *to = (u8 *)(row + u);
        if (tiny || (by->from.size == 3 && reaches_end(&run)))
            warp_carefully(&by->from, &run, to);
        else if (by->from.size == 3)
            by->steps->warp3(&run, to);
        else
            by->steps->warp4(&run, to);
    }
}
