// Text to ids: the pipeline of parts.h from left to right.
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/parts.h"

typedef struct encoder {
    const rrt_tokenizer *tokenizer;
    bool parse_special;
    const char *text; // all of it
    const rrt__range *plain;
    size_t n_plain;
    rrt__matcher matcher;
    rrt__bpe bpe;
    rrt__string byte_text, marked;
    rrt__ids ids;
    const char
        *first; // where the text begins, or what the normalizer made of its first piece; NULL behind it
} encoder;

// The id of a pre-token that is a token as it stands, -1 if it is none. Special tokens do not come from plain
// text.
static rrt_status find_whole(encoder *e, const char *text, size_t length, int32_t *id, rrt_error *err)
{
    rrt__slice whole = {text, length};
    bool is_bytes = !e->tokenizer->vocab.is_sentencepiece;
    e->byte_text.length = 0;
    for (size_t i = 0; is_bytes && i < length; i++) {
        char character[8];
        size_t n = rrt__byte_text(&e->tokenizer->vocab, (unsigned char)text[i], character);
        RRT__TRY(rrt__string_append(&e->byte_text, character, n, err));
    }
    if (is_bytes) whole = (rrt__slice){e->byte_text.data, e->byte_text.length};
    *id = rrt__vocab_find(&e->tokenizer->vocab, whole);
    if (*id >= 0 && (e->tokenizer->vocab.tokens[*id].flags & RRT__TOKEN_SPECIAL)) *id = -1;
    return RRT_STATUS_OK;
}

static rrt_status encode_pretoken(void *user, const char *text, size_t length, rrt_error *err)
{
    encoder *e = user;
    int32_t id = -1;
    if (e->tokenizer->ignores_merges) RRT__TRY(find_whole(e, text, length, &id, err));
    if (id >= 0) return rrt__ids_append(&e->ids, id, err);
    return rrt__bpe_encode(&e->bpe, &e->tokenizer->merges, text, length, &e->ids, err);
}

static rrt_status encode_plain(encoder *e, const char *text, size_t length, rrt_error *err)
{
    const rrt__spaces *spaces = &e->tokenizer->spaces;
    if (rrt__spaces_change(spaces)) {
        e->marked.length = 0;
        RRT__TRY(rrt__spaces_apply(spaces, &e->marked, text, length, text == e->first, err));
        text = e->marked.data;
        length = e->marked.length;
    }
    return rrt__splits_run(&e->tokenizer->splits, &e->matcher, text, length, encode_pretoken, e, err);
}

// Whether a special token found at text[0..length) counts. Behind the normalizer nobody knows where a part of
// the text went: where some are plain, all is.
static bool parses_special(const encoder *e, const rrt__added *added, const char *text, size_t length)
{
    if (!e->parse_special || (e->n_plain && added != &e->tokenizer->raw)) return false;
    for (size_t i = 0; i < e->n_plain; i++)
        if (text < e->text + e->plain[i].end && text + length > e->text + e->plain[i].begin) return false;
    return true;
}

// Cuts the text at the added tokens of one pass; what lies between goes to `rest`.
static rrt_status cut_added(encoder *e, const rrt__added *added, const char *text, size_t length,
                            rrt_status (*rest)(encoder *e, const char *text, size_t length, rrt_error *err),
                            rrt_error *err)
{
    size_t begin = 0, at = 0, found_length;
    for (int32_t id; (id = rrt__added_find(added, text, length, &at, &found_length)) >= 0;
         at += found_length) {
        bool special = e->tokenizer->vocab.tokens[id].flags & RRT__TOKEN_SPECIAL;
        if (special && !parses_special(e, added, text + at, found_length)) continue;
        if (at > begin) RRT__TRY(rest(e, text + begin, at - begin, err));
        RRT__TRY(rrt__ids_append(&e->ids, id, err));
        begin = at + found_length;
    }
    return length > begin ? rest(e, text + begin, length - begin, err) : RRT_STATUS_OK;
}

static rrt_status encode_normalized(encoder *e, const char *text, size_t length, rrt_error *err)
{
    return cut_added(e, &e->tokenizer->normalized, text, length, encode_plain, err);
}

static rrt_status encode_raw(encoder *e, const char *text, size_t length, rrt_error *err)
{
    if (!rrt__normalize_needed(&e->tokenizer->normalizer, text, length))
        return encode_normalized(e, text, length, err);
    rrt__string normal = {0};
    rrt_status status = rrt__normalize(&e->tokenizer->normalizer, &normal, text, length, err);
    e->first = text == e->first ? normal.data : NULL;
    if (!status) status = encode_normalized(e, normal.data, normal.length, err);
    e->first = NULL;
    rrt__string_free(&normal);
    return status;
}

static rrt_status check(const char *text, size_t length, rrt_error *err)
{
    // Positions in a pre-token are 32 bits wide, and NFC or marks for spaces may make a text three times as
    // long.
    if (length > INT32_MAX / 3)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the text has %zu bytes: at most %d are possible in one call", length,
                         INT32_MAX / 3);
    size_t invalid = rrt__utf8_first_invalid(text, length);
    if (invalid < length)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the text is not valid UTF-8 at byte %zu (0x%02x)", invalid,
                         (unsigned char)text[invalid]);
    return RRT_STATUS_OK;
}

rrt_status rrt_encode(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                      const rrt_encode_options *options, int32_t **ids, size_t *count, rrt_error *err)
{
    return rrt__encode(tokenizer, text, length, options, NULL, 0, ids, count, err);
}

rrt_status rrt__encode(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                       const rrt_encode_options *options, const rrt__range *plain, size_t n_plain,
                       int32_t **ids, size_t *count, rrt_error *err)
{
    *ids = NULL;
    *count = 0;
    encoder e = {.tokenizer = tokenizer,
                 .parse_special = options && options->parse_special,
                 .first = text,
                 .text = text,
                 .plain = plain,
                 .n_plain = n_plain};
    rrt_status status = check(text, length, err);
    if (!status) status = rrt__matcher_open(&e.matcher, err);
    if (!status && options && options->add_bos && tokenizer->bos >= 0)
        status = rrt__ids_append(&e.ids, tokenizer->bos, err);
    if (!status) status = cut_added(&e, &tokenizer->raw, text, length, encode_raw, err);
    rrt__matcher_close(&e.matcher);
    rrt__bpe_close(&e.bpe);
    rrt__string_free(&e.byte_text);
    rrt__string_free(&e.marked);
    if (status) {
        rrt__free(e.ids.data);
        return status;
    }
    *ids = e.ids.data;
    *count = e.ids.count;
    return RRT_STATUS_OK;
}

void rrt_ids_free(int32_t *ids)
{
    rrt__free(ids);
}
