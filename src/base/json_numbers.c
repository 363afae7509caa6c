#include "base/json_numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/locale.h"

typedef struct scanner {
    const char *text;
    size_t length, at; // at: after the last word found
    size_t begin;      // start of that word
} scanner;

// Characters of numbers and names: a run of these is one word, so that "1NaN" contains no NaN.
static bool is_in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '+' ||
           c == '-' || c == '.';
}

static void skip_string(scanner *s)
{
    for (s->at++; s->at < s->length && s->text[s->at] != '"'; s->at++)
        if (s->text[s->at] == '\\') s->at++;
    s->at = s->at < s->length ? s->at + 1 : s->length;
}

// Finds the next word outside strings.
static bool next_word(scanner *s, const char **word, size_t *n)
{
    while (s->at < s->length && !is_in_word(s->text[s->at])) {
        if (s->text[s->at] == '"')
            skip_string(s);
        else
            s->at++;
    }
    s->begin = s->at;
    while (s->at < s->length && is_in_word(s->text[s->at])) s->at++;
    *word = s->text + s->begin;
    *n = s->at - s->begin;
    return *n > 0;
}

static size_t count_digits(const char *text, size_t n)
{
    size_t count = 0;
    while (count < n && text[count] >= '0' && text[count] <= '9') count++;
    return count;
}

// A number of JSON's grammar, in parts.
typedef struct decimal {
    const char *whole, *fraction;
    size_t n_whole, n_fraction;
    bool is_negative, is_integer;
    long exponent; // beyond double's range, the exact value does not matter
} decimal;

static bool read_exponent(decimal *out, const char *text, size_t n)
{
    size_t sign = n && (*text == '-' || *text == '+');
    if (n == sign || count_digits(text + sign, n - sign) != n - sign) return false;
    for (size_t i = sign; i < n && out->exponent < 100 * 1000 * 1000; i++)
        out->exponent = 10 * out->exponent + (text[i] - '0');
    if (*text == '-') out->exponent = -out->exponent;
    return true;
}

static bool read_number(decimal *out, const char *text, size_t n)
{
    *out = (decimal){.is_negative = n && *text == '-', .is_integer = true};
    size_t at = out->is_negative;
    out->whole = text + at;
    out->n_whole = count_digits(text + at, n - at);
    at += out->n_whole;
    if (out->n_whole == 0 || (out->n_whole > 1 && *out->whole == '0')) return false;
    if (at < n && text[at] == '.') {
        out->is_integer = false;
        out->fraction = text + at + 1;
        out->n_fraction = count_digits(out->fraction, n - at - 1);
        if (out->n_fraction == 0) return false;
        at += 1 + out->n_fraction;
    }
    if (at == n) return true;
    out->is_integer = false;
    return (text[at] == 'e' || text[at] == 'E') && read_exponent(out, text + at + 1, n - at - 1);
}

static bool fits_int64(const decimal *x)
{
    const char *limit = x->is_negative ? "9223372036854775808" : "9223372036854775807";
    return x->n_whole < 19 || (x->n_whole == 19 && memcmp(x->whole, limit, 19) <= 0);
}

static char digit_at(const decimal *x, size_t index)
{
    return index < x->n_whole ? x->whole[index] : x->fraction[index - x->n_whole];
}

// Compares digits: strtod's decimal point depends on the locale.
static bool fits_double(const decimal *x)
{
    static const char largest[] = "17976931348623157"; // followed by 292 more digits
    size_t count = x->n_whole + x->n_fraction, first = 0;
    while (first < count && digit_at(x, first) == '0') first++;
    if (first == count) return true;
    long long digits = (long long)x->n_whole - (long long)first + x->exponent; // before the point
    if (digits != 309) return digits < 309;
    for (size_t i = 0; i < sizeof largest - 1; i++) {
        char digit = first + i < count ? digit_at(x, first + i) : '0';
        if (digit != largest[i]) return digit < largest[i];
    }
    return true;
}

static const char infinite[] = "1.7976931348623157e308", negative[] = "-1.7976931348623157e308",
                  nan_text[] = "1.7976931348623155e308";

// The text that jansson must read for a word; NULL: the word itself. *suffix follows it.
static const char *replacement(const char *word, size_t n, const char **suffix)
{
    decimal x;
    *suffix = "";
    if (n == 3 && memcmp(word, "NaN", 3) == 0) return nan_text;
    if (n == 8 && memcmp(word, "Infinity", 8) == 0) return infinite;
    if (n == 9 && memcmp(word, "-Infinity", 9) == 0) return negative;
    if (n < 5 || !read_number(&x, word, n)) return NULL; // the shortest number that is too large is 1e999
    if (!fits_double(&x)) return x.is_negative ? negative : infinite;
    if (!x.is_integer || fits_int64(&x)) return NULL;
    *suffix = ".0";
    return word;
}

rrt_status rrt__json_numbers_for_jansson(rrt__string *out, const char *text, size_t length, rrt_error *err)
{
    scanner s = {.text = text, .length = length};
    const char *word, *suffix;
    size_t n, copied = 0;
    while (next_word(&s, &word, &n)) {
        const char *other = replacement(word, n, &suffix);
        if (!other) continue;
        RRT__TRY(rrt__string_append(out, text + copied, s.begin - copied, err));
        RRT__TRY(rrt__string_append(out, other, other == word ? n : strlen(other), err));
        RRT__TRY(rrt__string_append(out, suffix, strlen(suffix), err));
        copied = s.at;
    }
    return copied ? rrt__string_append(out, text + copied, length - copied, err) : RRT_STATUS_OK;
}

size_t rrt__json_numbers_position(const char *text, size_t length, size_t position, int *column)
{
    scanner s = {.text = text, .length = length};
    const char *word, *suffix;
    size_t n, line_begin = 0;
    long long longer = 0, longer_in_line = 0;
    while (next_word(&s, &word, &n)) {
        const char *other = replacement(word, n, &suffix);
        if (!other) continue;
        size_t now = (other == word ? n : strlen(other)) + strlen(suffix);
        if ((long long)s.begin + longer + (long long)now > (long long)position) break;
        if (memchr(text + line_begin, '\n', s.begin - line_begin)) longer_in_line = 0;
        line_begin = s.begin;
        longer += (long long)now - (long long)n;
        longer_in_line += (long long)now - (long long)n;
    }
    size_t place = (size_t)((long long)position - longer);
    if (place > length) place = length;
    if (!memchr(text + line_begin, '\n', place - line_begin)) *column -= (int)longer_in_line;
    return place;
}

const char *rrt__json_number_name(double number, char room[32])
{
    if (number == RRT__JSON_NAN) return "NaN";
    if (fabs(number) == RRT__JSON_INFINITE) return number < 0 ? "-Infinity" : "Infinity";
    locale_t before = rrt__locale_enter();
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(room, 32, "%.*g", digits, number);
        if (strtod(room, NULL) == number) break;
    }
    rrt__locale_leave(before);
    return room;
}

static rrt_status append_real(rrt__string *out, const char *word, rrt_error *err)
{
    char room[400];
    double number = strtod(word, NULL);
    const char *text = rrt__json_number_name(number, room);
    bool is_whole = fabs(number) >= 0x1p63 && fabs(number) < RRT__JSON_NAN && floor(number) == number;
    if (is_whole) snprintf(room, sizeof room, "%.0f", number);
    RRT__TRY(rrt__string_append(out, text, strlen(text), err));
    bool is_real = is_whole || strpbrk(text, ".enN"); // 2 is written as 2.0
    return is_real ? RRT_STATUS_OK : rrt__string_append(out, ".0", 2, err);
}

static rrt_status rewrite(rrt__string *out, const char *text, rrt_error *err)
{
    scanner s = {.text = text, .length = strlen(text)};
    const char *word;
    size_t n, copied = 0;
    while (next_word(&s, &word, &n)) {
        if (count_digits(word + (*word == '-'), n - (*word == '-')) == 0) continue; // a name
        if (!memchr(word, '.', n) && !memchr(word, 'e', n)) continue;               // an integer
        RRT__TRY(rrt__string_append(out, text + copied, s.begin - copied, err));
        RRT__TRY(append_real(out, word, err));
        copied = s.at;
    }
    return rrt__string_append(out, text + copied, s.length - copied, err);
}

rrt_status rrt__json_numbers_from_jansson(rrt__string *out, const char *text, rrt_error *err)
{
    locale_t before = rrt__locale_enter();
    rrt_status status = rewrite(out, text, err);
    rrt__locale_leave(before);
    return status;
}
