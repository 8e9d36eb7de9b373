#ifndef SINGLE_IMAGE_GEN_WEIGHTS_H
#define SINGLE_IMAGE_GEN_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

/* One axis of a resize: `outputs` pixels of equal length cover [offset, offset + length) of
   `pixels` input pixels. */
typedef struct {
    double offset, length;
    double width;    /* the filter is stretched by this, at least 1: Pillow's is length / outputs */
    double sharpness; /* of the cubic: Pillow's is -1/2 */
    int pixels, outputs, filter;
} axis;

/* Weights of up to NARROW_TAPS taps are narrow: 16 bits, in units of 2^-bits. More of them are
   wide: 32 bits, in units of 2^-WIDE_BITS. */
enum { WIDE_BITS = 22 };

typedef struct {
    int32_t *first;   /* for each output pixel the first input pixel */
    int32_t *count;   /* and how many there are */
    int16_t *narrow;  /* `pitch` for each output pixel, zeros after the last; or null */
    int32_t *wide;    /* likewise */
    int pitch;
} taps;

axis axis_of_pillow(double offset, double length, int pixels, int outputs, int filter);

/* How many taps an output pixel has at most. */
int max_taps(const axis *along);

/* Bytes for the taps of an axis, and the taps, not yet computed, in that memory. The pitch is a
   multiple of 4. */
size_t taps_bytes(const axis *along, int narrow_taps);
taps taps_in(void *memory, const axis *along, int narrow_taps);

/* Compute those of output pixels [begin, end). */
void compute_taps(const taps *to, const axis *along, int narrow_bits, int begin, int end);

#endif
