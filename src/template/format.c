// Python's two ways of formatting: "%s" % values and "{}".format(values).
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template/run.h"

typedef struct specification {
    char fill[5], align, sign, type; // 0: not given
    bool groups, alternate;
    int width, precision; // -1: not given
} specification;

static rrt_status fail_form(rrt__run *run, const char *what)
{
    return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a format: %s", what);
}

// A number's digits, with its sign.
static rrt_status number_text(rrt__run *run, const specification *s, const rrt__value *value, char out[512])
{
    char digits[480];
    char type = s->type ? s->type : rrt__is_whole(value) ? 'd' : 'r';
    int precision = s->precision < 0 ? 6 : s->precision;
    double real = rrt__real(value);
    if (type == 'd' || type == 'i' || type == 'u') {
        if (!(real > -9.2e18 && real < 9.2e18)) return fail_form(run, "so long a number");
        int64_t whole = rrt__is_whole(value) ? rrt__whole(value) : (int64_t)real;
        snprintf(digits, sizeof digits, "%" PRId64, whole);
    } else if ((type == 'x' || type == 'X' || type == 'o') && rrt__is_whole(value) &&
               rrt__whole(value) >= 0) {
        snprintf(digits, sizeof digits,
                 type == 'x'   ? "%" PRIx64
                 : type == 'X' ? "%" PRIX64
                               : "%" PRIo64,
                 (uint64_t)rrt__whole(value));
    } else if (strchr("feEgGF%", type)) {
        if (precision > 60 || real > 1e200 || real < -1e200) return fail_form(run, "so many digits");
        snprintf(digits, sizeof digits,
                 type == 'e'   ? "%.*e"
                 : type == 'E' ? "%.*E"
                 : type == 'g' ? "%.*g"
                 : type == 'G' ? "%.*G"
                               : "%.*f",
                 precision, type == '%' ? real * 100 : real);
    } else if (type == 'r' && s->precision < 0) {
        rrt__float_text(real, digits);
    } else {
        return fail_form(run, "a number of this type");
    }
    bool is_negative = digits[0] == '-';
    snprintf(out, 512, "%s%s%s", !is_negative && s->sign && s->sign != '-' ? (char[]){s->sign, 0} : "",
             digits, type == '%' ? "%" : "");
    return RRT_STATUS_OK;
}

// 1234567 → 1,234,567
static void group(char text[512])
{
    char grouped[512];
    size_t begin = text[0] == '-' || text[0] == '+' || text[0] == ' ' ? 1 : 0, n = 0;
    size_t whole = begin + strspn(text + begin, "0123456789");
    if (strlen(text) > 300) return;
    for (size_t i = 0; text[i]; i++) {
        if (i > begin && i < whole && (whole - i) % 3 == 0) grouped[n++] = ',';
        grouped[n++] = text[i];
    }
    grouped[n] = '\0';
    memcpy(text, grouped, n + 1);
}

static rrt_status pad(rrt__run *run, rrt__value *out, const specification *s, const rrt__value *text,
                      bool is_number)
{
    char align = s->align ? s->align : is_number ? '>' : '<';
    int64_t more = s->width - (int64_t)rrt__text_characters(text);
    int64_t before = align == '>' || align == '=' ? more : align == '^' ? more / 2 : 0;
    const char *fill = s->fill[0] ? s->fill : " ";
    size_t sign = 0;
    if (align == '=' && text->text.length && strchr("+- ", *rrt__text_data(text))) sign = 1;
    rrt__value head = rrt__text_slice(text, 0, sign), tail = rrt__text_slice(text, sign, text->text.length);
    RRT__TRY(rrt__text_append(run, out, &head));
    for (int64_t i = 0; i < before; i++) RRT__TRY(rrt__text_append_bytes(run, out, fill, strlen(fill), 0));
    RRT__TRY(rrt__text_append(run, out, &tail));
    for (int64_t i = before < 0 ? 0 : before; i < more; i++)
        RRT__TRY(rrt__text_append_bytes(run, out, fill, strlen(fill), 0));
    return RRT_STATUS_OK;
}

static rrt_status put_formatted(rrt__run *run, rrt__value *out, const specification *s,
                                const rrt__value *value)
{
    rrt__value text;
    char digits[512];
    bool is_plain = !s->type && !s->align && !s->sign && s->width < 0; // a bool is then printed as a word
    bool is_number = rrt__is_number(value) && s->type != 's' && (value->kind != RRT__VALUE_BOOL || !is_plain);
    if (s->alternate) return fail_form(run, "#");
    if (!is_number) {
        if (s->type && s->type != 's')
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "a %s as a number", rrt__type_name(value));
        RRT__TRY(rrt__str(run, value, &text));
        if (s->precision >= 0)
            text = rrt__text_slice(&text, 0, rrt__text_offset(&text, (size_t)s->precision));
        return pad(run, out, s, &text, false);
    }
    RRT__TRY(number_text(run, s, value, digits));
    if (s->groups) group(digits);
    RRT__TRY(rrt__text_copy(run, digits, strlen(digits), 0, &text));
    return pad(run, out, s, &text, true);
}

// A whole number at *at, at most 6 digits; -1 if there is none.
static int read_number(const char **at, const char *end)
{
    int number = -1;
    for (int n = 0; n < 6 && *at < end && **at >= '0' && **at <= '9'; n++, ++*at)
        number = (number < 0 ? 0 : number * 10) + (**at - '0');
    return number;
}

// --- percent --------------------------------------------------------------------------------------------

typedef struct percent {
    rrt__run *run;
    const rrt__value *values;
    size_t used;
} percent;

static rrt_status next_value(percent *p, const rrt__value **out)
{
    bool is_tuple = p->values->kind == RRT__VALUE_TUPLE;
    size_t count = is_tuple ? p->values->sequence->count : 1;
    if (p->used == count) return rrt__run_fail(p->run, RRT_STATUS_FORMAT, "too few values for a format");
    *out = is_tuple ? &p->values->sequence->items[p->used] : p->values;
    p->used++;
    return RRT_STATUS_OK;
}

static rrt_status find_value(percent *p, const char **at, const char *end, const rrt__value **out)
{
    rrt__value key, *found = NULL;
    const char *close;
    if (**at != '(') return RRT_STATUS_OK;
    close = memchr(*at, ')', (size_t)(end - *at));
    if (!close || p->values->kind != RRT__VALUE_DICT)
        return rrt__run_fail(p->run, RRT_STATUS_FORMAT, "a format asks for a name");
    RRT__TRY(rrt__text_copy(p->run, *at + 1, (size_t)(close - *at - 1), 0, &key));
    RRT__TRY(rrt__dict_find(p->run, p->values->dict, &key, &found));
    if (!found) return rrt__run_fail(p->run, RRT_STATUS_FORMAT, "a format's name is not there");
    *out = found;
    *at = close + 1;
    return RRT_STATUS_OK;
}

static rrt_status read_percent(percent *p, const char **at, const char *end, rrt__value *out)
{
    specification s = {.width = -1, .precision = -1};
    const rrt__value *value = NULL;
    rrt__value text;
    if (*at == end) return rrt__run_fail(p->run, RRT_STATUS_FORMAT, "a format ends within");
    RRT__TRY(find_value(p, at, end, &value));
    for (; *at < end && strchr("-+ 0#", **at); ++*at) {
        if (**at == '-') s.align = '<';
        if (**at == '+' || (**at == ' ' && !s.sign)) s.sign = **at;
        if (**at == '#') s.alternate = true;
        if (**at == '0' && !s.align) s.align = '=', s.fill[0] = '0';
    }
    if (s.align == '<') s.fill[0] = '\0';
    s.width = read_number(at, end);
    if (*at < end && **at == '.') {
        ++*at;
        s.precision = read_number(at, end);
        if (s.precision < 0) s.precision = 0;
    }
    if (*at == end) return rrt__run_fail(p->run, RRT_STATUS_FORMAT, "a format ends within");
    s.type = *(*at)++;
    if (s.type == '%') return rrt__text_append_bytes(p->run, out, "%", 1, 0);
    if (!strchr("sdiufFeEgGxXor", s.type)) return fail_form(p->run, "a type");
    if (!value) RRT__TRY(next_value(p, &value));
    if (s.type == 's' || s.type == 'r') {
        RRT__TRY(rrt__text_copy(p->run, "", 0, 0, &text));
        RRT__TRY(s.type == 's' ? rrt__append_str(p->run, &text, value)
                               : rrt__append_repr(p->run, &text, value));
        s.type = 's';
        if (s.align != '<') s.align = '>', s.fill[0] = '\0';
        return put_formatted(p->run, out, &s, &text);
    }
    RRT__TRY(rrt__check_defined(p->run, value));
    return put_formatted(p->run, out, &s, value);
}

rrt_status rrt__format_percent(rrt__run *run, const rrt__value *format, const rrt__value *values,
                               rrt__value *out)
{
    percent p = {.run = run, .values = values};
    if (format->is_markup) return fail_form(run, "of what 'safe' made");
    const char *begin = rrt__text_data(format), *at = begin, *end = at + format->text.length;
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    while (at < end) {
        const char *sign = memchr(at, '%', (size_t)(end - at)), *stop = sign ? sign : end;
        const rrt__value piece = rrt__text_slice(format, (size_t)(at - begin), (size_t)(stop - begin));
        RRT__TRY(rrt__text_append(run, out, &piece));
        at = stop;
        if (!sign) break;
        at++;
        RRT__TRY(read_percent(&p, &at, end, out));
    }
    bool has_rest = values->kind == RRT__VALUE_TUPLE
                        ? p.used < values->sequence->count
                        : !p.used && values->kind != RRT__VALUE_DICT && values->kind != RRT__VALUE_LIST;
    if (has_rest) return rrt__run_fail(run, RRT_STATUS_FORMAT, "more values than a format takes");
    return RRT_STATUS_OK;
}

// --- braces ---------------------------------------------------------------------------------------------

typedef struct braces {
    rrt__run *run;
    const rrt__value *format;
    const rrt__arguments *arguments;
    size_t next;
} braces;

static rrt_status start_of_field(braces *b, const char *name, size_t length, rrt__value *out)
{
    char *end;
    size_t index = b->next;
    for (size_t i = 0; i < b->arguments->n_named; i++) {
        const rrt__value *key = &b->arguments->named[i].key;
        *out = b->arguments->named[i].value;
        if (length && key->text.length == length && memcmp(rrt__text_data(key), name, length) == 0)
            return RRT_STATUS_OK;
    }
    if (length) {
        char digits[8] = "";
        memcpy(digits, name, length < 7 ? length : 7);
        index = strtoul(digits, &end, 10);
        if (length > 6 || *end || digits[0] < '0' || digits[0] > '9')
            return rrt__run_fail(b->run, RRT_STATUS_FORMAT, "a format's name is not there");
    } else {
        b->next++;
    }
    if (index >= b->arguments->count)
        return rrt__run_fail(b->run, RRT_STATUS_FORMAT, "too few values for a format");
    *out = b->arguments->items[index];
    return RRT_STATUS_OK;
}

// Looks up "a.b[c]" in the arguments.
static rrt_status find_field(braces *b, const char *at, const char *end, rrt__value *out)
{
    size_t length = 0;
    while (at + length < end && at[length] != '.' && at[length] != '[') length++;
    RRT__TRY(start_of_field(b, at, length, out));
    if (at + length < end) return fail_form(b->run, "a field's members");
    return RRT_STATUS_OK;
}

static rrt_status read_specification(braces *b, const char *at, const char *end, specification *s)
{
    *s = (specification){.width = -1, .precision = -1};
    if (memchr(at, '{', (size_t)(end - at))) return fail_form(b->run, "a format within a format");
    if (end - at >= 2 && strchr("<>^=", at[1])) {
        if (at[0] & 0x80) return fail_form(b->run, "what to fill with");
        s->fill[0] = at[0];
        s->align = at[1];
        at += 2;
    } else if (end > at && strchr("<>^=", *at)) {
        s->align = *at++;
    }
    if (at < end && strchr("+- ", *at)) s->sign = *at++;
    if (at < end && *at == '#') s->alternate = *at++ == '#';
    if (at < end && *at == '0' && !s->align) {
        s->align = '=';
        s->fill[0] = '0';
    }
    s->width = read_number(&at, end);
    if (at < end && *at == ',') s->groups = *at++ == ',';
    if (at < end && *at == '.') {
        at++;
        s->precision = read_number(&at, end);
    }
    if (at < end) s->type = *at++;
    if (at < end || (s->type && !strchr("sdfFeEgGxXo%", s->type))) return fail_form(b->run, "its details");
    return RRT_STATUS_OK;
}

static rrt_status put_field(braces *b, const char *at, const char *end, rrt__value *out)
{
    rrt__value value, text;
    specification s;
    const char *colon = memchr(at, ':', (size_t)(end - at)), *stop = colon ? colon : end;
    const char *mark = memchr(at, '!', (size_t)(stop - at));
    RRT__TRY(find_field(b, at, mark ? mark : stop, &value));
    RRT__TRY(read_specification(b, colon ? colon + 1 : end, end, &s));
    if (mark && mark + 2 == stop && (mark[1] == 'r' || mark[1] == 's')) {
        RRT__TRY(rrt__text_copy(b->run, "", 0, 0, &text));
        RRT__TRY(mark[1] == 'r' ? rrt__append_repr(b->run, &text, &value)
                                : rrt__append_str(b->run, &text, &value));
        value = text;
    } else if (mark) {
        return fail_form(b->run, "a conversion");
    }
    bool takes = rrt__is_text(&value) || rrt__is_number(&value) || end == stop || colon + 1 == end;
    if (!takes)
        return rrt__run_fail(b->run, RRT_STATUS_FORMAT, "details of a format for a %s",
                             rrt__type_name(&value));
    return put_formatted(b->run, out, &s, &value);
}

rrt_status rrt__format_braces(rrt__run *run, const rrt__value *format, const rrt__arguments *arguments,
                              rrt__value *out)
{
    braces b = {.run = run, .format = format, .arguments = arguments};
    if (format->is_markup) return fail_form(run, "of what 'safe' made");
    const char *begin = rrt__text_data(format), *at = begin, *end = at + format->text.length;
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    while (at < end) {
        const char *stop = at;
        while (stop < end && *stop != '{' && *stop != '}') stop++;
        rrt__value piece = rrt__text_slice(format, (size_t)(at - begin), (size_t)(stop - begin));
        RRT__TRY(rrt__text_append(run, out, &piece));
        if (stop == end) break;
        if (stop + 1 < end && stop[1] == *stop) { // {{ or }}
            RRT__TRY(rrt__text_append_bytes(run, out, stop, 1, 0));
            at = stop + 2;
            continue;
        }
        const char *close = memchr(stop, '}', (size_t)(end - stop));
        if (*stop == '}' || !close)
            return rrt__run_fail(run, RRT_STATUS_FORMAT, "a format with a brace too many");
        RRT__TRY(put_field(&b, stop + 1, close, out));
        at = close + 1;
    }
    return RRT_STATUS_OK;
}
