// Normalises a text before pre-tokenizing: a list of steps from text to text.
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_inside.h"

rrt_status rrt__normalizer_add(rrt__normalizer *normalizer, rrt__normal_kind kind, rrt__normal **out,
                               rrt_error *err)
{
    if (normalizer->count == RRT__MAX_STEPS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "more than %d normalizer steps", RRT__MAX_STEPS);
    *out = &normalizer->list[normalizer->count++];
    **out = (rrt__normal){.kind = kind};
    return RRT_STATUS_OK;
}

void rrt__normalizer_close(rrt__normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->count; i++) {
        rrt__pattern_close(&normalizer->list[i].pattern);
        rrt__free(normalizer->list[i].content);
    }
}

static bool has_byte_from(const char *text, size_t length, unsigned char min)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= min) return true;
    return false;
}

bool rrt__normalize_needed(const rrt__normalizer *normalizer, const char *text, size_t length)
{
    for (size_t i = 0; i < normalizer->count; i++) {
        rrt__normal_kind kind = normalizer->list[i].kind;
        // In NFC, no character below U+0300 changes or composes with another: their lead bytes are below
        // 0xcc. The other forms do not change ASCII.
        unsigned char min = kind == RRT__NORMAL_NFC ? 0xcc : 0x80;
        bool only_some = kind <= RRT__NORMAL_NFKD || kind == RRT__NORMAL_STRIP_ACCENTS;
        if (!only_some || has_byte_from(text, length, min)) return true;
    }
    return false;
}

// Control characters that NMT drops.
static bool is_dropped(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
}

static bool is_odd_space(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

// Maps one character to one or two; returns how many.
static size_t map_character(rrt__normal_kind kind, uint32_t c, uint32_t out[2])
{
    out[0] = c;
    if (kind == RRT__NORMAL_STRIP_ACCENTS) return !rrt__is_accent(c);
    if (kind == RRT__NORMAL_NMT) {
        if (is_odd_space(c)) out[0] = ' ';
        return !is_dropped(c);
    }
    out[0] = c == 0x130 ? 'i' : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    out[1] = 0x307; // U+0130's dot: the only capital that becomes two characters
    return c == 0x130 ? 2 : 1;
}

static rrt_status map_characters(rrt__normal_kind kind, rrt__string *out, const char *text, size_t length,
                                 rrt_error *err)
{
    for (size_t at = 0; at < length;) {
        uint32_t c = 0, mapped[2];
        at += rrt__utf8_decode(text + at, length - at, &c);
        size_t n = map_character(kind, c, mapped);
        for (size_t i = 0; i < n; i++) {
            char character[4];
            size_t bytes = rrt__utf8_encode(mapped[i], character);
            RRT__TRY(rrt__string_append(out, character, bytes, err));
        }
    }
    return RRT_STATUS_OK;
}

static rrt_status strip(const rrt__normal *step, rrt__string *out, const char *text, size_t length,
                        rrt_error *err)
{
    size_t begin = 0, end = length, n;
    uint32_t c;
    while (step->left && begin < end && (n = rrt__utf8_decode(text + begin, end - begin, &c)) &&
           rrt__is_space(c))
        begin += n;
    while (step->right && begin < end) {
        size_t last = end - 1;
        while (last > begin && ((unsigned char)text[last] & 0xc0) == 0x80) last--;
        if (!rrt__utf8_decode(text + last, end - last, &c) || !rrt__is_space(c)) break;
        end = last;
    }
    return rrt__string_append(out, text + begin, end - begin, err);
}

// A file's replacements might lengthen a text without limit.
static rrt_status check_length(const rrt__string *out, size_t max_bytes, rrt_error *err)
{
    if (out->length <= max_bytes) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the tokenizer's normalizer makes the text too long");
}

static rrt_status replace(const rrt__normal *step, const rrt__matcher *matcher, rrt__string *out,
                          const char *text, size_t length, size_t max_bytes, rrt_error *err)
{
    size_t done = 0, begin, end, content = strlen(step->content);
    for (;;) {
        RRT__TRY(check_length(out, max_bytes, err));
        RRT__TRY(rrt__pattern_find(&step->pattern, matcher, text, length, done, &begin, &end, err));
        if (begin == SIZE_MAX) return rrt__string_append(out, text + done, length - done, err);
        RRT__TRY(rrt__string_append(out, text + done, begin - done, err));
        RRT__TRY(rrt__string_append(out, step->content, content, err));
        done = end;
    }
}

static rrt_status apply(const rrt__normal *step, const rrt__matcher *matcher, rrt__string *out,
                        const char *text, size_t length, size_t max_bytes, rrt_error *err)
{
    switch (step->kind) {
    case RRT__NORMAL_NFC:
    case RRT__NORMAL_NFD:
    case RRT__NORMAL_NFKC:
    case RRT__NORMAL_NFKD:
        return rrt__normal_form(out, text, length,
                                step->kind == RRT__NORMAL_NFC || step->kind == RRT__NORMAL_NFKC,
                                step->kind >= RRT__NORMAL_NFKC, err);
    case RRT__NORMAL_STRIP:
        return strip(step, out, text, length, err);
    case RRT__NORMAL_PREPEND:
        if (length) RRT__TRY(rrt__string_append(out, step->content, strlen(step->content), err));
        return rrt__string_append(out, text, length, err);
    case RRT__NORMAL_REPLACE:
        return replace(step, matcher, out, text, length, max_bytes, err);
    default:
        return map_characters(step->kind, out, text, length, err);
    }
}

rrt_status rrt__normalize(const rrt__normalizer *normalizer, const rrt__matcher *matcher, rrt__string *out,
                          const char *text, size_t length, rrt_error *err)
{
    rrt__string rooms[2] = {{0}, {0}};
    rrt_status status = RRT_STATUS_OK;
    size_t max_bytes = 4096 + (length < INT32_MAX / 64 ? 64 * length : INT32_MAX);
    for (size_t i = 0; !status && i < normalizer->count; i++) {
        rrt__string *to = &rooms[i % 2];
        to->length = 0;
        status = rrt__string_append(to, "", 0, err);
        if (!status) status = apply(&normalizer->list[i], matcher, to, text, length, max_bytes, err);
        if (!status) status = check_length(to, max_bytes, err);
        text = to->data;
        length = to->length;
    }
    if (!status) status = rrt__string_append(out, text, length, err);
    rrt__string_free(&rooms[0]);
    rrt__string_free(&rooms[1]);
    return status;
}
