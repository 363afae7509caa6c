// After the ties are solved, the student's hidden state drifts away from the original's from depth to depth.
// So, depth by depth, the two matrices that write to the hidden state (o and down) are fitted again: to the
// student's own inputs, and towards the original's hidden state instead of the original's output, so that
// each depth corrects the errors of those before it. Shared weights stay; only a depth's LoRA, or the whole
// matrix of an unshared one, changes.
#include "convert/reconstruct.h"

#include <string.h>

#include "base/progress.h"
#include "convert/conversion.h"
#include "convert/fit.h"
#include "kernels/algebra.h"
#include "kernels/gemm.h"

// The state of one of the two models, depth after depth.
typedef struct lane {
    rrt__workspace workspace;
    float *hidden; // [tokens, hidden]
} lane;

typedef struct reconstruction {
    rrt_model *model;
    const rrt_model *source;
    lane teacher, student;
    const rrt__trace *trace;
    size_t tokens;
    const int32_t *ids;
    int depth;
    // The student's depths to run: the current one with each LoRA merged into the weight.
    rrt__depth *depths;               // [n_depths]
    rrt__slot slot;                   // used by every depth
    float *merged[RRT__MATRIX_COUNT]; // [out, in]
    float *middle;    // [tokens, hidden]: the teacher's hidden state between attention and MLP
    float *attended;  // [tokens, heads·head_dim]: the student's input of o
    float *activated; // [tokens, ffn]: the student's input of down
    rrt__fit fit;
    rrt__arena arena;
} reconstruction;

static size_t rows_at(const reconstruction *h, size_t at)
{
    return h->tokens - at < RRT__TRACE_WINDOW ? h->tokens - at : RRT__TRACE_WINDOW;
}

static const rrt__linear *linear_of(const reconstruction *h, rrt__matrix m)
{
    return &h->model->depths[h->depth].slot->matrix[m];
}

static rrt__pass student_pass(rrt__team team, reconstruction *h, const rrt__span *span)
{
    rrt__pass pass = rrt__pass_make(team, h->model, &h->student.workspace, span, 1);
    pass.depths = h->depths;
    return pass;
}

static void embed(rrt__team team, void *argument)
{
    reconstruction *h = argument;
    lane *t = &h->teacher;
    size_t hidden = h->model->shape.hidden;
    for (size_t at = 0; at < h->tokens; at += RRT__TRACE_WINDOW) {
        const rrt__span span = {.count = rows_at(h, at)};
        const rrt__pass pass = rrt__pass_make(team, h->source, &t->workspace, &span, 1);
        rrt__forward_embed(&pass, h->ids + at);
        rrt__team_copy_share(team, t->hidden + at * hidden, t->workspace.hidden, span.count, hidden);
        rrt__team_barrier(team);
    }
    // Positions 0 … 511, for all windows, the last of which may be shorter.
    const rrt__span first = {.count = rows_at(h, 0)};
    const rrt__pass teacher = rrt__pass_make(team, h->source, &t->workspace, &first, 1),
                    student = student_pass(team, h, &first);
    rrt__forward_rotations_share(&teacher);
    rrt__forward_rotations_share(&student);
}

static void run_teacher(rrt__team team, reconstruction *h, size_t at)
{
    lane *t = &h->teacher;
    size_t hidden = h->model->shape.hidden, rows = rows_at(h, at), row = at * hidden;
    if (at + rows <= h->trace->tokens) {
        rrt__team_copy_share(team, h->middle + row, h->trace->middle[h->depth] + row, rows, hidden);
        rrt__team_copy_share(team, t->hidden + row, h->trace->after[h->depth] + row, rows, hidden);
        rrt__team_barrier(team);
        return;
    }
    const rrt__span span = {.count = rows};
    const rrt__pass pass = rrt__pass_make(team, h->source, &t->workspace, &span, 1);
    rrt__team_copy_share(team, t->workspace.hidden, t->hidden + row, rows, hidden);
    rrt__team_barrier(team);
    // The original's block: every depth of a shared plan has one layer.
    rrt__trace_block(&pass, h->depth, h->middle + row, t->hidden + row);
}

static void run_student(rrt__team team, reconstruction *h, size_t at, bool attention, bool mlp)
{
    lane *s = &h->student;
    const rrt__shape *shape = &h->model->shape;
    size_t rows = rows_at(h, at), q = shape->heads * shape->head_dim;
    const rrt__span span = {.count = rows};
    const rrt__pass pass = student_pass(team, h, &span);
    const rrt__segment segment = {h->depth, 0, rows};
    rrt__team_copy_share(team, s->workspace.hidden, s->hidden + at * shape->hidden, rows, shape->hidden);
    rrt__team_barrier(team);
    if (attention) rrt__forward_attention_input(&pass, &segment, 1);
    if (mlp) rrt__forward_mlp_input(&pass, &segment, 1);
    if (attention) rrt__team_copy_share(team, h->attended + at * q, s->workspace.attended, rows, q);
    if (mlp)
        rrt__team_copy_share(team, h->activated + at * shape->ffn, s->workspace.activated, rows, shape->ffn);
    rrt__team_barrier(team);
}

// merged[m] = W' + B·A, for this thread's share of the rows.
static void merge(rrt__team team, const reconstruction *h, rrt__matrix m)
{
    const rrt__linear *linear = linear_of(h, m);
    const rrt__lora *lora = &h->model->depths[h->depth].lora[m];
    rrt__share rows = rrt__team_share(team, linear->out, 1);
    size_t count = rows.end - rows.begin, in = linear->in;
    float *merged = h->merged[m] + rows.begin * in;
    memcpy(merged, linear->weight + rows.begin * in, count * in * sizeof(float));
    if (lora->rank)
        rrt__algebra_multiply(merged, in,
                              (rrt__operand){lora->b.weight + rows.begin * lora->rank, lora->rank, false},
                              (rrt__operand){lora->a.weight, in, false}, count, in, lora->rank, 1, 1);
}

static void merge_depth(rrt__team team, const reconstruction *h)
{
    for (int m = 0; m < RRT__MATRIX_COUNT; m++)
        if (h->merged[m]) merge(team, h, m);
    rrt__team_barrier(team);
}

// Fits one matrix as far as the depth's own parameters allow, then adds its new output to the student's
// hidden state. goal: the teacher's hidden state after it.
static void refit(rrt__team team, reconstruction *h, rrt__matrix m, float *x, const float *goal)
{
    const float *bias = h->model->depths[h->depth].bias[m];
    const rrt__linear *linear = linear_of(h, m);
    const rrt__lora *lora = &h->model->depths[h->depth].lora[m];
    bool unshared = h->depth >= h->model->plan.n_depths - h->model->plan.coda;
    rrt__share rows = rrt__team_share(team, h->tokens, 1);
    float scale = rrt__model_residual_scale(h->model);
    for (size_t i = rows.begin * linear->in; i < rows.end * linear->in && scale != 1; i++) x[i] *= scale;
    for (size_t r = rows.begin; r < rows.end; r++) {
        for (size_t i = 0, at = r * linear->out; i < linear->out; i++, at++) {
            if (bias) h->student.hidden[at] += scale * bias[i];
            h->fit.missing[at] = goal[at] - h->student.hidden[at];
        }
    }
    rrt__team_barrier(team);
    if (unshared || lora->rank) {
        const float *original = h->source->slots[h->depth].matrix[m].weight;
        rrt__fit_target target = {linear, unshared ? NULL : lora, original, h->merged[m],
                                  rrt__conversion_stream(h->depth, m)};
        rrt__fit_matrix(team, &h->fit, x, &target);
        if (h->fit.status) return;
        merge(team, h, m);
        rrt__team_barrier(team);
    }
    rrt__gemm_share(team, rrt__products_f32, h->student.hidden, x, h->merged[m], h->tokens, linear->out,
                    linear->in, 1);
    rrt__team_barrier(team);
}

static void run_depth(rrt__team team, void *argument)
{
    reconstruction *h = argument;
    size_t hidden = h->model->shape.hidden;
    bool parallel = h->model->shape.parallel_residual; // the MLP then reads the block's input: both at once
    if (h->depth == h->model->plan.prelude)            // so far the two models are equal
        rrt__team_copy_share(team, h->student.hidden, h->teacher.hidden, h->tokens, hidden);
    rrt__team_barrier(team);
    for (size_t at = 0; at < h->tokens; at += RRT__TRACE_WINDOW) run_teacher(team, h, at);
    if (h->depth < h->model->plan.prelude) return;
    merge_depth(team, h);
    for (size_t at = 0; at < h->tokens; at += RRT__TRACE_WINDOW) run_student(team, h, at, true, parallel);
    refit(team, h, RRT__MATRIX_O, h->attended, h->middle);
    if (h->fit.status) return;
    for (size_t at = 0; at < h->tokens && !parallel; at += RRT__TRACE_WINDOW)
        run_student(team, h, at, false, true);
    refit(team, h, RRT__MATRIX_DOWN, h->activated, h->teacher.hidden);
}

static rrt_status open_lane(reconstruction *h, lane *side, const rrt_model *model, const rrt__depth *depths,
                            int threads, rrt_error *err)
{
    RRT__TRY(rrt__workspace_create_for(&side->workspace, model, depths, RRT__TRACE_WINDOW, RRT__TRACE_WINDOW,
                                       threads, err));
    return rrt__arena_alloc(&h->arena, &side->hidden, h->tokens, model->shape.hidden * sizeof(float),
                            "hidden states", err);
}

static rrt_status open_depths(reconstruction *h, rrt_error *err)
{
    size_t n = (size_t)h->model->plan.n_depths;
    RRT__TRY(rrt__arena_alloc(&h->arena, &h->depths, n, sizeof *h->depths, "depths", err));
    for (size_t d = 0; d < n; d++) {
        h->depths[d] = h->model->depths[d];
        h->depths[d].slot = &h->slot;
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) h->depths[d].lora[m] = (rrt__lora){0};
    }
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        if (!rrt__family_has(h->model->family, m)) continue;
        rrt__shape_matrix(&h->model->shape, m, &out, &in);
        RRT__TRY(rrt__arena_alloc(&h->arena, &h->merged[m], out, in * sizeof(float), "merged weights", err));
        h->slot.matrix[m] = (rrt__linear){.weight = h->merged[m], .out = out, .in = in};
    }
    return RRT_STATUS_OK;
}

static rrt_status open_reconstruction(reconstruction *h, int threads, rrt_error *err)
{
    const rrt__shape *s = &h->source->shape;
    size_t q = s->heads * s->head_dim;
    RRT__TRY(open_depths(h, err));
    RRT__TRY(open_lane(h, &h->teacher, h->source, h->source->depths, threads, err));
    RRT__TRY(open_lane(h, &h->student, h->model, h->depths, threads, err));
    const struct {
        float **buffer;
        size_t width;
    } buffers[] = {{&h->middle, s->hidden}, {&h->attended, q}, {&h->activated, s->ffn}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        RRT__TRY(rrt__arena_alloc(&h->arena, buffers[i].buffer, h->tokens, buffers[i].width * sizeof(float),
                                  "the reconstruction pass", err));
    return rrt__fit_open(&h->fit, h->tokens, s->hidden, q > s->ffn ? q : s->ffn, err);
}

static void close_reconstruction(reconstruction *h)
{
    lane *lanes[2] = {&h->teacher, &h->student};
    for (int i = 0; i < 2; i++) rrt__workspace_free(&lanes[i]->workspace);
    rrt__fit_close(&h->fit);
    rrt__arena_free(&h->arena);
}

rrt_status rrt__convert_reconstruct(rrt_model *model, const rrt_model *source, const rrt__trace *trace,
                                    const rrt__recipe *r, rrt_error *err)
{
    if (rrt__family_has_norm(model->family, RRT__NORM_AFTER_MLP)) return RRT_STATUS_OK;
    reconstruction h = {.model = model, .source = source, .trace = trace, .tokens = r->n_ids, .ids = r->ids};
    rrt_status status = open_reconstruction(&h, r->threads, err);
    h.fit.room.seed = r->seed;
    if (!status) rrt__team_run(r->threads, embed, &h);
    for (h.depth = 0; !status && h.depth < model->plan.n_depths; h.depth++) {
        rrt__team_run(r->threads, run_depth, &h);
        status = h.fit.status;
        if (status && err) *err = h.fit.error;
        if (status) rrt__at(err, status, "reconstructing depth %d", h.depth);
        if (!status)
            status = rrt__progress_report(r->progress, "reconstruct", h.depth + 1, model->plan.n_depths, err);
    }
    close_reconstruction(&h);
    return status;
}
