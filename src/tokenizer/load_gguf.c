// Loads a tokenizer from a GGUF file: converts its metadata to tokenizer.json and tokenizer_config.json, so
// that there is one way to load a tokenizer and one to write it.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/chat_templates.h"
#include "tokenizer/gguf_pre.h"
#include "tokenizer/tokenizer_inside.h"

// The variable parts of the two files.
typedef struct source {
    const rrt__gguf_pre *pre; // NULL: SentencePiece
    bool adds_space;          // SentencePiece: before a text
    json_t *vocab;            // text → id
    json_t *merges;           // "left right"
    json_t *added;
    json_t *config;
} source;

static rrt_status fail_memory(rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the tokenizer's JSON");
}

static bool equals(rrt__slice text, const char *other)
{
    return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

// Checks that JSON can hold the string.
static rrt_status check_text(rrt__slice text, rrt_error *err)
{
    size_t invalid = rrt__utf8_first_invalid(text.data, text.length);
    if (invalid < text.length)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the string is not valid UTF-8 at its byte %zu", invalid);
    if (text.length && memchr(text.data, '\0', text.length))
        return rrt__fail(err, RRT_STATUS_FORMAT, "the string contains a NUL character");
    return RRT_STATUS_OK;
}

static rrt_status read_text(const rrt__gguf *gguf, const char *key, rrt__slice *out, rrt_error *err)
{
    RRT__TRY(rrt__gguf_string(gguf, key, out, err));
    rrt_status status = check_text(*out, err);
    return status ? rrt__at(err, status, "%s", key) : RRT_STATUS_OK;
}

static rrt_status find_kind(const rrt__gguf *gguf, source *to, rrt_error *err)
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

// user: the vocabulary, an object from text to id.
static rrt_status add_token(void *user, size_t index, rrt__slice text, rrt_error *err)
{
    json_t *vocab = user;
    char empty[32];
    if (!text.length) text = (rrt__slice){empty, (size_t)snprintf(empty, sizeof empty, "[EMPTY_%zu]", index)};
    rrt_status status = check_text(text, err);
    const json_t *other = status ? NULL : json_object_getn(vocab, text.data, text.length);
    if (other)
        status = rrt__fail(err, RRT_STATUS_FORMAT, "the token has the same text as token %lld",
                           (long long)json_integer_value(other));
    else if (!status &&
             json_object_setn_new(vocab, text.data, text.length, json_integer((json_int_t)index)) != 0)
        status = fail_memory(err);
    return status;
}

// user: the list of merges.
static rrt_status add_merge(void *user, size_t index, rrt__slice text, rrt_error *err)
{
    (void)index;
    json_t *merges = user;
    rrt_status status = check_text(text, err);
    if (!status && json_array_append_new(merges, json_stringn(text.data, text.length)) != 0)
        status = fail_memory(err);
    return status;
}

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

// Adds the tokens that are matched in the text, by tokenizer.ggml.token_type.
static rrt_status add_added(json_t *added, json_t *vocab, const int64_t *types, rrt_error *err)
{
    const char *text;
    size_t length;
    json_t *id;
    json_object_keylen_foreach(vocab, text, length, id)
    {
        int64_t type = types[json_integer_value(id)];
        if (type != TYPE_UNKNOWN && type != TYPE_CONTROL && type != TYPE_USER_DEFINED) continue;
        json_t *token = json_pack("{s:O, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", text, length,
                                  "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special",
                                  type != TYPE_USER_DEFINED);
        if (json_array_append_new(added, token) != 0) return fail_memory(err);
    }
    return RRT_STATUS_OK;
}

// Reads types and, for SentencePiece, derives the merges from the scores.
static rrt_status read_types(const rrt__gguf *gguf, source *to, rrt_error *err)
{
    const char *key = "tokenizer.ggml.token_type";
    size_t count = json_object_size(to->vocab);
    int64_t *types;
    float *scores = NULL;
    rrt_status status;
    RRT__TRY(rrt__alloc(&types, count, sizeof *types, "the token types", err));
    for (size_t i = 0; i < count; i++) types[i] = TYPE_NORMAL;
    RRT__GOTO(rrt__gguf_has(gguf, key) ? rrt__gguf_ints(gguf, key, types, count, err) : RRT_STATUS_OK);
    RRT__GOTO(add_added(to->added, to->vocab, types, err));
    if (to->pre) goto done;
    RRT__GOTO(rrt__alloc(&scores, count, sizeof *scores, "the token scores", err));
    RRT__GOTO(rrt__gguf_reals(gguf, "tokenizer.ggml.scores", scores, count, err));
    for (size_t i = 0; i < count; i++)
        if (types[i] != TYPE_NORMAL) scores[i] = NAN;
    RRT__GOTO(rrt__merges_from_scores(to->merges, to->vocab, scores, err));
done:
    rrt__free(types);
    rrt__free(scores);
    return status;
}

static rrt_status read_tokens(const rrt__gguf *gguf, source *to, rrt_error *err)
{
    size_t count;
    RRT__TRY(rrt__gguf_array_count(gguf, "tokenizer.ggml.tokens", &count, err));
    if (count > RRT__MAX_TOKENS)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "tokenizer.ggml.tokens has %zu entries: at most %d are possible", count,
                         RRT__MAX_TOKENS);
    RRT__TRY(rrt__gguf_each_string(gguf, "tokenizer.ggml.tokens", add_token, to->vocab, err));
    if (to->pre) RRT__TRY(rrt__gguf_each_string(gguf, "tokenizer.ggml.merges", add_merge, to->merges, err));
    return read_types(gguf, to, err);
}

// config[name] = the text of the token with the file's id for key, or with the fallback's.
static rrt_status set_named(const rrt__gguf *gguf, const char *key, int64_t fallback, source *to,
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

static rrt_status set_flag(const rrt__gguf *gguf, const char *key, bool fallback, source *to,
                           const char *name, rrt_error *err)
{
    bool value;
    RRT__TRY(rrt__gguf_bool_or(gguf, key, fallback, &value, err));
    return json_object_set_new(to->config, name, json_boolean(value)) == 0 ? RRT_STATUS_OK : fail_memory(err);
}

static rrt_status fill_config(const rrt__gguf *gguf, source *to, rrt_error *err)
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
    bool adds_bos = !to->pre || (to->pre->flags & RRT__GGUF_PRE_BOS);
    RRT__TRY(set_flag(gguf, "tokenizer.ggml.add_bos_token", adds_bos, to, "add_bos_token", err));
    RRT__TRY(set_flag(gguf, "tokenizer.ggml.add_eos_token", false, to, "add_eos_token", err));
    return rrt__chat_templates_of_gguf(to->config, gguf, err);
}

// Adds the token named `key` to a template of special tokens around a text, if `flag` is set.
static int add_around(const source *from, const char *key, const char *flag, json_t *single, json_t *pair,
                      json_t *tokens)
{
    const char *text = json_string_value(json_object_get(from->config, key));
    if (!text || !json_is_true(json_object_get(from->config, flag))) return 0;
    json_t *item = json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", text, "type_id", 0);
    int failed = json_array_append(single, item) | json_array_append(pair, item);
    json_decref(item);
    return failed | json_object_set_new(tokens, text,
                                        json_pack("{s:s, s:[O], s:[s]}", "id", text, "ids",
                                                  json_object_get(from->vocab, text), "tokens", text));
}

static int add_text(json_t *list, const char *name, int type)
{
    return json_array_append_new(list, json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", type));
}

// The post-processor by which Hugging Face's fast tokenizers add BOS and EOS; null if neither is wanted.
static json_t *make_postprocessor(const source *from)
{
    json_t *single = json_array(), *pair = json_array(), *tokens = json_object(), *made = NULL;
    int failed = add_around(from, "bos_token", "add_bos_token", single, pair, tokens);
    failed |= add_text(single, "A", 0) | add_text(pair, "A", 0) | add_text(pair, "B", 1);
    failed |= add_around(from, "eos_token", "add_eos_token", single, pair, tokens);
    if (!failed && json_object_size(tokens))
        made = json_pack("{s:s, s:O, s:O, s:O}", "type", "TemplateProcessing", "single", single, "pair", pair,
                         "special_tokens", tokens);
    else if (!failed)
        made = json_null();
    json_decref(single);
    json_decref(pair);
    json_decref(tokens);
    return made;
}

static json_t *make_replace(const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content", to);
}

static json_t *make_spaces_to_marks(bool adds_space)
{
    json_t *replace = make_replace(" ", rrt__space_mark);
    return adds_space ? json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type",
                                  "Prepend", "prepend", rrt__space_mark, replace)
                      : replace;
}

static json_t *make_marks_to_spaces(bool adds_space)
{
    json_t *strip =
        adds_space ? json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0)
                   : NULL;
    return json_pack("{s:s, s:[o, {s:s}, {s:s}, o*]}", "type", "Sequence", "decoders",
                     make_replace(rrt__space_mark, " "), "type", "ByteFallback", "type", "Fuse", strip);
}

static json_t *make_json(const source *from)
{
    const rrt__gguf_pre *pre = from->pre;
    const json_t *unknown = json_object_get(from->config, "unk_token");
    bool ignores_merges = pre && (pre->flags & RRT__GGUF_PRE_IGNORES_MERGES);
    return json_pack(
        "{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o, s:{s:s, s:n, s:O?, s:n, s:n, s:b, s:b, s:b, s:O, s:O}}",
        "version", "1.0", "truncation", "padding", "added_tokens", from->added, "normalizer",
        pre ? rrt__gguf_pre_normalizer(pre) : make_spaces_to_marks(from->adds_space), "pre_tokenizer",
        pre ? rrt__gguf_pre_steps(pre) : json_null(), "post_processor", make_postprocessor(from), "decoder",
        pre ? rrt__gguf_pre_byte_level() : make_marks_to_spaces(from->adds_space), "model", "type", "BPE",
        "dropout", "unk_token", pre ? NULL : unknown, "continuing_subword_prefix", "end_of_word_suffix",
        "fuse_unk", !pre, "byte_fallback", !pre, "ignore_merges", ignores_merges, "vocab", from->vocab,
        "merges", from->merges);
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
    source from = {0};
    json_t *json = NULL;
    *out = NULL;
    if (rrt__gguf_has(gguf, "rrt.config")) return rrt__tokenizer_unpack(out, gguf, err);
    RRT__TRY(find_kind(gguf, &from, err));
    from.vocab = json_object();
    from.merges = json_array();
    from.added = json_array();
    from.config = rrt__config_new();
    rrt_status status = read_tokens(gguf, &from, err);
    if (!status) status = fill_config(gguf, &from, err);
    if (!status && !(json = make_json(&from))) status = fail_memory(err);
    if (!status) status = rrt__tokenizer_from_json(out, json, from.config, err);
    if (!status) status = add_ends(*out, gguf, err);
    if (status) rrt_tokenizer_close(*out);
    if (status) *out = NULL;
    json_decref(from.vocab);
    json_decref(from.merges);
    json_decref(from.added);
    json_decref(from.config);
    json_decref(json);
    return status;
}
