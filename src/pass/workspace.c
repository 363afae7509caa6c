#include "pass/workspace.h"

#include "kernels/causal.h"

// The model, depths and rows that the buffers are for.
typedef struct needs {
    const rrt_model *model;
    const rrt__depth *depths;
    size_t rows;
} needs;

static size_t max_rank(const needs *n, rrt__matrix m)
{
    size_t max = 0;
    for (int d = 0; d < n->model->plan.n_depths; d++)
        if (n->depths[d].lora[m].rank > max) max = n->depths[d].lora[m].rank;
    return max;
}

static rrt_status allocate(rrt__workspace *ws, float **buffer, size_t rows, size_t width, rrt_error *err)
{
    return rrt__arena_alloc(&ws->arena, buffer, rows, width * sizeof(float), "the forward pass's buffers",
                            err);
}

// Quantised values of rows of up to `width` values.
static rrt_status allocate_quantised(rrt__workspace *ws, rrt__quantised *quantised, size_t rows, size_t width,
                                     rrt_error *err)
{
    size_t blocks = rrt__packed_blocks(width);
    const char *what = "the forward pass's quantised rows";
    RRT__TRY(rrt__arena_alloc(&ws->arena, &quantised->quants, rows, blocks * RRT__BLOCK, what, err));
    RRT__TRY(rrt__arena_alloc(&ws->arena, &quantised->scales, rows, blocks * sizeof(float), what, err));
    RRT__TRY(
        rrt__arena_alloc(&ws->arena, &quantised->half_sums, rows, 2 * blocks * sizeof(int16_t), what, err));
    return rrt__arena_alloc(&ws->arena, &quantised->sums, rows, blocks * sizeof(int32_t), what, err);
}

static bool has_packed(const needs *n)
{
    bool found = rrt__storage_is_packed(n->model->head->storage);
    for (int i = 0; i < n->model->plan.n_depths * RRT__MATRIX_COUNT; i++) {
        const rrt__depth *depth = &n->depths[i / RRT__MATRIX_COUNT];
        const rrt__lora *lora = &depth->lora[i % RRT__MATRIX_COUNT];
        found |= rrt__storage_is_packed(depth->slot->matrix[i % RRT__MATRIX_COUNT].storage);
        found |= rrt__storage_is_packed(lora->a.storage) || rrt__storage_is_packed(lora->b.storage);
    }
    return found;
}

static rrt_status allocate_all_quantised(rrt__workspace *ws, const needs *n, rrt_error *err)
{
    size_t widest = n->model->shape.hidden;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        rrt__shape_matrix(&n->model->shape, m, &out, &in);
        widest = in > widest ? in : widest;
        RRT__TRY(allocate_quantised(ws, &ws->low_rank_quantised[m], n->rows, max_rank(n, m), err));
    }
    return allocate_quantised(ws, &ws->quantised, n->rows, widest, err);
}

rrt_status rrt__kv_rows_create(rrt__arena *arena, rrt__kv_rows **out, const rrt_model *model, size_t rows,
                               rrt_error *err)
{
    size_t n = (size_t)model->plan.n_depths,
           width = model->shape.kv_heads * model->shape.head_dim * sizeof(float);
    rrt__depth_range first = rrt__plan_loop(&model->plan, 1);
    rrt__kv_rows of_one = {NULL, NULL}; // for one depth at a time
    RRT__TRY(rrt__arena_alloc(arena, out, n, sizeof **out, "keys and values", err));
    for (int d = 0; d < (int)n; d++) {
        bool is_shared = model->shares_kv && d >= first.begin && d < first.end;
        rrt__kv_rows *room = is_shared ? &(*out)[d] : &of_one;
        if (!room->k) {
            RRT__TRY(rrt__arena_alloc(arena, &room->k, rows, width, "keys and values", err));
            RRT__TRY(rrt__arena_alloc(arena, &room->v, rows, width, "keys and values", err));
        }
        (*out)[d] = *room;
    }
    return RRT_STATUS_OK;
}

// The queries of all splits that threads may share.
static size_t split_queries(const rrt__shape *shape, size_t rows, size_t positions, int n_threads)
{
    size_t few = RRT__PART_QUERIES * RRT__PARTS_PER_THREAD * (size_t)n_threads, all = rows * shape->heads;
    return (few < all ? few : all) * (positions / RRT__KV_SPLIT + 2); // one split twice with a K/V window
}

rrt_status rrt__workspace_create(rrt__workspace *ws, const rrt_model *model, size_t rows, size_t positions,
                                 int n_threads, rrt_error *err)
{
    *ws = (rrt__workspace){0};
    RRT__TRY(rrt__model_check_in_memory(model, err));
    return rrt__workspace_create_for(ws, model, model->depths, rows, positions, n_threads, err);
}

rrt_status rrt__workspace_create_for(rrt__workspace *ws, const rrt_model *model, const rrt__depth *depths,
                                     size_t rows, size_t positions, int n_threads, rrt_error *err)
{
    const rrt__shape *s = &model->shape;
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const needs needed = {model, depths, rows};
    *ws = (rrt__workspace){.kernels = rrt__kernels_get(), .rows = rows};
    n_threads = rrt__team_threads(n_threads);
    bool q_norm = rrt__family_has_norm(model->family, RRT__NORM_Q);
    bool after = rrt__family_has_norm(model->family, RRT__NORM_AFTER_MLP),
         branches = after || s->residual_scale != 0;
    ws->scores_stride = rrt__causal_scratch(rows < positions ? rows : positions);
    size_t splits = split_queries(s, rows, positions, n_threads);
    bool has_stacks = model->plan.sharing == RRT__SHARING_STACKS,
         has_gate = rrt__family_has(model->family, RRT__MATRIX_ATTENTION_GATE);
    const struct {
        float **buffer;
        size_t width, rows;
    } buffers[] = {{&ws->hidden, s->hidden, rows},
                   {&ws->waiting, has_stacks ? s->hidden : 0, rows},
                   {&ws->attention_gate, has_gate ? q : 0, rows},
                   {&ws->normed[0], s->hidden, rows},
                   {&ws->normed[1], s->hidden, rows},
                   {&ws->q, q, rows},
                   {&ws->plain_q, q_norm ? q : 0, rows},
                   {&ws->plain_k, q_norm ? kv : 0, rows},
                   {&ws->branch[0], branches ? s->hidden : 0, rows},
                   {&ws->branch[1], branches ? s->hidden : 0, rows},
                   {&ws->added, after ? s->hidden : 0, rows},
                   {&ws->attended, q, rows},
                   {&ws->log_sums, s->heads, rows},
                   {&ws->gate, rrt__family_is_gated(model->family) ? s->ffn : 0, rows},
                   {&ws->up, s->ffn, rows},
                   {&ws->activated, s->ffn, rows},
                   {&ws->cos_sin, s->rotary, rows},
                   {&ws->local_cos_sin, s->local_rope_base != 0 ? s->rotary : 0, rows},
                   {&ws->frequency, s->rotary / 2, 1 + (size_t)n_threads},
                   {&ws->local_frequency, s->local_rope_base != 0 ? s->rotary / 2 : 0, 1},
                   {&ws->scores, ws->scores_stride, (size_t)n_threads},
                   {&ws->split_values, s->head_dim, splits}};
    rrt_status status = rrt__arena_alloc(&ws->arena, &ws->split_seen, splits, sizeof *ws->split_seen,
                                         "the forward pass's buffers", err);
    for (size_t i = 0; !status && i < sizeof buffers / sizeof buffers[0]; i++)
        if (buffers[i].width)
            status = allocate(ws, buffers[i].buffer, buffers[i].rows, buffers[i].width, err);
    for (int m = 0; !status && m < RRT__MATRIX_COUNT; m++)
        status = allocate(ws, &ws->low_rank[m], rows, max_rank(&needed, m), err);
    if (!status && has_packed(&needed)) status = allocate_all_quantised(ws, &needed, err);
    if (!status) status = rrt__kv_rows_create(&ws->arena, &ws->kv, model, rows, err);
    if (!status) rrt__rope_frequencies(&s->rope, s->rotary, 0, ws->frequency);
    if (!status && ws->local_frequency)
        rrt__rope_plain_frequencies(s->local_rope_base, s->rotary, ws->local_frequency);
    if (status) rrt__workspace_free(ws);
    return status;
}

void rrt__workspace_free(rrt__workspace *ws)
{
    rrt__arena_free(&ws->arena);
    *ws = (rrt__workspace){0};
}
