#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "kernels/gemm.h"
#include "model/attend.h"

static void set_rotation(float *cos_sin, size_t position, size_t rotary, const float *frequency, float scale)
{
    for (size_t p = 0; p < rotary / 2; p++) {
        // In f32, as the models were trained: the angle's rounding is part of the model.
        float angle = (float)position * frequency[p];
        cos_sin[p] = cosf(angle) * scale;
        cos_sin[p + rotary / 2] = sinf(angle) * scale;
    }
}

// A text's angles per position: the usual ones, or of its length, in this thread's room.
static const float *frequency_of(rrt__team team, const rrt_model *model, const rrt__workspace *ws,
                                 const rrt__span *span)
{
    size_t rotary = model->shape.rotary, tokens = span->sequence ? span->sequence->tokens : span->count;
    if (!rrt__rope_length_class(&model->shape.rope, tokens)) return ws->frequency;
    float *own = ws->frequency + (size_t)(1 + team.ith) * (rotary / 2);
    rrt__rope_frequencies(&model->shape.rope, rotary, tokens, own);
    return own;
}

void rrt__forward_rotations(rrt__team team, const rrt_model *model, rrt__workspace *ws,
                            const rrt__span *spans, size_t n_spans)
{
    size_t rotary = model->shape.rotary, row = 0;
    float scale = model->shape.rope.attention_factor != 0 ? (float)model->shape.rope.attention_factor : 1.0f;
    rrt__share share = rrt__team_share(team, rrt__spans_rows(spans, n_spans), 1);
    for (size_t s = 0; s < n_spans; s++) {
        bool is_mine = row < share.end && row + spans[s].count > share.begin;
        const float *frequency = is_mine ? frequency_of(team, model, ws, &spans[s]) : NULL;
        for (size_t i = 0; i < spans[s].count; i++, row++) {
            if (row < share.begin || row >= share.end) continue;
            size_t position = spans[s].position + i;
            set_rotation(ws->cos_sin + row * rotary, position, rotary, frequency, scale);
            if (ws->local_cos_sin)
                set_rotation(ws->local_cos_sin + row * rotary, position, rotary, ws->local_frequency, 1);
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
        rrt__linear_row(model->embedding, (size_t)ids[row], state);
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
    if (!norm->gain)
        memcpy(out + at, x + at, rows * width * sizeof *out);
    else if (norm->bias)
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

// hidden += W·x, or a multiple or the norm of it where one follows. The rows of a segment that a thread norms
// it also adds.
static void project_branch(const rrt__block *b, rrt__matrix m, const float *x, rrt__norm_place input,
                           rrt__norm_place after)
{
    rrt__workspace *ws = b->ws;
    size_t width = b->model->shape.hidden;
    bool has_norm = rrt__family_has_norm(b->model->family, after);
    float scale = rrt__model_residual_scale(b->model);
    if (!has_norm && scale == 1) {
        rrt__project(b, m, 1, x, &ws->hidden, 1);
        return;
    }
    rrt__project(b, m, 1, x, &ws->branch[input], 0);
    rrt__team_barrier(b->team);
    for (size_t s = 0; s < b->n_segments; s++) {
        const rrt__segment *segment = &b->segments[s];
        const rrt__norm *norm = &b->model->depths[segment->depth].norm[after];
        rrt__share rows = rrt__team_share(b->team, segment->end - segment->begin, 1);
        const float *added = has_norm ? ws->added : ws->branch[input];
        if (has_norm)
            rrt__forward_norm(b->team, b->model, ws->kernels, norm, ws->added, ws->branch[input],
                              segment->begin, segment->end);
        for (size_t i = (segment->begin + rows.begin) * width; i < (segment->begin + rows.end) * width; i++)
            ws->hidden[i] += scale * added[i];
    }
}

static void attention(const rrt__block *b)
{
    rrt__attend(b);
    project_branch(b, RRT__MATRIX_O, b->ws->attended, RRT__NORM_ATTENTION, RRT__NORM_AFTER_ATTENTION);
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
    if (model->shape.parallel_residual) norm_segments(&b, RRT__NORM_MLP);
    rrt__team_barrier(team);
    attention(&b);
    rrt__team_barrier(team);
}

static void forward_mlp_input(const rrt__block *b)
{
    if (!b->model->shape.parallel_residual) {
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
    rrt__team_barrier(team);
    norm_segments(&b, RRT__NORM_ATTENTION);
    rrt__team_barrier(team);
    rrt__attend_store(&b);
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
    float scale = rrt__model_logit_scale(model), cap = (float)model->shape.logit_cap;
    if (cap == 0 && scale == 1) return;
    rrt__share share = rrt__team_share(team, count * vocab, RRT__GEMM_GRAIN);
    for (size_t i = share.begin; i < share.end && scale != 1; i++) logits[i] *= scale;
    if (cap != 0) ws->kernels->softcap(logits + share.begin, cap, share.end - share.begin);
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
