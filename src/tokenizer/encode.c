// Encodes text: the pipeline of tokenizer_inside.h from left to right.
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_inside.h"

typedef struct encoder {
    const rrt_tokenizer *tokenizer;
    bool parse_special;
    const char *text;        // the whole text
    const rrt__range *plain; // ascending
    size_t n_plain, next_plain;
    rrt__matcher matcher;
    rrt__encoding_step stepper;
    rrt__bpe bpe;
    rrt__string byte_text;
    rrt__ids ids;
    const char *first; // start of the text, or of its first normalised piece; NULL after it
} encoder;

// The id of a pre-token that is itself a token; -1 if it is not. Special tokens are not made from
// ordinary text.
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
    if (*id < 0) return RRT_STATUS_OK;
    const rrt__vocab_token *token = &e->tokenizer->vocab.tokens[*id];
    // The name of a byte, "<0xE2>", is a text like others: SentencePiece never reads it as the byte.
    bool is_byte = e->tokenizer->vocab.falls_back && token->bytes_length == 1 && token->text_length == 6;
    if (is_byte || (token->flags & RRT__TOKEN_SPECIAL)) *id = -1;
    return RRT_STATUS_OK;
}

static rrt_status encode_bytes(encoder *e, const char *text, size_t length, rrt_error *err)
{
    int32_t id = -1;
    // Positions in a pre-token are 32 bits wide.
    if (length > INT32_MAX)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a piece of the text is too long: %zu bytes", length);
    if (e->tokenizer->ignores_merges) RRT__TRY(find_whole(e, text, length, &id, err));
    if (id >= 0) return rrt__ids_append(&e->ids, id, err);
    return rrt__bpe_encode(&e->bpe, &e->tokenizer->merges, text, length, &e->ids, err);
}

static rrt_status encode_pretoken(void *user, const char *text, size_t length, rrt_error *err)
{
    encoder *e = user;
    bool is_in_alphabet;
    if (!rrt__steps_end_in_alphabet(&e->tokenizer->steps)) return encode_bytes(e, text, length, err);
    rrt__string bytes = {0};
    rrt_status status = rrt__alphabet_read(&bytes, (rrt__slice){text, length}, &is_in_alphabet, err);
    if (!status) status = encode_bytes(e, bytes.data, bytes.length, err);
    rrt__string_free(&bytes);
    return status;
}

static rrt_status encode_plain(encoder *e, const char *text, size_t length, rrt_error *err)
{
    return rrt__steps_run(&e->tokenizer->steps, &e->stepper, text, length, text == e->first, err);
}

// Whether a special token found at text[0..length) counts. After the normalizer positions are unknown: if any
// range is plain, all text is. Calls must follow the order of the text.
static bool parses_special(encoder *e, const rrt__added *added, const char *text, size_t length)
{
    if (!e->parse_special) return false;
    if (!e->n_plain) return true;
    if (added != &e->tokenizer->raw) return false;
    while (e->next_plain < e->n_plain && e->text + e->plain[e->next_plain].end <= text) e->next_plain++;
    for (size_t i = e->next_plain; i < e->n_plain && e->text + e->plain[i].begin < text + length; i++)
        if (e->plain[i].end > e->plain[i].begin) return false;
    return true;
}

// Splits the text at the added tokens of one pass; passes the text between them to `rest`.
static rrt_status cut_added(encoder *e, const rrt__added *added, const char *text, size_t length,
                            rrt_status (*rest)(encoder *e, const char *text, size_t length, rrt_error *err),
                            rrt_error *err)
{
    size_t at = 0, n;
    rrt__extent extent = {0};
    for (int32_t id; (id = rrt__added_find(added, text, length, &at, &n)) >= 0; at += n) {
        unsigned flags = e->tokenizer->vocab.tokens[id].flags;
        if ((flags & RRT__TOKEN_SPECIAL) && !parses_special(e, added, text + at, n)) continue;
        if (!rrt__added_extent(&extent, flags, text, length, at, at + n)) continue;
        if (extent.left > extent.done) RRT__TRY(rest(e, text + extent.done, extent.left - extent.done, err));
        // A token of spaces may lie within those that the previous one took. It still counts, and the text
        // continues after it, unless nothing of it is left, as in Hugging Face's tokenizers.
        if (extent.left < extent.right) RRT__TRY(rrt__ids_append(&e->ids, id, err));
        extent.done = extent.right;
    }
    return length > extent.done ? rest(e, text + extent.done, length - extent.done, err) : RRT_STATUS_OK;
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
    rrt_status status = rrt__normalize(&e->tokenizer->normalizer, &e->matcher, &normal, text, length, err);
    e->first = text == e->first ? normal.data : NULL;
    if (!status) status = encode_normalized(e, normal.data, normal.length, err);
    e->first = NULL;
    rrt__string_free(&normal);
    return status;
}

static rrt_status check(const char *text, size_t length, rrt_error *err)
{
    // NFC or marks for spaces may triple a text's length.
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

// The tokenizer may have ids beyond the rows of the model's embedding (image placeholders, added tokens):
// they are an error only here, if a text needs one.
static rrt_status check_limit(const rrt_tokenizer *tokenizer, const rrt__ids *ids, rrt_error *err)
{
    for (size_t i = 0; tokenizer->limit && i < ids->count; i++) {
        if (ids->data[i] < tokenizer->limit) continue;
        rrt__slice text = rrt__vocab_text(&tokenizer->vocab, ids->data[i]);
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the text needs token %d, '%.*s', but the model's embedding has only %d rows",
                         (int)ids->data[i], (int)(text.length < 100 ? text.length : 100), text.data,
                         (int)tokenizer->limit);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt_encode(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                      const rrt_encode_options *options, int32_t **ids, size_t *count, rrt_error *err)
{
    return rrt__encode_text(tokenizer, text, length, options, NULL, 0, ids, count, err);
}

rrt_status rrt__encode_text(const rrt_tokenizer *tokenizer, const char *text, size_t length,
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
    e.stepper = (rrt__encoding_step){.matcher = &e.matcher, .each = encode_pretoken, .user = &e};
    rrt_status status = check(text, length, err);
    if (!status) status = rrt__matcher_open(&e.matcher, err);
    if (!status && options && options->add_bos && tokenizer->bos >= 0)
        status = rrt__ids_append(&e.ids, tokenizer->bos, err);
    if (!status) status = cut_added(&e, &tokenizer->raw, text, length, encode_raw, err);
    if (!status) status = check_limit(tokenizer, &e.ids, err);
    rrt__matcher_close(&e.matcher);
    rrt__bpe_close(&e.bpe);
    rrt__string_free(&e.byte_text);
    rrt__stepper_close(&e.stepper);
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
