// A tokenizer as metadata of a GGUF file: the way back of load_gguf.c.
#include <stdio.h>
#include <string.h>

#include "tokenizer/chat_templates.h"
#include "tokenizer/parts.h"

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER_DEFINED, TYPE_UNUSED, TYPE_BYTE };

static int32_t type_of(const rrt_tokenizer *t, int32_t id)
{
    const rrt__token *token = &t->vocab.tokens[id];
    rrt__slice text = rrt__vocab_text(&t->vocab, id);
    if (t->vocab.is_sentencepiece && id == t->merges.unknown) return TYPE_UNKNOWN;
    if (token->flags & RRT__TOKEN_ADDED)
        return token->flags & RRT__TOKEN_SPECIAL ? TYPE_CONTROL : TYPE_USER_DEFINED;
    bool is_byte = token->bytes_length == 1 && text.length == 6 && memcmp(text.data, "<0x", 3) == 0;
    return t->vocab.is_sentencepiece && is_byte ? TYPE_BYTE : TYPE_NORMAL;
}

// Ids that only the embedding has get names that no text contains, as llama.cpp's converter does it.
static rrt_status write_tokens(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w, rrt_error *err)
{
    size_t known = (size_t)t->vocab.count;
    int32_t *types;
    RRT__TRY(rrt__gguf_write_strings(w, "tokenizer.ggml.tokens", vocab, err));
    for (size_t id = 0; id < vocab; id++) {
        char padding[32];
        int length = snprintf(padding, sizeof padding, "[PAD%zu]", id);
        rrt__slice text =
            id < known ? rrt__vocab_text(&t->vocab, (int32_t)id) : (rrt__slice){padding, (size_t)length};
        RRT__TRY(rrt__gguf_write_item(w, text.data, text.length, err));
    }
    RRT__TRY(rrt__alloc(&types, vocab, sizeof *types, "the token types", err));
    for (size_t id = 0; id < vocab; id++) types[id] = id < known ? type_of(t, (int32_t)id) : TYPE_UNUSED;
    rrt_status status = rrt__gguf_write_i32s(w, "tokenizer.ggml.token_type", types, vocab, err);
    rrt__free(types);
    return status;
}

static rrt_status write_merges(const rrt_tokenizer *t, rrt__gguf_writer *w, rrt_error *err)
{
    rrt__string line = {0};
    rrt_status status = rrt__gguf_write_strings(w, "tokenizer.ggml.merges", t->merges.count, err);
    for (size_t rank = 0; !status && rank < t->merges.count; rank++) {
        const rrt__merge *merge = &t->merges.by_rank[rank];
        rrt__slice left = rrt__vocab_text(&t->vocab, merge->left),
                   right = rrt__vocab_text(&t->vocab, merge->right);
        line.length = 0;
        status = rrt__string_append(&line, left.data, left.length, err);
        if (!status) status = rrt__string_append(&line, " ", 1, err);
        if (!status) status = rrt__string_append(&line, right.data, right.length, err);
        if (!status) status = rrt__gguf_write_item(w, line.data, line.length, err);
    }
    rrt__string_free(&line);
    return status;
}

// SentencePiece merges what gives the token of the highest score. Which scores the tokens once had is not
// known any more, but their order is that of the merges.
static rrt_status write_scores(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w, rrt_error *err)
{
    float *scores;
    RRT__TRY(rrt__alloc(&scores, vocab, sizeof *scores, "the token scores", err));
    for (size_t rank = t->merges.count; rank-- > 0;)
        scores[t->merges.by_rank[rank].result] = -1.0f - (float)rank;
    for (size_t id = 0; id < vocab; id++)
        if (scores[id] == 0) scores[id] = -1.0f - (float)t->merges.count;
    rrt_status status = rrt__gguf_write_f32s(w, "tokenizer.ggml.scores", scores, vocab, err);
    rrt__free(scores);
    return status;
}

// The id of a token that tokenizer_config.json names, if it does.
static rrt_status write_named(const rrt_tokenizer *t, const char *name, const char *key, rrt__gguf_writer *w,
                              rrt_error *err)
{
    const json_t *token = json_object_get(t->config, name);
    if (json_is_object(token)) token = json_object_get(token, "content");
    const char *wanted = json_string_value(token);
    for (int32_t id = 0; wanted && id < t->vocab.count; id++) {
        rrt__slice text = rrt__vocab_text(&t->vocab, id);
        if (text.length == strlen(wanted) && memcmp(text.data, wanted, text.length) == 0)
            return rrt__gguf_write_u32(w, key, (uint32_t)id, err);
    }
    return RRT_STATUS_OK;
}

static rrt_status write_settings(const rrt_tokenizer *t, rrt__gguf_writer *w, rrt_error *err)
{
    bool adds_space =
        t->normalizer.spaces.prepend != RRT__PREPEND_NEVER || t->spaces.prepend != RRT__PREPEND_NEVER;
    if (t->bos >= 0) RRT__TRY(rrt__gguf_write_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)t->bos, err));
    if (t->eos >= 0) RRT__TRY(rrt__gguf_write_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)t->eos, err));
    RRT__TRY(write_named(t, "unk_token", "tokenizer.ggml.unknown_token_id", w, err));
    RRT__TRY(write_named(t, "pad_token", "tokenizer.ggml.padding_token_id", w, err));
    RRT__TRY(rrt__gguf_write_bool(w, "tokenizer.ggml.add_bos_token", t->adds_bos, err));
    RRT__TRY(rrt__gguf_write_bool(w, "tokenizer.ggml.add_eos_token", false, err));
    RRT__TRY(rrt__gguf_write_bool(w, "tokenizer.ggml.add_space_prefix", adds_space, err));
    return rrt__chat_templates_to_gguf(t->config, w, err);
}

static rrt_status write_byte_level(const rrt_tokenizer *t, rrt__gguf_writer *w, rrt_error *err)
{
    json_t *source;
    RRT__TRY(rrt__tokenizer_json(&source, t, err));
    const char *pre = rrt__gguf_pre_of(source); // one of our own strings
    json_decref(source);
    if (!pre) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "the tokenizer splits a text in a way that GGUF has no name for");
        return rrt__hint(err, status,
                         "export --to hf keeps it; those with a name are gpt-2, smollm, llama-bpe and qwen2");
    }
    RRT__TRY(rrt__gguf_write_string(w, "tokenizer.ggml.model", "gpt2", 4, err));
    RRT__TRY(rrt__gguf_write_string(w, "tokenizer.ggml.pre", pre, strlen(pre), err));
    return write_merges(t, w, err);
}

rrt_status rrt__tokenizer_to_gguf(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w, rrt_error *err)
{
    if (t->vocab.is_sentencepiece) {
        RRT__TRY(rrt__gguf_write_string(w, "tokenizer.ggml.model", "llama", 5, err));
        RRT__TRY(write_scores(t, vocab, w, err));
    } else {
        RRT__TRY(write_byte_level(t, w, err));
    }
    RRT__TRY(write_tokens(t, vocab, w, err));
    return write_settings(t, w, err);
}
