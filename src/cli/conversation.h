// What a chat is made of: the lines that come in, and the messages as a file keeps them.
#ifndef RRT__CLI_CONVERSATION_H
#define RRT__CLI_CONVERSATION_H

#include <stdio.h>

#include "base/json.h"
#include "cli/line_editor.h"

// The user's lines, from a file, from standard input, or typed. Zero-initialised may be closed.
typedef struct rrt__lines {
    FILE *file;
    const char *path; // NULL: standard input
    bool is_typed;    // at a terminal
    rrt__line_editor *editor;
    char *buffer;
    size_t capacity;
} rrt__lines;

// path: NULL and "-" are standard input.
rrt_status rrt__lines_open(rrt__lines *lines, const char *path, rrt_error *err);

// The next line without its line break, *text NULL at the end; valid until the next call.
rrt_status rrt__lines_next(rrt__lines *lines, const char **text, size_t *length, rrt_error *err);
void rrt__lines_close(rrt__lines *lines);

// {"messages": [{"role", "content"}…]}, as it may stand in a file to train on. *messages is new; FORMAT
// names what is wrong in the file.
rrt_status rrt__conversation_load(json_t **messages, const char *path, rrt_error *err);

// As one line of JSON, in the place of what is there: whole or not at all.
rrt_status rrt__conversation_save(const json_t *messages, const char *path, rrt_error *err);

#endif
