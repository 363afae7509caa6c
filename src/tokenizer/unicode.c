// Unicode normal forms and character classes for tokenizers. utf8proc has the character data; combining marks
// are reordered here, by counting, because utf8proc's own method takes quadratic time on long runs.
#include <utf8proc.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_inside.h"

bool rrt__is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

bool rrt__is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: // letters by use, not by category: circled ones, and two joiners
        return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
               (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c || c == 0x200d;
    }
}

typedef struct range {
    uint32_t first, last;
} range;

// For these two, Hugging Face's tokenizers use tables of Unicode 8 and 9, utf8proc newer ones: later marks
// are not stripped with accents, and later characters are not decomposed.
static const range later_marks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xafa, 0xaff},
    {0xb55, 0xb55},     {0xc04, 0xc04},     {0xc3c, 0xc3c},     {0xcf3, 0xcf3},     {0xd00, 0xd00},
    {0xd3b, 0xd3c},     {0xd81, 0xd81},     {0xeba, 0xeba},     {0xece, 0xece},     {0x1715, 0x1715},
    {0x180f, 0x180f},   {0x1abf, 0x1ace},   {0x1cf2, 0x1cf3},   {0x1cf7, 0x1cf7},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0xa8ff, 0xa8ff},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110c2, 0x110c2},
    {0x11145, 0x11146}, {0x111c9, 0x111c9}, {0x111ce, 0x111cf}, {0x11241, 0x11241}, {0x1133b, 0x1133b},
    {0x1145e, 0x1145e}, {0x1182c, 0x1183a}, {0x11930, 0x11935}, {0x11937, 0x11938}, {0x1193b, 0x1193e},
    {0x11940, 0x11940}, {0x11942, 0x11943}, {0x119d1, 0x119d7}, {0x119da, 0x119e0}, {0x119e4, 0x119e4},
    {0x11a01, 0x11a0a}, {0x11a33, 0x11a39}, {0x11a3b, 0x11a3e}, {0x11a47, 0x11a47}, {0x11a51, 0x11a5b},
    {0x11a8a, 0x11a99}, {0x11d31, 0x11d36}, {0x11d3a, 0x11d3a}, {0x11d3c, 0x11d3d}, {0x11d3f, 0x11d45},
    {0x11d47, 0x11d47}, {0x11d8a, 0x11d8e}, {0x11d90, 0x11d91}, {0x11d93, 0x11d97}, {0x11ef3, 0x11ef6},
    {0x11f00, 0x11f01}, {0x11f03, 0x11f03}, {0x11f34, 0x11f3a}, {0x11f3e, 0x11f42}, {0x13440, 0x13440},
    {0x13447, 0x13455}, {0x16f4f, 0x16f4f}, {0x16f7f, 0x16f87}, {0x16fe4, 0x16fe4}, {0x16ff0, 0x16ff1},
    {0x1cf00, 0x1cf2d}, {0x1cf30, 0x1cf46}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
    {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
};
static const range later_compounds[] = {
    {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xab69, 0xab69},   {0x10781, 0x10785}, {0x10787, 0x107b0},
    {0x107b2, 0x107ba}, {0x11938, 0x11938}, {0x1e030, 0x1e06d}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
};

static bool is_in(const range *ranges, size_t count, uint32_t c)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (c >= ranges[middle].first && c <= ranges[middle].last) return true;
        if (c < ranges[middle].first)
            count = middle;
        else
            low = middle + 1;
    }
    return false;
}

bool rrt__is_accent(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    bool is_mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                   category == UTF8PROC_CATEGORY_ME;
    if (c == 0x1cf2 || c == 0x1cf3) return true; // letters since then
    return is_mark && !is_in(later_marks, sizeof later_marks / sizeof *later_marks, c);
}

typedef struct codepoints {
    utf8proc_int32_t *data;
    size_t count, capacity;
} codepoints;

static rrt_status decompose(codepoints *out, const char *text, size_t length, bool compatible, rrt_error *err)
{
    enum { MAX_DECOMPOSED = 32 }; // no decomposition exceeds 18
    utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0);
    for (size_t at = 0; at < length;) {
        uint32_t c = 0;
        at += rrt__utf8_decode(text + at, length - at, &c);
        RRT__TRY(rrt__array_reserve(&out->data, &out->capacity, out->count + MAX_DECOMPOSED,
                                    sizeof *out->data, err));
        if (c >= later_compounds[0].first &&
            is_in(later_compounds, sizeof later_compounds / sizeof *later_compounds, c)) {
            out->data[out->count++] = (utf8proc_int32_t)c;
            continue;
        }
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out->data + out->count,
                                                     MAX_DECOMPOSED, options, NULL);
        out->count += n > 0 && n <= MAX_DECOMPOSED ? (size_t)n : 0;
    }
    return RRT_STATUS_OK;
}

static size_t combining_class(utf8proc_int32_t c)
{
    return c < 0x300 ? 0 : (size_t)utf8proc_get_property(c)->combining_class & 0xff;
}

// Sorts data[0..count), consecutive marks, by combining class; stable.
static void sort_marks(utf8proc_int32_t *data, utf8proc_int32_t *room, size_t count)
{
    size_t start[257] = {0};
    for (size_t i = 0; i < count; i++) start[combining_class(data[i]) + 1]++;
    for (size_t k = 0; k < 256; k++) start[k + 1] += start[k];
    for (size_t i = 0; i < count; i++) room[start[combining_class(data[i])]++] = data[i];
    for (size_t i = 0; i < count; i++) data[i] = room[i];
}

static rrt_status reorder(codepoints *points, rrt_error *err)
{
    utf8proc_int32_t *room;
    RRT__TRY(rrt__alloc(&room, points->count, sizeof *room, "normalising text", err));
    for (size_t begin = 0, end; begin < points->count; begin = end) {
        end = begin + 1;
        if (combining_class(points->data[begin]) == 0) continue;
        while (end < points->count && combining_class(points->data[end]) != 0) end++;
        if (end - begin > 1) sort_marks(points->data + begin, room, end - begin);
    }
    rrt__free(room);
    return RRT_STATUS_OK;
}

rrt_status rrt__normal_form(rrt__string *out, const char *text, size_t length, bool composes, bool compatible,
                            rrt_error *err)
{
    codepoints points = {0};
    rrt_status status = decompose(&points, text, length, compatible, err);
    if (!status) status = reorder(&points, err);
    if (status) goto done;
    utf8proc_ssize_t count = (utf8proc_ssize_t)points.count;
    if (composes) count = utf8proc_normalize_utf32(points.data, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        char character[4];
        size_t n = rrt__utf8_encode((uint32_t)points.data[i], character);
        RRT__GOTO(rrt__string_append(out, character, n, err));
    }
done:
    rrt__free(points.data);
    return status;
}
