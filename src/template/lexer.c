// Splits text into tokens like Jinja's lexer with trim_blocks and lstrip_blocks.
#include <string.h>

#include "template/template_inside.h"

typedef struct lexer {
    rrt__run *run;
    const char *at, *end, *begin;
    int line;
    rrt__lexeme *tokens;
    size_t count, capacity;
} lexer;

static rrt_status fail(lexer *l, const char *what)
{
    l->run->line = l->line;
    return rrt__run_fail(l->run, RRT_STATUS_FORMAT, "%s", what);
}

static rrt_status add(lexer *l, rrt__token_kind kind, const char *text, size_t length)
{
    if (l->count == l->capacity) {
        size_t grown = l->capacity * 2 + 64;
        rrt__lexeme *bigger;
        RRT__TRY(rrt__pool_alloc(&l->run->pool, &bigger, grown, sizeof *bigger, l->run->err));
        if (l->count) memcpy(bigger, l->tokens, l->count * sizeof *bigger);
        l->tokens = bigger;
        l->capacity = grown;
    }
    l->tokens[l->count++] = (rrt__lexeme){kind, l->line, text, length};
    return RRT_STATUS_OK;
}

static void advance(lexer *l, const char *to)
{
    for (; l->at < to; l->at++) l->line += *l->at == '\n';
}

static bool starts(const lexer *l, const char *at, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(l->end - at) >= length && memcmp(at, text, length) == 0;
}

static void skip_space(lexer *l)
{
    size_t n;
    while ((n = rrt__space_at(l->at, (size_t)(l->end - l->at))) > 0) advance(l, l->at + n);
}

static const char *behind_space(const lexer *l, const char *at)
{
    size_t n;
    while ((n = rrt__space_at(at, (size_t)(l->end - at))) > 0) at += n;
    return at;
}

// Adds the text before a tag, without the white space that its sign and lstrip_blocks strip.
static rrt_status add_data(lexer *l, const char *from, const char *to, char sign, bool is_print)
{
    const char *end = to;
    size_t n;
    if (sign == '-')
        while (end > from && (n = rrt__space_before(from, (size_t)(end - from))) > 0) end -= n;
    if (sign == 0 && !is_print) {
        const char *line = to;
        while (line > from && line[-1] != '\n') line--;
        bool starts_line = line > from || from == l->begin || from[-1] == '\n';
        if (starts_line && behind_space(l, line) >= to) end = line;
    }
    return end > from ? add(l, RRT__LEX_DATA, from, (size_t)(end - from)) : RRT_STATUS_OK;
}

static char sign_at(const lexer *l, const char *at)
{
    return at < l->end && (*at == '-' || *at == '+') ? *at : 0;
}

// After a tag whose closing mark of two characters begins at `mark`: trims for the sign or for trim_blocks.
static void leave_tag(lexer *l, const char *mark, char sign, bool trims)
{
    advance(l, mark + 2);
    if (sign == '-') skip_space(l);
    if (sign == 0 && trims && l->at < l->end && *l->at == '\n') advance(l, l->at + 1);
}

static rrt_status lex_comment(lexer *l)
{
    const char *from = l->at + 2;
    if (sign_at(l, from)) from++;
    for (const char *p = from; p + 1 < l->end; p++) {
        if (p[0] != '#' || p[1] != '}') continue;
        char sign = p > from ? sign_at(l, p - 1) : 0;
        leave_tag(l, p, sign, true);
        return RRT_STATUS_OK;
    }
    return fail(l, "a comment has no end (#})");
}

// The end of "{%- raw %}" at `at`; NULL if it is something else.
static const char *word_tag(const lexer *l, const char *at, const char *word, char *end_sign)
{
    at += 2;
    if (sign_at(l, at)) at++;
    at = behind_space(l, at);
    if (!starts(l, at, word)) return NULL;
    at = behind_space(l, at + strlen(word));
    *end_sign = sign_at(l, at);
    if (*end_sign) at++;
    return starts(l, at, "%}") ? at : NULL;
}

static rrt_status lex_raw(lexer *l, const char *mark, char sign)
{
    leave_tag(l, mark, sign, false);
    const char *from = l->at;
    for (const char *p = from; p + 1 < l->end; p++) {
        if (p[0] != '{' || p[1] != '%') continue;
        const char *end = word_tag(l, p, "endraw", &sign);
        if (!end) continue;
        RRT__TRY(add_data(l, from, p, sign_at(l, p + 2), false));
        leave_tag(l, end, sign, true);
        return RRT_STATUS_OK;
    }
    return fail(l, "a raw block has no end ({% endraw %})");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static const char *digits(const lexer *l, const char *p)
{
    while (p < l->end && (is_digit(*p) || (*p == '_' && p + 1 < l->end && is_digit(p[1])))) p++;
    return p;
}

static rrt_status lex_number(lexer *l)
{
    const char *p = l->at;
    bool is_float = false;
    if (*p == '0' && p + 1 < l->end && strchr("xXoObB", p[1])) {
        for (p += 2; p < l->end && (is_digit(*p) || is_name(*p)); p++) continue;
    } else {
        p = digits(l, p);
        if (p + 1 < l->end && *p == '.' && is_digit(p[1])) {
            is_float = true;
            p = digits(l, p + 1);
        }
        if (p < l->end && (*p == 'e' || *p == 'E')) {
            const char *q = p + 1;
            if (q < l->end && (*q == '-' || *q == '+')) q++;
            if (q < l->end && is_digit(*q)) {
                is_float = true;
                p = digits(l, q);
            }
        }
    }
    RRT__TRY(add(l, is_float ? RRT__LEX_FLOAT : RRT__LEX_INT, l->at, (size_t)(p - l->at)));
    l->at = p;
    return RRT_STATUS_OK;
}

static rrt_status lex_text(lexer *l)
{
    const char *p = l->at + 1;
    while (p < l->end && *p != *l->at) p += *p == '\\' ? 2 : 1;
    if (p >= l->end) return fail(l, "a string has no end");
    RRT__TRY(add(l, RRT__LEX_TEXT, l->at, (size_t)(p + 1 - l->at)));
    advance(l, p + 1);
    return RRT_STATUS_OK;
}

// One token inside a tag.
static rrt_status lex_inside(lexer *l, int *open)
{
    static const char *const twos[] = {"**", "//", "==", "!=", "<=", ">="};
    char c = *l->at;
    if (is_digit(c)) return lex_number(l);
    if (c == '"' || c == '\'') return lex_text(l);
    if (is_name(c)) {
        const char *p = l->at;
        while (p < l->end && (is_name(*p) || is_digit(*p)) && !rrt__space_at(p, (size_t)(l->end - p))) p++;
        RRT__TRY(add(l, RRT__LEX_NAME, l->at, (size_t)(p - l->at)));
        l->at = p;
        return RRT_STATUS_OK;
    }
    size_t length = 1;
    for (size_t i = 0; i < sizeof twos / sizeof *twos; i++)
        if (starts(l, l->at, twos[i])) length = 2;
    if (length == 1 && (c == '\0' || !strchr("+-/*%~[](){}<>=.:|,;", c)))
        return fail(l, "a character that no tag may hold");
    if (strchr("([{", c)) ++*open;
    if (strchr(")]}", c)) --*open;
    if (*open < 0) return fail(l, "a bracket is closed that was not opened");
    RRT__TRY(add(l, RRT__LEX_OPERATOR, l->at, length));
    l->at += length;
    return RRT_STATUS_OK;
}

static rrt_status lex_tag(lexer *l, bool is_print)
{
    const char *mark = is_print ? "}}" : "%}";
    int open = 0;
    advance(l, l->at + 2);
    if (sign_at(l, l->at)) l->at++;
    RRT__TRY(add(l, is_print ? RRT__LEX_PRINT_BEGIN : RRT__LEX_BLOCK_BEGIN, l->at, 0));
    for (;;) {
        skip_space(l);
        if (l->at >= l->end) return fail(l, is_print ? "}} is missing" : "%} is missing");
        char sign = sign_at(l, l->at);
        if (is_print && sign == '+') sign = 0;
        const char *end = l->at + (sign ? 1 : 0);
        if (!open && starts(l, end, mark)) {
            RRT__TRY(add(l, is_print ? RRT__LEX_PRINT_END : RRT__LEX_BLOCK_END, end, 2));
            leave_tag(l, end, sign, !is_print);
            return RRT_STATUS_OK;
        }
        RRT__TRY(lex_inside(l, &open));
    }
}

static rrt_status lex_all(lexer *l)
{
    while (l->at < l->end) {
        const char *from = l->at, *p = from, *raw = NULL;
        char sign = 0;
        while (p + 1 < l->end && !(p[0] == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#'))) p++;
        if (p + 1 >= l->end) p = l->end;
        bool is_print = p < l->end && p[1] == '{';
        if (p == l->end) {
            RRT__TRY(add(l, RRT__LEX_DATA, from, (size_t)(p - from)));
            break;
        }
        RRT__TRY(add_data(l, from, p, sign_at(l, p + 2), is_print));
        advance(l, p);
        if (p[1] == '%') raw = word_tag(l, p, "raw", &sign);
        if (raw)
            RRT__TRY(lex_raw(l, raw, sign));
        else if (p[1] == '#')
            RRT__TRY(lex_comment(l));
        else
            RRT__TRY(lex_tag(l, is_print));
    }
    return add(l, RRT__LEX_END, l->end, 0);
}

rrt_status rrt__lex(rrt__run *run, const char *source, size_t length, rrt__lexeme **out, size_t *count)
{
    lexer l = {.run = run, .at = source, .begin = source, .end = source + length, .line = 1};
    RRT__TRY(lex_all(&l));
    *out = l.tokens;
    *count = l.count;
    return RRT_STATUS_OK;
}
