// What tokens cost: weights that they are multiplied with.
#ifndef RRT__WORK_H
#define RRT__WORK_H

#include "infer/engine_inside.h"

// Weights that a token is multiplied with: in the prelude, in a loop, in coda and head.
typedef struct rrt__model_weights {
    double prelude, loop, head;
} rrt__model_weights;

rrt__model_weights rrt__model_weights_of(const rrt_model *model);

// Work of the counted tokens if all had run all loops, over what they did with these exits: prelude, coda and
// head once, their loops, coda and head at boundaries where they stayed, and keys and values of the loops left
// out, by the policy. With gates and keys and values for nothing this is (F0 + B·Fr) / (F0 + d·Fr).
double rrt__work_saved(const rrt_model *model, const rrt_engine_stats *stats, rrt__kv_policy policy,
                       bool is_kv_tied);

#endif
