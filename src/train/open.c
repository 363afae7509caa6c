// Opens a run and saves its state.
#include "train/run.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"
#include "train/checkpoint.h"
#include "train/shards.h"

static rrt_status fail_exists(const char *out, rrt_error *err)
{
    int lock = -1;
    rrt_status status = rrt__run_is_marked(out) ? rrt__run_hold(&lock, out, err) : RRT_STATUS_OK;
    if (lock >= 0) close(lock);
    if (status) return rrt__at(err, status, "%s", out);
    status = rrt__fail(err, RRT_STATUS_EXISTS, "the destination exists already");
    rrt__hint(err, status, "a run goes on with --resume auto; --force replaces it, or choose another name");
    return rrt__at(err, status, "%s", out);
}

static rrt_status fail_no_run(const char *out, rrt_error *err)
{
    rrt_status status = rrt__fail(
        err, RRT_STATUS_EXISTS,
        "the destination exists already, and is no run that could go on: it has no " RRT__RUN_MARKER);
    return rrt__at(err, rrt__hint(err, status, "choose another name"), "%s", out);
}

// Refuses links where ids and checkpoints are written and removed.
static rrt_status check_no_link(const char *out, const char *name, rrt_error *err)
{
    char path[4096];
    struct stat info;
    RRT__TRY(rrt__path_join(path, out, name, err));
    if (lstat(path, &info) != 0 || S_ISDIR(info.st_mode)) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_EXISTS, "this is not the folder that the run made");
    return rrt__at(err, rrt__hint(err, status, "a run writes to no link: move what is behind it here"), "%s",
                   path);
}

static rrt_status set_folder(rrt__training_run *r, const char *folder, rrt_error *err)
{
    snprintf(r->folder, sizeof r->folder, "%s", folder);
    return rrt__path_join(r->checkpoints, folder, "checkpoints", err);
}

// Resumes: once this process holds the lock, removes files that a killed run left incomplete.
static rrt_status go_on(rrt__training_run *r, rrt_error *err)
{
    char data[4096];
    if (!rrt__run_is_marked(r->out)) return fail_no_run(r->out, err);
    rrt_status status = rrt__run_hold(&r->lock, r->out, err);
    if (status) return rrt__at(err, status, "%s", r->out);
    RRT__TRY(set_folder(r, r->out, err));
    RRT__TRY(check_no_link(r->out, "data", err));
    RRT__TRY(check_no_link(r->out, "checkpoints", err));
    RRT__TRY(rrt__path_join(data, r->out, "data", err));
    rrt__destination_sweep(r->out);
    rrt__own_sweep(r->out, NULL);
    rrt__own_sweep(data, NULL);
    rrt__own_sweep(r->checkpoints, NULL);
    return RRT_STATUS_OK;
}

// A new run gets its name with its first checkpoint: a run that cannot begin leaves and replaces nothing.
static rrt_status open_folder(rrt__training_run *r, bool *goes_on, rrt_error *err)
{
    bool exists = rrt__path_exists(r->out), is_empty = exists && rrt__path_is_empty_folder(r->out),
         overwrite = r->options->overwrite || (r->options->resume && is_empty);
    *goes_on = r->options->resume && exists && !is_empty;
    if (*goes_on) return go_on(r, err);
    if (exists && !overwrite) return fail_exists(r->out, err);
    RRT__TRY(rrt__destination_open(&r->destination, r->out, RRT__DESTINATION_RUN, overwrite, err));
    RRT__TRY(set_folder(r, r->destination.temporary, err));
    return rrt__run_mark(&r->lock, r->folder, err);
}

static rrt_status begin(rrt__training_run *r, rrt_error *err)
{
    rrt_status status = rrt__destination_commit(&r->destination, err);
    if (status == RRT_STATUS_EXISTS && rrt__run_is_marked(r->out)) return fail_exists(r->out, err);
    return status ? status : set_folder(r, r->out, err);
}

static rrt_status open_store(rrt__training_run *r, rrt_error *err)
{
    size_t vocab = r->model->shape.vocab, context = r->settings.step.context;
    RRT__TRY(rrt__logits_cache_open(&r->cache, r->options->store, err));
    r->settings.step.stored_top = rrt__logits_cache_top(r->cache);
    r->settings.step.stored_vocab = rrt__logits_cache_vocab(r->cache);
    if (rrt__logits_cache_vocab(r->cache) > vocab)
        RRT__TRY(rrt__logits_cache_check_ids(r->cache, vocab, err));
    if (rrt__logits_cache_context(r->cache) == context) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_MISMATCH, "the stored logits are for a context of %zu tokens, not %zu",
                     rrt__logits_cache_context(r->cache), context);
}

static rrt_status open_data(rrt__training_run *r, rrt_error *err)
{
    const rrt_train_options *o = r->options;
    char folder[4096];
    if (o->store) {
        RRT__TRY(open_store(r, err));
        return rrt__dataset_open(&r->dataset, o->store, r->model->tokenizer, r->model->shape.vocab,
                                 r->settings.step.context, err);
    }
    if (o->n_files == 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "there is no text to train on");
    RRT__TRY(rrt__path_join(folder, r->folder, "data", err));
    RRT__TRY(rrt__shards_make(folder, r->model->tokenizer, o->files, o->n_files, o->progress, err));
    return rrt__dataset_open(&r->dataset, folder, r->model->tokenizer,
                             rrt__model_common_rows(r->model, o->teacher), r->settings.step.context, err);
}

size_t rrt__run_windows(const rrt__training_run *r)
{
    // A cache may cover only the first windows of its text.
    return r->cache ? rrt__logits_cache_windows(r->cache) : rrt__dataset_windows(r->dataset);
}

static rrt_status check_learnt(const rrt__training_run *r, rrt_error *err)
{
    for (size_t window = 0; window < rrt__run_windows(r); window++)
        if (rrt__dataset_learnt(r->dataset, window)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "there is nothing to learn: no assistant says anything");
}

static rrt_status open_engine(rrt__training_run *r, rrt_error *err)
{
    const rrt__step_options *step = &r->settings.step;
    size_t rows = step->sequences * step->context;
    RRT__TRY(
        rrt__stepper_create(&r->stepper, r->model, r->options->teacher, &r->settings.optimizer, step, err));
    RRT__TRY(rrt__alloc(&r->ids, rows, sizeof *r->ids, "a batch", err));
    RRT__TRY(rrt__alloc(&r->targets, rows, sizeof *r->targets, "a batch", err));
    return r->cache ? rrt__alloc(&r->rows, rows, sizeof *r->rows, "a batch", err) : RRT_STATUS_OK;
}

rrt_status rrt__run_save(rrt__training_run *r, rrt_error *err)
{
    char data[32];
    snprintf(data, sizeof data, "%016llx", (unsigned long long)rrt__dataset_fingerprint(r->dataset));
    json_t *state = json_pack(
        "{s:I, s:I, s:f, s:f, s:I, s:s, s:s, s:s, s:o, s:o}", "step", (json_int_t)r->stepper.optimizer.step,
        "windows", (json_int_t)r->now.drawn, "seconds", r->now.seconds, "mean_loss", r->now.mean_loss,
        "mean_steps", (json_int_t)r->now.mean_steps, "student", r->student, "teacher", r->teacher, "data",
        data, "settings", rrt__settings_to_json(&r->settings), "heldout", rrt__run_heldout_to_json(r));
    rrt_status status = rrt__checkpoint_save(r->checkpoints, r->model, &r->stepper.optimizer, state, err);
    json_decref(state);
    r->saved_step = r->stepper.optimizer.step;
    r->saved_at = r->now.seconds;
    r->rollbacks = 0;
    return status;
}

// Compares a fingerprint of student, teacher or data: `now` of this run, and the saved one of the
// resumed run.
static rrt_status check_same(const json_t *state, const char *key, const char *now, const char *what,
                             rrt_error *err)
{
    const char *before;
    RRT__TRY(rrt__json_string(state, key, &before, err));
    if (strcmp(before, now) == 0) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_MISMATCH, "the run that is resumed %s", what);
    return rrt__hint(err, status, "pass what it had before, or start another run under another name");
}

static rrt_status read_state(rrt__training_run *r, const json_t *state, rrt_error *err)
{
    char data[32];
    int64_t windows, mean_steps;
    json_t *settings;
    snprintf(data, sizeof data, "%016llx", (unsigned long long)rrt__dataset_fingerprint(r->dataset));
    RRT__TRY(check_same(state, "student", r->student, "was begun with another student", err));
    RRT__TRY(check_same(state, "teacher", r->teacher, "had another teacher, or none", err));
    RRT__TRY(rrt__json_object(state, "settings", &settings, err));
    RRT__TRY(rrt__settings_compare(&r->settings, settings, err));
    RRT__TRY(check_same(state, "data", data, "was trained on other text", err));
    RRT__TRY(rrt__run_read_heldout(r, json_object_get(state, "heldout"), err));
    RRT__TRY(rrt__json_int(state, "windows", 0, INT64_MAX, &windows, err));
    RRT__TRY(rrt__json_real_or(state, "seconds", 0, &r->now.seconds, err));
    RRT__TRY(rrt__json_real_or(state, "mean_loss", 0, &r->now.mean_loss, err));
    RRT__TRY(rrt__json_int(state, "mean_steps", 0, INT64_MAX, &mean_steps, err));
    r->now.mean_steps = (uint64_t)mean_steps;
    r->now.drawn = (uint64_t)windows;
    r->saved_step = r->stepper.optimizer.step;
    r->saved_at = r->now.seconds;
    return RRT_STATUS_OK;
}

rrt_status rrt__run_load(rrt__training_run *r, bool *found, rrt_error *err)
{
    char path[4096];
    json_t *state;
    RRT__TRY(rrt__checkpoint_latest(path, r->checkpoints, found, err));
    if (!*found) return RRT_STATUS_OK;
    RRT__TRY(rrt__checkpoint_load(path, r->model, &r->stepper.optimizer, &state, err));
    rrt_status status = read_state(r, state, err);
    json_decref(state);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

static rrt_status check_models(const rrt__training_run *r, rrt_error *err)
{
    if (!r->model->tokenizer)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the model has no tokenizer to read text with");
    RRT__TRY(rrt__model_check_f32(r->model, "training", err));
    return r->options->teacher ? rrt__model_check_vocabulary(r->model, r->options->teacher, err)
                               : RRT_STATUS_OK;
}

static rrt_status identify(rrt__training_run *r, rrt_error *err)
{
    int threads = r->settings.step.threads;
    RRT__TRY(rrt__model_fingerprint(r->model, threads, r->student, err));
    snprintf(r->teacher, sizeof r->teacher, "none");
    if (r->options->teacher) return rrt__model_fingerprint(r->options->teacher, threads, r->teacher, err);
    if (r->cache)
        snprintf(r->teacher, sizeof r->teacher, "%016llx",
                 (unsigned long long)rrt__logits_cache_checksum(r->cache));
    return RRT_STATUS_OK;
}

static json_t *file_names(const rrt_train_options *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->n_files; i++)
        json_array_append_new(list, rrt__json_text(o->files[i], strlen(o->files[i])));
    return list;
}

// For people and for rrt_train_report. Checkpoints hold most of it, too, but may be deleted.
static rrt_status write_settings(const rrt__training_run *r, rrt_error *err)
{
    const rrt_train_options *o = r->options;
    char path[4096];
    rrt__destination destination = {0};
    RRT__TRY(rrt__path_join(path, r->folder, "settings.json", err));
    json_t *json = rrt__settings_to_json(&r->settings);
    const char *teacher = o->teacher ? "a model" : o->store ? o->store : "none";
    json_object_set_new(json, "tokens", json_integer((json_int_t)o->tokens));
    json_object_set_new(json, "minutes", json_real(o->minutes));
    json_object_set_new(json, "teacher", rrt__json_text(teacher, strlen(teacher)));
    json_object_set_new(json, "data", file_names(o));
    rrt_status status = rrt__destination_open(&destination, path, RRT__DESTINATION_FILE, true, err);
    if (!status) status = rrt__json_write(json, destination.temporary, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    rrt__destination_discard(&destination);
    json_decref(json);
    return status;
}

rrt_status rrt__run_open(rrt__training_run *r, rrt_error *err)
{
    bool goes_on, found = false;
    r->lock = -1;
    RRT__TRY(check_models(r, err));
    RRT__TRY(open_folder(r, &goes_on, err));
    RRT__TRY(open_data(r, err));
    RRT__TRY(check_learnt(r, err));
    RRT__TRY(identify(r, err));
    RRT__TRY(open_engine(r, err));
    if (goes_on) RRT__TRY(rrt__run_load(r, &found, err));
    if (found)
        rrt__checkpoint_keep_only(r->checkpoints,
                                  r->stepper.optimizer.step); // killed while it removed the previous one
    RRT__TRY(write_settings(r, err));
    RRT__TRY(rrt__log_open(&r->log, r->folder, r->stepper.optimizer.step, err));
    if (!found) {
        RRT__TRY(rrt__run_measure(r, err));
        RRT__TRY(rrt__run_save(r, err)); // so that the first step already has a checkpoint to go back to
    }
    return goes_on ? RRT_STATUS_OK : begin(r, err);
}

void rrt__run_close(rrt__training_run *r)
{
    rrt__log_close(&r->log, NULL);
    rrt__stepper_free(&r->stepper);
    rrt__dataset_close(r->dataset);
    rrt__logits_cache_close(r->cache);
    rrt__free(r->ids);
    rrt__free(r->targets);
    rrt__free(r->rows);
    rrt__destination_discard(&r->destination);
    if (r->lock >= 0) close(r->lock);
}
