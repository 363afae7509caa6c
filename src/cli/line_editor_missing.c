// Where libedit was not there at building: lines are read as the terminal gives them.
#include "cli/line_editor.h"

const char *rrt__line_editor_name(void)
{
    return "none";
}

rrt__line_editor *rrt__line_editor_open(void)
{
    return NULL;
}

const char *rrt__line_editor_next(rrt__line_editor *editor, size_t *length)
{
    (void)editor;
    (void)length;
    return NULL;
}

void rrt__line_editor_close(rrt__line_editor *editor)
{
    (void)editor;
}
