// Strings: bytes with one mark each. Slices share bytes; appending to the last user of a buffer is done in
// place, so that building a text piece by piece takes linear time.
#include <string.h>

#include "base/utf8.h"
#include "template/run.h"
#include "template/template.h"

static rrt_status make(rrt__run *run, uint32_t capacity, rrt__value *out)
{
    rrt__buffer *buffer;
    RRT__TRY(rrt__pool_alloc(&run->pool, &buffer, 1, sizeof *buffer, run->err));
    buffer->capacity = capacity;
    *out = (rrt__value){.kind = RRT__VALUE_TEXT, .text = {buffer, 0, 0}};
    return RRT_STATUS_OK;
}

static rrt_status check_length(rrt__run *run, size_t length)
{
    if (length <= RRT__TEMPLATE_MAX_OUTPUT) return RRT_STATUS_OK;
    return rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a text of more than %d MB",
                         RRT__TEMPLATE_MAX_OUTPUT >> 20);
}

rrt_status rrt__text_borrow(rrt__run *run, const char *data, size_t length, unsigned char mark,
                            rrt__value *out)
{
    RRT__TRY(check_length(run, length));
    RRT__TRY(make(run, (uint32_t)length, out));
    // Never written to: its capacity is used up.
    out->text.buffer->data = (char *)data;
    out->text.buffer->mark = mark;
    out->text.buffer->used = out->text.length = (uint32_t)length;
    return RRT_STATUS_OK;
}

rrt_status rrt__text_copy(rrt__run *run, const char *data, size_t length, unsigned char mark, rrt__value *out)
{
    *out = (rrt__value){0};
    return rrt__text_append_bytes(run, out, data, length, mark);
}

// Moves *text to its own buffer, with room for `more` bytes.
static rrt_status move(rrt__run *run, rrt__value *text, size_t more)
{
    rrt__value fresh;
    size_t length = text->kind == RRT__VALUE_TEXT ? text->text.length : 0;
    size_t capacity = (length + more) * (length ? 2 : 1);
    RRT__TRY(make(run, (uint32_t)(capacity < 16 ? 16 : capacity), &fresh));
    rrt__buffer *to = fresh.text.buffer;
    RRT__TRY(rrt__pool_alloc(&run->pool, &to->data, to->capacity, 1, run->err));
    if (length) {
        const rrt__buffer *from = text->text.buffer;
        RRT__TRY(rrt__work(run, length));
        memcpy(to->data, rrt__text_data(text), length);
        to->mark = from->mark;
        if (from->marks) {
            RRT__TRY(rrt__pool_alloc(&run->pool, &to->marks, to->capacity, 1, run->err));
            memcpy(to->marks, from->marks + text->text.at, length);
        }
    }
    to->used = fresh.text.length = (uint32_t)length;
    fresh.is_markup = text->is_markup;
    *text = fresh;
    return RRT_STATUS_OK;
}

// Stores a separate mark for every byte.
static rrt_status spread_marks(rrt__run *run, rrt__buffer *buffer)
{
    if (buffer->marks) return RRT_STATUS_OK;
    RRT__TRY(rrt__pool_alloc(&run->pool, &buffer->marks, buffer->capacity, 1, run->err));
    memset(buffer->marks, buffer->mark, buffer->used);
    return RRT_STATUS_OK;
}

// Extends *text by `length` bytes at its end.
static rrt_status extend(rrt__run *run, rrt__value *text, size_t length)
{
    size_t old = text->kind == RRT__VALUE_TEXT ? text->text.length : 0;
    RRT__TRY(check_length(run, old + length));
    RRT__TRY(rrt__work(run, length));
    const rrt__buffer *buffer = text->kind == RRT__VALUE_TEXT ? text->text.buffer : NULL;
    if (!buffer || text->text.at + old != buffer->used || buffer->capacity - buffer->used < length)
        RRT__TRY(move(run, text, length));
    text->text.buffer->used += (uint32_t)length;
    text->text.length += (uint32_t)length;
    return RRT_STATUS_OK;
}

static rrt_status append(rrt__run *run, rrt__value *text, const char *data, size_t length,
                         const unsigned char *marks, unsigned char mark)
{
    RRT__TRY(extend(run, text, length));
    if (!length) return RRT_STATUS_OK;
    rrt__buffer *buffer = text->text.buffer;
    size_t at = buffer->used - length;
    if (buffer->used == length && !buffer->marks) buffer->mark = marks ? marks[0] : mark;
    if (marks || buffer->marks || buffer->mark != mark) RRT__TRY(spread_marks(run, buffer));
    memcpy(buffer->data + at, data, length);
    if (buffer->marks && marks) memcpy(buffer->marks + at, marks, length);
    if (buffer->marks && !marks) memset(buffer->marks + at, mark, length);
    return RRT_STATUS_OK;
}

rrt_status rrt__text_append_bytes(rrt__run *run, rrt__value *text, const char *data, size_t length,
                                  unsigned char mark)
{
    return append(run, text, data, length, NULL, mark);
}

rrt_status rrt__text_append(rrt__run *run, rrt__value *text, const rrt__value *piece)
{
    const rrt__buffer *from = piece->text.buffer;
    return append(run, text, rrt__text_data(piece), rrt__text_length(piece),
                  from->marks ? from->marks + piece->text.at : NULL, from->mark);
}

rrt_status rrt__text_add_mark(rrt__run *run, rrt__value *text, size_t from, unsigned char mark)
{
    if (text->kind != RRT__VALUE_TEXT || from == text->text.length) return RRT_STATUS_OK;
    RRT__TRY(rrt__work(run, text->text.length - from));
    RRT__TRY(spread_marks(run, text->text.buffer));
    for (size_t i = from; i < text->text.length; i++) text->text.buffer->marks[text->text.at + i] |= mark;
    return RRT_STATUS_OK;
}

rrt__value rrt__text_slice(const rrt__value *text, size_t begin, size_t end)
{
    rrt__value slice = *text;
    slice.text.at += (uint32_t)begin;
    slice.text.length = end > begin ? (uint32_t)(end - begin) : 0;
    return slice;
}

unsigned char rrt__text_mark(const rrt__value *text, size_t at)
{
    const rrt__buffer *buffer = text->text.buffer;
    return buffer->marks ? buffer->marks[text->text.at + at] : buffer->mark;
}

size_t rrt__text_characters(const rrt__value *text)
{
    const char *data = rrt__text_data(text);
    size_t count = 0;
    for (size_t i = 0; i < text->text.length; i++) count += ((unsigned char)data[i] & 0xc0) != 0x80;
    return count;
}

size_t rrt__text_offset(const rrt__value *text, size_t n)
{
    const char *data = rrt__text_data(text);
    size_t i = 0;
    for (; i < text->text.length; i++)
        if (((unsigned char)data[i] & 0xc0) != 0x80 && n-- == 0) break;
    return i;
}

// --- white space ----------------------------------------------------------------------------------------

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

size_t rrt__space_at(const char *data, size_t length)
{
    uint32_t codepoint;
    size_t n = rrt__utf8_decode(data, length, &codepoint);
    return n && is_space(codepoint) ? n : 0;
}

static size_t character_before(const char *data, size_t length)
{
    size_t n = 1;
    while (n < length && n < 4 && ((unsigned char)data[length - n] & 0xc0) == 0x80) n++;
    return n;
}

size_t rrt__space_before(const char *data, size_t length)
{
    if (!length) return 0;
    size_t n = character_before(data, length);
    return rrt__space_at(data + length - n, n);
}

static bool is_in(const rrt__value *characters, const char *character, size_t length)
{
    return memmem(rrt__text_data(characters), characters->text.length, character, length) != NULL;
}

rrt__value rrt__text_strip(const rrt__value *text, const rrt__value *characters, int side)
{
    const char *data = rrt__text_data(text);
    size_t begin = 0, end = text->text.length, n;
    uint32_t codepoint;
    while (side <= 0 && begin < end) {
        n = rrt__utf8_decode(data + begin, end - begin, &codepoint);
        if (!n || !(characters ? is_in(characters, data + begin, n) : is_space(codepoint))) break;
        begin += n;
    }
    while (side >= 0 && begin < end) {
        n = character_before(data + begin, end - begin);
        bool goes = characters ? is_in(characters, data + end - n, n) : rrt__space_at(data + end - n, n) > 0;
        if (!goes) break;
        end -= n;
    }
    return rrt__text_slice(text, begin, end);
}

// --- searching ------------------------------------------------------------------------------------------

size_t rrt__text_find(const rrt__value *text, const rrt__value *needle, size_t from)
{
    const char *data = rrt__text_data(text);
    if (from > text->text.length) return SIZE_MAX;
    if (!needle->text.length) return from;
    const char *at =
        memmem(data + from, text->text.length - from, rrt__text_data(needle), needle->text.length);
    return at ? (size_t)(at - data) : SIZE_MAX;
}

size_t rrt__text_find_last(const rrt__value *text, const rrt__value *what, size_t end)
{
    const char *data = rrt__text_data(text), *needle = rrt__text_data(what);
    size_t length = what->text.length;
    for (size_t at = end >= length ? end - length + 1 : 0; at-- > 0;)
        if (memcmp(data + at, needle, length) == 0) return at;
    return SIZE_MAX;
}

// Inserts between all characters, for an empty old text.
static rrt_status interleave(rrt__run *run, const rrt__value *text, const rrt__value *fresh,
                             int64_t max_count, rrt__value *out)
{
    size_t at = 0;
    for (; max_count; max_count--) {
        RRT__TRY(rrt__text_append(run, out, fresh));
        if (at == text->text.length) return RRT_STATUS_OK;
        uint32_t codepoint;
        size_t n = rrt__utf8_decode(rrt__text_data(text) + at, text->text.length - at, &codepoint);
        rrt__value character = rrt__text_slice(text, at, at + n);
        RRT__TRY(rrt__text_append(run, out, &character));
        at += n;
    }
    rrt__value rest = rrt__text_slice(text, at, text->text.length);
    return rrt__text_append(run, out, &rest);
}

rrt_status rrt__text_replace(rrt__run *run, const rrt__value *text, const rrt__value *old,
                             const rrt__value *fresh, int64_t max_count, rrt__value *out)
{
    rrt__value piece;
    size_t at = 0, found;
    RRT__TRY(rrt__work(run, text->text.length));
    if (!max_count || (old->text.length && rrt__text_find(text, old, 0) == SIZE_MAX)) {
        *out = *text;
        return RRT_STATUS_OK;
    }
    RRT__TRY(rrt__text_copy(run, "", 0, 0, out));
    if (!old->text.length) return interleave(run, text, fresh, max_count, out);
    for (; max_count && (found = rrt__text_find(text, old, at)) != SIZE_MAX; max_count--) {
        piece = rrt__text_slice(text, at, found);
        RRT__TRY(rrt__text_append(run, out, &piece));
        RRT__TRY(rrt__text_append(run, out, fresh));
        at = found + old->text.length;
    }
    piece = rrt__text_slice(text, at, text->text.length);
    return rrt__text_append(run, out, &piece);
}
