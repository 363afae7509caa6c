// Writes a teacher's logits to a cache, window by window.
#include <math.h>
#include <string.h>

#include "base/destination.h"
#include "base/progress.h"
#include "format/dtype.h"
#include "pass/loop.h"
#include "rrt/train.h"
#include "train/logits_cache.h"
#include "train/shards.h"
#include "train/top.h"

enum { DEFAULT_CONTEXT = 512, DEFAULT_TOP = 64, STEP_ROWS = 512, LOGIT_ROWS = 64 };

typedef struct teacher_signal {
    const rrt_model *model;
    const rrt__dataset *dataset;
    const rrt_teach_options *options;
    rrt__logits_cache_shape shape;
    size_t row_bytes;
    size_t step_windows; // max windows per step
    size_t n_windows;    // in this step
    rrt__workspace workspace;
    rrt__span *spans;       // [step_windows]
    float *logits;          // [LOGIT_ROWS, vocab]
    int32_t *ids, *targets; // [step_windows, context]; the targets are not used
    unsigned char *rows;    // [step_windows, context, row_bytes]
} teacher_signal;

// If the logits are not finite, the first log-probability is not either: write_step checks it.
static void fill_logits_row(const teacher_signal *t, const float *logits, unsigned char *out)
{
    size_t top = t->shape.top;
    uint32_t *ids = (uint32_t *)out;
    uint16_t *log_p = (uint16_t *)(ids + top);
    double total = t->workspace.kernels->log_sum_exp(logits, t->shape.vocab);
    rrt__top(ids, top, logits, t->shape.vocab);
    for (size_t k = 0; k < top; k++) {
        double value = logits[ids[k]] - total;
        log_p[k] = rrt__f32_to_f16((float)(value > 0 ? 0 : value)); // above 0 only by rounding
    }
}

static void run_step(rrt__team team, void *argument)
{
    teacher_signal *t = argument;
    size_t n_rows = t->n_windows * t->shape.context;
    const rrt__pass pass = rrt__pass_make(team, t->model, &t->workspace, t->spans, t->n_windows);
    rrt__walk(&pass, t->ids, t->model->plan.loops);
    for (size_t at = 0; at < n_rows; at += LOGIT_ROWS) {
        size_t rows = n_rows - at < LOGIT_ROWS ? n_rows - at : LOGIT_ROWS;
        rrt__forward_logits(&pass, at, rows, t->logits);
        rrt__share share = rrt__team_share(team, rows, 1);
        for (size_t r = share.begin; r < share.end; r++)
            fill_logits_row(t, t->logits + r * t->shape.vocab, t->rows + (at + r) * t->row_bytes);
    }
}

static rrt_status allocate(teacher_signal *t, rrt_error *err)
{
    size_t context = t->shape.context, windows = t->step_windows, rows = windows * context;
    const rrt_model *model = t->model;
    RRT__TRY(rrt__workspace_create(&t->workspace, model, rows, context, t->options->threads, err));
    RRT__TRY(rrt__alloc(&t->spans, windows, sizeof *t->spans, "spans", err));
    RRT__TRY(rrt__alloc(&t->logits, LOGIT_ROWS, t->shape.vocab * sizeof *t->logits, "logits", err));
    RRT__TRY(rrt__alloc(&t->ids, rows, sizeof *t->ids, "window ids", err));
    RRT__TRY(rrt__alloc(&t->targets, rows, sizeof *t->targets, "window ids", err));
    RRT__TRY(rrt__alloc(&t->rows, rows, t->row_bytes, "a step's logits rows", err));
    for (size_t w = 0; w < windows; w++) t->spans[w] = (rrt__span){.count = context};
    return RRT_STATUS_OK;
}

static void release(teacher_signal *t)
{
    rrt__free(t->spans);
    rrt__free(t->logits);
    rrt__free(t->ids);
    rrt__free(t->targets);
    rrt__free(t->rows);
    rrt__workspace_free(&t->workspace);
}

static rrt_status write_step(const teacher_signal *t, rrt__logits_cache_writer *writer, size_t window,
                             rrt_error *err)
{
    size_t n_rows = t->n_windows * t->shape.context;
    for (size_t r = 0; r < n_rows; r++) {
        uint16_t first;
        memcpy(&first, t->rows + r * t->row_bytes + t->shape.top * sizeof(uint32_t), sizeof first);
        if (!isfinite(rrt__f16_to_f32(first)))
            return rrt__fail(err, RRT_STATUS_NUMERIC, "the teacher's output at token %zu is not finite",
                             window * t->shape.context + r);
    }
    return rrt__logits_cache_append(writer, t->rows, n_rows, err);
}

static rrt_status fill_windows(teacher_signal *t, rrt__logits_cache_writer *writer, rrt_error *err)
{
    size_t context = t->shape.context, windows = t->shape.windows;
    for (size_t window = 0; window < windows; window += t->n_windows) {
        t->n_windows = windows - window < t->step_windows ? windows - window : t->step_windows;
        for (size_t w = 0; w < t->n_windows; w++)
            rrt__dataset_window(t->dataset, window + w, t->ids + w * context, t->targets + w * context);
        rrt__team_run(t->options->threads, run_step, t);
        RRT__TRY(write_step(t, writer, window, err));
        RRT__TRY(rrt__progress_report(t->options->progress, "teach", (double)(window + t->n_windows),
                                      (double)windows, err));
    }
    return RRT_STATUS_OK;
}

static rrt_status write_logits(teacher_signal *t, const char *folder, uint64_t *bytes, rrt_error *err)
{
    rrt__logits_cache_writer writer = {0};
    rrt_status status;
    t->row_bytes = rrt__logits_cache_row_bytes(t->shape.top);
    t->step_windows = t->shape.context < STEP_ROWS ? STEP_ROWS / t->shape.context : 1;
    RRT__GOTO(allocate(t, err));
    RRT__GOTO(rrt__logits_cache_create(&writer, folder, &t->shape, err));
    RRT__GOTO(fill_windows(t, &writer, err));
    RRT__GOTO(rrt__logits_cache_finish(&writer, bytes, err));
done:
    rrt__logits_cache_discard(&writer);
    release(t);
    return status;
}

static rrt_status choose_shape(rrt__logits_cache_shape *shape, const rrt_model *teacher,
                               const rrt_teach_options *options, rrt_error *err)
{
    size_t max = teacher->shape.context, vocab = teacher->shape.vocab;
    shape->vocab = vocab;
    shape->teacher = options->teacher_name;
    shape->context = options->context ? options->context : max < DEFAULT_CONTEXT ? max : DEFAULT_CONTEXT;
    shape->top = options->top ? options->top : vocab < DEFAULT_TOP ? vocab : DEFAULT_TOP;
    if (!teacher->tokenizer)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the teacher has no tokenizer: its folder lacks tokenizer.json and tokenizer.model");
    if (shape->context < 2 || shape->context > max)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "windows of %zu tokens: the teacher can see 2 to %zu",
                         shape->context, max);
    if (shape->top > vocab)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the top %zu tokens: the vocabulary has %zu", shape->top,
                         vocab);
    if (options->max_tokens && options->max_tokens < shape->context)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu tokens are less than one window of %zu",
                         options->max_tokens, shape->context);
    return RRT_STATUS_OK;
}

// Writes shards and logits into an existing folder.
static rrt_status teach(teacher_signal *t, const char *folder, const char *const *files, size_t n_files,
                        rrt_teach_result *result, rrt_error *err)
{
    const rrt_tokenizer *tokenizer = t->model->tokenizer;
    rrt__dataset *dataset;
    uint64_t bytes = 0;
    RRT__TRY(rrt__shards_make(folder, tokenizer, files, n_files, t->options->progress, err));
    RRT__TRY(rrt__dataset_open(&dataset, folder, tokenizer, t->shape.vocab, t->shape.context, err));
    size_t windows = rrt__dataset_windows(dataset), wanted = t->options->max_tokens / t->shape.context;
    t->dataset = dataset;
    t->shape.windows = wanted && wanted < windows ? wanted : windows;
    t->shape.fingerprint = rrt__dataset_fingerprint(dataset);
    rrt_status status = write_logits(t, folder, &bytes, err);
    *result = (rrt_teach_result){.tokens = t->shape.windows * t->shape.context,
                                 .bytes = bytes + rrt__dataset_bytes(dataset)};
    rrt__dataset_close(dataset);
    return status;
}

rrt_status rrt_teach(const rrt_model *teacher, const char *const *files, size_t n_files,
                     const char *store_path, const rrt_teach_options *options, rrt_teach_result *result,
                     rrt_error *err)
{
    const rrt_teach_options defaults = {0};
    teacher_signal t = {.model = teacher, .options = options ? options : &defaults};
    rrt__destination destination;
    RRT__TRY(choose_shape(&t.shape, teacher, t.options, err));
    RRT__TRY(
        rrt__destination_open(&destination, store_path, RRT__DESTINATION_FOLDER, t.options->overwrite, err));
    rrt_status status = teach(&t, destination.temporary, files, n_files, result, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    if (status) rrt__destination_discard(&destination);
    return status;
}
