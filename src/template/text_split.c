// Splitting strings: split, splitlines, partition.
#include <string.h>

#include "base/utf8.h"
#include "template/methods.h"

static rrt_status add_slice(rrt__run *run, const rrt__value *text, size_t begin, size_t end, rrt__value *list)
{
    return rrt__value_list_add(run, list, rrt__text_slice(text, begin, end));
}

static rrt_status split_at(rrt__run *run, const rrt__value *text, const rrt__value *by, int64_t max_splits,
                           rrt__value *out)
{
    size_t at = 0, found;
    for (; max_splits && (found = rrt__text_find(text, by, at)) != SIZE_MAX; max_splits--) {
        RRT__TRY(add_slice(run, text, at, found, out));
        at = found + by->text.length;
    }
    return add_slice(run, text, at, text->text.length, out);
}

static rrt_status split_at_space(rrt__run *run, const rrt__value *text, int64_t max_splits, rrt__value *out)
{
    const char *data = rrt__text_data(text);
    size_t at = 0, length = text->text.length, n;
    for (;;) {
        while ((n = rrt__space_at(data + at, length - at)) > 0) at += n;
        if (at == length) return RRT_STATUS_OK;
        size_t begin = at;
        if (!max_splits) return add_slice(run, text, at, length, out);
        while (at < length && !rrt__space_at(data + at, length - at)) at++;
        RRT__TRY(add_slice(run, text, begin, at, out));
        max_splits--;
    }
}

static rrt_status reverse_items(rrt__value *list)
{
    rrt__value_list *s = list->sequence;
    for (size_t i = 0; i < s->count / 2; i++) {
        rrt__value other = s->items[i];
        s->items[i] = s->items[s->count - 1 - i];
        s->items[s->count - 1 - i] = other;
    }
    return RRT_STATUS_OK;
}

static rrt_status rsplit_at_space(rrt__run *run, const rrt__value *text, int64_t max_splits, rrt__value *out)
{
    const char *data = rrt__text_data(text);
    size_t end = text->text.length, n;
    for (;;) {
        while ((n = rrt__space_before(data, end)) > 0) end -= n;
        if (!end) return reverse_items(out);
        size_t stop = end;
        if (!max_splits) {
            RRT__TRY(add_slice(run, text, 0, end, out));
            return reverse_items(out);
        }
        while (end && !rrt__space_before(data, end)) end--;
        RRT__TRY(add_slice(run, text, end, stop, out));
        max_splits--;
    }
}

static rrt_status rsplit_at(rrt__run *run, const rrt__value *text, const rrt__value *by, int64_t max_splits,
                            rrt__value *out)
{
    size_t end = text->text.length, found;
    for (; max_splits && (found = rrt__text_find_last(text, by, end)) != SIZE_MAX; max_splits--) {
        RRT__TRY(rrt__work(run, (end - found) * (by->text.length + 1)));
        RRT__TRY(add_slice(run, text, found + by->text.length, end, out));
        end = found;
    }
    RRT__TRY(rrt__work(run, end * (by->text.length + 1)));
    RRT__TRY(add_slice(run, text, 0, end, out));
    return reverse_items(out);
}

static rrt_status split(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool from_right,
                        rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "split", "sep maxsplit", 0, given));
    int64_t max_splits = rrt__is_whole(&given[1]) ? rrt__whole(&given[1]) : -1;
    RRT__TRY(rrt__work(run, self->text.length));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, 0, out));
    if (given[0].kind == RRT__VALUE_MISSING || given[0].kind == RRT__VALUE_NONE)
        return from_right ? rsplit_at_space(run, self, max_splits, out)
                          : split_at_space(run, self, max_splits, out);
    RRT__TRY(rrt__need_text(run, &given[0], "split"));
    if (!given[0].text.length) return rrt__run_fail(run, RRT_STATUS_FORMAT, "split at an empty string");
    return from_right ? rsplit_at(run, self, &given[0], max_splits, out)
                      : split_at(run, self, &given[0], max_splits, out);
}

rrt_status rrt__text_split(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return split(run, self, a, false, out);
}

rrt_status rrt__text_rsplit(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return split(run, self, a, true, out);
}

// Length of the line break at the beginning of data; 0: none.
static size_t break_at(const char *data, size_t length)
{
    uint32_t c;
    if (length >= 2 && data[0] == '\r' && data[1] == '\n') return 2;
    size_t n = rrt__utf8_decode(data, length, &c);
    bool is =
        n && ((c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029);
    return is ? n : 0;
}

rrt_status rrt__split_lines(rrt__run *run, const rrt__value *text, bool keeps, rrt__value *out)
{
    const char *data = rrt__text_data(text);
    size_t begin = 0, length = text->text.length;
    RRT__TRY(rrt__work(run, length));
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, 0, out));
    for (size_t at = 0; at < length;) {
        size_t n = break_at(data + at, length - at);
        if (n) RRT__TRY(add_slice(run, text, begin, keeps ? at + n : at, out));
        at += n ? n : 1;
        if (n) begin = at;
    }
    return begin < length ? add_slice(run, text, begin, length, out) : RRT_STATUS_OK;
}

bool rrt__ends_line(const rrt__value *text)
{
    const char *data = rrt__text_data(text);
    size_t length = text->text.length, n = 1;
    while (n < length && n < 4 && ((unsigned char)data[length - n] & 0xc0) == 0x80) n++;
    return length && break_at(data + length - n, n) > 0;
}

rrt_status rrt__text_splitlines(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "splitlines", "keepends", 0, given));
    return rrt__split_lines(run, self, rrt__is_true(&given[0]), out);
}

static rrt_status partition(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool last,
                            rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    size_t length = self->text.length;
    RRT__TRY(rrt__bind(run, a, "partition", "sep", 1, given));
    RRT__TRY(rrt__need_text(run, &given[0], "partition"));
    if (!given[0].text.length) return rrt__run_fail(run, RRT_STATUS_FORMAT, "partition at an empty string");
    RRT__TRY(rrt__work(run, length * (last ? given[0].text.length : 1)));
    size_t at = last ? rrt__text_find_last(self, &given[0], length) : rrt__text_find(self, &given[0], 0);
    bool found = at != SIZE_MAX;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_TUPLE, 3, out));
    RRT__TRY(add_slice(run, self, 0, found ? at : last ? 0 : length, out));
    if (found)
        RRT__TRY(rrt__value_list_add(run, out, given[0]));
    else
        RRT__TRY(add_slice(run, self, 0, 0, out));
    return add_slice(run, self, found ? at + given[0].text.length : last ? 0 : length, length, out);
}

rrt_status rrt__text_partition(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    return partition(run, self, a, false, out);
}

rrt_status rrt__text_rpartition(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    return partition(run, self, a, true, out);
}
