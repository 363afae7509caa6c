#include "convert/trace.h"

rrt_status rrt__trace_open(rrt__trace *trace, const rrt_model *model, size_t tokens, rrt_error *err)
{
    int n = model->plan.n_depths;
    size_t row = model->shape.hidden * sizeof(float);
    rrt_status status;
    *trace = (rrt__trace){.tokens = tokens};
    RRT__GOTO(rrt__arena_alloc(&trace->arena, &trace->middle, (size_t)n, sizeof(float *), "a trace", err));
    RRT__GOTO(rrt__arena_alloc(&trace->arena, &trace->after, (size_t)n, sizeof(float *), "a trace", err));
    for (int d = 0; d < n; d++) {
        RRT__GOTO(rrt__arena_alloc(&trace->arena, &trace->middle[d], tokens, row, "a trace", err));
        RRT__GOTO(rrt__arena_alloc(&trace->arena, &trace->after[d], tokens, row, "a trace", err));
    }
done:
    if (status) rrt__trace_free(trace);
    return status;
}

void rrt__trace_free(rrt__trace *trace)
{
    rrt__arena_free(&trace->arena);
    *trace = (rrt__trace){0};
}

void rrt__trace_block(rrt__team team, const rrt_model *model, rrt__workspace *ws, const rrt__span *span,
                      int depth, float *middle, float *after)
{
    rrt__segment segment = {depth, 0, span->count};
    size_t hidden = model->shape.hidden;
    rrt__forward_attention(team, model, ws, span, 1, &segment, 1);
    rrt__team_copy(team, middle, ws->hidden, span->count, hidden);
    rrt__forward_mlp(team, model, ws, span, 1, &segment, 1); // waits before it changes the hidden state
    rrt__team_copy(team, after, ws->hidden, span->count, hidden);
    rrt__team_barrier(team);
}
