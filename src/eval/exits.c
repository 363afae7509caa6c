// Evaluates exits: each exit, a rule, the oracle.
#include "eval/exits.h"

#include <math.h>
#include <stdlib.h>

enum { SWEEP = 20, FINE = 400 }; // quantiles of the scores that are tried as thresholds

static const double wanted_agreement[RRT_EVAL_EXITS_WANTED] = {0.9, 0.95, 0.99};

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

static void summarize_rule(const rrt__exit_rows *r, rrt_eval_exits_result *result)
{
    double loss = 0;
    for (size_t row = 0; row < r->count; row++) {
        loss += r->rule_loss[row] / (double)r->count;
        result->agreement += agrees(r, row, r->rule_best[row]) / (double)r->count;
    }
    result->ppl = exp(loss);
    result->tokens = r->count;
}

// Lower confidence bound of a share measured on `count` draws.
static double lower_bound(double share, size_t count)
{
    double n = (double)count, z = 1.6449, middle = share + z * z / (2 * n);
    return (middle - z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n);
}

// The result of a limit: each token as if all tokens exited where it does.
static rrt_eval_exits_point try_limit(const rrt__exit_rows *r, rrt__exit_kind kind, double limit)
{
    rrt_eval_exits_point point = {.threshold = rrt__exit_threshold(kind, limit)};
    double loss = 0;
    for (size_t row = 0; row < r->count; row++) {
        int n = 1;
        while (n < r->loops && r->score[(size_t)(n - 1) * r->count + row] < limit) n++;
        size_t at = (size_t)(n - 1) * r->count + row;
        point.mean_loops += n / (double)r->count;
        point.agreement += agrees(r, row, r->best[at]) / (double)r->count;
        loss += r->loss[at] / (double)r->count;
    }
    point.ppl = exp(loss);
    point.agreement_bound = lower_bound(point.agreement, r->count);
    return point;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Loosens the limit, from the strictest on, while enough tokens agree.
static void calibrate(const rrt__exit_rows *r, rrt__exit_kind kind, const double *sorted, size_t count,
                      rrt_eval_exits_result *result)
{
    bool over[RRT_EVAL_EXITS_WANTED] = {false};
    for (int w = 0; w < RRT_EVAL_EXITS_WANTED; w++)
        result->calibrated[w] = (rrt_eval_exits_point){NAN, 1, r->loops, result->exits[r->loops - 1].ppl, 1};
    for (int q = FINE; q >= 0; q--) {
        rrt_eval_exits_point point = try_limit(r, kind, sorted[(count - 1) * (size_t)q / FINE]);
        for (int w = 0; w < RRT_EVAL_EXITS_WANTED; w++) {
            over[w] |= point.agreement_bound < wanted_agreement[w];
            if (!over[w]) result->calibrated[w] = point;
        }
    }
}

static rrt_status sweep(const rrt__exit_rows *r, rrt__exit_kind kind, rrt_eval_exits_result *result,
                        rrt_error *err)
{
    size_t count = (size_t)(r->loops - 1) * r->count;
    double *sorted, previous = NAN;
    RRT__TRY(rrt__alloc(&sorted, count, sizeof *sorted, "scores", err));
    for (size_t i = 0; i < count; i++) sorted[i] = r->score[i];
    qsort(sorted, count, sizeof *sorted, rising);
    for (int q = 0; q <= SWEEP; q++) {
        double limit = sorted[(count - 1) * (size_t)q / SWEEP];
        if (limit != previous) result->points[result->n_points++] = try_limit(r, kind, limit);
        previous = limit;
    }
    calibrate(r, kind, sorted, count, result);
    rrt__free(sorted);
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

static rrt_status parse(const rrt_model *model, const rrt_exit_options *exits, rrt__exit_rule *rule,
                        rrt__kv_policy *policy, rrt_error *err)
{
    *rule = (rrt__exit_rule){RRT__EXIT_LOOPS, model->plan.loops};
    if (exits && exits->rule) RRT__TRY(rrt__exit_rule_parse(rule, exits->rule, model, err));
    return rrt__kv_policy_parse(policy, exits ? exits->kv : NULL, model, err);
}

rrt_status rrt_eval_exits(const rrt_model *model, const int32_t *ids, size_t count,
                          const rrt_eval_options *options, const rrt_exit_options *exits,
                          rrt_eval_exits_result *result, rrt_error *err)
{
    const rrt_eval_options defaults = {0};
    rrt__exit_rows rows = {0};
    rrt__exit_rule rule;
    rrt__kv_policy policy;
    rrt__kv_types kv_type;
    rrt__cut cut;
    rrt_status status;
    if (!options) options = &defaults;
    *result = (rrt_eval_exits_result){.loops = model->plan.loops};
    RRT__GOTO(parse(model, exits, &rule, &policy, err));
    RRT__GOTO(rrt__kv_types_parse(&kv_type, options->kv_type, err));
    RRT__GOTO(rrt__cut_make(&cut, model, ids, count, options, err));
    RRT__GOTO(rrt__alloc(&result->exits, (size_t)result->loops, sizeof *result->exits, "results", err));
    RRT__GOTO(rrt__exit_rows_create(&rows, model, &cut, err));
    RRT__GOTO(rrt__exit_rows_measure(&rows, model, &cut, &rule, options, err));
    keep_all(&rows);
    bool all_stay = rule.kind == RRT__EXIT_LOOPS && rule.limit >= model->plan.loops;
    if (!all_stay) RRT__GOTO(rrt__exit_rows_decode(&rows, model, &cut, &rule, policy, kv_type, options, err));
    RRT__GOTO(summarize_exits(&rows, result, err));
    summarize_rule(&rows, result);
    if (rrt__exit_has_threshold(rule.kind) && rule.kind != RRT__EXIT_LOOPS)
        RRT__GOTO(sweep(&rows, rule.kind, result, err));
done:
    rrt__exit_rows_free(&rows);
    if (status) rrt_eval_exits_free(result);
    return status;
}

void rrt_eval_exits_free(rrt_eval_exits_result *result)
{
    rrt__free(result->exits);
    *result = (rrt_eval_exits_result){0};
}
