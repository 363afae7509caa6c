// Healing: after the ties are solved, the student's hidden state drifts away from the original's from depth
// to depth. Depth by depth all matrices are fitted again to the student's own inputs: those that read the
// hidden state towards what the original's make of the original's, those that write to it (o and down)
// towards the original's hidden state instead of the original's output, so that each depth takes back what
// those before it lost. Shared weights stay; the LoRA of a depth, or the whole matrix of an unshared one,
// moves.
#include "convert/heal.h"

#include "base/progress.h"
#include "convert/convert.h"
#include "convert/lanes.h"
#include "kernels/gemm.h"

static void embed(rrt__team team, void *argument)
{
    rrt__lanes_embed(team, argument);
}

static bool is_unshared(const rrt__healer *h)
{
    return h->depth >= h->model->plan.n_depths - h->model->plan.coda;
}

// Whether a matrix has something that is this depth's alone.
static bool can_move(const rrt__healer *h, rrt__matrix m)
{
    return is_unshared(h) || h->model->depths[h->depth].lora[m].rank > 0;
}

// Fits a matrix to inputs that rrt__fit_inputs has seen and to what is missing, as far as it can move.
static void fit_matrix(rrt__team team, rrt__healer *h, rrt__matrix m, const float *x, const float *original)
{
    const rrt__lora *lora = is_unshared(h) ? NULL : &h->model->depths[h->depth].lora[m];
    rrt__fit_target target = {rrt__lanes_linear(h, m), lora, original, h->merged[m],
                              rrt__conversion_stream(h->depth, m)};
    rrt__fit_matrix(team, &h->fit, x, &target);
    if (h->fit.status) return;
    rrt__lanes_merge(team, h, m);
    rrt__team_barrier(team);
}

// Fits a matrix that writes to the hidden state, then adds what it now gives. goal: the teacher's hidden
// state after it.
static void refit_writer(rrt__team team, rrt__healer *h, rrt__matrix m, const float *x, const float *goal)
{
    const float *bias = h->model->depths[h->depth].bias[m];
    const rrt__linear *linear = rrt__lanes_linear(h, m);
    rrt__share rows = rrt__team_share(team, h->tokens, 1);
    for (size_t r = rows.begin; r < rows.end; r++) {
        for (size_t i = 0, at = r * linear->out; i < linear->out; i++, at++) {
            if (bias) h->student.hidden[at] += bias[i];
            h->fit.missing[at] = goal[at] - h->student.hidden[at];
        }
    }
    rrt__team_barrier(team);
    if (can_move(h, m)) {
        rrt__fit_inputs(team, &h->fit, x, linear->in);
        fit_matrix(team, h, m, x, h->teacher.model->slots[h->depth].matrix[m].weight);
        if (h->fit.status) return;
    }
    rrt__gemm(team, h->student.hidden, x, h->merged[m], h->tokens, linear->out, linear->in, 1);
    rrt__team_barrier(team);
}

// The teacher's matrix as the student holds it: with the gain of its norm, where gains are folded.
static const float *as_held(rrt__team team, const rrt__healer *h, rrt__matrix m, rrt__norm_place place)
{
    const rrt__linear *linear = &h->teacher.model->slots[h->depth].matrix[m];
    const float *gain = h->teacher.model->depths[h->depth].norm[place].gain;
    rrt__share rows = rrt__team_share(team, linear->out, 1);
    if (h->model->norms != RRT__NORMS_FOLDED) return linear->weight;
    for (size_t r = rows.begin; r < rows.end; r++)
        for (size_t i = 0; i < linear->in; i++)
            h->folded[r * linear->in + i] = linear->weight[r * linear->in + i] * gain[i];
    rrt__team_barrier(team);
    return h->folded;
}

// What a matrix that reads has to give: the teacher's output for its own input, less the student's bias.
static void set_missing(rrt__team team, rrt__healer *h, rrt__matrix m)
{
    const rrt__linear *original = &h->teacher.model->slots[h->depth].matrix[m];
    const float *bias = h->teacher.model->depths[h->depth].bias[m], *own = h->model->depths[h->depth].bias[m];
    rrt__share rows = rrt__team_share(team, h->tokens, 1);
    rrt__gemm(team, h->fit.missing, h->expected, original->weight, h->tokens, original->out, original->in, 0);
    rrt__team_barrier(team);
    for (size_t r = rows.begin; bias && r < rows.end; r++)
        for (size_t i = 0; i < original->out; i++) h->fit.missing[r * original->out + i] += bias[i] - own[i];
    rrt__team_barrier(team);
}

// Whether a matrix reads behind this norm and there are tokens enough to fit what does. With few, matrices
// that read learn the sample, and those behind them do not see how far off they are: SmolLM2 (576 inputs) as
// 1 + 3 x 9 + 2 gets a KL of 4.3 from 2,048 tokens, 3.2 if they stay; from 4,096 tokens 2.89, 2.98 if they
// stay.
static bool is_reader(const rrt__healer *h, rrt__matrix m, rrt__norm_place place)
{
    enum { TOKENS_PER_INPUT = 6 };
    return h->merged[m] && rrt__matrix_norm(m) == place && can_move(h, m) &&
           h->tokens >= TOKENS_PER_INPUT * h->model->shape.hidden;
}

// Fits the matrices that read the hidden state behind a norm, so that they make of the student's what the
// teacher's make of the teacher's.
static void refit_readers(rrt__team team, rrt__healer *h, rrt__norm_place place, const float *teacher_hidden)
{
    const rrt_model *teacher = h->teacher.model;
    const rrt__kernels *kernels = h->student.workspace.kernels;
    bool any = false;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) any |= is_reader(h, m, place);
    if (!any) return;
    rrt__forward_norm(team, teacher, kernels, &teacher->depths[h->depth].norm[place], h->expected,
                      teacher_hidden, 0, h->tokens);
    rrt__forward_norm(team, &h->view, kernels, &h->view_depth.norm[place], h->seen, h->student.hidden, 0,
                      h->tokens);
    rrt__team_barrier(team);
    rrt__fit_inputs(team, &h->fit, h->seen, h->model->shape.hidden);
    for (int m = 0; m < RRT__MATRIX_COUNT && !h->fit.status; m++) {
        if (!is_reader(h, m, place)) continue;
        set_missing(team, h, m);
        fit_matrix(team, h, m, h->seen, as_held(team, h, m, place));
    }
}

static void heal_attention(rrt__team team, rrt__healer *h)
{
    bool parallel = h->model->family->parallel_residual; // the MLP then reads the block's input: both at once
    rrt__lanes_show(team, h);
    refit_readers(team, h, RRT__NORM_ATTENTION, h->teacher.hidden);
    if (parallel) refit_readers(team, h, RRT__NORM_MLP, h->teacher.hidden);
    if (h->fit.status) return;
    rrt__lanes_run_student(team, h, true, parallel);
}

static void heal_mlp(rrt__team team, rrt__healer *h)
{
    if (h->model->family->parallel_residual) return;
    refit_readers(team, h, RRT__NORM_MLP, h->middle);
    if (h->fit.status) return;
    rrt__lanes_run_student(team, h, false, true);
}

static void run_depth(rrt__team team, void *argument)
{
    rrt__healer *h = argument;
    bool same = h->depth < h->model->plan.prelude; // until there the two are the same
    if (h->depth == h->model->plan.prelude)
        rrt__team_copy(team, h->student.hidden, h->teacher.hidden, h->tokens, h->model->shape.hidden);
    rrt__team_barrier(team);
    if (!same) heal_attention(team, h);
    if (h->fit.status) return;
    rrt__lanes_run_teacher(team, h);
    if (same) return;
    refit_writer(team, h, RRT__MATRIX_O, h->attended, h->middle);
    if (!h->fit.status) heal_mlp(team, h);
    if (h->fit.status) return;
    refit_writer(team, h, RRT__MATRIX_DOWN, h->activated, h->teacher.hidden);
}

rrt_status rrt__convert_heal(rrt_model *model, const rrt_model *source, const rrt__trace *trace,
                             const rrt_convert_options *o, rrt_error *err)
{
    rrt__healer h = {
        .model = model, .trace = trace, .tokens = o->calibration_count, .ids = o->calibration_ids};
    rrt_status status = rrt__lanes_open(&h, source, o->threads, err);
    h.fit.room.seed = o->seed;
    if (!status) rrt__team_run(o->threads, embed, &h);
    for (h.depth = 0; !status && h.depth < model->plan.n_depths; h.depth++) {
        rrt__team_run(o->threads, run_depth, &h);
        status = h.fit.status;
        if (status && err) *err = h.fit.error;
        if (status) rrt__at(err, status, "healing depth %d", h.depth);
        if (!status)
            status = rrt__progress_report(o->progress, "heal", h.depth + 1, model->plan.n_depths, err);
    }
    rrt__lanes_close(&h);
    return status;
}
