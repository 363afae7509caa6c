// Which layers of a model can go: those whose absence changes least what the model says.
#ifndef RRT__PRUNE_H
#define RRT__PRUNE_H

#include "model/model.h"
#include "rrt/convert.h"

// kept[count], ascending: layers are left out one by one, each time the one without which the mean KL to the
// source, on the calibration text, is least (ours; the paper prunes stepwise). NUMERIC where all that remains
// gives values that are not finite, whatever is left out.
rrt_status rrt__prune_choose(int *kept, int count, const rrt_model *source,
                             const rrt_convert_options *options, rrt_error *err);

// What remains of a model with these layers only: weights and vectors stay the source's. The arena, at first
// {0}, holds what is the view's own.
rrt_status rrt__prune_view(rrt_model *view, rrt__arena *arena, const rrt_model *source, const int *kept,
                           int count, rrt_error *err);

#endif
