// Layer selection by calibration: finds the layers whose removal changes the model's output least.
#ifndef RRT__PRUNE_H
#define RRT__PRUNE_H

#include "convert/recipe.h"

enum {
    RRT__PRUNE_WINDOW = 256,
    RRT__PRUNE_JUDGED_STEP = 4
}; // tokens that attend to each other; every 4th row is judged

// Sets the recipe's n_layers layers: starting from all, removes one by one the layer without which the mean
// KL to the source on the recipe's text is lowest (ours; the paper prunes stepwise). NUMERIC if every removal
// gives values that are not finite.
rrt_status rrt__prune_choose(rrt__recipe *recipe, const rrt_model *source, rrt_error *err);

#endif
