#include "tokenizer/parts.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static rrt_status fail_memory(rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the tokenizer's JSON");
}

rrt_status rrt__parts_open(rrt__parts *parts, rrt_error *err)
{
    parts->vocab = json_object();
    parts->merges = json_array();
    parts->added = json_array();
    if (!parts->config) parts->config = rrt__config_new();
    return parts->vocab && parts->merges && parts->added && parts->config ? RRT_STATUS_OK : fail_memory(err);
}

void rrt__parts_close(rrt__parts *parts)
{
    json_decref(parts->vocab);
    json_decref(parts->merges);
    json_decref(parts->added);
    json_decref(parts->isolated);
    json_decref(parts->unknown);
    json_decref(parts->config);
}

rrt_status rrt__parts_check_text(rrt__slice text, rrt_error *err)
{
    size_t invalid = rrt__utf8_first_invalid(text.data, text.length);
    if (invalid < text.length)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the string is not valid UTF-8 at its byte %zu", invalid);
    if (text.length && memchr(text.data, '\0', text.length))
        return rrt__fail(err, RRT_STATUS_FORMAT, "the string contains a NUL character");
    return RRT_STATUS_OK;
}

rrt_status rrt__parts_add_token(rrt__parts *parts, size_t id, rrt__slice text, rrt_error *err)
{
    char empty[32];
    if (!text.length) text = (rrt__slice){empty, (size_t)snprintf(empty, sizeof empty, "[EMPTY_%zu]", id)};
    RRT__TRY(rrt__parts_check_text(text, err));
    const json_t *other = json_object_getn(parts->vocab, text.data, text.length);
    if (other)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the token has the same text as token %lld",
                         (long long)json_integer_value(other));
    return json_object_setn_new(parts->vocab, text.data, text.length, json_integer((json_int_t)id)) == 0
               ? RRT_STATUS_OK
               : fail_memory(err);
}

rrt_status rrt__parts_add_added(rrt__parts *parts, int64_t id, rrt__slice text, unsigned flags,
                                rrt_error *err)
{
    json_t *token =
        json_pack("{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content", text.data,
                  text.length, "single_word", (flags & RRT__TOKEN_WORD) != 0, "lstrip",
                  (flags & RRT__TOKEN_LEFT) != 0, "rstrip", (flags & RRT__TOKEN_RIGHT) != 0, "normalized",
                  (flags & RRT__TOKEN_NORMALIZED) != 0, "special", (flags & RRT__TOKEN_SPECIAL) != 0);
    return json_array_append_new(parts->added, token) == 0 ? RRT_STATUS_OK : fail_memory(err);
}

// --- the post-processor ---------------------------------------------------------------------------------

// The id of a token of the model or of an added token; NULL if there is none.
static json_t *find_id(const rrt__parts *from, const char *text)
{
    json_t *id = json_object_get(from->vocab, text);
    for (size_t i = 0; !id && i < json_array_size(from->added); i++) {
        const json_t *added = json_array_get(from->added, i);
        if (strcmp(json_string_value(json_object_get(added, "content")), text) == 0)
            id = json_object_get(added, "id");
    }
    return id;
}

// Adds the token named `key` to a template of special tokens around a text, if `flag` is set.
static int add_around(const rrt__parts *from, const char *key, const char *flag, json_t *single, json_t *pair,
                      json_t *tokens)
{
    const char *text = json_string_value(json_object_get(from->config, key));
    json_t *id = text && json_is_true(json_object_get(from->config, flag)) ? find_id(from, text) : NULL;
    if (!id) return 0;
    json_t *item = json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", text, "type_id", 0);
    int failed = json_array_append(single, item) | json_array_append(pair, item);
    json_decref(item);
    return failed |
           json_object_set_new(tokens, text,
                               json_pack("{s:s, s:[O], s:[s]}", "id", text, "ids", id, "tokens", text));
}

static int add_text(json_t *list, const char *name, int type)
{
    return json_array_append_new(list, json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", type));
}

// The post-processor by which Hugging Face's fast tokenizers add BOS and EOS; null if neither is wanted.
static json_t *make_postprocessor(const rrt__parts *from)
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

// --- SentencePiece --------------------------------------------------------------------------------------

// Appends a replacement of a string, or of what a regular expression matches.
static int add_replace(json_t *list, const char *kind, const char *from, const char *to)
{
    return json_array_append_new(
        list, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", kind, from, "content", to));
}

// A list of one step is that step, else a sequence of the steps under `key`.
static json_t *make_sequence(json_t *list, int failed, const char *key)
{
    json_t *made = failed                       ? NULL
                   : json_array_size(list) == 1 ? json_incref(json_array_get(list, 0))
                                                : json_pack("{s:s, s:O}", "type", "Sequence", key, list);
    json_decref(list);
    return made;
}

// In SentencePiece's order: spaces are dropped, marked, and one is put in front, even of another.
static json_t *make_normalizer(const rrt__parts *from)
{
    if (from->adds_space && from->only_first) return json_null();
    json_t *list = json_array();
    int failed = 0;
    if (from->strips_spaces)
        failed |= add_replace(list, "Regex", "\\A +", "") | add_replace(list, "Regex", " {2,}", " ");
    if (from->adds_space && !from->strips_spaces)
        failed |= json_array_append_new(
            list, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", rrt__space_mark));
    failed |= add_replace(list, "String", " ", rrt__space_mark);
    if (from->strips_spaces) {
        failed |= add_replace(list, "Regex", "▁+\\z", "");
        if (from->adds_space)
            failed |= json_array_append_new(
                list, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", rrt__space_mark));
    }
    return make_sequence(list, failed, "normalizers");
}

static rrt_status write_literally(rrt__string *out, const char *text, rrt_error *err)
{
    rrt_status status = out->length ? rrt__string_append(out, "|", 1, err) : RRT_STATUS_OK;
    for (; !status && *text; text++) {
        if (strchr("\\^$.|?*+()[]{}", *text)) status = rrt__string_append(out, "\\", 1, err);
        if (!status) status = rrt__string_append(out, text, 1, err);
    }
    return status;
}

// A regular expression for any of the texts: of two that begin alike the longer.
static rrt_status write_alternatives(rrt__string *out, const json_t *texts, rrt_error *err)
{
    size_t longest = 0;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        size_t length = json_string_length(json_array_get(texts, i));
        if (length > longest) longest = length;
    }
    for (size_t length = longest; length > 0; length--)
        for (size_t i = 0; i < json_array_size(texts); i++) {
            const json_t *text = json_array_get(texts, i);
            if (json_string_length(text) == length)
                RRT__TRY(write_literally(out, json_string_value(text), err));
        }
    return RRT_STATUS_OK;
}

static rrt_status make_steps(json_t **out, const rrt__parts *from, rrt_error *err)
{
    json_t *list = json_array();
    rrt__string pattern = {0};
    int failed = 0;
    rrt_status status = write_alternatives(&pattern, from->isolated, err);
    if (from->adds_space && from->only_first)
        failed |=
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement",
                                                  rrt__space_mark, "prepend_scheme", "first", "split", 0));
    if (pattern.length)
        failed |= json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split",
                                                        "pattern", "Regex", pattern.data, "behavior",
                                                        "Isolated", "invert", 0));
    rrt__string_free(&pattern);
    if (!json_array_size(list) && !failed && !status) {
        json_decref(list);
        *out = json_null();
        return RRT_STATUS_OK;
    }
    *out = make_sequence(list, failed || status, "pretokenizers");
    return status ? status : *out ? RRT_STATUS_OK : fail_memory(err);
}

static json_t *make_decoder(const rrt__parts *from)
{
    json_t *list = json_array();
    int failed = add_replace(list, "String", rrt__space_mark, " ");
    if (from->falls_back) failed |= json_array_append_new(list, json_pack("{s:s}", "type", "ByteFallback"));
    failed |= json_array_append_new(list, json_pack("{s:s}", "type", "Fuse"));
    if (from->adds_space)
        failed |= json_array_append_new(
            list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    return make_sequence(list, failed, "decoders");
}

// --- the whole ------------------------------------------------------------------------------------------

static rrt_status make_json(json_t **out, const rrt__parts *from, rrt_error *err)
{
    const rrt__gguf_pre *pre = from->pre;
    json_t *steps;
    // What is isolated is a token as a whole, whether merges lead to it or not.
    bool ignores_merges = pre ? pre->flags & RRT__GGUF_PRE_IGNORES_MERGES : json_array_size(from->isolated);
    if (pre)
        steps = rrt__gguf_pre_steps(pre);
    else
        RRT__TRY(make_steps(&steps, from, err));
    *out = json_pack(
        "{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o, s:{s:s, s:n, s:O?, s:n, s:n, s:b, s:b, s:b, s:O, s:O}}",
        "version", "1.0", "truncation", "padding", "added_tokens", from->added, "normalizer",
        pre ? rrt__gguf_pre_normalizer(pre) : make_normalizer(from), "pre_tokenizer", steps, "post_processor",
        make_postprocessor(from), "decoder", pre ? rrt__gguf_pre_byte_level() : make_decoder(from), "model",
        "type", "BPE", "dropout", "unk_token", from->unknown, "continuing_subword_prefix",
        "end_of_word_suffix", "fuse_unk", !pre, "byte_fallback", from->falls_back, "ignore_merges",
        ignores_merges, "vocab", from->vocab, "merges", from->merges);
    return *out ? RRT_STATUS_OK : fail_memory(err);
}

rrt_status rrt__parts_load(rrt_tokenizer **out, const rrt__parts *parts, rrt_error *err)
{
    json_t *json;
    *out = NULL;
    RRT__TRY(make_json(&json, parts, err));
    rrt_status status = rrt__tokenizer_from_json(out, json, parts->config, err);
    json_decref(json);
    return status;
}
