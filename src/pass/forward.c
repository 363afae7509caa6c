#include "pass/forward.h"

#include <math.h>
#include <string.h>

#include "kernels/storage.h"
#include "pass/attend.h"
#include "pass/project.h"

static void set_rotation(float *cos_sin, size_t position, size_t rotary, const float *frequency, float scale)
{
    for (size_t p = 0; p < rotary / 2; p++) {
        // In f32, as the models were trained: the angle's rounding is part of the model.
        float angle = (float)position * frequency[p];
        cos_sin[p] = cosf(angle) * scale;
        cos_sin[p + rotary / 2] = sinf(angle) * scale;
    }
}

// Angles per position for a span's text: the usual ones, or those for its length, in this thread's buffer.
static const float *frequency_of(const rrt__pass *p, const rrt__span *span)
{
    const rrt__shape *shape = &p->model->shape;
    size_t tokens = span->sequence ? span->sequence->tokens : span->count;
    if (!rrt__rope_length_class(&shape->rope, tokens)) return p->ws->frequency;
    float *own = p->ws->frequency + (size_t)(1 + p->team.ith) * (shape->rotary / 2);
    rrt__rope_frequencies(&shape->rope, shape->rotary, tokens, own);
    return own;
}

void rrt__forward_rotations_share(const rrt__pass *p)
{
    const rrt__shape *shape = &p->model->shape;
    rrt__workspace *ws = p->ws;
    size_t rotary = shape->rotary, row = 0;
    float scale = shape->rope.attention_factor != 0 ? (float)shape->rope.attention_factor : 1.0f;
    rrt__share share = rrt__team_share(p->team, p->n_rows, 1);
    for (size_t s = 0; s < p->n_spans; s++) {
        const rrt__span *span = &p->spans[s];
        bool is_mine = row < share.end && row + span->count > share.begin;
        const float *frequency = is_mine ? frequency_of(p, span) : NULL;
        for (size_t i = 0; i < span->count; i++, row++) {
            if (row < share.begin || row >= share.end) continue;
            size_t position = span->position + i;
            set_rotation(ws->cos_sin + row * rotary, position, rotary, frequency, scale);
            if (ws->local_cos_sin)
                set_rotation(ws->local_cos_sin + row * rotary, position, rotary, ws->local_frequency, 1);
        }
    }
}

void rrt__forward_embed(const rrt__pass *p, const int32_t *ids)
{
    size_t hidden = p->model->shape.hidden;
    float scale = rrt__model_embedding_scale(p->model);
    rrt__share share = rrt__team_share(p->team, p->n_rows, 1);
    for (size_t row = share.begin; row < share.end; row++) {
        float *state = p->ws->hidden + row * hidden;
        rrt__linear_row(p->model->embedding, (size_t)ids[row], state);
        for (size_t c = 0; c < hidden && scale != 1; c++) state[c] *= scale;
    }
    rrt__forward_rotations_share(p);
    rrt__team_barrier(p->team);
}

void rrt__forward_norm_share(const rrt__pass *p, const rrt__norm *norm, float *out, const float *x,
                             size_t begin, size_t end)
{
    size_t width = norm->width;
    rrt__share share = rrt__team_share(p->team, end - begin, 1);
    size_t at = (begin + share.begin) * width, rows = share.end - share.begin;
    float epsilon = (float)p->model->shape.norm_epsilon;
    if (!norm->gain)
        memcpy(out + at, x + at, rows * width * sizeof *out);
    else if (norm->bias)
        p->ws->kernels->layer_norm(out + at, x + at, norm->gain, norm->bias, rows, width, epsilon);
    else
        p->ws->kernels->rms_norm(out + at, x + at, norm->gain, rows, width, epsilon);
}

// --- the parts of a block

static rrt__block open_block(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    return (rrt__block){p, segments, n_segments, p->n_rows, p->depths[segments[0].depth].slot};
}

// Without the rows that only store keys and values.
static rrt__block open_active_block(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    rrt__block b = open_block(p, segments, n_segments);
    while (b.n_segments && segments[b.n_segments - 1].begin >= p->n_active) b.n_segments--;
    b.n_rows = p->n_active;
    return b;
}

static void norm_share(const rrt__block *b, rrt__norm_place place)
{
    rrt__workspace *ws = b->pass->ws;
    for (size_t s = 0; s < b->n_segments; s++)
        rrt__forward_norm_share(b->pass, &rrt__block_depth(b, s)->norm[place], ws->normed[place], ws->hidden,
                                b->segments[s].begin, b->segments[s].end);
}

// The norms of attention's input and, with a parallel residual, of the MLP's.
static void norm_attention(const rrt__block *b)
{
    norm_share(b, RRT__NORM_ATTENTION);
    if (b->pass->model->shape.parallel_residual) norm_share(b, RRT__NORM_MLP);
    rrt__team_barrier(b->pass->team);
}

static void norm_mlp(const rrt__block *b)
{
    if (b->pass->model->shape.parallel_residual) return;
    norm_share(b, RRT__NORM_MLP);
    rrt__team_barrier(b->pass->team);
}

// hidden += W·x, scaled or normed if the model does so. A thread adds the rows that it norms.
static void add_branch(const rrt__block *b, rrt__matrix m, const float *x, rrt__norm_place input,
                       rrt__norm_place after)
{
    const rrt__pass *p = b->pass;
    rrt__workspace *ws = p->ws;
    size_t width = p->model->shape.hidden;
    bool has_norm = rrt__family_has_norm(p->model->family, after);
    float scale = rrt__model_residual_scale(p->model);
    bool is_plain = !has_norm && scale == 1;
    rrt__project_share(b, &m, 1, x, is_plain ? &ws->hidden : &ws->branch[input], is_plain);
    rrt__team_barrier(p->team);
    for (size_t s = 0; s < b->n_segments && !is_plain; s++) {
        const rrt__segment *segment = &b->segments[s];
        rrt__share rows = rrt__team_share(p->team, segment->end - segment->begin, 1);
        const float *added = has_norm ? ws->added : ws->branch[input];
        if (has_norm)
            rrt__forward_norm_share(p, &rrt__block_depth(b, s)->norm[after], ws->added, ws->branch[input],
                                    segment->begin, segment->end);
        for (size_t i = (segment->begin + rows.begin) * width; i < (segment->begin + rows.end) * width; i++)
            ws->hidden[i] += scale * added[i];
    }
    if (!is_plain) rrt__team_barrier(p->team);
}

static void project_gate_and_up(const rrt__block *b)
{
    rrt__workspace *ws = b->pass->ws;
    const float *x = ws->normed[RRT__NORM_MLP];
    if (rrt__family_is_gated(b->pass->model->family))
        rrt__project_share(b, (rrt__matrix[]){RRT__MATRIX_GATE, RRT__MATRIX_UP}, 2, x,
                           (float *[]){ws->gate, ws->up}, 0);
    else
        rrt__project_share(b, (rrt__matrix[]){RRT__MATRIX_UP}, 1, x, &ws->up, 0);
    rrt__team_barrier(b->pass->team);
}

static void activate(const rrt__block *b)
{
    const rrt__pass *p = b->pass;
    rrt__workspace *ws = p->ws;
    rrt__mlp_kind mlp = p->model->family->mlp;
    rrt__share share = rrt__team_share(p->team, b->n_rows * p->model->shape.ffn, RRT__GEMM_GRAIN);
    size_t at = share.begin, values = share.end - share.begin;
    if (mlp == RRT__MLP_SILU_GATED)
        ws->kernels->silu_mul(ws->activated + at, ws->gate + at, ws->up + at, values);
    else if (mlp == RRT__MLP_GELU_GATED)
        ws->kernels->gelu_mul(ws->activated + at, ws->gate + at, ws->up + at, values);
    else
        ws->kernels->gelu(ws->activated + at, ws->up + at, values);
    rrt__team_barrier(p->team);
}

// --- the block

// Multiplies what a head has attended to by the sigmoid of its gate.
static void gate_attention(const rrt__block *b)
{
    const rrt__pass *p = b->pass;
    rrt__workspace *ws = p->ws;
    if (!ws->attention_gate) return;
    size_t width = p->model->shape.heads * p->model->shape.head_dim;
    rrt__share share = rrt__team_share(p->team, b->n_rows * width, RRT__GEMM_GRAIN);
    ws->kernels->sigmoid_mul(ws->attended + share.begin, ws->attention_gate + share.begin,
                             share.end - share.begin);
    rrt__team_barrier(p->team);
}

void rrt__forward_attention_input(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    const rrt__block b = open_block(p, segments, n_segments);
    norm_attention(&b);
    rrt__attend_project(&b);
    rrt__attend_rotate(&b);
    rrt__attend(&b);
    gate_attention(&b);
}

void rrt__forward_attention(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    const rrt__block b = open_active_block(p, segments, n_segments);
    rrt__forward_attention_input(p, segments, n_segments);
    add_branch(&b, RRT__MATRIX_O, p->ws->attended, RRT__NORM_ATTENTION, RRT__NORM_AFTER_ATTENTION);
}

void rrt__forward_mlp_input(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    const rrt__block b = open_active_block(p, segments, n_segments);
    norm_mlp(&b);
    project_gate_and_up(&b);
    activate(&b);
}

void rrt__forward_mlp(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    const rrt__block b = open_active_block(p, segments, n_segments);
    rrt__forward_mlp_input(p, segments, n_segments);
    add_branch(&b, RRT__MATRIX_DOWN, p->ws->activated, RRT__NORM_MLP, RRT__NORM_AFTER_MLP);
}

void rrt__forward_block(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    rrt__forward_attention(p, segments, n_segments);
    rrt__forward_mlp(p, segments, n_segments);
}

// --- after the last block

void rrt__forward_head(const rrt__pass *p, const rrt__linear *head, const float *x, size_t count,
                       float *logits)
{
    rrt__project_head_share(p, head, x, count, logits);
    rrt__team_barrier(p->team);
    float scale = rrt__model_logit_scale(p->model), cap = (float)p->model->shape.logit_cap;
    if (cap == 0 && scale == 1) return;
    rrt__share share = rrt__team_share(p->team, count * head->out, RRT__GEMM_GRAIN);
    for (size_t i = share.begin; i < share.end && scale != 1; i++) logits[i] *= scale;
    if (cap != 0) p->ws->kernels->softcap(logits + share.begin, cap, share.end - share.begin);
    rrt__team_barrier(p->team);
}

void rrt__forward_logits(const rrt__pass *p, size_t begin, size_t count, float *logits)
{
    float *normed = p->ws->normed[0];
    rrt__forward_norm_share(p, &p->model->final_norm, normed, p->ws->hidden, begin, begin + count);
    rrt__team_barrier(p->team);
    rrt__forward_head(p, p->model->head, normed + begin * p->model->shape.hidden, count, logits);
}

rrt_status rrt__logits_fail(rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_NUMERIC, "the model's logits are not finite numbers");
    return rrt__hint(err, status, "its numbers grow beyond what f32 holds: is the file damaged?");
}

rrt_status rrt__logits_check(const float *logits, size_t count, rrt_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(logits[i])) return rrt__logits_fail(err);
    return RRT_STATUS_OK;
}
