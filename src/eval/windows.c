#include "eval/windows.h"

#include <string.h>

#include "base/progress.h"
#include "tokenizer/tokenizer.h"

enum { DEFAULT_CONTEXT = 512, STEP_ROWS = 512, LOGIT_ROWS = 64, MAX_MODELS = RRT_EVAL_KL_MODELS + 1 };

static rrt_status check_ids(const rrt_model *model, const int32_t *ids, size_t count, rrt_error *err)
{
    size_t vocab = model->shape.vocab;
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= vocab)
            return rrt__fail(err, RRT_STATUS_ARGUMENT, "token %zu is id %d: the vocabulary has 0 to %zu", i,
                             ids[i], vocab - 1);
    return RRT_STATUS_OK;
}

rrt_status rrt__cut_make(rrt__cut *cut, const rrt_model *model, const int32_t *ids, size_t count,
                         const rrt_eval_options *options, rrt_error *err)
{
    size_t max = model->shape.context;
    size_t context = options->context ? options->context : max < DEFAULT_CONTEXT ? max : DEFAULT_CONTEXT;
    if (options->max_tokens && options->max_tokens < count) count = options->max_tokens;
    if (context < 2 || context > max)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "windows of %zu tokens: the model can see 2 to %zu",
                         context, model->shape.context);
    RRT__TRY(check_ids(model, ids, count, err));
    *cut = (rrt__cut){.ids = ids, .length = context};
    if (model->tokenizer && rrt_tokenizer_adds_bos(model->tokenizer)) {
        cut->n_bos = 1;
        cut->bos = rrt_tokenizer_bos(model->tokenizer);
    }
    cut->n_windows = count / (context - cut->n_bos);
    if (cut->n_windows > 0) return RRT_STATUS_OK;
    cut->n_windows = 1;
    cut->length = count + cut->n_bos;
    if (cut->length >= 2) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "the text has %zu tokens: at least %zu are needed", count,
                     2 - cut->n_bos);
}

void rrt__cut_window(const rrt__cut *cut, size_t window, int32_t *ids)
{
    size_t text = cut->length - cut->n_bos;
    if (cut->n_bos) ids[0] = cut->bos;
    memcpy(ids + cut->n_bos, cut->ids + window * text, text * sizeof *ids);
}

rrt_status rrt__windows_count(const rrt_model *model, const int32_t *ids, size_t count,
                              const rrt_eval_options *options, size_t *scored, rrt_error *err)
{
    rrt__cut cut;
    RRT__TRY(rrt__cut_make(&cut, model, ids, count, options, err));
    *scored = cut.n_windows * (cut.length - 1);
    return RRT_STATUS_OK;
}

// One model's side of the run.
typedef struct lane {
    const rrt_model *model;
    rrt__workspace workspace;
    rrt__sequence *sequences; // [step_windows], if keys and values are stored; else NULL
    rrt__span *spans;
    float *logits; // [LOGIT_ROWS, vocab]
    float *states; // [step_windows · length, hidden], of a model with a K/V window; else NULL
    int loops;
} lane;

typedef struct run {
    lane lanes[MAX_MODELS];
    int n_lanes;
    rrt__cut cut;
    size_t step_windows; // max windows per step
    int32_t *ids;        // [step_windows, length], BOS in place
    size_t n_windows;    // in this step
    size_t scored;       // rows before this step
    rrt__windows_score score;
    void *user;
} run;

static rrt__pass pass_of(const run *r, rrt__team team, lane *side)
{
    return rrt__pass_make(team, side->model, &side->workspace, side->spans, r->n_windows);
}

static void score_window(run *r, rrt__team team, size_t window)
{
    size_t length = r->cut.length, begin = window * length;
    for (size_t at = 0; at < length - 1; at += LOGIT_ROWS) {
        size_t rows = length - 1 - at < LOGIT_ROWS ? length - 1 - at : LOGIT_ROWS;
        const float *logits[MAX_MODELS];
        for (int m = 0; m < r->n_lanes; m++) {
            lane *side = &r->lanes[m];
            const rrt__pass pass = pass_of(r, team, side);
            rrt__forward_logits(&pass, begin + at, rows, side->logits);
            logits[m] = side->logits;
        }
        r->score(r->user, team, r->scored + window * (length - 1) + at, rows, logits,
                 r->ids + begin + at + 1);
        rrt__team_barrier(team);
    }
}

// A model with a K/V window runs a block of it after another.
static void run_lane(const run *r, rrt__team team, lane *side)
{
    const rrt__pass pass = pass_of(r, team, side);
    size_t length = r->cut.length, all = r->n_windows * length, width = side->model->shape.hidden;
    if (!side->states) {
        rrt__walk(&pass, r->ids, side->loops);
        return;
    }
    for (size_t row = 0, count; row < all; row += count) {
        count = rrt__kv_window_rows(side->model, row % length, length - row % length);
        const rrt__span span = {side->spans[row / length].sequence, row % length, count};
        const rrt__pass block = rrt__pass_over(&pass, &span, 1);
        rrt__walk(&block, r->ids + row, side->loops);
        rrt__team_copy_share(team, side->states + row * width, side->workspace.hidden, count, width);
        rrt__team_barrier(team);
    }
    rrt__team_copy_share(team, side->workspace.hidden, side->states, all, width);
    rrt__team_barrier(team);
}

static void run_step(rrt__team team, void *argument)
{
    run *r = argument;
    for (int m = 0; m < r->n_lanes; m++) run_lane(r, team, &r->lanes[m]);
    for (size_t w = 0; w < r->n_windows; w++) score_window(r, team, w);
}

// Opens the sequences of windows that run with stored keys and values, as in decoding.
static rrt_status open_sequences(run *r, lane *side, const char *kv_type, rrt_error *err)
{
    rrt__kv_types type;
    RRT__TRY(rrt__kv_types_parse(&type, kv_type, err));
    RRT__TRY(rrt__alloc(&side->sequences, r->step_windows, sizeof *side->sequences, "sequences", err));
    for (size_t w = 0; w < r->step_windows; w++) {
        rrt__sequence_init(&side->sequences[w], side->model, type, r->cut.length);
        side->sequences[w].loops = side->loops;
        RRT__TRY(rrt__sequence_reserve(&side->sequences[w], r->cut.length, err));
        side->spans[w].sequence = &side->sequences[w];
    }
    return RRT_STATUS_OK;
}

static rrt_status open_lane(run *r, lane *side, const rrt_model *model, int loops, const char *kv_type,
                            int threads, rrt_error *err)
{
    size_t length = r->cut.length;
    side->model = model;
    side->loops = loops ? loops : model->plan.loops;
    RRT__TRY(rrt__plan_check_loops(&model->plan, side->loops, err));
    RRT__TRY(rrt__workspace_create(&side->workspace, model, r->step_windows * length, length, threads, err));
    RRT__TRY(rrt__alloc(&side->spans, r->step_windows, sizeof *side->spans, "spans", err));
    RRT__TRY(rrt__alloc(&side->logits, LOGIT_ROWS, model->shape.vocab * sizeof(float), "logits", err));
    for (size_t w = 0; w < r->step_windows; w++) side->spans[w] = (rrt__span){.count = length};
    if (!model->kv_window) return kv_type ? open_sequences(r, side, kv_type, err) : RRT_STATUS_OK;
    RRT__TRY(rrt__alloc(&side->states, r->step_windows * length, model->shape.hidden * sizeof(float),
                        "hidden states", err));
    return open_sequences(r, side, kv_type ? kv_type : "f32", err);
}

static void close_lane(const run *r, lane *side)
{
    for (size_t w = 0; side->sequences && w < r->step_windows; w++) rrt__sequence_free(&side->sequences[w]);
    rrt__free(side->sequences);
    rrt__free(side->spans);
    rrt__free(side->logits);
    rrt__free(side->states);
    rrt__workspace_free(&side->workspace);
}

static rrt_status run_windows(run *r, const rrt_eval_options *options, rrt_error *err)
{
    size_t length = r->cut.length;
    for (size_t window = 0; window < r->cut.n_windows; window += r->n_windows) {
        size_t left = r->cut.n_windows - window;
        r->n_windows = left < r->step_windows ? left : r->step_windows;
        for (size_t w = 0; w < r->n_windows; w++) rrt__cut_window(&r->cut, window + w, r->ids + w * length);
        rrt__team_run(options->threads, run_step, r);
        r->scored += r->n_windows * (length - 1);
        RRT__TRY(rrt__progress_report(options->progress, "evaluate", (double)(window + r->n_windows),
                                      (double)r->cut.n_windows, err));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__windows_run(const rrt_model *const *models, int n_models, const int32_t *ids, size_t count,
                            const rrt_eval_options *options, rrt__windows_score score, void *user,
                            rrt_error *err)
{
    run r = {.n_lanes = n_models, .score = score, .user = user};
    rrt_status status;
    RRT__TRY(rrt__cut_make(&r.cut, models[0], ids, count, options, err));
    for (int m = 1; m < n_models; m++) {
        RRT__TRY(rrt__model_check_vocabulary(models[0], models[m], err));
        RRT__TRY(check_ids(models[m], ids, count, err));
    }
    r.step_windows = r.cut.length < STEP_ROWS ? STEP_ROWS / r.cut.length : 1;
    for (int m = 0; m < n_models; m++) {
        bool is_teacher = m > 0 && m == n_models - 1;
        RRT__GOTO(open_lane(&r, &r.lanes[m], models[m], is_teacher ? 0 : options->loops,
                            is_teacher ? NULL : options->kv_type, options->threads, err));
    }
    RRT__GOTO(rrt__alloc(&r.ids, r.step_windows * r.cut.length, sizeof *r.ids, "window ids", err));
    RRT__GOTO(run_windows(&r, options, err));
done:
    for (int m = 0; m < n_models; m++) close_lane(&r, &r.lanes[m]);
    rrt__free(r.ids);
    return status;
}
