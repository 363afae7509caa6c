#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "infer/sampler.h"

typedef rrt__candidate candidate;

// Most likely first; ties by lower id, so that the order is deterministic.
static int compare(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->probability != y->probability) return x->probability > y->probability ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

enum { BLOCK = 1024 };

static rrt_status fail_infinite(const float *logits, size_t vocab, rrt_error *err)
{
    size_t i = 0;
    while (i < vocab && !isnan(logits[i]) && logits[i] != INFINITY) i++;
    if (i == vocab)
        return rrt__fail(err, RRT_STATUS_NUMERIC, "all logits are -infinity: no token is possible");
    return rrt__fail(err, RRT_STATUS_NUMERIC, "the logit of token %zu is not a finite number", i);
}

// Finds the maximum by blocks, for the vectoriser, then its first index in the block.
static rrt_status find_max(const float *logits, size_t vocab, size_t *max_id, rrt_error *err)
{
    float max = -INFINITY, wrong = 0;
    *max_id = 0;
    for (size_t begin = 0; begin < vocab; begin += BLOCK) {
        size_t end = vocab - begin < BLOCK ? vocab : begin + BLOCK;
        float block_max = -INFINITY;
#pragma omp simd reduction(max : block_max) reduction(+ : wrong)
        for (size_t i = begin; i < end; i++) {
            block_max = logits[i] > block_max ? logits[i] : block_max;
            wrong += logits[i] == logits[i] && logits[i] < INFINITY ? 0.0f : 1.0f;
        }
        if (block_max > max) {
            max = block_max;
            *max_id = begin;
        }
    }
    if (wrong != 0 || max == -INFINITY) return fail_infinite(logits, vocab, err);
    while (logits[*max_id] != max) ++*max_id;
    return RRT_STATUS_OK;
}

rrt_status rrt__check_sampling(const rrt_sampling *s, size_t vocab, rrt_error *err)
{
    if (vocab == 0 || vocab > INT32_MAX)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu logits: 1 to %d are possible", vocab, INT32_MAX);
    if (!(s->temperature >= 0 && isfinite(s->temperature)) || s->top_k < 0)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "temperature %g, top_k %d: 0 or more is possible",
                         (double)s->temperature, s->top_k);
    if (!(s->top_p >= 0 && s->top_p <= 1) || !(s->min_p >= 0 && s->min_p <= 1))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "top_p %g, min_p %g: 0 to 1 is possible", (double)s->top_p,
                         (double)s->min_p);
    return RRT_STATUS_OK;
}

// How many of the sorted candidates remain.
static size_t count_kept(const candidate *sorted, size_t count, const rrt_sampling *sampling)
{
    if (sampling->top_k > 0 && (size_t)sampling->top_k < count) count = (size_t)sampling->top_k;
    double total = 0, sum = 0, top_p = sampling->top_p > 0 ? sampling->top_p : 1;
    for (size_t i = 0; i < count; i++) total += sorted[i].probability;
    size_t kept = 0;
    while (kept < count && (kept == 0 || sum < top_p * total)) sum += sorted[kept++].probability;
    while (kept > 1 && sorted[kept - 1].probability < sampling->min_p * sorted[0].probability) kept--;
    return kept;
}

rrt_status rrt__sample_at(const float *logits, size_t vocab, const rrt_sampling *sampling, uint64_t position,
                          candidate *candidates, int32_t *id, rrt_error *err)
{
    size_t max_id;
    RRT__TRY(find_max(logits, vocab, &max_id, err));
    *id = (int32_t)max_id;
    if (sampling->temperature == 0) return RRT_STATUS_OK;
    for (size_t i = 0; i < vocab; i++)
        candidates[i] = (candidate){expf((logits[i] - logits[max_id]) / sampling->temperature), (int32_t)i};
    qsort(candidates, vocab, sizeof *candidates, compare);
    size_t kept = count_kept(candidates, vocab, sampling);
    double total = 0, sum = 0;
    for (size_t i = 0; i < kept; i++) total += candidates[i].probability;
    double target = rrt__random_uniform(sampling->seed, 0, position) * total;
    size_t chosen = 0;
    while (chosen + 1 < kept && (sum += candidates[chosen].probability) <= target) chosen++;
    *id = candidates[chosen].id;
    return RRT_STATUS_OK;
}

rrt_status rrt_sample(const float *logits, size_t vocab, const rrt_sampling *sampling, uint64_t position,
                      int32_t *id, rrt_error *err)
{
    candidate *candidates = NULL;
    RRT__TRY(rrt__check_sampling(sampling, vocab, err));
    if (sampling->temperature != 0)
        RRT__TRY(rrt__alloc(&candidates, vocab, sizeof *candidates, "the sampler", err));
    rrt_status status = rrt__sample_at(logits, vocab, sampling, position, candidates, id, err);
    rrt__free(candidates);
    return status;
}
