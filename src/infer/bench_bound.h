// The most that early exits can gain.
#ifndef RRT__BENCH_BOUND_H
#define RRT__BENCH_BOUND_H

#include "infer/engine_inside.h"

// Work of the counted tokens if all had run all loops, over what they did with these exits: prelude, coda and
// head once, their loops, coda and head at boundaries where they stayed, and keys and values of the loops left
// out, by the policy. With gates and keys and values for nothing this is (F0 + B·Fr) / (F0 + d·Fr).
double rrt__bench_bound(const rrt_model *model, const rrt_engine_stats *stats, rrt__kv_policy policy,
                        bool is_kv_tied);

#endif
