// Methods of lists, dicts, loops …, and the lookup of all methods. Those of strings are in text_methods.c.
#include <string.h>

#include "template/methods.h"

static rrt_status dict_get(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], *there;
    if (a->n_named) return rrt__run_fail(run, RRT_STATUS_FORMAT, "get takes no arguments by name");
    RRT__TRY(rrt__bind(run, a, "get", "key default", 1, given));
    RRT__TRY(rrt__dict_find(run, self->dict, &given[0], &there));
    *out = there ? *there : given[1].kind == RRT__VALUE_MISSING ? rrt__none() : given[1];
    return RRT_STATUS_OK;
}

static rrt_status dict_items(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "items", "", 0, none));
    RRT__TRY(rrt__dict_items(run, self->dict, RRT__VALUE_VIEW, out));
    out->sequence->name = "dict_items";
    return RRT_STATUS_OK;
}

static rrt_status dict_keys(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "keys", "", 0, none));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_VIEW, self->dict->count, out));
    out->sequence->name = "dict_keys";
    for (size_t i = 0; i < self->dict->count; i++)
        RRT__TRY(rrt__value_list_add(run, out, self->dict->entries[i].key));
    return RRT_STATUS_OK;
}

static rrt_status dict_values(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "values", "", 0, none));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_VIEW, self->dict->count, out));
    out->sequence->name = "dict_values";
    for (size_t i = 0; i < self->dict->count; i++)
        RRT__TRY(rrt__value_list_add(run, out, self->dict->entries[i].value));
    return RRT_STATUS_OK;
}

static rrt_status dict_copy(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "copy", "", 0, none));
    RRT__TRY(rrt__dict_new(run, out));
    for (size_t i = 0; i < self->dict->count; i++)
        RRT__TRY(rrt__dict_set(run, out->dict, self->dict->entries[i].key, self->dict->entries[i].value));
    return RRT_STATUS_OK;
}

static rrt_status list_copy(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "copy", "", 0, none));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, self->sequence->count, out));
    for (size_t i = 0; i < self->sequence->count; i++)
        RRT__TRY(rrt__value_list_add(run, out, self->sequence->items[i]));
    return RRT_STATUS_OK;
}

static rrt_status list_count(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    int64_t count = 0;
    RRT__TRY(rrt__bind(run, a, "count", "value", 1, given));
    for (size_t i = 0; i < self->sequence->count; i++) {
        bool same;
        const rrt__value item = rrt__value_list_at(self->sequence, i);
        RRT__TRY(rrt__equal(run, &item, &given[0], &same));
        count += same;
    }
    *out = rrt__int(count);
    return RRT_STATUS_OK;
}

static rrt_status list_index(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "index", "value", 1, given));
    for (size_t i = 0; i < self->sequence->count; i++) {
        bool same;
        const rrt__value item = rrt__value_list_at(self->sequence, i);
        RRT__TRY(rrt__equal(run, &item, &given[0], &same));
        *out = rrt__int((int64_t)i);
        if (same) return RRT_STATUS_OK;
    }
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "index of what is not in the list");
}

static rrt_status loop_cycle(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    if (!a->count) return rrt__run_fail(run, RRT_STATUS_FORMAT, "cycle needs arguments");
    *out = a->items[self->loop->index % a->count];
    return RRT_STATUS_OK;
}

static rrt_status loop_changed(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value now;
    bool same = false;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_TUPLE, a->count, &now));
    for (size_t i = 0; i < a->count; i++) RRT__TRY(rrt__value_list_add(run, &now, a->items[i]));
    if (self->loop->changed.kind == RRT__VALUE_TUPLE)
        RRT__TRY(rrt__equal(run, &self->loop->changed, &now, &same));
    self->loop->changed = now;
    *out = rrt__bool(!same);
    return RRT_STATUS_OK;
}

static rrt_status cycler_next(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "next", "", 0, none));
    rrt__cycler *cycler = self->cycler;
    *out = cycler->items->items[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->items->count;
    return RRT_STATUS_OK;
}

static rrt_status cycler_reset(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "reset", "", 0, none));
    self->cycler->at = 0;
    *out = rrt__none();
    return RRT_STATUS_OK;
}

static const rrt__method list_methods[] = {
    {"append", .is_unsafe = true},  {"clear", .is_unsafe = true},  {"copy", list_copy},
    {"count", list_count},          {"extend", .is_unsafe = true}, {"index", list_index},
    {"insert", .is_unsafe = true},  {"pop", .is_unsafe = true},    {"remove", .is_unsafe = true},
    {"reverse", .is_unsafe = true}, {"sort", .is_unsafe = true},   {NULL},
};
static const rrt__method tuple_methods[] = {{"count", list_count}, {"index", list_index}, {NULL}};
static const rrt__method range_methods[] = {
    {"count", list_count}, {"index", list_index}, {"start"}, {"step"}, {"stop"}, {NULL}};
static const rrt__method dict_methods[] = {
    {"clear", .is_unsafe = true},
    {"copy", dict_copy},
    {"fromkeys"},
    {"get", dict_get},
    {"items", dict_items},
    {"keys", dict_keys},
    {"pop", .is_unsafe = true},
    {"popitem", .is_unsafe = true},
    {"setdefault", .is_unsafe = true},
    {"update", .is_unsafe = true},
    {"values", dict_values},
    {NULL},
};
static const rrt__method loop_methods[] = {{"changed", loop_changed}, {"cycle", loop_cycle}, {NULL}};
static const rrt__method cycler_methods[] = {{"next", cycler_next}, {"reset", cycler_reset}, {NULL}};
// Methods that Python has, but not this library.
static const rrt__method number_methods[] = {
    {"as_integer_ratio"}, {"bit_count"}, {"bit_length"}, {"conjugate"}, {"denominator"},
    {"from_bytes"},       {"fromhex"},   {"hex"},        {"imag"},      {"is_integer"},
    {"numerator"},        {"real"},      {"to_bytes"},   {NULL},
};
static const rrt__method view_methods[] = {{"isdisjoint"}, {"mapping"}, {NULL}};
static const rrt__method macro_methods[] = {
    {"arguments"}, {"caller"}, {"catch_kwargs"}, {"catch_varargs"}, {"defaults"}, {"name"}, {NULL}};

static const rrt__method *table_of(const rrt__value *of)
{
    switch (of->kind) {
    case RRT__VALUE_TEXT:
        return rrt__text_methods;
    case RRT__VALUE_LIST:
        return list_methods;
    case RRT__VALUE_TUPLE:
        return tuple_methods;
    case RRT__VALUE_RANGE:
        return range_methods;
    case RRT__VALUE_DICT:
        return dict_methods;
    case RRT__VALUE_LOOP:
        return loop_methods;
    case RRT__VALUE_CYCLER:
        return cycler_methods;
    case RRT__VALUE_BOOL:
    case RRT__VALUE_INT:
    case RRT__VALUE_FLOAT:
        return number_methods;
    case RRT__VALUE_VIEW:
        return view_methods;
    case RRT__VALUE_MACRO:
        return macro_methods;
    default:
        return NULL;
    }
}

const rrt__method *rrt__method_find(const rrt__value *of, const char *name, size_t length)
{
    const rrt__method *method = table_of(of);
    for (; method && method->name; method++)
        if (strlen(method->name) == length && memcmp(method->name, name, length) == 0) return method;
    return NULL;
}
