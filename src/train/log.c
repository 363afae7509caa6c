#include "train/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/destination.h"
#include "base/file.h"
#include "base/locale.h"

static const char csv_header[] =
    "step,tokens,loss,cross_entropy,divergence,learning_rate,norm,tokens_per_s,seconds,event\n";

// The step that a line of either file tells: the number after `mark`; the header and other lines without one
// have none and are kept.
static uint64_t step_of(const char *line, const char *mark)
{
    if (strncmp(line, mark, strlen(mark)) != 0) return 0;
    return strtoull(line + strlen(mark), NULL, 10);
}

// Rewrites the file without the lines of later steps and without a last line that was cut off.
static rrt_status trim(const char *path, const char *mark, uint64_t step, rrt_error *err)
{
    rrt__string text = {0}, kept = {0};
    rrt__destination destination;
    if (!rrt__path_exists(path)) return RRT_STATUS_OK;
    rrt_status status;
    RRT__GOTO(rrt__file_read(&text, path, err));
    for (const char *line = text.data, *end; line && (end = strchr(line, '\n')); line = end + 1)
        if (step_of(line, mark) <= step)
            RRT__GOTO(rrt__string_append(&kept, line, (size_t)(end + 1 - line), err));
    RRT__GOTO(rrt__destination_open(&destination, path, RRT__DESTINATION_FILE, true, err));
    status = rrt__file_write(destination.temporary, kept.data, kept.length, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    if (status) rrt__destination_discard(&destination);
done:
    rrt__string_free(&text);
    rrt__string_free(&kept);
    return status;
}

static rrt_status open_one(FILE **file, const char *folder, const char *name, const char *mark, uint64_t step,
                           rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, name, err));
    RRT__TRY(trim(path, mark, step, err));
    *file = fopen(path, "a");
    return *file ? RRT_STATUS_OK : rrt__at(err, rrt__fail_errno(err, "cannot open"), "%s", path);
}

rrt_status rrt__log_open(rrt__log *log, const char *folder, uint64_t step, rrt_error *err)
{
    *log = (rrt__log){0};
    rrt_status status = open_one(&log->jsonl, folder, "log.jsonl", "{\"step\":", step, err);
    if (!status) status = open_one(&log->csv, folder, "log.csv", "", step, err);
    if (status)
        rrt__log_close(log, NULL);
    else if (ftell(log->csv) == 0)
        fputs(csv_header, log->csv);
    return status;
}

// ,"key":value with null for what JSON cannot say.
static void put_number(FILE *file, const char *key, double value)
{
    if (isfinite(value))
        fprintf(file, ",\"%s\":%.7g", key, value);
    else
        fprintf(file, ",\"%s\":null", key);
}

rrt_status rrt__log_write(rrt__log *log, const rrt__log_row *r, rrt_error *err)
{
    const char *event = r->event ? r->event : "";
    locale_t before = rrt__locale_enter();
    fprintf(log->jsonl, "{\"step\":%llu,\"tokens\":%llu", (unsigned long long)r->step,
            (unsigned long long)r->tokens);
    put_number(log->jsonl, "loss", r->loss);
    put_number(log->jsonl, "cross_entropy", r->cross_entropy);
    put_number(log->jsonl, "divergence", r->divergence);
    put_number(log->jsonl, "learning_rate", r->learning_rate);
    put_number(log->jsonl, "norm", r->norm);
    put_number(log->jsonl, "tokens_per_s", r->tokens_per_s);
    put_number(log->jsonl, "seconds", r->seconds);
    if (r->event) fprintf(log->jsonl, ",\"event\":\"%s\"", event);
    fputs("}\n", log->jsonl);
    fprintf(log->csv, "%llu,%llu,%.6f,%.6f,%.6f,%.4g,%.4g,%.1f,%.2f,%s\n", (unsigned long long)r->step,
            (unsigned long long)r->tokens, r->loss, r->cross_entropy, r->divergence, r->learning_rate,
            r->norm, r->tokens_per_s, r->seconds, event);
    rrt__locale_leave(before);
    if (fflush(log->jsonl) == 0 && fflush(log->csv) == 0) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail_errno(err, "cannot write"), "the run's log");
}

rrt_status rrt__log_write_heldout(rrt__log *log, const rrt__log_heldout *r, rrt_error *err)
{
    locale_t before = rrt__locale_enter();
    fprintf(log->jsonl, "{\"step\":%llu,\"tokens\":%llu", (unsigned long long)r->step,
            (unsigned long long)r->tokens);
    put_number(log->jsonl, "seconds", r->seconds);
    put_number(log->jsonl, r->is_kl ? "heldout_kl" : "heldout_loss", r->value);
    fputs("}\n", log->jsonl);
    rrt__locale_leave(before);
    if (fflush(log->jsonl) == 0) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail_errno(err, "cannot write"), "the run's log");
}

rrt_status rrt__log_close(rrt__log *log, rrt_error *err)
{
    rrt_status status = RRT_STATUS_OK;
    if (log->jsonl && fclose(log->jsonl) != 0) status = rrt__fail_errno(err, "cannot write the run's log");
    if (log->csv && fclose(log->csv) != 0) status = rrt__fail_errno(err, "cannot write the run's log");
    *log = (rrt__log){0};
    return status;
}
