// The whole tokenizer: closing, properties of its tokens, and writing Hugging Face's files.
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_inside.h"

void rrt_tokenizer_close(rrt_tokenizer *tokenizer)
{
    if (!tokenizer || atomic_fetch_sub(&tokenizer->more_owners, 1) > 0) return;
    rrt__vocab_close(&tokenizer->vocab);
    rrt__merges_close(&tokenizer->merges);
    rrt__steps_close(&tokenizer->steps);
    rrt__normalizer_close(&tokenizer->normalizer);
    rrt__added_close(&tokenizer->raw);
    rrt__added_close(&tokenizer->normalized);
    free(tokenizer->source);
    json_decref(tokenizer->config);
    json_decref(tokenizer->token_ids);
    json_decref(tokenizer->generation);
    rrt__free(tokenizer);
}

rrt_tokenizer *rrt__tokenizer_share(rrt_tokenizer *tokenizer)
{
    if (tokenizer) atomic_fetch_add(&tokenizer->more_owners, 1);
    return tokenizer;
}

const char *rrt_tokenizer_kind(const rrt_tokenizer *tokenizer)
{
    return tokenizer->vocab.is_sentencepiece ? "SentencePiece BPE" : "byte-level BPE";
}

int32_t rrt_tokenizer_vocab(const rrt_tokenizer *tokenizer)
{
    return tokenizer->vocab.count;
}

int32_t rrt_tokenizer_bos(const rrt_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t rrt_tokenizer_eos(const rrt_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

int rrt_tokenizer_adds_bos(const rrt_tokenizer *tokenizer)
{
    return tokenizer->adds_bos;
}

int rrt_tokenizer_adds_space(const rrt_tokenizer *tokenizer)
{
    return tokenizer->adds_space;
}

int rrt_tokenizer_ends(const rrt_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->vocab.count && (tokenizer->vocab.tokens[id].flags & RRT__TOKEN_ENDS);
}

const char *rrt_token_bytes(const rrt_tokenizer *tokenizer, int32_t id, size_t *length)
{
    *length = 0;
    if (id < 0 || id >= tokenizer->vocab.count) return NULL;
    const rrt__vocab_token *token = &tokenizer->vocab.tokens[id];
    *length = token->bytes_length;
    return tokenizer->vocab.pool.data + token->bytes;
}

rrt_status rrt_decode(const rrt_tokenizer *tokenizer, const int32_t *ids, size_t count, char **text,
                      size_t *length, rrt_error *err)
{
    rrt__string bytes = {0};
    rrt_status status = rrt__string_append(&bytes, "", 0, err);
    for (size_t i = 0; !status && i < count; i++) {
        size_t n;
        const char *token = rrt_token_bytes(tokenizer, ids[i], &n);
        if (token) status = rrt__string_append(&bytes, token, n, err);
    }
    if (status) rrt__string_free(&bytes);
    *text = bytes.data;
    *length = bytes.length;
    return status;
}

void rrt_text_free(char *text)
{
    rrt__free(text);
}

void rrt__tokenizer_limit(rrt_tokenizer *tokenizer, size_t rows)
{
    if (!tokenizer || rows >= (size_t)tokenizer->vocab.count) return;
    tokenizer->limit = (int32_t)rows;
    if (tokenizer->eos >= tokenizer->limit) tokenizer->eos = -1;
    if (tokenizer->bos < tokenizer->limit) return;
    tokenizer->bos = -1;
    tokenizer->adds_bos = false;
}

rrt_status rrt__tokenizer_check_same(const rrt_tokenizer *a, const rrt_tokenizer *b, rrt_error *err)
{
    if (!a || !b || a == b) return RRT_STATUS_OK;
    int32_t count = a->vocab.count < b->vocab.count ? a->vocab.count : b->vocab.count;
    for (int32_t id = 0; id < count; id++) {
        size_t a_length, b_length;
        const char *a_bytes = rrt_token_bytes(a, id, &a_length), *b_bytes = rrt_token_bytes(b, id, &b_length);
        if (a_length == b_length && memcmp(a_bytes, b_bytes, a_length) == 0) continue;
        rrt_status status = rrt__fail(
            err, RRT_STATUS_MISMATCH, "the tokenizers differ: token %d is '%.*s' in one, '%.*s' in the other",
            id, (int)(a_length < 40 ? a_length : 40), a_bytes, (int)(b_length < 40 ? b_length : 40), b_bytes);
        return rrt__hint(err, status, "two models can be compared only if they share a vocabulary");
    }
    return RRT_STATUS_OK;
}

const char *rrt__tokenizer_chat_template(const rrt_tokenizer *tokenizer)
{
    return tokenizer->chat_template;
}

rrt_status rrt__tokenizer_json(json_t **out, const rrt_tokenizer *tokenizer, rrt_error *err)
{
    return rrt__json_parse(out, tokenizer->source, strlen(tokenizer->source), err);
}

json_t *rrt__tokenizer_config(const rrt_tokenizer *tokenizer)
{
    return tokenizer->config;
}

int32_t rrt__tokenizer_named(const rrt_tokenizer *tokenizer, const char *name)
{
    const json_t *token = json_object_get(tokenizer->config, name);
    if (json_is_object(token)) token = json_object_get(token, "content");
    const char *wanted = json_string_value(token);
    for (int32_t id = 0; wanted && id < tokenizer->vocab.count; id++) {
        rrt__slice text = rrt__vocab_text(&tokenizer->vocab, id);
        if (text.length == strlen(wanted) && memcmp(text.data, wanted, text.length) == 0) return id;
    }
    return -1;
}

// Some tools look for the named tokens in this separate file.
static rrt_status write_special_tokens(const rrt_tokenizer *tokenizer, const char *folder, rrt_error *err)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    char path[4096];
    json_t *map = json_object();
    for (int i = 0; i < 4; i++) {
        json_t *token = json_object_get(tokenizer->config, names[i]);
        if (!rrt__json_is_absent(token)) json_object_set(map, names[i], token);
    }
    rrt_status status = rrt__path_join(path, folder, "special_tokens_map.json", err);
    if (!status) status = rrt__json_write(map, path, err);
    json_decref(map);
    return status;
}

rrt_status rrt__tokenizer_write(const rrt_tokenizer *tokenizer, const char *folder, rrt_error *err)
{
    char path[4096];
    json_t *source;
    RRT__TRY(rrt__path_join(path, folder, "tokenizer.json", err));
    RRT__TRY(rrt__tokenizer_json(&source, tokenizer, err));
    rrt_status status = rrt__json_write(source, path, err);
    json_decref(source);
    RRT__TRY(status);
    RRT__TRY(rrt__path_join(path, folder, "tokenizer_config.json", err));
    RRT__TRY(rrt__json_write(tokenizer->config, path, err));
    return write_special_tokens(tokenizer, folder, err);
}
