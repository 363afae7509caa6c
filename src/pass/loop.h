// The walk through a model: prelude, loops, coda (paper eq. 2). Inference takes these steps; training takes
// them on a tape (backward.h), over the same ranges of the plan.
#ifndef RRT__LOOP_H
#define RRT__LOOP_H

#include "pass/forward.h"

// Applies the norm at a loop's entry to the segments whose next depth begins a loop (plan.h).
void rrt__walk_enter(const rrt__pass *pass, const rrt__segment *segments, size_t n_segments);

// Runs each segment through `count` depths, starting at its own; all segments are at the same slot at a time.
void rrt__walk_segments(const rrt__pass *pass, const rrt__segment *segments, size_t n_segments, int count,
                        rrt__block_function *block);

// Runs all rows through the depths of a range.
void rrt__walk_range(const rrt__pass *pass, rrt__depth_range range);

// Runs all rows from the embedding of ids to the exit after `loops` loops: prelude, loops, coda.
void rrt__walk(const rrt__pass *pass, const int32_t *ids, int loops);

#endif
