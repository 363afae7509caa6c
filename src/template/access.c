// Evaluates a.b, a["b"], a[1] and a[1:2]. As in Python, a.b is an attribute first and an item second, and
// a["b"] the other way round.
#include <string.h>

#include "template/run.h"

// A missing key is not an error until its value is used.
static rrt_status undefined_item(rrt__run *run, const rrt__value *of, const rrt__value *key, rrt__value *out)
{
    rrt__value text;
    char *why;
    RRT__TRY(rrt__text_copy(run, "", 0, 0, &text));
    RRT__TRY(rrt__text_append_bytes(run, &text, "'", 1, 0));
    RRT__TRY(rrt__text_append_bytes(run, &text, rrt__type_name(of), strlen(rrt__type_name(of)), 0));
    RRT__TRY(rrt__text_append_bytes(run, &text, "' has no ", 9, 0));
    if (rrt__is_text(key))
        RRT__TRY(rrt__append_repr(run, &text, key));
    else
        RRT__TRY(rrt__text_append_bytes(run, &text, "such element", 12, 0));
    size_t length = text.text.length < 200 ? text.text.length : 200;
    RRT__TRY(rrt__pool_alloc(&run->pool, &why, length + 1, 1, run->err));
    memcpy(why, rrt__text_data(&text), length);
    *out = rrt__undefined(why);
    return RRT_STATUS_OK;
}

static rrt_status method_of(rrt__run *run, const rrt__value *of, const rrt__method *method, rrt__value *out)
{
    rrt__bound *bound;
    if (method->is_unsafe) {
        *out = rrt__undefined("a method that changes what it is called on: the sandbox has none");
        return RRT_STATUS_OK;
    }
    if (!method->function)
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "the method '%s' of a %s", method->name,
                             rrt__type_name(of));
    RRT__TRY(rrt__pool_alloc(&run->pool, &bound, 1, sizeof *bound, run->err));
    *bound = (rrt__bound){*of, method};
    *out = (rrt__value){.kind = RRT__VALUE_METHOD, .bound = bound};
    return RRT_STATUS_OK;
}

static rrt__value neighbour(const rrt__loop *loop, size_t index, const char *why)
{
    return index < loop->items->count ? rrt__value_list_at(loop->items, index) : rrt__undefined(why);
}

static bool loop_attribute(const rrt__loop *loop, const rrt__value *name, rrt__value *out)
{
    int64_t index = (int64_t)loop->index, length = (int64_t)loop->items->count;
    const struct {
        const char *name;
        rrt__value value;
    } attributes[] = {
        {"index", rrt__int(index + 1)},
        {"index0", rrt__int(index)},
        {"revindex", rrt__int(length - index)},
        {"revindex0", rrt__int(length - index - 1)},
        {"first", rrt__bool(index == 0)},
        {"last", rrt__bool(index + 1 == length)},
        {"length", rrt__int(length)},
        {"depth", rrt__int(1)},
        {"depth0", rrt__int(0)},
        {"previtem", neighbour(loop, loop->index - 1, "there is no previous item")},
        {"nextitem", neighbour(loop, loop->index + 1, "there is no next item")},
    };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        if (!rrt__text_is(name, attributes[i].name)) continue;
        *out = attributes[i].value;
        return true;
    }
    return false;
}

// *found: whether the value has such an attribute.
static rrt_status find_attribute(rrt__run *run, const rrt__value *of, const rrt__value *name, rrt__value *out,
                                 bool *found)
{
    const rrt__method *method = rrt__method_find(of, rrt__text_data(name), name->text.length);
    rrt__value *member = NULL;
    *found = method != NULL;
    if (method) return method_of(run, of, method, out);
    if (of->kind == RRT__VALUE_LOOP) *found = loop_attribute(of->loop, name, out);
    if (of->kind == RRT__VALUE_NAMESPACE) RRT__TRY(rrt__dict_find(run, of->dict, name, &member));
    if (of->kind == RRT__VALUE_CYCLER && rrt__text_is(name, "current")) {
        *found = true;
        *out = of->cycler->items->items[of->cycler->at];
    }
    if (!member) return RRT_STATUS_OK;
    *found = true;
    *out = *member;
    return RRT_STATUS_OK;
}

static rrt_status find_index(const rrt__value *of, int64_t index, rrt__value *out, bool *found)
{
    bool is_text = rrt__is_text(of);
    int64_t count = (int64_t)(is_text ? rrt__text_characters(of) : of->sequence->count);
    if (index < 0) index += count;
    *found = index >= 0 && index < count;
    if (!*found) return RRT_STATUS_OK;
    *out = is_text ? rrt__text_slice(of, rrt__text_offset(of, (size_t)index),
                                     rrt__text_offset(of, (size_t)index + 1))
                   : rrt__value_list_at(of->sequence, (size_t)index);
    return RRT_STATUS_OK;
}

static rrt_status find_item(rrt__run *run, const rrt__value *of, const rrt__value *key, rrt__value *out,
                            bool *found)
{
    *found = false;
    if (of->kind == RRT__VALUE_DICT) {
        rrt__value *member = NULL;
        if (key->kind != RRT__VALUE_LIST && key->kind != RRT__VALUE_DICT) // not keys, but no error
            RRT__TRY(rrt__dict_find(run, of->dict, key, &member));
        *found = member != NULL;
        if (member) *out = *member;
        return RRT_STATUS_OK;
    }
    bool has_order = rrt__is_text(of) || of->kind == RRT__VALUE_LIST || of->kind == RRT__VALUE_TUPLE ||
                     of->kind == RRT__VALUE_RANGE;
    if (!has_order || !rrt__is_whole(key)) return RRT_STATUS_OK;
    if (rrt__is_text(of)) RRT__TRY(rrt__work(run, of->text.length));
    return find_index(of, rrt__whole(key), out, found);
}

rrt_status rrt__attribute(rrt__run *run, const rrt__value *of, const rrt__value *name, rrt__value *out)
{
    bool found;
    RRT__TRY(rrt__check_defined(run, of));
    RRT__TRY(find_attribute(run, of, name, out, &found));
    if (!found) RRT__TRY(find_item(run, of, name, out, &found));
    return found ? RRT_STATUS_OK : undefined_item(run, of, name, out);
}

rrt_status rrt__item(rrt__run *run, const rrt__value *of, const rrt__value *key, rrt__value *out)
{
    bool found;
    RRT__TRY(rrt__check_defined(run, of));
    RRT__TRY(find_item(run, of, key, out, &found));
    if (!found && rrt__is_text(key)) RRT__TRY(find_attribute(run, of, key, out, &found));
    return found ? RRT_STATUS_OK : undefined_item(run, of, key, out);
}

rrt_status rrt__attribute_path(rrt__run *run, const rrt__value *of, const rrt__value *path, rrt__value *out)
{
    *out = *of;
    if (!rrt__is_text(path)) return rrt__item(run, of, path, out);
    const char *data = rrt__text_data(path);
    for (size_t at = 0, end; at <= path->text.length; at = end + 1) {
        const char *dot = memchr(data + at, '.', path->text.length - at);
        end = dot ? (size_t)(dot - data) : path->text.length;
        rrt__value key = rrt__text_slice(path, at, end), of_part = *out;
        int64_t number = 0;
        size_t i = at;
        for (; i < end && data[i] >= '0' && data[i] <= '9' && i < at + 9; i++)
            number = number * 10 + (data[i] - '0');
        if (i == end && end > at) key = rrt__int(number);
        RRT__TRY(rrt__item(run, &of_part, &key, out));
    }
    return RRT_STATUS_OK;
}

// --- slices ---------------------------------------------------------------------------------------------

static int64_t clamp(int64_t index, int64_t count, int64_t min, int64_t max)
{
    if (index < 0) index = index < -count ? -1 : index + count;
    return index < min ? min : index > max ? max : index;
}

static rrt_status read_bounds(rrt__run *run, const rrt__value bounds[3], int64_t count, int64_t *start,
                              int64_t *stop, int64_t *step)
{
    for (int i = 0; i < 3; i++)
        if (!rrt__is_whole(&bounds[i]) && bounds[i].kind != RRT__VALUE_NONE)
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "a slice with a %s", rrt__type_name(&bounds[i]));
    *step = bounds[2].kind == RRT__VALUE_NONE ? 1 : rrt__whole(&bounds[2]);
    if (*step == 0) return rrt__run_fail(run, RRT_STATUS_FORMAT, "a slice with a step of 0");
    if (*step > count) *step = count + 1;
    if (*step < -count) *step = -count - 1;
    int64_t min = *step < 0 ? -1 : 0, max = *step < 0 ? count - 1 : count;
    *start = *step < 0 ? max : min;
    *stop = *step < 0 ? min : max;
    if (bounds[0].kind != RRT__VALUE_NONE) *start = clamp(rrt__whole(&bounds[0]), count, min, max);
    if (bounds[1].kind != RRT__VALUE_NONE) *stop = clamp(rrt__whole(&bounds[1]), count, min, max);
    return RRT_STATUS_OK;
}

static rrt_status slice_text(rrt__run *run, const rrt__value *text, const rrt__value bounds[3],
                             rrt__value *out)
{
    int64_t start, stop, step;
    size_t length = text->text.length, count = rrt__text_characters(text);
    bool is_ascii = count == length;
    RRT__TRY(rrt__work(run, length * 2));
    RRT__TRY(read_bounds(run, bounds, (int64_t)count, &start, &stop, &step));
    if (step == 1) {
        if (stop < start) stop = start;
        *out = is_ascii ? rrt__text_slice(text, (size_t)start, (size_t)stop)
                        : rrt__text_slice(text, rrt__text_offset(text, (size_t)start),
                                          rrt__text_offset(text, (size_t)stop));
        return RRT_STATUS_OK;
    }
    rrt__value_list characters;
    RRT__TRY(rrt__items_of(run, text, &characters));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step)
        RRT__TRY(rrt__text_append(run, out, &characters.items[i]));
    out->is_markup = text->is_markup;
    return RRT_STATUS_OK;
}

rrt_status rrt__slice_of(rrt__run *run, const rrt__value *of, const rrt__value bounds[3], rrt__value *out)
{
    int64_t start, stop, step;
    RRT__TRY(rrt__check_defined(run, of));
    if (rrt__is_text(of)) return slice_text(run, of, bounds, out);
    if (of->kind != RRT__VALUE_LIST && of->kind != RRT__VALUE_TUPLE && of->kind != RRT__VALUE_RANGE)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "a slice of a %s", rrt__type_name(of));
    if (of->kind == RRT__VALUE_RANGE) return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a slice of a range");
    RRT__TRY(read_bounds(run, bounds, (int64_t)of->sequence->count, &start, &stop, &step));
    RRT__TRY(rrt__value_list_new(run, of->kind, 0, out));
    if (step == 1 && stop > start) { // nothing changes a list, so the part can share its items
        out->sequence->items = of->sequence->items + start;
        out->sequence->count = out->sequence->capacity = (size_t)(stop - start);
        return RRT_STATUS_OK;
    }
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step)
        RRT__TRY(rrt__value_list_add(run, out, of->sequence->items[i]));
    return RRT_STATUS_OK;
}
