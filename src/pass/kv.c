#include "pass/kv.h"

#include <string.h>

// Number of depths of later loops that store nothing.
static int without_kv(const rrt_model *model)
{
    return model->shares_kv ? (model->plan.loops - 1) * model->plan.layers_per_block : 0;
}

rrt_status rrt__kv_type_parse(rrt__kv_type *type, const char *name, rrt_error *err)
{
    static const char *const names[RRT__KV_TYPE_COUNT] = {"f16", "f32"};
    int i = 0;
    while (name && i < RRT__KV_TYPE_COUNT && strcmp(name, names[i]) != 0) i++;
    *type = (rrt__kv_type)i;
    if (i < RRT__KV_TYPE_COUNT) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "keys and values of type '%s' are not known: f16 or f32",
                     name);
}

size_t rrt__page_bytes(const rrt_model *model, rrt__kv_type type)
{
    size_t depths = (size_t)(model->plan.n_depths - without_kv(model));
    return depths * model->shape.kv_heads * 2 * rrt__kv_bytes(type, model->shape.head_dim);
}

void rrt__sequence_init(rrt__sequence *sequence, const rrt_model *model, rrt__kv_type type, size_t tokens)
{
    *sequence = (rrt__sequence){
        .model = model,
        .kernels = rrt__kernels_get(),
        .type = type,
        .page_bytes = rrt__page_bytes(model, type),
        .tokens = tokens,
    };
}

void rrt__sequence_free(rrt__sequence *sequence)
{
    for (size_t i = 0; i < sequence->n_pages; i++) rrt__free(sequence->pages[i]);
    rrt__free(sequence->pages);
    sequence->pages = NULL;
    sequence->n_pages = sequence->page_capacity = 0;
}

rrt_status rrt__sequence_reserve(rrt__sequence *sequence, size_t n_tokens, rrt_error *err)
{
    size_t need = (n_tokens + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS;
    RRT__TRY(
        rrt__array_reserve(&sequence->pages, &sequence->page_capacity, need, sizeof *sequence->pages, err));
    while (sequence->n_pages < need) {
        RRT__TRY(rrt__alloc(&sequence->pages[sequence->n_pages], sequence->page_bytes, 1, "a K/V page", err));
        sequence->n_pages++;
    }
    return RRT_STATUS_OK;
}

rrt__kv_view rrt__sequence_view(const rrt__sequence *sequence, int depth, size_t kv_head)
{
    const rrt_model *model = sequence->model;
    size_t head_dim = model->shape.head_dim, bytes = rrt__kv_bytes(sequence->type, head_dim);
    bool is_coda = depth >= rrt__plan_coda(&model->plan).begin;
    int place = is_coda ? depth - without_kv(model) : model->depths[depth].kv;
    size_t offset = ((size_t)place * model->shape.kv_heads + kv_head) * 2 * bytes;
    return (rrt__kv_view){sequence->pages, offset, offset + bytes, head_dim, sequence->type};
}

void rrt__sequence_store(rrt__sequence *sequence, size_t position, int depth, const float *keys,
                         const float *values)
{
    size_t head_dim = sequence->model->shape.head_dim;
    for (size_t h = 0; h < sequence->model->shape.kv_heads; h++)
        sequence->kernels->kv_store(rrt__sequence_view(sequence, depth, h), position, keys + h * head_dim,
                                    values + h * head_dim);
}

void rrt__sequence_copy(rrt__sequence *sequence, size_t position, int to_depth, int from_depth)
{
    for (size_t h = 0; h < sequence->model->shape.kv_heads; h++)
        sequence->kernels->kv_copy(rrt__sequence_view(sequence, to_depth, h),
                                   rrt__sequence_view(sequence, from_depth, h), position);
}
