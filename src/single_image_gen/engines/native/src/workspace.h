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

/* How the parts of an image's memory lie in the workspace, each at a multiple of 64 bytes. */
enum { MAX_PARTS = 8 };
typedef struct {
    size_t total;
    size_t ends[MAX_PARTS]; /* of each part, without what follows up to the next */
    int parts;
} layout;

/* Room for one part more; gives its offset. */
size_t layout_add(layout *of, size_t bytes);

/* The memory for all parts, or null; what it held before is lost. */
u8 *workspace_memory(sig_workspace *workspace, const layout *parts);

/* Give back what only an uncommonly large image needs. */
void workspace_trim(sig_workspace *workspace);

#endif
