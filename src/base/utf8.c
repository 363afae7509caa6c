#include "base/utf8.h"

#include <string.h>

size_t rrt__utf8_decode(const char *text, size_t length, uint32_t *codepoint)
{
    const unsigned char *s = (const unsigned char *)text;
    if (length == 0) return 0;
    if (s[0] < 0x80) {
        *codepoint = s[0];
        return 1;
    }
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > length) return 0;
    uint32_t value = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (s[i] & 0x3fu);
    }
    if (value < smallest[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 0;
    *codepoint = value;
    return n;
}

size_t rrt__utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

size_t rrt__utf8_first_invalid(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint32_t codepoint;
        size_t n = rrt__utf8_decode(text + at, length - at, &codepoint);
        if (n == 0) break;
        at += n;
    }
    return at;
}

size_t rrt__utf8_incomplete_tail(const char *text, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        const char *start = text + length - back;
        if ((start[0] & 0xc0) == 0x80) continue;
        // Some completion must be valid: tests the smallest and the largest continuation byte.
        for (size_t more = 1; back + more <= 4; more++) {
            char low[4], high[4];
            uint32_t codepoint;
            memset(low, 0x80, sizeof low);
            memset(high, 0xbf, sizeof high);
            memcpy(low, start, back);
            memcpy(high, start, back);
            size_t whole = back + more;
            if (rrt__utf8_decode(low, whole, &codepoint) == whole ||
                rrt__utf8_decode(high, whole, &codepoint) == whole)
                return back;
        }
        return 0;
    }
    return 0;
}

size_t rrt__utf8_broken(const char *text, size_t length)
{
    size_t n = length < 3 ? length : 3;
    while (n > 1 && rrt__utf8_incomplete_tail(text, n) != n) n--;
    return n;
}

void rrt__utf8_make_printable(char *text)
{
    size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        uint32_t codepoint;
        size_t n = rrt__utf8_decode(text + at, length - at, &codepoint);
        if (n == 0 || codepoint < 0x20 || (codepoint >= 0x7f && codepoint < 0xa0)) {
            size_t bad = n ? n : 1;
            memset(text + at, '?', bad);
            at += bad;
        } else {
            at += n;
        }
    }
}

size_t rrt__utf8_mark(const char *text, size_t length)
{
    enum { MARK = 3 };
    return length >= MARK && memcmp(text, "\xef\xbb\xbf", MARK) == 0 ? MARK : 0;
}
