// String literals and numbers.
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "template/template_inside.h"

rrt_status rrt__parse_constant(rrt__parser *p, rrt__value value, rrt__node **out)
{
    RRT__TRY(rrt__node_new(p, RRT__NODE_CONSTANT, out));
    (*out)->constant = value;
    return RRT_STATUS_OK;
}

static rrt_status read_escape_number(rrt__parser *p, const char **at, const char *end, size_t max_digits,
                                     int base, uint32_t *out)
{
    char digits[9] = "", *stop;
    size_t n = 0;
    while (n < max_digits && *at + n < end) {
        digits[n] = (*at)[n];
        digits[n + 1] = '\0';
        strtoul(digits, &stop, base);
        if (*stop || digits[n] == '-' || digits[n] == '+' || digits[n] == ' ') break;
        n++;
    }
    digits[n] = '\0';
    *out = (uint32_t)strtoul(digits, NULL, base);
    if (base == 16 && n < max_digits)
        return rrt__parse_fail(p, RRT_STATUS_FORMAT, "a cut escape in a string");
    *at += n;
    return RRT_STATUS_OK;
}

// Reads the escape sequence after a backslash, as in Python's unicode-escape.
static rrt_status read_escape(rrt__parser *p, const char **at, const char *end, rrt__value *text)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = *(*at)++;
    const char *simple = c ? strchr(from, c) : NULL;
    uint32_t codepoint = 0;
    if (c == '\n') return RRT_STATUS_OK;
    if (simple) return rrt__text_append_bytes(p->run, text, &to[simple - from], 1, 0);
    size_t max_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (c == 'N') return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "the escape \\N{…} in a string");
    if (max_digits) {
        RRT__TRY(read_escape_number(p, at, end, max_digits, 16, &codepoint));
    } else if (c >= '0' && c <= '7') {
        --*at;
        RRT__TRY(read_escape_number(p, at, end, 3, 8, &codepoint));
    } else {
        --*at; // the backslash is kept
        return rrt__text_append_bytes(p->run, text, "\\", 1, 0);
    }
    if (codepoint > 0x10ffff || (codepoint >= 0xd800 && codepoint < 0xe000))
        return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "an escape in a string that is no character");
    char utf8[4];
    return rrt__text_append_bytes(p->run, text, utf8, rrt__utf8_encode(codepoint, utf8), 0);
}

static rrt_status append_literal(rrt__parser *p, rrt__value *text)
{
    const char *at = p->at->text + 1, *end = p->at->text + p->at->length - 1;
    while (at < end) {
        const char *slash = memchr(at, '\\', (size_t)(end - at)), *stop = slash ? slash : end;
        RRT__TRY(rrt__text_append_bytes(p->run, text, at, (size_t)(stop - at), 0));
        at = stop;
        if (!slash) break;
        at++;
        RRT__TRY(read_escape(p, &at, end, text));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__parse_text(rrt__parser *p, rrt__node **out)
{
    rrt__value text;
    RRT__TRY(rrt__text_copy(p->run, "", 0, 0, &text));
    for (; p->at->kind == RRT__LEX_TEXT; p->at++) RRT__TRY(append_literal(p, &text));
    // Nothing may append in place: threads share this text.
    text.text.buffer->capacity = text.text.buffer->used;
    return rrt__parse_constant(p, text, out);
}

rrt_status rrt__parse_number(rrt__parser *p, rrt__node **out)
{
    char digits[64], *stop;
    size_t n = 0;
    const rrt__lexeme *token = p->at;
    for (size_t i = 0; i < token->length; i++) {
        if (token->text[i] == '_') continue;
        if (n + 1 == sizeof digits) return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "a number as long");
        digits[n++] = token->text[i];
    }
    digits[n] = '\0';
    if (token->kind == RRT__LEX_FLOAT) {
        RRT__TRY(rrt__parse_constant(p, rrt__float(strtod(digits, NULL)), out));
    } else {
        int base = n > 1 && (digits[1] | 32) == 'x' ? 16 : 10;
        if (n > 1 && (digits[1] | 32) == 'o') base = 8;
        if (n > 1 && (digits[1] | 32) == 'b') base = 2;
        unsigned long long value = strtoull(digits + (base == 10 ? 0 : 2), &stop, base);
        if (*stop || value > INT64_MAX)
            return rrt__parse_fail(p, RRT_STATUS_UNSUPPORTED, "the number '%s': it has to fit into 64 bits",
                                   digits);
        RRT__TRY(rrt__parse_constant(p, rrt__int((int64_t)value), out));
    }
    p->at++;
    return RRT_STATUS_OK;
}
