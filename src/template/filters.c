// Filters of single values, and the lookup of all filters.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template/run.h"

static rrt_status filter_case(rrt__run *run, const rrt__value *self, const rrt__arguments *arguments,
                              rrt__case to, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS], text;
    RRT__TRY(rrt__bind(run, arguments, "a filter", "", 0, none));
    RRT__TRY(rrt__str(run, self, &text));
    return rrt__text_case(run, &text, to, out);
}

static rrt_status filter_upper(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    return filter_case(run, self, a, RRT__CASE_UPPER, out);
}

static rrt_status filter_lower(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    return filter_case(run, self, a, RRT__CASE_LOWER, out);
}

static rrt_status filter_capitalize(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                    rrt__value *out)
{
    return filter_case(run, self, a, RRT__CASE_CAPITALIZE, out);
}

// Words begin after white space, - and opening brackets: unlike in str.title().
static rrt_status filter_title(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS], text, piece;
    bool begins = true;
    RRT__TRY(rrt__bind(run, a, "title", "", 0, none));
    RRT__TRY(rrt__str(run, self, &text));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    const char *data = rrt__text_data(&text);
    for (size_t at = 0; at < text.text.length;) {
        size_t n = rrt__space_at(data + at, text.text.length - at), end = at + 1;
        bool parts = n || strchr("-({[<", data[at]);
        if (n) end = at + n;
        while (end < text.text.length && ((unsigned char)data[end] & 0xc0) == 0x80) end++;
        rrt__value one = rrt__text_slice(&text, at, end);
        RRT__TRY(rrt__text_case(run, &one, begins ? RRT__CASE_UPPER : RRT__CASE_LOWER, &piece));
        RRT__TRY(rrt__text_append(run, out, &piece));
        begins = parts && data[at] != '\0';
        at = end;
    }
    return RRT_STATUS_OK;
}

static rrt_status filter_trim(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], text;
    RRT__TRY(rrt__bind(run, a, "trim", "chars", 0, given));
    RRT__TRY(rrt__str(run, self, &text));
    bool has = rrt__is_text(&given[0]);
    RRT__TRY(rrt__work(run, text.text.length * (has ? given[0].text.length + 1 : 1)));
    *out = rrt__text_strip(&text, has ? &given[0] : NULL, 0);
    return RRT_STATUS_OK;
}

static rrt_status filter_string(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "string", "", 0, none));
    return rrt__str(run, self, out);
}

static rrt_status filter_safe(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    RRT__TRY(filter_string(run, self, a, out));
    out->is_markup = true;
    return RRT_STATUS_OK;
}

static rrt_status filter_escape(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value text;
    RRT__TRY(filter_string(run, self, a, &text));
    return rrt__escape(run, &text, out);
}

static rrt_status filter_default(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                 rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "default", "default_value boolean", 0, given));
    bool takes = self->kind == RRT__VALUE_UNDEFINED || (rrt__is_true(&given[1]) && !rrt__is_true(self));
    *out = takes ? given[0] : *self;
    return takes && given[0].kind == RRT__VALUE_MISSING ? rrt__text_copy(run, "", 0, 0, out) : RRT_STATUS_OK;
}

static rrt_status filter_length(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "length", "", 0, none));
    size_t length = 0;
    if (rrt__is_text(self)) {
        RRT__TRY(rrt__work(run, self->text.length));
        length = rrt__text_characters(self);
    } else if (self->kind == RRT__VALUE_DICT) {
        length = self->dict->count;
    } else if (rrt__is_sequence(self) && self->kind != RRT__VALUE_ITERATOR) {
        length = self->sequence->count;
    } else if (self->kind != RRT__VALUE_UNDEFINED) {
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "a %s has no length", rrt__type_name(self));
    }
    *out = rrt__int((int64_t)length);
    return RRT_STATUS_OK;
}

static rrt_status filter_replace(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                 rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], text, old, fresh;
    RRT__TRY(rrt__bind(run, a, "replace", "old new count", 2, given));
    RRT__TRY(rrt__str(run, self, &text));
    RRT__TRY(rrt__str(run, &given[0], &old));
    RRT__TRY(rrt__str(run, &given[1], &fresh));
    text.is_markup = false;
    return rrt__text_replace(run, &text, &old, &fresh, rrt__is_whole(&given[2]) ? rrt__whole(&given[2]) : -1,
                             out);
}

// --- numbers --------------------------------------------------------------------------------------------

// A text as a number in Python's syntax: white space around, _ between digits. False: it is not one.
static bool read_digits(const rrt__value *text, char out[64])
{
    rrt__value inner = rrt__text_strip(text, NULL, 0);
    const char *data = rrt__text_data(&inner);
    size_t n = 0, length = inner.text.length;
    if (!length || length >= 64) return false;
    for (size_t i = 0; i < length; i++) {
        if (data[i] == '_' && i && i + 1 < length && data[i - 1] != '_') continue;
        if (data[i] == '_' || (data[i] & 0x80) || data[i] == ' ' || data[i] == '\0') return false;
        out[n++] = data[i];
    }
    out[n] = '\0';
    return true;
}

static bool read_float(const rrt__value *text, double *out)
{
    char digits[64], *end;
    if (!read_digits(text, digits) || strpbrk(digits, "xXpP(")) return false;
    *out = strtod(digits, &end);
    return *end == '\0' && end != digits;
}

static rrt_status float_to_int(rrt__run *run, double real, rrt__value *out, bool *is)
{
    *is = isfinite(real);
    if (!*is) return RRT_STATUS_OK;
    if (fabs(real) >= 9.2e18)
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a whole number of more than 64 bits");
    *out = rrt__int((int64_t)real);
    return RRT_STATUS_OK;
}

static rrt_status text_to_int(rrt__run *run, const rrt__value *text, int base, rrt__value *out, bool *is)
{
    char digits[64], *end;
    double real;
    *is = false;
    if (read_digits(text, digits)) {
        long long value = strtoll(digits, &end, base);
        *is = *end == '\0' && end != digits;
        *out = rrt__int(value);
        if (*is && (value == INT64_MAX || value == INT64_MIN))
            return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a whole number of more than 64 bits");
    }
    if (!*is && read_float(text, &real)) return float_to_int(run, real, out, is);
    return RRT_STATUS_OK;
}

static rrt_status filter_int(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    bool is = false;
    RRT__TRY(rrt__bind(run, a, "int", "default base", 0, given));
    RRT__TRY(rrt__check_defined(run, self));
    int64_t base = rrt__is_whole(&given[1]) ? rrt__whole(&given[1]) : 10;
    if (base != 10 && base != 16 && base != 8 && base != 2)
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "int to the base of %lld", (long long)base);
    if (rrt__is_whole(self)) {
        is = true;
        *out = rrt__int(rrt__whole(self));
    } else if (self->kind == RRT__VALUE_FLOAT) {
        RRT__TRY(float_to_int(run, self->real, out, &is));
    } else if (rrt__is_text(self)) {
        RRT__TRY(text_to_int(run, self, (int)base, out, &is));
    }
    if (!is) *out = given[0].kind == RRT__VALUE_MISSING ? rrt__int(0) : given[0];
    return RRT_STATUS_OK;
}

static rrt_status filter_float(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    double real;
    RRT__TRY(rrt__bind(run, a, "float", "default", 0, given));
    RRT__TRY(rrt__check_defined(run, self));
    if (rrt__is_number(self))
        *out = rrt__float(rrt__real(self));
    else if (rrt__is_text(self) && read_float(self, &real))
        *out = rrt__float(real);
    else
        *out = given[0].kind == RRT__VALUE_MISSING ? rrt__float(0) : given[0];
    return RRT_STATUS_OK;
}

static rrt_status need_number(rrt__run *run, const rrt__value *self, const char *what)
{
    RRT__TRY(rrt__check_defined(run, self));
    if (rrt__is_number(self)) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_FORMAT, "%s of a %s", what, rrt__type_name(self));
}

static rrt_status filter_abs(rrt__run *run, const rrt__value *self, const rrt__arguments *a, rrt__value *out)
{
    rrt__value none[RRT__MAX_PARAMETERS];
    RRT__TRY(rrt__bind(run, a, "abs", "", 0, none));
    RRT__TRY(need_number(run, self, "abs"));
    const rrt__value zero = rrt__int(0);
    if (self->kind == RRT__VALUE_FLOAT)
        *out = rrt__float(fabs(self->real));
    else
        return rrt__binary(run, rrt__whole(self) < 0 ? '-' : '+', &zero, self, out);
    return RRT_STATUS_OK;
}

static rrt_status filter_round(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                               rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS];
    char digits[400];
    RRT__TRY(rrt__bind(run, a, "round", "precision method", 0, given));
    RRT__TRY(need_number(run, self, "round"));
    int64_t precision = rrt__is_whole(&given[0]) ? rrt__whole(&given[0]) : 0;
    bool is_ceil = rrt__text_is(&given[1], "ceil"), is_floor = rrt__text_is(&given[1], "floor");
    if (precision < 0 || precision > 20)
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "round to such a precision");
    if (given[1].kind != RRT__VALUE_MISSING && !is_ceil && !is_floor && !rrt__text_is(&given[1], "common"))
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "round's method has to be common, ceil or floor");
    double scale = pow(10, (double)precision), real = rrt__real(self);
    if (is_ceil || is_floor) {
        *out = rrt__float((is_ceil ? ceil(real * scale) : floor(real * scale)) / scale);
    } else if (rrt__is_whole(self)) {
        *out = rrt__int(rrt__whole(self));
    } else {
        snprintf(digits, sizeof digits, "%.*f", (int)precision, real);
        *out = rrt__float(strtod(digits, NULL));
    }
    return RRT_STATUS_OK;
}

// --- lines ----------------------------------------------------------------------------------------------

static rrt_status filter_indent(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value given[RRT__MAX_PARAMETERS], lines, indent, newline;
    RRT__TRY(rrt__bind(run, a, "indent", "width first blank", 0, given));
    RRT__TRY(rrt__check_defined(run, self));
    if (!rrt__is_text(self) || self->is_markup)
        return rrt__run_fail(run, self->is_markup ? RRT_STATUS_UNSUPPORTED : RRT_STATUS_FORMAT,
                             "indent of a %s", rrt__type_name(self));
    RRT__TRY(rrt__text_copy(run, "", 0, 0, &indent));
    int64_t width = rrt__is_whole(&given[0]) ? rrt__whole(&given[0]) : 4;
    if (rrt__is_text(&given[0])) indent = given[0];
    for (int64_t i = 0; !rrt__is_text(&given[0]) && i < width; i++)
        RRT__TRY(rrt__text_append_bytes(run, &indent, " ", 1, 0));
    RRT__TRY(rrt__text_copy(run, "\n", 1, 0, &newline));
    RRT__TRY(rrt__split_lines(run, self, false, &lines));
    bool first = rrt__is_true(&given[1]), blank = rrt__is_true(&given[2]);
    size_t count = lines.sequence->count;
    const rrt__value *items = lines.sequence->items;
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    // Jinja adds a line break before splitting into lines: a text that ends with one has an additional
    // empty line.
    bool more = !self->text.length || rrt__ends_line(self);
    for (size_t i = 0; i < count + more; i++) {
        bool is_empty = i == count || !items[i].text.length;
        if (i) RRT__TRY(rrt__text_append(run, out, &newline));
        if (i ? blank || !is_empty : first) RRT__TRY(rrt__text_append(run, out, &indent));
        if (i < count) RRT__TRY(rrt__text_append(run, out, &items[i]));
    }
    return RRT_STATUS_OK;
}

// "%s"|format(…)
static rrt_status filter_format(rrt__run *run, const rrt__value *self, const rrt__arguments *a,
                                rrt__value *out)
{
    rrt__value text, values;
    RRT__TRY(rrt__str(run, self, &text));
    if (a->n_named && a->count)
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "format takes values with or without names, not both");
    if (a->n_named) {
        RRT__TRY(rrt__dict_new(run, &values));
        for (size_t i = 0; i < a->n_named; i++)
            RRT__TRY(rrt__dict_set(run, values.dict, a->named[i].key, a->named[i].value));
    } else {
        RRT__TRY(rrt__value_list_new(run, RRT__VALUE_TUPLE, a->count, &values));
        for (size_t i = 0; i < a->count; i++) RRT__TRY(rrt__value_list_add(run, &values, a->items[i]));
    }
    return rrt__format_percent(run, &text, &values, out);
}

const rrt__filter rrt__text_filters[] = {
    {"abs", filter_abs},
    {"capitalize", filter_capitalize},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"float", filter_float},
    {"format", filter_format},
    {"indent", filter_indent},
    {"int", filter_int},
    {"length", filter_length},
    {"lower", filter_lower},
    {"replace", filter_replace},
    {"round", filter_round},
    {"safe", filter_safe},
    {"string", filter_string},
    {"title", filter_title},
    {"tojson", rrt__filter_tojson},
    {"trim", filter_trim},
    {"upper", filter_upper},
    {NULL, NULL},
};

const rrt__filter *rrt__filter_find(const char *name, size_t length)
{
    const rrt__filter *const tables[] = {rrt__text_filters, rrt__list_filters};
    for (int i = 0; i < 2; i++)
        for (const rrt__filter *filter = tables[i]; filter->name; filter++)
            if (strlen(filter->name) == length && memcmp(filter->name, name, length) == 0) return filter;
    return NULL;
}
