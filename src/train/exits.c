#include "train/exits.h"

#include <string.h>

float rrt__exit_weight(const rrt__exit_options *o, int loops, int n)
{
    switch (o->loss) {
    case RRT_EXIT_LOSS_WEIGHTED:
        return 2 * (float)n / (float)(loops * (loops + 1)); // n / Σ i
    case RRT_EXIT_LOSS_AGGRESSIVE:
        return n == loops ? 1 : o->early;
    default:
        return n == loops ? 1 : 0;
    }
}

rrt_status rrt__exits_create(rrt__exits *e, rrt__tape *tape, rrt__head *head,
                             const rrt__exit_options *options, size_t rows, rrt_error *err)
{
    size_t bytes = tape->model->shape.hidden * sizeof(float);
    rrt_status status = RRT_STATUS_OK;
    *e = (rrt__exits){.options = *options, .tape = tape, .head = head};
    e->taken.kernels = tape->shared.kernels;
    if (options->loss != RRT_EXIT_LOSS_NONE && tape->model->plan.coda)
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->chain, rows, bytes, "an exit's gradient", err));
    if (options->kd) {
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->taken.hidden, rows, bytes, "an exit's output", err));
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->taken.normed[0], rows, bytes, "an exit's output", err));
    }
done:
    if (status) rrt__exits_free(e);
    return status;
}

void rrt__exits_free(rrt__exits *e)
{
    rrt__arena_free(&e->arena);
    *e = (rrt__exits){0};
}

// The way from a loop boundary through the coda. d_hidden, which holds the gradient of deeper loops, stands
// aside meanwhile. Returns where the hidden state is then.
static const float *enter(rrt__team team, const rrt__exits *e, int n, const rrt__span *spans, size_t n_spans,
                          size_t rows)
{
    rrt__tape *tape = e->tape;
    const rrt__plan *plan = &tape->model->plan;
    size_t hidden = tape->model->shape.hidden;
    if (n < plan->loops) {
        const float *boundary = tape->before[rrt__plan_loop_end(plan, n)];
        if (!plan->coda) return boundary;
        rrt__share share = rrt__team_share(team, rows, 1);
        rrt__team_copy(team, e->chain, tape->d_hidden, rows, hidden);
        memset(tape->d_hidden + share.begin * hidden, 0, (share.end - share.begin) * hidden * sizeof(float));
        rrt__team_copy(team, tape->shared.hidden, boundary, rows, hidden);
        rrt__team_barrier(team);
    }
    for (int d = plan->n_depths - plan->coda; d < plan->n_depths; d++)
        rrt__tape_forward(team, tape, d, spans, n_spans);
    return tape->shared.hidden;
}

// And back to the boundary.
static void go_back(rrt__team team, const rrt__exits *e, int n, const rrt__span *spans, size_t n_spans,
                    size_t rows)
{
    rrt__tape *tape = e->tape;
    const rrt__plan *plan = &tape->model->plan;
    for (int d = plan->n_depths - 1; d >= plan->n_depths - plan->coda; d--)
        rrt__tape_backward(team, tape, d, spans, n_spans, d == plan->n_depths - 1);
    if (n == plan->loops || !plan->coda) return;
    rrt__share share = rrt__team_share(team, rows * tape->model->shape.hidden, 1);
    for (size_t i = share.begin; i < share.end; i++) tape->d_hidden[i] += e->chain[i];
    rrt__team_barrier(team);
}

void rrt__exits_backward(rrt__team team, rrt__exits *e, int n, const rrt__span *spans, size_t n_spans,
                         const rrt__question *last, rrt__loss_sums *sums)
{
    bool is_last = n == e->tape->model->plan.loops;
    float weight = rrt__exit_weight(&e->options, e->tape->model->plan.loops, n);
    rrt__objective objective = {RRT__DIVERGENCE_FORWARD_KL, 1, last->objective->temperature};
    rrt__teaching teaching = {.model = e->tape->model, .workspace = &e->taken};
    rrt__question question = *last;
    rrt__loss_sums found = {0};
    if (weight == 0) return;
    question.weight *= weight;
    if (e->options.kd && !is_last) {
        question.objective = &objective;
        question.teaching = &teaching;
    }
    question.hidden = enter(team, e, n, spans, n_spans, last->rows);
    if (e->options.kd && is_last)
        rrt__team_copy(team, e->taken.hidden, question.hidden, last->rows, e->tape->model->shape.hidden);
    rrt__head_backward(team, e->head, e->tape, &question, &found);
    go_back(team, e, n, spans, n_spans, last->rows);

    sums->loss += (double)weight * found.loss;
    if (!is_last) return;
    sums->cross_entropy += found.cross_entropy;
    sums->divergence += found.divergence;
    sums->rows += found.rows;
}
