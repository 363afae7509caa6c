// Concurrent requests through the engine: measures the gain from batching and early exits.
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/rates.h"
#include "base/rng.h"
#include "infer/work.h"
#include "pass/forward.h"
#include "rrt/bench.h"

typedef struct serving {
    const rrt_model *model;
    rrt_bench_requests_options options;
    rrt_bench_requests_result *result;
    int32_t **ids;                // [requests][prompt + max_tokens]: prompt, then generated tokens
    size_t *n_generated;          // [requests]
    size_t *lengths;              // [requests]
    const unsigned char **traces; // [requests]: exits of its tokens, or NULL
    uint64_t agreed, judged, loops;
    size_t sample_every, sampled; // steps
    bool failed;                  // a request failed: its logits were not finite
    rrt__arena arena;
} serving;

static void set_defaults(rrt_bench_requests_options *o)
{
    if (!o->concurrency) o->concurrency = 32;
    if (!o->requests) o->requests = 4 * o->concurrency;
    if (!o->prompt) o->prompt = 16;
    if (!o->mean_tokens) o->mean_tokens = 128;
    if (!o->max_tokens) o->max_tokens = 4 * o->mean_tokens;
    for (size_t i = 0; i < o->trace_requests; i++)
        if (i == 0 || o->trace_lengths[i] > o->max_tokens) o->max_tokens = o->trace_lengths[i];
}

// Geometric: every token is the last with the same probability.
static size_t draw_length(const rrt_bench_requests_options *o, size_t request)
{
    double u = rrt__random_uniform(o->seed, 1, request);
    double length = 1 + floor(log1p(-u) / log1p(-1 / (double)o->mean_tokens));
    return length < (double)o->max_tokens ? (size_t)length : o->max_tokens;
}

// Lengths and exits of the requests.
static void plan_requests(serving *c)
{
    rrt_bench_requests_options *o = &c->options;
    const unsigned char *exits = o->trace;
    for (size_t i = 0, line = 0; i < o->requests; i++, line++) {
        if (o->trace && line == o->trace_requests) {
            line = 0;
            exits = o->trace;
        }
        c->lengths[i] = o->trace ? o->trace_lengths[line] : draw_length(o, i);
        c->traces[i] = exits;
        if (o->trace) exits += c->lengths[i];
    }
}

static rrt_status open_serving(serving *c, rrt_error *err)
{
    const rrt_bench_requests_options *o = &c->options;
    size_t room = o->prompt + o->max_tokens;
    if (room > c->model->shape.context)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "%zu tokens of prompt and up to %zu made: the model can see %zu", o->prompt,
                         o->max_tokens, c->model->shape.context);
    RRT__TRY(rrt__arena_alloc(&c->arena, &c->ids, o->requests, sizeof *c->ids, "requests", err));
    RRT__TRY(
        rrt__arena_alloc(&c->arena, &c->n_generated, o->requests, sizeof *c->n_generated, "requests", err));
    RRT__TRY(rrt__arena_alloc(&c->arena, &c->lengths, o->requests, sizeof *c->lengths, "requests", err));
    RRT__TRY(rrt__arena_alloc(&c->arena, &c->traces, o->requests, sizeof *c->traces, "requests", err));
    plan_requests(c);
    for (size_t i = 0; i < o->requests; i++) {
        RRT__TRY(rrt__arena_alloc(&c->arena, &c->ids[i], room, sizeof **c->ids, "requests", err));
        for (size_t t = 0; t < o->prompt; t++)
            c->ids[i][t] = (int32_t)(rrt__random_bits(o->seed, 2 + i, t) % c->model->shape.vocab);
    }
    return RRT_STATUS_OK;
}

typedef struct listener {
    serving *serving;
    size_t request;
} listener;

static int take(void *user, uint64_t id, const rrt_token *token, rrt_finish finish)
{
    const listener *l = user;
    serving *c = l->serving;
    (void)id;
    c->failed |= finish == RRT_FINISH_ERROR;
    if (!token) return 0;
    c->ids[l->request][c->options.prompt + c->n_generated[l->request]++] = token->id;
    c->loops += (uint64_t)token->loops;
    return 0;
}

// Feeds a request's tokens back as a prompt: would all loops have chosen the same? The first one came from
// the prompt, which ran all loops.
static int judge(void *user, uint64_t id, const rrt_token *token, rrt_finish finish)
{
    const listener *l = user;
    (void)id;
    (void)finish;
    if (!token || token->index <= l->serving->options.prompt) return 0;
    l->serving->judged++;
    l->serving->agreed += token->top[0].id == token->id;
    return 0;
}

static rrt_status submit(serving *c, rrt_engine *engine, listener *listeners, rrt_request_callback *callback,
                         rrt_error *err)
{
    const rrt_bench_requests_options *o = &c->options;
    for (size_t i = 0; i < o->requests; i++) {
        uint64_t id;
        listeners[i] = (listener){c, i};
        rrt_request r = {
            .prompt = c->ids[i], .prompt_tokens = o->prompt, .callback = callback, .user = &listeners[i]};
        if (callback == judge) {
            r.prompt_tokens += c->n_generated[i];
            r.wants_prompt_logprobs = true;
            r.top_logprobs = 1;
        } else {
            r.max_tokens = c->lengths[i];
            r.ignore_end = 1;
            r.loops = o->loops;
            r.exit = o->exit;
            r.kv = o->kv;
            r.draft_loops = o->draft_loops;
            r.draft_tokens = o->draft_tokens;
            r.exit_trace = c->traces[i];
        }
        RRT__TRY(rrt_engine_submit(engine, &r, &id, err));
    }
    return RRT_STATUS_OK;
}

// Samples every sample_every steps; when the room is full, merges pairs of samples.
static void sample(serving *c, const rrt_engine_stats *stats, double seconds)
{
    rrt_bench_requests_result *r = c->result;
    if (c->sampled == c->sample_every) {
        c->sampled = 0;
        if (++r->n_samples == RRT_BENCH_SAMPLES) {
            r->n_samples /= 2;
            c->sample_every *= 2;
            for (size_t i = 0; i < r->n_samples; i++) {
                r->samples[i].seconds = r->samples[2 * i + 1].seconds;
                for (int l = 0; l <= RRT_MAX_LOOPS; l++)
                    r->samples[i].rows[l] = (r->samples[2 * i].rows[l] + r->samples[2 * i + 1].rows[l]) / 2;
            }
        }
        memset(r->samples[r->n_samples].rows, 0, sizeof r->samples->rows);
    }
    r->samples[r->n_samples].seconds = seconds;
    for (int l = 0; l <= RRT_MAX_LOOPS; l++)
        r->samples[r->n_samples].rows[l] += (float)stats->occupancy[l] / (float)c->sample_every;
    c->sampled++;
}

static void add_step(serving *c, const rrt_engine_stats *stats, double seconds)
{
    size_t rows = 0, size = 0;
    for (int l = 0; l <= RRT_MAX_LOOPS; l++) rows += stats->occupancy[l];
    while (size + 1 < RRT_BENCH_SIZES && rows >> (size + 1)) size++;
    if (rows == c->options.concurrency) {
        c->result->full_steps++;
        c->result->full_seconds += seconds;
    }
    c->result->sizes[size].steps++;
    c->result->sizes[size].rows += rows;
    c->result->sizes[size].seconds += seconds;
}

static rrt_status run(serving *c, rrt_engine *engine, rrt_error *err)
{
    rrt_engine_stats stats = {0};
    double start = rrt__now_seconds(), before = start;
    for (bool busy = true; busy;) {
        RRT__TRY(rrt_engine_step(engine, &busy, err));
        double now = rrt__now_seconds();
        rrt_engine_describe(engine, &stats);
        add_step(c, &stats, now - before);
        sample(c, &stats, now - start);
        before = now;
        double done = (double)(c->options.requests - stats.running - stats.waiting);
        if (stats.steps % 16 == 0)
            RRT__TRY(
                rrt__progress_report(c->options.progress, "bench", done, (double)c->options.requests, err));
    }
    c->result->seconds = before - start;
    c->result->tokens = stats.generated_tokens;
    c->result->stats = stats;
    rrt__kv_policy policy;
    RRT__TRY(rrt__kv_policy_parse(&policy, c->options.kv, c->model, err));
    c->result->bound = rrt__work_saved(c->model, &stats, policy, engine->is_kv_tied);
    return RRT_STATUS_OK;
}

static rrt_status run_engine(serving *c, rrt_request_callback *callback, rrt_error *err)
{
    const rrt_bench_requests_options *o = &c->options;
    rrt_engine *engine = NULL;
    listener *listeners;
    const rrt_engine_options options = {.threads = o->threads,
                                        .requests = o->concurrency,
                                        .kv_tokens = o->concurrency * (o->prompt + o->max_tokens + 16),
                                        .batching = callback == judge ? RRT_BATCHING_DEPTH : o->batching,
                                        .no_prefix_reuse = 1,
                                        .coda_steps = o->coda_steps,
                                        .draft_layers = callback == judge ? 0 : o->draft_layers,
                                        .kv_type = o->kv_type};
    RRT__TRY(rrt__alloc(&listeners, o->requests, sizeof *listeners, "requests", err));
    rrt_status status = rrt_engine_open(&engine, c->model, &options, err);
    if (!status) status = submit(c, engine, listeners, callback, err);
    if (!status && callback == take) status = run(c, engine, err);
    if (!status && c->failed) status = rrt__logits_fail(err);
    for (bool busy = callback == judge; !status && busy;) status = rrt_engine_step(engine, &busy, err);
    rrt_engine_close(engine);
    rrt__free(listeners);
    return status;
}

rrt_status rrt_bench_requests(const rrt_model *model, const rrt_bench_requests_options *options,
                              rrt_bench_requests_result *result, rrt_error *err)
{
    serving c = {.model = model, .options = *options, .result = result, .sample_every = 4};
    *result = (rrt_bench_requests_result){.agreement = NAN};
    set_defaults(&c.options);
    rrt_status status = open_serving(&c, err);
    if (!status) status = run_engine(&c, take, err);
    if (!status && options->measures_agreement) status = run_engine(&c, judge, err);
    if (!status && c.judged) result->agreement = (double)c.agreed / (double)c.judged;
    if (!status) result->mean_loops = (double)c.loops / (double)result->tokens;
    result->peak_rss_bytes = rrt__peak_rss_bytes();
    rrt__arena_free(&c.arena);
    return status;
}
