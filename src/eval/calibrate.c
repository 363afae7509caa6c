// Thresholds of an exit rule that keep a wanted agreement: each one tried is decoded with the K/V policy and
// the types of keys and values that will serve, since an early exit also changes what later tokens read.
#include <math.h>
#include <stdlib.h>

#include "eval/exits.h"

enum { MAX_WINDOWS = 32, LEVELS = 256, FIRST_STEP = 8, CLOSE_ENOUGH = 4, MAX_TRIES = 8 };

static const double wanted_agreement[RRT_EVAL_EXITS_WANTED] = {0.9, 0.95, 0.99};

// 95 % confidence for all tries together: each one has 1 - 0.05 / MAX_TRIES.
static const double deviations = 2.498, deviations_alone = 1.645;

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

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static rrt_status set_limits(search *s, rrt_error *err)
{
    size_t count = (size_t)(s->rows->loops - 1) * s->rows->count;
    double *sorted;
    RRT__TRY(rrt__alloc(&sorted, count, sizeof *sorted, "scores", err));
    for (size_t i = 0; i < count; i++) sorted[i] = s->rows->score[i];
    qsort(sorted, count, sizeof *sorted, rising);
    for (size_t i = 0; i < LEVELS; i++) s->limits[i] = sorted[(count - 1) * i / (LEVELS - 1)];
    rrt__free(sorted);
    return RRT_STATUS_OK;
}

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

// What the calibrated rule does on text that it was not calibrated on, and where the model runs freely.
static rrt_status check(search *s, int level, rrt_eval_exits_promise *promise, rrt_error *err)
{
    const rrt__exit_rule rule = {s->kind, s->limits[level]};
    const rrt__cut *cut = s->run->cut;
    size_t end = cut->n_windows < 2 * s->windows ? cut->n_windows : 2 * s->windows, agreed, count;
    if (end > s->windows) {
        RRT__TRY(rrt__exit_rows_decode(s->rows, s->run, &rule, s->windows, end, err));
        rrt__exit_summary apart = rrt__exit_summarize(s->rows, cut, s->windows, end, deviations_alone);
        promise->held_out_agreement = apart.agreement;
        promise->held_out_tokens = (end - s->windows) * (cut->length - 1);
    }
    RRT__TRY(rrt__exit_rows_generate(s->rows, s->run, &rule, 0, s->windows, &agreed, &count, err));
    if (count) promise->free_agreement = (double)agreed / (double)count;
    promise->free_tokens = count;
    return RRT_STATUS_OK;
}

static rrt_status calibrate(search *s, rrt_eval_exits_result *result, rrt_error *err)
{
    size_t tokens = s->windows * (s->run->cut->length - 1);
    int found, before = LEVELS;
    RRT__TRY(set_limits(s, err));
    for (int w = RRT_EVAL_EXITS_WANTED - 1; w >= 0; w--, before = found) {
        rrt_eval_exits_promise *promise = &result->calibrated[w];
        RRT__TRY(find_level(s, wanted_agreement[w], &found, err));
        *promise = (rrt_eval_exits_promise){.threshold = NAN,
                                            .agreement = 1,
                                            .agreement_bound = 1,
                                            .mean_loops = s->rows->loops,
                                            .ppl = result->exits[s->rows->loops - 1].ppl,
                                            .held_out_agreement = NAN,
                                            .free_agreement = NAN};
        if (found < LEVELS && found == before) *promise = result->calibrated[w + 1];
        promise->wanted = wanted_agreement[w];
        promise->tokens = tokens;
        if (found == LEVELS || found == before) continue;
        promise->threshold = rrt__exit_threshold(s->kind, s->limits[found]);
        promise->agreement = s->tried[found].agreement;
        promise->agreement_bound = s->tried[found].bound;
        promise->mean_loops = s->tried[found].mean_loops;
        promise->ppl = s->tried[found].ppl;
        RRT__TRY(check(s, found, promise, err));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__exit_calibrate(rrt__exit_rows *rows, const rrt__exit_run *run, rrt__exit_kind kind,
                               rrt_eval_exits_result *result, rrt_error *err)
{
    search *s;
    size_t half = (run->cut->n_windows + 1) / 2;
    RRT__TRY(rrt__alloc(&s, 1, sizeof *s, "thresholds", err));
    *s = (search){.rows = rows, .run = run, .kind = kind, .windows = half < MAX_WINDOWS ? half : MAX_WINDOWS};
    rrt_status status = calibrate(s, result, err);
    rrt__free(s);
    return status;
}
