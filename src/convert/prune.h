// Which layers of a model can go: those whose absence changes least what the model says.
#ifndef RRT__PRUNE_H
#define RRT__PRUNE_H

#include "convert/recipe.h"

// Sets the recipe's layers, n_layers of them: of all, layers are left out one by one, each time the one
// without which the mean KL to the source, on the recipe's text, is least (ours; the paper prunes stepwise).
// NUMERIC where all that remains gives values that are not finite, whatever is left out.
rrt_status rrt__prune_choose(rrt__recipe *recipe, const rrt_model *source, rrt_error *err);

#endif
