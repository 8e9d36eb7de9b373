#ifndef SINGLE_IMAGE_GEN_RECIPES_H
#define SINGLE_IMAGE_GEN_RECIPES_H

#include "native.h"

/* As `sig_render`, for jobs and sources that have been checked. */
int32_t render_script(const sig_job *job, const sig_level *levels, sig_workspace *workspace,
                      uint8_t *out);
int32_t render_paper(const sig_job *job, const sig_level *levels, sig_workspace *workspace,
                     uint8_t *out);

#endif
