// rrt chat: turn by turn, with the model's chat template.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/destination.h"
#include "cli/conversation.h"
#include "cli/generation.h"
#include "tokenizer/chat.h"

typedef struct arguments {
    rrt__cli_common common;
    rrt__cli_model model;
    const char *script, *system, *load, *save, *template, *template_file, *kwargs;
    bool shows_prompt, force, causal;
    rrt__generation_arguments generation;
} arguments;

typedef struct conversation {
    const arguments *arguments;
    rrt__generation generation;
    rrt__string template_text;
    rrt__lines lines;
    rrt_chat *chat;
    json_t *messages, *kwargs;
    json_t *replies; // what is known of each, for --json
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

// A conversation that is gone on with may be saved where it was loaded from.
static rrt_status check_usage(const arguments *a, rrt_error *err)
{
    if (a->system && a->load)
        return rrt__fail(
            err, RRT_STATUS_ARGUMENT,
            "--system and --load exclude each other: the conversation that is loaded has its own");
    if (!a->save) return RRT_STATUS_OK;
    bool is_loaded = a->load && rrt__path_is_at_or_in(a->load, a->save);
    RRT__TRY(rrt__cli_check_destination(a->save, a->force || is_loaded, a->model.path, err));
    return rrt__cli_check_destination(a->save, a->force || is_loaded, a->script, err);
}

static rrt_status parse(arguments *a, conversation *c, int argc, char **argv, rrt_error *err)
{
    enum { BEFORE = 9, AFTER = 5 };
    rrt__generation *g = &c->generation;
    rrt__option options[BEFORE + RRT__GENERATION_OPTIONS + AFTER] = {
        RRT__OPTION_GROUP("Conversation"),
        RRT__CLI_MODEL_ROW(&a->model),
        {'f', "file", "FILE", RRT__OPTION_STRING, &a->script, 0, 0,
         "user messages, one per line (default, and -: standard input)"},
        {0, "system", "TEXT", RRT__OPTION_STRING, &a->system, 0, 0, "begin with a system message"},
        {0, "load", "FILE", RRT__OPTION_STRING, &a->load, 0, 0,
         "go on with the conversation in FILE, which --save wrote"},
        {0, "save", "FILE", RRT__OPTION_STRING, &a->save, 0, 0,
         "write the conversation to FILE as JSON, after each reply"},
        {0, "force", NULL, RRT__OPTION_FLAG, &a->force, 0, 0, "replace the --save FILE if it exists"},
        {'n', "max-tokens", "N", RRT__OPTION_SIZE, &g->request.max_tokens, 1, 1 << 24,
         "end a reply after N tokens (default 1024)"},
        {0, "causal", NULL, RRT__OPTION_FLAG, &a->causal, 0, 0,
         "read prompts causally, also by a model that was trained to read them both ways"},
    };
    const rrt__option template[AFTER] = {
        RRT__OPTION_GROUP("Chat template"),
        RRT__CLI_TEMPLATE_ROWS(&a->template, &a->template_file, &a->kwargs),
        {0, "show-prompt", NULL, RRT__OPTION_FLAG, &a->shows_prompt, 0, 0,
         "write the rendered prompt to standard error"},
    };
    rrt__generation_options(options + BEFORE, &a->generation, g, &a->model);
    memcpy(options + BEFORE + RRT__GENERATION_OPTIONS, template, sizeof template);
    const rrt__cli_usage usage = {
        .line = "rrt chat -m MODEL",
        .about =
            "Answers messages, one per line, from the terminal, standard input or a file; empty lines are "
            "passed over. What looks like a special token in a message is text. /exit or Ctrl-D ends, Ctrl-C "
            "stops a reply, /reset begins again, /help lists this.",
        .examples = "rrt chat -m model.gguf --system 'You are brief.' --save chat.json\n"
                    "rrt chat -m model.gguf --load chat.json --save chat.json\n"
                    "printf 'Hello\\nTell me more\\n' | rrt chat -m model.gguf -n 100 --json",
        .options = options,
        .n_options = sizeof options / sizeof *options};
    RRT__TRY(rrt__cli_parse(&usage, argc, argv, &a->common, NULL, err));
    RRT__TRY(check_usage(a, err));
    g->stream = !a->common.json;
    RRT__TRY(rrt__cli_read_template(&c->template_text, a->template_file, &a->template, err));
    return read_kwargs(c, err);
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

static rrt_status note_reply(conversation *c, rrt_error *err)
{
    const rrt__generation *g = &c->generation;
    json_t *ids = json_copy(g->ids), *depths = json_copy(g->exit_depths),
           *reply = json_pack("{s:o, s:o, s:f, s:s}", "ids", ids, "exit_depths", depths, "tokens_per_s",
                              rrt__generation_speed(g), "stop", g->stop);
    if (reply && !json_array_append_new(c->replies, reply)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for a conversation");
}

static rrt_status save(const conversation *c, rrt_error *err)
{
    const char *path = c->arguments->save;
    return path ? rrt__conversation_save(c->messages, path, err) : RRT_STATUS_OK;
}

// Ctrl-C ends a reply, which is kept as far as it goes. At a terminal the conversation goes on.
static rrt_status go_on_after_signal(const conversation *c, int signal, rrt_error *err)
{
    if (signal && !(signal == SIGINT && c->lines.is_typed))
        return rrt__fail(err, RRT_STATUS_CANCELLED, "interrupted");
    rrt__cli_release_signals();
    return RRT_STATUS_OK;
}

static rrt_status answer(conversation *c, rrt_error *err)
{
    rrt__generation *g = &c->generation;
    RRT__TRY(ask(c, err));
    rrt__cli_catch_signals();
    RRT__TRY(rrt__generation_run(g, err));
    if (g->stream) putchar('\n');
    fflush(stdout);
    if (strcmp(g->stop, "context") == 0)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the conversation has filled the context of %zu tokens",
                         g->context);
    RRT__TRY(say(c, "assistant", g->text.text.data, g->text.text.length, err));
    RRT__TRY(note_reply(c, err));
    RRT__TRY(save(c, err));
    return go_on_after_signal(c, rrt__cli_caught_signal(), err);
}

// --- what the user says

// What a conversation begins with: a system message, or one that was loaded, which may wait for its reply.
static rrt_status begin(conversation *c, rrt_error *err)
{
    const arguments *a = c->arguments;
    if (a->system) return say(c, "system", a->system, strlen(a->system), err);
    if (!a->load) return RRT_STATUS_OK;
    json_decref(c->messages);
    c->messages = NULL;
    RRT__TRY(rrt__conversation_load(&c->messages, a->load, err));
    const json_t *last = json_array_get(c->messages, json_array_size(c->messages) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    return role && strcmp(role, "user") == 0 ? answer(c, err) : RRT_STATUS_OK;
}

static void reset(conversation *c)
{
    const char *role = json_string_value(json_object_get(json_array_get(c->messages, 0), "role"));
    size_t kept = role && strcmp(role, "system") == 0;
    while (json_array_size(c->messages) > kept) json_array_remove(c->messages, kept);
    fputs("rrt: a new conversation\n", stderr);
}

// Whether a line is a command; it is done, but for /exit.
static bool is_command(conversation *c, const char *line, size_t length, bool *ends)
{
    static const char *const names[] = {"/exit", "/reset", "/help"};
    int command = 0;
    while (command < 3 && !(strlen(names[command]) == length && !memcmp(names[command], line, length)))
        command++;
    if (command == 0) *ends = true;
    if (command == 1) reset(c);
    if (command == 2)
        fputs("/exit   end (also Ctrl-D)\n"
              "/reset  forget the conversation, but for the system message\n"
              "/help   print this\n"
              "Ctrl-C  stop the reply that is being written\n",
              stderr);
    return command < 3;
}

static rrt_status converse(conversation *c, rrt_error *err)
{
    const char *line;
    size_t length;
    bool ends = false;
    RRT__TRY(begin(c, err));
    for (;;) {
        RRT__TRY(rrt__lines_next(&c->lines, &line, &length, err));
        if (!line) return RRT_STATUS_OK;
        bool is_done = length == 0 || is_command(c, line, length, &ends);
        if (ends) return RRT_STATUS_OK;
        if (is_done) continue;
        RRT__TRY(say(c, "user", line, length, err));
        RRT__TRY(answer(c, err));
    }
}

int rrt__cli_chat(int argc, char **argv)
{
    rrt_error err = {0};
    arguments a = {0};
    conversation c = {.arguments = &a,
                      .generation.request.max_tokens = 1024,
                      .messages = json_array(),
                      .replies = json_array()};
    rrt_model *model = NULL;
    rrt_model_info info;
    rrt_status status;

    RRT__GOTO(parse(&a, &c, argc, argv, &err));
    RRT__GOTO(rrt__lines_open(&c.lines, a.script, &err));
    rrt__cli_take_kv(&a.model, &c.generation.request.kv);
    RRT__GOTO(rrt__cli_open_model(&model, &a.model, a.common.threads, &err));
    rrt_model_describe(model, &info);
    c.generation.request.prefix_lm = info.prefix_lm && !a.causal;
    RRT__GOTO(rrt__generation_start(&c.generation, &a.generation, model, a.common.threads, &err));
    RRT__GOTO(rrt_chat_open(&c.chat, c.generation.tokenizer, a.template, &err));
    RRT__GOTO(converse(&c, &err));
    if (a.common.json)
        RRT__GOTO(
            rrt__cli_print_json(json_pack("{s:O, s:O}", "messages", c.messages, "replies", c.replies), &err));
done:
    rrt__generation_free(&c.generation);
    rrt__lines_close(&c.lines);
    rrt_chat_close(c.chat);
    rrt__string_free(&c.template_text);
    json_decref(c.messages);
    json_decref(c.replies);
    json_decref(c.kwargs);
    rrt_model_close(model);
    return rrt__cli_finish(status, &err);
}
