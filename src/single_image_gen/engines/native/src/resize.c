/* Resizing as Pillow does it (libImaging/Resample.c), with the directions exchanged: rows first.
 *
 * Pillow sums columns first, then rows, each rounded to bytes. Here rows come first: they are summed
 * over whole lines of bytes, the fastest loop there is, and what columns have to be summed over is
 * then in the cache. The results differ by roundings.
 *
 * Few taps (every common case) have weights of 10 bits for rows and of 14 bits for columns, see
 * resize-generic.c; many have Pillow's own precision of 22 bits, in plain C, below.
 */
#include "resize.h"

enum { MAX_COLUMNS = 64 }; /* beyond, weights of 14 bits would be too coarse */
enum { BLOCK = 512 };

/* Those of the columns come first. */
static size_t column_bytes(const axis *columns) {
    return (taps_bytes(columns, MAX_COLUMNS) + 63) / 64 * 64;
}

size_t resize_bytes(const axis *columns, const axis *rows) {
    return column_bytes(columns) + taps_bytes(rows, MAX_ROWS);
}

resize resize_in(u8 *memory, const axis *columns, const axis *rows) {
    const resize plan = {
        .columns = *columns,
        .rows = *rows,
        .column_taps = taps_in(memory, columns, MAX_COLUMNS),
        .row_taps = taps_in(memory + column_bytes(columns), rows, MAX_ROWS),
    };
    return plan;
}

void resize_prepare(const resize *plan, int left, int right, int top, int bottom) {
    compute_taps(&plan->column_taps, &plan->columns, COLUMN_BITS, left, right);
    compute_taps(&plan->row_taps, &plan->rows, ROW_BITS, top, bottom);
}

static int32_t clip_wide(int32_t sum) {
    sum >>= WIDE_BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

static void sum_many_rows(const u8 *from, int64_t stride, const int32_t *weights, int count, int n,
                          u8 *to) {
    int32_t sums[BLOCK];
    for (int begin = 0; begin < n; begin += BLOCK) {
        const int length = n - begin < BLOCK ? n - begin : BLOCK;
        for (int x = 0; x < length; x++) sums[x] = 1 << (WIDE_BITS - 1);
        for (int k = 0; k < count; k++) {
            const u8 *p = from + k * stride + begin;
            for (int x = 0; x < length; x++) sums[x] += weights[k] * p[x];
        }
        for (int x = 0; x < length; x++) to[begin + x] = (u8)clip_wide(sums[x]);
    }
}

static void sum_many_columns(const taps *by, const u8 *row, int size, int begin, int end, u8 *to) {
    for (int x = begin; x < end; x++) {
        const u8 *p = row + size * (int64_t)by->first[x];
        const int32_t *weights = by->wide + (int64_t)by->pitch * x;
        int32_t r = 1 << (WIDE_BITS - 1), g = r, b = r;
        for (int k = 0; k < by->count[x]; k++, p += size) {
            r += weights[k] * p[0];
            g += weights[k] * p[1];
            b += weights[k] * p[2];
        }
        u8 *pixel = to + 4 * (int64_t)x;
        pixel[0] = (u8)clip_wide(r);
        pixel[1] = (u8)clip_wide(g);
        pixel[2] = (u8)clip_wide(b);
        pixel[3] = 0;
    }
}

void sum_rows_of(const kernels *steps, const resize *plan, int y, const u8 *from, int64_t stride,
                 int n, int prefetch, u8 *to) {
    const taps *by = &plan->row_taps;
    const int64_t at = (int64_t)by->pitch * y;
    if (by->narrow)
        steps->sum_rows(from, stride, by->narrow + at, by->count[y], n, prefetch, to);
    else
        sum_many_rows(from, stride, by->wide + at, by->count[y], n, to);
}

void sum_columns_of(const kernels *steps, const resize *plan, const u8 *row, int size, int begin,
                    int end, u8 *to) {
    const taps *by = &plan->column_taps;
    if (by->narrow)
        steps->sum_columns(row, size, by->first, by->narrow, by->pitch, begin, end, to);
    else
        sum_many_columns(by, row, size, begin, end, to);
}
