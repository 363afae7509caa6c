// The steps of rrt_convert, for the search, which takes them often.
#ifndef RRT__CONVERT_H
#define RRT__CONVERT_H

#include "convert/moments.h"
#include "convert/recipe.h"

// A model by a recipe whose layers are known. With moments its ties are calibrated: the source is f32 then.
// Without, the result's matrices are deferred to the source, which has to outlive it.
rrt_status rrt__convert_make(rrt_model **out, const rrt_model *source, const rrt__recipe *recipe,
                             const rrt__moments *moments, rrt_convert_report *report, rrt_error *err);

// How much of a calibration text the moments and the trace are made from: its beginning shows where to start,
// and the reconstruction, which decides, reads all of it.
size_t rrt__convert_seen(size_t tokens);

#endif
