// What is done to a text before it is cut: SentencePiece's marks for spaces, and Unicode normal form C.
// utf8proc knows the characters; the reordering of combining marks is done here, by counting, because
// utf8proc's own takes quadratic time on a long run of them.
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "tokenizer/parts.h"

const char rrt__space_mark[] = "\xe2\x96\x81";

static bool nfc_needed(const char *text, size_t length)
{
    // No character below U+0300 changes or composes with another one: their lead bytes are below 0xcc.
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0xcc) return true;
    return false;
}

bool rrt__normalize_needed(const rrt__normalizer *normalizer, const char *text, size_t length)
{
    return (normalizer->nfc && nfc_needed(text, length)) || rrt__spaces_change(&normalizer->spaces);
}

rrt_status rrt__spaces_apply(const rrt__spaces *spaces, rrt__string *out, const char *text, size_t length,
                             bool is_first, rrt_error *err)
{
    size_t mark = strlen(rrt__space_mark), begin = 0;
    bool is_there =
        (spaces->replaces && text[0] == ' ') || (length >= mark && memcmp(text, rrt__space_mark, mark) == 0);
    bool prepends = spaces->prepend == RRT__PREPEND_ALWAYS ||
                    (spaces->prepend == RRT__PREPEND_UNLESS_THERE && !is_there) ||
                    (spaces->prepend == RRT__PREPEND_FIRST && !is_there && is_first);
    if (prepends) RRT__TRY(rrt__string_append(out, rrt__space_mark, mark, err));
    for (size_t at = 0; spaces->replaces && at < length; at++) {
        if (text[at] != ' ') continue;
        RRT__TRY(rrt__string_append(out, text + begin, at - begin, err));
        RRT__TRY(rrt__string_append(out, rrt__space_mark, mark, err));
        begin = at + 1;
    }
    return rrt__string_append(out, text + begin, length - begin, err);
}

rrt_status rrt__normalize(const rrt__normalizer *normalizer, rrt__string *out, const char *text,
                          size_t length, rrt_error *err)
{
    rrt__string composed = {0};
    if (normalizer->nfc) {
        rrt_status status = rrt__normalize_nfc(&composed, text, length, err);
        if (status) return status;
        text = composed.data;
        length = composed.length;
    }
    rrt_status status = rrt__spaces_apply(&normalizer->spaces, out, text, length, true, err);
    rrt__string_free(&composed);
    return status;
}

typedef struct codepoints {
    utf8proc_int32_t *data;
    size_t count, capacity;
} codepoints;

static rrt_status decompose(codepoints *out, const char *text, size_t length, rrt_error *err)
{
    enum { MOST = 32 }; // no canonical decomposition has more than 4
    for (size_t at = 0; at < length;) {
        uint32_t c = 0;
        at += rrt__utf8_decode(text + at, length - at, &c);
        RRT__TRY(rrt__array_reserve(&out->data, &out->capacity, out->count + MOST, sizeof *out->data, err));
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out->data + out->count, MOST,
                                                     UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, NULL);
        out->count += n > 0 && n <= MOST ? (size_t)n : 0;
    }
    return RRT_STATUS_OK;
}

static size_t combining_class(utf8proc_int32_t c)
{
    return c < 0x300 ? 0 : (size_t)utf8proc_get_property(c)->combining_class & 0xff;
}

// Sorts data[0..count), marks that follow each other, by combining class and keeps the order within a class.
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

rrt_status rrt__normalize_nfc(rrt__string *out, const char *text, size_t length, rrt_error *err)
{
    codepoints points = {0};
    rrt_status status = decompose(&points, text, length, err);
    if (!status) status = reorder(&points, err);
    if (status) goto done;
    utf8proc_ssize_t count = utf8proc_normalize_utf32(points.data, (utf8proc_ssize_t)points.count,
                                                      UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        char character[4];
        size_t n = rrt__utf8_encode((uint32_t)points.data[i], character);
        RRT__GOTO(rrt__string_append(out, character, n, err));
    }
done:
    rrt__free(points.data);
    return status;
}
