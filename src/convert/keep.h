// Models of layers that are kept as they are: pruned, or with a block of them run in loops.
#ifndef RRT__KEEP_H
#define RRT__KEEP_H

#include "model/model.h"
#include "rrt/convert.h"

// A model whose slots are options->layers layers of the source (0: all), chosen stepwise, or by the text
// where the init is calibrated. Without sharing that is pruning. With it the block of those that are left
// between prelude and coda is run options->loops times, the later ones with norms of options->loop_gain
// (ours).
rrt_status rrt__convert_kept(rrt_model **out, const rrt_model *source, const rrt_convert_options *options,
                             rrt_convert_report *report, rrt_error *err);

#endif
