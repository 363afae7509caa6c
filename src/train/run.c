// A run: batches, steps, checkpoints, and going back when a step goes wrong.
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "model/load.h"
#include "train/checkpoint.h"
#include "train/log.h"
#include "train/settings.h"

enum { SETTLED = 20, MOST_ROLLBACKS = 3 }; // steps until a jump can be told; times in a row

// What a checkpoint keeps besides weights and moments.
typedef struct place {
    uint64_t drawn;      // windows taken from the text so far
    double seconds;      // of training so far
    double mean_loss;    // running mean, over about ten steps
    uint64_t mean_steps; // that it has seen
    uint64_t step;
} place;

typedef struct run {
    rrt_model *model;
    const char *out;
    const rrt_train_options *options;
    rrt__settings settings;
    rrt__dataset *dataset;
    rrt__store *store;
    rrt__optimizer optimizer;
    rrt__stepper stepper;
    rrt__log log;
    int32_t *ids, *targets; // [at a time, context]
    rrt__store_row *rows;
    place now;
    int rollbacks;                 // since the last checkpoint
    double saved_at, step_seconds; // of the last step
    char checkpoints[4096];
} run;

static uint64_t step_tokens(const run *r)
{
    return (uint64_t)r->settings.batch * r->settings.step.context;
}

// --- opening

static rrt_status fail_exists(const char *out, rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_EXISTS, "the destination exists already");
    rrt__hint(err, status, "go on with --resume auto, replace it with --force, or choose another name");
    return rrt__at(err, status, "%s", out);
}

// Removes what a run left; a folder that holds no run is left to the rules for destinations.
static rrt_status clear_folder(const run *r, rrt_error *err)
{
    char path[4096], latest[4096];
    bool found = true;
    RRT__TRY(rrt__path_join(path, r->out, "log.jsonl", err));
    if (rrt__path_exists(path)) {
        while (rrt__checkpoint_latest(latest, r->checkpoints, &found, err) == RRT_STATUS_OK && found)
            if (!rrt__path_remove(latest)) break;
        rrt__path_remove(r->checkpoints);
        RRT__TRY(rrt__path_join(path, r->out, "data", err));
        rrt__path_remove(path);
    }
    RRT__TRY(rrt__destination_check(r->out, true, err));
    if (rrt__path_remove(r->out)) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail_errno(err, "cannot replace the folder"), "%s", r->out);
}

static rrt_status open_folder(const run *r, rrt_error *err)
{
    if (rrt__path_exists(r->out) && !r->options->resume) {
        if (!r->options->overwrite) return fail_exists(r->out, err);
        RRT__TRY(clear_folder(r, err));
    }
    if (mkdir(r->out, 0777) == 0 || errno == EEXIST) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail_errno(err, "cannot create the folder"), "%s", r->out);
}

static rrt_status open_store(run *r, rrt_error *err)
{
    size_t vocab = r->model->shape.vocab, context = r->settings.step.context;
    RRT__TRY(rrt__store_open(&r->store, r->options->store, err));
    r->settings.step.stored_top = rrt__store_top(r->store);
    if (rrt__store_vocab(r->store) != vocab)
        return rrt__fail(err, RRT_STATUS_MISMATCH,
                         "the stored teacher has a vocabulary of %zu tokens, the student of %zu",
                         rrt__store_vocab(r->store), vocab);
    if (rrt__store_context(r->store) == context) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_MISMATCH, "the stored answers are for a context of %zu tokens, not %zu",
                     rrt__store_context(r->store), context);
}

static rrt_status open_data(run *r, rrt_error *err)
{
    const rrt_train_options *o = r->options;
    char folder[4096];
    if (o->store) {
        RRT__TRY(open_store(r, err));
        return rrt__dataset_open(&r->dataset, o->store, r->model->tokenizer, r->model->shape.vocab,
                                 r->settings.step.context, err);
    }
    if (o->n_files == 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "there is no text to train on");
    RRT__TRY(rrt__path_join(folder, r->out, "data", err));
    RRT__TRY(rrt__shards_make(folder, r->model->tokenizer, o->files, o->n_files, o->progress, err));
    return rrt__dataset_open(&r->dataset, folder, r->model->tokenizer, r->model->shape.vocab,
                             r->settings.step.context, err);
}

static rrt_status open_engine(run *r, rrt_error *err)
{
    const rrt__step_options *step = &r->settings.step;
    size_t rows = step->sequences * step->context;
    RRT__TRY(rrt__optimizer_create(&r->optimizer, r->model, &r->settings.optimizer, step->threads, err));
    RRT__TRY(rrt__stepper_create(&r->stepper, r->model, r->options->teacher, &r->optimizer, step, err));
    RRT__TRY(rrt__alloc(&r->ids, rows, sizeof *r->ids, "a batch", err));
    RRT__TRY(rrt__alloc(&r->targets, rows, sizeof *r->targets, "a batch", err));
    return r->store ? rrt__alloc(&r->rows, rows, sizeof *r->rows, "a batch", err) : RRT_STATUS_OK;
}

// --- checkpoints

static rrt_status save(run *r, rrt_error *err)
{
    char data[32];
    snprintf(data, sizeof data, "%016llx", (unsigned long long)rrt__dataset_fingerprint(r->dataset));
    json_t *state = json_pack("{s:I, s:I, s:f, s:f, s:I, s:s, s:o}", "step", (json_int_t)r->optimizer.step,
                              "windows", (json_int_t)r->now.drawn, "seconds", r->now.seconds, "mean_loss",
                              r->now.mean_loss, "mean_steps", (json_int_t)r->now.mean_steps, "data", data,
                              "settings", rrt__settings_to_json(&r->settings));
    rrt_status status = rrt__checkpoint_save(r->checkpoints, r->model, &r->optimizer, state, err);
    json_decref(state);
    r->now.step = r->optimizer.step;
    r->saved_at = r->now.seconds;
    r->rollbacks = 0;
    return status;
}

static rrt_status read_state(run *r, const json_t *state, rrt_error *err)
{
    char data[32];
    const char *saved;
    int64_t windows, mean_steps;
    json_t *settings;
    snprintf(data, sizeof data, "%016llx", (unsigned long long)rrt__dataset_fingerprint(r->dataset));
    RRT__TRY(rrt__json_object(state, "settings", &settings, err));
    RRT__TRY(rrt__settings_compare(&r->settings, settings, err));
    RRT__TRY(rrt__json_string(state, "data", &saved, err));
    if (strcmp(saved, data) != 0) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_MISMATCH, "the run that is resumed was trained on other text");
        return rrt__hint(err, status, "pass the files of before, or start another run under another name");
    }
    RRT__TRY(rrt__json_int(state, "windows", 0, INT64_MAX, &windows, err));
    RRT__TRY(rrt__json_real_or(state, "seconds", 0, &r->now.seconds, err));
    RRT__TRY(rrt__json_real_or(state, "mean_loss", 0, &r->now.mean_loss, err));
    RRT__TRY(rrt__json_int(state, "mean_steps", 0, INT64_MAX, &mean_steps, err));
    r->now.mean_steps = (uint64_t)mean_steps;
    r->now.drawn = (uint64_t)windows;
    r->now.step = r->optimizer.step;
    r->saved_at = r->now.seconds;
    return RRT_STATUS_OK;
}

static rrt_status load(run *r, bool *found, rrt_error *err)
{
    char path[4096];
    json_t *state;
    RRT__TRY(rrt__checkpoint_latest(path, r->checkpoints, found, err));
    if (!*found) return RRT_STATUS_OK;
    RRT__TRY(rrt__checkpoint_load(path, r->model, &r->optimizer, &state, err));
    rrt_status status = read_state(r, state, err);
    json_decref(state);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

static rrt_status open_run(run *r, rrt_error *err)
{
    bool found = false;
    if (!r->model->tokenizer)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the model has no tokenizer to read text with");
    if (r->options->teacher && r->options->teacher->shape.vocab != r->model->shape.vocab)
        return rrt__fail(err, RRT_STATUS_MISMATCH,
                         "the teacher has a vocabulary of %zu tokens, the student of %zu",
                         r->options->teacher->shape.vocab, r->model->shape.vocab);
    RRT__TRY(rrt__path_join(r->checkpoints, r->out, "checkpoints", err));
    RRT__TRY(open_folder(r, err));
    RRT__TRY(open_data(r, err));
    RRT__TRY(open_engine(r, err));
    if (r->options->resume) RRT__TRY(load(r, &found, err));
    RRT__TRY(rrt__log_open(&r->log, r->out, r->optimizer.step, err));
    // So that there is something to go back to from the first step on.
    return found ? RRT_STATUS_OK : save(r, err);
}

// --- steps

// Share of the run that is done after `ahead` more steps, 0 … 1.
static double share_done(const run *r, double ahead)
{
    const rrt__settings *s = &r->settings;
    double steps = (double)r->optimizer.step + ahead, seconds = r->now.seconds + ahead * r->step_seconds;
    double by_tokens = s->tokens ? steps * (double)step_tokens(r) / (double)s->tokens : 0;
    double by_time = s->minutes > 0 ? seconds / (60 * s->minutes) : 0;
    double share = by_tokens > by_time ? by_tokens : by_time;
    return share < 1 ? share : 1;
}

// A clock stops the run where that is nearest to the minutes asked for.
static bool is_done(const run *r)
{
    const rrt__settings *s = &r->settings;
    if (s->tokens && r->optimizer.step * step_tokens(r) >= s->tokens) return true;
    return s->minutes > 0 && r->now.seconds + r->step_seconds / 2 >= 60 * s->minutes;
}

static void draw(run *r)
{
    size_t context = r->settings.step.context;
    // A store may answer only the first windows of its text.
    size_t n = r->store ? rrt__store_windows(r->store) : rrt__dataset_windows(r->dataset);
    for (size_t s = 0; s < r->settings.step.sequences; s++) {
        size_t window = rrt__dataset_shuffle(n, r->settings.seed, r->now.drawn++);
        rrt__dataset_window(r->dataset, window, r->ids + s * context, r->targets + s * context);
        for (size_t i = 0; i < context && r->store; i++)
            r->rows[s * context + i] = rrt__store_at(r->store, window, i);
    }
}

static bool is_matching(const run *r)
{
    return r->optimizer.step * step_tokens(r) < r->settings.match_tokens;
}

static rrt_train_step compute(run *r)
{
    const rrt__step_options *step = &r->settings.step;
    double weight = (double)step->objective.kd_weight;
    rrt__loss_sums sums = {0};
    rrt__batch batch = {step->sequences, step->context, r->ids, r->targets, r->rows};
    for (size_t done = 0; done < r->settings.batch; done += step->sequences) {
        draw(r);
        (is_matching(r) ? rrt__stepper_match : rrt__stepper_gradients)(&r->stepper, &batch,
                                                                       1.0f / (float)step_tokens(r), &sums);
    }
    double rows = (double)(sums.rows ? sums.rows : 1);
    return (rrt_train_step){
        .cross_entropy = sums.cross_entropy / rows,
        .divergence = sums.divergence / rows,
        .loss = ((1 - weight) * sums.cross_entropy + weight * sums.divergence + sums.match) / rows,
        .norm = rrt__stepper_norm(&r->stepper),
        .learning_rate = r->settings.learning_rate *
                         rrt__schedule(share_done(r, 1), r->settings.warmup, r->settings.least_rate)};
}

static const char *judge(const run *r, const rrt_train_step *step)
{
    if (!isfinite(step->loss)) return "the loss is not finite";
    if (!isfinite(step->norm)) return "the gradient is not finite";
    if (r->now.mean_steps >= SETTLED && step->loss > 2 * r->now.mean_loss + 1) return "the loss jumped";
    return NULL;
}

// Back to the last checkpoint, and on with the text that comes next.
static rrt_status go_back(run *r, const char *why, rrt_error *err)
{
    place before = r->now;
    bool found;
    uint64_t step = r->optimizer.step;
    rrt__stepper_discard(&r->stepper);
    if (++r->rollbacks > MOST_ROLLBACKS) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_NUMERIC, "%s at step %llu, also after going back %d times", why,
                      (unsigned long long)step + 1, MOST_ROLLBACKS);
        return rrt__hint(err, status, "lower the learning rate, or look at the text");
    }
    RRT__TRY(load(r, &found, err));
    r->now.drawn = before.drawn;
    r->now.seconds = before.seconds;
    return RRT_STATUS_OK;
}

static void learn(run *r, const rrt_train_step *step)
{
    bool was_matching = is_matching(r);
    rrt__stepper_update(&r->stepper, step->norm, step->learning_rate);
    double steps = (double)++r->now.mean_steps, keep = steps < 10 ? 1 - 1 / steps : 0.9;
    r->now.mean_loss = keep * r->now.mean_loss + (1 - keep) * step->loss;
    if (was_matching && !is_matching(r)) r->now.mean_steps = 0; // the loss that follows is another one
}

static rrt_status tell(run *r, const rrt_train_step *step, rrt_error *err)
{
    const rrt_progress *progress = r->options->progress;
    rrt__log_row row = {step->step,       step->tokens,        step->loss, step->cross_entropy,
                        step->divergence, step->learning_rate, step->norm, step->tokens_per_s,
                        r->now.seconds,   step->event};
    RRT__TRY(rrt__log_write(&r->log, &row, err));
    if (r->options->report) r->options->report(r->options->user, step);
    if (!progress || !progress->report || !progress->report(progress->user, "train", share_done(r, 0), 1))
        return RRT_STATUS_OK;
    RRT__TRY(save(r, err));
    rrt_status status = rrt__fail(err, RRT_STATUS_CANCELLED, "the run was stopped at step %llu",
                                  (unsigned long long)r->optimizer.step);
    return rrt__hint(err, status, "it goes on where it stopped with --resume auto");
}

static rrt_status make_step(run *r, rrt_error *err)
{
    double start = rrt__now_seconds();
    rrt_train_step step = compute(r);
    step.event = judge(r, &step);
    step.step = r->optimizer.step + 1;
    if (step.event)
        RRT__TRY(go_back(r, step.event, err));
    else
        learn(r, &step);
    r->step_seconds = rrt__now_seconds() - start;
    r->now.seconds += r->step_seconds;
    step.tokens = step.step * step_tokens(r);
    step.tokens_per_s = (double)step_tokens(r) / r->step_seconds;
    return tell(r, &step, err);
}

static rrt_status keep_on(run *r, rrt_error *err)
{
    const rrt__settings *s = &r->settings;
    while (!is_done(r)) {
        RRT__TRY(make_step(r, err));
        bool due = r->now.seconds - r->saved_at >= 60 * s->checkpoint_minutes;
        if (s->checkpoint_steps && r->optimizer.step % s->checkpoint_steps == 0) due = true;
        if (due && r->optimizer.step > r->now.step) RRT__TRY(save(r, err));
    }
    return r->optimizer.step > r->now.step ? save(r, err) : RRT_STATUS_OK;
}

// The trained model under the run's own name. Files are written aside and renamed, the weights before
// config.json, so that a run that dies here leaves nothing that looks complete and is not.
static rrt_status publish(const run *r, rrt_error *err)
{
    static const char *const names[] = {"model.safetensors", "tokenizer.json", "tokenizer_config.json",
                                        "config.json"};
    const rrt__safetensors_options whole = {RRT__DTYPE_F32, UINT64_MAX, NULL};
    char path[4096], from[4096], to[4096];
    rrt__destination destination;
    RRT__TRY(rrt__path_join(path, r->out, "model", err));
    RRT__TRY(rrt__destination_open(&destination, path, true, false, err));
    rrt_status status = rrt__model_write(r->model, destination.temporary, &whole, err);
    for (size_t i = 0; !status && i < sizeof names / sizeof *names; i++) {
        status = rrt__path_join(from, destination.temporary, names[i], err);
        if (!status) status = rrt__path_join(to, r->out, names[i], err);
        if (!status && rename(from, to) != 0)
            status = rrt__at(err, rrt__fail_errno(err, "cannot move into place"), "%s", to);
    }
    rrt__destination_discard(&destination);
    return status;
}

static void summarize(const run *r, rrt_train_result *result)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t tokens = r->optimizer.step * step_tokens(r);
    *result = (rrt_train_result){.loss = r->now.mean_loss,
                                 .steps = r->optimizer.step,
                                 .tokens = tokens,
                                 .seconds = r->now.seconds,
                                 .tokens_per_s = r->now.seconds > 0 ? (double)tokens / r->now.seconds : 0,
                                 .peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024};
}

static void close_run(run *r)
{
    rrt__log_close(&r->log, NULL);
    rrt__stepper_free(&r->stepper);
    rrt__optimizer_free(&r->optimizer);
    rrt__dataset_close(r->dataset);
    rrt__store_close(r->store);
    rrt__free(r->ids);
    rrt__free(r->targets);
    rrt__free(r->rows);
}

rrt_status rrt_train(rrt_model *model, const char *out, const rrt_train_options *options,
                     rrt_train_result *result, rrt_error *err)
{
    const rrt_train_options defaults = {0};
    run r = {.model = model, .out = out, .options = options ? options : &defaults};
    RRT__TRY(rrt__settings_resolve(&r.settings, model, r.options, err));
    rrt_status status = open_run(&r, err);
    if (!status) status = keep_on(&r, err);
    if (!status) status = publish(&r, err);
    if (!status && result) summarize(&r, result);
    close_run(&r);
    return status;
}
