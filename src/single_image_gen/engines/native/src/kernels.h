/* The steps over pixels that exist for several instruction sets, under one name for each.
 *
 * `name-generic.c` holds the steps for every processor, in vector extensions; `name-avx2.c` those
 * for AVX2, under the same names with another ending. Which to use is decided once, when a
 * workspace is made (dispatch.c). All of them give the same bytes.
 */
#ifndef SINGLE_IMAGE_GEN_KERNELS_H
#define SINGLE_IMAGE_GEN_KERNELS_H

#include <stdint.h>

#include "simd.h"

/* The most rows that `sum_rows` takes, see resize-generic.c. */
enum { MAX_ROWS = 16 };
enum { ROW_BITS = 10, COLUMN_BITS = 14 };

/* Some samples along a straight line, see warp.c. Coordinates count pixels from the pixel at
   `origin`, in units of 2^-16; a pixel's middle is at a whole number. */
typedef struct {
    const u8 *origin;
    int64_t stride;          /* bytes from row to row */
    int32_t x, y;            /* of the first sample */
    int32_t dx, dy;          /* from sample to sample */
    int32_t x_low, x_high;   /* the first and the last column; points beyond are moved there */
    int32_t y_low, y_high;   /* the first and the last row */
    int32_t count;
    int32_t inside;          /* no point lies beyond the middles of the first and the last ones */
    int64_t prefetch;        /* bytes from here to what will be sampled soon; 0 for none */
} sample_run;

/* A color operation: its factor; for contrast also the gray to blend with, 0 to 255; for the hue in
   the same place how far to turn it, 0 to 255 steps of 1/255. */
typedef struct {
    int operation;
    float factor;
    int level;
} color_step;

typedef struct {
    const char *target;

    /* to[x] = sum of weights[k] * from[k * stride + x] / 2^10 for x in [0, n), rounded and clipped.
       count <= MAX_ROWS. Reads nothing else than these bytes. Row count + prefetch - 1 will be
       needed soon. */
    void (*sum_rows)(const u8 *from, int64_t stride, const int16_t *weights, int count, int n,
                     int prefetch, u8 *to);

    /* to[x] = sum of weights[x * pitch + k] * pixel first[x] + k of `row` / 2^14, rounded and
       clipped, for x in [begin, end), k in [0, pitch); pitch is a multiple of 4. Pixels of `row`
       have `size` (3 or 4) bytes; 16 bytes beyond the last that is asked for are read. Those of
       `to` have four bytes. */
    void (*sum_columns)(const u8 *row, int size, const int32_t *first, const int16_t *weights,
                        int pitch, int begin, int end, u8 *to);

    /* The samples of a run, four bytes each, from pixels of three or four bytes; up to seven more
       samples are written. Eight bytes are read at a pixel, though only six may be its own and its
       neighbor's. There are two rows and two columns at least. */
    void (*warp3)(const sample_run *run, u8 *to);
    void (*warp4)(const sample_run *run, u8 *to);

    /* Color operations, one after another, on n pixels of four bytes in place, see color.c; n is a
       multiple of 16. */
    void (*adjust)(uint32_t *pixels, int n, const color_step *steps, int count);
    int64_t (*sum_luma)(const uint32_t *pixels, int n); /* of any n */

    /* n pixels of four bytes to three; `mirror`: in reverse order; `bgr`: blue first. */
    void (*pack)(const uint32_t *from, int n, int mirror, int bgr, u8 *to);
} kernels;

/* A body that is compiled for several targets (color.c) names its functions with these. */
#define JOINED_(name, target) name##_##target
#define JOINED(name, target) JOINED_(name, target)
#define TARGETED(name) JOINED(name, TARGET)

#define DECLARE_KERNELS(target)                                                                   \
    void sum_rows_##target(const u8 *, int64_t, const int16_t *, int, int, int, u8 *);            \
    void sum_columns_##target(const u8 *, int, const int32_t *, const int16_t *, int, int, int,   \
                              u8 *);                                                              \
    void warp3_##target(const sample_run *, u8 *);                                                \
    void warp4_##target(const sample_run *, u8 *);                                                \
    void adjust_##target(uint32_t *, int, const color_step *, int);                               \
    int64_t sum_luma_##target(const uint32_t *, int);                                             \
    void pack_##target(const uint32_t *, int, int, int, u8 *);

DECLARE_KERNELS(generic)
#if defined(__x86_64__)
DECLARE_KERNELS(avx2)
#endif

#endif
