// Speed of prefill and decoding: the forward pass as the server runs it, without sampling.
#include "rrt/bench.h"

#include <string.h>

#include "base/clock.h"
#include "base/progress.h"
#include "base/rates.h"
#include "base/rng.h"
#include "pass/exit.h"
#include "pass/loop.h"

enum { CHUNK_ROWS = 512 };

typedef struct bench {
    const rrt_model *model;
    const rrt_bench_inference_options *options;
    size_t batch; // sequences
    rrt__sequence *sequences;
    rrt__span *spans;
    rrt__workspace workspace;
    rrt__team_fit fit;
    size_t n_spans; // of the next pass
    int32_t *ids;   // [depth + tokens + batch]; those of the next pass first
    float *logits;  // [batch, vocab]
} bench;

// In a prefill the prompt's chunks, in decoding the depth's, or a row for each sequence.
static size_t max_rows(const bench *b, size_t chunk)
{
    size_t rows = chunk < CHUNK_ROWS ? chunk : CHUNK_ROWS;
    return rows > b->batch ? rows : b->batch;
}

static rrt_status open_bench(bench *b, size_t rows, rrt_error *err)
{
    const rrt_model *model = b->model;
    size_t positions = b->options->depth + b->options->tokens;
    rrt__kv_types kv_type;
    RRT__TRY(rrt__kv_types_parse(&kv_type, b->options->kv_type, err));
    if (positions > model->shape.context)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu tokens: the model can see %zu", positions,
                         model->shape.context);
    RRT__TRY(rrt__alloc(&b->sequences, b->batch, sizeof *b->sequences, "sequences", err));
    for (size_t i = 0; i < b->batch; i++) {
        rrt__sequence_init(&b->sequences[i], model, kv_type, positions);
        RRT__TRY(rrt__sequence_reserve(&b->sequences[i], positions, err));
    }
    RRT__TRY(rrt__alloc(&b->spans, b->batch, sizeof *b->spans, "spans", err));
    RRT__TRY(rrt__alloc(&b->ids, positions + b->batch, sizeof *b->ids, "ids", err));
    for (size_t i = 0; i < positions + b->batch; i++)
        b->ids[i] = (int32_t)(rrt__random_bits(1, 0, i) % model->shape.vocab);
    RRT__TRY(rrt__alloc(&b->logits, b->batch * model->shape.vocab, sizeof(float), "logits", err));
    return rrt__workspace_create(&b->workspace, model, rows, positions, b->options->threads, err);
}

static void close_bench(bench *b)
{
    for (size_t i = 0; b->sequences && i < b->batch; i++) rrt__sequence_free(&b->sequences[i]);
    rrt__free(b->sequences);
    rrt__free(b->spans);
    rrt__free(b->ids);
    rrt__free(b->logits);
    rrt__workspace_free(&b->workspace);
}

static void forward(rrt__team team, void *argument)
{
    bench *b = argument;
    const rrt__pass pass = rrt__pass_make(team, b->model, &b->workspace, b->spans, b->n_spans);
    rrt__walk(&pass, b->ids, b->model->plan.loops);
    rrt__forward_logits(&pass, pass.n_rows - b->n_spans, b->n_spans, b->logits);
}

// The first sequence reads these tokens.
static void read_tokens(bench *b, size_t begin, size_t end)
{
    int32_t *ids = b->ids;
    b->n_spans = 1;
    for (size_t at = begin, rows; at < end; at += rows) {
        rows = rrt__kv_window_rows(b->model, at, end - at < CHUNK_ROWS ? end - at : CHUNK_ROWS);
        b->ids = ids + at;
        b->spans[0] = (rrt__span){b->sequences, at, rows};
        rrt__team_run_fitting(&b->fit, b->options->threads, forward, b);
    }
    b->ids = ids;
}

// All sequences read the same tokens.
static void read_depth(bench *b)
{
    read_tokens(b, 0, b->options->depth);
    for (size_t i = 1; i < b->batch; i++)
        for (size_t p = 0; p * RRT__PAGE_TOKENS < b->options->depth; p++)
            memcpy(b->sequences[i].pages[p], b->sequences[0].pages[p], b->sequences[0].page_bytes);
    if (b->model->kv_window)
        for (size_t i = 1; i < b->batch; i++)
            memcpy(b->sequences[i].recent[0], b->sequences[0].recent[0],
                   rrt__recent_bytes(b->model, b->sequences[0].types));
}

static void prefill(bench *b)
{
    read_tokens(b, b->options->depth, b->options->depth + b->options->tokens);
}

static void decode(bench *b)
{
    size_t vocab = b->model->shape.vocab, begin = b->options->depth;
    b->n_spans = b->batch;
    for (size_t at = begin; at < begin + b->options->tokens; at++) {
        for (size_t i = 0; i < b->batch; i++) b->spans[i] = (rrt__span){&b->sequences[i], at, 1};
        rrt__team_run_fitting(&b->fit, b->options->threads, forward, b);
        for (size_t i = 0; i < b->batch; i++) b->ids[i] = rrt__argmax(b->logits + i * vocab, vocab);
    }
}

static rrt_status run(bench *b, void (*work)(bench *b), rrt_bench_result *result, rrt_error *err)
{
    int repeats = b->options->repeats > 0 ? b->options->repeats : 5;
    double tokens = (double)(b->options->tokens * b->batch);
    rrt__rates rates = {0};
    read_depth(b);
    for (int i = 0; i <= repeats; i++) {
        double start = rrt__now_seconds();
        work(b);
        double rate = tokens / (rrt__now_seconds() - start);
        RRT__TRY(rrt__logits_check(b->logits, b->batch * b->model->shape.vocab, err));
        RRT__TRY(rrt__progress_report(b->options->progress, "bench", i + 1, repeats + 1, err));
        if (i > 0) rrt__rates_add(&rates, rate);
    }
    *result =
        (rrt_bench_result){rrt__rates_mean(&rates), rrt__rates_deviation(&rates), rrt__peak_rss_bytes()};
    return RRT_STATUS_OK;
}

rrt_status rrt_bench_prefill(const rrt_model *model, const rrt_bench_inference_options *options,
                             rrt_bench_result *result, rrt_error *err)
{
    bench b = {.model = model, .options = options, .batch = 1};
    rrt_status status = open_bench(
        &b, max_rows(&b, options->tokens > options->depth ? options->tokens : options->depth), err);
    if (!status) status = run(&b, prefill, result, err);
    close_bench(&b);
    return status;
}

rrt_status rrt_bench_decode(const rrt_model *model, const rrt_bench_inference_options *options,
                            rrt_bench_result *result, rrt_error *err)
{
    bench b = {.model = model, .options = options, .batch = options->batch ? options->batch : 1};
    rrt_status status = open_bench(&b, max_rows(&b, options->depth), err);
    if (!status) status = run(&b, decode, result, err);
    close_bench(&b);
    return status;
}
