#ifndef SINGLE_IMAGE_GEN_OUTPUT_H
#define SINGLE_IMAGE_GEN_OUTPUT_H

#include "workspace.h"

/* The image that is being made. A recipe asks for each row in turn, from the top, fills it, and
   says so; what follows (color jitter, flips, bytes in a row) happens here. */
typedef struct {
    const sig_job *job;
    const kernels *steps;
    u8 *bytes;       /* side * side * 3, the caller's */
    uint32_t *rows;  /* all of them, or with no jitter one */
    int pitch;       /* pixels from row to row */
    int64_t luma;    /* the sum, as it is when contrast is due */
} output;

/* Bytes of workspace memory that it needs. */
size_t output_bytes(const sig_job *job);
output output_in(u8 *memory, const sig_job *job, const kernels *steps, u8 *bytes);

/* Where row v is to be written: side pixels, and up to 16 more. */
uint32_t *output_row(const output *image, int v);
void output_row_done(output *image, int v);
void output_finish(output *image);

/* An operation by its value: a factor, or the hue's shift in turns. `gray`: what contrast blends
   with. */
color_step color_step_of(int operation, double value, int gray);

#endif
