/* Memory for the images of one thread: it grows to what the largest image needs, and stays. */
#include "workspace.h"

#include <stdlib.h>

#include "dispatch.h"

enum { ALIGNMENT = 64 };         /* a cache line, and enough for every vector */
enum { KEPT_BYTES = 32 << 20 };  /* images of 1,024 pixels need 16 MiB */

sig_workspace *sig_workspace_new(int32_t portable) {
    sig_workspace *workspace = calloc(1, sizeof *workspace);
    if (workspace) workspace->steps = choose_kernels(portable);
    return workspace;
}

void sig_workspace_free(sig_workspace *workspace) {
    if (!workspace) return;
    free(workspace->memory);
    free(workspace);
}

const char *sig_workspace_target(const sig_workspace *workspace) { return workspace->steps->target; }

size_t layout_add(size_t *total, size_t bytes) {
    const size_t offset = *total;
    *total += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return offset;
}

u8 *workspace_memory(sig_workspace *workspace, size_t total) {
    if (total > workspace->size) {
        free(workspace->memory);
        workspace->memory = NULL;
        workspace->size = 0;
        void *memory;
        if (posix_memalign(&memory, ALIGNMENT, total)) return NULL;
        workspace->memory = memory;
        workspace->size = total;
    }
    return workspace->memory;
}

void workspace_trim(sig_workspace *workspace) {
    if (workspace->size <= KEPT_BYTES) return;
    free(workspace->memory);
    workspace->memory = NULL;
    workspace->size = 0;
}
