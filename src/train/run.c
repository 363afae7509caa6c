// Runs the training: batches, steps, checkpoints, and the rollback after a failed step.
#include "train/run.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/destination.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/rates.h"
#include "checkpoint/checkpoint.h"

enum { SETTLED = 20, MAX_ROLLBACKS = 3 }; // steps before a jump can be detected; consecutive rollbacks

static uint64_t step_tokens(const rrt__training_run *r)
{
    return (uint64_t)r->settings.batch * r->settings.step.context;
}

// Fraction of the run that is done after `ahead` more steps, 0 … 1.
static double share_done(const rrt__training_run *r, double ahead)
{
    const rrt__settings *s = &r->settings;
    double steps = (double)r->stepper.optimizer.step + ahead,
           seconds = r->now.seconds + ahead * r->step_seconds;
    double by_tokens = s->tokens ? steps * (double)step_tokens(r) / (double)s->tokens : 0;
    double by_time = s->minutes > 0 ? seconds / (60 * s->minutes) : 0;
    double share = by_tokens > by_time ? by_tokens : by_time;
    return share < 1 ? share : 1;
}

// With a time limit, stops at the step nearest to the requested minutes.
static bool is_done(const rrt__training_run *r)
{
    const rrt__settings *s = &r->settings;
    if (s->tokens && r->stepper.optimizer.step * step_tokens(r) >= s->tokens) return true;
    return s->minutes > 0 && r->now.seconds + r->step_seconds / 2 >= 60 * s->minutes;
}

// Depends on the last step alone, so that a resumed run measures after the same steps.
static bool is_measured(const rrt__training_run *r)
{
    uint64_t every = r->settings.heldout_every, tokens = r->stepper.optimizer.step * step_tokens(r);
    if (is_done(r)) return true;
    if (every) return tokens / every > (tokens - step_tokens(r)) / every;
    return (int)(10 * share_done(r, 0)) > (int)(10 * share_done(r, -1));
}

static bool is_matching(const rrt__training_run *r)
{
    return r->stepper.optimizer.step * step_tokens(r) < r->settings.match_tokens;
}

// The next window in the shuffled order; advances *drawn. Skips windows without targets.
static size_t next_window(const rrt__training_run *r, uint64_t *drawn)
{
    size_t n = rrt__run_windows(r), window;
    do window = rrt__dataset_shuffle(n, r->settings.seed, (*drawn)++);
    while (!is_matching(r) && !rrt__dataset_learnt(r->dataset, window));
    return window;
}

static void draw(rrt__training_run *r)
{
    size_t context = r->settings.step.context;
    for (size_t s = 0; s < r->settings.step.sequences; s++) {
        size_t window = next_window(r, &r->now.drawn);
        rrt__dataset_window(r->dataset, window, r->ids + s * context, r->targets + s * context);
        for (size_t i = 0; i < context && r->cache; i++)
            r->rows[s * context + i] = rrt__logits_cache_at(r->cache, window, i);
    }
}

// Number of tokens that count for the coming step: its loss is the mean over them.
static size_t count_learnt(const rrt__training_run *r)
{
    size_t learnt = 0;
    uint64_t drawn = r->now.drawn;
    for (size_t i = 0; i < r->settings.batch; i++)
        learnt += rrt__dataset_learnt(r->dataset, next_window(r, &drawn));
    return learnt;
}

static rrt_train_step compute(rrt__training_run *r)
{
    const rrt__step_options *step = &r->settings.step;
    rrt__loss_sums sums = {0};
    size_t learnt = is_matching(r) ? step_tokens(r) : count_learnt(r);
    float weight = 1.0f / (float)learnt;
    rrt__batch batch = {step->sequences, step->context, r->ids, r->targets, r->rows};
    for (size_t done = 0; done < r->settings.batch; done += step->sequences) {
        draw(r);
        (is_matching(r) ? rrt__stepper_match : rrt__stepper_gradients)(&r->stepper, &batch, weight, &sums);
    }
    double rows = (double)(sums.rows ? sums.rows : 1);
    return (rrt_train_step){.cross_entropy = sums.cross_entropy / rows,
                            .divergence = sums.divergence / rows,
                            .loss = (sums.loss + sums.match + sums.gates) / rows,
                            .norm = rrt__stepper_norm(&r->stepper),
                            .learning_rate =
                                r->settings.learning_rate *
                                rrt__schedule(share_done(r, 1), r->settings.warmup, r->settings.min_rate)};
}

static const char *judge(const rrt__training_run *r, const rrt_train_step *step)
{
    if (!isfinite(step->loss)) return "the loss is not finite";
    if (!isfinite(step->norm)) return "the gradient is not finite";
    if (r->now.mean_steps >= SETTLED && step->loss > 2 * r->now.mean_loss + 1) return "the loss jumped";
    return NULL;
}

// Goes back to the last checkpoint, and on with the text that comes next.
static rrt_status go_back(rrt__training_run *r, const char *why, rrt_error *err)
{
    rrt__run_state before = r->now;
    bool found;
    uint64_t step = r->stepper.optimizer.step;
    rrt__stepper_discard(&r->stepper);
    if (++r->rollbacks > MAX_ROLLBACKS) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_NUMERIC, "%s at step %llu, also after going back %d times", why,
                      (unsigned long long)step + 1, MAX_ROLLBACKS);
        return rrt__hint(err, status, "lower the learning rate, or look at the text");
    }
    RRT__TRY(rrt__run_load(r, &found, err));
    r->now.drawn = before.drawn;
    r->now.seconds = before.seconds;
    return RRT_STATUS_OK;
}

static void learn(rrt__training_run *r, const rrt_train_step *step)
{
    bool was_matching = is_matching(r);
    rrt__stepper_update(&r->stepper, step->norm, step->learning_rate);
    double steps = (double)++r->now.mean_steps, keep = steps < 10 ? 1 - 1 / steps : 0.9;
    r->now.mean_loss = keep * r->now.mean_loss + (1 - keep) * step->loss;
    if (was_matching && !is_matching(r)) r->now.mean_steps = 0; // a different loss follows
}

static rrt_status tell(rrt__training_run *r, const rrt_train_step *step, rrt_error *err)
{
    rrt__log_row row = {step->step,       step->tokens,        step->loss, step->cross_entropy,
                        step->divergence, step->learning_rate, step->norm, step->tokens_per_s,
                        r->now.seconds,   step->event};
    rrt_status status = rrt__log_write(&r->log, &row, err);
    if (status) return rrt__at(err, status, "%s", r->folder);
    if (r->options->report) r->options->report(r->options->user, step);
    status = rrt__progress_report(r->options->progress, "train", share_done(r, 0), 1, err);
    if (!status) return RRT_STATUS_OK;
    RRT__TRY(rrt__run_save(r, err));
    return rrt__hint(err, status, "stopped at step %llu; it goes on there with --resume auto",
                     (unsigned long long)r->stepper.optimizer.step);
}

static rrt_status make_step(rrt__training_run *r, rrt_error *err)
{
    double start = rrt__now_seconds();
    rrt_train_step step = compute(r);
    step.event = judge(r, &step);
    step.step = r->stepper.optimizer.step + 1;
    if (step.event)
        RRT__TRY(go_back(r, step.event, err));
    else
        learn(r, &step);
    r->step_seconds = rrt__now_seconds() - start;
    r->now.seconds += r->step_seconds;
    if (!step.event && is_measured(r)) RRT__TRY(rrt__run_measure(r, err));
    step.heldout = r->now.heldout;
    step.tokens = step.step * step_tokens(r);
    step.tokens_per_s = (double)step_tokens(r) / r->step_seconds;
    return tell(r, &step, err);
}

static rrt_status keep_on(rrt__training_run *r, rrt_error *err)
{
    const rrt__settings *s = &r->settings;
    while (!is_done(r)) {
        RRT__TRY(make_step(r, err));
        bool due = r->now.seconds - r->saved_at >= 60 * s->checkpoint_minutes;
        if (s->checkpoint_steps && r->stepper.optimizer.step % s->checkpoint_steps == 0) due = true;
        if (due && r->stepper.optimizer.step > r->saved_step) RRT__TRY(rrt__run_save(r, err));
    }
    if (r->now.heldout_step < r->stepper.optimizer.step) // resumed with fewer tokens than it has seen
        RRT__TRY(rrt__run_measure(r, err));
    return r->stepper.optimizer.step > r->saved_step ? rrt__run_save(r, err) : RRT_STATUS_OK;
}

static rrt_status move(const char *from_folder, const char *to_folder, const char *name, rrt_error *err)
{
    char from[4096], to[4096];
    RRT__TRY(rrt__path_join(from, from_folder, name, err));
    RRT__TRY(rrt__path_join(to, to_folder, name, err));
    if (rename(from, to) == 0) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail_errno(err, "cannot move into place"), "%s", to);
}

typedef struct moving {
    const char *from, *to;
} moving;

static rrt_status move_entry(void *user, const char *name, rrt_error *err)
{
    const moving *m = user;
    if (name[0] == '.' || strcmp(name, "config.json") == 0) return RRT_STATUS_OK;
    return move(m->from, m->to, name, err);
}

// Moves config.json last: a run that dies here leaves nothing that looks complete but is not.
static rrt_status move_all(const char *from, const char *to, rrt_error *err)
{
    moving m = {from, to};
    RRT__TRY(rrt__folder_each(from, move_entry, &m, err));
    return move(from, to, "config.json", err);
}

// Saves the trained model in a temporary folder, then moves it to the run's.
static rrt_status publish(const rrt__training_run *r, rrt_error *err)
{
    const rrt__safetensors_options whole = {RRT__DTYPE_F32, UINT64_MAX, NULL};
    char path[4096];
    rrt__destination destination;
    RRT__TRY(rrt__path_join(path, r->out, "model", err));
    RRT__TRY(rrt__destination_open(&destination, path, RRT__DESTINATION_FOLDER, false, err));
    rrt_status status = rrt__model_write(r->model, destination.temporary, &whole, err);
    if (!status) status = move_all(destination.temporary, r->out, err);
    rrt__destination_discard(&destination);
    return status;
}

static void summarize(const rrt__training_run *r, rrt_train_result *result)
{
    uint64_t tokens = r->stepper.optimizer.step * step_tokens(r);
    *result = (rrt_train_result){.loss = r->now.mean_loss,
                                 .steps = r->stepper.optimizer.step,
                                 .tokens = tokens,
                                 .seconds = r->now.seconds,
                                 .tokens_per_s = r->now.seconds > 0 ? (double)tokens / r->now.seconds : 0,
                                 .peak_rss_bytes = rrt__peak_rss_bytes(),
                                 .heldout_start = r->now.heldout_start,
                                 .heldout = r->now.heldout};
}

rrt_status rrt_train(rrt_model *model, const char *out, const rrt_train_options *options,
                     rrt_train_result *result, rrt_error *err)
{
    const rrt_train_options defaults = {0};
    rrt__training_run r = {.model = model, .out = out, .options = options ? options : &defaults};
    r.now.heldout_start = r.now.heldout = (double)NAN;
    RRT__TRY(rrt__settings_resolve(&r.settings, model, r.options, err));
    if (r.options->share_kv) RRT__TRY(rrt__model_share_kv(model, err));
    if (r.options->gates && !model->gates) RRT__TRY(rrt__model_add_gates(model, err));
    rrt_status status = rrt__run_open(&r, err);
    if (!status) status = keep_on(&r, err);
    if (!status) status = publish(&r, err);
    if (!status && result) summarize(&r, result);
    rrt__run_close(&r);
    return status;
}
