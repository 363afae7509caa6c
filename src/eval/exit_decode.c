#include <math.h>
#include <string.h>

#include "base/progress.h"
#include "eval/exits.h"
#include "pass/decoder.h"

enum { MAX_SEQUENCES = 32 };
static const size_t max_kv_bytes = (size_t)1 << 30; // of the windows decoded at once

typedef struct decoding {
    rrt__exit_rows *rows;
    const rrt__exit_run *run;
    const rrt__exit_rule *rule;
    size_t prompt; // tokens of each window that run all loops; generated tokens follow. The length: none do
    rrt__decoder decoder;
    rrt__sequence *sequences;
    rrt__span *spans;
    int32_t *ids;            // [windows, length]
    int32_t *token, *last;   // [windows at once]: at this position
    size_t begin, end;       // windows
    size_t first, n_windows; // of this step
    size_t at;               // position
    rrt__arena arena;
} decoding;

static size_t row_of(const decoding *d, size_t window)
{
    return (d->first + window) * (d->run->cut->length - 1) + d->at;
}

static int32_t *ids_of(const decoding *d, size_t window)
{
    return d->ids + (d->first + window - d->begin) * d->run->cut->length;
}

static bool is_generating(const decoding *d)
{
    return d->prompt < d->run->cut->length;
}

static void decode_step(rrt__team team, void *argument)
{
    decoding *d = argument;
    size_t vocab = d->run->model->shape.vocab;
    rrt__decoder_step(team, &d->decoder, d->spans, d->n_windows, d->token, d->last);
    rrt__share share = rrt__team_share(team, d->n_windows, 1);
    for (size_t w = share.begin; w < share.end; w++) {
        const float *logits = d->decoder.logits + w * vocab;
        int32_t *next = ids_of(d, w) + d->at + 1;
        size_t row = row_of(d, w);
        d->rows->left[row] = d->decoder.left[w];
        d->rows->rule_best[row] = (int32_t)rrt__argmax(logits, vocab);
        if (is_generating(d) && d->at + 1 >= d->prompt) *next = d->rows->rule_best[row];
        d->rows->rule_loss[row] = rrt__next_token_loss(logits, vocab, *next);
    }
}

static rrt_status decode_windows(decoding *d, rrt_error *err)
{
    const rrt_eval_options *options = d->run->options;
    const rrt__exit_rule all = {RRT__EXIT_LOOPS, d->rows->loops};
    size_t scored = d->run->cut->length - 1, count = (d->end - d->begin) * scored;
    const int32_t *last = d->rows->best + (size_t)(d->rows->loops - 1) * d->rows->count;
    for (size_t w = 0; w < d->n_windows; w++) {
        rrt__cut_window(d->run->cut, d->first + w, ids_of(d, w));
        RRT__TRY(rrt__sequence_reserve(&d->sequences[w], scored, err));
    }
    for (d->at = 0; d->at < scored; d->at++) {
        d->decoder.rule = is_generating(d) && d->at < d->prompt ? all : *d->rule;
        for (size_t w = 0; w < d->n_windows; w++) {
            d->spans[w] = (rrt__span){&d->sequences[w], d->at, 1};
            d->token[w] = ids_of(d, w)[d->at];
            d->last[w] = last[row_of(d, w)];
        }
        rrt__team_run(options->threads, decode_step, d);
        size_t done = (d->first - d->begin) * scored + d->n_windows * (d->at + 1);
        RRT__TRY(rrt__progress_report(options->progress, "decode", (double)done, (double)count, err));
    }
    return RRT_STATUS_OK;
}

static rrt_status open_decoding(decoding *d, size_t at_once, rrt_error *err)
{
    const rrt__exit_run *run = d->run;
    size_t windows = d->end - d->begin, length = run->cut->length;
    RRT__TRY(rrt__decoder_create(&d->decoder, run->model, d->rule, run->policy, at_once, length,
                                 run->options->threads, err));
    RRT__TRY(rrt__arena_alloc(&d->arena, &d->sequences, at_once, sizeof *d->sequences, "sequences", err));
    RRT__TRY(rrt__arena_alloc(&d->arena, &d->spans, at_once, sizeof *d->spans, "spans", err));
    RRT__TRY(rrt__arena_alloc(&d->arena, &d->token, at_once, sizeof *d->token, "ids", err));
    RRT__TRY(rrt__arena_alloc(&d->arena, &d->last, at_once, sizeof *d->last, "ids", err));
    RRT__TRY(rrt__arena_alloc(&d->arena, &d->ids, windows, length * sizeof *d->ids, "window ids", err));
    for (size_t w = 0; w < at_once; w++)
        rrt__sequence_init(&d->sequences[w], run->model, run->kv_type, length - 1);
    return RRT_STATUS_OK;
}

// Number of windows decoded at once: many fill the GEMMs, but each needs keys and values.
static size_t windows_at_once(const rrt__exit_run *run, size_t windows)
{
    size_t bytes = rrt__page_bytes(run->model, run->kv_type) * (run->cut->length / RRT__PAGE_TOKENS + 1);
    size_t max = max_kv_bytes / bytes < MAX_SEQUENCES ? max_kv_bytes / bytes : MAX_SEQUENCES;
    max = max > 0 ? max : 1;
    return windows < max ? windows : max;
}

static rrt_status decode(decoding *d, rrt_error *err)
{
    size_t at_once = windows_at_once(d->run, d->end - d->begin);
    rrt_status status = open_decoding(d, at_once, err);
    for (d->first = d->begin; !status && d->first < d->end; d->first += d->n_windows) {
        d->n_windows = d->end - d->first < at_once ? d->end - d->first : at_once;
        status = decode_windows(d, err);
    }
    for (size_t w = 0; d->sequences && w < at_once; w++) rrt__sequence_free(&d->sequences[w]);
    rrt__decoder_free(&d->decoder);
    return status;
}

rrt_status rrt__exit_rows_decode(rrt__exit_rows *rows, const rrt__exit_run *run, const rrt__exit_rule *rule,
                                 size_t begin, size_t end, rrt_error *err)
{
    decoding d = {.rows = rows, .run = run, .rule = rule, .begin = begin, .end = end};
    d.prompt = run->cut->length;
    rrt_status status = decode(&d, err);
    rrt__arena_free(&d.arena);
    return status;
}

// What all loops find most likely in the decoded windows.
static rrt_status measure_generated(decoding *d, rrt__exit_rows *all, rrt_error *err)
{
    rrt__cut cut = *d->run->cut;
    rrt__exit_run run = *d->run;
    size_t text = cut.length - cut.n_bos;
    cut.n_windows = d->end - d->begin;
    for (size_t w = 0; w < cut.n_windows; w++) // as a text: without BOS
        memmove(d->ids + w * text, d->ids + w * cut.length + cut.n_bos, text * sizeof *d->ids);
    cut.ids = d->ids;
    run.cut = &cut;
    RRT__TRY(rrt__exit_rows_create(all, run.model, &cut, err));
    return rrt__exit_rows_measure(all, &run, RRT__EXIT_LOOPS, all->loops, err);
}

rrt_status rrt__exit_rows_generate(rrt__exit_rows *rows, const rrt__exit_run *run, const rrt__exit_rule *rule,
                                   size_t begin, size_t end, double *agreement, uint64_t *count,
                                   rrt_error *err)
{
    decoding d = {.rows = rows, .run = run, .rule = rule, .begin = begin, .end = end};
    rrt__exit_rows all = {0};
    size_t scored = run->cut->length - 1, agreed = 0;
    d.prompt = (run->cut->length + 1) / 2;
    *count = 0;
    rrt_status status = decode(&d, err);
    if (!status) status = measure_generated(&d, &all, err);
    const int32_t *best = status ? NULL : all.best + (size_t)(all.loops - 1) * all.count;
    for (size_t w = 0; !status && w < end - begin; w++)
        for (size_t at = d.prompt; at < scored; at++) {
            agreed += best[w * scored + at] == rows->rule_best[(begin + w) * scored + at];
            ++*count;
        }
    *agreement = *count ? (double)agreed / (double)*count : NAN;
    rrt__exit_rows_free(&all);
    rrt__arena_free(&d.arena);
    return status;
}
