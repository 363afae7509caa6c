#include "convert/moments.h"

#include "base/progress.h"
#include "kernels/algebra.h"

enum { TILE = 192 };

rrt__input rrt__matrix_input(rrt__matrix matrix)
{
    return matrix <= RRT__MATRIX_V      ? RRT__INPUT_ATTENTION
           : matrix == RRT__MATRIX_O    ? RRT__INPUT_OUTPUT
           : matrix == RRT__MATRIX_DOWN ? RRT__INPUT_DOWN
                                        : RRT__INPUT_MLP;
}

void rrt__moments_free(rrt__moments *moments)
{
    rrt__arena_free(&moments->arena);
    *moments = (rrt__moments){0};
}

static rrt_status allocate(rrt__moments *moments, const rrt_model *model, rrt_error *err)
{
    const rrt__shape *s = &model->shape;
    *moments = (rrt__moments){.width = {s->hidden, s->heads * s->head_dim, s->hidden, s->ffn},
                              .n_depths = model->plan.n_depths};
    size_t count = (size_t)moments->n_depths * RRT__INPUT_COUNT;
    RRT__TRY(
        rrt__arena_alloc(&moments->arena, &moments->moment, count, sizeof *moments->moment, "moments", err));
    for (size_t i = 0; i < count; i++) {
        size_t width = moments->width[i % RRT__INPUT_COUNT];
        RRT__TRY(rrt__arena_alloc(&moments->arena, &moments->moment[i], width * width, sizeof(float),
                                  "a moment", err));
    }
    return RRT_STATUS_OK;
}

// Row tiles, assigned to the threads from the longest to the shortest.
void rrt__moment_add_share(rrt__team team, float *moment, size_t width, const float *x, size_t rows,
                           float scale)
{
    size_t tiles = (width + TILE - 1) / TILE, nth = (size_t)team.nth;
    for (size_t t = 0; t < tiles; t++) {
        // In alternating order of the threads, so that each gets long and short tiles.
        size_t owner = t / nth % 2 ? nth - 1 - t % nth : t % nth;
        if (owner != (size_t)team.ith) continue;
        size_t begin = (tiles - 1 - t) * TILE, end = begin + TILE < width ? begin + TILE : width;
        rrt__algebra_multiply(moment + begin * width, width, (rrt__operand){x + begin, width, true},
                              (rrt__operand){x, width, false}, end - begin, end, rows, scale, 1);
    }
}

typedef struct collection {
    rrt__moments *moments;
    rrt__trace *trace;
    const rrt_model *model;
    rrt__workspace workspace;
    rrt__span span;
    const int32_t *ids; // of all windows
    size_t at;          // start of this window
    float scale;
} collection;

static void run_window(rrt__team team, void *argument)
{
    collection *c = argument;
    rrt__workspace *ws = &c->workspace;
    const float *inputs[RRT__INPUT_COUNT] = {ws->normed[RRT__NORM_ATTENTION], ws->attended,
                                             ws->normed[RRT__NORM_MLP], ws->activated};
    size_t row = c->at * c->model->shape.hidden;
    const rrt__pass pass = rrt__pass_make(team, c->model, ws, &c->span, 1);
    rrt__forward_embed(&pass, c->ids + c->at);
    for (int d = 0; d < c->model->plan.n_depths; d++) {
        rrt__trace_block(&pass, d, c->trace->middle[d] + row, c->trace->after[d] + row);
        for (int place = 0; place < RRT__INPUT_COUNT; place++) {
            size_t width = c->moments->width[place];
            rrt__moment_add_share(team, rrt__moments_at(c->moments, d, place), width, inputs[place],
                                  c->span.count, c->scale);
        }
        rrt__team_barrier(team); // the next depth overwrites the inputs of the moments
    }
}

static rrt_status run_windows(collection *c, int threads, const rrt_progress *progress, rrt_error *err)
{
    size_t count = c->trace->tokens;
    for (c->at = 0; c->at < count; c->at += RRT__TRACE_WINDOW) {
        c->span.count = count - c->at < RRT__TRACE_WINDOW ? count - c->at : RRT__TRACE_WINDOW;
        rrt__team_run(threads, run_window, c);
        RRT__TRY(
            rrt__progress_report(progress, "calibrate", (double)(c->at + c->span.count), (double)count, err));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__moments_collect(rrt__moments *moments, rrt__trace *trace, const rrt_model *model,
                                const int32_t *ids, int threads, const rrt_progress *progress, rrt_error *err)
{
    *moments = (rrt__moments){0};
    collection c = {
        .moments = moments, .trace = trace, .model = model, .ids = ids, .scale = 1 / (float)trace->tokens};
    rrt_status status;
    RRT__GOTO(allocate(moments, model, err));
    RRT__GOTO(rrt__workspace_create(&c.workspace, model, RRT__TRACE_WINDOW, RRT__TRACE_WINDOW, threads, err));
    RRT__GOTO(run_windows(&c, threads, progress, err));
done:
    rrt__workspace_free(&c.workspace);
    if (status) rrt__moments_free(moments);
    return status;
}

float rrt__moment_damp(float *moment, size_t width)
{
    double trace = 0;
    for (size_t i = 0; i < width; i++) trace += moment[i * width + i];
    float damping = (float)(0.1 * trace / (double)width);
    if (!(damping > 0)) damping = 1;
    for (size_t i = 0; i < width; i++) moment[i * width + i] += damping;
    return damping;
}

rrt_status rrt__moment_factor(float *moment, size_t width, rrt_error *err)
{
    int row = rrt__algebra_cholesky(moment, width);
    if (row != 0)
        return rrt__fail(err, RRT_STATUS_NUMERIC,
                         "the inputs' second moments are not positive definite (row %d)", row);
    return RRT_STATUS_OK;
}

void rrt__moment_solve(float *x, size_t rows, const float *factor, size_t width)
{
    rrt__algebra_solve_lower_transposed(x, factor, rows, width);
    rrt__algebra_solve_lower(x, factor, rows, width);
}
