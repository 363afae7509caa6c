// Several runs' logs as one page that needs nothing else.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/page.h"
#include "rrt/train.h"
#include "train/checkpoint.h"

// Of one run: more cannot be seen. The last steps stay, for the loss at the end.
enum { MAX_ROWS = 2000, LAST_ROWS = 20 };

static bool is_kept(const char *line, size_t length, size_t number, size_t lines)
{
    return number % (lines / MAX_ROWS + 1) == 0 || number + LAST_ROWS >= lines ||
           memmem(line, length, "\"event\"", 7) || memmem(line, length, "\"heldout_", 9);
}

// The log's lines as a JSON array, thinned out.
static rrt_status read_rows(json_t *rows, const char *text, rrt_error *err)
{
    size_t lines = 0, line = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++) lines++;
    for (const char *end; text && (end = strchr(text, '\n')); text = end + 1, line++) {
        json_t *row;
        if (!is_kept(text, (size_t)(end - text), line, lines)) continue;
        rrt_status status = rrt__json_parse(&row, text, (size_t)(end - text), err);
        if (status) return rrt__at(err, status, "line %zu", line + 1);
        json_array_append_new(rows, row);
    }
    return RRT_STATUS_OK;
}

// Of a file in a folder, whose object some of the page's tables are made of; nothing where it is not there.
static rrt_status read_object(json_t **json, const char *folder, const char *name, rrt_error *err)
{
    char path[4096];
    *json = NULL;
    RRT__TRY(rrt__path_join(path, folder, name, err));
    return rrt__path_exists(path) ? rrt__json_read(json, path, err) : RRT_STATUS_OK;
}

// What the page says of the model: its plan and size. One that is not complete has a checkpoint at least.
static rrt_status read_model(json_t *run, const char *folder, rrt_error *err)
{
    static const char *const keys[] = {"rrt", "model_type", "num_hidden_layers", "hidden_size", "vocab_size"};
    char checkpoints[4096], latest[4096];
    bool found;
    json_t *config, *model = json_object();
    rrt_status status = read_object(&config, folder, "config.json", err);
    if (!status && !config) {
        status = rrt__path_join(checkpoints, folder, "checkpoints", err);
        if (!status) status = rrt__checkpoint_latest(latest, checkpoints, &found, err);
        if (!status && found) status = read_object(&config, latest, "config.json", err);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set(model, keys[i], json_object_get(config, keys[i]));
    json_object_set_new(run, "model", model);
    json_decref(config);
    return status;
}

static rrt_status read_about(json_t *run, const char *folder, rrt_error *err)
{
    json_t *settings;
    RRT__TRY(read_object(&settings, folder, "settings.json", err));
    if (settings) json_object_set_new(run, "settings", settings);
    return read_model(run, folder, err);
}

static rrt_status read_run(json_t *runs, const char *folder, rrt_error *err)
{
    char path[4096];
    rrt__string text = {0};
    RRT__TRY(rrt__path_join(path, folder, "log.jsonl", err));
    RRT__TRY(rrt__file_read(&text, path, err));
    json_t *rows = json_array();
    rrt_status status = text.data ? read_rows(rows, text.data, err) : RRT_STATUS_OK;
    rrt__string_free(&text);
    if (status) {
        json_decref(rows);
        return rrt__at(err, status, "%s", path);
    }
    json_t *run = json_pack("{s:s, s:o}", "name", folder, "rows", rows);
    json_array_append_new(runs, run);
    return read_about(run, folder, err);
}

rrt_status rrt_train_report(const char *const *runs, size_t n_runs, const char *path, bool overwrite,
                            rrt_error *err)
{
    json_t *list = json_array();
    rrt_status status = RRT_STATUS_OK;
    for (size_t i = 0; !status && i < n_runs; i++) status = read_run(list, runs[i], err);
    if (!status)
        status = rrt__page_write(path, rrt__page_report, rrt__page_report_bytes, list, overwrite, err);
    json_decref(list);
    return status;
}
