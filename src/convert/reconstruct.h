// The second pass of a calibrated conversion, with the student's own inputs.
#ifndef RRT__RECONSTRUCT_H
#define RRT__RECONSTRUCT_H

#include "convert/recipe.h"
#include "convert/trace.h"

// Fits o and down of every depth again, in order, on the recipe's text. The model is a
// shared plan over all layers of the source; the trace holds the source's way through the text's beginning.
// Where a norm follows o and down, what they should give is no target for least squares: the ties stay as
// they are.
rrt_status rrt__convert_reconstruct(rrt_model *model, const rrt_model *source, const rrt__trace *trace,
                                    const rrt__recipe *recipe, rrt_error *err);

#endif
