#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer_inside.h"

// The byte-level alphabet (GPT-2): printable bytes represent themselves, the others follow from U+0100.
enum { ALPHABET_END = 0x144 };

static bool prints(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

static uint32_t byte_to_character(unsigned char byte)
{
    if (prints(byte)) return byte;
    return 0x100u + (byte < 0x21 ? byte : byte < 0xa1 ? byte - 0x7fu + 0x21 : 0x43u);
}

// -1 if the character is not in the alphabet.
static int character_to_byte(uint32_t character)
{
    if (character < 0x100) return prints(character) ? (int)character : -1;
    if (character >= ALPHABET_END) return -1;
    uint32_t index = character - 0x100;
    return (int)(index < 0x21 ? index : index < 0x43 ? index - 0x21 + 0x7f : 0xad);
}

size_t rrt__alphabet_write(unsigned char byte, char out[4])
{
    return rrt__utf8_encode(byte_to_character(byte), out);
}

size_t rrt__byte_text(const rrt__vocab *vocab, unsigned char byte, char out[8])
{
    if (!vocab->is_sentencepiece) return rrt__alphabet_write(byte, out);
    return (size_t)snprintf(out, 8, "<0x%02X>", byte);
}

rrt_status rrt__alphabet_read(rrt__string *out, rrt__slice text, bool *is_in_alphabet, rrt_error *err)
{
    size_t start = out->length;
    *is_in_alphabet = true;
    for (size_t at = 0; at < text.length;) {
        uint32_t character = 0;
        at += rrt__utf8_decode(text.data + at, text.length - at, &character);
        int byte = character_to_byte(character);
        if (byte < 0) {
            *is_in_alphabet = false;
            out->length = start;
            return RRT_STATUS_OK;
        }
        RRT__TRY(rrt__string_append(out, &(char){(char)byte}, 1, err));
    }
    return RRT_STATUS_OK;
}

// The byte of "<0xE2>"; -1 if text does not have this form.
static int named_byte(rrt__slice text)
{
    if (text.length != 6) return -1;
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        if (memcmp(text.data, name, 6) == 0) return byte;
    }
    return -1;
}

// Appends the bytes of a SentencePiece token.
static rrt_status append_piece(const rrt__vocab *vocab, rrt__string *pool, rrt__slice text, rrt_error *err)
{
    size_t mark = strlen(rrt__space_mark);
    int byte = vocab->falls_back && text.data[0] == '<' ? named_byte(text) : -1;
    if (byte >= 0) return rrt__string_append(pool, &(char){(char)byte}, 1, err);
    for (size_t at = 0; at < text.length;) {
        bool is_space = text.length - at >= mark && memcmp(text.data + at, rrt__space_mark, mark) == 0;
        RRT__TRY(rrt__string_append(pool, is_space ? " " : text.data + at, 1, err));
        at += is_space ? mark : 1;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__vocab_open(rrt__vocab *vocab, size_t count, rrt_error *err)
{
    if (count == 0 || count > RRT__MAX_TOKENS)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the vocabulary has %zu tokens: from 1 to %d are possible",
                         count, RRT__MAX_TOKENS);
    RRT__TRY(rrt__alloc(&vocab->tokens, count, sizeof *vocab->tokens, "the vocabulary", err));
    vocab->count = (int32_t)count;
    vocab->n_slots = 16;
    while (vocab->n_slots < 2 * count) vocab->n_slots *= 2;
    // A random seed: the author of a file cannot make all tokens of a vocabulary collide.
    if (getrandom(&vocab->seed, sizeof vocab->seed, 0) < 0) vocab->seed = (uintptr_t)vocab->tokens;
    return rrt__alloc(&vocab->slots, vocab->n_slots, sizeof *vocab->slots, "the vocabulary's index", err);
}

void rrt__vocab_close(rrt__vocab *vocab)
{
    rrt__free(vocab->tokens);
    rrt__free(vocab->slots);
    rrt__string_free(&vocab->pool);
}

static uint64_t hash_text(uint64_t seed, rrt__slice text)
{
    uint64_t hash = seed ^ text.length;
    for (size_t i = 0; i < text.length; i++) {
        hash = (hash ^ (unsigned char)text.data[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

rrt__slice rrt__vocab_text(const rrt__vocab *vocab, int32_t id)
{
    const rrt__vocab_token *token = &vocab->tokens[id];
    return (rrt__slice){vocab->pool.data + token->text, token->text_length};
}

// The slot that holds the text, or the free one for it.
static int32_t *find_slot(const rrt__vocab *vocab, rrt__slice text)
{
    for (size_t at = hash_text(vocab->seed, text);; at++) {
        int32_t *slot = &vocab->slots[at & (vocab->n_slots - 1)];
        if (*slot == 0) return slot;
        rrt__slice other = rrt__vocab_text(vocab, *slot - 1);
        if (other.length == text.length && memcmp(other.data, text.data, text.length) == 0) return slot;
    }
}

int32_t rrt__vocab_find(const rrt__vocab *vocab, rrt__slice text)
{
    return *find_slot(vocab, text) - 1;
}

static rrt_status check(const rrt__vocab *vocab, int64_t id, rrt__slice text, rrt_error *err)
{
    if (id < 0 || id >= vocab->count)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "the id %lld is out of range: the ids of %d tokens are 0 to %d, without gaps",
                         (long long)id, (int)vocab->count, (int)vocab->count - 1);
    if (text.length == 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the text of token %lld is empty", (long long)id);
    return RRT_STATUS_OK;
}

static rrt_status fail_used(const rrt__vocab *vocab, int64_t id, rrt_error *err)
{
    rrt__slice other = rrt__vocab_text(vocab, (int32_t)id);
    return rrt__fail(err, RRT_STATUS_FORMAT, "two tokens have the id %lld; one is '%.*s'", (long long)id,
                     (int)(other.length < 100 ? other.length : 100), other.data);
}

rrt_status rrt__vocab_put(rrt__vocab *vocab, int64_t id, rrt__slice text, rrt_error *err)
{
    RRT__TRY(check(vocab, id, text, err));
    rrt__vocab_token *token = &vocab->tokens[id];
    if (token->text_length) return fail_used(vocab, id, err);
    int32_t *slot = find_slot(vocab, text);
    if (*slot)
        return rrt__fail(err, RRT_STATUS_FORMAT, "tokens %d and %lld have the same text", (int)*slot - 1,
                         (long long)id);
    size_t start = vocab->pool.length;
    RRT__TRY(rrt__string_append(&vocab->pool, text.data, text.length, err));
    bool is_byte_text = true;
    RRT__TRY(vocab->is_sentencepiece ? append_piece(vocab, &vocab->pool, text, err)
                                     : rrt__alphabet_read(&vocab->pool, text, &is_byte_text, err));
    size_t bytes = is_byte_text ? start + text.length : start;
    size_t bytes_length = vocab->pool.length - bytes;
    *token = (rrt__vocab_token){start, text.length, bytes, bytes_length, 0};
    *slot = (int32_t)id + 1;
    return RRT_STATUS_OK;
}

rrt_status rrt__vocab_put_added(rrt__vocab *vocab, int64_t id, rrt__slice text, unsigned flags,
                                rrt_error *err)
{
    RRT__TRY(check(vocab, id, text, err));
    if (text.length > RRT__MAX_ADDED_BYTES)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the added token %lld has %zu bytes: at most %d are possible", (long long)id,
                         text.length, RRT__MAX_ADDED_BYTES);
    rrt__vocab_token *token = &vocab->tokens[id];
    int32_t known = rrt__vocab_find(vocab, text);
    if (known >= 0 ? known != id : token->text_length != 0)
        return fail_used(vocab, known >= 0 ? known : id, err);
    if (token->flags & RRT__TOKEN_ADDED) return fail_used(vocab, id, err);
    if (known < 0) {
        token->text = vocab->pool.length;
        RRT__TRY(rrt__string_append(&vocab->pool, text.data, text.length, err));
        token->text_length = text.length;
    }
    token->bytes = token->text;
    token->bytes_length = token->text_length;
    token->flags = flags | RRT__TOKEN_ADDED;
    return RRT_STATUS_OK;
}
