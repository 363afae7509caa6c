#include "cli/exit_trace.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/destination.h"
#include "base/file.h"

static rrt_status fail_at(rrt_error *err, size_t line, const char *what)
{
    return rrt__fail(err, RRT_STATUS_FORMAT, "line %zu of the trace: %s", line, what);
}

static rrt_status parse_trace(rrt__exit_trace *t, const char *text, const char *end, rrt_error *err)
{
    size_t length = 0, line = 1;
    for (const char *at = text; at < end; at++) {
        if (*at == '\n') {
            if (length) t->lengths[t->requests++] = length;
            length = 0;
            line++;
        } else if (*at >= '1' && *at <= '9') {
            char *after;
            long value = strtol(at, &after, 10);
            if (value > 255) return fail_at(err, line, "loops go to 255");
            t->exits[t->tokens++] = (unsigned char)value;
            length++;
            at = after - 1;
        } else if (*at != ' ' && *at != '\t' && *at != '\r') {
            return fail_at(err, line, "only numbers of loops, from 1, with spaces between, are possible");
        }
    }
    if (length) t->lengths[t->requests++] = length;
    return t->tokens ? RRT_STATUS_OK : rrt__fail(err, RRT_STATUS_FORMAT, "the trace is empty");
}

rrt_status rrt__exit_trace_read(rrt__exit_trace *t, const char *path, rrt_error *err)
{
    rrt__string text = {0};
    RRT__TRY(rrt__file_read(&text, path, err));
    rrt_status status = rrt__alloc(&t->exits, text.length + 1, 1, "the trace", err);
    if (!status) status = rrt__alloc(&t->lengths, text.length / 2 + 2, sizeof *t->lengths, "the trace", err);
    if (!status) status = parse_trace(t, text.data ? text.data : "", text.data + text.length, err);
    rrt__string_free(&text);
    return rrt__cli_in_file(err, status, path);
}

void rrt__exit_trace_free(rrt__exit_trace *t)
{
    rrt__free(t->exits);
    rrt__free(t->lengths);
}

rrt_status rrt__exit_trace_write(const char *path, const int *loops, size_t count, size_t per_line,
                                 bool overwrite, rrt_error *err)
{
    rrt__destination destination = {0};
    rrt__string text = {0};
    rrt_status status = RRT_STATUS_OK;
    for (size_t i = 0; !status && i < count; i++) {
        char number[16];
        int length = snprintf(number, sizeof number, "%d%c", loops[i], (i + 1) % per_line ? ' ' : '\n');
        status = rrt__string_append(&text, number, (size_t)length, err);
    }
    if (!status) status = rrt__destination_open(&destination, path, RRT__DESTINATION_FILE, overwrite, err);
    if (!status) status = rrt__file_write(destination.temporary, text.data, text.length, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    rrt__destination_discard(&destination);
    rrt__string_free(&text);
    return status;
}
