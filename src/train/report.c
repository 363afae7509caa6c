// Several runs' logs as one page that needs nothing else.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/page.h"
#include "rrt/train.h"

enum { MAX_ROWS = 2000 }; // of one run: more cannot be seen

// The log's lines as a JSON array, thinned out.
static rrt_status read_rows(json_t *rows, const char *text, rrt_error *err)
{
    size_t lines = 0, line = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++) lines++;
    size_t stride = lines / MAX_ROWS + 1;
    for (const char *end; text && (end = strchr(text, '\n')); text = end + 1, line++) {
        json_t *row;
        if (line % stride && line + 1 < lines && !memmem(text, (size_t)(end - text), "\"event\"", 7))
            continue;
        rrt_status status = rrt__json_parse(&row, text, (size_t)(end - text), err);
        if (status) return rrt__at(err, status, "line %zu", line + 1);
        json_array_append_new(rows, row);
    }
    return RRT_STATUS_OK;
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
    json_array_append_new(runs, json_pack("{s:s, s:o}", "name", folder, "rows", rows));
    return RRT_STATUS_OK;
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
