// Runs windows of text through one or two models and hands out their logits a few rows at a time, so that the
// logits of a whole window never exist.
#ifndef RRT__WINDOWS_H
#define RRT__WINDOWS_H

#include "model/forward.h"
#include "rrt/eval.h"

// Called by all threads of a team for rows of one window that are to be scored: logits[m] is [rows, vocab] of
// model m, targets[rows] are the tokens that follow. Each thread works on its share of rows.
typedef void (*rrt__windows_score)(void *user, rrt__team team, size_t first, size_t rows,
                                   const float *const *logits, const int32_t *targets);

// first counts scored rows over all windows, from 0; *scored is their number in all.
// options->loops applies to models[0]; the others run all loops.
rrt_status rrt__windows_run(const rrt_model *const *models, int n_models, const int32_t *ids, size_t count,
                            const rrt_eval_options *options, rrt__windows_score score, void *user,
                            rrt_error *err);

// How many rows rrt__windows_run will score. ARGUMENT if the text is too short or context is not possible.
rrt_status rrt__windows_count(const rrt_model *model, size_t count, const rrt_eval_options *options,
                              size_t *scored, rrt_error *err);

#endif
