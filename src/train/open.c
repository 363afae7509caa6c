// Opening a run and keeping its state.
#include "train/run.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "train/checkpoint.h"

static rrt_status fail_exists(const char *out, rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_EXISTS, "the destination exists already");
    rrt__hint(err, status, "a run goes on with --resume auto; --force replaces it, or choose another name");
    return rrt__at(err, status, "%s", out);
}

// Removes what a run left; a folder that holds no run is left to the rules for destinations.
static rrt_status clear_folder(const rrt__run *r, rrt_error *err)
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

static bool has(const char *folder, const char *name)
{
    char path[4096];
    return rrt__path_join(path, folder, name, NULL) == RRT_STATUS_OK && rrt__path_exists(path);
}

// Whether a folder is what a run left, however early it ended.
static bool is_run(const char *folder)
{
    return has(folder, "log.jsonl") || has(folder, "checkpoints") || has(folder, "data") ||
           rmdir(folder) == 0;
}

// Removes what a run that was killed had half written.
static void sweep(const char *folder)
{
    char path[4096];
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && (entry = readdir(entries));)
        if (strstr(entry->d_name, ".tmp-") && !rrt__path_join(path, folder, entry->d_name, NULL))
            rrt__path_remove(path);
    if (entries) closedir(entries);
}

static rrt_status open_folder(const rrt__run *r, rrt_error *err)
{
    char data[4096];
    bool exists = rrt__path_exists(r->out), goes_on = r->options->resume && exists && is_run(r->out);
    if (exists && !goes_on && !r->options->overwrite) return fail_exists(r->out, err);
    if (exists && !goes_on) RRT__TRY(clear_folder(r, err));
    if (mkdir(r->out, 0777) != 0 && errno != EEXIST)
        return rrt__at(err, rrt__fail_errno(err, "cannot create the folder"), "%s", r->out);
    RRT__TRY(rrt__path_join(data, r->out, "data", err));
    sweep(r->out);
    sweep(data);
    return RRT_STATUS_OK;
}

static rrt_status open_store(rrt__run *r, rrt_error *err)
{
    size_t vocab = r->model->shape.vocab, context = r->settings.step.context;
    RRT__TRY(rrt__store_open(&r->store, r->options->store, err));
    r->settings.step.stored_top = rrt__store_top(r->store);
    r->settings.step.stored_vocab = rrt__store_vocab(r->store);
    if (rrt__store_vocab(r->store) > vocab) RRT__TRY(rrt__store_check_ids(r->store, vocab, err));
    if (rrt__store_context(r->store) == context) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_MISMATCH, "the stored answers are for a context of %zu tokens, not %zu",
                     rrt__store_context(r->store), context);
}

static rrt_status open_data(rrt__run *r, rrt_error *err)
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
    return rrt__dataset_open(&r->dataset, folder, r->model->tokenizer,
                             rrt__model_common_rows(r->model, o->teacher), r->settings.step.context, err);
}

size_t rrt__run_windows(const rrt__run *r)
{
    // A store may answer only the first windows of its text.
    return r->store ? rrt__store_windows(r->store) : rrt__dataset_windows(r->dataset);
}

static rrt_status check_learnt(const rrt__run *r, rrt_error *err)
{
    for (size_t window = 0; window < rrt__run_windows(r); window++)
        if (rrt__dataset_learnt(r->dataset, window)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "there is nothing to learn: no assistant says anything");
}

static rrt_status open_engine(rrt__run *r, rrt_error *err)
{
    const rrt__step_options *step = &r->settings.step;
    size_t rows = step->sequences * step->context;
    RRT__TRY(rrt__optimizer_create(&r->optimizer, r->model, &r->settings.optimizer, step->threads, err));
    RRT__TRY(rrt__stepper_create(&r->stepper, r->model, r->options->teacher, &r->optimizer, step, err));
    RRT__TRY(rrt__alloc(&r->ids, rows, sizeof *r->ids, "a batch", err));
    RRT__TRY(rrt__alloc(&r->targets, rows, sizeof *r->targets, "a batch", err));
    return r->store ? rrt__alloc(&r->rows, rows, sizeof *r->rows, "a batch", err) : RRT_STATUS_OK;
}

rrt_status rrt__run_save(rrt__run *r, rrt_error *err)
{
    char data[32];
    snprintf(data, sizeof data, "%016llx", (unsigned long long)rrt__dataset_fingerprint(r->dataset));
    json_t *state = json_pack("{s:I, s:I, s:f, s:f, s:I, s:s, s:o}", "step", (json_int_t)r->optimizer.step,
                              "windows", (json_int_t)r->now.drawn, "seconds", r->now.seconds, "mean_loss",
                              r->now.mean_loss, "mean_steps", (json_int_t)r->now.mean_steps, "data", data,
                              "settings", rrt__settings_to_json(&r->settings));
    rrt_status status = rrt__checkpoint_save(r->checkpoints, r->model, &r->optimizer, state, err);
    json_decref(state);
    r->saved_step = r->optimizer.step;
    r->saved_at = r->now.seconds;
    r->rollbacks = 0;
    return status;
}

static rrt_status read_state(rrt__run *r, const json_t *state, rrt_error *err)
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
    r->saved_step = r->optimizer.step;
    r->saved_at = r->now.seconds;
    return RRT_STATUS_OK;
}

rrt_status rrt__run_load(rrt__run *r, bool *found, rrt_error *err)
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

rrt_status rrt__run_open(rrt__run *r, rrt_error *err)
{
    bool found = false;
    if (!r->model->tokenizer)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the model has no tokenizer to read text with");
    RRT__TRY(rrt__model_check_f32(r->model, "training", err));
    if (r->options->teacher) RRT__TRY(rrt__model_check_vocabulary(r->model, r->options->teacher, err));
    RRT__TRY(rrt__path_join(r->checkpoints, r->out, "checkpoints", err));
    RRT__TRY(open_folder(r, err));
    RRT__TRY(open_data(r, err));
    RRT__TRY(check_learnt(r, err));
    RRT__TRY(open_engine(r, err));
    if (r->options->resume) RRT__TRY(rrt__run_load(r, &found, err));
    RRT__TRY(rrt__log_open(&r->log, r->out, r->optimizer.step, err));
    // So that there is something to go back to from the first step on.
    return found ? RRT_STATUS_OK : rrt__run_save(r, err);
}

void rrt__run_close(rrt__run *r)
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
