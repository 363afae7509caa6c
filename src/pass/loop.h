// The walk through a model: prelude, loops, coda (paper eq. 2). All that runs or decodes takes these steps;
// what trains takes them on a tape (backward.h), over the same ranges of the plan.
#ifndef RRT__LOOP_H
#define RRT__LOOP_H

#include "pass/forward.h"

// What happens to the hidden state of segments whose next depth begins a loop (plan.h).
void rrt__walk_enter(const rrt__pass *pass, const rrt__segment *segments, size_t n_segments);

// Each segment through `count` depths from its own on, all segments at one slot at a time.
void rrt__walk_segments(const rrt__pass *pass, const rrt__segment *segments, size_t n_segments, int count,
                        rrt__block_function *block);

// All rows through the depths of a range.
void rrt__walk_range(const rrt__pass *pass, rrt__depth_range range);

// All rows from the embedding of ids to the exit after so many loops: prelude, loops, coda.
void rrt__walk(const rrt__pass *pass, const int32_t *ids, int loops);

#endif
