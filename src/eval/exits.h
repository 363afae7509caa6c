// The output of every exit for every token of a text, and where tokens exit by a rule.
#ifndef RRT__EVAL_EXITS_H
#define RRT__EVAL_EXITS_H

#include "eval/windows.h"
#include "pass/exit.h"

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

// Sets loss, best and score: whole windows, loop by loop.
rrt_status rrt__exit_rows_measure(rrt__exit_rows *rows, const rrt_model *model, const rrt__cut *cut,
                                  const rrt__exit_rule *rule, const rrt_eval_options *options,
                                  rrt_error *err);

// Sets the rule's results, after rrt__exit_rows_measure: token by token, as in serving, for many windows
// at once. (Loop by loop would be wrong: the coda's attention reads an earlier token's own exit, which may
// be deeper.)
rrt_status rrt__exit_rows_decode(rrt__exit_rows *rows, const rrt_model *model, const rrt__cut *cut,
                                 const rrt__exit_rule *rule, rrt__kv_policy policy, rrt__kv_types kv_type,
                                 const rrt_eval_options *options, rrt_error *err);

#endif
