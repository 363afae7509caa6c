// rrt chat: turn by turn, with the model's chat template.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/generation.h"
#include "tokenizer/chat.h"

typedef struct arguments {
    rrt__cli_common common;
    rrt__cli_model model;
    const char *system, *template, *template_file, *kwargs;
    bool shows_prompt;
    rrt__generation_arguments generation;
} arguments;

typedef struct conversation {
    const arguments *arguments;
    rrt__generation generation;
    rrt__string template_text;
    rrt_chat *chat;
    json_t *messages, *kwargs;
} conversation;

static rrt_status read_kwargs(conversation *c, rrt_error *err)
{
    const char *text = c->arguments->kwargs;
    if (!text) return RRT_STATUS_OK;
    rrt_status status = rrt__json_parse(&c->kwargs, text, strlen(text), err);
    if (status || !json_is_object(c->kwargs))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "--chat-template-kwargs has to be a JSON object");
    return RRT_STATUS_OK;
}

static rrt_status parse(arguments *a, conversation *c, int argc, char **argv, rrt_error *err)
{
    enum { OWN = RRT__CLI_MODEL_OPTIONS + 6 };
    rrt__generation *g = &c->generation;
    rrt__option options[OWN + RRT__GENERATION_OPTIONS] = {
        RRT__CLI_MODEL_ROWS(&a->model),
        {0, "system", "TEXT", RRT__OPTION_STRING, &a->system, 0, 0, "a system message"},
        {0, "chat-template", "TEXT", RRT__OPTION_STRING, &a->template, 0, 0,
         "a chat template in Jinja, or the name of one of the model's (default: its own)"},
        {0, "chat-template-file", "FILE", RRT__OPTION_STRING, &a->template_file, 0, 0,
         "the same from a file"},
        {0, "chat-template-kwargs", "JSON", RRT__OPTION_STRING, &a->kwargs, 0, 0,
         "more variables for the template ('{\"enable_thinking\": false}')"},
        {0, "show-prompt", NULL, RRT__OPTION_FLAG, &a->shows_prompt, 0, 0,
         "write what the template makes of the conversation to standard error"},
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
    RRT__TRY(rrt__cli_read_template(&c->template_text, a->template_file, &a->template, err));
    return read_kwargs(c, err);
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

static rrt_status say(conversation *c, const char *role, const char *text, size_t length, rrt_error *err)
{
    json_t *content = rrt__json_text(text, length);
    json_t *message = content ? json_pack("{s:s, s:o}", "role", role, "content", content) : NULL;
    if (!message || json_array_append_new(c->messages, message))
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for a conversation");
    return RRT_STATUS_OK;
}

// The whole conversation is rendered each time: templates may change what was said before (most take out what
// the model thought). The engine finds what stayed the same in its pages.
static rrt_status ask(conversation *c, rrt_error *err)
{
    rrt_chat_prompt prompt;
    json_t *adapted;
    rrt__generation *g = &c->generation;
    const rrt__render_options options = {.arguments = c->kwargs, .add_generation_prompt = true};
    RRT__TRY(rrt__chat_adapt(c->chat, c->messages, true, &adapted, err));
    rrt_status status = rrt__chat_to_text(c->chat, adapted, &options, &prompt, err);
    json_decref(adapted);
    if (status == RRT_STATUS_ARGUMENT)
        status = err->status = RRT_STATUS_FORMAT; // of what is said, no option's
    if (status) return rrt__at(err, status, "the conversation");
    if (c->arguments->shows_prompt) {
        fwrite(prompt.text, 1, prompt.length, stderr);
        fputc('\n', stderr);
        if (prompt.has_bos) fputs("(it begins with BOS: the tokenizer adds no second one)\n", stderr);
    }
    g->n_history = 0;
    status = rrt__generation_add(g, prompt.ids, prompt.n_ids, err);
    rrt_chat_prompt_free(&prompt);
    return status;
}

static rrt_status answer(conversation *c, rrt_error *err)
{
    rrt__generation *g = &c->generation;
    RRT__TRY(rrt__generation_run(g, err));
    putchar('\n');
    fflush(stdout);
    if (strcmp(g->stop, "context") == 0)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the conversation has filled the context of %zu tokens",
                         g->context);
    return say(c, "assistant", g->text.data, g->text.length, err);
}

static rrt_status converse(conversation *c, rrt_error *err)
{
    char *line = NULL;
    size_t capacity = 0;
    const char *system = c->arguments->system;
    rrt_status status = system ? say(c, "system", system, strlen(system), err) : RRT_STATUS_OK;
    if (!status) status = read_line(&line, &capacity, err);
    while (!status && line) {
        status = say(c, "user", line, strlen(line), err);
        if (!status) status = ask(c, err);
        if (!status) status = answer(c, err);
        if (!status) status = read_line(&line, &capacity, err);
    }
    free(line);
    return status;
}

int rrt__cli_chat(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {0};
    conversation c = {.arguments = &a, .generation.request.max_tokens = 1024, .messages = json_array()};
    rrt_model *model = NULL;
    rrt_status status;

    RRT__GOTO(parse(&a, &c, argc, argv, &err));
    RRT__GOTO(rrt__cli_open_model(&model, &a.model, a.common.threads, &err));
    RRT__GOTO(rrt__generation_start(&c.generation, &a.generation, model, a.common.threads, &err));
    RRT__GOTO(rrt_chat_open(&c.chat, c.generation.tokenizer, a.template, &err));
    RRT__GOTO(converse(&c, &err));
done:
    rrt__generation_free(&c.generation);
    rrt_chat_close(c.chat);
    rrt__string_free(&c.template_text);
    json_decref(c.messages);
    json_decref(c.kwargs);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
