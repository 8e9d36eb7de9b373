#ifndef SINGLE_IMAGE_GEN_WARP_H
#define SINGLE_IMAGE_GEN_WARP_H

#include "kernels.h"

/* Pixels to sample from. */
typedef struct {
    const u8 *pixels;
    int64_t stride; /* bytes from row to row */
    int32_t width, height;
    int32_t size; /* bytes of a pixel, 3 or 4 */
} plane;

/* An affine map in units of 2^-32: output pixel (u, v) shows the plane's point
   (x + a u + b v, y + c u + d v), where the middle of the plane's first pixel is at (1/2, 1/2). */
typedef struct {
    int64_t a, b, x, c, d, y;
} affine;

typedef struct {
    const kernels *steps;
    plane from;
    affine map;
    int32_t run_length; /* pixels that are sampled at once */
    int32_t reach_y;    /* how many rows from its first point a run may lead */
    int64_t prefetch;   /* bytes from a sample to what will be sampled soon; 0 for none */
} sampler;

/* A sampler for an output of `columns` by `rows` pixels, from a matrix (a, b, x, c, d, y). False
   where a point that is shown, or a step, is 2^29 pixels off or more, or not a number: in here,
   nothing overflows. */
int sampler_of(const kernels *steps, const plane *from, const double matrix[6], int columns,
               int rows, sampler *made);

/* Bilinear samples for pixels [begin, end) of output row v. A point beyond the middles of the
   outermost pixels shows the nearest point between them. The row has room for end + 7 pixels. */
void sample_row(const sampler *by, int v, int begin, int end, uint32_t *row);

/* Narrow [begin, end) to the pixels of row v whose points lie on the plane: from 0 to below its
   width and height. */
void clip_row(const sampler *by, int v, int *begin, int *end);

#endif
