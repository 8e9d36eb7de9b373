#ifndef SINGLE_IMAGE_GEN_WORKSPACE_H
#define SINGLE_IMAGE_GEN_WORKSPACE_H

#include <stddef.h>

#include "kernels.h"
#include "native.h"

/* What a thread keeps from image to image: which steps to run, and memory. */
struct sig_workspace {
    const kernels *steps;
    u8 *memory;
    size_t size;
};

/* To lay out a workspace: `layout_add` for each part gives its offset, then `workspace_memory` the
   memory for all of them. Parts begin at multiples of 64 bytes. */
size_t layout_add(size_t *total, size_t bytes);

/* `total` bytes, or null; what they held before is lost. */
u8 *workspace_memory(sig_workspace *workspace, size_t total);

/* Give back what only an uncommonly large image needs. */
void workspace_trim(sig_workspace *workspace);

#endif
