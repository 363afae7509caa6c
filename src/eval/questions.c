#include "eval/questions.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"

// Python's str.isspace, by which the harness strips.
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

// The text's length without trailing white space, and its number of characters.
static size_t measure(const char *text, size_t length, size_t *characters)
{
    size_t end = 0;
    *characters = 0;
    for (size_t at = 0, n; at < length; at += n, ++*characters) {
        uint32_t c;
        n = rrt__utf8_decode(text + at, length - at, &c); // never 0: jansson has checked
        if (!is_space(c)) end = at + n;
    }
    return end;
}

// Continuations follow a space, which is not counted. characters: those of `counted`.
static rrt_status add_answer(rrt__questions *q, const json_t *context, const json_t *continuation,
                             const json_t *counted, rrt_error *err)
{
    size_t head = json_string_length(context), tail = json_string_length(continuation), ignored;
    char *text;
    RRT__TRY(rrt__array_reserve(&q->texts, &q->texts_capacity, q->n_answers + 1, sizeof *q->texts, err));
    RRT__TRY(
        rrt__array_reserve(&q->answers, &q->answers_capacity, q->n_answers + 1, sizeof *q->answers, err));
    RRT__TRY(rrt__arena_alloc(&q->arena, &text, head + 1 + tail, 1, "a question", err));
    memcpy(text, json_string_value(context), head);
    text[head] = ' ';
    memcpy(text + head + 1, json_string_value(continuation), tail);
    size_t i = q->n_answers++;
    q->texts[i] = (rrt__answer_text){text, head + 1 + tail, measure(text, head, &ignored)};
    q->answers[i] = (rrt_task_answer){0};
    measure(json_string_value(counted), json_string_length(counted), &q->answers[i].characters);
    return RRT_STATUS_OK;
}

// Requires a string that is not only white space. name: its key.
static rrt_status check_text(const json_t *value, const char *name, rrt_error *err)
{
    size_t ignored;
    if (!value) return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is missing", name);
    if (!json_is_string(value)) return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\": not a string", name);
    if (measure(json_string_value(value), json_string_length(value), &ignored) == 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\": an empty text", name);
    return RRT_STATUS_OK;
}

static rrt_status check_texts(const json_t *json, const char *name, json_t **list, rrt_error *err)
{
    size_t i;
    json_t *value;
    RRT__TRY(rrt__json_array(json, name, list, err));
    if (json_array_size(*list) == 0) return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is empty", name);
    json_array_foreach(*list, i, value) RRT__TRY(check_text(value, name, err));
    return RRT_STATUS_OK;
}

static const struct {
    const char *list, *single; // keys; the list differs from answer to answer
    const char *example;
} forms[] = {
    [RRT__QUESTION_CHOICES] = {"choices", "context",
                               "{\"context\": …, \"choices\": [\"a\", \"b\"], \"gold\": 0}"},
    [RRT__QUESTION_CONTEXTS] = {"contexts", "target",
                                "{\"contexts\": [\"a\", \"b\"], \"target\": …, \"gold\": 0}"},
    [RRT__QUESTION_TARGET] = {NULL, "context", "{\"context\": …, \"target\": …}"},
};

static rrt_status add_answers(rrt__questions *q, const json_t *json, rrt__question_form form, rrt_error *err)
{
    const char *key = forms[form].list;
    json_t *list, *value, *single = json_object_get(json, forms[form].single);
    size_t i;
    int64_t gold;
    RRT__TRY(check_text(single, forms[form].single, err));
    if (!key) {
        const json_t *target = json_object_get(json, "target");
        RRT__TRY(check_text(target, "target", err));
        return add_answer(q, single, target, target, err);
    }
    RRT__TRY(check_texts(json, key, &list, err));
    RRT__TRY(rrt__json_int(json, "gold", 0, (int64_t)json_array_size(list) - 1, &gold, err));
    q->items[q->count].gold = (size_t)gold;
    bool is_context = form == RRT__QUESTION_CONTEXTS;
    json_array_foreach(list, i, value)
        RRT__TRY(add_answer(q, is_context ? value : single, is_context ? single : value, value, err));
    return RRT_STATUS_OK;
}

static rrt_status add_question(rrt__questions *q, const char *text, size_t length, size_t line,
                               rrt__question_form form, rrt_error *err)
{
    json_t *json;
    RRT__TRY(rrt__array_reserve(&q->items, &q->capacity, q->count + 1, sizeof *q->items, err));
    RRT__TRY(rrt__json_parse(&json, text, length, err));
    q->items[q->count] = (rrt__question){.line = line, .first = q->n_answers};
    rrt_status status = json_is_object(json) ? add_answers(q, json, form, err)
                                             : rrt__fail(err, RRT_STATUS_FORMAT, "not a JSON object");
    q->items[q->count].count = q->n_answers - q->items[q->count].first;
    q->count++;
    json_decref(json);
    return status;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

static rrt_status check_utf8(const char *text, size_t length, rrt_error *err)
{
    size_t at = rrt__utf8_first_invalid(text, length);
    if (at == length) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_FORMAT, "not valid UTF-8: byte %zu of the line is 0x%02x",
                                  at + 1, (unsigned char)text[at]);
    return rrt__hint(err, status, "convert the file: iconv -f ITS-ENCODING -t UTF-8");
}

static rrt_status hint_form(rrt_error *err, rrt_status status, rrt__question_form form)
{
    return status == RRT_STATUS_FORMAT
               ? rrt__hint(err, status, "each line is a question such as %s", forms[form].example)
               : status;
}

static rrt_status read_lines(rrt__questions *q, const char *text, size_t length, rrt__question_form form,
                             size_t limit, rrt_error *err)
{
    const char *end = text + length;
    for (size_t line = 1; text < end && (limit == 0 || q->count < limit); line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t bytes = (size_t)((stop ? stop : end) - text);
        rrt_status status = check_utf8(text, bytes, err);
        if (!status && !is_blank(text, bytes))
            status = hint_form(err, add_question(q, text, bytes, line, form, err), form);
        if (status) return rrt__at(err, status, "line %zu", line);
        text = stop ? stop + 1 : end;
    }
    if (q->count > 0) return RRT_STATUS_OK;
    return hint_form(err, rrt__fail(err, RRT_STATUS_FORMAT, "no questions"), form);
}

rrt_status rrt__questions_read(rrt__questions *q, const char *path, rrt__question_form form, size_t limit,
                               rrt_error *err)
{
    rrt__map map;
    *q = (rrt__questions){0};
    RRT__TRY(rrt__map_open(&map, path, err));
    rrt_status status = read_lines(q, (const char *)map.data, map.size_bytes, form, limit, err);
    rrt__map_close(&map);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

void rrt__questions_free(rrt__questions *q)
{
    rrt__free(q->items);
    rrt__free(q->texts);
    rrt__free(q->answers);
    rrt__arena_free(&q->arena);
    *q = (rrt__questions){0};
}
