#include "model/forward.h"

#include <string.h>

#include "kernels/gemm.h"
#include "model/project.h"

static void set_rotation(float *cos_sin, size_t position, size_t rotary, const float *frequency)
{
    for (size_t p = 0; p < rotary / 2; p++) {
        // In f32, as the models were trained: the angle's rounding is part of the model.
        float angle = (float)position * frequency[p];
        cos_sin[p] = cosf(angle);
        cos_sin[p + rotary / 2] = sinf(angle);
    }
}

void rrt__forward_rotations(rrt__team team, const rrt_model *model, rrt__workspace *ws,
                            const rrt__span *spans, size_t n_spans)
{
    size_t rotary = model->shape.rotary, row = 0;
    rrt__share share = rrt__team_share(team, rrt__spans_rows(spans, n_spans), 1);
    for (size_t s = 0; s < n_spans; s++) {
        for (size_t i = 0; i < spans[s].count; i++, row++) {
            if (row < share.begin || row >= share.end) continue;
            size_t position = spans[s].position + i;
            set_rotation(ws->cos_sin + row * rotary, position, rotary, ws->frequency);
            if (ws->local_cos_sin)
                set_rotation(ws->local_cos_sin + row * rotary, position, rotary, ws->local_frequency);
        }
    }
}

void rrt__forward_embed(rrt__team team, const rrt_model *model, rrt__workspace *ws, const rrt__span *spans,
                        size_t n_spans, const int32_t *ids)
{
    size_t hidden = model->shape.hidden;
    float scale = rrt__model_embedding_scale(model);
    rrt__share share = rrt__team_share(team, rrt__spans_rows(spans, n_spans), 1);
    for (size_t row = share.begin; row < share.end; row++) {
        float *state = ws->hidden + row * hidden;
        if (model->is_packed)
            rrt__packed_row(model->packed_embedding, (size_t)ids[row], state);
        else
            memcpy(state, model->embedding + (size_t)ids[row] * hidden, hidden * sizeof(float));
        for (size_t c = 0; c < hidden && scale != 1; c++) state[c] *= scale;
    }
    rrt__forward_rotations(team, model, ws, spans, n_spans);
    rrt__team_barrier(team);
}

void rrt__forward_norm(rrt__team team, const rrt_model *model, const rrt__kernels *kernels,
                       const rrt__norm *norm, float *out, const float *x, size_t begin, size_t end)
{
    size_t width = norm->width;
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

// hidden += W·x, or the norm of it where one follows. The rows of a segment that a thread norms it also adds.
static void project_branch(const rrt__block *b, rrt__matrix m, const float *x, rrt__norm_place input,
                           rrt__norm_place after)
{
    rrt__workspace *ws = b->ws;
    size_t width = b->model->shape.hidden;
    if (!rrt__family_has_norm(b->model->family, after)) {
        rrt__project(b, m, 1, x, &ws->hidden, 1);
        return;
    }
    rrt__project(b, m, 1, x, &ws->branch[input], 0);
    rrt__team_barrier(b->team);
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__segment *segment = &b->segments[s];
        const rrt__norm *norm = &b->model->depths[segment->depth].norm[after];
        rrt__share rows = rrt__team_share(b->team, segment->end - segment->begin, 1);
        rrt__forward_norm(b->team, b->model, ws->kernels, norm, ws->added, ws->branch[input], segment->begin,
                          segment->end);
        for (size_t i = (segment->begin + rows.begin) * width; i < (segment->begin + rows.end) * width; i++)
            ws->hidden[i] += ws->added[i];
    }
}

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
    if (plain)
        b->ws->kernels->rms_norm(x + at, plain + at, b->model->depths[depth].norm[place].gain, heads,
                                 shape->head_dim, (float)shape->norm_epsilon);
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
    rrt__attention a = {window && end > window ? end - window : 0, end, shape->head_dim,
                        rrt__shape_scale(shape), (float)shape->attention_cap};
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

static void attention(const rrt__block *b)
{
    rrt__workspace *ws = b->ws;
    project_qkv(b);
    rrt__team_barrier(b->team);
    each_row(b, rotate_and_store);
    rrt__team_barrier(b->team);
    attend_pages(b);
    attend_whole(b);
    rrt__team_barrier(b->team);
    project_branch(b, RRT__MATRIX_O, ws->attended, RRT__NORM_ATTENTION, RRT__NORM_AFTER_ATTENTION);
}

// Up to the input of down.
static void mlp_input(const rrt__block *b)
{
    rrt__workspace *ws = b->ws;
    const float *x = ws->normed[RRT__NORM_MLP];
    rrt__mlp_kind mlp = b->model->family->mlp;
    if (rrt__family_is_gated(b->model->family))
        rrt__project(b, RRT__MATRIX_GATE, 2, x, (float *[]){ws->gate, ws->up}, 0);
    else
        rrt__project(b, RRT__MATRIX_UP, 1, x, &ws->up, 0);
    rrt__team_barrier(b->team);
    rrt__share share = rrt__team_share(b->team, b->n_rows * b->model->shape.ffn, RRT__GEMM_GRAIN);
    size_t at = share.begin, values = share.end - share.begin;
    if (mlp == RRT__MLP_SILU_GATED)
        ws->kernels->silu_mul(ws->activated + at, ws->gate + at, ws->up + at, values);
    else if (mlp == RRT__MLP_GELU_GATED)
        ws->kernels->gelu_mul(ws->activated + at, ws->gate + at, ws->up + at, values);
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
    project_branch(&b, RRT__MATRIX_DOWN, workspace->activated, RRT__NORM_MLP, RRT__NORM_AFTER_MLP);
    rrt__team_barrier(team);
}

void rrt__forward_block(rrt__team team, const rrt_model *model, rrt__workspace *workspace,
                        const rrt__span *spans, size_t n_spans, const rrt__segment *segments,
                        size_t n_segments)
{
    rrt__forward_attention(team, model, workspace, spans, n_spans, segments, n_segments);
    rrt__forward_mlp(team, model, workspace, spans, n_spans, segments, n_segments);
}

void rrt__forward_kv(rrt__team team, const rrt_model *model, rrt__workspace *ws, const rrt__span *spans,
                     size_t n_spans, const rrt__segment *segments, size_t n_segments)
{
    rrt__block b = open_block(team, model, ws, spans, n_spans, segments, n_segments);
    rrt__kv_rows kv = rrt__workspace_kv(ws, model, segments[0].depth);
    float *k = ws->plain_k ? ws->plain_k : kv.k;
    rrt__team_barrier(team);
    norm_segments(&b, RRT__NORM_ATTENTION);
    rrt__team_barrier(team);
    rrt__project(&b, RRT__MATRIX_K, 2, ws->normed[RRT__NORM_ATTENTION], (float *[]){k, kv.v}, 0);
    rrt__team_barrier(team);
    each_row(&b, store);
    rrt__team_barrier(team);
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

void rrt__forward_head(rrt__team team, const rrt_model *model, rrt__workspace *ws, const float *x,
                       size_t count, float *logits)
{
    size_t vocab = model->shape.vocab;
    rrt__project_head(team, model, ws, x, count, logits);
    rrt__team_barrier(team);
    if (model->shape.logit_cap == 0) return;
    rrt__share share = rrt__team_share(team, count * vocab, RRT__GEMM_GRAIN);
    ws->kernels->softcap(logits + share.begin, (float)model->shape.logit_cap, share.end - share.begin);
    rrt__team_barrier(team);
}

void rrt__forward_logits(rrt__team team, const rrt_model *model, rrt__workspace *ws, size_t begin,
                         size_t count, float *logits)
{
    size_t hidden = model->shape.hidden;
    rrt__team_barrier(team);
    rrt__forward_norm(team, model, ws->kernels, &model->final_norm, ws->normed[0], ws->hidden, begin,
                      begin + count);
    rrt__team_barrier(team);
    rrt__forward_head(team, model, ws, ws->normed[0] + begin * hidden, count, logits);
}
