// Thresholds of an exit rule that keep a wanted agreement: each one tried is decoded with the K/V policy and
// the types of keys and values that will serve, since an early exit also changes what later tokens read.
#include <math.h>

#include "eval/exits.h"

enum { LEVELS = 256, FIRST_STEP = 8, CLOSE_ENOUGH = 4, MAX_TRIES = 8 };

static const double wanted_agreement[RRT_EVAL_EXITS_WANTED] = {0.9, 0.95, 0.99};

// 95 % confidence for all tries together: each one has 1 - 0.05 / MAX_TRIES.
static const double deviations = 2.498;

// Level i is a quantile of the scores: the higher, the fewer tokens exit. At LEVELS none does.
typedef struct search {
    rrt__exit_rows *rows;
    const rrt__exit_run *run;
    rrt__exit_kind kind;
    size_t windows;
    double limits[LEVELS];
    rrt__exit_summary tried[LEVELS];
    bool is_tried[LEVELS];
} search;

// The lowest level from which on the estimate keeps the agreement.
static int guess(const search *s, double wanted)
{
    int level = LEVELS;
    for (; level > 0; level--) {
        rrt__exit_rows_estimate(s->rows, s->run->cut, s->limits[level - 1], 0, s->windows);
        if (rrt__exit_summarize(s->rows, s->run->cut, 0, s->windows, deviations).bound < wanted) break;
    }
    return level < LEVELS ? level : LEVELS - 1;
}

static rrt_status try_level(search *s, int level, rrt_error *err)
{
    const rrt__exit_rule rule = {s->kind, s->limits[level]};
    if (s->is_tried[level]) return RRT_STATUS_OK;
    RRT__TRY(rrt__exit_rows_decode(s->rows, s->run, &rule, 0, s->windows, err));
    s->tried[level] = rrt__exit_summarize(s->rows, s->run->cut, 0, s->windows, deviations);
    s->is_tried[level] = true;
    return RRT_STATUS_OK;
}

// *found: the lowest level that keeps the agreement, as far as tried. From the guess on in growing steps,
// then by halves.
static rrt_status find_level(search *s, double wanted, int *found, rrt_error *err)
{
    int fails = -1, keeps = LEVELS, level = guess(s, wanted), step = FIRST_STEP;
    for (int tries = 0; tries < MAX_TRIES && keeps - fails > CLOSE_ENOUGH; tries++) {
        RRT__TRY(try_level(s, level, err));
        if (s->tried[level].bound >= wanted)
            keeps = level;
        else
            fails = level;
        level = fails < 0 ? keeps - step : keeps == LEVELS ? fails + step : (fails + keeps) / 2;
        if (level <= fails) level = fails + 1;
        if (level >= keeps) level = keeps - 1;
        step *= 2;
    }
    *found = keeps;
    return RRT_STATUS_OK;
}

// What a level's rule does: on the windows that it was tried on, on as many behind them, and where the model
// runs freely.
static rrt_status describe(search *s, int level, rrt_eval_exits_promise *promise, rrt_error *err)
{
    const rrt__exit_rule rule = {s->kind, s->limits[level]};
    const rrt__exit_summary *tried = &s->tried[level];
    const rrt__cut *cut = s->run->cut;
    size_t end = cut->n_windows < 2 * s->windows ? cut->n_windows : 2 * s->windows;
    promise->threshold = rrt__exit_threshold(s->kind, s->limits[level]);
    promise->agreement = tried->agreement;
    promise->agreement_bound = tried->bound;
    promise->mean_loops = tried->mean_loops;
    promise->ppl = tried->ppl;
    if (end > s->windows) {
        RRT__TRY(rrt__exit_rows_decode(s->rows, s->run, &rule, s->windows, end, err));
        promise->held_out_agreement =
            rrt__exit_summarize(s->rows, cut, s->windows, end, RRT__EXIT_DEVIATIONS).agreement;
        promise->held_out_tokens = (end - s->windows) * (cut->length - 1);
    }
    return rrt__exit_rows_generate(s->rows, s->run, &rule, 0, s->windows, &promise->free_agreement,
                                   &promise->free_tokens, err);
}

// The highest first: two that end at one level are the same rule.
static rrt_status calibrate(search *s, rrt_eval_exits_result *result, rrt_error *err)
{
    const rrt_eval_exits_promise none = {.threshold = NAN,
                                         .agreement = 1,
                                         .agreement_bound = 1,
                                         .mean_loops = s->rows->loops,
                                         .ppl = result->exits[s->rows->loops - 1].ppl,
                                         .held_out_agreement = NAN,
                                         .free_agreement = NAN,
                                         .tokens = s->windows * (s->run->cut->length - 1)};
    rrt_eval_exits_promise last = none;
    int level, before = LEVELS;
    RRT__TRY(rrt__exit_rows_quantiles(s->rows, s->limits, LEVELS, err));
    for (int w = RRT_EVAL_EXITS_WANTED - 1; w >= 0; w--, before = level) {
        RRT__TRY(find_level(s, wanted_agreement[w], &level, err));
        if (level != before) {
            last = none;
            RRT__TRY(describe(s, level, &last, err));
        }
        result->calibrated[w] = last;
        result->calibrated[w].wanted = wanted_agreement[w];
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__exit_calibrate(rrt__exit_rows *rows, const rrt__exit_run *run, rrt__exit_kind kind,
                               rrt_eval_exits_result *result, rrt_error *err)
{
    search *s;
    size_t half = (run->cut->n_windows + 1) / 2;
    RRT__TRY(rrt__alloc(&s, 1, sizeof *s, "thresholds", err));
    s->rows = rows;
    s->run = run;
    s->kind = kind;
    s->windows = half < RRT__EXIT_WINDOWS ? half : RRT__EXIT_WINDOWS;
    rrt_status status = calibrate(s, result, err);
    rrt__free(s);
    return status;
}
