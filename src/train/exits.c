#include "train/exits.h"

#include <math.h>
#include <string.h>

#include "pass/exit.h"

float rrt__exit_weight(const rrt__exit_training *o, int loops, int n)
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
                             const rrt__exit_training *options, size_t rows, rrt_error *err)
{
    size_t bytes = tape->model->shape.hidden * sizeof(float);
    rrt_status status = RRT_STATUS_OK;
    *e = (rrt__exits){.options = *options, .tape = tape, .head = head, .only_gates = true};
    for (int kind = 0; kind < RRT__PARAMETER_KIND_COUNT; kind++)
        if (kind != RRT__PARAMETER_GATE && tape->trains[kind]) e->only_gates = false;
    if (options->loss != RRT_EXIT_LOSS_NONE && tape->model->plan.coda)
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->chain, rows, bytes, "an exit's gradient", err));
    if (options->kd) RRT__GOTO(rrt__arena_alloc(&e->arena, &e->taken, rows, bytes, "an exit's output", err));
    if (options->gates) {
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->best, rows, sizeof *e->best, "a gate's tokens", err));
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->last, rows, sizeof *e->last, "a gate's tokens", err));
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->miss, rows, sizeof *e->miss, "a gate's gradient", err));
        RRT__GOTO(rrt__arena_alloc(&e->arena, &e->scale, rows, sizeof *e->scale, "a gate's gradient", err));
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

// The state of one exit in the backward pass.
typedef struct leaving {
    const rrt__pass *pass;
    rrt__exits *exits;
    int n; // the exit after n loops
    bool is_last, learns;
} leaving;

// The hidden state at the boundary, if there is one, as the depth after it kept it.
static const float *boundary_of(const leaving *l)
{
    const rrt__tape *tape = l->exits->tape;
    return tape->before[rrt__plan_loop(&tape->model->plan, l->n).end];
}

// Runs the coda forward from a loop boundary. Saves d_hidden, the gradient of deeper loops, in the meantime.
// Returns the hidden state after it.
static const float *enter(const leaving *l)
{
    rrt__tape *tape = l->exits->tape;
    const rrt__plan *plan = &tape->model->plan;
    size_t hidden = tape->model->shape.hidden;
    rrt__team team = l->pass->team;
    rrt__share share = rrt__team_share(team, l->pass->n_rows * hidden, 1);
    if (!l->is_last) {
        if (!plan->coda) return boundary_of(l);
        rrt__team_copy_share(team, tape->shared.hidden, boundary_of(l), l->pass->n_rows, hidden);
        for (size_t i = share.begin; i < share.end && l->learns; i++) {
            l->exits->chain[i] = tape->d_hidden[i];
            tape->d_hidden[i] = 0;
        }
        rrt__team_barrier(team);
    }
    rrt__tape_forward(l->pass, tape, rrt__plan_coda(plan));
    return tape->shared.hidden;
}

// Runs the backward pass to the boundary.
static void go_back(const leaving *l)
{
    rrt__tape *tape = l->exits->tape;
    const rrt__plan *plan = &tape->model->plan;
    rrt__share share = rrt__team_share(l->pass->team, l->pass->n_rows * tape->model->shape.hidden, 1);
    rrt__tape_backward(l->pass, tape, rrt__plan_coda(plan), true);
    if (l->is_last || !plan->coda) return;
    for (size_t i = share.begin; i < share.end; i++) tape->d_hidden[i] += l->exits->chain[i];
    rrt__team_barrier(l->pass->team);
}

// Binary cross-entropy of the boundary's gate against "this exit and the last one have the same most
// likely token".
static void learn_gate(const leaving *l, const rrt__loss_inputs *inputs, rrt__loss_sums *sums)
{
    const rrt__exits *e = l->exits;
    const rrt_model *model = e->tape->model;
    const float *hidden = boundary_of(l);
    const rrt__gate *gradient = &e->tape->gradient->gates[l->n - 1];
    const float *gain = rrt__gate_gain(model);
    size_t width = model->shape.hidden;
    rrt__share share = rrt__team_share(l->pass->team, inputs->rows, 1),
               columns = rrt__team_share(l->pass->team, width, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        float logit = rrt__gate_logit(model, l->n, hidden + r * width, &e->scale[r]);
        float agrees = e->best[r] == e->last[r] ? 1 : 0;
        e->miss[r] = inputs->targets[r] < 0 ? 0 : inputs->weight * (1 / (1 + expf(-logit)) - agrees);
        if (inputs->targets[r] >= 0)
            sums->gates += (double)(log1pf(expf(-fabsf(logit))) + fmaxf(logit, 0) - agrees * logit) /
                           (model->plan.loops - 1);
    }
    rrt__team_barrier(l->pass->team);
    for (size_t r = 0; r < inputs->rows; r++) {
        for (size_t i = columns.begin; i < columns.end; i++)
            gradient->weight[i] += e->miss[r] * e->scale[r] * (gain ? gain[i] : 1) * hidden[r * width + i];
        if (l->pass->team.ith == 0) gradient->bias[0] += e->miss[r];
    }
    rrt__team_barrier(l->pass->team);
}

void rrt__exits_backward(const rrt__pass *pass, rrt__exits *e, int n, const rrt__loss_inputs *last,
                         rrt__loss_sums *sums)
{
    const rrt_model *model = e->tape->model;
    float weight = rrt__exit_weight(&e->options, model->plan.loops, n);
    leaving l = {pass, e, n, n == model->plan.loops, weight > 0 && !e->only_gates};
    const rrt__objective objective = {RRT__DIVERGENCE_FORWARD_KL, 1, last->objective->temperature};
    const rrt__teacher_signal teacher_signal = {.model = l.learns ? model : NULL,
                                                .workspace = &e->tape->shared,
                                                .hidden = e->taken,
                                                .vocab = model->shape.vocab};
    rrt__loss_inputs inputs = *last;
    rrt__loss_sums found = {0};
    if (weight == 0 && !e->options.gates) return;
    inputs.weight *= l.learns ? weight : 0;
    inputs.best = l.is_last ? e->last : e->best;
    if (!l.is_last && (e->options.kd || !l.learns)) { // without a teacher if nothing is trained
        inputs.objective = &objective;
        inputs.teacher_signal = &teacher_signal;
    }
    inputs.hidden = enter(&l);
    if (e->options.kd && l.is_last)
        rrt__team_copy_share(pass->team, e->taken, inputs.hidden, last->rows, model->shape.hidden);
    rrt__head_backward(pass, e->head, e->tape, &inputs, &found);
    if (l.learns) go_back(&l);
    if (e->options.gates && !l.is_last) learn_gate(&l, last, sums);

    if (l.learns) sums->loss += (double)weight * found.loss;
    if (!l.is_last) return;
    sums->cross_entropy += found.cross_entropy;
    sums->divergence += found.divergence;
    sums->rows += found.rows;
}
