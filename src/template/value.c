// Truth, equality and order as in Python; sequences.
#include <string.h>

#include "base/utf8.h"
#include "template/run.h"

const char *rrt__type_name(const rrt__value *value)
{
    static const char *const names[] = {
        "missing",     "Undefined", "NoneType", "bool",   "int",       "float",  "str",
        "list",        "tuple",     "range",    "dict",   "generator", "dict",   "Namespace",
        "LoopContext", "Macro",     "function", "method", "Cycler",    "Joiner",
    };
    if (value->kind == RRT__VALUE_VIEW) return value->sequence->name;
    return value->is_markup ? "Markup" : names[value->kind];
}

bool rrt__is_true(const rrt__value *value)
{
    switch (value->kind) {
    case RRT__VALUE_MISSING:
    case RRT__VALUE_UNDEFINED:
    case RRT__VALUE_NONE:
        return false;
    case RRT__VALUE_BOOL:
        return value->truth;
    case RRT__VALUE_INT:
        return value->integer != 0;
    case RRT__VALUE_FLOAT:
        return value->real != 0;
    case RRT__VALUE_TEXT:
        return value->text.length > 0;
    case RRT__VALUE_LIST:
    case RRT__VALUE_TUPLE:
    case RRT__VALUE_RANGE:
    case RRT__VALUE_VIEW:
        return value->sequence->count > 0;
    case RRT__VALUE_DICT:
        return value->dict->count > 0;
    case RRT__VALUE_LOOP:
        return value->loop->items->count > 0;
    default:
        return true;
    }
}

bool rrt__text_is(const rrt__value *value, const char *text)
{
    return rrt__is_text(value) && value->text.length == strlen(text) &&
           memcmp(rrt__text_data(value), text, value->text.length) == 0;
}

static bool same_text(const rrt__value *a, const rrt__value *b)
{
    return a->text.length == b->text.length &&
           memcmp(rrt__text_data(a), rrt__text_data(b), a->text.length) == 0;
}

static rrt_status same_items(rrt__run *run, const rrt__value_list *a, const rrt__value_list *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const rrt__value one = rrt__value_list_at(a, i), other = rrt__value_list_at(b, i);
        RRT__TRY(rrt__equal(run, &one, &other, out));
    }
    return RRT_STATUS_OK;
}

static rrt_status same_entries(rrt__run *run, const rrt__dict *a, const rrt__dict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        rrt__value *other;
        RRT__TRY(rrt__dict_find(run, b, &a->entries[i].key, &other));
        *out = other != NULL;
        if (other) RRT__TRY(rrt__equal(run, &a->entries[i].value, other, out));
    }
    return RRT_STATUS_OK;
}

static rrt_status equal_inside(rrt__run *run, const rrt__value *a, const rrt__value *b, bool *out)
{
    if (rrt__is_whole(a) && rrt__is_whole(b)) {
        *out = rrt__whole(a) == rrt__whole(b);
        return RRT_STATUS_OK;
    }
    if (rrt__is_number(a) && rrt__is_number(b)) {
        *out = rrt__real(a) == rrt__real(b);
        return RRT_STATUS_OK;
    }
    *out = false;
    if (a->kind != b->kind) return RRT_STATUS_OK;
    switch (a->kind) {
    case RRT__VALUE_MISSING:
    case RRT__VALUE_UNDEFINED:
    case RRT__VALUE_NONE:
        *out = true;
        break;
    case RRT__VALUE_TEXT:
        *out = same_text(a, b);
        return a->text.length == b->text.length ? rrt__work(run, a->text.length) : RRT_STATUS_OK;
    case RRT__VALUE_LIST:
    case RRT__VALUE_TUPLE:
    case RRT__VALUE_RANGE:
        return same_items(run, a->sequence, b->sequence, out);
    case RRT__VALUE_DICT:
        return same_entries(run, a->dict, b->dict, out);
    default:
        *out = a->sequence == b->sequence;
        break; // the same object
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__equal(rrt__run *run, const rrt__value *a, const rrt__value *b, bool *out)
{
    rrt_status status = rrt__enter(run);
    if (!status) status = rrt__work(run, 1);
    if (!status) status = equal_inside(run, a, b, out);
    rrt__leave(run);
    return status;
}

static bool less_text(const rrt__value *a, const rrt__value *b)
{
    size_t shared = a->text.length < b->text.length ? a->text.length : b->text.length;
    int order = memcmp(rrt__text_data(a), rrt__text_data(b), shared); // UTF-8 sorts by code point
    return order ? order < 0 : a->text.length < b->text.length;
}

static rrt_status less_items(rrt__run *run, const rrt__value_list *a, const rrt__value_list *b, bool *out)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        bool same;
        RRT__TRY(rrt__equal(run, &a->items[i], &b->items[i], &same));
        if (!same) return rrt__less(run, &a->items[i], &b->items[i], out);
    }
    *out = a->count < b->count;
    return RRT_STATUS_OK;
}

rrt_status rrt__less(rrt__run *run, const rrt__value *a, const rrt__value *b, bool *out)
{
    RRT__TRY(rrt__work(run, 1));
    if (rrt__is_whole(a) && rrt__is_whole(b)) {
        *out = rrt__whole(a) < rrt__whole(b);
    } else if (rrt__is_number(a) && rrt__is_number(b)) {
        *out = rrt__real(a) < rrt__real(b);
    } else if (rrt__is_text(a) && rrt__is_text(b)) {
        *out = less_text(a, b);
        return rrt__work(run, a->text.length);
    } else if (a->kind == b->kind && (a->kind == RRT__VALUE_LIST || a->kind == RRT__VALUE_TUPLE)) {
        RRT__TRY(rrt__enter(run));
        RRT__TRY(less_items(run, a->sequence, b->sequence, out));
        rrt__leave(run);
    } else {
        RRT__TRY(rrt__check_defined(run, a));
        RRT__TRY(rrt__check_defined(run, b));
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%s' and '%s' have no order", rrt__type_name(a),
                             rrt__type_name(b));
    }
    return RRT_STATUS_OK;
}

// --- sequences ------------------------------------------------------------------------------------------

rrt_status rrt__value_list_new(rrt__run *run, rrt__kind kind, size_t capacity, rrt__value *out)
{
    rrt__value_list *sequence;
    RRT__TRY(rrt__pool_alloc(&run->pool, &sequence, 1, sizeof *sequence, run->err));
    RRT__TRY(rrt__pool_alloc(&run->pool, &sequence->items, capacity, sizeof *sequence->items, run->err));
    sequence->capacity = capacity;
    *out = (rrt__value){.kind = (unsigned char)kind, .sequence = sequence};
    return RRT_STATUS_OK;
}

rrt_status rrt__value_list_add(rrt__run *run, rrt__value *value, rrt__value item)
{
    rrt__value_list *s = value->sequence;
    RRT__TRY(rrt__work(run, 1));
    if (s->count == s->capacity) {
        rrt__value *bigger;
        size_t capacity = s->capacity * 2 + 4;
        RRT__TRY(rrt__pool_alloc(&run->pool, &bigger, capacity, sizeof *bigger, run->err));
        if (s->count) memcpy(bigger, s->items, s->count * sizeof *bigger);
        s->items = bigger;
        s->capacity = capacity;
    }
    s->items[s->count++] = item;
    return RRT_STATUS_OK;
}

static rrt_status characters_of(rrt__run *run, const rrt__value *text, rrt__value_list *out)
{
    rrt__value list;
    size_t n = 1;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, rrt__text_characters(text), &list));
    for (size_t at = 0; at < text->text.length; at += n) {
        uint32_t codepoint;
        n = rrt__utf8_decode(rrt__text_data(text) + at, text->text.length - at, &codepoint);
        RRT__TRY(rrt__value_list_add(run, &list, rrt__text_slice(text, at, at + n)));
    }
    *out = *list.sequence;
    return RRT_STATUS_OK;
}

static rrt_status list_range(rrt__run *run, rrt__value_list *s)
{
    rrt__value list;
    if (s->items) return RRT_STATUS_OK;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, s->count, &list));
    for (size_t i = 0; i < s->count; i++) RRT__TRY(rrt__value_list_add(run, &list, rrt__value_list_at(s, i)));
    s->items = list.sequence->items;
    return RRT_STATUS_OK;
}

rrt_status rrt__items_of(rrt__run *run, const rrt__value *value, rrt__value_list *out)
{
    *out = (rrt__value_list){0};
    if (value->kind == RRT__VALUE_UNDEFINED) return RRT_STATUS_OK;
    if (rrt__is_text(value)) return characters_of(run, value, out);
    if (rrt__is_sequence(value)) {
        if (value->kind == RRT__VALUE_RANGE) RRT__TRY(list_range(run, value->sequence));
        *out = *value->sequence;
        if (value->kind != RRT__VALUE_ITERATOR) return RRT_STATUS_OK;
        out->items += out->next;
        out->count -= out->next;
        value->sequence->next = value->sequence->count;
        return RRT_STATUS_OK;
    }
    if (value->kind != RRT__VALUE_DICT)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%s' cannot be gone through", rrt__type_name(value));
    rrt__value list;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, value->dict->count, &list));
    for (size_t i = 0; i < value->dict->count; i++)
        RRT__TRY(rrt__value_list_add(run, &list, value->dict->entries[i].key));
    *out = *list.sequence;
    return RRT_STATUS_OK;
}
