#include "convert/lanes.h"

#include <cblas.h>
#include <string.h>

#include "kernels/gemm.h"

static size_t rows_at(const rrt__healer *h, size_t at)
{
    return h->tokens - at < RRT__TRACE_WINDOW ? h->tokens - at : RRT__TRACE_WINDOW;
}

void rrt__lanes_embed(rrt__team team, rrt__healer *h)
{
    rrt__lane *t = &h->teacher, *s = &h->student;
    size_t hidden = h->model->shape.hidden;
    for (size_t at = 0; at < h->tokens; at += RRT__TRACE_WINDOW) {
        rrt__span span = {.count = rows_at(h, at)};
        rrt__forward_embed(team, t->model, &t->workspace, &span, 1, h->ids + at);
        rrt__team_copy(team, t->hidden + at * hidden, t->workspace.hidden, span.count, hidden);
        rrt__team_barrier(team);
    }
    // Positions 0 … 511 for the windows to come, the last of which may be shorter.
    rrt__span spans[2] = {{.count = rows_at(h, 0)}, {.count = rows_at(h, 0)}};
    rrt__forward_embed(team, t->model, &t->workspace, &spans[0], 1, h->ids);
    rrt__forward_embed(team, s->model, &s->workspace, &spans[1], 1, h->ids);
}

static void run_teacher_window(rrt__team team, rrt__healer *h, size_t at)
{
    rrt__lane *t = &h->teacher;
    size_t hidden = h->model->shape.hidden, rows = rows_at(h, at), row = at * hidden;
    if (at + rows <= h->trace->tokens) {
        rrt__team_copy(team, h->middle + row, h->trace->middle[h->depth] + row, rows, hidden);
        rrt__team_copy(team, t->hidden + row, h->trace->after[h->depth] + row, rows, hidden);
        rrt__team_barrier(team);
        return;
    }
    rrt__span span = {.count = rows};
    rrt__team_copy(team, t->workspace.hidden, t->hidden + row, rows, hidden);
    // The original's depth: every depth of a shared plan stands for one layer.
    rrt__trace_block(team, t->model, &t->workspace, &span, h->depth, h->middle + row, t->hidden + row);
}

static void run_student_window(rrt__team team, rrt__healer *h, size_t at, bool attention, bool mlp)
{
    rrt__lane *s = &h->student;
    const rrt__shape *shape = &h->model->shape;
    size_t rows = rows_at(h, at), q = shape->heads * shape->head_dim;
    rrt__span span = {.count = rows};
    rrt__segment segment = {0, 0, rows};
    rrt__team_copy(team, s->workspace.hidden, s->hidden + at * shape->hidden, rows, shape->hidden);
    rrt__team_barrier(team);
    if (attention) rrt__forward_attention(team, s->model, &s->workspace, &span, 1, &segment, 1);
    if (mlp) rrt__forward_mlp_input(team, s->model, &s->workspace, &span, 1, &segment, 1);
    if (attention) rrt__team_copy(team, h->attended + at * q, s->workspace.attended, rows, q);
    if (mlp) rrt__team_copy(team, h->activated + at * shape->ffn, s->workspace.activated, rows, shape->ffn);
    rrt__team_barrier(team);
}

void rrt__lanes_run_teacher(rrt__team team, rrt__healer *h)
{
    for (size_t at = 0; at < h->tokens; at += RRT__TRACE_WINDOW) run_teacher_window(team, h, at);
}

void rrt__lanes_run_student(rrt__team team, rrt__healer *h, bool attention, bool mlp)
{
    for (size_t at = 0; at < h->tokens; at += RRT__TRACE_WINDOW)
        run_student_window(team, h, at, attention, mlp);
}

void rrt__lanes_merge(rrt__team team, const rrt__healer *h, rrt__matrix m)
{
    const rrt__linear *linear = rrt__lanes_linear(h, m);
    const rrt__lora *lora = &h->model->depths[h->depth].lora[m];
    rrt__share rows = rrt__team_share(team, linear->out, 1);
    size_t count = rows.end - rows.begin, in = linear->in;
    float *merged = h->merged[m] + rows.begin * in;
    memcpy(merged, linear->weight + rows.begin * in, count * in * sizeof(float));
    if (lora->rank)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)count, (int)in, (int)lora->rank, 1,
                    lora->b + rows.begin * lora->rank, (int)lora->rank, lora->a, (int)in, 1, merged, (int)in);
}

void rrt__lanes_show(rrt__team team, rrt__healer *h)
{
    if (team.ith == 0) {
        h->view_depth = h->model->depths[h->depth];
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) h->view_depth.lora[m] = (rrt__lora){0};
    }
    for (int m = 0; m < RRT__MATRIX_COUNT; m++)
        if (h->merged[m]) rrt__lanes_merge(team, h, m);
    rrt__team_barrier(team);
}

static rrt_status open_lane(rrt__healer *h, rrt__lane *side, const rrt_model *model, int threads,
                            rrt_error *err)
{
    side->model = model;
    RRT__TRY(
        rrt__workspace_create(&side->workspace, model, RRT__TRACE_WINDOW, RRT__TRACE_WINDOW, threads, err));
    return rrt__arena_alloc(&h->arena, &side->hidden, h->tokens, model->shape.hidden * sizeof(float),
                            "hidden states", err);
}

static rrt_status open_view(rrt__healer *h, rrt_error *err)
{
    h->view = *h->model;
    h->view.plan.n_depths = 1;
    h->view.plan.slot[0] = 0;
    h->view.slots = &h->view_slot;
    h->view.depths = &h->view_depth;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        if (!rrt__family_has(h->model->family, m)) continue;
        rrt__shape_matrix(&h->model->shape, m, &out, &in);
        RRT__TRY(rrt__arena_alloc(&h->arena, &h->merged[m], out, in * sizeof(float), "merged weights", err));
        h->view_slot.matrix[m] = (rrt__linear){h->merged[m], m == RRT__MATRIX_O ? 0 : out, in};
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__lanes_open(rrt__healer *h, const rrt_model *source, int threads, rrt_error *err)
{
    const rrt__shape *s = &source->shape;
    size_t q = s->heads * s->head_dim, widest = q > s->ffn ? q : s->ffn;
    if (widest < s->hidden) widest = s->hidden;
    RRT__TRY(open_view(h, err));
    RRT__TRY(open_lane(h, &h->teacher, source, threads, err));
    RRT__TRY(open_lane(h, &h->student, &h->view, threads, err));
    const struct {
        float **buffer;
        size_t width;
    } buffers[] = {{&h->middle, s->hidden},
                   {&h->attended, q},
                   {&h->activated, s->ffn},
                   {&h->expected, s->hidden},
                   {&h->seen, s->hidden}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        RRT__TRY(rrt__arena_alloc(&h->arena, buffers[i].buffer, h->tokens, buffers[i].width * sizeof(float),
                                  "the healing pass", err));
    if (h->model->norms == RRT__NORMS_FOLDED)
        RRT__TRY(rrt__arena_alloc(&h->arena, &h->folded, widest, s->hidden * sizeof(float),
                                  "the healing pass", err));
    return rrt__fit_open(&h->fit, h->tokens, widest, widest, err);
}

void rrt__lanes_close(rrt__healer *h)
{
    rrt__lane *lanes[2] = {&h->teacher, &h->student};
    for (int i = 0; i < 2; i++) rrt__workspace_free(&lanes[i]->workspace);
    rrt__fit_close(&h->fit);
    rrt__arena_free(&h->arena);
}
