// tojson as in transformers: Python's json.dumps, without escapes for HTML.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "template/run.h"

typedef struct writer {
    rrt__run *run;
    rrt__value *out;
    rrt__value indent, between, colon; // indent: MISSING for one line
    bool is_ascii, sorts;
} writer;

static rrt_status put(writer *w, const char *text)
{
    return rrt__text_append_bytes(w->run, w->out, text, strlen(text), 0);
}

static rrt_status put_text(writer *w, const rrt__value *text)
{
    static const char simple[] = "\"\\\b\f\n\r\t";
    const char *data = rrt__text_data(text);
    size_t length = text->text.length;
    RRT__TRY(put(w, "\""));
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t c;
        char escape[16] = "";
        n = rrt__utf8_decode(data + at, length - at, &c);
        const char *found = c && c < 128 ? strchr(simple, (int)c) : NULL;
        if (found)
            snprintf(escape, sizeof escape, "\\%c", "\"\\bfnrt"[found - simple]);
        else if (c < 0x20 || (w->is_ascii && c > 0x7f && c < 0x10000))
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
        else if (w->is_ascii && c >= 0x10000)
            snprintf(escape, sizeof escape, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
                     (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
        const char *piece = escape[0] ? escape : data + at;
        RRT__TRY(rrt__text_append_bytes(w->run, w->out, piece, escape[0] ? strlen(escape) : n,
                                        rrt__text_mark(text, at)));
    }
    return put(w, "\"");
}

static rrt_status put_value(writer *w, const rrt__value *value, int level);

static rrt_status put_break(writer *w, int level)
{
    if (w->indent.kind == RRT__VALUE_MISSING) return RRT_STATUS_OK;
    RRT__TRY(put(w, "\n"));
    for (int i = 0; i < level; i++) RRT__TRY(rrt__text_append(w->run, w->out, &w->indent));
    return RRT_STATUS_OK;
}

static rrt_status put_list(writer *w, const rrt__value_list *s, int level)
{
    if (!s->count) return put(w, "[]");
    RRT__TRY(put(w, "["));
    for (size_t i = 0; i < s->count; i++) {
        if (i) RRT__TRY(rrt__text_append(w->run, w->out, &w->between));
        RRT__TRY(put_break(w, level + 1));
        RRT__TRY(put_value(w, &s->items[i], level + 1));
    }
    RRT__TRY(put_break(w, level));
    return put(w, "]");
}

static rrt_status put_number(writer *w, const rrt__value *value)
{
    char text[64];
    if (value->kind == RRT__VALUE_FLOAT) {
        rrt__float_text(value->real, text);
        if (!isfinite(value->real))
            snprintf(text, sizeof text, "%s",
                     isnan(value->real) ? "NaN"
                     : value->real < 0  ? "-Infinity"
                                        : "Infinity");
    } else if (value->kind == RRT__VALUE_BOOL) {
        snprintf(text, sizeof text, "%s", value->truth ? "true" : "false");
    } else {
        snprintf(text, sizeof text, "%" PRId64, value->integer);
    }
    return put(w, text);
}

static rrt_status put_key(writer *w, const rrt__value *key)
{
    if (rrt__is_text(key)) return put_text(w, key);
    if (key->kind != RRT__VALUE_NONE && !rrt__is_number(key))
        return rrt__run_fail(w->run, RRT_STATUS_FORMAT, "tojson of a dict with a %s as a key",
                             rrt__type_name(key));
    RRT__TRY(put(w, "\""));
    RRT__TRY(put_value(w, key, 0));
    return put(w, "\"");
}

static rrt_status sorted_entries(writer *w, const rrt__dict *dict, rrt__dict *out)
{
    rrt__value pairs, sorted, yes = rrt__bool(true);
    rrt__entry named[1] = {{.value = yes}};
    *out = *dict;
    if (!w->sorts || dict->count < 2) return RRT_STATUS_OK;
    // Sorts like dictsort, case-sensitively.
    const rrt__value self = {.kind = RRT__VALUE_DICT, .dict = out};
    const rrt__arguments arguments = {&yes, 1, named, 0};
    RRT__TRY(rrt__filter_find("dictsort", 8)->function(w->run, &self, &arguments, &sorted));
    RRT__TRY(rrt__dict_new(w->run, &pairs));
    for (size_t i = 0; i < sorted.sequence->count; i++) {
        const rrt__value *pair = sorted.sequence->items[i].sequence->items;
        RRT__TRY(rrt__dict_set(w->run, pairs.dict, pair[0], pair[1]));
    }
    *out = *pairs.dict;
    return RRT_STATUS_OK;
}

static rrt_status put_dict(writer *w, const rrt__dict *given, int level)
{
    rrt__dict dict;
    if (!given->count) return put(w, "{}");
    RRT__TRY(sorted_entries(w, given, &dict));
    RRT__TRY(put(w, "{"));
    for (size_t i = 0; i < dict.count; i++) {
        if (i) RRT__TRY(rrt__text_append(w->run, w->out, &w->between));
        RRT__TRY(put_break(w, level + 1));
        RRT__TRY(put_key(w, &dict.entries[i].key));
        RRT__TRY(rrt__text_append(w->run, w->out, &w->colon));
        RRT__TRY(put_value(w, &dict.entries[i].value, level + 1));
    }
    RRT__TRY(put_break(w, level));
    return put(w, "}");
}

static rrt_status put_inside(writer *w, const rrt__value *value, int level)
{
    switch (value->kind) {
    case RRT__VALUE_NONE:
        return put(w, "null");
    case RRT__VALUE_BOOL:
    case RRT__VALUE_INT:
    case RRT__VALUE_FLOAT:
        return put_number(w, value);
    case RRT__VALUE_TEXT:
        return put_text(w, value);
    case RRT__VALUE_LIST:
    case RRT__VALUE_TUPLE:
        return put_list(w, value->sequence, level);
    case RRT__VALUE_DICT:
        return put_dict(w, value->dict, level);
    default:
        RRT__TRY(rrt__check_defined(w->run, value));
        return rrt__run_fail(w->run, RRT_STATUS_FORMAT, "tojson of a %s", rrt__type_name(value));
    }
}

static rrt_status put_value(writer *w, const rrt__value *value, int level)
{
    rrt_status status = rrt__enter(w->run);
    if (!status) status = rrt__work(w->run, 1);
    if (!status) status = put_inside(w, value, level);
    rrt__leave(w->run);
    return status;
}

static rrt_status read_indent(writer *w, const rrt__value *given)
{
    w->indent = *given;
    if (given->kind == RRT__VALUE_NONE) w->indent.kind = RRT__VALUE_MISSING;
    if (given->kind == RRT__VALUE_MISSING || given->kind == RRT__VALUE_NONE || rrt__is_text(given))
        return RRT_STATUS_OK;
    if (!rrt__is_whole(given))
        return rrt__run_fail(w->run, RRT_STATUS_FORMAT, "tojson with an indent of a %s",
                             rrt__type_name(given));
    RRT__TRY(rrt__text_copy(w->run, "", 0, 0, &w->indent));
    for (int64_t i = 0; i < rrt__whole(given); i++)
        RRT__TRY(rrt__text_append_bytes(w->run, &w->indent, " ", 1, 0));
    return RRT_STATUS_OK;
}

static rrt_status read_separators(writer *w, const rrt__value *given)
{
    bool is_default = given->kind == RRT__VALUE_MISSING || given->kind == RRT__VALUE_NONE;
    bool in_lines = w->indent.kind != RRT__VALUE_MISSING;
    RRT__TRY(rrt__text_copy(w->run, in_lines ? "," : ", ", in_lines ? 1 : 2, 0, &w->between));
    RRT__TRY(rrt__text_copy(w->run, ": ", 2, 0, &w->colon));
    if (is_default) return RRT_STATUS_OK;
    bool is_pair = (given->kind == RRT__VALUE_LIST || given->kind == RRT__VALUE_TUPLE) &&
                   given->sequence->count == 2 && rrt__is_text(&given->sequence->items[0]) &&
                   rrt__is_text(&given->sequence->items[1]);
    if (!is_pair) return rrt__run_fail(w->run, RRT_STATUS_FORMAT, "tojson's separators are two strings");
    w->between = given->sequence->items[0];
    w->colon = given->sequence->items[1];
    return RRT_STATUS_OK;
}

rrt_status rrt__filter_tojson(rrt__run *run, const rrt__value *self, const rrt__arguments *arguments,
                              rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    writer w = {.run = run, .out = out};
    RRT__TRY(rrt__bind(run, arguments, "tojson", "ensure_ascii indent separators sort_keys", 0, given));
    w.is_ascii = rrt__is_true(&given[0]);
    w.sorts = rrt__is_true(&given[3]);
    RRT__TRY(read_indent(&w, &given[1]));
    RRT__TRY(read_separators(&w, &given[2]));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    return put_value(&w, self, 0);
}
