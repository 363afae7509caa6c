#include "pass/kv.h"

#include <string.h>

// Number of depths of loops without a place in pages.
static int without_kv(const rrt_model *model)
{
    bool one = model->shares_kv || model->kv_window;
    return one ? (model->plan.loops - 1) * model->plan.layers_per_block : 0;
}

static const char *const names[RRT__KV_TYPE_COUNT] = {"f16", "f32", "q8_0"};

const char *rrt__kv_type_name(rrt__kv_type type)
{
    return names[type];
}

static bool find_type(rrt__kv_type *type, const char *name, size_t length)
{
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

// Of a head's keys and values in a page.
static size_t head_bytes(const rrt_model *model, rrt__kv_types types)
{
    size_t head_dim = model->shape.head_dim;
    return rrt__kv_bytes(types.key, head_dim) + rrt__kv_bytes(types.value, head_dim);
}

size_t rrt__page_bytes(const rrt_model *model, rrt__kv_types types)
{
    size_t depths = (size_t)(model->plan.n_depths - without_kv(model));
    return depths * model->shape.kv_heads * head_bytes(model, types);
}

// Pages of a window; a token's own, at least.
static size_t recent_pages(const rrt_model *model)
{
    return (model->kv_window + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS;
}

static size_t recent_page_bytes(const rrt_model *model, rrt__kv_types types)
{
    return (size_t)without_kv(model) * model->shape.kv_heads * head_bytes(model, types);
}

size_t rrt__recent_bytes(const rrt_model *model, rrt__kv_types types)
{
    return recent_pages(model) * recent_page_bytes(model, types);
}

size_t rrt__kv_window_rows(const rrt_model *model, size_t position, size_t count)
{
    size_t left = model->kv_window ? model->kv_window - position % model->kv_window : count;
    return count < left ? count : left;
}

void rrt__sequence_init(rrt__sequence *sequence, const rrt_model *model, rrt__kv_types types, size_t tokens)
{
    *sequence = (rrt__sequence){
        .model = model,
        .kernels = rrt__kernels_get(),
        .types = types,
        .page_bytes = rrt__page_bytes(model, types),
        .loops = model->plan.loops,
        .tokens = tokens,
    };
}

void rrt__sequence_free(rrt__sequence *sequence)
{
    rrt__arena_free(&sequence->arena);
    rrt__free(sequence->pages);
    rrt__free(sequence->recent);
    sequence->pages = sequence->recent = NULL;
    sequence->n_pages = sequence->page_capacity = 0;
}

// Pages [n_pages, pages) of the window's memory, which is allocated with the first.
static rrt_status reserve_recent(rrt__sequence *sequence, size_t pages, rrt_error *err)
{
    size_t begin = sequence->n_pages, capacity = sequence->recent ? begin : 0;
    unsigned char *memory = begin ? sequence->recent[0] : NULL;
    RRT__TRY(rrt__array_reserve(&sequence->recent, &capacity, pages, sizeof *sequence->recent, err));
    if (!memory)
        RRT__TRY(rrt__arena_room(&sequence->arena, &memory,
                                 rrt__recent_bytes(sequence->model, sequence->types), 1, "K/V pages", err));
    rrt__sequence_set_recent(sequence, memory, begin, pages);
    return RRT_STATUS_OK;
}

void rrt__sequence_set_recent(rrt__sequence *sequence, unsigned char *memory, size_t begin, size_t end)
{
    size_t bytes = recent_page_bytes(sequence->model, sequence->types);
    for (size_t i = begin; i < end; i++)
        sequence->recent[i] = memory + i % recent_pages(sequence->model) * bytes;
}

rrt_status rrt__sequence_reserve(rrt__sequence *sequence, size_t n_tokens, rrt_error *err)
{
    size_t need = (n_tokens + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS, begin = sequence->n_pages;
    if (need <= begin) return RRT_STATUS_OK;
    size_t longer = begin + begin / 4, pages = longer > need ? longer : need; // large pieces: huge pages
    unsigned char *memory;
    RRT__TRY(
        rrt__array_reserve(&sequence->pages, &sequence->page_capacity, pages, sizeof *sequence->pages, err));
    if (sequence->model->kv_window) RRT__TRY(reserve_recent(sequence, pages, err));
    RRT__TRY(
        rrt__arena_room(&sequence->arena, &memory, pages - begin, sequence->page_bytes, "K/V pages", err));
    for (size_t i = begin; i < pages; i++) sequence->pages[i] = memory + (i - begin) * sequence->page_bytes;
    sequence->n_pages = pages;
    return RRT_STATUS_OK;
}

// The loop of a depth, from 1; 0: prelude or coda.
static int loop_of(const rrt_model *model, int depth)
{
    const rrt__plan *plan = &model->plan;
    bool is_in_loop = depth >= plan->prelude && depth < rrt__plan_coda(plan).begin;
    return is_in_loop ? (depth - plan->prelude) / plan->layers_per_block + 1 : 0;
}

static bool is_recent(const rrt__sequence *sequence, int depth)
{
    int loop = sequence->model->kv_window ? loop_of(sequence->model, depth) : 0;
    return loop && loop != sequence->loops;
}

static rrt__kv_view view_of(const rrt__sequence *sequence, unsigned char *const *pages, int place,
                            size_t kv_head)
{
    const rrt_model *model = sequence->model;
    size_t head = (size_t)place * model->shape.kv_heads + kv_head,
           offset = head * head_bytes(model, sequence->types),
           keys = rrt__kv_bytes(sequence->types.key, model->shape.head_dim);
    return (rrt__kv_view){pages, offset, offset + keys, model->shape.head_dim, sequence->types};
}

rrt__kv_view rrt__sequence_last_view(const rrt__sequence *sequence, int depth, size_t kv_head)
{
    const rrt__plan *plan = &sequence->model->plan;
    int place = plan->prelude + (depth - plan->prelude) % plan->layers_per_block;
    return view_of(sequence, sequence->pages, place, kv_head);
}

rrt__kv_view rrt__sequence_view(const rrt__sequence *sequence, int depth, size_t kv_head)
{
    const rrt_model *model = sequence->model;
    if (is_recent(sequence, depth))
        return view_of(sequence, sequence->recent, depth - model->plan.prelude, kv_head);
    if (model->kv_window && loop_of(model, depth)) return rrt__sequence_last_view(sequence, depth, kv_head);
    bool is_coda = depth >= rrt__plan_coda(&model->plan).begin;
    return view_of(sequence, sequence->pages, is_coda ? depth - without_kv(model) : model->depths[depth].kv,
                   kv_head);
}

size_t rrt__sequence_recent(const rrt__sequence *sequence, int depth, size_t position)
{
    size_t window = sequence->model->kv_window;
    return is_recent(sequence, depth) ? position / window * window : 0;
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
