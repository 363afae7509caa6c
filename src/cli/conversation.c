#include "cli/conversation.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/destination.h"
#include "base/file.h"

rrt_status rrt__lines_open(rrt__lines *l, const char *path, rrt_error *err)
{
    bool is_input = !path || strcmp(path, "-") == 0;
    *l = (rrt__lines){.file = stdin};
    if (!is_input) {
        l->path = path;
        l->file = fopen(path, "rb");
        if (!l->file) return rrt__at(err, rrt__fail_errno(err, "cannot open"), "%s", path);
        return RRT_STATUS_OK;
    }
    l->is_typed = isatty(STDIN_FILENO);
    if (l->is_typed) l->editor = rrt__line_editor_open();
    return RRT_STATUS_OK;
}

static rrt_status read_line(rrt__lines *l, const char **text, size_t *length, rrt_error *err)
{
    if (l->is_typed) fputs("> ", stderr);
    ssize_t count = getline(&l->buffer, &l->capacity, l->file);
    *text = count < 0 ? NULL : l->buffer;
    *length = count < 0 ? 0 : (size_t)count;
    if (count >= 0 || !ferror(l->file)) return RRT_STATUS_OK;
    return rrt__at(err, rrt__fail_errno(err, "cannot read"), "%s", l->path ? l->path : "standard input");
}

rrt_status rrt__lines_next(rrt__lines *l, const char **text, size_t *length, rrt_error *err)
{
    *length = 0;
    if (l->editor)
        *text = rrt__line_editor_next(l->editor, length);
    else
        RRT__TRY(read_line(l, text, length, err));
    while (*length && strchr("\r\n", (*text)[*length - 1]) && (*text)[*length - 1]) --*length;
    return RRT_STATUS_OK;
}

void rrt__lines_close(rrt__lines *l)
{
    rrt__line_editor_close(l->editor);
    if (l->path && l->file) fclose(l->file);
    free(l->buffer); // getline's
}

static rrt_status check_message(const json_t *message, size_t number, rrt_error *err)
{
    if (json_is_string(json_object_get(message, "role")) &&
        json_is_string(json_object_get(message, "content")))
        return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "message %zu has no \"role\" and \"content\" that are strings",
                     number);
}

static rrt_status take_messages(json_t **messages, const json_t *json, rrt_error *err)
{
    size_t i;
    const json_t *message, *list = json_object_get(json, "messages");
    if (!json_is_array(list))
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "not a conversation: {\"messages\": [{\"role\", \"content\"}…]}");
    json_array_foreach(list, i, message) RRT__TRY(check_message(message, i + 1, err));
    *messages = json_deep_copy(list);
    return *messages ? RRT_STATUS_OK : rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for a conversation");
}

rrt_status rrt__conversation_load(json_t **messages, const char *path, rrt_error *err)
{
    json_t *json;
    RRT__TRY(rrt__json_read(&json, path, err));
    rrt_status status = take_messages(messages, json, err);
    json_decref(json);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

rrt_status rrt__conversation_save(const json_t *messages, const char *path, rrt_error *err)
{
    rrt__destination destination = {0};
    rrt__string line = {0};
    char *text = json_dumps(messages, JSON_COMPACT);
    rrt_status status =
        text ? RRT_STATUS_OK : rrt__fail(err, RRT_STATUS_MEMORY, "cannot format a conversation");
    if (!status) status = rrt__string_append(&line, "{\"messages\":", strlen("{\"messages\":"), err);
    if (!status) status = rrt__string_append(&line, text, strlen(text), err);
    if (!status) status = rrt__string_append(&line, "}\n", 2, err);
    if (!status) status = rrt__destination_open(&destination, path, RRT__DESTINATION_FILE, true, err);
    if (!status) status = rrt__file_write(destination.temporary, line.data, line.length, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    rrt__destination_discard(&destination);
    rrt__string_free(&line);
    free(text);
    return status;
}
