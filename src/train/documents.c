#include "train/documents.h"

#include <string.h>

#include "base/utf8.h"

// Max length of a piece. Encoding takes some 25 bytes of memory per byte, and a few kilobytes of .zst may
// unpack to any length.
enum { MAX_BYTES = 32 << 20 };

void rrt__documents_close(rrt__documents *d)
{
    rrt__source_close(&d->source);
    rrt__string_free(&d->buffer);
    json_decref(d->json);
    *d = (rrt__documents){0};
}

// Adds the position in the file to an error at buffer.data[begin + at].
static rrt_status locate(const rrt__documents *d, rrt_status status, size_t at, rrt_error *err)
{
    size_t line = d->line;
    for (size_t i = 0; i < at; i++) line += d->buffer.data[d->begin + i] == '\n';
    return rrt__at(err, status, "%s: line %zu, byte %zu%s", d->path, line, d->offset + at,
                   d->source.unpacker ? " of the unpacked text" : "");
}

// Reads until the buffer has `want` unread bytes, or to the end of the source.
static rrt_status fill(rrt__documents *d, size_t want, rrt_error *err)
{
    if (d->begin > 0) memmove(d->buffer.data, d->buffer.data + d->begin, d->buffer.length - d->begin);
    d->buffer.length -= d->begin;
    d->begin = 0;
    if (d->ended || want <= d->buffer.length) return RRT_STATUS_OK;
    RRT__TRY(rrt__array_reserve(&d->buffer.data, &d->buffer.capacity, want, 1, err));
    size_t got, room = want - d->buffer.length;
    rrt_status status = rrt__source_read(&d->source, d->buffer.data + d->buffer.length, room, &got, err);
    if (status) return rrt__at(err, status, "%s", d->path);
    d->buffer.length += got;
    d->ended = got < room;
    return RRT_STATUS_OK;
}

static rrt_status skip_byte_order_mark(rrt__documents *d, rrt_error *err)
{
    enum { MARK = 3 };
    RRT__TRY(fill(d, MARK, err));
    d->begin = d->offset = rrt__utf8_mark(d->buffer.data, d->buffer.length);
    return RRT_STATUS_OK;
}

rrt_status rrt__documents_open(rrt__documents *d, const char *path, const rrt_tokenizer *tokenizer,
                               size_t piece_bytes, rrt_error *err)
{
    rrt__source_kind kind = rrt__source_kind_of(path);
    *d = (rrt__documents){.path = path, .tokenizer = tokenizer, .piece_bytes = piece_bytes, .line = 1};
    if (kind == RRT__SOURCE_JSON) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a .json file is not read as text");
        rrt__hint(err, status, "make a .jsonl of it, with an object per line: jq -c '.[]'; or name it .txt");
        return rrt__at(err, status, "%s", path);
    }
    d->is_jsonl = kind == RRT__SOURCE_LINES;
    RRT__TRY(rrt__source_open(&d->source, path, err));
    rrt_status status = skip_byte_order_mark(d, err);
    if (status) rrt__documents_close(d);
    return status;
}

static void consume(rrt__documents *d, size_t count)
{
    const char *at = d->buffer.data + d->begin, *end = at + count;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        d->line++;
        at++;
    }
    d->begin += count;
    d->offset += count;
}

// --- plain text

// Checks the first `length` unread bytes.
static rrt_status check_utf8(const rrt__documents *d, size_t length, rrt_error *err)
{
    const char *text = d->buffer.data + d->begin;
    size_t at = rrt__utf8_first_invalid(text, length);
    if (at == length) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_FORMAT, "not valid UTF-8: a byte 0x%02x", (unsigned char)text[at]);
    rrt__hint(err, status, "convert it, or drop what is not text: iconv -c -f UTF-8 -t UTF-8");
    return locate(d, status, at, err);
}

static const char marker[] = "<|endoftext|>";

// Length of the marker line at `at`, its line break included; 0 if it is not a marker, or incomplete.
static size_t marker_line(const rrt__documents *d, const char *at)
{
    const char *text = d->buffer.data + d->begin, *end = d->buffer.data + d->buffer.length,
               *rest = at + strlen(marker);
    if (at > text && at[-1] != '\n') return 0;
    if (rest < end && *rest == '\r') rest++;
    if (rest == end) return d->ended ? (size_t)(rest - at) : 0;
    return *rest == '\n' ? (size_t)(rest + 1 - at) : 0;
}

// The first marker line, which ends a document, and its length; NULL if the buffer has no complete one.
static const char *find_marker(const rrt__documents *d, size_t *length)
{
    const char *at = d->buffer.data + d->begin, *end = d->buffer.data + d->buffer.length;
    for (; (at = memmem(at, (size_t)(end - at), marker, strlen(marker))); at++)
        if ((*length = marker_line(d, at)) > 0) return at;
    return NULL;
}

// Drops the line break at the end, which belongs to the marker.
static size_t without_break(const char *text, size_t length)
{
    if (length > 0) length--;
    return length > 0 && text[length - 1] == '\r' ? length - 1 : length;
}

// Takes the documents that end with a marker in the buffer; the piece is empty if there are none.
static rrt_status take_marked(rrt__documents *d, rrt__piece *piece, rrt_error *err)
{
    *piece = (rrt__piece){0};
    size_t line;
    for (const char *end; piece->length == 0 && d->buffer.data && (end = find_marker(d, &line));) {
        const char *text = d->buffer.data + d->begin;
        size_t length = (size_t)(end - text);
        RRT__TRY(check_utf8(d, length, err));
        *piece = (rrt__piece){text, without_break(text, length), true};
        consume(d, length + line);
    }
    return RRT_STATUS_OK;
}

// Takes the whole buffer up to a place where it can be cut; the piece is empty if there is none.
static rrt_status take_rest(rrt__documents *d, rrt__piece *piece, rrt_error *err)
{
    size_t length = d->buffer.length, cut;
    if (!d->ended) length -= rrt__utf8_incomplete_tail(d->buffer.data, length);
    RRT__TRY(check_utf8(d, length, err));
    cut = length;
    if (!d->ended) RRT__TRY(rrt__cut_find(d->tokenizer, d->buffer.data, length, &cut, err));
    *piece = (rrt__piece){d->buffer.data, cut, d->ended};
    consume(d, cut);
    return RRT_STATUS_OK;
}

static rrt_status next_text(rrt__documents *d, rrt__piece *piece, rrt_error *err)
{
    RRT__TRY(take_marked(d, piece, err));
    if (piece->length > 0) return RRT_STATUS_OK;
    for (size_t want = d->piece_bytes; want <= MAX_BYTES; want *= 2) {
        RRT__TRY(fill(d, want, err));
        RRT__TRY(take_marked(d, piece, err));
        if (piece->length > 0) return RRT_STATUS_OK;
        // Moves the unread bytes to the buffer's start: after markers, begin may be beyond it.
        RRT__TRY(fill(d, 0, err));
        RRT__TRY(take_rest(d, piece, err));
        if (piece->length > 0 || d->ended) return RRT_STATUS_OK;
    }
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED, "no line break in %zu bytes at which the text could be cut",
                  d->buffer.length);
    rrt__hint(err, status, "break long lines, or make a .jsonl of it, with a document per line");
    return locate(d, status, 0, err);
}

// --- JSON lines

// Finds the line at `begin`, without its line break; *found is false at the end of the file.
static rrt_status find_line(rrt__documents *d, size_t *length, bool *found, rrt_error *err)
{
    for (size_t left, seen = 0;; seen = left) {
        left = d->buffer.length - d->begin;
        const char *text = d->buffer.data + d->begin;
        const char *end = left > seen ? memchr(text + seen, '\n', left - seen) : NULL;
        *found = end || left > 0;
        *length = end ? (size_t)(end - text) : left;
        if (end || d->ended) return RRT_STATUS_OK;
        if (left >= MAX_BYTES) break;
        size_t want = left < d->piece_bytes ? d->piece_bytes : 2 * left;
        RRT__TRY(fill(d, want < MAX_BYTES ? want : MAX_BYTES, err));
    }
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a line of more than %d bytes", MAX_BYTES);
    rrt__hint(err, status, "break the document into several");
    return locate(d, status, 0, err);
}

static rrt_status parse_line(rrt__documents *d, size_t length, rrt__piece *piece, rrt_error *err)
{
    json_decref(d->json);
    d->json = NULL;
    rrt_status status = rrt__json_parse(&d->json, d->buffer.data + d->begin, length, err);
    if (!status && json_object_get(d->json, "messages")) {
        *piece = (rrt__piece){.conversation = d->json, .ends_document = true};
        return RRT_STATUS_OK;
    }
    const json_t *text = json_object_get(d->json, "text");
    if (!status && !json_is_string(text))
        status = rrt__fail(err, RRT_STATUS_FORMAT, "%s",
                           !json_is_object(d->json) ? "not a JSON object"
                           : text                   ? "\"text\" is not a string"
                                                    : "the object has no \"text\"");
    if (status) {
        rrt__hint(
            err, status,
            "each line of a .jsonl is an object such as {\"text\": \"a document\"} or {\"messages\": [...]}");
        return locate(d, status, 0, err);
    }
    *piece = (rrt__piece){json_string_value(text), json_string_length(text), true};
    return RRT_STATUS_OK;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r", text[i]) || !text[i]) return false;
    return true;
}

static rrt_status next_line(rrt__documents *d, rrt__piece *piece, rrt_error *err)
{
    *piece = (rrt__piece){0};
    while (piece->length == 0 && !piece->conversation) {
        size_t length;
        bool found;
        RRT__TRY(find_line(d, &length, &found, err));
        if (!found) return RRT_STATUS_OK;
        if (!is_blank(d->buffer.data + d->begin, length)) RRT__TRY(parse_line(d, length, piece, err));
        bool has_break = d->begin + length < d->buffer.length;
        consume(d, length + has_break);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__documents_next(rrt__documents *d, rrt__piece *piece, rrt_error *err)
{
    return d->is_jsonl ? next_line(d, piece, err) : next_text(d, piece, err);
}
