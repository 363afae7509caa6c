// The parts of a tokenizer.json around its model. Each is an object with a "type"; what is not known is
// refused.
#include <string.h>

#include "tokenizer/parts.h"

static rrt_status read_type(const json_t *json, const char **type, rrt_error *err)
{
    return rrt__json_string(json, "type", type, err);
}

static rrt_status fail_type(const char *type, const char *known, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the type '%.100s' is not known, only %s", type, known);
}

static rrt_status fail_setting(const char *key, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "this value of \"%s\" is not supported", key);
}

// Calls `read` on each element of the array in json[key].
static rrt_status read_sequence(rrt_tokenizer *tokenizer, const json_t *json, const char *key,
                                rrt_status (*read)(rrt_tokenizer *tokenizer, json_t *json, void *user,
                                                   rrt_error *err),
                                void *user, rrt_error *err)
{
    json_t *array;
    RRT__TRY(rrt__json_array(json, key, &array, err));
    for (size_t i = 0; i < json_array_size(array); i++) {
        rrt_status status = read(tokenizer, json_array_get(array, i), user, err);
        if (status) return rrt__at(err, status, "%s[%zu]", key, i);
    }
    return RRT_STATUS_OK;
}

static bool is_string(const json_t *json, const char *text)
{
    const char *value = json_string_value(json);
    return value && strcmp(value, text) == 0;
}

// {"pattern": {"String": from}, "content": to}: the only replacing there is.
static rrt_status check_replace(const json_t *json, const char *from, const char *to, rrt_error *err)
{
    bool known = is_string(json_object_get(json_object_get(json, "pattern"), "String"), from) &&
                 is_string(json_object_get(json, "content"), to);
    return known ? RRT_STATUS_OK : fail_setting("content", err);
}

static rrt_status read_normalizer(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    const char *type;
    rrt__normalizer *normalizer = &tokenizer->normalizer;
    RRT__TRY(read_type(json, &type, err));
    // What stands between a replacing and the end would see other text.
    if (normalizer->spaces.replaces)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a step after Replace is not supported");
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(tokenizer, json, "normalizers", read_normalizer, user, err);
    if (strcmp(type, "NFC") == 0) {
        normalizer->nfc = true;
        return RRT_STATUS_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        normalizer->spaces.prepend = RRT__PREPEND_ALWAYS;
        return is_string(json_object_get(json, "prepend"), rrt__space_mark) ? RRT_STATUS_OK
                                                                            : fail_setting("prepend", err);
    }
    if (strcmp(type, "Replace") != 0) return fail_type(type, "NFC, Prepend, Replace and Sequence", err);
    normalizer->spaces.replaces = true;
    return check_replace(json, " ", rrt__space_mark, err);
}

static rrt_status read_split(rrt_tokenizer *tokenizer, const json_t *json, rrt_error *err)
{
    json_t *pattern;
    const char *text, *behavior;
    bool inverts;
    RRT__TRY(rrt__json_object(json, "pattern", &pattern, err));
    bool literal = json_object_get(pattern, "String") != NULL;
    RRT__TRY(rrt__json_string(pattern, literal ? "String" : "Regex", &text, err));
    RRT__TRY(rrt__json_string(json, "behavior", &behavior, err));
    RRT__TRY(rrt__json_bool_or(json, "invert", false, &inverts, err));
    // At spaces, where the normalizer left none: Gemma's.
    if (literal && strcmp(text, " ") == 0 && tokenizer->normalizer.spaces.replaces) return RRT_STATUS_OK;
    bool removes = strcmp(behavior, "Removed") == 0;
    if (!removes && strcmp(behavior, "Isolated") != 0) return fail_setting("behavior", err);
    return rrt__splits_add(&tokenizer->splits, text, literal, !removes || inverts, !removes || !inverts, err);
}

static rrt_status read_byte_level(rrt__splits *splits, const json_t *json, rrt_error *err)
{
    bool adds_space, uses_regex;
    RRT__TRY(rrt__json_bool_or(json, "add_prefix_space", true, &adds_space, err));
    RRT__TRY(rrt__json_bool_or(json, "use_regex", true, &uses_regex, err));
    if (adds_space) return fail_setting("add_prefix_space", err);
    return uses_regex ? rrt__splits_add(splits, rrt__gpt2_pattern, false, true, true, err) : RRT_STATUS_OK;
}

// The scheme, or in older files a flag.
static rrt_status read_prepend(const json_t *json, rrt__prepend *prepend, rrt_error *err)
{
    const char *scheme;
    bool adds;
    RRT__TRY(rrt__json_bool_or(json, "add_prefix_space", true, &adds, err));
    RRT__TRY(rrt__json_string_or(json, "prepend_scheme", adds ? "always" : "never", &scheme, err));
    *prepend = strcmp(scheme, "always") == 0  ? RRT__PREPEND_UNLESS_THERE
               : strcmp(scheme, "first") == 0 ? RRT__PREPEND_FIRST
                                              : RRT__PREPEND_NEVER;
    return *prepend == RRT__PREPEND_NEVER && strcmp(scheme, "never") != 0
               ? fail_setting("prepend_scheme", err)
               : RRT_STATUS_OK;
}

static rrt_status check_mark(const json_t *json, rrt_error *err)
{
    bool known = is_string(json_object_get(json, "replacement"), rrt__space_mark);
    return known ? RRT_STATUS_OK : fail_setting("replacement", err);
}

static rrt_status read_metaspace(rrt_tokenizer *tokenizer, const json_t *json, rrt_error *err)
{
    bool splits;
    RRT__TRY(check_mark(json, err));
    if (tokenizer->splits.count || tokenizer->spaces.replaces)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "Metaspace after another step is not supported");
    tokenizer->spaces.replaces = true;
    RRT__TRY(read_prepend(json, &tokenizer->spaces.prepend, err));
    RRT__TRY(rrt__json_bool_or(json, "split", true, &splits, err));
    // Each mark begins a piece.
    return splits ? rrt__splits_add(&tokenizer->splits, "\xe2\x96\x81?[^\xe2\x96\x81]+|\xe2\x96\x81", false,
                                    true, true, err)
                  : RRT_STATUS_OK;
}

// user: a bool that says whether ByteLevel, which has to be the last step, was there.
static rrt_status read_pretokenizer(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    const char *type;
    bool *is_byte_level = user, individual;
    RRT__TRY(read_type(json, &type, err));
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(tokenizer, json, "pretokenizers", read_pretokenizer, user, err);
    if (*is_byte_level)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a step after ByteLevel is not supported");
    if (strcmp(type, "Split") == 0) return read_split(tokenizer, json, err);
    if (strcmp(type, "Metaspace") == 0 && tokenizer->vocab.is_sentencepiece)
        return read_metaspace(tokenizer, json, err);
    if (strcmp(type, "Digits") == 0) {
        RRT__TRY(rrt__json_bool_or(json, "individual_digits", false, &individual, err));
        return rrt__splits_add(&tokenizer->splits, individual ? "\\p{N}" : "\\p{N}+", false, true, true, err);
    }
    if (strcmp(type, "ByteLevel") != 0)
        return fail_type(type, "Sequence, Digits, Split, ByteLevel and, with byte_fallback, Metaspace", err);
    *is_byte_level = true;
    return read_byte_level(&tokenizer->splits, json, err);
}

// A template may put one special token in front of the text, and nothing after it.
static rrt_status read_template(const json_t *json, const char **prefix, rrt_error *err)
{
    json_t *items;
    RRT__TRY(rrt__json_array(json, "single", &items, err));
    size_t count = json_array_size(items);
    const json_t *special = json_object_get(json_array_get(items, 0), "SpecialToken");
    if (count != (special ? 2 : 1) || !json_object_get(json_array_get(items, count - 1), "Sequence"))
        return fail_setting("single", err);
    return special ? rrt__json_string(special, "id", prefix, err) : RRT_STATUS_OK;
}

// user: the prefix token's const char *.
static rrt_status read_postprocessor(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    const char *type;
    RRT__TRY(read_type(json, &type, err));
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(tokenizer, json, "processors", read_postprocessor, user, err);
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(json, user, err);
    if (strcmp(type, "ByteLevel") == 0) return RRT_STATUS_OK; // concerns offsets, not ids
    return fail_type(type, "Sequence, TemplateProcessing and ByteLevel", err);
}

// A token's bytes say what most decoders do; what is left is whether a text's first space is stripped.
static rrt_status read_decoder(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    const char *type;
    int64_t start, stop;
    rrt__prepend prepend;
    RRT__TRY(read_type(json, &type, err));
    if (!tokenizer->vocab.is_sentencepiece)
        return strcmp(type, "ByteLevel") == 0 ? RRT_STATUS_OK : fail_type(type, "ByteLevel", err);
    if (strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0) return RRT_STATUS_OK;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(tokenizer, json, "decoders", read_decoder, user, err);
    if (strcmp(type, "Replace") == 0) return check_replace(json, rrt__space_mark, " ", err);
    if (strcmp(type, "Strip") == 0) {
        RRT__TRY(rrt__json_int(json, "start", 0, 1, &start, err));
        RRT__TRY(rrt__json_int(json, "stop", 0, 0, &stop, err));
        tokenizer->adds_space = start == 1;
        return RRT_STATUS_OK;
    }
    if (strcmp(type, "Metaspace") != 0)
        return fail_type(type, "Sequence, ByteFallback, Fuse, Replace, Strip and Metaspace", err);
    RRT__TRY(read_prepend(json, &prepend, err));
    tokenizer->adds_space = prepend != RRT__PREPEND_NEVER;
    return check_mark(json, err);
}

rrt_status rrt__pipeline_read(rrt_tokenizer *tokenizer, json_t *json, const char **prefix, rrt_error *err)
{
    bool is_byte_level = false;
    *prefix = NULL;
    const struct {
        const char *key;
        bool required;
        rrt_status (*read)(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err);
        void *user;
    } parts[] = {
        {"normalizer", false, read_normalizer, NULL},
        {"pre_tokenizer", !tokenizer->vocab.is_sentencepiece, read_pretokenizer, &is_byte_level},
        {"post_processor", false, read_postprocessor, prefix},
        {"decoder", true, read_decoder, NULL},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_t *part = json_object_get(json, parts[i].key);
        if (rrt__json_is_absent(part) && !parts[i].required) continue;
        rrt_status status = parts[i].read(tokenizer, part, parts[i].user, err);
        if (status) return rrt__at(err, status, "%s", parts[i].key);
    }
    if (is_byte_level != tokenizer->vocab.is_sentencepiece) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                     is_byte_level
                         ? "\"pre_tokenizer\" has a ByteLevel step, but the model falls back to bytes"
                         : "\"pre_tokenizer\" is not byte-level: it has no ByteLevel step");
}
