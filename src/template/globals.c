// The global functions of every template.
#include <stdlib.h>
#include <string.h>

#include "template/methods.h"

enum { MAX_RANGE = 100000 }; // limit of Jinja's sandbox

static uint64_t count_range(int64_t start, int64_t stop, int64_t step)
{
    bool is_empty = step > 0 ? start >= stop : start <= stop;
    uint64_t width = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t stride = step > 0 ? (uint64_t)step : -(uint64_t)step;
    return is_empty ? 0 : (width - 1) / stride + 1;
}

static rrt_status global_range(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    (void)self;
    RRT__TRY(rrt__bind(run, a, "range", "start stop step", 1, given));
    for (size_t i = 0; i < a->count; i++)
        if (!rrt__is_whole(&given[i]))
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "range of a %s", rrt__type_name(&given[i]));
    int64_t start = a->count > 1 ? rrt__whole(&given[0]) : 0, step = a->count > 2 ? rrt__whole(&given[2]) : 1;
    int64_t stop = rrt__whole(&given[a->count > 1 ? 1 : 0]);
    if (!step) return rrt__run_fail(run, RRT_STATUS_FORMAT, "range with a step of 0");
    uint64_t count = count_range(start, stop, step);
    if (count > MAX_RANGE)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "a range of more than %d numbers", MAX_RANGE);
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_RANGE, 0, out));
    out->sequence->items = NULL;
    out->sequence->count = count;
    out->sequence->start = start;
    out->sequence->stop = stop;
    out->sequence->step = step;
    return RRT_STATUS_OK;
}

// dict(…) and namespace(…): pairs or a dict, then named values.
static rrt_status fill(rrt__run *run, const rrt__arguments *a, rrt__dict *dict)
{
    if (a->count > 1) return rrt__run_fail(run, RRT_STATUS_FORMAT, "dict takes one argument without a name");
    if (a->count && a->items[0].kind == RRT__VALUE_DICT) {
        const rrt__dict *from = a->items[0].dict;
        for (size_t i = 0; i < from->count; i++)
            RRT__TRY(rrt__dict_set(run, dict, from->entries[i].key, from->entries[i].value));
    } else if (a->count) {
        rrt__value_list items, pair;
        RRT__TRY(rrt__items_of(run, &a->items[0], &items));
        for (size_t i = 0; i < items.count; i++) {
            RRT__TRY(rrt__items_of(run, &items.items[i], &pair));
            if (pair.count != 2) return rrt__run_fail(run, RRT_STATUS_FORMAT, "dict needs pairs");
            RRT__TRY(rrt__dict_set(run, dict, pair.items[0], pair.items[1]));
        }
    }
    for (size_t i = 0; i < a->n_named; i++)
        RRT__TRY(rrt__dict_set(run, dict, a->named[i].key, a->named[i].value));
    return RRT_STATUS_OK;
}

static rrt_status global_dict(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    (void)self;
    RRT__TRY(rrt__dict_new(run, out));
    return fill(run, a, out->dict);
}

static rrt_status global_namespace(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                   rrt__value *out)
{
    RRT__TRY(global_dict(run, self, a, out));
    for (size_t i = 0; i < out->dict->count; i++) {
        const rrt__value *name = &out->dict->entries[i].key;
        if (rrt__is_text(name) && name->text.length && *rrt__text_data(name) == '_')
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "a namespace's member that begins with _");
    }
    out->kind = RRT__VALUE_NAMESPACE;
    return RRT_STATUS_OK;
}

static rrt_status global_raise(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], text;
    (void)self;
    (void)out;
    RRT__TRY(rrt__bind(run, a, "raise_exception", "message", 1, given));
    RRT__TRY(rrt__str(run, &given[0], &text));
    size_t length = text.text.length < 400 ? text.text.length : 400;
    return rrt__run_fail(run, RRT_STATUS_ARGUMENT, "%.*s", (int)length, rrt__text_data(&text));
}

static rrt_status global_strftime(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                  rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    char format[256], text[1024];
    struct tm local;
    (void)self;
    RRT__TRY(rrt__bind(run, a, "strftime_now", "format", 1, given));
    RRT__TRY(rrt__check_defined(run, &given[0]));
    if (!rrt__is_text(&given[0]))
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "strftime_now of a %s", rrt__type_name(&given[0]));
    size_t length = given[0].text.length;
    if (length >= sizeof format - 2 || memchr(rrt__text_data(&given[0]), '\0', length))
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "such a format of strftime_now");
    // strftime returns 0 for an empty result and for a failure: a leading character tells them apart
    format[0] = '.';
    memcpy(format + 1, rrt__text_data(&given[0]), length);
    format[length + 1] = '\0';
    if (strstr(format, "%f")) return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "strftime_now's %%f");
    if (!localtime_r(&run->now, &local) || !strftime(text, sizeof text, format, &local))
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "such a format of strftime_now");
    return rrt__text_copy(run, text + 1, strlen(text + 1), 0, out);
}

static rrt_status make_cycler(rrt__run *run, rrt__kind kind, rrt__value *out)
{
    rrt__cycler *cycler;
    RRT__TRY(rrt__pool_alloc(&run->pool, &cycler, 1, sizeof *cycler, run->err));
    *out = (rrt__value){.kind = (unsigned char)kind, .cycler = cycler};
    return RRT_STATUS_OK;
}

static rrt_status global_cycler(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value items;
    (void)self;
    if (!a->count || a->n_named) return rrt__run_fail(run, RRT_STATUS_FORMAT, "cycler needs items");
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, a->count, &items));
    for (size_t i = 0; i < a->count; i++) RRT__TRY(rrt__value_list_add(run, &items, a->items[i]));
    RRT__TRY(make_cycler(run, RRT__VALUE_CYCLER, out));
    out->cycler->items = items.sequence;
    return RRT_STATUS_OK;
}

static rrt_status global_joiner(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    (void)self;
    RRT__TRY(rrt__bind(run, a, "joiner", "sep", 0, given));
    if (given[0].kind == RRT__VALUE_MISSING) RRT__TRY(rrt__text_copy(run, ", ", 2, 0, &given[0]));
    if (!rrt__is_text(&given[0]))
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a joiner of a %s", rrt__type_name(&given[0]));
    RRT__TRY(make_cycler(run, RRT__VALUE_JOINER, out));
    out->cycler->separator = given[0];
    return RRT_STATUS_OK;
}

static const rrt__global globals[] = {
    {"range", global_range},           {"dict", global_dict},
    {"namespace", global_namespace},   {"raise_exception", global_raise},
    {"strftime_now", global_strftime}, {"cycler", global_cycler},
    {"joiner", global_joiner},
};

const rrt__global *rrt__global_find(const char *name)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (strcmp(globals[i].name, name) == 0) return &globals[i];
    return NULL;
}
