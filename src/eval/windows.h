// Runs windows of text through one or more models and hands out their logits a few rows at a time, so that the
// logits of a whole window never exist.
#ifndef RRT__WINDOWS_H
#define RRT__WINDOWS_H

#include "pass/loop.h"
#include "rrt/eval.h"

// The cut of a text into windows (rrt/eval.h).
typedef struct rrt__cut {
    const int32_t *ids;       // of the text
    size_t n_windows, length; // tokens of each window, BOS included
    size_t n_bos;             // 1 or 0
    int32_t bos;
} rrt__cut;

// ARGUMENT if the text is too short, an id is not in the vocabulary, or the context is not possible. The text
// outlives the cut.
rrt_status rrt__cut_make(rrt__cut *cut, const rrt_model *model, const int32_t *ids, size_t count,
                         const rrt_eval_options *options, rrt_error *err);

// The ids of one window, [length].
void rrt__cut_window(const rrt__cut *cut, size_t window, int32_t *ids);

// Called by all threads of a team for rows of one window that are to be scored: logits[m] is [rows, vocab] of
// model m, targets[rows] are the tokens that follow. Each thread works on its share of rows.
typedef void (*rrt__windows_score)(void *user, rrt__team team, size_t first, size_t rows,
                                   const float *const *logits, const int32_t *targets);

// first counts scored rows over all windows, from 0; *scored is their number in all.
// options->loops and kv_type apply to all but the last of several, the teacher: it runs all loops, whole.
rrt_status rrt__windows_run(const rrt_model *const *models, int n_models, const int32_t *ids, size_t count,
                            const rrt_eval_options *options, rrt__windows_score score, void *user,
                            rrt_error *err);

// How many rows rrt__windows_run will score; fails as rrt__cut_make.
rrt_status rrt__windows_count(const rrt_model *model, const int32_t *ids, size_t count,
                              const rrt_eval_options *options, size_t *scored, rrt_error *err);

#endif
