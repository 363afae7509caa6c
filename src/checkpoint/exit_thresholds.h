// Calibrated exit thresholds (rrt_eval_exits) that lie beside the weights that they hold for: exits.json in a
// folder, NAME.exits.json beside a file.
#ifndef RRT__EXIT_THRESHOLDS_H
#define RRT__EXIT_THRESHOLDS_H

#include "model/model.h"

// Sets model->calibrated from the file that belongs to the path that the model was opened from, if there is
// one. Thresholds of other weights are left out, which model->has_stale_thresholds says.
rrt_status rrt__exit_thresholds_load(rrt_model *model, const char *path, rrt_error *err);

// Stores thresholds beside the model at path, in place of those of the same rule, way to keep keys and
// values, and number of loops as `replaced`. Others stay, but not those of other weights.
rrt_status rrt__exit_thresholds_write(const char *path, const rrt__calibrated_exit *replaced,
                                      const rrt__calibrated_exit *added, size_t count, rrt_error *err);

#endif
