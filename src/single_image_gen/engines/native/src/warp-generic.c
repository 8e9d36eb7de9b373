/* Bilinear samples of a run for every processor. The method is in warp.c.
 *
 * The pixel and its neighbor are interleaved and multiplied by a pair of weights, as in
 * resize-generic.c; likewise those below.
 */
#include "kernels.h"

INLINE int32_t clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

/* `size` and `inside` are constants wherever this is inlined. */
INLINE void warp(const sample_run *run, int size, int inside, u8 *to) {
    const u8 *origin = run->origin;
    const int64_t stride = run->stride;
    const int32_t x_low = run->x_low, x_high = run->x_high;
    const int32_t y_low = run->y_low, y_high = run->y_high;
    int32_t next_x = run->x, next_y = run->y;
    const int32_t dx = run->dx, dy = run->dy;
    for (const u8 *end = to + 4 * run->count; to < end; to += 4) {
        const int32_t x = inside ? next_x : clamp(next_x, x_low, x_high);
        const int32_t y = inside ? next_y : clamp(next_y, y_low, y_high);
        next_x += dx;
        next_y += dy;
        int column = x >> 16, row = y >> 16;
        if (!inside) { /* the last ones are reached from those before them, with a fraction of 1 */
            column -= x == x_high;
            row -= y == y_high;
        }
        const int f = (x - column * 65536) >> 9, g = (y - row * 65536) >> 9;
        const int w3 = (f * g + 64) >> 7, w1 = f - w3, w2 = g - w3, w0 = 128 - f - w2;
        const u8 *p = origin + row * stride + size * column;
        const i32x4 above = dot2(load_pair(p, size), repeat_pair(w0, w1));
        const i32x4 below = dot2(load_pair(p + stride, size), repeat_pair(w2, w3));
        const uint32_t pixel = clip_to_pixel((above + below) >> 7);
        memcpy(to, &pixel, 4);
    }
}

void warp3_generic(const sample_run *run, u8 *to) {
    if (run->inside)
        warp(run, 3, 1, to);
    else
        warp(run, 3, 0, to);
}

void warp4_generic(const sample_run *run, u8 *to) {
    if (run->inside)
        warp(run, 4, 1, to);
    else
        warp(run, 4, 0, to);
}
