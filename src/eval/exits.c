// Evaluates exits: each exit, a rule, the oracle.
#include "eval/exits.h"

#include <math.h>

static bool agrees(const rrt__exit_rows *r, size_t row, int32_t best)
{
    return best == r->best[(size_t)(r->loops - 1) * r->count + row];
}

// The first loop with the same token as the last.
static int oracle_loops(const rrt__exit_rows *r, size_t row)
{
    int n = 1;
    while (!agrees(r, row, r->best[(size_t)(n - 1) * r->count + row])) n++;
    return n;
}

static rrt_status summarize_exits(const rrt__exit_rows *r, rrt_eval_exits_result *result, rrt_error *err)
{
    for (size_t row = 0; row < r->count; row++) {
        result->exits[oracle_loops(r, row) - 1].oracle_share += 1 / (double)r->count;
        result->exits[r->left[row] - 1].share += 1 / (double)r->count;
    }
    for (int n = 1; n <= r->loops; n++) {
        rrt_eval_exit *exit = &result->exits[n - 1];
        double loss = 0;
        for (size_t row = 0; row < r->count; row++) {
            size_t at = (size_t)(n - 1) * r->count + row;
            if (!isfinite(r->loss[at]))
                return rrt__fail(err, RRT_STATUS_NUMERIC,
                                 "the output of exit %d at scored token %zu is not finite", n, row);
            loss += r->loss[at] / (double)r->count;
            exit->agreement += agrees(r, row, r->best[at]) / (double)r->count;
        }
        exit->ppl = exp(loss);
        result->mean_loops += n * exit->share;
        result->oracle_mean_loops += n * exit->oracle_share;
    }
    return RRT_STATUS_OK;
}

// The rule's results, of all windows; where its tokens left.
static void keep_rule(const rrt__exit_rows *r, const rrt__cut *cut, rrt_eval_exits_result *result)
{
    rrt__exit_summary summary = rrt__exit_summarize(r, cut, 0, cut->n_windows, RRT__EXIT_DEVIATIONS);
    result->agreement = summary.agreement;
    result->agreement_bound = summary.bound;
    result->ppl = summary.ppl;
    result->tokens = r->count;
    result->tokens_per_window = cut->length - 1;
    for (size_t row = 0; row < r->count; row++) {
        result->left[row] = r->left[row];
        result->oracle_left[row] = oracle_loops(r, row);
    }
}

static rrt_status sweep(rrt__exit_rows *r, const rrt__cut *cut, rrt__exit_kind kind,
                        rrt_eval_exits_result *result, rrt_error *err)
{
    double limits[RRT_EVAL_EXITS_POINTS];
    RRT__TRY(rrt__exit_rows_quantiles(r, limits, RRT_EVAL_EXITS_POINTS, err));
    for (int q = 0; q < RRT_EVAL_EXITS_POINTS; q++) {
        if (q && limits[q] == limits[q - 1]) continue;
        rrt__exit_rows_estimate(r, cut, limits[q], 0, cut->n_windows);
        rrt__exit_summary summary = rrt__exit_summarize(r, cut, 0, cut->n_windows, RRT__EXIT_DEVIATIONS);
        result->points[result->n_points++] = (rrt_eval_exits_point){
            rrt__exit_threshold(kind, limits[q]), summary.agreement, summary.mean_loops, summary.ppl};
    }
    return RRT_STATUS_OK;
}

// No token exits early: copies the last exit's results.
static void keep_all(rrt__exit_rows *r)
{
    size_t last = (size_t)(r->loops - 1) * r->count;
    for (size_t row = 0; row < r->count; row++) {
        r->left[row] = r->loops;
        r->rule_loss[row] = r->loss[last + row];
        r->rule_best[row] = r->best[last + row];
    }
}

static rrt_status parse(const rrt_model *model, const rrt_exit_options *exits, rrt__kv_types kv_type,
                        rrt__exit_rule *rule, rrt__kv_policy *policy, rrt_error *err)
{
    *rule = (rrt__exit_rule){RRT__EXIT_LOOPS, model->plan.loops};
    RRT__TRY(rrt__kv_policy_parse(policy, exits ? exits->kv : NULL, model, err));
    if (!exits || !exits->rule) return RRT_STATUS_OK;
    return rrt__exit_rule_parse(rule, exits->rule, model, *policy, kv_type, err);
}

// By the rule that was asked for: teacher-forced, then free.
static rrt_status run_rule(rrt__exit_rows *rows, const rrt__exit_run *run, const rrt__exit_rule *rule,
                           rrt_eval_exits_result *result, rrt_error *err)
{
    size_t all = run->cut->n_windows, windows = all < RRT__EXIT_WINDOWS ? all : RRT__EXIT_WINDOWS;
    uint64_t count;
    keep_all(rows);
    result->free_agreement = NAN;
    bool all_stay = rule->kind == RRT__EXIT_LOOPS && rule->limit >= rows->loops;
    if (!all_stay) RRT__TRY(rrt__exit_rows_decode(rows, run, rule, 0, all, err));
    RRT__TRY(summarize_exits(rows, result, err));
    keep_rule(rows, run->cut, result);
    if (all_stay || rule->kind == RRT__EXIT_ORACLE) return RRT_STATUS_OK;
    return rrt__exit_rows_generate(rows, run, rule, 0, windows, &result->free_agreement, &count, err);
}

rrt_status rrt_eval_exits(const rrt_model *model, const int32_t *ids, size_t count,
                          const rrt_eval_options *options, const rrt_exit_options *exits,
                          rrt_eval_exits_result *result, rrt_error *err)
{
    const rrt_eval_options defaults = {0};
    rrt__exit_rows rows = {0};
    rrt__exit_rule rule;
    rrt__cut cut;
    rrt__exit_run run = {.model = model, .cut = &cut, .options = options ? options : &defaults};
    rrt_status status;
    *result = (rrt_eval_exits_result){.loops = model->plan.loops};
    RRT__GOTO(rrt__kv_types_parse(&run.kv_type, run.options->kv_type, err));
    RRT__GOTO(parse(model, exits, run.kv_type, &rule, &run.policy, err));
    RRT__GOTO(rrt__cut_make(&cut, model, ids, count, run.options, err));
    RRT__GOTO(rrt__exit_rows_create(&rows, model, &cut, err));
    RRT__GOTO(rrt__alloc(&result->exits, (size_t)result->loops, sizeof *result->exits, "results", err));
    RRT__GOTO(rrt__alloc(&result->left, rows.count, sizeof *result->left, "results", err));
    RRT__GOTO(rrt__alloc(&result->oracle_left, rows.count, sizeof *result->left, "results", err));
    RRT__GOTO(rrt__exit_rows_measure(&rows, &run, rule.kind, 1, err));
    RRT__GOTO(run_rule(&rows, &run, &rule, result, err));
    if (rrt__exit_has_threshold(rule.kind) && rule.kind != RRT__EXIT_LOOPS) {
        RRT__GOTO(sweep(&rows, &cut, rule.kind, result, err));
        RRT__GOTO(rrt__exit_calibrate(&rows, &run, rule.kind, result, err));
    }
done:
    rrt__exit_rows_free(&rows);
    if (status) rrt_eval_exits_free(result);
    return status;
}

void rrt_eval_exits_free(rrt_eval_exits_result *result)
{
    rrt__free(result->exits);
    rrt__free(result->left);
    rrt__free(result->oracle_left);
    *result = (rrt_eval_exits_result){0};
}
