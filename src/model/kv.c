#include "model/kv.h"

#include <string.h>

// Depths of later loops that store nothing.
static int without_kv(const rrt_model *model)
{
    return model->shares_kv ? (model->plan.loops - 1) * model->plan.layers_per_block : 0;
}

void rrt__sequence_init(rrt__sequence *sequence, const rrt_model *model, size_t tokens)
{
    const rrt__shape *shape = &model->shape;
    size_t depths = (size_t)(model->plan.n_depths - without_kv(model));
    *sequence = (rrt__sequence){
        .model = model,
        .page_floats = depths * shape->kv_heads * 2 * shape->head_dim * RRT__PAGE_TOKENS,
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
        RRT__TRY(rrt__alloc(&sequence->pages[sequence->n_pages], sequence->page_floats, sizeof(float),
                            "a K/V page", err));
        sequence->n_pages++;
    }
    return RRT_STATUS_OK;
}

rrt__kv_view rrt__sequence_view(const rrt__sequence *sequence, int depth, size_t kv_head)
{
    const rrt_model *model = sequence->model;
    size_t half = model->shape.head_dim * RRT__PAGE_TOKENS;
    bool is_coda = depth >= rrt__plan_loop_end(&model->plan, model->plan.loops);
    int place = is_coda ? depth - without_kv(model) : rrt__model_kv_depth(model, depth);
    size_t offset = ((size_t)place * model->shape.kv_heads + kv_head) * 2 * half;
    return (rrt__kv_view){sequence->pages, offset, offset + half};
}

void rrt__sequence_store(rrt__sequence *sequence, size_t position, int depth, const float *keys,
                         const float *values)
{
    size_t head_dim = sequence->model->shape.head_dim, lane = position % RRT__PAGE_TOKENS;
    float *page = sequence->pages[position / RRT__PAGE_TOKENS];
    for (size_t h = 0; h < sequence->model->shape.kv_heads; h++) {
        rrt__kv_view view = rrt__sequence_view(sequence, depth, h);
        float *key = page + view.key_offset + lane;
        for (size_t d = 0; d < head_dim; d++) key[d * RRT__PAGE_TOKENS] = keys[h * head_dim + d];
        memcpy(page + view.value_offset + lane * head_dim, values + h * head_dim, head_dim * sizeof(float));
    }
}

void rrt__sequence_copy(rrt__sequence *sequence, size_t position, int to_depth, int from_depth)
{
    size_t head_dim = sequence->model->shape.head_dim, lane = position % RRT__PAGE_TOKENS;
    float *page = sequence->pages[position / RRT__PAGE_TOKENS];
    for (size_t h = 0; h < sequence->model->shape.kv_heads; h++) {
        rrt__kv_view to = rrt__sequence_view(sequence, to_depth, h),
                     from = rrt__sequence_view(sequence, from_depth, h);
        for (size_t d = 0; d < head_dim; d++)
            page[to.key_offset + d * RRT__PAGE_TOKENS + lane] =
                page[from.key_offset + d * RRT__PAGE_TOKENS + lane];
        memcpy(page + to.value_offset + lane * head_dim, page + from.value_offset + lane * head_dim,
               head_dim * sizeof(float));
    }
}
