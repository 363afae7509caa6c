// The tape's memory.
#include "pass/backward.h"

static rrt_status take(rrt__tape *tape, float **buffer, size_t rows, size_t width, rrt_error *err)
{
    return rrt__arena_alloc(&tape->arena, buffer, rows, width * sizeof(float), "activations for training",
                            err);
}

// The depths to run: with an effective matrix where the depth has a LoRA. With recompute all depths
// share one.
static rrt_status form_depths(rrt__tape *tape, rrt_error *err)
{
    const rrt_model *model = tape->model;
    size_t n = (size_t)model->plan.n_depths, largest = 0;
    float *shared[RRT__MATRIX_COUNT] = {NULL};
    RRT__TRY(rrt__arena_alloc(&tape->arena, &tape->slots, n, sizeof *tape->slots, "slots", err));
    RRT__TRY(rrt__arena_alloc(&tape->arena, &tape->depths, n, sizeof *tape->depths, "depths", err));
    for (size_t d = 0; d < n; d++) {
        tape->slots[d] = *model->depths[d].slot;
        tape->depths[d] = model->depths[d];
        tape->depths[d].slot = &tape->slots[d];
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            rrt__linear *linear = &tape->slots[d].matrix[m];
            if (!tape->depths[d].lora[m].rank) continue;
            if (linear->out * linear->in > largest) largest = linear->out * linear->in;
            if (!tape->recompute || !shared[m])
                RRT__TRY(take(tape, &shared[m], linear->out, linear->in, err));
            *linear = (rrt__linear){.out = linear->out, .in = linear->in, .weight = shared[m]};
            tape->depths[d].lora[m] = (rrt__lora){0};
        }
    }
    return take(tape, &tape->d_matrix, largest, 1, err);
}

static bool is_in_loops(const rrt__tape *tape, int depth)
{
    const rrt__plan *plan = &tape->model->plan;
    return depth >= rrt__plan_prelude(plan).end && depth < rrt__plan_coda(plan).begin;
}

// Allocates the activations that one depth keeps. Keys and values that loops share are in the workspace.
static rrt_status take_depth(rrt__tape *tape, int depth, size_t rows, rrt_error *err)
{
    const rrt__shape *s = &tape->model->shape;
    rrt__workspace *at = &tape->at[depth];
    bool has_kv = tape->depths[depth].kv == depth && !(tape->model->shares_kv && is_in_loops(tape, depth));
    bool after = rrt__family_has_norm(tape->model->family, RRT__NORM_AFTER_MLP); // the backward pass reads it
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const struct {
        float **buffer;
        size_t width;
    } buffers[] = {{&at->q, q},
                   {&at->plain_q, at->plain_q ? q : 0},
                   {&at->plain_k, at->plain_k ? kv : 0},
                   {&at->branch[0], after ? s->hidden : 0},
                   {&at->branch[1], after ? s->hidden : 0},
                   {&at->kv[depth].k, has_kv ? kv : 0},
                   {&at->kv[depth].v, has_kv ? kv : 0},
                   {&at->attended, q},
                   {&at->log_sums, s->heads},
                   {&at->gate, at->gate ? s->ffn : 0},
                   {&at->up, s->ffn}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i].width) RRT__TRY(take(tape, buffers[i].buffer, rows, buffers[i].width, err));
    return RRT_STATUS_OK;
}

static rrt_status take_depths(rrt__tape *tape, size_t rows, rrt_error *err)
{
    size_t n = (size_t)tape->model->plan.n_depths, hidden = tape->model->shape.hidden;
    RRT__TRY(rrt__arena_alloc(&tape->arena, &tape->at, n, sizeof *tape->at, "depths", err));
    RRT__TRY(rrt__arena_alloc(&tape->arena, &tape->before, n, sizeof *tape->before, "depths", err));
    RRT__TRY(rrt__arena_alloc(&tape->arena, &tape->middle, n, sizeof *tape->middle, "depths", err));
    for (size_t d = 0; d < n; d++) {
        // The first depth uses the shared buffers, and with recompute all do.
        bool own = d > 0 && !tape->recompute;
        tape->at[d] = tape->shared;
        tape->middle[d] = tape->middle[0];
        RRT__TRY(take(tape, &tape->before[d], rows, hidden, err));
        if (d == 0 || own) RRT__TRY(take(tape, &tape->middle[d], rows, hidden, err));
        if (own) RRT__TRY(take_depth(tape, (int)d, rows, err));
    }
    return RRT_STATUS_OK;
}

static rrt_status take_gradients(rrt__tape *tape, size_t rows, int n_threads, rrt_error *err)
{
    const rrt__shape *s = &tape->model->shape;
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    RRT__TRY(take(tape, &tape->d_hidden, rows, s->hidden, err));
    if (tape->model->plan.norms_loops) {
        RRT__TRY(take(tape, &tape->entered, rows, s->hidden, err));
        RRT__TRY(take(tape, &tape->d_entered, rows, s->hidden, err));
    }
    for (int i = 0; i < RRT__NORM_INPUTS; i++) RRT__TRY(take(tape, &tape->d_normed[i], rows, s->hidden, err));
    if (tape->shared.branch[0]) RRT__TRY(take(tape, &tape->d_branch, rows, s->hidden, err));
    if (tape->shared.plain_q) RRT__TRY(take(tape, &tape->d_plain_q, rows, q, err));
    if (tape->shared.plain_k) RRT__TRY(take(tape, &tape->d_plain_k, rows, kv, err));
    RRT__TRY(take(tape, &tape->d_q, rows, q, err));
    RRT__TRY(rrt__kv_rows_create(&tape->arena, &tape->d_kv, tape->model, rows, err));
    RRT__TRY(take(tape, &tape->d_attended, rows, q, err));
    size_t widest = s->hidden > q ? s->hidden : q; // of all norms
    return take(tape, &tape->partial, (size_t)n_threads, 2 * widest, err);
}

rrt_status rrt__tape_create(rrt__tape *tape, const rrt_model *model, rrt_model *gradient, size_t rows,
                            size_t positions, bool recompute, int n_threads, rrt__products products,
                            rrt_error *err)
{
    *tape = (rrt__tape){.model = model,
                        .gradient = gradient,
                        .recompute = recompute,
                        .products = products,
                        .kernels = rrt__gradient_kernels_get()};
    if (model->plan.sharing == RRT__SHARING_STACKS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "training of models with two stacks ('%s') is not supported", model->family->name);
    n_threads = rrt__team_threads(n_threads);
    for (int kind = 0; kind < RRT__PARAMETER_KIND_COUNT; kind++) tape->trains[kind] = true;
    rrt_status status = form_depths(tape, err);
    if (!status)
        status =
            rrt__workspace_create_for(&tape->shared, model, tape->depths, rows, positions, n_threads, err);
    if (!status) status = take_depths(tape, rows, err);
    if (!status) status = take_gradients(tape, rows, n_threads, err);
    if (status) rrt__tape_free(tape);
    return status;
}

void rrt__tape_free(rrt__tape *tape)
{
    rrt__workspace_free(&tape->shared);
    rrt__arena_free(&tape->arena);
    *tape = (rrt__tape){0};
}
