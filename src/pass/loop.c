#include "pass/loop.h"

#include <string.h>

// Adds the state that waits to the rows of a pass through a stack; what they were before may wait instead. A
// thread takes the rows that it norms.
static void add_other_stack(const rrt__pass *p, const rrt__segment *segment, rrt__depth_entry entry)
{
    size_t width = p->model->shape.hidden;
    rrt__share share = rrt__team_share(p->team, segment->end - segment->begin, 1);
    for (size_t r = segment->begin + share.begin; r < segment->begin + share.end; r++) {
        float *hidden = p->ws->hidden + r * width, *waiting = p->ws->waiting + r * width;
        for (size_t i = 0; i < width; i++) {
            float here = hidden[i];
            hidden[i] += entry == RRT__ENTRY_START ? p->model->low_start[i] : waiting[i];
            if (entry != RRT__ENTRY_AGAIN) waiting[i] = here;
        }
    }
}

static void enter(const rrt__pass *p, const rrt__segment *segment, rrt__depth_entry entry)
{
    if (entry != RRT__ENTRY_START)
        rrt__forward_norm_share(p, &p->model->final_norm, p->ws->hidden, p->ws->hidden, segment->begin,
                                segment->end);
    if (entry != RRT__ENTRY_NORM) add_other_stack(p, segment, entry);
}

void rrt__walk_enter(const rrt__pass *p, const rrt__segment *segments, size_t n_segments)
{
    bool any = false;
    for (size_t s = 0; s < n_segments; s++) {
        rrt__depth_entry entry = p->depths[segments[s].depth].entry;
        if (entry == RRT__ENTRY_NONE) continue;
        enter(p, &segments[s], entry);
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
