#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "kernels/causal.h"
#include "kernels/gemm.h"
#include "model/project.h"

void rrt__forward_embed(rrt__team team, const rrt_model *model, rrt__workspace *ws, const rrt__span *spans,
                        size_t n_spans, const int32_t *ids)
{
    size_t hidden = model->shape.hidden, rotary = model->shape.rotary, row = 0;
    rrt__share share = rrt__team_share(team, rrt__spans_rows(spans, n_spans), 1);
    for (size_t s = 0; s < n_spans; s++) {
        for (size_t i = 0; i < spans[s].count; i++, row++) {
            if (row < share.begin || row >= share.end) continue;
            float *state = ws->hidden + row * hidden;
            if (model->is_packed)
                rrt__packed_row(model->packed_embedding, (size_t)ids[row], state);
            else
                memcpy(state, model->embedding + (size_t)ids[row] * hidden, hidden * sizeof(float));
            float *cos_sin = ws->cos_sin + row * rotary;
            for (size_t p = 0; p < rotary / 2; p++) {
                // In f32, as the models were trained: the angle's rounding is part of the model.
                float frequency = 1.0f / powf((float)model->shape.rope_base, (float)(2 * p) / (float)rotary);
                float angle = (float)(spans[s].position + i) * frequency;
                cos_sin[p] = cosf(angle);
                cos_sin[p + rotary / 2] = sinf(angle);
            }
        }
    }
    rrt__team_barrier(team);
}

void rrt__forward_norm(rrt__team team, const rrt_model *model, const rrt__kernels *kernels,
                       const rrt__norm *norm, float *out, const float *x, size_t begin, size_t end)
{
    size_t width = model->shape.hidden;
    rrt__share share = rrt__team_share(team, end - begin, 1);
    size_t at = (begin + share.begin) * width, rows = share.end - share.begin;
    float epsilon = (float)model->shape.norm_epsilon;
    if (norm->bias)
        kernels->layer_norm(out + at, x + at, norm->gain, norm->bias, rows, width, epsilon);
    else
        kernels->rms_norm(out + at, x + at, norm->gain, rows, width, epsilon);
}

static void norm_segments(const rrt__block *b, rrt__norm_place place)
{
    for (size_t s = 0; s < b->n_segments; s++)
        rrt__forward_norm(b->team, b->model, b->ws->kernels,
                          &b->model->depths[b->segments[s].depth].norm[place], b->ws->normed[place],
                          b->ws->hidden, b->segments[s].begin, b->segments[s].end);
}

static int depth_of_row(const rrt__block *b, size_t row)
{
    size_t s = 0;
    while (row >= b->segments[s].end) s++;
    return b->segments[s].depth;
}

typedef void (*row_function)(const rrt__block *b, const rrt__span *span, size_t position, size_t row);

// Calls function for this thread's share of the rows. Rows of a span lie round-robin: later positions cost
// more.
static void each_row(const rrt__block *b, row_function function)
{
    size_t row = 0;
    for (size_t s = 0; s < b->n_spans; s++)
        for (size_t i = 0; i < b->spans[s].count; i++, row++)
            if (row % (size_t)b->team.nth == (size_t)b->team.ith)
                function(b, &b->spans[s], b->spans[s].position + i, row);
}

static void rotate_and_store(const rrt__block *b, const rrt__span *span, size_t position, size_t row)
{
    const rrt__shape *shape = &b->model->shape;
    const float *cos_sin = b->ws->cos_sin + row * shape->rotary;
    float *q = b->ws->q + row * shape->heads * shape->head_dim;
    int depth = depth_of_row(b, row);
    b->ws->kernels->rope(q, cos_sin, shape->heads, shape->head_dim, shape->rotary);
    if (rrt__model_kv_depth(b->model, depth) != depth) return;
    rrt__kv_rows kv = rrt__workspace_kv(b->ws, b->model, depth);
    float *k = kv.k + row * shape->kv_heads * shape->head_dim;
    const float *v = kv.v + row * shape->kv_heads * shape->head_dim;
    b->ws->kernels->rope(k, cos_sin, shape->kv_heads, shape->head_dim, shape->rotary);
    if (span->sequence) rrt__sequence_store(span->sequence, position, depth, k, v);
}

static void attend(const rrt__block *b, const rrt__span *span, size_t position, size_t row)
{
    if (!span->sequence) return;
    const rrt__shape *shape = &b->model->shape;
    size_t group = shape->heads / shape->kv_heads;
    float scale = 1.0f / sqrtf((float)shape->head_dim);
    float *scores = b->ws->scores + (size_t)b->team.ith * b->ws->scores_stride;
    for (size_t h = 0; h < shape->heads; h++) {
        size_t offset = (row * shape->heads + h) * shape->head_dim;
        rrt__kv_view view = rrt__sequence_view(span->sequence, depth_of_row(b, row), h / group);
        b->ws->kernels->attention(b->ws->attended + offset, b->ws->q + offset, view, position + 1,
                                  shape->head_dim, scale, scores);
    }
}

// The spans that are whole texts; heads are dealt out to the threads.
static void attend_whole(const rrt__block *b)
{
    const rrt__shape *shape = &b->model->shape;
    rrt__workspace *ws = b->ws;
    size_t heads = shape->heads, q_width = heads * shape->head_dim,
           kv_width = shape->kv_heads * shape->head_dim;
    size_t row = 0, item = 0;
    rrt__kv_rows kv = rrt__workspace_kv(ws, b->model, b->segments[0].depth);
    for (size_t s = 0; s < b->n_spans; row += b->spans[s++].count) {
        if (b->spans[s].sequence) continue;
        rrt__causal whole = {b->spans[s].count,
                             heads,
                             shape->kv_heads,
                             shape->head_dim,
                             1.0f / sqrtf((float)shape->head_dim),
                             ws->q + row * q_width,
                             kv.k + row * kv_width,
                             kv.v + row * kv_width};
        for (size_t h = 0; h < heads; h++, item++)
            if (item % (size_t)b->team.nth == (size_t)b->team.ith)
                rrt__causal_forward(ws->kernels, &whole, h, ws->attended + row * q_width,
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
    rrt__block own = *b;
    own.n_segments = own.n_rows = 0;
    while (own.n_segments < b->n_segments) {
        const rrt__segment *next = &b->segments[own.n_segments];
        if (rrt__model_kv_depth(b->model, next->depth) != next->depth) break;
        own.n_rows = next->end;
        own.n_segments++;
    }
    if (own.n_segments == b->n_segments) {
        rrt__project(b, RRT__MATRIX_Q, 3, x, (float *[]){ws->q, kv.k, kv.v}, 0);
        return;
    }
    rrt__project(b, RRT__MATRIX_Q, 1, x, &ws->q, 0);
    if (own.n_segments) rrt__project(&own, RRT__MATRIX_K, 2, x, (float *[]){kv.k, kv.v}, 0);
}

static void attention(const rrt__block *b)
{
    rrt__workspace *ws = b->ws;
    project_qkv(b);
    rrt__team_barrier(b->team);
    each_row(b, rotate_and_store);
    rrt__team_barrier(b->team);
    each_row(b, attend);
    attend_whole(b);
    rrt__team_barrier(b->team);
    rrt__project(b, RRT__MATRIX_O, 1, ws->attended, &ws->hidden, 1);
}

// Up to the input of down.
static void mlp_input(const rrt__block *b)
{
    rrt__workspace *ws = b->ws;
    const float *x = ws->normed[RRT__NORM_MLP];
    bool gated = b->model->family->mlp == RRT__MLP_SILU_GATED;
    if (gated)
        rrt__project(b, RRT__MATRIX_GATE, 2, x, (float *[]){ws->gate, ws->up}, 0);
    else
        rrt__project(b, RRT__MATRIX_UP, 1, x, &ws->up, 0);
    rrt__team_barrier(b->team);
    rrt__share share = rrt__team_share(b->team, b->n_rows * b->model->shape.ffn, RRT__GEMM_GRAIN);
    size_t at = share.begin, values = share.end - share.begin;
    if (gated)
        ws->kernels->silu_mul(ws->activated + at, ws->gate + at, ws->up + at, values);
    else
        ws->kernels->gelu(ws->activated + at, ws->up + at, values);
    rrt__team_barrier(b->team);
}

static rrt__block open_block(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                             const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                             size_t n_segments)
{
    const rrt__slot *slot = &model->slots[model->plan.slot[segments[0].depth]];
    return (rrt__block){
        team, model, workspace, spans, n_spans, segments, n_segments, rrt__spans_rows(spans, n_spans), slot};
}

void rrt__forward_attention(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                            const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                            size_t n_segments)
{
    rrt__block b = open_block(team, model, workspace, spans, n_spans, segments, n_segments);
    rrt__team_barrier(team);
    norm_segments(&b, RRT__NORM_ATTENTION);
    if (model->family->parallel_residual) norm_segments(&b, RRT__NORM_MLP);
    rrt__team_barrier(team);
    attention(&b);
    rrt__team_barrier(team);
}

static void forward_mlp_input(const rrt__block *b)
{
    if (!b->model->family->parallel_residual) {
        norm_segments(b, RRT__NORM_MLP);
        rrt__team_barrier(b->team);
    }
    mlp_input(b);
}

void rrt__forward_mlp_input(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                            const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                            size_t n_segments)
{
    rrt__block b = open_block(team, model, workspace, spans, n_spans, segments, n_segments);
    forward_mlp_input(&b);
}

void rrt__forward_mlp(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                      const rrt__span *spans, size_t n_spans, const rrt__segment *segments, size_t n_segments)
{
    rrt__block b = open_block(team, model, workspace, spans, n_spans, segments, n_segments);
    forward_mlp_input(&b);
    rrt__project(&b, RRT__MATRIX_DOWN, 1, workspace->activated, &workspace->hidden, 1);
    rrt__team_barrier(team);
}

void rrt__forward_block(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                        const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                        size_t n_segments)
{
    rrt__forward_attention(team, model, workspace, spans, n_spans, segments, n_segments);
    rrt__forward_mlp(team, model, workspace, spans, n_spans, segments, n_segments);
}

void rrt__forward_depths(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                         const rrt__span *spans, size_t n_spans, const short *depths, int n_depths)
{
    size_t rows = rrt__spans_rows(spans, n_spans);
    for (int i = 0; i < n_depths; i++) {
        rrt__segment segment = {depths[i], 0, rows};
        rrt__forward_block(team, model, workspace, spans, n_spans, &segment, 1);
    }
}

void rrt__forward_logits(rrt__team team, const rrt_model *model, rrt__workspace *ws, size_t begin,
                         size_t count, float *logits)
{
    size_t hidden = model->shape.hidden;
    rrt__team_barrier(team);
    rrt__forward_norm(team, model, ws->kernels, &model->final_norm, ws->normed[0], ws->hidden, begin,
                      begin + count);
    rrt__team_barrier(team);
    rrt__project_head(team, model, ws, ws->normed[0] + begin * hidden, count, logits);
    rrt__team_barrier(team);
}
