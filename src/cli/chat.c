// rrt chat: turn by turn, with the model's chat template.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/generation.h"

typedef struct arguments {
    rrt__cli_common common;
    const char *path, *system, *template;
    rrt__generation_arguments generation;
} arguments;

static rrt_status parse(arguments *a, rrt__generation *g, int argc, char **argv, rrt_error *err)
{
    enum { OWN = 4 };
    rrt__option options[OWN + RRT__GENERATION_OPTIONS] = {
        {'m', "model", "MODEL", RRT__OPTION_STRING, &a->path, 0, 0, "the model"},
        {0, "system", "TEXT", RRT__OPTION_STRING, &a->system, 0, 0, "a system message"},
        {0, "chat-template", "NAME", RRT__OPTION_STRING, &a->template, 0, 0,
         "chatml, gemma, llama2, llama3 or zephyr (default: by the model's own template)"},
        {'n', "tokens", "N", RRT__OPTION_SIZE, &g->request.max_tokens, 1, 1 << 24,
         "end a reply after N tokens (default 1024)"},
    };
    rrt__generation_options(options + OWN, &a->generation, g);
    const rrt__cli_usage usage = {
        "rrt chat -m MODEL",
        "Reads messages from standard input, one a line, and answers each. What looks like a special\n"
        "token in a message is text. Ends with the input (Ctrl-D).",
        options, sizeof options / sizeof *options, 0};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, NULL, err));
    if (a->common.json)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--json is for verbs that end with a result");
    g->stream = true;
    return RRT_STATUS_OK;
}

// The next line without its line break; *line NULL at the end of the input.
static rrt_status read_line(char **line, size_t *capacity, rrt_error *err)
{
    if (isatty(STDIN_FILENO)) fputs("> ", stderr);
    ssize_t length = getline(line, capacity, stdin);
    if (length < 0) {
        bool failed = ferror(stdin);
        free(*line);
        *line = NULL;
        return failed ? rrt__fail(err, RRT_STATUS_IO, "standard input: cannot read") : RRT_STATUS_OK;
    }
    if (length && (*line)[length - 1] == '\n') (*line)[length - 1] = '\0';
    return RRT_STATUS_OK;
}

// Appends the message, the first with the system message before it.
static rrt_status ask(const arguments *a, rrt__generation *g, const char *line, rrt_error *err)
{
    int32_t *ids;
    size_t count;
    bool continues = g->n_history > 0, has_system = a->system && !continues;
    const rrt_chat_message messages[] = {{"system", a->system}, {"user", line}};
    RRT__TRY(rrt_chat_encode(g->tokenizer, a->template, has_system ? messages : messages + 1,
                             has_system ? 2 : 1, continues, &ids, &count, err));
    rrt_status status = rrt__generation_add(g, ids, count, err);
    rrt_ids_free(ids);
    return status;
}

// The engine finds most of the conversation in its pages.
static rrt_status answer(rrt__generation *g, rrt_error *err)
{
    RRT__TRY(rrt__generation_run(g, err));
    putchar('\n');
    fflush(stdout);
    if (strcmp(g->stop, "context") != 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                     "the conversation has filled the model's context of %zu tokens", g->context);
}

static rrt_status converse(const arguments *a, rrt__generation *g, rrt_error *err)
{
    char *line = NULL;
    size_t capacity = 0;
    rrt_status status = read_line(&line, &capacity, err);
    while (!status && line) {
        status = ask(a, g, line, err);
        if (!status) status = answer(g, err);
        if (!status) status = read_line(&line, &capacity, err);
    }
    free(line);
    return status;
}

int rrt__cli_chat(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {0};
    rrt__generation g = {.request.max_tokens = 1024};
    rrt_model *model = NULL;
    const char *form;
    rrt_status status;

    RRT__GOTO(parse(&a, &g, argc, argv, &err));
    RRT__GOTO(rrt__cli_open_model(&model, a.path, &err));
    RRT__GOTO(rrt__generation_start(&g, &a.generation, model, a.common.threads, &err));
    RRT__GOTO(rrt_chat_find(g.tokenizer, a.template, &form, &err));
    RRT__GOTO(converse(&a, &g, &err));
done:
    rrt__generation_free(&g);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
