// Compiles and renders templates.
#include "template/template.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/locale.h"
#include "base/utf8.h"
#include "template/template_inside.h"

rrt_status rrt__run_fail(rrt__run *run, rrt_status status, const char *format, ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (status == RRT_STATUS_ARGUMENT) return rrt__fail(run->err, status, "%s", what); // its message
    return rrt__fail(run->err, status, "chat template, line %d: %s", run->line, what);
}

// Converts line breaks to \n and drops one at the end, like Jinja.
static rrt_status copy_source(rrt__run *run, const char *text, size_t length, char **out, size_t *out_length)
{
    RRT__TRY(rrt__pool_alloc(&run->pool, out, length + 1, 1, run->err));
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n') continue;
        (*out)[n++] = text[i] == '\r' ? '\n' : text[i];
    }
    *out_length = n && (*out)[n - 1] == '\n' ? n - 1 : n;
    return RRT_STATUS_OK;
}

static rrt_status check_source(rrt__run *run, const char *text, size_t length)
{
    if (length > RRT__TEMPLATE_MAX_BYTES)
        return rrt__fail(run->err, RRT_STATUS_UNSUPPORTED,
                         "the chat template has %zu bytes: at most %d are possible", length,
                         RRT__TEMPLATE_MAX_BYTES);
    size_t invalid = rrt__utf8_first_invalid(text, length);
    if (invalid < length)
        return rrt__fail(run->err, RRT_STATUS_FORMAT, "the chat template is not valid UTF-8 at byte %zu",
                         invalid);
    return RRT_STATUS_OK;
}

static rrt_status parse(rrt__run *run, rrt__template *result, const char *text, size_t length)
{
    char *source;
    rrt__lexeme *tokens;
    size_t count;
    RRT__TRY(check_source(run, text, length));
    RRT__TRY(copy_source(run, text, length, &source, &length));
    RRT__TRY(rrt__lex(run, source, length, &tokens, &count));
    rrt__parser parser = {.run = run, .result = result, .at = tokens};
    return rrt__parse_template(&parser);
}

rrt_status rrt__template_compile(rrt__template **out, const char *text, size_t length, rrt_error *err)
{
    rrt__template *result;
    *out = NULL;
    RRT__TRY(rrt__alloc(&result, 1, sizeof *result, "a chat template", err));
    rrt__run run = {.pool.max = RRT__TEMPLATE_MAX_MEMORY, .err = err, .line = 1};
    locale_t before = rrt__locale_enter();
    rrt_status status = parse(&run, result, text, length);
    rrt__locale_leave(before);
    result->pool = run.pool;
    if (status)
        rrt__template_free(result);
    else
        *out = result;
    return status;
}

void rrt__template_free(rrt__template *compiled)
{
    if (!compiled) return;
    rrt__pool_free(&compiled->pool);
    rrt__free(compiled);
}

bool rrt__template_has_generation(const rrt__template *compiled)
{
    return compiled->has_generation;
}

// --- rendering ------------------------------------------------------------------------------------------

static rrt_status set_inputs(rrt__run *run, const rrt__template_input *inputs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const rrt__name *name = rrt__name_find(&run->compiled->names, inputs[i].name, strlen(inputs[i].name));
        rrt__value value;
        if (!name) continue;
        RRT__TRY(rrt__value_of_json(run, inputs[i].value, inputs[i].is_trusted ? 0 : RRT__MARK_INPUT,
                                    inputs[i].word_key, &value));
        RRT__TRY(rrt__scope_set(run, run->scope, name, value));
    }
    return RRT_STATUS_OK;
}

static rrt_status copy_out(const rrt__value *text, rrt__rendered *out, rrt_error *err)
{
    size_t length = text->kind == RRT__VALUE_TEXT ? rrt__text_length(text) : 0;
    RRT__TRY(rrt__string_append(&out->text, length ? rrt__text_data(text) : "", length, err));
    RRT__TRY(rrt__array_reserve(&out->marks.data, &out->marks.capacity, length + 1, 1, err));
    for (size_t i = 0; i < length; i++) out->marks.data[i] = (char)rrt__text_mark(text, i);
    out->marks.length = length;
    return RRT_STATUS_OK;
}

rrt_status rrt__template_render(const rrt__template *compiled, const rrt__template_input *inputs,
                                size_t count, time_t now, rrt__rendered *out, rrt_error *err)
{
    rrt__value text = {0};
    rrt__scope globals = {0}, top = {.outer = &globals};
    rrt__run run = {.compiled = compiled,
                    .pool.max = RRT__TEMPLATE_MAX_MEMORY,
                    .err = err,
                    .scope = &globals,
                    .out = &text,
                    .line = 1,
                    .now = now};
    *out = (rrt__rendered){0};
    locale_t before = rrt__locale_enter();
    rrt_status status = set_inputs(&run, inputs, count);
    run.scope = &top;
    if (!status) status = rrt__execute(&run, compiled->body);
    if (!status) status = copy_out(&text, out, err);
    rrt__locale_leave(before);
    rrt__pool_free(&run.pool);
    return status;
}

void rrt__rendered_free(rrt__rendered *rendered)
{
    rrt__string_free(&rendered->text);
    rrt__string_free(&rendered->marks);
}
