// Lines that somebody types at a terminal, with editing and a history of this session, by libedit where
// it was there at building.
#ifndef RRT__CLI_LINE_EDITOR_H
#define RRT__CLI_LINE_EDITOR_H

#include <stddef.h>

typedef struct rrt__line_editor rrt__line_editor;

// What edits lines, "none" without one.
const char *rrt__line_editor_name(void);

// NULL without an editor, or if it cannot begin. Prompt and echo go to stderr.
rrt__line_editor *rrt__line_editor_open(void);

// The next line with its line break; NULL at the end of the input. Valid until the next call.
const char *rrt__line_editor_next(rrt__line_editor *editor, size_t *length);
void rrt__line_editor_close(rrt__line_editor *editor);

#endif
