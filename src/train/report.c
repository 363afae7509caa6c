// Several runs' logs as one page that needs nothing else.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "rrt/train.h"
#include "train/report_page.h"

enum { MOST_ROWS = 2000 }; // of one run: more cannot be seen

// The log's lines as a JSON array, thinned out.
static rrt_status read_rows(json_t *rows, const char *text, rrt_error *err)
{
    size_t lines = 0, line = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++) lines++;
    size_t stride = lines / MOST_ROWS + 1;
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

// The page with the runs in the place of its marker. A "<" in a name could end the script that they stand in.
static rrt_status compose(rrt__string *page, const char *runs, rrt_error *err)
{
    static const char marker[] = "/*RUNS*/[]";
    const char *text = (const char *)rrt__report_page, *end = text + rrt__report_page_bytes;
    const char *place = memmem(text, rrt__report_page_bytes, marker, strlen(marker));
    RRT__TRY(rrt__string_append(page, text, (size_t)(place - text), err));
    for (const char *next; (next = strchr(runs, '<')); runs = next + 1) {
        RRT__TRY(rrt__string_append(page, runs, (size_t)(next - runs), err));
        RRT__TRY(rrt__string_append(page, "\\u003c", 6, err));
    }
    RRT__TRY(rrt__string_append(page, runs, strlen(runs), err));
    place += strlen(marker);
    return rrt__string_append(page, place, (size_t)(end - place), err);
}

static rrt_status write_page(const char *path, const json_t *runs, int overwrite, rrt_error *err)
{
    rrt__string page = {0};
    rrt__destination destination;
    char *text = json_dumps(runs, JSON_COMPACT | JSON_REAL_PRECISION(7));
    if (!text) return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the page");
    rrt_status status = compose(&page, text, err);
    free(text);
    if (!status) status = rrt__destination_open(&destination, path, false, overwrite, err);
    if (!status) {
        status = rrt__file_write(destination.temporary, page.data, page.length, err);
        if (!status) status = rrt__destination_commit(&destination, err);
        if (status) rrt__destination_discard(&destination);
    }
    rrt__string_free(&page);
    return status;
}

rrt_status rrt_train_report(const char *const *runs, size_t n_runs, const char *path, int overwrite,
                            rrt_error *err)
{
    json_t *list = json_array();
    rrt_status status = RRT_STATUS_OK;
    for (size_t i = 0; !status && i < n_runs; i++) status = read_run(list, runs[i], err);
    if (!status) status = write_page(path, list, overwrite, err);
    json_decref(list);
    return status;
}
