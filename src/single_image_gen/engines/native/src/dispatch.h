#ifndef SINGLE_IMAGE_GEN_DISPATCH_H
#define SINGLE_IMAGE_GEN_DISPATCH_H

#include "kernels.h"

/* The fastest steps that this processor can run; with `portable`, those that every one can. */
const kernels *choose_kernels(int portable);

#endif
