#ifndef SINGLE_IMAGE_GEN_RESIZE_H
#define SINGLE_IMAGE_GEN_RESIZE_H

#include "weights.h"
#include "workspace.h"

/* A resize in both directions, rows first. */
typedef struct {
    axis columns, rows;
    taps column_taps, row_taps;
} resize;

/* Bytes for the taps, and the place for them. */
size_t resize_bytes(const axis *columns, const axis *rows);
resize resize_in(u8 *memory, const axis *columns, const axis *rows);

/* Compute the taps of output columns [left, right) and rows [top, bottom). */
void resize_prepare(const resize *plan, int left, int right, int top, int bottom);


/* Output row y of n bytes, from input rows of `stride` bytes; `from` is at the first input row.
   Rows below the last that it takes are fetched into the cache, if `prefetch` is above 0. */
void sum_rows_of(const kernels *steps, const resize *plan, int y, const u8 *from, int64_t stride,
                 int n, int prefetch, u8 *to);

/* Output columns [begin, end) of a row, four bytes a pixel, from input pixels of `size` bytes; `row`
   is at input column 0. Up to end rounded up to a multiple of 8 may be written. */
void sum_columns_of(const kernels *steps, const resize *plan, const u8 *row, int size, int begin,
                    int end, u8 *to);

#endif
