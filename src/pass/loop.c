#include "pass/loop.h"

#include <string.h>

void rrt__walk_enter(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    bool any = false;
    for (size_t s = 0; s < n_segments; s++) {
        const rrt__norm *norm = p->depths[segments[s].depth].input;
        if (!norm) continue;
        rrt__forward_norm_share(p, norm, p->ws->hidden, p->ws->hidden, segments[s].begin, segments[s].end);
        any = true;
    }
    if (any) rrt__team_barrier(p->team);
}

void rrt__walk_segments(const rrt__pass *p, const rrt__segment *segments, size_t n_segments, int count,
                        rrt__block_function *block)
{
    rrt__segment at[RRT__MAX_DEPTHS];
    memcpy(at, segments, n_segments * sizeof *at);
    for (int i = 0; i < count; i++) {
        rrt__walk_enter(p, at, n_segments);
        block(p, at, n_segments);
        for (size_t s = 0; s < n_segments; s++) at[s].depth++;
    }
}

void rrt__walk_range(const rrt__pass *p, rrt__depth_range range)
{
    const rrt__segment all = {range.begin, 0, p->n_rows};
    rrt__walk_segments(p, &all, 1, range.end - range.begin, rrt__forward_block);
}

void rrt__walk(const rrt__pass *p, const int32_t *ids, int loops)
{
    const rrt__plan *plan = &p->model->plan;
    rrt__forward_embed(p, ids);
    rrt__walk_range(p, rrt__plan_prelude(plan));
    for (int n = 1; n <= loops; n++) rrt__walk_range(p, rrt__plan_loop(plan, n));
    rrt__walk_range(p, rrt__plan_coda(plan));
}
