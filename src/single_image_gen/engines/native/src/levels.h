#ifndef SINGLE_IMAGE_GEN_LEVELS_H
#define SINGLE_IMAGE_GEN_LEVELS_H

#include "native.h"

/* 2^(k/2): by how much level k is reduced, before its sides are rounded to whole pixels. */
double level_factor(int k);

/* Whether level k is there; SIG_OK, k if it has to be made, or SIG_BAD_SOURCE if it is of another
   size than it should be. */
int32_t check_level(const sig_level *levels, int k);

/* The coarsest level that leaves a reduction by `left` at least, of one by `scale` in all. */
int choose_level(const sig_level *source, double scale, double left);

#endif
