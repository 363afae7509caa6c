#include "cli/line_editor.h"

#include <histedit.h>
#include <locale.h>
#include <stdio.h>

#include "base/memory.h"

enum { REMEMBERED = 1000 }; // lines

struct rrt__line_editor {
    EditLine *line;
    History *history;
    HistEvent event;
};

const char *rrt__line_editor_name(void)
{
    return "libedit";
}

static char *prompt(EditLine *line)
{
    static char text[] = "> ";
    (void)line;
    return text;
}

rrt__line_editor *rrt__line_editor_open(void)
{
    rrt__line_editor *e;
    if (rrt__alloc(&e, 1, sizeof *e, "a line editor", NULL)) return NULL;
    setlocale(LC_CTYPE, ""); // characters of more than one byte
    e->line = el_init("rrt", stdin, stderr, stderr);
    e->history = history_init();
    if (!e->line || !e->history) {
        rrt__line_editor_close(e);
        return NULL;
    }
    history(e->history, &e->event, H_SETSIZE, REMEMBERED);
    history(e->history, &e->event, H_SETUNIQUE, 1);
    el_set(e->line, EL_PROMPT, prompt);
    el_set(e->line, EL_EDITOR, "emacs");
    el_set(e->line, EL_SIGNAL, 1); // the terminal is put right before a signal ends the program
    el_set(e->line, EL_HIST, history, e->history);
    el_source(e->line, NULL); // ~/.editrc
    return e;
}

const char *rrt__line_editor_next(rrt__line_editor *e, size_t *length)
{
    int count = 0;
    const char *text = el_gets(e->line, &count);
    if (!text || count <= 0) return NULL;
    *length = (size_t)count;
    if (count > 1) history(e->history, &e->event, H_ENTER, text);
    return text;
}

void rrt__line_editor_close(rrt__line_editor *e)
{
    if (!e) return;
    if (e->line) el_end(e->line);
    if (e->history) history_end(e->history);
    rrt__free(e);
}
