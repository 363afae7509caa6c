// Values as text: Python's str() and repr().
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "template/run.h"

void rrt__float_text(double real, char out[64])
{
    char digits[40];
    if (isnan(real) || isinf(real)) {
        snprintf(out, 64, "%s", isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
        return;
    }
    int precision = 1;
    do snprintf(digits, sizeof digits, "%.*e", precision - 1, real);
    while (strtod(digits, NULL) != real && ++precision <= 17);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        char *e = strchr(digits, 'e');
        snprintf(out, 64, "%.*se%c%02d", (int)(e - digits), digits, exponent < 0 ? '-' : '+', abs(exponent));
    } else {
        int decimals = precision - 1 - exponent;
        snprintf(out, 64, "%.*f", decimals > 1 ? decimals : 1, real);
    }
}

static rrt_status put(rrt__run *run, rrt__value *out, const char *text)
{
    return rrt__text_append_bytes(run, out, text, strlen(text), 0);
}

static rrt_status repr_text(rrt__run *run, rrt__value *out, const rrt__value *text)
{
    const char *data = rrt__text_data(text);
    size_t length = text->text.length;
    if (text->is_markup)
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a string of 'safe' inside a list or dict");
    char quote = length && memchr(data, '\'', length) && !memchr(data, '"', length) ? '"' : '\'';
    RRT__TRY(rrt__text_append_bytes(run, out, &quote, 1, 0));
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t c;
        char escape[16] = "";
        n = rrt__utf8_decode(data + at, length - at, &c);
        if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c == (unsigned char)quote || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", (int)c);
        else if (!rrt__is_printable(c))
            snprintf(escape, sizeof escape,
                     c < 0x100     ? "\\x%02x"
                     : c < 0x10000 ? "\\u%04x"
                                   : "\\U%08x",
                     (unsigned)c);
        const char *piece = escape[0] ? escape : data + at;
        size_t piece_length = escape[0] ? strlen(escape) : n;
        RRT__TRY(rrt__text_append_bytes(run, out, piece, piece_length, rrt__text_mark(text, at)));
    }
    return rrt__text_append_bytes(run, out, &quote, 1, 0);
}

static rrt_status repr_items(rrt__run *run, rrt__value *out, const rrt__value *value, const char *open,
                             const char *close)
{
    const rrt__value_list *s = value->sequence;
    RRT__TRY(put(run, out, open));
    for (size_t i = 0; i < s->count; i++) {
        if (i) RRT__TRY(put(run, out, ", "));
        RRT__TRY(rrt__append_repr(run, out, &s->items[i]));
    }
    if (value->kind == RRT__VALUE_TUPLE && s->count == 1) RRT__TRY(put(run, out, ","));
    return put(run, out, close);
}

static rrt_status repr_dict(rrt__run *run, rrt__value *out, const rrt__dict *dict)
{
    RRT__TRY(put(run, out, "{"));
    for (size_t i = 0; i < dict->count; i++) {
        if (i) RRT__TRY(put(run, out, ", "));
        RRT__TRY(rrt__append_repr(run, out, &dict->entries[i].key));
        RRT__TRY(put(run, out, ": "));
        RRT__TRY(rrt__append_repr(run, out, &dict->entries[i].value));
    }
    return put(run, out, "}");
}

static rrt_status repr_range(rrt__run *run, rrt__value *out, const rrt__value_list *s)
{
    char text[96];
    if (s->step == 1)
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ")", s->start, s->stop);
    else
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", s->start, s->stop,
                 s->step);
    return put(run, out, text);
}

static rrt_status repr_inside(rrt__run *run, rrt__value *out, const rrt__value *value)
{
    char text[64];
    switch (value->kind) {
    case RRT__VALUE_NONE:
        return put(run, out, "None");
    case RRT__VALUE_UNDEFINED:
        return put(run, out, "Undefined");
    case RRT__VALUE_BOOL:
        return put(run, out, value->truth ? "True" : "False");
    case RRT__VALUE_INT:
        snprintf(text, sizeof text, "%" PRId64, value->integer);
        return put(run, out, text);
    case RRT__VALUE_FLOAT:
        rrt__float_text(value->real, text);
        return put(run, out, text);
    case RRT__VALUE_TEXT:
        return repr_text(run, out, value);
    case RRT__VALUE_LIST:
        return repr_items(run, out, value, "[", "]");
    case RRT__VALUE_TUPLE:
        return repr_items(run, out, value, "(", ")");
    case RRT__VALUE_RANGE:
        return repr_range(run, out, value->sequence);
    case RRT__VALUE_VIEW:
        RRT__TRY(put(run, out, value->sequence->name));
        return repr_items(run, out, value, "([", "])");
    case RRT__VALUE_DICT:
        return repr_dict(run, out, value->dict);
    case RRT__VALUE_NAMESPACE:
        RRT__TRY(put(run, out, "<Namespace "));
        RRT__TRY(repr_dict(run, out, value->dict));
        return put(run, out, ">");
    default:
        return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a %s as text", rrt__type_name(value));
    }
}

rrt_status rrt__append_repr(rrt__run *run, rrt__value *out, const rrt__value *value)
{
    rrt_status status = rrt__enter(run);
    if (!status) status = rrt__work(run, 1);
    if (!status) status = repr_inside(run, out, value);
    rrt__leave(run);
    return status;
}

rrt_status rrt__append_str(rrt__run *run, rrt__value *out, const rrt__value *value)
{
    if (rrt__is_text(value)) return rrt__text_append(run, out, value);
    if (value->kind == RRT__VALUE_UNDEFINED) return RRT_STATUS_OK;
    return rrt__append_repr(run, out, value);
}

rrt_status rrt__str(rrt__run *run, const rrt__value *value, rrt__value *out)
{
    if (rrt__is_text(value)) {
        *out = *value;
        return RRT_STATUS_OK;
    }
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    return rrt__append_str(run, out, value);
}
