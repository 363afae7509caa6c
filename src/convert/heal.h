// The second pass of a calibrated conversion, with the student's own inputs.
#ifndef RRT__HEAL_H
#define RRT__HEAL_H

#include "convert/trace.h"
#include "rrt/convert.h"

// Fits o and down of every depth again, in order, on the calibration text of the options. The model is a
// shared plan over all layers of the source; the trace holds the source's way through the text's beginning.
// Where a norm follows o and down, what they should give is no target for least squares: the ties stay as
// they are.
rrt_status rrt__convert_heal(rrt_model *model, const rrt_model *source, const rrt__trace *trace,
                             const rrt_convert_options *options, rrt_error *err);

#endif
