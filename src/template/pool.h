// Memory of one template or one rendering: small allocations, freed together, with a limit.
#ifndef RRT__TEMPLATE_POOL_H
#define RRT__TEMPLATE_POOL_H

#include "base/memory.h"

typedef struct rrt__pool {
    rrt__arena arena;
    char *at;
    size_t left, used, max;
} rrt__pool;

// Zeroed memory, aligned for any value. UNSUPPORTED at the limit.
rrt_status rrt__pool_alloc(rrt__pool *pool, void *out_pointer, size_t count, size_t size, rrt_error *err);
void rrt__pool_free(rrt__pool *pool);

#endif
