// Runs windows of text through one or more models and passes on their logits a few rows at a time, so that
// the logits of a whole window never exist at once.
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

// ARGUMENT if the text is too short, an id is outside the vocabulary, or the context is impossible. The text
// must outlive the cut.
rrt_status rrt__cut_make(rrt__cut *cut, const rrt_model *model, const int32_t *ids, size_t count,
                         const rrt_eval_options *options, rrt_error *err);

// The ids of one window, [length].
void rrt__cut_window(const rrt__cut *cut, size_t window, int32_t *ids);

// Called by all threads of a team for rows of one window to score: logits[m] is [rows, vocab] of model m,
// targets[rows] are the next tokens. Each thread works on its share of rows.
typedef void (*rrt__windows_score)(void *user, rrt__team team, size_t first, size_t rows,
                                   const float *const *logits, const int32_t *targets);

// first counts scored rows over all windows, from 0; *scored is their total. options->loops and kv_type apply
// to all models but the last of several, the teacher: it runs all loops, on whole windows.
rrt_status rrt__windows_run(const rrt_model *const *models, int n_models, const int32_t *ids, size_t count,
                            const rrt_eval_options *options, rrt__windows_score score, void *user,
                            rrt_error *err);

// Number of rows that rrt__windows_run will score; fails like rrt__cut_make.
rrt_status rrt__windows_count(const rrt_model *model, const int32_t *ids, size_t count,
                              const rrt_eval_options *options, size_t *scored, rrt_error *err);

#endif
