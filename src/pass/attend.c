#include "pass/attend.h"

#include <math.h>

#include "pass/project.h"

float rrt__attend_scale(const rrt__shape *shape)
{
    return shape->attention_scale != 0 ? (float)shape->attention_scale : 1.0f / sqrtf((float)shape->head_dim);
}

size_t rrt__attend_window(const rrt__pass *p, int depth)
{
    return p->depths[depth].attention & RRT__ATTENTION_LOCAL ? p->model->shape.window : 0;
}

const float *rrt__attend_rotation(const rrt__pass *p, int depth)
{
    unsigned kind = p->depths[depth].attention;
    if (kind & RRT__ATTENTION_NOPE) return NULL;
    bool local = kind & RRT__ATTENTION_LOCAL && p->ws->local_cos_sin;
    return local ? p->ws->local_cos_sin : p->ws->cos_sin;
}

typedef void (*row_function)(const rrt__block *b, const rrt__span *span, size_t position, size_t row);

// Calls function for this thread's share of the rows.
static void each_row(const rrt__block *b, row_function function)
{
    const rrt__pass *p = b->pass;
    size_t row = 0;
    for (size_t s = 0; s < p->n_spans; s++)
        for (size_t i = 0; i < p->spans[s].count; i++, row++)
            if (row % (size_t)p->team.nth == (size_t)p->team.ith)
                function(b, &p->spans[s], p->spans[s].position + i, row);
}

// Applies to one row's queries or keys their norm (plain is NULL if the family has none), then the rotation.
static void rotate(const rrt__block *b, int depth, rrt__norm_place place, size_t row, const float *plain,
                   float *x, size_t heads)
{
    const rrt__pass *p = b->pass;
    const rrt__shape *shape = &p->model->shape;
    const float *cos_sin = rrt__attend_rotation(p, depth);
    size_t at = row * heads * shape->head_dim;
    const rrt__norm *norm = &p->depths[depth].norm[place];
    if (plain)
        p->ws->kernels->rms_norm(x + at, plain + at, norm->gain, heads * shape->head_dim / norm->width,
                                 norm->width, (float)shape->norm_epsilon);
    if (cos_sin)
        p->ws->kernels->rope(x + at, cos_sin + row * shape->rotary, heads, shape->head_dim, shape->rotary);
}

static void store(const rrt__block *b, const rrt__span *span, size_t position, size_t row)
{
    const rrt__shape *shape = &b->pass->model->shape;
    int depth = rrt__block_row_depth(b, row);
    if (b->pass->depths[depth].kv != depth) return;
    rrt__kv_rows kv = rrt__block_kv(b);
    size_t at = row * shape->kv_heads * shape->head_dim;
    rotate(b, depth, RRT__NORM_K, row, b->pass->ws->plain_k, kv.k, shape->kv_heads);
    if (span->sequence) rrt__sequence_store(span->sequence, position, depth, kv.k + at, kv.v + at);
}

static void rotate_and_store(const rrt__block *b, const rrt__span *span, size_t position, size_t row)
{
    rrt__workspace *ws = b->pass->ws;
    rotate(b, rrt__block_row_depth(b, row), RRT__NORM_Q, row, ws->plain_q, ws->q,
           b->pass->model->shape.heads);
    store(b, span, position, row);
}

rrt__causal rrt__attend_causal(const rrt__pass *p, int depth, size_t row, size_t tokens)
{
    const rrt__shape *shape = &p->model->shape;
    rrt__kv_rows kv = p->ws->kv[p->depths[depth].kv];
    size_t kv_at = row * shape->kv_heads * shape->head_dim;
    return (rrt__causal){.tokens = tokens,
                         .heads = shape->heads,
                         .kv_heads = shape->kv_heads,
                         .head_dim = shape->head_dim,
                         .window = rrt__attend_window(p, depth),
                         .scale = rrt__attend_scale(shape),
                         .cap = (float)shape->attention_cap,
                         .q = p->ws->q + row * shape->heads * shape->head_dim,
                         .k = kv.k + kv_at,
                         .v = kv.v + kv_at};
}

// The spans that are whole texts; each thread takes some of the heads.
static void attend_whole(const rrt__block *b)
{
    const rrt__pass *p = b->pass;
    rrt__workspace *ws = p->ws;
    size_t heads = p->model->shape.heads, row = 0, item = 0;
    for (size_t s = 0; s < p->n_spans; row += p->spans[s++].count) {
        if (p->spans[s].sequence) continue;
        rrt__causal whole = rrt__attend_causal(p, b->segments[0].depth, row, p->spans[s].count);
        for (size_t h = 0; h < heads; h++, item++)
            if (item % (size_t)p->team.nth == (size_t)p->team.ith)
                rrt__causal_forward(ws->kernels, &whole, h, ws->attended + row * heads * whole.head_dim,
                                    ws->log_sums + row * heads,
                                    ws->scores + (size_t)p->team.ith * ws->scores_stride);
    }
}

// The segments with keys and values of their own. They come first: where loops share keys and values, the
// first loop's.
static rrt__block with_own_kv(const rrt__block *b)
{
    rrt__block own = *b;
    own.n_segments = own.n_rows = 0;
    while (own.n_segments < b->n_segments) {
        const rrt__segment *next = &b->segments[own.n_segments];
        if (b->pass->depths[next->depth].kv != next->depth) break;
        own.n_rows = next->end;
        own.n_segments++;
    }
    return own;
}

void rrt__attend_project(const rrt__block *b)
{
    static const rrt__matrix all[] = {RRT__MATRIX_Q, RRT__MATRIX_K, RRT__MATRIX_V,
                                      RRT__MATRIX_ATTENTION_GATE};
    rrt__workspace *ws = b->pass->ws;
    const float *x = ws->normed[RRT__NORM_ATTENTION];
    rrt__kv_rows kv = rrt__block_kv(b);
    float *q = ws->plain_q ? ws->plain_q : ws->q, *k = ws->plain_k ? ws->plain_k : kv.k;
    rrt__block own = with_own_kv(b);
    if (own.n_segments == b->n_segments) {
        rrt__project_share(b, all, ws->attention_gate ? 4 : 3, x, (float *[]){q, k, kv.v, ws->attention_gate},
                           0);
    } else {
        rrt__project_share(b, all, 1, x, &q, 0);
        if (own.n_segments) rrt__project_share(&own, all + 1, 2, x, (float *[]){k, kv.v}, 0);
    }
    rrt__team_barrier(b->pass->team);
}

void rrt__attend_rotate(const rrt__block *b)
{
    each_row(b, rotate_and_store);
    rrt__team_barrier(b->pass->team);
}

void rrt__attend(const rrt__block *b)
{
    rrt__attend_pages(b);
    attend_whole(b);
    rrt__team_barrier(b->pass->team);
}
