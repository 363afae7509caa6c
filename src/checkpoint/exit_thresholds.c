#include "checkpoint/exit_thresholds.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/destination.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

enum { MAX_THRESHOLDS = 256, SAMPLE = 64 };

static rrt_status find_file(char out[4096], const char *path, rrt_error *err)
{
    if (rrt__path_is_folder(path)) return rrt__path_join(out, path, "exits.json", err);
    if (snprintf(out, 4096, "%s.exits.json", path) < 4096) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "the path is too long: %s", path);
}

// Other weights have other bytes somewhere at the beginning or in the middle of their tensors: all of them
// need not be read.
static void set_fingerprint(char out[17], const rrt_model *model)
{
    const rrt__tensor_table *table =
        model->file ? rrt__gguf_tensors(model->file) : rrt__safetensors_tensors(model->folder);
    uint64_t hash = 0;
    for (size_t i = 0; i < table->count; i++) {
        const rrt__tensor *t = &table->tensors[i];
        size_t sample = t->size_bytes < SAMPLE ? t->size_bytes : SAMPLE;
        hash = rrt__hash(hash, t->name, strlen(t->name));
        hash = rrt__hash(hash, &t->size_bytes, sizeof t->size_bytes);
        hash = rrt__hash(hash, t->data, sample);
        hash = rrt__hash(hash, t->data + (t->size_bytes - sample) / 2, sample);
    }
    snprintf(out, 17, "%016" PRIx64, hash);
}

static rrt_status take_text(char *to, size_t room, const json_t *json, const char *key, rrt_error *err)
{
    const char *text;
    RRT__TRY(rrt__json_string(json, key, &text, err));
    if (strlen(text) >= room) return rrt__fail(err, RRT_STATUS_FORMAT, "%s '%s' is not known", key, text);
    memcpy(to, text, strlen(text) + 1);
    return RRT_STATUS_OK;
}

static rrt_status take_threshold(rrt__calibrated_exit *to, const json_t *json, rrt_error *err)
{
    int64_t loops;
    RRT__TRY(take_text(to->rule, sizeof to->rule, json, "rule", err));
    RRT__TRY(take_text(to->kv, sizeof to->kv, json, "kv", err));
    RRT__TRY(take_text(to->kv_type, sizeof to->kv_type, json, "kv_type", err));
    RRT__TRY(rrt__json_int(json, "loops", 1, RRT__MAX_DEPTHS, &loops, err));
    RRT__TRY(rrt__json_real_or(json, "threshold", 0, &to->threshold, err));
    RRT__TRY(rrt__json_real_or(json, "agreement", 0, &to->agreement, err));
    RRT__TRY(rrt__json_real_or(json, "mean_loops", (double)loops, &to->mean_loops, err));
    to->loops = (int)loops;
    return RRT_STATUS_OK;
}

static rrt_status load(rrt_model *model, const json_t *json, rrt_error *err)
{
    const char *weights;
    char fingerprint[17];
    json_t *list, *item;
    size_t i;
    RRT__TRY(rrt__json_string(json, "weights", &weights, err));
    RRT__TRY(rrt__json_array(json, "thresholds", &list, err));
    set_fingerprint(fingerprint, model);
    model->has_stale_thresholds = strcmp(weights, fingerprint) != 0;
    if (model->has_stale_thresholds) return RRT_STATUS_OK;
    if (json_array_size(list) > MAX_THRESHOLDS)
        return rrt__fail(err, RRT_STATUS_FORMAT, "more than %d thresholds", MAX_THRESHOLDS);
    RRT__TRY(rrt__arena_alloc(&model->arena, &model->calibrated, json_array_size(list),
                              sizeof *model->calibrated, "exit thresholds", err));
    json_array_foreach(list, i, item)
    {
        RRT__TRY(take_threshold(&model->calibrated[i], item, err));
        model->n_calibrated++;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__exit_thresholds_load(rrt_model *model, const char *path, rrt_error *err)
{
    char file[4096];
    json_t *json;
    if (find_file(file, path, NULL) || !rrt__path_exists(file)) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_read(&json, file, err));
    rrt_status status = load(model, json, err);
    json_decref(json);
    if (!status) return RRT_STATUS_OK;
    rrt__at(err, status, "%s", file);
    return rrt__hint(err, status, "remove it, and calibrate again: rrt eval exits … --save");
}

// --- writing

static bool is_replaced(const rrt__calibrated_exit *old, const rrt__calibrated_exit *by)
{
    return strcmp(old->rule, by->rule) == 0 && strcmp(old->kv, by->kv) == 0 &&
           strcmp(old->kv_type, by->kv_type) == 0 && old->loops == by->loops;
}

static void append(json_t *list, const rrt__calibrated_exit *c)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:f, s:f, s:f}", "rule", c->rule, "kv", c->kv,
                                          "kv_type", c->kv_type, "loops", c->loops, "threshold", c->threshold,
                                          "agreement", c->agreement, "mean_loops", c->mean_loops));
}

static rrt_status write(const json_t *json, const char *file, rrt_error *err)
{
    rrt__destination destination = {0};
    rrt_status status = rrt__destination_open(&destination, file, RRT__DESTINATION_FILE, true, err);
    if (!status) status = rrt__json_write(json, destination.temporary, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    rrt__destination_discard(&destination);
    return status;
}

rrt_status rrt__exit_thresholds_write(const char *path, const rrt__calibrated_exit *replaced,
                                      const rrt__calibrated_exit *added, size_t count, rrt_error *err)
{
    rrt_model *stored;
    char file[4096], fingerprint[17];
    RRT__TRY(find_file(file, path, err));
    RRT__TRY(rrt_model_open_deferred(&stored, path, NULL, err));
    json_t *list = json_array();
    for (size_t i = 0; i < stored->n_calibrated; i++)
        if (!is_replaced(&stored->calibrated[i], replaced)) append(list, &stored->calibrated[i]);
    for (size_t i = 0; i < count; i++) append(list, &added[i]);
    set_fingerprint(fingerprint, stored);
    json_t *json = json_pack("{s:s, s:o}", "weights", fingerprint, "thresholds", list);
    rrt_status status = write(json, file, err);
    json_decref(json);
    rrt_model_close(stored);
    return status;
}
