// The output of every exit for every token of a text, and where tokens exit by a rule.
#ifndef RRT__EVAL_EXITS_H
#define RRT__EVAL_EXITS_H

#include "eval/windows.h"
#include "pass/exit.h"

// Windows that run freely, and those that a threshold is tried on: more would take long.
enum { RRT__EXIT_WINDOWS = 32 };

// One-sided 95 % confidence, in standard errors.
#define RRT__EXIT_DEVIATIONS 1.645

// How exits are measured.
typedef struct rrt__exit_run {
    const rrt_model *model;
    const rrt__cut *cut;
    const rrt_eval_options *options;
    rrt__kv_policy policy;
    rrt__kv_types kv_type;
} rrt__exit_run;

// [exit, row]: rows are the scored tokens of all windows, in order.
typedef struct rrt__exit_rows {
    size_t count;
    int loops;
    double *loss;       // [loops, count]: -ln p of the next token if all tokens exit there
    int32_t *best;      // [loops, count]: most likely token
    double *score;      // [loops - 1, count]: of the rule's kind, without exits; only if it has a threshold
    double *rule_loss;  // [count]: with exits by the rule, and keys and values by the policy
    int32_t *rule_best; // [count]
    int *left;          // [count]: loops that the token ran
    rrt__arena arena;
} rrt__exit_rows;

rrt_status rrt__exit_rows_create(rrt__exit_rows *rows, const rrt_model *model, const rrt__cut *cut,
                                 rrt_error *err);
void rrt__exit_rows_free(rrt__exit_rows *rows);

// -ln p of the next token, by a row of logits.
double rrt__next_token_loss(const float *logits, size_t vocab, int32_t target);

// Sets loss, best and score of the exits from loop `first` on: whole windows, loop by loop.
rrt_status rrt__exit_rows_measure(rrt__exit_rows *rows, const rrt__exit_run *run, rrt__exit_kind kind,
                                  int first, rrt_error *err);

// Sets the rule's results of windows [begin, end), after rrt__exit_rows_measure: token by token, as in
// serving, for many windows at once. (Loop by loop would be wrong: the coda's attention reads an earlier
// token's own exit, which may be deeper.)
rrt_status rrt__exit_rows_decode(rrt__exit_rows *rows, const rrt__exit_run *run, const rrt__exit_rule *rule,
                                 size_t begin, size_t end, rrt_error *err);

// Running freely: the first half of each window is a prompt, which runs all loops; the model goes on from
// there, greedily, with exits by the rule. *agreement: the share of *count generated tokens that all loops
// find most likely after the same text; NaN: windows are too short. Destroys the rule's results of these
// windows.
rrt_status rrt__exit_rows_generate(rrt__exit_rows *rows, const rrt__exit_run *run, const rrt__exit_rule *rule,
                                   size_t begin, size_t end, double *agreement, uint64_t *count,
                                   rrt_error *err);

// limits[0..count): quantiles of the measured scores, from the lowest to the highest.
rrt_status rrt__exit_rows_quantiles(const rrt__exit_rows *rows, double *limits, size_t count, rrt_error *err);

// What a rule does to the rows of windows [begin, end).
typedef struct rrt__exit_summary {
    double agreement, bound, mean_loops, ppl;
} rrt__exit_summary;

// bound: the lower one of the agreement, `deviations` standard errors below: the smaller one of Wilson's, for
// independent tokens, and Student's over the windows, whose tokens may be alike.
rrt__exit_summary rrt__exit_summarize(const rrt__exit_rows *rows, const rrt__cut *cut, size_t begin,
                                      size_t end, double deviations);

// Sets the rule's results of windows [begin, end) as if all tokens exited where each one does, whatever the
// policy: an estimate, from measured scores.
void rrt__exit_rows_estimate(rrt__exit_rows *rows, const rrt__cut *cut, double limit, size_t begin,
                             size_t end);

// Sets result->calibrated, after rrt__exit_rows_measure with this kind. Destroys the rule's results.
rrt_status rrt__exit_calibrate(rrt__exit_rows *rows, const rrt__exit_run *run, rrt__exit_kind kind,
                               rrt_eval_exits_result *result, rrt_error *err);

#endif
