// A tokenizer from a GGUF file: its metadata are put into the form of tokenizer.json and
// tokenizer_config.json, so that there is one way to load a tokenizer and one to write it.
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/chat_templates.h"
#include "tokenizer/parts.h"

#define BYTE_LEVEL                                                                                           \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}"
// Llama 3's pattern, with how many digits stand together.
#define SPLIT_BY_WORDS(DIGITS)                                                                               \
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "           \
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" DIGITS                                   \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+\"}, \"behavior\": \"Isolated\", "        \
    "\"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "    \
    "\"use_regex\": false}]}"
#define MARK_SPACES "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"▁\"}"
#define READ_PIECES                                                                                          \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \"▁\"}, \"content\": \" \"}, {\"type\": "           \
    "\"ByteFallback\"}, {\"type\": \"Fuse\"}"

// The parts of a tokenizer.json around its model.
typedef struct pipeline {
    const char *name; // tokenizer.ggml.pre
    const char *normalizer, *pre_tokenizer, *decoder;
    bool ignores_merges;
} pipeline;

static const pipeline byte_level[] = {
    {"gpt-2", "null", BYTE_LEVEL, BYTE_LEVEL, false},
    {"smollm", "null",
     "{\"type\": \"Sequence\", \"pretokenizers\": ["
     "{\"type\": \"Digits\", \"individual_digits\": true}," BYTE_LEVEL "]}",
     BYTE_LEVEL, false},
    {"llama-bpe", "null", SPLIT_BY_WORDS("\\p{N}{1,3}"), BYTE_LEVEL, true},
    {"qwen2", "{\"type\": \"NFC\"}", SPLIT_BY_WORDS("\\p{N}"), BYTE_LEVEL, false},
};
enum { BYTE_LEVEL_COUNT = sizeof byte_level / sizeof *byte_level };

// tokenizer.ggml.model "llama": SentencePiece, without and with a space put in front.
static const pipeline sentencepiece[] = {
    {"", MARK_SPACES, "null", "{\"type\": \"Sequence\", \"decoders\": [" READ_PIECES "]}", false},
    {"",
     "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"▁\"}," MARK_SPACES
     "]}",
     "null",
     "{\"type\": \"Sequence\", \"decoders\": [" READ_PIECES
     ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}",
     false},
};

// The changing parts of the two files.
typedef struct source {
    bool is_sentencepiece;
    json_t *vocab;  // text → id
    json_t *merges; // "left right"
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

// A string that JSON can hold.
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

static rrt_status find_pipeline(const rrt__gguf *gguf, const pipeline **out, rrt_error *err)
{
    rrt__slice model, pre = {"", 0};
    bool adds_space;
    RRT__TRY(read_text(gguf, "tokenizer.ggml.model", &model, err));
    RRT__TRY(rrt__gguf_bool_or(gguf, "tokenizer.ggml.add_space_prefix", true, &adds_space, err));
    *out = &sentencepiece[adds_space];
    if (equals(model, "llama")) return RRT_STATUS_OK;
    if (!equals(model, "gpt2"))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the tokenizer.ggml.model '%.*s' is not known, only 'gpt2' and 'llama'",
                         (int)(model.length < 100 ? model.length : 100), model.data);
    if (rrt__gguf_has(gguf, "tokenizer.ggml.pre")) RRT__TRY(read_text(gguf, "tokenizer.ggml.pre", &pre, err));
    for (*out = byte_level; *out < byte_level + BYTE_LEVEL_COUNT; ++*out)
        if (equals(pre, (*out)->name)) return RRT_STATUS_OK;
    return rrt__fail(
        err, RRT_STATUS_UNSUPPORTED,
        "the tokenizer.ggml.pre '%.*s' is not known, only 'gpt-2', 'smollm', 'llama-bpe' and 'qwen2'",
        (int)(pre.length < 100 ? pre.length : 100), pre.data);
}

// user: the vocabulary, an object from text to id.
static rrt_status add_token(void *user, size_t index, rrt__slice text, rrt_error *err)
{
    json_t *vocab = user;
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

// The tokens that are matched in the text, by their tokenizer.ggml.token_type.
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

// Types and, for SentencePiece, the merges that follow from the scores.
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
    if (!to->is_sentencepiece) goto done;
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
    if (!to->is_sentencepiece)
        RRT__TRY(rrt__gguf_each_string(gguf, "tokenizer.ggml.merges", add_merge, to->merges, err));
    return read_types(gguf, to, err);
}

// config[name] = the text of the token whose id the file gives under key, if it does.
static rrt_status set_named(const rrt__gguf *gguf, const char *key, source *to, const char *name,
                            rrt_error *err)
{
    int64_t wanted, most = (int64_t)json_object_size(to->vocab) - 1;
    RRT__TRY(rrt__gguf_int_or(gguf, key, 0, most, -1, &wanted, err));
    const char *text;
    json_t *id;
    json_object_foreach(to->vocab, text, id)
    {
        if (json_integer_value(id) != wanted) continue;
        if (json_object_set_new(to->config, name, json_string(text)) != 0) return fail_memory(err);
    }
    return RRT_STATUS_OK;
}

static rrt_status fill_config(const rrt__gguf *gguf, source *to, rrt_error *err)
{
    static const struct {
        const char *key, *name;
    } named[] = {
        {"tokenizer.ggml.bos_token_id", "bos_token"},
        {"tokenizer.ggml.eos_token_id", "eos_token"},
        {"tokenizer.ggml.unknown_token_id", "unk_token"},
        {"tokenizer.ggml.padding_token_id", "pad_token"},
    };
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        RRT__TRY(set_named(gguf, named[i].key, to, named[i].name, err));
    bool adds_bos;
    RRT__TRY(rrt__gguf_bool_or(gguf, "tokenizer.ggml.add_bos_token", to->is_sentencepiece, &adds_bos, err));
    if (json_object_set_new(to->config, "add_bos_token", json_boolean(adds_bos)) != 0)
        return fail_memory(err);
    return rrt__chat_templates_of_gguf(to->config, gguf, err);
}

// What makes Hugging Face's fast tokenizers put BOS in front; null if that is not wanted.
static json_t *make_postprocessor(const json_t *config, const json_t *vocab)
{
    const char *bos = json_string_value(json_object_get(config, "bos_token"));
    if (!bos || !json_is_true(json_object_get(config, "add_bos_token"))) return json_null();
    return json_pack(
        "{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}],"
        " s:{s:{s:s, s:[O], s:[s]}}}",
        "type", "TemplateProcessing", "single", "SpecialToken", "id", bos, "type_id", 0, "Sequence", "id",
        "A", "type_id", 0, "pair", "SpecialToken", "id", bos, "type_id", 0, "Sequence", "id", "A", "type_id",
        0, "Sequence", "id", "B", "type_id", 1, "special_tokens", bos, "id", bos, "ids",
        json_object_get(vocab, bos), "tokens", bos);
}

// null, or the object that the text is.
static json_t *parse(const char *text)
{
    return json_loads(text, JSON_DECODE_ANY, NULL);
}

static json_t *make_json(const source *from, const pipeline *parts)
{
    const json_t *unknown = json_object_get(from->config, "unk_token");
    return json_pack("{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o,"
                     " s:{s:s, s:n, s:O?, s:n, s:n, s:b, s:b, s:b, s:O, s:O}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", from->added, "normalizer",
                     parse(parts->normalizer), "pre_tokenizer", parse(parts->pre_tokenizer), "post_processor",
                     make_postprocessor(from->config, from->vocab), "decoder", parse(parts->decoder), "model",
                     "type", "BPE", "dropout", "unk_token", from->is_sentencepiece ? unknown : NULL,
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", from->is_sentencepiece,
                     "byte_fallback", from->is_sentencepiece, "ignore_merges", parts->ignores_merges, "vocab",
                     from->vocab, "merges", from->merges);
}

// Whether a part of a tokenizer.json is what the text says.
static bool is_part(const json_t *part, const char *text)
{
    json_t *expected = parse(text);
    bool equal = rrt__json_is_absent(part) ? json_is_null(expected) : json_equal(part, expected);
    json_decref(expected);
    return equal;
}

const char *rrt__gguf_pre_of(const json_t *json)
{
    for (const pipeline *p = byte_level; p < byte_level + BYTE_LEVEL_COUNT; p++)
        if (is_part(json_object_get(json, "normalizer"), p->normalizer) &&
            is_part(json_object_get(json, "pre_tokenizer"), p->pre_tokenizer))
            return p->name;
    return NULL;
}

rrt_status rrt__tokenizer_from_gguf(rrt_tokenizer **out, const rrt__gguf *gguf, rrt_error *err)
{
    const pipeline *parts;
    *out = NULL;
    RRT__TRY(find_pipeline(gguf, &parts, err));
    bool is_sentencepiece = parts == &sentencepiece[0] || parts == &sentencepiece[1];
    source from = {is_sentencepiece, json_object(), json_array(), json_array(), rrt__config_new()};
    json_t *json = NULL;
    rrt_status status = read_tokens(gguf, &from, err);
    if (!status) status = fill_config(gguf, &from, err);
    if (!status && !(json = make_json(&from, parts))) status = fail_memory(err);
    if (!status) status = rrt__tokenizer_from_json(out, json, from.config, err);
    json_decref(from.vocab);
    json_decref(from.merges);
    json_decref(from.added);
    json_decref(from.config);
    json_decref(json);
    return status;
}
