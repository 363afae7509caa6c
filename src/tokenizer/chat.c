// Chat templates by their signature: a model's Jinja is not run, but searched for the marks of one of a few
// known forms, which are written out here.
#include "rrt/chat.h"

#include <stdio.h>
#include <string.h>

#include "tokenizer/parts.h"

typedef struct turn {
    const char *before, *after;
} turn;

typedef struct form {
    const char *name;
    const char *signature[2]; // what a Jinja template of this form contains
    turn system, user, assistant;
    bool joins_system; // a system message stands inside the first user's
    bool trims;        // spaces around a message are taken off
    const char *reply; // where the assistant begins
} form;

static const form forms[] = {
    {.name = "llama3",
     .signature = {"<|start_header_id|>", "<|eot_id|>"},
     .system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
     .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
     .assistant = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"},
     .trims = true,
     .reply = "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {.name = "chatml",
     .signature = {"<|im_start|>", "<|im_end|>"},
     .system = {"<|im_start|>system\n", "<|im_end|>\n"},
     .user = {"<|im_start|>user\n", "<|im_end|>\n"},
     .assistant = {"<|im_start|>assistant\n", "<|im_end|>\n"},
     .reply = "<|im_start|>assistant\n"},
    {.name = "gemma",
     .signature = {"<start_of_turn>", "<end_of_turn>"},
     .system = {"", "\n\n"},
     .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},
     .assistant = {"<start_of_turn>model\n", "<end_of_turn>\n"},
     .joins_system = true,
     .trims = true,
     .reply = "<start_of_turn>model\n"},
    {.name = "llama2",
     .signature = {"[INST]", "<<SYS>>"},
     .system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     .user = {"<s>[INST] ", " [/INST]"},
     .assistant = {" ", " </s>"},
     .joins_system = true,
     .trims = true,
     .reply = ""},
    {.name = "zephyr",
     .signature = {"<|assistant|>", "eos_token"},
     .system = {"<|system|>\n", "</s>\n"},
     .user = {"<|user|>\n", "</s>\n"},
     .assistant = {"<|assistant|>\n", "</s>\n"},
     .reply = "<|assistant|>\n"},
};
enum { FORM_COUNT = sizeof forms / sizeof *forms };

static rrt_status fail_unknown(rrt_error *err, rrt_status status, const char *what)
{
    char known[128] = "";
    for (int i = 0; i < FORM_COUNT; i++) {
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", forms[i].name);
    }
    rrt__fail(err, status, "%s", what);
    return rrt__hint(err, status, "the chat templates that can be named are: %s", known);
}

static rrt_status find(const form **out, const rrt_tokenizer *tokenizer, const char *name, rrt_error *err)
{
    const char *jinja = tokenizer->chat_template;
    for (*out = forms; *out < forms + FORM_COUNT; ++*out) {
        if (name && strcmp(name, (*out)->name) == 0) return RRT_STATUS_OK;
        if (!name && jinja && strstr(jinja, (*out)->signature[0]) && strstr(jinja, (*out)->signature[1]))
            return RRT_STATUS_OK;
    }
    if (name) {
        char what[128];
        snprintf(what, sizeof what, "the chat template '%.60s' is not known", name);
        return fail_unknown(err, RRT_STATUS_ARGUMENT, what);
    }
    return fail_unknown(err, RRT_STATUS_UNSUPPORTED,
                        jinja ? "the model's chat template is of no known form"
                              : "the model has no chat template");
}

rrt_status rrt_chat_find(const rrt_tokenizer *tokenizer, const char *name, const char **out, rrt_error *err)
{
    const form *found;
    RRT__TRY(find(&found, tokenizer, name, err));
    *out = found->name;
    return RRT_STATUS_OK;
}

// The system message that ChatML templates write where the conversation has none: what stands between the
// marks in their Jinja, if that is text and no expression.
static rrt__slice default_system(const form *f, const char *jinja)
{
    static const char mark[] = "<|im_start|>system", end_mark[] = "<|im_end|>";
    const char *at = jinja && strcmp(f->name, "chatml") == 0 ? strstr(jinja, mark) : NULL;
    for (; at; at = strstr(at, mark)) {
        at += strlen(mark);
        size_t line = *at == '\n' ? 1 : strncmp(at, "\\n", 2) == 0 ? 2 : 0;
        const char *end = line ? strstr(at, end_mark) : NULL;
        size_t length = end ? (size_t)(end - at) - line : 0;
        if (length && !memchr(at + line, '\'', length) && !memchr(at + line, '"', length) &&
            !memchr(at + line, '{', length))
            return (rrt__slice){at + line, length};
    }
    return (rrt__slice){NULL, 0};
}

typedef struct rendering {
    const form *form;
    rrt__string text;
    rrt__range *plain; // where messages stand
    size_t n_plain;
} rendering;

static rrt_status put(rendering *r, const char *text, rrt_error *err)
{
    return rrt__string_append(&r->text, text, strlen(text), err);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static rrt_status put_content(rendering *r, rrt__slice content, rrt_error *err)
{
    for (; r->form->trims && content.length && is_space(*content.data); content.length--) content.data++;
    while (r->form->trims && content.length && is_space(content.data[content.length - 1])) content.length--;
    size_t begin = r->text.length;
    RRT__TRY(rrt__string_append(&r->text, content.data, content.length, err));
    r->plain[r->n_plain++] = (rrt__range){begin, r->text.length};
    return RRT_STATUS_OK;
}

static rrt_status put_turn(rendering *r, const turn *around, rrt__slice content, rrt_error *err)
{
    RRT__TRY(put(r, around->before, err));
    RRT__TRY(put_content(r, content, err));
    return put(r, around->after, err);
}

static rrt__slice slice(const char *text)
{
    return (rrt__slice){text, strlen(text)};
}

static rrt_status render(rendering *r, const rrt_chat_message *messages, size_t count, rrt__slice system,
                         rrt_error *err)
{
    const form *f = r->form;
    if (system.data && !f->joins_system) RRT__TRY(put_turn(r, &f->system, system, err));
    for (size_t i = 0; i < count; i++) {
        const char *role = messages[i].role;
        rrt__slice content = slice(messages[i].content);
        if (i == 0 && strcmp(role, "system") == 0) continue; // it is `system`
        if (strcmp(role, "assistant") == 0) {
            RRT__TRY(put_turn(r, &f->assistant, content, err));
            continue;
        }
        if (strcmp(role, "user") != 0)
            return rrt__fail(
                err, RRT_STATUS_ARGUMENT,
                "message %zu has the role '%.40s': user and assistant are possible, and system first", i,
                role);
        RRT__TRY(put(r, f->user.before, err));
        if (system.data && f->joins_system) RRT__TRY(put_turn(r, &f->system, system, err));
        system = (rrt__slice){NULL, 0};
        RRT__TRY(put_content(r, content, err));
        RRT__TRY(put(r, f->user.after, err));
    }
    return put(r, f->reply, err);
}

rrt_status rrt_chat_encode(const rrt_tokenizer *tokenizer, const char *name, const rrt_chat_message *messages,
                           size_t count, int continues, int32_t **ids, size_t *n_ids, rrt_error *err)
{
    rendering r = {0};
    *ids = NULL;
    *n_ids = 0;
    if (count == 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "a conversation without a message");
    RRT__TRY(find(&r.form, tokenizer, name, err));
    rrt__slice system = {NULL, 0};
    if (!continues) system = default_system(r.form, tokenizer->chat_template);
    if (strcmp(messages[0].role, "system") == 0) system = slice(messages[0].content);
    rrt_status status;
    RRT__GOTO(rrt__alloc(&r.plain, count + 1, sizeof *r.plain, "a conversation", err));
    RRT__GOTO(put(&r, continues ? r.form->assistant.after : "", err));
    RRT__GOTO(render(&r, messages, count, system, err));
    rrt__slice bos = tokenizer->bos >= 0 ? rrt__vocab_text(&tokenizer->vocab, tokenizer->bos) : slice("");
    bool has_bos = bos.length && r.text.length >= bos.length && !memcmp(r.text.data, bos.data, bos.length);
    const rrt_encode_options options = {.add_bos = !continues && tokenizer->adds_bos && !has_bos,
                                        .parse_special = 1};
    RRT__GOTO(
        rrt__encode(tokenizer, r.text.data, r.text.length, &options, r.plain, r.n_plain, ids, n_ids, err));
done:
    rrt__string_free(&r.text);
    rrt__free(r.plain);
    return status;
}
