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

void rrt__trace_block(const rrt__pass *p, int depth, float *middle, float *after)
{
    rrt__segment segment = {depth, 0, p->n_rows};
    size_t hidden = p->model->shape.hidden;
    rrt__forward_attention(p, &segment, 1);
    rrt__team_copy_share(p->team, middle, p->ws->hidden, p->n_rows, hidden);
    rrt__forward_mlp(p, &segment, 1); // waits before it changes the hidden state
    rrt__team_copy_share(p->team, after, p->ws->hidden, p->n_rows, hidden);
    rrt__team_barrier(p->team);
}
