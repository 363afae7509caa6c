#include "pass/backward.h"

#include <string.h>

#include "kernels/gemm.h"
#include "pass/attend.h"

// The state of one block in the backward pass.
typedef struct back {
    rrt__pass pass; // ws: the depth's own
    rrt__tape *tape;
    int depth;
    const float *input;  // input of attention's norm
    const float *middle; // input of the MLP's norm
} back;

rrt__pass rrt__tape_pass(rrt__tape *tape, rrt__team team, const rrt__span *spans, size_t n_spans)
{
    rrt__pass pass = rrt__pass_make(team, tape->model, &tape->shared, spans, n_spans);
    pass.depths = tape->depths;
    pass.products = tape->products;
    return pass;
}

// effective = W + B·A for the matrices of this depth that have a LoRA.
static void form_effective(const rrt__pass *p, rrt__tape *tape, int depth)
{
    const rrt__lora *loras = tape->model->depths[depth].lora;
    const rrt__slot *slot = tape->model->depths[depth].slot;
    const rrt__slot *effective = tape->depths[depth].slot;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++)
        if (loras[m].rank)
            rrt__team_copy_share(p->team, effective->matrix[m].weight, slot->matrix[m].weight,
                                 slot->matrix[m].out, slot->matrix[m].in);
    rrt__team_barrier(p->team);
    for (int m = 0; m < RRT__MATRIX_COUNT; m++)
        if (loras[m].rank)
            rrt__gemm_input_gradient_share(p->team, p->products, effective->matrix[m].weight,
                                           loras[m].b.weight, loras[m].a.weight, slot->matrix[m].out,
                                           loras[m].rank, slot->matrix[m].in, 1);
    rrt__team_barrier(p->team);
}

// Runs a depth's block, with `end` as its second half; the workspace then holds the activations for the tape.
static void run(const rrt__pass *p, rrt__tape *tape, int depth, rrt__block_function *end)
{
    rrt__segment segment = {depth, 0, p->n_rows};
    size_t hidden = tape->model->shape.hidden;
    form_effective(p, tape, depth);
    rrt__walk_enter(p, &segment, 1);
    rrt__forward_attention(p, &segment, 1);
    rrt__team_copy_share(p->team, tape->middle[depth], p->ws->hidden, p->n_rows, hidden);
    end(p, &segment, 1); // waits before it changes the hidden state
}

void rrt__tape_forward(const rrt__pass *pass, rrt__tape *tape, rrt__depth_range range)
{
    for (int d = range.begin; d < range.end; d++) {
        rrt__pass p = *pass;
        p.ws = &tape->at[d];
        rrt__team_copy_share(p.team, tape->before[d], p.ws->hidden, p.n_rows, tape->model->shape.hidden);
        run(&p, tape, d, rrt__forward_mlp);
    }
}

static bool has_norm(const back *b, rrt__norm_place place)
{
    return rrt__family_has_norm(b->tape->model->family, place);
}

// dx += dy, this thread's share of the rows.
static void add_rows(const back *b, float *dx, const float *dy, size_t width)
{
    rrt__share share = rrt__team_share(b->pass.team, b->pass.n_rows, 1);
    for (size_t i = share.begin * width; i < share.end * width; i++) dx[i] += dy[i];
    rrt__team_barrier(b->pass.team);
}

// Runs the block again from its stored input up to the input of down, or down's output if a norm follows: the
// backward pass needs no more.
static void run_again(const back *b)
{
    const rrt__pass *p = &b->pass;
    bool needs_output = has_norm(b, RRT__NORM_AFTER_MLP);
    rrt__team_copy_share(p->team, p->ws->hidden, b->tape->before[b->depth], p->n_rows,
                         b->tape->model->shape.hidden);
    rrt__team_barrier(p->team);
    run(p, b->tape, b->depth, needs_output ? rrt__forward_mlp : rrt__forward_mlp_input);
}

static void norm_again_share(const back *b, rrt__norm_place place, const float *x)
{
    rrt__forward_norm_share(&b->pass, &b->tape->model->depths[b->depth].norm[place],
                            b->pass.ws->normed[place], x, 0, b->pass.n_rows);
}

void rrt__tape_backward_norm(rrt__team team, rrt__tape *tape, const rrt__norm *norm, rrt__norm *gradient,
                             const float *x, const float *dy, float *dx, size_t rows)
{
    size_t width = norm->width;
    rrt__share share = rrt__team_share(team, rows, 1),
               columns = rrt__team_share(team, width, RRT__GEMM_GRAIN);
    float epsilon = (float)tape->model->shape.norm_epsilon;
    float *part = tape->partial + (size_t)team.ith * 2 * width;
    size_t at = share.begin * width, own = share.end - share.begin;
    memset(part, 0, 2 * width * sizeof *part);
    if (norm->bias)
        tape->kernels->layer_norm(dx + at, part, part + width, x + at, norm->gain, dy + at, own, width,
                                  epsilon);
    else
        tape->kernels->rms_norm(dx + at, part, x + at, norm->gain, dy + at, own, width, epsilon);
    rrt__team_barrier(team);
    for (int t = 0; t < team.nth && tape->trains[RRT__PARAMETER_NORM]; t++) {
        part = tape->partial + (size_t)t * 2 * width;
        for (size_t i = columns.begin; i < columns.end; i++) gradient->gain[i] += part[i];
        for (size_t i = columns.begin; i < columns.end && gradient->bias; i++)
            gradient->bias[i] += part[width + i];
    }
    rrt__team_barrier(team);
}

// dx += …; x, dy, dx: [rows, width of the norm].
static void backward_norm(const back *b, rrt__norm_place place, const float *x, const float *dy, float *dx,
                          size_t rows)
{
    rrt__tape *tape = b->tape;
    rrt__tape_backward_norm(b->pass.team, tape, &tape->model->depths[b->depth].norm[place],
                            &tape->gradient->depths[b->depth].norm[place], x, dy, dx, rows);
}

// The same with dx = … . Each thread zeroes the part of dx that it then adds to.
static void backward_norm_fresh(const back *b, rrt__norm_place place, const float *x, const float *dy,
                                float *dx, size_t rows)
{
    size_t width = b->tape->model->depths[b->depth].norm[place].width;
    rrt__share share = rrt__team_share(b->pass.team, rows, 1);
    memset(dx + share.begin * width, 0, (share.end - share.begin) * width * sizeof *dx);
    backward_norm(b, place, x, dy, dx, rows);
}

static void backward_input_norm(const back *b, rrt__norm_place place, const float *x)
{
    if (!has_norm(b, place))
        add_rows(b, b->tape->d_hidden, b->tape->d_normed[place], b->tape->model->shape.hidden);
    else
        backward_norm(b, place, x, b->tape->d_normed[place], b->tape->d_hidden, b->pass.n_rows);
}

// The gradient of attention's or the MLP's output: the hidden state's, times the residual's multiplier,
// through the norm that follows, if any. No family has both.
static const float *backward_branch(const back *b, rrt__norm_place input, rrt__norm_place after)
{
    rrt__tape *tape = b->tape;
    float scale = rrt__model_residual_scale(tape->model);
    size_t width = tape->model->shape.hidden;
    if (!has_norm(b, after) && scale == 1) return tape->d_hidden;
    if (has_norm(b, after)) {
        backward_norm_fresh(b, after, b->pass.ws->branch[input], tape->d_hidden, tape->d_branch,
                            b->pass.n_rows);
        return tape->d_branch;
    }
    rrt__share share = rrt__team_share(b->pass.team, b->pass.n_rows, 1);
    for (size_t i = share.begin * width; i < share.end * width; i++)
        tape->d_branch[i] = scale * tape->d_hidden[i];
    rrt__team_barrier(b->pass.team);
    return tape->d_branch;
}

static void backward_bias_share(const back *b, rrt__matrix m, const float *dy, size_t out)
{
    float *bias = b->tape->gradient->depths[b->depth].bias[m];
    rrt__share columns = rrt__team_share(b->pass.team, out, RRT__GEMM_GRAIN);
    for (size_t r = 0; r < b->pass.n_rows && bias; r++)
        for (size_t c = columns.begin; c < columns.end; c++) bias[c] += dy[r * out + c];
}

// With a LoRA: G once, and from it dW, dB and dA.
static void backward_relaxed(const back *b, rrt__matrix m, const float *dy, const float *x)
{
    rrt__tape *tape = b->tape;
    const rrt__lora *lora = &tape->model->depths[b->depth].lora[m];
    rrt__lora *d_lora = &tape->gradient->depths[b->depth].lora[m];
    rrt__linear *d_linear = &tape->gradient->depths[b->depth].slot->matrix[m];
    rrt__products products = b->pass.products;
    size_t out = d_linear->out, in = d_linear->in;
    rrt__gemm_weight_gradient_share(b->pass.team, products, tape->d_matrix, dy, x, b->pass.n_rows, out, in,
                                    0);
    rrt__team_barrier(b->pass.team);
    if (tape->trains[RRT__PARAMETER_SHARED]) {
        rrt__share rows = rrt__team_share(b->pass.team, out, RRT__GEMM_GRAIN);
        for (size_t i = rows.begin * in; i < rows.end * in; i++) d_linear->weight[i] += tape->d_matrix[i];
    }
    if (tape->trains[RRT__PARAMETER_LORA]) {
        rrt__gemm_share(b->pass.team, products, d_lora->b.weight, tape->d_matrix, lora->a.weight, out,
                        lora->rank, in, 1);
        rrt__gemm_weight_gradient_share(b->pass.team, products, d_lora->a.weight, lora->b.weight,
                                        tape->d_matrix, out, lora->rank, in, 1);
    }
    rrt__team_barrier(b->pass.team);
}

// The gradients of y = (W + B·A)·x + bias with respect to its parameters. dy and x are complete.
static void backward_linear_share(const back *b, rrt__matrix m, const float *dy, const float *x)
{
    rrt__tape *tape = b->tape;
    rrt__linear *gradient = &tape->gradient->depths[b->depth].slot->matrix[m];
    bool shared = tape->trains[RRT__PARAMETER_SHARED];
    bool relaxed = tape->model->depths[b->depth].lora[m].rank > 0;
    if (relaxed && (shared || tape->trains[RRT__PARAMETER_LORA]))
        backward_relaxed(b, m, dy, x);
    else if (shared)
        rrt__gemm_weight_gradient_share(b->pass.team, b->pass.products, gradient->weight, dy, x,
                                        b->pass.n_rows, gradient->out, gradient->in, 1);
    if (shared) backward_bias_share(b, m, dy, gradient->out);
}

// dx of y = (W + B·A)·x: = or +=.
static void backward_input_share(const back *b, rrt__matrix m, const float *dy, float *dx, int accumulate)
{
    const rrt__linear *linear = &b->tape->depths[b->depth].slot->matrix[m];
    rrt__gemm_input_gradient_share(b->pass.team, b->pass.products, dx, dy, linear->weight, b->pass.n_rows,
                                   linear->out, linear->in, accumulate);
}

// From d_hidden to d_normed of the MLP's norm.
static void backward_mlp(const back *b)
{
    rrt__tape *tape = b->tape;
    const rrt__workspace *ws = b->pass.ws;
    size_t ffn = tape->model->shape.ffn;
    rrt__mlp_kind mlp = tape->model->family->mlp;
    const float *dy = backward_branch(b, RRT__NORM_MLP, RRT__NORM_AFTER_MLP);
    norm_again_share(b, RRT__NORM_MLP, b->middle);
    backward_input_share(b, RRT__MATRIX_DOWN, dy, ws->activated, 0);
    rrt__team_barrier(b->pass.team);
    // activated holds its gradient until the kernel replaces it by the activation.
    rrt__share share = rrt__team_share(b->pass.team, b->pass.n_rows * ffn, RRT__GEMM_GRAIN);
    size_t at = share.begin, count = share.end - share.begin;
    if (mlp == RRT__MLP_SILU_GATED)
        tape->kernels->silu_mul(ws->gate + at, ws->up + at, ws->activated + at, count);
    else if (mlp == RRT__MLP_GELU_GATED)
        tape->kernels->gelu_mul(ws->gate + at, ws->up + at, ws->activated + at, count);
    else
        tape->kernels->gelu(ws->up + at, ws->activated + at, count);
    rrt__team_barrier(b->pass.team);
    backward_linear_share(b, RRT__MATRIX_DOWN, dy, ws->activated);
    backward_linear_share(b, RRT__MATRIX_UP, ws->up, ws->normed[RRT__NORM_MLP]);
    backward_input_share(b, RRT__MATRIX_UP, ws->up, tape->d_normed[RRT__NORM_MLP], 0);
    if (rrt__family_is_gated(tape->model->family)) {
        backward_linear_share(b, RRT__MATRIX_GATE, ws->gate, ws->normed[RRT__NORM_MLP]);
        backward_input_share(b, RRT__MATRIX_GATE, ws->gate, tape->d_normed[RRT__NORM_MLP], 1);
    }
    rrt__team_barrier(b->pass.team);
}

static bool has_own_kv(const back *b)
{
    return b->tape->depths[b->depth].kv == b->depth;
}

static rrt__kv_rows kv_gradient(const back *b)
{
    return b->tape->d_kv[b->tape->depths[b->depth].kv];
}

static bool is_read_later(const back *b)
{
    const rrt__depth *depths = b->tape->depths;
    for (int d = b->depth + 1; d < b->tape->model->plan.n_depths; d++)
        if (depths[d].kv == depths[b->depth].kv) return true;
    return false;
}

// The backward pass meets a depth's keys and values first at the last depth that reads them.
static void clear_kv_gradient_share(const back *b)
{
    const rrt__shape *shape = &b->tape->model->shape;
    rrt__kv_rows rows = kv_gradient(b);
    rrt__share share = rrt__team_share(b->pass.team, b->pass.n_rows, 1);
    size_t width = shape->kv_heads * shape->head_dim;
    size_t at = share.begin * width, bytes = (share.end - share.begin) * width * sizeof(float);
    if (is_read_later(b)) return;
    memset(rows.k + at, 0, bytes);
    memset(rows.v + at, 0, bytes);
}

// Each thread takes some of the heads.
static void backward_softmax_share(const back *b)
{
    rrt__tape *tape = b->tape;
    const rrt__shape *shape = &tape->model->shape;
    const rrt__workspace *ws = b->pass.ws;
    size_t q_width = shape->heads * shape->head_dim, kv_width = shape->kv_heads * shape->head_dim;
    size_t row = 0, item = 0;
    rrt__kv_rows d_rows = kv_gradient(b);
    for (size_t s = 0; s < b->pass.n_spans; row += b->pass.spans[s++].count) {
        size_t q = row * q_width, kv = row * kv_width;
        rrt__causal whole = rrt__attend_causal(&b->pass, b->depth, row, b->pass.spans[s].count);
        rrt__causal_gradient gradient = {
            ws->attended + q, tape->d_attended + q, ws->log_sums + row * shape->heads,
            tape->d_q + q,    d_rows.k + kv,        d_rows.v + kv};
        for (size_t h = 0; h < shape->kv_heads; h++, item++)
            if (item % (size_t)b->pass.team.nth == (size_t)b->pass.team.ith)
                rrt__causal_backward(ws->kernels, tape->kernels, &whole, &gradient, h,
                                     ws->scores + (size_t)b->pass.team.ith * ws->scores_stride);
    }
}

static void backward_rope_share(const back *b)
{
    const rrt__shape *shape = &b->tape->model->shape;
    const float *rotation = rrt__attend_rotation(&b->pass, b->depth);
    rrt__share share = rrt__team_share(b->pass.team, b->pass.n_rows, 1);
    for (size_t r = share.begin; r < share.end && rotation; r++) {
        const float *cos_sin = rotation + r * shape->rotary;
        float *d_q = b->tape->d_q + r * shape->heads * shape->head_dim;
        float *d_k = kv_gradient(b).k + r * shape->kv_heads * shape->head_dim;
        b->tape->kernels->rope(d_q, cos_sin, shape->heads, shape->head_dim, shape->rotary);
        if (has_own_kv(b))
            b->tape->kernels->rope(d_k, cos_sin, shape->kv_heads, shape->head_dim, shape->rotary);
    }
}

// The gradient of q's or k's projection, [rows·heads, head_dim]: the gradient before the rotation, through
// the norm, if any.
static const float *backward_head_norm(const back *b, rrt__norm_place place, const float *plain,
                                       const float *dy, float *dx, size_t heads)
{
    const rrt__shape *shape = &b->tape->model->shape;
    if (!has_norm(b, place)) return dy;
    size_t width = b->tape->model->depths[b->depth].norm[place].width;
    backward_norm_fresh(b, place, plain, dy, dx, b->pass.n_rows * heads * shape->head_dim / width);
    return dx;
}

// From d_hidden to d_normed of the attention's norm.
static void backward_attention(const back *b)
{
    rrt__tape *tape = b->tape;
    const rrt__workspace *ws = b->pass.ws;
    const rrt__shape *shape = &tape->model->shape;
    const float *x = ws->normed[RRT__NORM_ATTENTION];
    const float *branch = backward_branch(b, RRT__NORM_ATTENTION, RRT__NORM_AFTER_ATTENTION);
    norm_again_share(b, RRT__NORM_ATTENTION, b->input);
    backward_input_share(b, RRT__MATRIX_O, branch, tape->d_attended, 0);
    backward_linear_share(b, RRT__MATRIX_O, branch, ws->attended);
    clear_kv_gradient_share(b);
    rrt__team_barrier(b->pass.team);
    backward_softmax_share(b);
    rrt__team_barrier(b->pass.team);
    backward_rope_share(b);
    rrt__team_barrier(b->pass.team);
    bool own_kv = has_own_kv(b);
    const float *dy[3] = {
        backward_head_norm(b, RRT__NORM_Q, ws->plain_q, tape->d_q, tape->d_plain_q, shape->heads),
        kv_gradient(b).k, kv_gradient(b).v};
    if (own_kv)
        dy[1] = backward_head_norm(b, RRT__NORM_K, ws->plain_k, dy[1], tape->d_plain_k, shape->kv_heads);
    for (int i = 0; i < (own_kv ? 3 : 1); i++) {
        rrt__matrix m = RRT__MATRIX_Q + (rrt__matrix)i;
        backward_linear_share(b, m, dy[i], x);
        backward_input_share(b, m, dy[i], tape->d_normed[RRT__NORM_ATTENTION], i > 0);
    }
    rrt__team_barrier(b->pass.team);
}

// The block's input: the hidden state before it or, where it begins a loop, after the norm at the
// loop's entry.
static const float *input_of(const rrt__pass *p, rrt__tape *tape, int depth)
{
    if (tape->depths[depth].entry == RRT__ENTRY_NONE) return tape->before[depth];
    rrt__forward_norm_share(p, &tape->model->final_norm, tape->entered, tape->before[depth], 0, p->n_rows);
    rrt__team_barrier(p->team);
    return tape->entered;
}

// Takes d_hidden back through the norm at a loop's entry.
static void backward_enter(const back *b)
{
    rrt__tape *tape = b->tape;
    rrt__share share = rrt__team_share(b->pass.team, b->pass.n_rows, 1);
    size_t width = tape->model->shape.hidden, at = share.begin * width,
           bytes = (share.end - share.begin) * width * sizeof(float);
    if (tape->depths[b->depth].entry == RRT__ENTRY_NONE) return;
    memcpy(tape->d_entered + at, tape->d_hidden + at, bytes);
    memset(tape->d_hidden + at, 0, bytes); // each thread zeroes the part that it adds to
    rrt__tape_backward_norm(b->pass.team, tape, &tape->model->final_norm, &tape->gradient->final_norm,
                            tape->before[b->depth], tape->d_entered, tape->d_hidden, b->pass.n_rows);
}

static void backward_block(const rrt__pass *pass, rrt__tape *tape, int depth, bool is_fresh)
{
    bool parallel = tape->model->shape.parallel_residual;
    const float *input = input_of(pass, tape, depth);
    back b = {*pass, tape, depth, input, parallel ? input : tape->middle[depth]};
    b.pass.ws = &tape->at[depth];
    if (!is_fresh && tape->recompute) run_again(&b);
    backward_mlp(&b);
    if (!parallel) backward_input_norm(&b, RRT__NORM_MLP, b.middle);
    backward_attention(&b);
    if (parallel) backward_input_norm(&b, RRT__NORM_MLP, b.middle);
    backward_input_norm(&b, RRT__NORM_ATTENTION, input);
    backward_enter(&b);
}

void rrt__tape_backward(const rrt__pass *pass, rrt__tape *tape, rrt__depth_range range, bool is_fresh)
{
    for (int d = range.end - 1; d >= range.begin; d--)
        backward_block(pass, tape, d, is_fresh && d == range.end - 1);
}

void rrt__tape_backward_embed(const rrt__pass *p, rrt__tape *tape, const int32_t *ids)
{
    size_t hidden = tape->model->shape.hidden;
    rrt__share columns = rrt__team_share(p->team, hidden, RRT__GEMM_GRAIN);
    float scale = rrt__model_embedding_scale(tape->model);
    for (size_t r = 0; r < p->n_rows && tape->trains[RRT__PARAMETER_EMBEDDING]; r++) {
        float *row = tape->gradient->embedding->weight + (size_t)ids[r] * hidden;
        for (size_t c = columns.begin; c < columns.end; c++) row[c] += scale * tape->d_hidden[r * hidden + c];
    }
    rrt__team_barrier(p->team);
}
