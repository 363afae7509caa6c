// Healing: after the ties are solved, the student's hidden state drifts away from the original's from depth
// to depth. Depth by depth, the two matrices that write to the hidden state (o and down) are fitted again: to
// the student's own inputs, and towards the original's hidden state instead of the original's output, so that
// each depth takes back what those before it lost. Shared weights stay; the LoRA of a depth, or the whole
// matrix of an unshared one, moves.
#include "convert/heal.h"

#include <cblas.h>
#include <string.h>

#include "convert/low_rank.h"
#include "kernels/gemm.h"

enum { WINDOW = 512 };

// One of the two models on its way through the depths.
typedef struct lane {
    const rrt_model *model;
    rrt__workspace workspace;
    rrt__sequence sequence;
    float *hidden; // [tokens, hidden]
} lane;

typedef struct healer {
    rrt_model *model;
    lane teacher, student;
    size_t tokens, widest; // widest input of o and down
    const int32_t *ids;
    int depth;
    float *middle;    // [tokens, hidden]: the teacher's hidden state between attention and MLP
    float *attended;  // [tokens, heads·head_dim]: the student's input of o
    float *activated; // [tokens, ffn]: the student's input of down
    float *missing;   // [tokens, hidden]: what the matrix has to add to the student's hidden state
    float *gram;      // [widest, widest]
    float *cross;     // [hidden, widest]: E[missing · xᵀ]
    float *effective; // [hidden, widest]: what the matrix does at this depth, LoRA included
    rrt__low_rank_room room;
    rrt__arena arena;
    rrt_status status;
    rrt_error error;
} healer;

static size_t rows_at(const healer *h, size_t at)
{
    return h->tokens - at < WINDOW ? h->tokens - at : WINDOW;
}

// Copies this thread's share of rows; a barrier has to follow before others read them.
static void copy_rows(rrt__team team, float *to, const float *from, size_t rows, size_t width)
{
    rrt__share share = rrt__team_share(team, rows, 1);
    memcpy(to + share.begin * width, from + share.begin * width,
           (share.end - share.begin) * width * sizeof(float));
}

static void embed(rrt__team team, void *argument)
{
    healer *h = argument;
    lane *lanes[2] = {&h->teacher, &h->student};
    size_t hidden = h->model->shape.hidden;
    for (int i = 0; i < 2; i++) {
        for (size_t at = 0; at < h->tokens; at += WINDOW) {
            rrt__span span = {&lanes[i]->sequence, 0, rows_at(h, at)};
            rrt__forward_embed(team, lanes[i]->model, &lanes[i]->workspace, &span, 1, h->ids + at);
            copy_rows(team, lanes[i]->hidden + at * hidden, lanes[i]->workspace.hidden, span.count, hidden);
            rrt__team_barrier(team);
        }
        // Positions 0 … 511 for the windows to come, the last of which may be shorter.
        rrt__span span = {&lanes[i]->sequence, 0, rows_at(h, 0)};
        rrt__forward_embed(team, lanes[i]->model, &lanes[i]->workspace, &span, 1, h->ids);
    }
}

static void run_teacher(rrt__team team, healer *h, size_t at)
{
    lane *t = &h->teacher;
    size_t hidden = h->model->shape.hidden, rows = rows_at(h, at);
    rrt__span span = {&t->sequence, 0, rows};
    // The original's depth: every depth of a shared plan stands for one layer.
    rrt__segment segment = {h->depth, 0, rows};
    copy_rows(team, t->workspace.hidden, t->hidden + at * hidden, rows, hidden);
    rrt__forward_attention(team, t->model, &t->workspace, &span, 1, &segment, 1);
    copy_rows(team, h->middle + at * hidden, t->workspace.hidden, rows, hidden);
    rrt__team_barrier(team);
    rrt__forward_mlp(team, t->model, &t->workspace, &span, 1, &segment, 1);
    copy_rows(team, t->hidden + at * hidden, t->workspace.hidden, rows, hidden);
    rrt__team_barrier(team);
}

static void run_student(rrt__team team, healer *h, size_t at, bool attention, bool mlp)
{
    lane *s = &h->student;
    const rrt__shape *shape = &h->model->shape;
    size_t rows = rows_at(h, at), q = shape->heads * shape->head_dim;
    rrt__span span = {&s->sequence, 0, rows};
    rrt__segment segment = {h->depth, 0, rows};
    copy_rows(team, s->workspace.hidden, s->hidden + at * shape->hidden, rows, shape->hidden);
    rrt__team_barrier(team);
    if (attention) rrt__forward_attention(team, s->model, &s->workspace, &span, 1, &segment, 1);
    if (mlp) rrt__forward_mlp_input(team, s->model, &s->workspace, &span, 1, &segment, 1);
    if (attention) copy_rows(team, h->attended + at * q, s->workspace.attended, rows, q);
    if (mlp) copy_rows(team, h->activated + at * shape->ffn, s->workspace.activated, rows, shape->ffn);
    rrt__team_barrier(team);
}

// effective = (cross + λ·W_l) · (gram + λ)⁻¹: the least squares fit, drawn towards the original where the
// text says little.
static rrt_status fit(healer *h, const float *original, size_t out, size_t in)
{
    float damping = rrt__gram_damp(h->gram, in);
    for (size_t i = 0; i < out * in; i++) h->effective[i] = h->cross[i] + damping * original[i];
    RRT__TRY(rrt__gram_factor(h->gram, in, &h->error));
    rrt__gram_solve(h->effective, out, h->gram, in);
    return RRT_STATUS_OK;
}

// Puts the fit into the model as far as the depth's own parameters allow, and leaves in effective what came
// of it.
static rrt_status solve(healer *h, rrt__matrix m)
{
    const rrt__plan *plan = &h->model->plan;
    rrt__linear *linear = &h->model->slots[plan->slot[h->depth]].matrix[m];
    rrt__lora *lora = &h->model->depths[h->depth].lora[m];
    size_t out = linear->out, in = linear->in, count = out * in;
    bool unshared = h->depth >= plan->n_depths - plan->coda;
    if (unshared || lora->rank) RRT__TRY(fit(h, h->teacher.model->slots[h->depth].matrix[m].weight, out, in));
    if (unshared) {
        memcpy(linear->weight, h->effective, count * sizeof(float));
    } else if (lora->rank) {
        double total;
        for (size_t i = 0; i < count; i++) h->effective[i] -= linear->weight[i];
        // The cross matrix has done its work and lends its room to the spectrum.
        RRT__TRY(rrt__low_rank(&h->room, h->effective, out, in, h->gram, lora->rank, lora->b, lora->a,
                               h->cross, &total, &h->error));
    }
    memcpy(h->effective, linear->weight, count * sizeof(float));
    if (lora->rank)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)out, (int)in, (int)lora->rank, 1, lora->b,
                    (int)lora->rank, lora->a, (int)in, 1, h->effective, (int)in);
    return RRT_STATUS_OK;
}

// Fits one matrix, then adds what it now gives to the student's hidden state. goal: the teacher's hidden
// state after it.
static void refit(rrt__team team, healer *h, rrt__matrix m, const float *x, const float *goal)
{
    const rrt__linear *linear = &h->model->slots[h->model->plan.slot[h->depth]].matrix[m];
    const float *bias = h->model->depths[h->depth].bias[m];
    size_t out = linear->out, in = linear->in;
    rrt__share rows = rrt__team_share(team, h->tokens, 1), own = rrt__team_share(team, in, RRT__GEMM_GRAIN);
    for (size_t r = rows.begin; r < rows.end; r++) {
        for (size_t i = 0; i < out; i++) {
            if (bias) h->student.hidden[r * out + i] += bias[i];
            h->missing[r * out + i] = goal[r * out + i] - h->student.hidden[r * out + i];
        }
    }
    for (size_t r = own.begin; r < own.end; r++) memset(h->gram + r * in, 0, in * sizeof(float));
    rrt__team_barrier(team);
    rrt__gram_add(team, h->gram, in, x, h->tokens, 1.0f / (float)h->tokens);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)out, (int)(own.end - own.begin), (int)h->tokens,
                1.0f / (float)h->tokens, h->missing, (int)out, x + own.begin, (int)in, 0,
                h->cross + own.begin, (int)in);
    rrt__team_barrier(team);
    if (team.ith == 0 && !h->status) h->status = solve(h, m);
    rrt__team_barrier(team);
    rrt__gemm(team, h->student.hidden, x, h->effective, h->tokens, out, in, 1);
    rrt__team_barrier(team);
}

static void run_depth(rrt__team team, void *argument)
{
    healer *h = argument;
    bool parallel = h->model->family->parallel_residual; // the MLP then reads the block's input: both at once
    for (size_t at = 0; at < h->tokens; at += WINDOW) {
        run_teacher(team, h, at);
        run_student(team, h, at, true, parallel);
    }
    refit(team, h, RRT__MATRIX_O, h->attended, h->middle);
    for (size_t at = 0; at < h->tokens && !parallel; at += WINDOW) run_student(team, h, at, false, true);
    refit(team, h, RRT__MATRIX_DOWN, h->activated, h->teacher.hidden);
}

static rrt_status open_lane(healer *h, lane *side, const rrt_model *model, int threads, rrt_error *err)
{
    side->model = model;
    rrt__sequence_init(&side->sequence, model);
    RRT__TRY(rrt__workspace_create(&side->workspace, model, WINDOW, WINDOW, threads, err));
    RRT__TRY(rrt__sequence_reserve(&side->sequence, WINDOW, err));
    return rrt__arena_alloc(&h->arena, &side->hidden, h->tokens, model->shape.hidden * sizeof(float),
                            "hidden states", err);
}

static rrt_status open_healer(healer *h, const rrt_model *source, int threads, rrt_error *err)
{
    const rrt__shape *s = &source->shape;
    size_t q = s->heads * s->head_dim;
    h->widest = q > s->ffn ? q : s->ffn;
    RRT__TRY(open_lane(h, &h->teacher, source, threads, err));
    RRT__TRY(open_lane(h, &h->student, h->model, threads, err));
    const struct {
        float **buffer;
        size_t rows, width;
    } buffers[] = {{&h->middle, h->tokens, s->hidden},   {&h->missing, h->tokens, s->hidden},
                   {&h->attended, h->tokens, q},         {&h->activated, h->tokens, s->ffn},
                   {&h->gram, h->widest, h->widest},     {&h->cross, s->hidden, h->widest},
                   {&h->effective, s->hidden, h->widest}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        RRT__TRY(rrt__arena_alloc(&h->arena, buffers[i].buffer, buffers[i].rows,
                                  buffers[i].width * sizeof(float), "the healing pass", err));
    return rrt__low_rank_open(&h->room, s->hidden, h->widest, err);
}

static void close_healer(healer *h)
{
    lane *lanes[2] = {&h->teacher, &h->student};
    for (int i = 0; i < 2; i++) {
        rrt__workspace_free(&lanes[i]->workspace);
        rrt__sequence_free(&lanes[i]->sequence);
    }
    rrt__low_rank_close(&h->room);
    rrt__arena_free(&h->arena);
}

rrt_status rrt__convert_heal(rrt_model *model, const rrt_model *source, const rrt_convert_options *o,
                             rrt_error *err)
{
    healer h = {.model = model, .tokens = o->calibration_count, .ids = o->calibration_ids};
    rrt_status status = open_healer(&h, source, o->threads, err);
    if (!status) rrt__team_run(o->threads, embed, &h);
    for (h.depth = 0; !status && h.depth < model->plan.n_depths; h.depth++) {
        rrt__team_run(o->threads, run_depth, &h);
        status = h.status;
        if (status && err) *err = h.error;
        if (status) rrt__at(err, status, "healing depth %d", h.depth);
        if (!status && o->progress && o->progress->report &&
            o->progress->report(o->progress->user, "heal", h.depth + 1, model->plan.n_depths))
            status = rrt__fail(err, RRT_STATUS_CANCELLED, "the conversion was cancelled");
    }
    close_healer(&h);
    return status;
}
