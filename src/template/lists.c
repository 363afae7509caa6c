// Filters of sequences.
#include <string.h>

#include "template/run.h"

static rrt_status items_for(rrt__run *run, const rrt__value *self, const rrt__arguments *a, const char *what,
                            const char *names, int needed, rrt__value given[RRT__MAX_PARAMETERS],
                            rrt__value_list *items)
{
    RRT__TRY(rrt__bind(run, a, what, names, needed, given));
    return rrt__items_of(run, self, items);
}

static bool is_given(const rrt__value *value)
{
    return value->kind != RRT__VALUE_MISSING && value->kind != RRT__VALUE_NONE;
}

static rrt_status filter_list(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    rrt__value_list items;
    RRT__TRY(items_for(run, self, a, "list", "", 0, given, &items));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, items.count, out));
    for (size_t i = 0; i < items.count; i++) RRT__TRY(rrt__value_list_add(run, out, items.items[i]));
    return RRT_STATUS_OK;
}

static rrt_status filter_first(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    rrt__value_list items;
    RRT__TRY(items_for(run, self, a, "first", "", 0, given, &items));
    // first takes only one item of an iterator.
    if (self->kind == RRT__VALUE_ITERATOR && items.count) self->sequence->next -= items.count - 1;
    *out = items.count ? items.items[0] : rrt__undefined("no first item: the sequence is empty");
    return RRT_STATUS_OK;
}

static rrt_status check_reversible(rrt__run *run, const rrt__value *self)
{
    if (self->kind != RRT__VALUE_ITERATOR) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "a generator has no end: | list is missing");
}

static rrt_status filter_last(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    rrt__value_list items;
    RRT__TRY(check_reversible(run, self));
    RRT__TRY(items_for(run, self, a, "last", "", 0, given, &items));
    *out = items.count ? items.items[items.count - 1] : rrt__undefined("no last item: the sequence is empty");
    return RRT_STATUS_OK;
}

static rrt_status filter_join(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], separator;
    rrt__value_list items;
    RRT__TRY(items_for(run, self, a, "join", "d attribute", 0, given, &items));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, &separator));
    if (given[0].kind != RRT__VALUE_MISSING) RRT__TRY(rrt__str(run, &given[0], &separator));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    for (size_t i = 0; i < items.count; i++) {
        rrt__value item = items.items[i];
        if (is_given(&given[1])) RRT__TRY(rrt__attribute_path(run, &items.items[i], &given[1], &item));
        if (i) RRT__TRY(rrt__text_append(run, out, &separator));
        RRT__TRY(rrt__append_str(run, out, &item));
    }
    return RRT_STATUS_OK;
}

static rrt_status filter_reverse(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                 rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    rrt__value_list items;
    bool is_text = rrt__is_text(self);
    RRT__TRY(items_for(run, self, a, "reverse", "", 0, given, &items));
    RRT__TRY(is_text ? rrt__text_copy(run, "", 0, 0, out)
                     : rrt__value_list_new(run, RRT__VALUE_ITERATOR, items.count, out));
    for (size_t i = items.count; i-- > 0;)
        RRT__TRY(is_text ? rrt__text_append(run, out, &items.items[i])
                         : rrt__value_list_add(run, out, items.items[i]));
    return RRT_STATUS_OK;
}

// --- sorting --------------------------------------------------------------------------------------------

typedef struct keyed {
    rrt__value key, item;
} keyed;

// Strings are compared in lower case by default.
static rrt_status fold(rrt__run *run, rrt__value *key, bool is_case_sensitive)
{
    rrt__value text = *key;
    if (is_case_sensitive || !rrt__is_text(key)) return RRT_STATUS_OK;
    return rrt__text_case(run, &text, RRT__CASE_LOWER, key);
}

// Several attributes, "a,b", give a list as the key.
static rrt_status key_of(rrt__run *run, const rrt__value *item, const rrt__value *attribute, bool cases,
                         rrt__value *out)
{
    *out = *item;
    if (!is_given(attribute)) return fold(run, out, cases);
    const char *comma =
        rrt__is_text(attribute) ? memchr(rrt__text_data(attribute), ',', attribute->text.length) : NULL;
    if (!comma) {
        RRT__TRY(rrt__attribute_path(run, item, attribute, out));
        return fold(run, out, cases);
    }
    const char *data = rrt__text_data(attribute);
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, 2, out));
    for (size_t at = 0, end; at <= attribute->text.length; at = end + 1) {
        const char *next = memchr(data + at, ',', attribute->text.length - at);
        end = next ? (size_t)(next - data) : attribute->text.length;
        rrt__value path = rrt__text_slice(attribute, at, end), part;
        RRT__TRY(rrt__attribute_path(run, item, &path, &part));
        RRT__TRY(fold(run, &part, cases));
        RRT__TRY(rrt__value_list_add(run, out, part));
    }
    return RRT_STATUS_OK;
}

static rrt_status merge(rrt__run *run, const keyed *from, keyed *to, size_t begin, size_t middle, size_t end,
                        bool reverse)
{
    size_t a = begin, b = middle;
    for (size_t i = begin; i < end; i++) {
        bool takes_b = a == middle;
        if (!takes_b && b < end)
            RRT__TRY(reverse ? rrt__less(run, &from[a].key, &from[b].key, &takes_b)
                             : rrt__less(run, &from[b].key, &from[a].key, &takes_b));
        to[i] = takes_b ? from[b++] : from[a++];
    }
    return RRT_STATUS_OK;
}

// Stable, also in reverse order.
static rrt_status sort(rrt__run *run, keyed **items, size_t count, bool reverse)
{
    keyed *room;
    RRT__TRY(rrt__pool_alloc(&run->pool, &room, count, sizeof *room, run->err));
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t middle = begin + width < count ? begin + width : count;
            size_t end = middle + width < count ? middle + width : count;
            RRT__TRY(merge(run, *items, room, begin, middle, end, reverse));
        }
        keyed *sorted = room;
        room = *items;
        *items = sorted;
    }
    return RRT_STATUS_OK;
}

static rrt_status key_all(rrt__run *run, const rrt__value_list *items, const rrt__value *attribute,
                          bool cases, keyed **out)
{
    RRT__TRY(rrt__pool_alloc(&run->pool, out, items->count, sizeof **out, run->err));
    for (size_t i = 0; i < items->count; i++) {
        (*out)[i].item = items->items[i];
        RRT__TRY(key_of(run, &items->items[i], attribute, cases, &(*out)[i].key));
    }
    return RRT_STATUS_OK;
}

static rrt_status collect(rrt__run *run, const keyed *sorted, size_t count, rrt__value *out)
{
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, count, out));
    for (size_t i = 0; i < count; i++) RRT__TRY(rrt__value_list_add(run, out, sorted[i].item));
    return RRT_STATUS_OK;
}

static rrt_status filter_sort(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    rrt__value_list items;
    keyed *sorted;
    RRT__TRY(items_for(run, self, a, "sort", "reverse case_sensitive attribute", 0, given, &items));
    RRT__TRY(key_all(run, &items, &given[2], rrt__is_true(&given[1]), &sorted));
    RRT__TRY(sort(run, &sorted, items.count, rrt__is_true(&given[0])));
    return collect(run, sorted, items.count, out);
}

static rrt_status pairs_of(rrt__run *run, const rrt__value *dict, rrt__kind kind, rrt__value *out)
{
    RRT__TRY(rrt__check_defined(run, dict));
    if (dict->kind != RRT__VALUE_DICT)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "the items of a %s", rrt__type_name(dict));
    return rrt__dict_items(run, dict->dict, kind, out);
}

static rrt_status filter_dictsort(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                  rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], pairs, which;
    keyed *sorted;
    RRT__TRY(rrt__bind(run, a, "dictsort", "case_sensitive by reverse", 0, given));
    RRT__TRY(pairs_of(run, self, RRT__VALUE_LIST, &pairs));
    bool by_value = rrt__text_is(&given[1], "value");
    if (given[1].kind != RRT__VALUE_MISSING && !by_value && !rrt__text_is(&given[1], "key"))
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "dictsort goes by key or value");
    which = rrt__int(by_value);
    RRT__TRY(key_all(run, pairs.sequence, &which, rrt__is_true(&given[0]), &sorted));
    RRT__TRY(sort(run, &sorted, pairs.sequence->count, rrt__is_true(&given[2])));
    return collect(run, sorted, pairs.sequence->count, out);
}

static rrt_status filter_items(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "items", "", 0, none));
    if (self->kind == RRT__VALUE_UNDEFINED) return rrt__value_list_new(run, RRT__VALUE_ITERATOR, 0, out);
    return pairs_of(run, self, RRT__VALUE_ITERATOR, out);
}

// min and max
static rrt_status extreme(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool is_max,
                          rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    rrt__value_list items;
    keyed *keys;
    size_t best = 0;
    RRT__TRY(items_for(run, self, a, is_max ? "max" : "min", "case_sensitive attribute", 0, given, &items));
    RRT__TRY(key_all(run, &items, &given[1], rrt__is_true(&given[0]), &keys));
    for (size_t i = 1; i < items.count; i++) {
        bool is_better;
        RRT__TRY(is_max ? rrt__less(run, &keys[best].key, &keys[i].key, &is_better)
                        : rrt__less(run, &keys[i].key, &keys[best].key, &is_better));
        if (is_better) best = i;
    }
    *out = items.count ? keys[best].item : rrt__undefined("no aggregated item: the sequence is empty");
    return RRT_STATUS_OK;
}

static rrt_status filter_min(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return extreme(run, self, a, false, out);
}

static rrt_status filter_max(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return extreme(run, self, a, true, out);
}

static rrt_status filter_unique(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], seen, *there;
    rrt__value_list items;
    keyed *keys;
    RRT__TRY(items_for(run, self, a, "unique", "case_sensitive attribute", 0, given, &items));
    RRT__TRY(key_all(run, &items, &given[1], rrt__is_true(&given[0]), &keys));
    RRT__TRY(rrt__dict_new(run, &seen));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_ITERATOR, items.count, out));
    for (size_t i = 0; i < items.count; i++) {
        RRT__TRY(rrt__dict_find(run, seen.dict, &keys[i].key, &there));
        if (there) continue;
        RRT__TRY(rrt__dict_set(run, seen.dict, keys[i].key, rrt__none()));
        RRT__TRY(rrt__value_list_add(run, out, keys[i].item));
    }
    return RRT_STATUS_OK;
}

static rrt_status filter_sum(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], item, before;
    rrt__value_list items;
    RRT__TRY(items_for(run, self, a, "sum", "attribute start", 0, given, &items));
    *out = given[1].kind == RRT__VALUE_MISSING ? rrt__int(0) : given[1];
    if (rrt__is_text(out)) return rrt__run_fail(run, RRT_STATUS_FORMAT, "sum of strings");
    for (size_t i = 0; i < items.count; i++) {
        item = items.items[i];
        before = *out;
        if (is_given(&given[0])) RRT__TRY(rrt__attribute_path(run, &items.items[i], &given[0], &item));
        RRT__TRY(rrt__binary(run, '+', &before, &item, out));
    }
    return RRT_STATUS_OK;
}

// --- map, select, reject --------------------------------------------------------------------------------

static rrt__arguments behind(const rrt__arguments *a, size_t skipped)
{
    rrt__arguments rest = *a;
    if (skipped) rest.items += skipped;
    rest.count -= skipped;
    return rest;
}

static rrt_status filter_map(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS] = {0}, value;
    rrt__value_list items;
    rrt__arguments rest = {0};
    const rrt__filter *filter = NULL;
    if (!rrt__is_true(self)) return rrt__value_list_new(run, RRT__VALUE_ITERATOR, 0, out);
    RRT__TRY(rrt__items_of(run, self, &items));
    if (a->count == 0) {
        RRT__TRY(rrt__bind(run, a, "map", "attribute default", 1, given));
    } else {
        filter = rrt__is_text(&a->items[0])
                     ? rrt__filter_find(rrt__text_data(&a->items[0]), a->items[0].text.length)
                     : NULL;
        if (!filter || !filter->function)
            return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a filter that map is asked for");
        rest = behind(a, 1);
    }
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_ITERATOR, items.count, out));
    RRT__TRY(rrt__enter(run)); // the filter may be map again
    for (size_t i = 0; i < items.count; i++) {
        RRT__TRY(filter ? filter->function(run, &items.items[i], &rest, &value)
                        : rrt__attribute_path(run, &items.items[i], &given[0], &value));
        if (!filter && value.kind == RRT__VALUE_UNDEFINED && given[1].kind != RRT__VALUE_MISSING)
            value = given[1];
        RRT__TRY(rrt__value_list_add(run, out, value));
    }
    rrt__leave(run);
    return RRT_STATUS_OK;
}

// of_attribute: the first argument names the attribute to test. keeps: keep items that pass, else those
// that fail.
static rrt_status pick(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool of_attribute,
                       bool keeps, rrt__value *out)
{
    rrt__value_list items;
    const rrt__test *test = NULL;
    size_t at = of_attribute ? 1 : 0;
    if (!rrt__is_true(self)) return rrt__value_list_new(run, RRT__VALUE_ITERATOR, 0, out);
    if (a->count < at) return rrt__run_fail(run, RRT_STATUS_FORMAT, "an attribute's name is missing");
    if (a->count > at) {
        const rrt__value *name = &a->items[at];
        test = rrt__is_text(name) ? rrt__test_find(rrt__text_data(name), name->text.length) : NULL;
        if (!test || !test->function)
            return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a test that select or reject is asked for");
    }
    const rrt__arguments rest = behind(a, a->count > at ? at + 1 : at);
    RRT__TRY(rrt__items_of(run, self, &items));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_ITERATOR, 4, out));
    for (size_t i = 0; i < items.count; i++) {
        rrt__value value = items.items[i];
        if (of_attribute) RRT__TRY(rrt__attribute_path(run, &items.items[i], &a->items[0], &value));
        bool holds = rrt__is_true(&value);
        if (test) RRT__TRY(test->function(run, &value, &rest, &holds));
        if (holds == keeps) RRT__TRY(rrt__value_list_add(run, out, items.items[i]));
    }
    return RRT_STATUS_OK;
}

static rrt_status filter_select(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    return pick(run, self, a, false, true, out);
}

static rrt_status filter_reject(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    return pick(run, self, a, false, false, out);
}

static rrt_status filter_selectattr(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                    rrt__value *out)
{
    return pick(run, self, a, true, true, out);
}

static rrt_status filter_rejectattr(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                    rrt__value *out)
{
    return pick(run, self, a, true, false, out);
}

static rrt_status filter_batch(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], batch;
    rrt__value_list items;
    RRT__TRY(items_for(run, self, a, "batch", "linecount fill_with", 1, given, &items));
    if (!rrt__is_whole(&given[0]) || rrt__whole(&given[0]) < 1 || rrt__whole(&given[0]) > 1 << 20)
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "batch with such a count");
    size_t size = (size_t)rrt__whole(&given[0]);
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_ITERATOR, 0, out));
    for (size_t i = 0; i < items.count; i += size) {
        RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, 0, &batch));
        for (size_t k = i; k < i + size; k++) {
            if (k < items.count)
                RRT__TRY(rrt__value_list_add(run, &batch, items.items[k]));
            else if (is_given(&given[1]))
                RRT__TRY(rrt__value_list_add(run, &batch, given[1]));
            else
                break;
        }
        RRT__TRY(rrt__value_list_add(run, out, batch));
    }
    return RRT_STATUS_OK;
}

const rrt__filter rrt__list_filters[] = {
    {"batch", filter_batch},
    {"dictsort", filter_dictsort},
    {"first", filter_first},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"list", filter_list},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"reject", filter_reject},
    {"rejectattr", filter_rejectattr},
    {"reverse", filter_reverse},
    {"select", filter_select},
    {"selectattr", filter_selectattr},
    {"sort", filter_sort},
    {"sum", filter_sum},
    {"unique", filter_unique},
    {NULL, NULL},
};
