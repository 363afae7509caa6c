#include "template/pool.h"

#include <string.h>

enum { CHUNK = 32 << 10, ALIGN = 16 };

static rrt_status fail_full(const rrt__pool *pool, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the chat template takes more than %zu MB of memory",
                     pool->max >> 20);
}

rrt_status rrt__pool_alloc(rrt__pool *pool, void *out_pointer, size_t count, size_t size, rrt_error *err)
{
    size_t bytes;
    if (!rrt__size_mul(count, size, &bytes) || bytes > pool->max) return fail_full(pool, err);
    bytes = bytes ? (bytes + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    if (bytes > pool->left) {
        size_t chunk = bytes > CHUNK / 4 ? bytes : CHUNK;
        if (chunk > pool->max - pool->used) return fail_full(pool, err);
        char *fresh;
        RRT__TRY(rrt__arena_alloc(&pool->arena, &fresh, chunk, 1, "a chat template", err));
        pool->used += chunk;
        if (chunk != CHUNK) { // large: a chunk of its own
            memcpy(out_pointer, &fresh, sizeof fresh);
            return RRT_STATUS_OK;
        }
        pool->at = fresh;
        pool->left = chunk;
    }
    memcpy(out_pointer, &pool->at, sizeof pool->at);
    pool->at += bytes;
    pool->left -= bytes;
    return RRT_STATUS_OK;
}

void rrt__pool_free(rrt__pool *pool)
{
    rrt__arena_free(&pool->arena);
}
