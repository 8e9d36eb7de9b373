/* Bilinear samples of a run for every processor. The method is in warp.c. */
#include "kernels.h"

INLINE int32_t clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

INLINE i16x8 times(u8x8 pixels, int left, int right, int size) {
    const int16_t a = (int16_t)left, b = (int16_t)right, c = size == 4 ? a : b;
    const i16x8 weights = {a, a, a, c, b, b, size == 4 ? b : 0, size == 4 ? b : 0};
    return widen(pixels) * weights; /* 128 * 255 at most, all four together as well */
}

/* `size` is a constant wherever this is inlined. */
INLINE void warp(const sample_run *run, int size, u8 *to) {
    /* the last row and column are reached from those before them, with a fraction of 1 */
    const int last_column = (run->x_high >> 16) - 1, last_row = (run->y_high >> 16) - 1;
    for (int u = 0; u < run->count; u++, to += 4) {
        const int32_t x = clamp(run->x + u * run->dx, run->x_low, run->x_high);
        const int32_t y = clamp(run->y + u * run->dy, run->y_low, run->y_high);
        const int column = x >> 16 < last_column ? x >> 16 : last_column;
        const int row = y >> 16 < last_row ? y >> 16 : last_row;
        const int f = (x - column * 65536) >> 9, g = (y - row * 65536) >> 9;
        const int w3 = (f * g + 64) >> 7, w1 = f - w3, w2 = g - w3, w0 = 128 - f - w2;
        const u8 *p = run->origin + row * run->stride + size * column;
        i16x8 sum = times(load_u8x8(p), w0, w1, size) + times(load_u8x8(p + run->stride), w2, w3, size);
        union {
            i16x8 lanes;
            u64x2 halves;
        } all = {sum};
        /* the neighbor's channels beside the pixel's own: `size` lanes further on */
        const uint64_t beside = size == 4 ? all.halves[1] : all.halves[0] >> 48 | all.halves[1] << 16;
        const u64x2 moved = {beside, 0};
        const u8x8 pixel = __builtin_convertvector((sum + (i16x8)moved) >> 7, u8x8);
        memcpy(to, &pixel, 4);
    }
}

void warp3_generic(const sample_run *run, u8 *to) { warp(run, 3, to); }

void warp4_generic(const sample_run *run, u8 *to) { warp(run, 4, to); }
