/* Resizing, the sums over pixels, for every processor. The method is in resize.c.
 *
 * Rows. A weight of 10 bits is 16 high + low with low in [-8, 7], so that both products fit 16 bits
 * for a pixel of 8. The sums of the high parts do (the weights sum up to 1, and their magnitudes
 * to less than 2), and those of up to 16 low parts do (16 * 8 * 255 < 2^15). Then
 *
 *     (16 H + L + 512) >> 10  =  (H + (L >> 4) + 32) >> 6
 *
 * exactly, since cutting off twice is cutting off once.
 *
 * Columns. Two neighboring pixels are interleaved, (r0 r1 g0 g1 b0 b1 ..), and multiplied by a pair
 * of weights: one `dot2` adds two taps to all channels.
 */
#include "kernels.h"

static void sum_few_bytes(const u8 *from, int64_t stride, const int16_t *weights, int count, int n,
                          u8 *to) {
    for (int x = 0; x < n; x++) {
        int32_t sum = 1 << (ROW_BITS - 1);
        for (int k = 0; k < count; k++) sum += weights[k] * from[k * stride + x];
        sum >>= ROW_BITS;
        to[x] = (u8)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}

void sum_rows_generic(const u8 *from, int64_t stride, const int16_t *weights, int count, int n,
                      int prefetch, u8 *to) {
    if (n < 16) {
        sum_few_bytes(from, stride, weights, count, n, to);
        return;
    }
    const i16x8 zero = {0};
    i16x8 high[MAX_ROWS], low[MAX_ROWS];
    for (int k = 0; k < count; k++) {
        const int16_t of_16 = (int16_t)((weights[k] + 8) >> 4);
        high[k] = zero + of_16;
        low[k] = zero + (int16_t)(weights[k] - 16 * of_16);
    }
    for (int begin = 0; begin < n; begin += 16) {
        const int x = begin + 16 <= n ? begin : n - 16; /* the last ones overlap those before */
        const u8 *p = from + x;
        i16x8 h0 = zero + 32, h1 = zero + 32, l0 = zero, l1 = zero;
        if (prefetch) {
            const uintptr_t soon = (uintptr_t)p + (uintptr_t)((count + prefetch - 1) * stride);
            __builtin_prefetch((const void *)soon);
        }
        for (int k = 0; k < count; k++, p += stride) {
            const i16x8 a = widen(load_u8x8(p)), b = widen(load_u8x8(p + 8));
            h0 += a * high[k];
            h1 += b * high[k];
            l0 += a * low[k];
            l1 += b * low[k];
        }
        const u8x16 sums = clip_to_bytes((h0 + (l0 >> 4)) >> 6, (h1 + (l1 >> 4)) >> 6);
        memcpy(to + x, &sums, 16);
    }
}

INLINE void sum_columns(const u8 *row, int size, const int32_t *first, const int16_t *weights,
                        int pitch, int begin, int end, u8 *to) {
    const i32x4 half = {1 << (COLUMN_BITS - 1), 1 << (COLUMN_BITS - 1), 1 << (COLUMN_BITS - 1), 0};
    for (int x = begin; x < end; x++) {
        const u8 *p = row + size * (int64_t)first[x];
        const int16_t *w = weights + (int64_t)pitch * x;
        i32x4 sum = half;
        for (int k = 0; k < pitch; k += 2, p += 2 * size)
            sum += dot2(load_pair(p, size), load_repeated_pair(w + k));
        const uint32_t pixel = clip_to_pixel(sum >> COLUMN_BITS);
        memcpy(to + 4 * (int64_t)x, &pixel, 4);
    }
}

void sum_columns_generic(const u8 *row, int size, const int32_t *first, const int16_t *weights,
                         int pitch, int begin, int end, u8 *to) {
    if (size == 3)
        sum_columns(row, 3, first, weights, pitch, begin, end, to);
    else
        sum_columns(row, 4, first, weights, pitch, begin, end, to);
}
