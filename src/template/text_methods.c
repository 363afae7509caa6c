// Python's methods of strings.
#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"
#include "template/methods.h"

rrt_status rrt__need_text(rrt__run *run, const rrt__value *value, const char *what)
{
    RRT__TRY(rrt__check_defined(run, value));
    if (rrt__is_text(value)) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "'%s' needs a str, not a %s", what, rrt__type_name(value));
}

// --- strip ----------------------------------------------------------------------------------------------

static rrt_status strip(rrt__run *run, const rrt__value *self, const rrt__arguments *a, int side,
                        rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "strip", "chars", 0, given));
    bool has = given[0].kind != RRT__VALUE_MISSING && given[0].kind != RRT__VALUE_NONE;
    if (has) RRT__TRY(rrt__need_text(run, &given[0], "strip"));
    RRT__TRY(rrt__work(run, self->text.length * (has ? given[0].text.length + 1 : 1)));
    *out = rrt__text_strip(self, has ? &given[0] : NULL, side);
    return RRT_STATUS_OK;
}

static rrt_status text_strip(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return strip(run, self, a, 0, out);
}

static rrt_status text_lstrip(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return strip(run, self, a, -1, out);
}

static rrt_status text_rstrip(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return strip(run, self, a, 1, out);
}

// --- searching ------------------------------------------------------------------------------------------

// The part of a text between start and end, in characters.
static rrt_status part_of(rrt__run *run, const rrt__value *self, const rrt__value *start,
                          const rrt__value *end, size_t *begin, size_t *stop)
{
    size_t count = rrt__text_characters(self);
    int64_t from = rrt__is_whole(start) ? rrt__whole(start) : 0;
    int64_t to = rrt__is_whole(end) ? rrt__whole(end) : (int64_t)count;
    if (from < 0) from += (int64_t)count;
    if (to < 0) to += (int64_t)count;
    RRT__TRY(rrt__work(run, self->text.length));
    *begin = rrt__text_offset(self, from < 0 ? 0 : (size_t)from);
    *stop = rrt__text_offset(self, to < 0 ? 0 : (size_t)to);
    if (from > (int64_t)count) *begin = SIZE_MAX; // there is not even an empty text
    return RRT_STATUS_OK;
}

static bool has_affix(const rrt__value *text, const rrt__value *affix, bool at_end)
{
    size_t length = text->text.length, n = affix->text.length;
    return n <= length &&
           memcmp(rrt__text_data(text) + (at_end ? length - n : 0), rrt__text_data(affix), n) == 0;
}

static rrt_status affix(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool at_end,
                        rrt__value *out)
{
    const char *what = at_end ? "endswith" : "startswith";
    rrt__value given[RRT__MAX_PARAMETERS];
    size_t begin, stop;
    RRT__TRY(rrt__bind(run, a, what, "prefix start end", 1, given));
    RRT__TRY(part_of(run, self, &given[1], &given[2], &begin, &stop));
    *out = rrt__bool(false);
    if (begin == SIZE_MAX || begin > stop) return RRT_STATUS_OK;
    const rrt__value part = rrt__text_slice(self, begin, stop);
    if (given[0].kind != RRT__VALUE_TUPLE) {
        RRT__TRY(rrt__need_text(run, &given[0], what));
        *out = rrt__bool(has_affix(&part, &given[0], at_end));
        return RRT_STATUS_OK;
    }
    for (size_t i = 0; i < given[0].sequence->count; i++) {
        RRT__TRY(rrt__need_text(run, &given[0].sequence->items[i], what));
        if (has_affix(&part, &given[0].sequence->items[i], at_end)) *out = rrt__bool(true);
    }
    return RRT_STATUS_OK;
}

static rrt_status text_startswith(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                  rrt__value *out)
{
    return affix(run, self, a, false, out);
}

static rrt_status text_endswith(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    return affix(run, self, a, true, out);
}

// find, rfind, index, rindex: characters before the match, or -1.
static rrt_status find(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool last,
                       rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    size_t begin, stop, at = SIZE_MAX;
    RRT__TRY(rrt__bind(run, a, "find", "sub start end", 1, given));
    RRT__TRY(rrt__need_text(run, &given[0], "find"));
    RRT__TRY(part_of(run, self, &given[1], &given[2], &begin, &stop));
    if (begin != SIZE_MAX && begin <= stop) {
        const rrt__value part = rrt__text_slice(self, begin, stop);
        if (last) RRT__TRY(rrt__work(run, part.text.length * given[0].text.length));
        at = last ? rrt__text_find_last(&part, &given[0], part.text.length)
                  : rrt__text_find(&part, &given[0], 0);
    }
    const rrt__value before = rrt__text_slice(self, 0, at == SIZE_MAX ? 0 : begin + at);
    *out = rrt__int(at == SIZE_MAX ? -1 : (int64_t)rrt__text_characters(&before));
    return RRT_STATUS_OK;
}

static rrt_status text_find(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return find(run, self, a, false, out);
}

static rrt_status text_rfind(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return find(run, self, a, true, out);
}

static rrt_status need_found(rrt__run *run, const rrt__value *index)
{
    if (index->integer >= 0) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "index of a string that is not there");
}

static rrt_status text_index(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    RRT__TRY(find(run, self, a, false, out));
    return need_found(run, out);
}

static rrt_status text_rindex(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    RRT__TRY(find(run, self, a, true, out));
    return need_found(run, out);
}

static rrt_status text_count(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    int64_t count = 0;
    RRT__TRY(rrt__bind(run, a, "count", "sub", 1, given));
    RRT__TRY(rrt__need_text(run, &given[0], "count"));
    RRT__TRY(rrt__work(run, self->text.length));
    if (!given[0].text.length) count = (int64_t)rrt__text_characters(self) + 1;
    for (size_t at = 0; given[0].text.length && (at = rrt__text_find(self, &given[0], at)) != SIZE_MAX;
         count++)
        at += given[0].text.length;
    *out = rrt__int(count);
    return RRT_STATUS_OK;
}

static rrt_status text_replace(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "replace", "old new count", 2, given));
    RRT__TRY(rrt__need_text(run, &given[0], "replace"));
    RRT__TRY(rrt__need_text(run, &given[1], "replace"));
    rrt__value fresh = given[1];
    if (self->is_markup) RRT__TRY(rrt__escape(run, &given[1], &fresh));
    int64_t max_count = rrt__is_whole(&given[2]) ? rrt__whole(&given[2]) : -1;
    RRT__TRY(rrt__text_replace(run, self, &given[0], &fresh, max_count, out));
    out->is_markup = self->is_markup;
    return RRT_STATUS_OK;
}

static rrt_status remove_affix(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool at_end,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "removeprefix", "affix", 1, given));
    RRT__TRY(rrt__need_text(run, &given[0], "removeprefix"));
    size_t n = has_affix(self, &given[0], at_end) ? given[0].text.length : 0;
    *out = rrt__text_slice(self, at_end ? 0 : n, self->text.length - (at_end ? n : 0));
    return RRT_STATUS_OK;
}

static rrt_status text_removeprefix(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                    rrt__value *out)
{
    return remove_affix(run, self, a, false, out);
}

static rrt_status text_removesuffix(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                    rrt__value *out)
{
    return remove_affix(run, self, a, true, out);
}

// --- making ---------------------------------------------------------------------------------------------

static rrt_status text_join(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    rrt__value_list items;
    RRT__TRY(rrt__bind(run, a, "join", "iterable", 1, given));
    RRT__TRY(rrt__items_of(run, &given[0], &items));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    for (size_t i = 0; i < items.count; i++) {
        RRT__TRY(rrt__need_text(run, &items.items[i], "join"));
        rrt__value item = items.items[i];
        if (self->is_markup) RRT__TRY(rrt__escape(run, &items.items[i], &item));
        if (i) RRT__TRY(rrt__text_append(run, out, self));
        RRT__TRY(rrt__text_append(run, out, &item));
    }
    out->is_markup = self->is_markup;
    return RRT_STATUS_OK;
}

static rrt_status change_case(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__case to,
                              rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "a method", "", 0, none));
    return rrt__text_case(run, self, to, out);
}

static rrt_status text_upper(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return change_case(run, self, a, RRT__CASE_UPPER, out);
}

static rrt_status text_lower(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return change_case(run, self, a, RRT__CASE_LOWER, out);
}

static rrt_status text_title(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return change_case(run, self, a, RRT__CASE_TITLE, out);
}

static rrt_status text_capitalize(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                  rrt__value *out)
{
    return change_case(run, self, a, RRT__CASE_CAPITALIZE, out);
}

// ljust, rjust, zfill
static rrt_status justify(rrt__run *run, const rrt__value *self, const rrt__arguments *a, bool left,
                          rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "ljust", "width fillchar", 1, given));
    if (!rrt__is_whole(&given[0])) return rrt__run_fail(run, RRT_STATUS_FORMAT, "a width has to be whole");
    if (given[1].kind == RRT__VALUE_MISSING) RRT__TRY(rrt__text_copy(run, " ", 1, 0, &given[1]));
    if (!rrt__is_text(&given[1]) || rrt__text_characters(&given[1]) != 1)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "the character to fill with has to be one");
    int64_t width = rrt__whole(&given[0]),
            more = (width < 0 ? 0 : width) - (int64_t)rrt__text_characters(self);
    const rrt__value times = rrt__int(more);
    rrt__value padding;
    RRT__TRY(rrt__binary(run, '*', &given[1], &times, &padding));
    return rrt__binary(run, '+', left ? self : &padding, left ? &padding : self, out);
}

static rrt_status text_ljust(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return justify(run, self, a, true, out);
}

static rrt_status text_rjust(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return justify(run, self, a, false, out);
}

static rrt_status text_format(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    return rrt__format_braces(run, self, a, out);
}

// --- asking ---------------------------------------------------------------------------------------------

typedef bool character_test(utf8proc_int32_t c);

static bool is_digit(utf8proc_int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}

static bool is_letter(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_letter_or_digit(utf8proc_int32_t c)
{
    return is_letter(c) || is_digit(c);
}

static rrt_status all_are(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                          character_test *test, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    const char *data = rrt__text_data(self);
    bool holds = self->text.length > 0;
    RRT__TRY(rrt__bind(run, a, "a method", "", 0, none));
    RRT__TRY(rrt__work(run, self->text.length));
    for (size_t at = 0, n; holds && at < self->text.length; at += n) {
        uint32_t c;
        n = rrt__utf8_decode(data + at, self->text.length - at, &c);
        holds = test ? test((utf8proc_int32_t)c) : rrt__space_at(data + at, n) > 0;
    }
    *out = rrt__bool(holds);
    return RRT_STATUS_OK;
}

static rrt_status text_isdecimal(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                 rrt__value *out)
{
    return all_are(run, self, a, is_digit, out);
}

static rrt_status text_isalpha(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    return all_are(run, self, a, is_letter, out);
}

static rrt_status text_isalnum(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    return all_are(run, self, a, is_letter_or_digit, out);
}

static rrt_status text_isspace(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    return all_are(run, self, a, NULL, out);
}

const rrt__method rrt__text_methods[] = {
    {"capitalize", text_capitalize},
    {"casefold"},
    {"center"},
    {"count", text_count},
    {"encode"},
    {"endswith", text_endswith},
    {"expandtabs"},
    {"find", text_find},
    {"format", text_format},
    {"format_map"},
    {"index", text_index},
    {"isalnum", text_isalnum},
    {"isalpha", text_isalpha},
    {"isascii"},
    {"isdecimal", text_isdecimal},
    {"isdigit", text_isdecimal}, // except for superscripts
    {"isidentifier"},
    {"islower"},
    {"isnumeric"},
    {"isprintable"},
    {"isspace", text_isspace},
    {"istitle"},
    {"isupper"},
    {"join", text_join},
    {"ljust", text_ljust},
    {"lower", text_lower},
    {"lstrip", text_lstrip},
    {"maketrans"},
    {"partition", rrt__text_partition},
    {"removeprefix", text_removeprefix},
    {"removesuffix", text_removesuffix},
    {"replace", text_replace},
    {"rfind", text_rfind},
    {"rindex", text_rindex},
    {"rjust", text_rjust},
    {"rpartition", rrt__text_rpartition},
    {"rsplit", rrt__text_rsplit},
    {"rstrip", text_rstrip},
    {"split", rrt__text_split},
    {"splitlines", rrt__text_splitlines},
    {"startswith", text_startswith},
    {"strip", text_strip},
    {"swapcase"},
    {"title", text_title},
    {"translate"},
    {"upper", text_upper},
    {"zfill"},
    {NULL},
};
