// The steps of rrt_convert, which the search repeats.
#ifndef RRT__CONVERT_H
#define RRT__CONVERT_H

#include "convert/moments.h"
#include "convert/recipe.h"

// Makes a model by a recipe whose layers are known. With moments, ties are calibrated and the source must be
// f32. Without, the result's matrices are deferred to the source, which must outlive it.
rrt_status rrt__convert_make(rrt_model **out, const rrt_model *source, const rrt__recipe *recipe,
                             const rrt__moments *moments, rrt_convert_report *report, rrt_error *err);

enum { RRT__SEARCH_ROUNDS = 3 }; // of a calibrated tie: few already rank the plans of a search

// What a search may try before it calibrates: the first of its plans, with LoRA for all that it leaves of the
// target, as a recipe; *count: how many plans it will judge, about.
rrt_status rrt__search_first(rrt__recipe *recipe, size_t *count, const rrt_model *source,
                             const rrt_convert_options *options, uint64_t target, rrt_error *err);

// Number of calibration tokens for the moments and the trace. The beginning of the text is enough as a start
// for the reconstruction, which reads all of it and decides the result.
size_t rrt__convert_seen(size_t tokens);

#endif
