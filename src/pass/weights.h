// What a token costs: weights that it is multiplied with. Attention, norms and sampling are left out: they
// are small at short contexts.
#ifndef RRT__WEIGHTS_H
#define RRT__WEIGHTS_H

#include "model/model.h"

typedef struct rrt__model_weights {
    double prelude, loop, head; // head: with the coda
} rrt__model_weights;

rrt__model_weights rrt__model_weights_of(const rrt_model *model);

// Of a depth's matrix, with its LoRA.
double rrt__weights_of_matrix(const rrt_model *model, int depth, rrt__matrix matrix);

#endif
