#include "pass/kv.h"

#include <string.h>

// Number of depths of later loops that store nothing.
static int without_kv(const rrt_model *model)
{
    return model->shares_kv ? (model->plan.loops - 1) * model->plan.layers_per_block : 0;
}

static bool find_type(rrt__kv_type *type, const char *name, size_t length)
{
    static const char *const names[RRT__KV_TYPE_COUNT] = {"f16", "f32", "q8_0"};
    for (int i = 0; i < RRT__KV_TYPE_COUNT; i++) {
        if (strlen(names[i]) != length || strncmp(name, names[i], length) != 0) continue;
        *type = (rrt__kv_type)i;
        return true;
    }
    return false;
}

rrt_status rrt__kv_types_parse(rrt__kv_types *types, const char *name, rrt_error *err)
{
    *types = (rrt__kv_types){RRT__KV_TYPE_F16, RRT__KV_TYPE_F16};
    if (!name) return RRT_STATUS_OK;
    size_t length = strcspn(name, "/");
    const char *value = name[length] ? name + length + 1 : name;
    if (find_type(&types->key, name, length) && find_type(&types->value, value, strlen(value)))
        return RRT_STATUS_OK;
    return rrt__fail(
        err, RRT_STATUS_ARGUMENT,
        "keys and values of type '%s' are not known: f16, f32 or q8_0, or two of them as in f16/q8_0", name);
}

size_t rrt__page_bytes(const rrt_model *model, rrt__kv_types types)
{
    size_t depths = (size_t)(model->plan.n_depths - without_kv(model));
    size_t head_dim = model->shape.head_dim;
    return depths * model->shape.kv_heads *
           (rrt__kv_bytes(types.key, head_dim) + rrt__kv_bytes(types.value, head_dim));
}

void rrt__sequence_init(rrt__sequence *sequence, const rrt_model *model, rrt__kv_types types, size_t tokens)
{
    *sequence = (rrt__sequence){
        .model = model,
        .kernels = rrt__kernels_get(),
        .types = types,
        .page_bytes = rrt__page_bytes(model, types),
        .tokens = tokens,
    };
}

void rrt__sequence_free(rrt__sequence *sequence)
{
    rrt__arena_free(&sequence->arena);
    rrt__free(sequence->pages);
    sequence->pages = NULL;
    sequence->n_pages = sequence->page_capacity = 0;
}

rrt_status rrt__sequence_reserve(rrt__sequence *sequence, size_t n_tokens, rrt_error *err)
{
    size_t need = (n_tokens + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS, begin = sequence->n_pages;
    if (need <= begin) return RRT_STATUS_OK;
    size_t longer = begin + begin / 4, pages = longer > need ? longer : need; // large pieces: huge pages
    unsigned char *memory;
    RRT__TRY(
        rrt__array_reserve(&sequence->pages, &sequence->page_capacity, pages, sizeof *sequence->pages, err));
    RRT__TRY(
        rrt__arena_room(&sequence->arena, &memory, pages - begin, sequence->page_bytes, "K/V pages", err));
    for (size_t i = begin; i < pages; i++) sequence->pages[i] = memory + (i - begin) * sequence->page_bytes;
    sequence->n_pages = pages;
    return RRT_STATUS_OK;
}

rrt__kv_view rrt__sequence_view(const rrt__sequence *sequence, int depth, size_t kv_head)
{
    const rrt_model *model = sequence->model;
    size_t head_dim = model->shape.head_dim, keys = rrt__kv_bytes(sequence->types.key, head_dim),
           values = rrt__kv_bytes(sequence->types.value, head_dim);
    bool is_coda = depth >= rrt__plan_coda(&model->plan).begin;
    int place = is_coda ? depth - without_kv(model) : model->depths[depth].kv;
    size_t offset = ((size_t)place * model->shape.kv_heads + kv_head) * (keys + values);
    return (rrt__kv_view){sequence->pages, offset, offset + keys, head_dim, sequence->types};
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
