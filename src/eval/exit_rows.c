#include <string.h>

#include "base/progress.h"
#include "eval/exits.h"

enum { STEP_ROWS = 512, LOGIT_ROWS = 64 };

rrt_status rrt__exit_rows_create(rrt__exit_rows *r, const rrt_model *model, const rrt__cut *cut,
                                 rrt_error *err)
{
    *r = (rrt__exit_rows){.count = cut->n_windows * (cut->length - 1), .loops = model->plan.loops};
    size_t all = (size_t)r->loops;
    rrt_status status;
    RRT__GOTO(rrt__arena_alloc(&r->arena, &r->loss, r->count, all * sizeof *r->loss, "scores", err));
    RRT__GOTO(rrt__arena_alloc(&r->arena, &r->best, r->count, all * sizeof *r->best, "scores", err));
    RRT__GOTO(rrt__arena_alloc(&r->arena, &r->score, r->count, all * sizeof *r->score, "scores", err));
    RRT__GOTO(rrt__arena_alloc(&r->arena, &r->rule_loss, r->count, sizeof *r->rule_loss, "scores", err));
    RRT__GOTO(rrt__arena_alloc(&r->arena, &r->rule_best, r->count, sizeof *r->rule_best, "scores", err));
    RRT__GOTO(rrt__arena_alloc(&r->arena, &r->left, r->count, sizeof *r->left, "scores", err));
done:
    if (status) rrt__exit_rows_free(r);
    return status;
}

void rrt__exit_rows_free(rrt__exit_rows *r)
{
    rrt__arena_free(&r->arena);
    *r = (rrt__exit_rows){0};
}

double rrt__next_token_loss(const float *logits, size_t vocab, int32_t target)
{
    return rrt__kernels_get()->log_sum_exp(logits, vocab) - (double)logits[target];
}

// --- every exit

typedef struct measuring {
    rrt__exit_rows *rows;
    const rrt_model *model;
    const rrt__cut *cut;
    rrt__exit_kind kind;
    int first_exit;
    rrt__workspace workspace;
    rrt__span *spans;
    int32_t *ids;            // [windows, length]
    size_t first, n_windows; // of this step
    rrt__exit_state *exits;  // [windows · length]
    float *before,
        *boundary; // [windows · length, hidden]: hidden states one loop before, and at the boundary
    float *logits; // [LOGIT_ROWS, vocab]
    rrt__arena arena;
} measuring;

// Measures rows [at, at + count) of a window at the exit after loop n.
static void measure_rows(const rrt__pass *pass, measuring *m, int n, size_t window, size_t at, size_t count)
{
    const rrt__shape *shape = &m->model->shape;
    size_t scored = m->cut->length - 1, row = window * m->cut->length + at;
    size_t result = (m->first + window) * scored + at;
    double *loss = m->rows->loss + (size_t)(n - 1) * m->rows->count + result;
    int32_t *best = m->rows->best + (size_t)(n - 1) * m->rows->count + result;
    double *score = m->rows->score + (size_t)(n - 1) * m->rows->count + result;
    rrt__forward_logits(pass, row, count, m->logits);
    rrt__share share = rrt__team_share(pass->team, count, 1);
    for (size_t i = share.begin; i < share.end; i++) {
        const float *logits = m->logits + i * shape->vocab;
        loss[i] = rrt__next_token_loss(logits, shape->vocab, m->ids[row + i + 1]);
        best[i] = (int32_t)rrt__argmax(logits, shape->vocab);
        if (n == m->rows->loops || !rrt__exit_has_threshold(m->kind)) continue;
        rrt__exit_view view = rrt__exit_look(m->model, n, m->boundary, m->before, row + i, logits);
        view.best = best[i];
        score[i] = rrt__exit_score(m->kind, m->model, &m->exits[row + i], &view);
    }
    rrt__team_barrier(pass->team);
}

static void measure_step(rrt__team team, void *argument)
{
    measuring *m = argument;
    const rrt__plan *plan = &m->model->plan;
    size_t length = m->cut->length, rows = m->n_windows * length, width = m->model->shape.hidden;
    const rrt__pass pass = rrt__pass_make(team, m->model, &m->workspace, m->spans, m->n_windows);
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++) m->exits[r] = rrt__exit_entered;
    rrt__forward_embed(&pass, m->ids);
    rrt__walk_range(&pass, rrt__plan_prelude(plan));
    for (int n = 1; n <= plan->loops; n++) {
        rrt__team_copy_share(team, m->before, m->workspace.hidden, rows, width);
        rrt__team_barrier(team);
        rrt__walk_range(&pass, rrt__plan_loop(plan, n));
        if (n < m->first_exit) continue;
        rrt__team_copy_share(team, m->boundary, m->workspace.hidden, rows, width);
        rrt__team_barrier(team);
        rrt__walk_range(&pass, rrt__plan_coda(plan));
        for (size_t w = 0; w < m->n_windows; w++)
            for (size_t at = 0; at < length - 1; at += LOGIT_ROWS)
                measure_rows(&pass, m, n, w, at, length - 1 - at < LOGIT_ROWS ? length - 1 - at : LOGIT_ROWS);
        rrt__team_copy_share(team, m->workspace.hidden, m->boundary, rows, width);
        rrt__team_barrier(team);
    }
}

static rrt_status open_measuring(measuring *m, size_t windows, int threads, rrt_error *err)
{
    const rrt__shape *shape = &m->model->shape;
    size_t length = m->cut->length, rows = windows * length, width = shape->hidden * sizeof(float);
    RRT__TRY(rrt__workspace_create(&m->workspace, m->model, rows, length, threads, err));
    RRT__TRY(rrt__arena_alloc(&m->arena, &m->spans, windows, sizeof *m->spans, "spans", err));
    RRT__TRY(rrt__arena_alloc(&m->arena, &m->ids, rows, sizeof *m->ids, "window ids", err));
    RRT__TRY(rrt__arena_alloc(&m->arena, &m->exits, rows, sizeof *m->exits, "exits", err));
    RRT__TRY(rrt__arena_alloc(&m->arena, &m->before, rows, width, "hidden states", err));
    RRT__TRY(rrt__arena_alloc(&m->arena, &m->boundary, rows, width, "hidden states", err));
    for (size_t w = 0; w < windows; w++) m->spans[w].count = length;
    return rrt__arena_alloc(&m->arena, &m->logits, LOGIT_ROWS, shape->vocab * sizeof(float), "logits", err);
}

rrt_status rrt__exit_rows_measure(rrt__exit_rows *rows, const rrt__exit_run *run, rrt__exit_kind kind,
                                  int first, rrt_error *err)
{
    const rrt__cut *cut = run->cut;
    const rrt_eval_options *options = run->options;
    measuring m = {.rows = rows, .model = run->model, .cut = cut, .kind = kind, .first_exit = first};
    size_t at_once = cut->length < STEP_ROWS ? STEP_ROWS / cut->length : 1;
    rrt_status status = open_measuring(&m, at_once, options->threads, err);
    for (m.first = 0; !status && m.first < cut->n_windows; m.first += m.n_windows) {
        m.n_windows = cut->n_windows - m.first < at_once ? cut->n_windows - m.first : at_once;
        for (size_t w = 0; w < m.n_windows; w++) rrt__cut_window(cut, m.first + w, m.ids + w * cut->length);
        rrt__team_run(options->threads, measure_step, &m);
        status = rrt__progress_report(options->progress, "evaluate", (double)(m.first + m.n_windows),
                                      (double)cut->n_windows, err);
    }
    rrt__workspace_free(&m.workspace);
    rrt__arena_free(&m.arena);
    return status;
}
