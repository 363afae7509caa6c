// What early exits can save.
#ifndef RRT__WORK_H
#define RRT__WORK_H

#include "infer/engine_inside.h"
#include "pass/weights.h"

// Work of the counted tokens if all had run all loops, over what they did with these exits: prelude, coda and
// head once, their loops, coda and head at boundaries where they stayed, and keys and values of the loops
// left out, by the policy. With gates and keys and values for nothing this is (F0 + B·Fr) / (F0 + d·Fr).
double rrt__work_saved(const rrt_model *model, const rrt_engine_stats *stats, rrt__kv_policy policy,
                       bool is_kv_tied);

#endif
