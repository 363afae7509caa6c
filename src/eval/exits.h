// What every exit says to every token of a text, and where tokens leave by a rule.
#ifndef RRT__EVAL_EXITS_H
#define RRT__EVAL_EXITS_H

#include "eval/windows.h"
#include "pass/exit.h"

// [exit, row]: rows are the scored tokens of all windows, in order.
typedef struct rrt__exit_rows {
    size_t count;
    int loops;
    double *loss;  // [loops, count]: -ln p of the token that followed, where all tokens leave there
    int32_t *best; // [loops, count]: most likely token
    double
        *score; // [loops - 1, count]: of the rule's kind, where no token leaves; only if it has a threshold
    double *rule_loss;  // [count]: where tokens leave by the rule, with the keys and values of the policy
    int32_t *rule_best; // [count]
    int *left;          // [count]: loops that the token ran
    rrt__arena arena;
} rrt__exit_rows;

rrt_status rrt__exit_rows_create(rrt__exit_rows *rows, const rrt_model *model, const rrt__cut *cut,
                                 rrt_error *err);
void rrt__exit_rows_free(rrt__exit_rows *rows);

// Fills in loss, best and score: whole windows, loop by loop.
rrt_status rrt__exit_rows_measure(rrt__exit_rows *rows, const rrt_model *model, const rrt__cut *cut,
                                  const rrt__exit_rule *rule, const rrt_eval_options *options,
                                  rrt_error *err);

// Fills in what the rule does, after rrt__exit_rows_measure: token by token, as it is served, in many windows
// at once. (Loop by loop would not do: what the coda's attention sees of a token before is its own exit,
// which may be a deeper one.)
rrt_status rrt__exit_rows_decode(rrt__exit_rows *rows, const rrt_model *model, const rrt__cut *cut,
                                 const rrt__exit_rule *rule, rrt__kv_policy policy, rrt__kv_type kv_type,
                                 const rrt_eval_options *options, rrt_error *err);

#endif
