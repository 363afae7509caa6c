// Layer-wise reconstruction: the second pass of a calibrated conversion, on the student's own inputs.
#ifndef RRT__RECONSTRUCT_H
#define RRT__RECONSTRUCT_H

#include "convert/recipe.h"
#include "convert/trace.h"

// Fits o and down of every depth again, in order, on the recipe's text. The model has a shared plan over all
// layers of the source; the trace holds the source's hidden states over the text's beginning. If a norm
// follows o and down, their output has no least-squares target: the ties stay as they are.
rrt_status rrt__convert_reconstruct(rrt_model *model, const rrt_model *source, const rrt__trace *trace,
                                    const rrt__recipe *recipe, rrt_error *err);

#endif
