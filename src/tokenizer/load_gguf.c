// Loads a tokenizer from a GGUF file's metadata.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tokenizer/chat_templates.h"
#include "tokenizer/parts.h"

static rrt_status fail_memory(rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the tokenizer's JSON");
}

static bool equals(rrt__slice text, const char *other)
{
    return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

static rrt_status read_text(const rrt__gguf *gguf, const char *key, rrt__slice *out, rrt_error *err)
{
    RRT__TRY(rrt__gguf_string(gguf, key, out, err));
    rrt_status status = rrt__parts_check_text(*out, err);
    return status ? rrt__at(err, status, "%s", key) : RRT_STATUS_OK;
}

static rrt_status find_kind(const rrt__gguf *gguf, rrt__parts *to, rrt_error *err)
{
    rrt__slice model, pre = {"", 0};
    RRT__TRY(read_text(gguf, "tokenizer.ggml.model", &model, err));
    RRT__TRY(rrt__gguf_bool_or(gguf, "tokenizer.ggml.add_space_prefix", true, &to->adds_space, err));
    if (equals(model, "llama")) return RRT_STATUS_OK;
    if (!equals(model, "gpt2"))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the tokenizer.ggml.model '%.*s' is not known, only 'gpt2' and 'llama'",
                         (int)(model.length < 100 ? model.length : 100), model.data);
    if (rrt__gguf_has(gguf, "tokenizer.ggml.pre")) RRT__TRY(read_text(gguf, "tokenizer.ggml.pre", &pre, err));
    to->pre = rrt__gguf_pre_named(pre);
    if (to->pre) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the tokenizer.ggml.pre '%.*s' is not known",
                                  (int)(pre.length < 100 ? pre.length : 100), pre.data);
    return rrt__hint(err, status, "docs/FORMATS.md lists those that are");
}

// user: the parts.
static rrt_status add_token(void *user, size_t index, rrt__slice text, rrt_error *err)
{
    return rrt__parts_add_token(user, index, text, err);
}

// user: the list of merges.
static rrt_status add_merge(void *user, size_t index, rrt__slice text, rrt_error *err)
{
    (void)index;
    json_t *merges = user;
    rrt_status status = rrt__parts_check_text(text, err);
    if (!status && json_array_append_new(merges, json_stringn(text.data, text.length)) != 0)
        status = fail_memory(err);
    return status;
}

// Adds the tokens that are matched in the text, by tokenizer.ggml.token_type.
static rrt_status add_added(rrt__parts *to, const int64_t *types, rrt_error *err)
{
    const char *text;
    size_t length;
    json_t *value;
    json_object_keylen_foreach(to->vocab, text, length, value)
    {
        int64_t id = json_integer_value(value), type = types[id];
        bool is_plain = type == RRT__TYPE_USER_DEFINED;
        if (type != RRT__TYPE_UNKNOWN && type != RRT__TYPE_CONTROL && !is_plain) continue;
        RRT__TRY(
            rrt__parts_add_added(to, id, (rrt__slice){text, length}, is_plain ? 0 : RRT__TOKEN_SPECIAL, err));
    }
    return RRT_STATUS_OK;
}

// Reads types and, for SentencePiece, derives the merges from the scores.
static rrt_status read_types(const rrt__gguf *gguf, rrt__parts *to, rrt_error *err)
{
    const char *key = "tokenizer.ggml.token_type";
    size_t count = json_object_size(to->vocab);
    int64_t *types;
    float *scores = NULL;
    rrt_status status;
    RRT__TRY(rrt__alloc(&types, count, sizeof *types, "the token types", err));
    for (size_t i = 0; i < count; i++) types[i] = RRT__TYPE_NORMAL;
    RRT__GOTO(rrt__gguf_has(gguf, key) ? rrt__gguf_ints(gguf, key, types, count, err) : RRT_STATUS_OK);
    RRT__GOTO(add_added(to, types, err));
    if (to->pre) goto done;
    RRT__GOTO(rrt__alloc(&scores, count, sizeof *scores, "the token scores", err));
    RRT__GOTO(rrt__gguf_reals(gguf, "tokenizer.ggml.scores", scores, count, err));
    for (size_t i = 0; i < count; i++)
        if (types[i] != RRT__TYPE_NORMAL) scores[i] = NAN;
    RRT__GOTO(rrt__merges_from_scores(to->merges, to->vocab, scores, err));
done:
    rrt__free(types);
    rrt__free(scores);
    return status;
}

static rrt_status read_tokens(const rrt__gguf *gguf, rrt__parts *to, rrt_error *err)
{
    size_t count;
    RRT__TRY(rrt__gguf_array_count(gguf, "tokenizer.ggml.tokens", &count, err));
    if (count > RRT__MAX_TOKENS)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "tokenizer.ggml.tokens has %zu entries: at most %d are possible", count,
                         RRT__MAX_TOKENS);
    RRT__TRY(rrt__gguf_each_string(gguf, "tokenizer.ggml.tokens", add_token, to, err));
    if (to->pre) RRT__TRY(rrt__gguf_each_string(gguf, "tokenizer.ggml.merges", add_merge, to->merges, err));
    return read_types(gguf, to, err);
}

// config[name] = the text of the token with the file's id for key, or with the fallback's.
static rrt_status set_named(const rrt__gguf *gguf, const char *key, int64_t fallback, rrt__parts *to,
                            const char *name, rrt_error *err)
{
    int64_t wanted, max = (int64_t)json_object_size(to->vocab) - 1;
    RRT__TRY(rrt__gguf_int_or(gguf, key, 0, max, to->pre ? -1 : fallback, &wanted, err));
    const char *text;
    json_t *id;
    json_object_foreach(to->vocab, text, id)
    {
        if (json_integer_value(id) != wanted) continue;
        if (json_object_set_new(to->config, name, json_string(text)) != 0) return fail_memory(err);
    }
    return RRT_STATUS_OK;
}

static rrt_status set_flag(const rrt__gguf *gguf, const char *key, bool fallback, rrt__parts *to,
                           const char *name, rrt_error *err)
{
    bool value;
    RRT__TRY(rrt__gguf_bool_or(gguf, key, fallback, &value, err));
    return json_object_set_new(to->config, name, json_boolean(value)) == 0 ? RRT_STATUS_OK : fail_memory(err);
}

static rrt_status fill_config(const rrt__gguf *gguf, rrt__parts *to, rrt_error *err)
{
    static const struct {
        const char *key, *name;
        int64_t fallback; // for SentencePiece
    } named[] = {
        {"tokenizer.ggml.bos_token_id", "bos_token", 1},
        {"tokenizer.ggml.eos_token_id", "eos_token", 2},
        {"tokenizer.ggml.unknown_token_id", "unk_token", 0},
        {"tokenizer.ggml.padding_token_id", "pad_token", -1},
    };
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        RRT__TRY(set_named(gguf, named[i].key, named[i].fallback, to, named[i].name, err));
    if (!to->pre) to->unknown = json_incref(json_object_get(to->config, "unk_token"));
    bool adds_bos = !to->pre || (to->pre->flags & RRT__GGUF_PRE_BOS);
    RRT__TRY(set_flag(gguf, "tokenizer.ggml.add_bos_token", adds_bos, to, "add_bos_token", err));
    RRT__TRY(set_flag(gguf, "tokenizer.ggml.add_eos_token", false, to, "add_eos_token", err));
    return rrt__chat_templates_of_gguf(to->config, gguf, err);
}

// In addition to tokens recognised by their text.
static rrt_status add_ends(rrt_tokenizer *tokenizer, const rrt__gguf *gguf, rrt_error *err)
{
    static const char *const keys[] = {"eot", "eom", "fim_pad", "fim_rep", "fim_sep"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char key[64];
        int64_t id;
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", keys[i]);
        RRT__TRY(rrt__gguf_int_or(gguf, key, 0, tokenizer->vocab.count - 1, -1, &id, err));
        rrt__tokenizer_end_at(tokenizer, (int32_t)id);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__tokenizer_from_gguf(rrt_tokenizer **out, const rrt__gguf *gguf, rrt_error *err)
{
    rrt__parts from = {0};
    *out = NULL;
    if (rrt__gguf_has(gguf, "rrt.config")) return rrt__tokenizer_unpack(out, gguf, err);
    RRT__TRY(find_kind(gguf, &from, err));
    from.falls_back = !from.pre;
    rrt_status status = rrt__parts_open(&from, err);
    if (!status) status = read_tokens(gguf, &from, err);
    if (!status) status = fill_config(gguf, &from, err);
    if (!status) status = rrt__parts_load(out, &from, err);
    if (!status) status = add_ends(*out, gguf, err);
    if (status) rrt_tokenizer_close(*out);
    if (status) *out = NULL;
    rrt__parts_close(&from);
    return status;
}
