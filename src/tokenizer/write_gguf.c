// Writes a tokenizer as GGUF metadata: the inverse of load_gguf.c.
#include <stdio.h>
#include <string.h>

#include "tokenizer/chat_templates.h"
#include "tokenizer/parts.h"
#include "tokenizer/pattern.h"

static int32_t type_of(const rrt_tokenizer *t, int32_t id)
{
    const rrt__vocab_token *token = &t->vocab.tokens[id];
    rrt__slice text = rrt__vocab_text(&t->vocab, id);
    if (t->vocab.is_sentencepiece && id == t->merges.unknown) return RRT__TYPE_UNKNOWN;
    if (token->flags & RRT__TOKEN_ADDED)
        return token->flags & RRT__TOKEN_SPECIAL ? RRT__TYPE_CONTROL : RRT__TYPE_USER_DEFINED;
    bool is_byte = token->bytes_length == 1 && text.length == 6 && memcmp(text.data, "<0x", 3) == 0;
    return t->vocab.is_sentencepiece && is_byte ? RRT__TYPE_BYTE : RRT__TYPE_NORMAL;
}

// Ids that only the embedding has get names that no text contains, as in llama.cpp's converter.
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
    for (size_t id = 0; id < vocab; id++) types[id] = id < known ? type_of(t, (int32_t)id) : RRT__TYPE_UNUSED;
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

// SentencePiece merges to the token with the highest score. The original scores are lost, but the merges give
// their order.
static rrt_status write_scores(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w, rrt_error *err)
{
    float *scores;
    size_t room = vocab > (size_t)t->vocab.count ? vocab : (size_t)t->vocab.count;
    RRT__TRY(rrt__alloc(&scores, room, sizeof *scores, "the token scores", err));
    for (size_t rank = t->merges.count; rank-- > 0;)
        scores[t->merges.by_rank[rank].result] = -1.0f - (float)rank;
    for (size_t id = 0; id < vocab; id++)
        if (scores[id] == 0) scores[id] = -1.0f - (float)t->merges.count;
    rrt_status status = rrt__gguf_write_f32s(w, "tokenizer.ggml.scores", scores, vocab, err);
    rrt__free(scores);
    return status;
}

static rrt_status write_id(int32_t id, size_t vocab, const char *key, rrt__gguf_writer *w, rrt_error *err)
{
    return id >= 0 && (size_t)id < vocab ? rrt__gguf_write_u32(w, key, (uint32_t)id, err) : RRT_STATUS_OK;
}

// Writes those that readers would not recognise by their text.
static rrt_status write_ends(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w, rrt_error *err)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    int written = 0;
    for (int32_t id = 0; id < t->vocab.count && written < 2; id++) {
        bool ends = t->vocab.tokens[id].flags & RRT__TOKEN_ENDS;
        if (ends && id != t->eos && !rrt__token_ends_by_text(&t->vocab, id))
            RRT__TRY(write_id(id, vocab, keys[written++], w, err));
    }
    return RRT_STATUS_OK;
}

static rrt_status write_settings(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w, rrt_error *err)
{
    const struct {
        int32_t id;
        const char *key;
    } named[] = {{t->bos, "tokenizer.ggml.bos_token_id"},
                 {t->eos, "tokenizer.ggml.eos_token_id"},
                 {rrt__tokenizer_named(t, "unk_token"), "tokenizer.ggml.unknown_token_id"},
                 {rrt__tokenizer_named(t, "pad_token"), "tokenizer.ggml.padding_token_id"}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        RRT__TRY(write_id(named[i].id, vocab, named[i].key, w, err));
    RRT__TRY(write_ends(t, vocab, w, err));
    RRT__TRY(rrt__gguf_write_bool(w, "tokenizer.ggml.add_bos_token", t->adds_bos, err));
    RRT__TRY(rrt__gguf_write_bool(w, "tokenizer.ggml.add_eos_token", t->adds_eos, err));
    return rrt__chat_templates_to_gguf(t->config, w, err);
}

// Whether a step isolates the pattern's matches and keeps the rest. covers: the pattern matches everything,
// so that keeping only the matches is the same.
static rrt_status is_split_at(bool *same, const rrt__step *step, const char *pattern, bool covers,
                              rrt_error *err)
{
    rrt__string words = {0};
    bool keeps_all = step->behavior == RRT__BEHAVIOR_ISOLATED ||
                     (covers && step->behavior == RRT__BEHAVIOR_REMOVED && step->inverts);
    *same = false;
    if (step->kind != RRT__STEP_SPLIT || !step->pattern.code || !keeps_all) return RRT_STATUS_OK;
    rrt_status status = rrt__pattern_translate(&words, pattern, err);
    *same = !status && strcmp(words.data, step->pattern.text) == 0;
    rrt__string_free(&words);
    return status;
}

static rrt_status has_steps_of(bool *same, const rrt_tokenizer *t, const rrt__gguf_pre *pre, rrt_error *err)
{
    size_t count = 0;
    while (count < RRT__GGUF_PRE_MAX && pre->patterns[count]) count++;
    *same = count == t->steps.count;
    for (size_t i = 0; *same && i < count; i++) {
        bool covers = i + 1 == count && (pre->flags & RRT__GGUF_PRE_COVERS);
        RRT__TRY(is_split_at(same, &t->steps.list[i], pre->patterns[i], covers, err));
    }
    return RRT_STATUS_OK;
}

// The row equivalent to this tokenizer. A row that differs only in NFC is the second choice: llama.cpp
// normalises nothing, whatever the name.
static rrt_status find_pre(const rrt__gguf_pre **out, const rrt_tokenizer *t, rrt_error *err)
{
    const rrt__normalizer *normalizer = &t->normalizer;
    bool nfc = normalizer->count == 1 && normalizer->list[0].kind == RRT__NORMAL_NFC, same;
    *out = NULL;
    if (normalizer->count && !nfc) return RRT_STATUS_OK;
    for (const rrt__gguf_pre *pre = rrt__gguf_pres; pre->names; pre++) {
        if (t->ignores_merges != ((pre->flags & RRT__GGUF_PRE_IGNORES_MERGES) != 0)) continue;
        RRT__TRY(has_steps_of(&same, t, pre, err));
        bool is_exact = nfc == ((pre->flags & RRT__GGUF_PRE_NFC) != 0);
        if (same && (is_exact || !*out)) *out = pre;
        if (same && is_exact) return RRT_STATUS_OK;
    }
    return RRT_STATUS_OK;
}

static rrt_status fail_unnamed(rrt_error *err)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                  "the tokenizer prepares a text in a way that GGUF has no name for");
    return rrt__hint(err, status, "export --to hf keeps it; docs/FORMATS.md lists those that have a name");
}

static rrt_status write_byte_level(const rrt_tokenizer *t, rrt__gguf_writer *w, rrt_error *err)
{
    const rrt__gguf_pre *pre;
    RRT__TRY(find_pre(&pre, t, err));
    if (!pre) return fail_unnamed(err);
    RRT__TRY(rrt__gguf_write_string(w, "tokenizer.ggml.model", "gpt2", 4, err));
    RRT__TRY(rrt__gguf_write_string(w, "tokenizer.ggml.pre", pre->names, strcspn(pre->names, " "), err));
    return write_merges(t, w, err);
}

static bool is_literal(const rrt__pattern *pattern, const char *text)
{
    return !pattern->code && strcmp(pattern->text, text) == 0;
}

// Whether spaces become marks and nothing else happens, by the normalizer or by the pre-tokenizer;
// adds_space: one is prepended.
static bool is_sentencepiece(const rrt_tokenizer *t, bool *adds_space)
{
    const rrt__normal *normal = t->normalizer.list;
    size_t n = t->normalizer.count, steps = t->steps.count;
    const rrt__step *step = t->steps.list;
    bool by_steps = steps && step[0].kind == RRT__STEP_MARKS;
    *adds_space = by_steps ? step[0].prepend != RRT__PREPEND_NEVER
                           : n == 2 && normal[0].kind == RRT__NORMAL_PREPEND &&
                                 strcmp(normal[0].content, rrt__space_mark) == 0;
    if (!t->vocab.falls_back || t->ignores_merges) return false;
    if (by_steps) // and perhaps a split before each mark
        return n == 0 && (steps == 1 || (steps == 2 && step[1].behavior == RRT__BEHAVIOR_NEXT &&
                                         is_literal(&step[1].pattern, rrt__space_mark)));
    const rrt__normal *replace = n ? &normal[n - 1] : NULL;
    bool replaces = n == 1u + *adds_space && replace->kind == RRT__NORMAL_REPLACE &&
                    is_literal(&replace->pattern, " ") && strcmp(replace->content, rrt__space_mark) == 0;
    // Gemma's splits at spaces, of which the normalizer left none.
    return replaces && (steps == 0 || (steps == 1 && is_literal(&step[0].pattern, " ")));
}

static rrt_status write_sentencepiece(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w,
                                      rrt_error *err)
{
    bool adds_space;
    if (!is_sentencepiece(t, &adds_space)) return fail_unnamed(err);
    RRT__TRY(rrt__gguf_write_string(w, "tokenizer.ggml.model", "llama", 5, err));
    RRT__TRY(rrt__gguf_write_string(w, "tokenizer.ggml.pre", "default", 7, err));
    RRT__TRY(rrt__gguf_write_bool(w, "tokenizer.ggml.add_space_prefix", adds_space, err));
    return write_scores(t, vocab, w, err);
}

rrt_status rrt__tokenizer_to_gguf(const rrt_tokenizer *t, size_t vocab, rrt__gguf_writer *w, rrt_error *err)
{
    RRT__TRY(t->vocab.is_sentencepiece ? write_sentencepiece(t, vocab, w, err) : write_byte_level(t, w, err));
    RRT__TRY(write_tokens(t, vocab, w, err));
    return write_settings(t, vocab, w, err);
}
