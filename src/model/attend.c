#include "model/attend.h"

static int depth_of_row(const rrt__block *b, size_t row)
{
    size_t s = 0;
    while (row >= b->segments[s].end) s++;
    return b->segments[s].depth;
}

typedef void (*row_function)(const rrt__block *b, const rrt__span *span, size_t position, size_t row);

// Calls function for this thread's share of the rows.
static void each_row(const rrt__block *b, row_function function)
{
    size_t row = 0;
    for (size_t s = 0; s < b->n_spans; s++)
        for (size_t i = 0; i < b->spans[s].count; i++, row++)
            if (row % (size_t)b->team.nth == (size_t)b->team.ith)
                function(b, &b->spans[s], b->spans[s].position + i, row);
}

// One row's queries or keys: their norm where the family has one (plain is NULL where it has none), then the
// rotation.
static void rotate(const rrt__block *b, int depth, rrt__norm_place place, size_t row, const float *plain,
                   float *x, size_t heads)
{
    const rrt__shape *shape = &b->model->shape;
    const float *cos_sin = rrt__workspace_rotation(b->ws, b->model, depth);
    size_t at = row * heads * shape->head_dim;
    const rrt__norm *norm = &b->model->depths[depth].norm[place];
    if (plain)
        b->ws->kernels->rms_norm(x + at, plain + at, norm->gain, heads * shape->head_dim / norm->width,
                                 norm->width, (float)shape->norm_epsilon);
    if (cos_sin)
        b->ws->kernels->rope(x + at, cos_sin + row * shape->rotary, heads, shape->head_dim, shape->rotary);
}

static void store(const rrt__block *b, const rrt__span *span, size_t position, size_t row)
{
    const rrt__shape *shape = &b->model->shape;
    int depth = depth_of_row(b, row);
    if (rrt__model_kv_depth(b->model, depth) != depth) return;
    rrt__kv_rows kv = rrt__workspace_kv(b->ws, b->model, depth);
    size_t at = row * shape->kv_heads * shape->head_dim;
    rotate(b, depth, RRT__NORM_K, row, b->ws->plain_k, kv.k, shape->kv_heads);
    if (span->sequence) rrt__sequence_store(span->sequence, position, depth, kv.k + at, kv.v + at);
}

static void rotate_and_store(const rrt__block *b, const rrt__span *span, size_t position, size_t row)
{
    rotate(b, depth_of_row(b, row), RRT__NORM_Q, row, b->ws->plain_q, b->ws->q, b->model->shape.heads);
    store(b, span, position, row);
}

// This thread's share of a row's heads: threads that have no row to themselves help with this one.
static void attend(const rrt__block *b, const rrt__span *span, size_t position, size_t row)
{
    const rrt__shape *shape = &b->model->shape;
    size_t group = shape->heads / shape->kv_heads, nth = (size_t)b->team.nth;
    int depth = depth_of_row(b, row);
    size_t window = rrt__model_window(b->model, depth), end = position + 1;
    rrt__attention a = {window && end > window ? end - window : 0, end, rrt__shape_scale(shape),
                        (float)shape->attention_cap};
    float *scores = b->ws->scores + (size_t)b->team.ith * b->ws->scores_stride;
    for (size_t h = 0; h < shape->heads; h++) {
        if ((row * shape->heads + h) % nth != (size_t)b->team.ith) continue;
        size_t offset = (row * shape->heads + h) * shape->head_dim;
        rrt__kv_view view = rrt__sequence_view(span->sequence, depth, h / group);
        b->ws->kernels->attention(b->ws->attended + offset, b->ws->q + offset, view, &a, scores);
    }
}

static void attend_pages(const rrt__block *b)
{
    size_t row = 0;
    for (size_t s = 0; s < b->n_spans; s++)
        for (size_t i = 0; i < b->spans[s].count; i++, row++)
            if (b->spans[s].sequence) attend(b, &b->spans[s], b->spans[s].position + i, row);
}

rrt__causal rrt__workspace_causal(const rrt__workspace *ws, const rrt_model *model, int depth, size_t row,
                                  size_t tokens)
{
    const rrt__shape *shape = &model->shape;
    rrt__kv_rows kv = rrt__workspace_kv(ws, model, depth);
    size_t kv_at = row * shape->kv_heads * shape->head_dim;
    return (rrt__causal){.tokens = tokens,
                         .heads = shape->heads,
                         .kv_heads = shape->kv_heads,
                         .head_dim = shape->head_dim,
                         .window = rrt__model_window(model, depth),
                         .scale = rrt__shape_scale(shape),
                         .cap = (float)shape->attention_cap,
                         .q = ws->q + row * shape->heads * shape->head_dim,
                         .k = kv.k + kv_at,
                         .v = kv.v + kv_at};
}

// The spans that are whole texts; heads are dealt out to the threads.
static void attend_whole(const rrt__block *b)
{
    const rrt__shape *shape = &b->model->shape;
    rrt__workspace *ws = b->ws;
    size_t heads = shape->heads, row = 0, item = 0;
    for (size_t s = 0; s < b->n_spans; row += b->spans[s++].count) {
        if (b->spans[s].sequence) continue;
        rrt__causal whole = rrt__workspace_causal(ws, b->model, b->segments[0].depth, row, b->spans[s].count);
        for (size_t h = 0; h < heads; h++, item++)
            if (item % (size_t)b->team.nth == (size_t)b->team.ith)
                rrt__causal_forward(ws->kernels, &whole, h, ws->attended + row * heads * shape->head_dim,
                                    ws->log_sums + row * heads,
                                    ws->scores + (size_t)b->team.ith * ws->scores_stride);
    }
}

// Keys and values only for segments that have some of their own: where loops share them, those of the first,
// which come first.
static void project_qkv(const rrt__block *b)
{
    rrt__workspace *ws = b->ws;
    const float *x = ws->normed[RRT__NORM_ATTENTION];
    rrt__kv_rows kv = rrt__workspace_kv(ws, b->model, b->segments[0].depth);
    float *q = ws->plain_q ? ws->plain_q : ws->q, *k = ws->plain_k ? ws->plain_k : kv.k;
    rrt__block own = *b;
    own.n_segments = own.n_rows = 0;
    while (own.n_segments < b->n_segments) {
        const rrt__segment *next = &b->segments[own.n_segments];
        if (rrt__model_kv_depth(b->model, next->depth) != next->depth) break;
        own.n_rows = next->end;
        own.n_segments++;
    }
    if (own.n_segments == b->n_segments) {
        rrt__project(b, RRT__MATRIX_Q, 3, x, (float *[]){q, k, kv.v}, 0);
        return;
    }
    rrt__project(b, RRT__MATRIX_Q, 1, x, &q, 0);
    if (own.n_segments) rrt__project(&own, RRT__MATRIX_K, 2, x, (float *[]){k, kv.v}, 0);
}

void rrt__attend(const rrt__block *b)
{
    project_qkv(b);
    rrt__team_barrier(b->team);
    each_row(b, rotate_and_store);
    rrt__team_barrier(b->team);
    attend_pages(b);
    attend_whole(b);
    rrt__team_barrier(b->team);
}

void rrt__attend_store(const rrt__block *b)
{
    rrt__workspace *ws = b->ws;
    rrt__kv_rows kv = rrt__workspace_kv(ws, b->model, b->segments[0].depth);
    float *k = ws->plain_k ? ws->plain_k : kv.k;
    rrt__project(b, RRT__MATRIX_K, 2, ws->normed[RRT__NORM_ATTENTION], (float *[]){k, kv.v}, 0);
    rrt__team_barrier(b->team);
    each_row(b, store);
    rrt__team_barrier(b->team);
}
