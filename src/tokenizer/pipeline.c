#include "tokenizer/pipeline.h"

#include <string.h>

rrt_status rrt__read_type(const json_t *json, const char **type, rrt_error *err)
{
    return rrt__json_string(json, "type", type, err);
}

rrt_status rrt__fail_type(const char *type, const char *known, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the type '%.100s' is not known, only %s", type, known);
}

rrt_status rrt__fail_setting(const char *key, rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "this value of \"%s\" is not supported", key);
}

rrt_status rrt__read_sequence(rrt_tokenizer *tokenizer, const json_t *json, const char *key,
                              rrt__read_part *read, void *user, rrt_error *err)
{
    json_t *array;
    RRT__TRY(rrt__json_array(json, key, &array, err));
    for (size_t i = 0; i < json_array_size(array); i++) {
        rrt_status status = read(tokenizer, json_array_get(array, i), user, err);
        if (status) return rrt__at(err, status, "%s[%zu]", key, i);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__read_pattern(const json_t *json, const char **text, bool *literal, rrt_error *err)
{
    json_t *pattern;
    RRT__TRY(rrt__json_object(json, "pattern", &pattern, err));
    *literal = json_object_get(pattern, "String") != NULL;
    return rrt__json_string(pattern, *literal ? "String" : "Regex", text, err);
}

static bool is_string(const json_t *json, const char *text)
{
    const char *value = json_string_value(json);
    return value && strcmp(value, text) == 0;
}

// A template adds special tokens around the text: at most one before it, which is taken as BOS, and any
// after it.
static rrt_status read_template(const json_t *json, rrt__around *around, rrt_error *err)
{
    json_t *items;
    bool is_behind = false;
    RRT__TRY(rrt__json_array(json, "single", &items, err));
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i), *special = json_object_get(item, "SpecialToken");
        if (!special && (is_behind || !json_object_get(item, "Sequence")))
            return rrt__fail_setting("single", err);
        is_behind |= !special;
        if (!special) continue;
        const char **place = is_behind ? &around->suffix : &around->prefix;
        if (*place && !is_behind)
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                             "\"single\" puts more than one token in front of a text");
        RRT__TRY(rrt__json_string(special, "id", place, err));
    }
    return is_behind ? RRT_STATUS_OK : rrt__fail_setting("single", err);
}

// [token, id]
static rrt_status read_token(const json_t *json, const char *key, const char **token, rrt_error *err)
{
    *token = json_string_value(json_array_get(json_object_get(json, key), 0));
    return *token ? RRT_STATUS_OK
                  : rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is not a token and its id", key);
}

// user: an rrt__around.
static rrt_status read_postprocessor(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    const char *type;
    rrt__around *around = user;
    RRT__TRY(rrt__read_type(json, &type, err));
    if (strcmp(type, "Sequence") == 0)
        return rrt__read_sequence(tokenizer, json, "processors", read_postprocessor, user, err);
    if (strcmp(type, "ByteLevel") == 0) return RRT_STATUS_OK; // affects offsets, not ids
    bool is_template = strcmp(type, "TemplateProcessing") == 0;
    if (!is_template && strcmp(type, "RobertaProcessing") != 0 && strcmp(type, "BertProcessing") != 0)
        return rrt__fail_type(
            type, "Sequence, TemplateProcessing, ByteLevel, RobertaProcessing and BertProcessing", err);
    if (around->prefix || around->suffix)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s around another one is not supported", type);
    if (is_template) return read_template(json, around, err);
    RRT__TRY(read_token(json, "cls", &around->prefix, err));
    return read_token(json, "sep", &around->suffix, err);
}

// {"pattern": {"String": "▁"}, "content": " "}: the only supported replacement of a decoder.
static rrt_status check_replace(const json_t *json, rrt_error *err)
{
    bool known = is_string(json_object_get(json_object_get(json, "pattern"), "String"), rrt__space_mark) &&
                 is_string(json_object_get(json, "content"), " ");
    return known ? RRT_STATUS_OK : rrt__fail_setting("content", err);
}

// A token's bytes cover most decoders; the rest is whether a text's first space is stripped.
static rrt_status read_decoder(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err)
{
    const char *type;
    int64_t start, stop;
    rrt__prepend prepend;
    RRT__TRY(rrt__read_type(json, &type, err));
    if (!tokenizer->vocab.is_sentencepiece)
        return strcmp(type, "ByteLevel") == 0 ? RRT_STATUS_OK : rrt__fail_type(type, "ByteLevel", err);
    if (strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0) return RRT_STATUS_OK;
    if (strcmp(type, "Sequence") == 0)
        return rrt__read_sequence(tokenizer, json, "decoders", read_decoder, user, err);
    if (strcmp(type, "Replace") == 0) return check_replace(json, err);
    if (strcmp(type, "Strip") == 0) {
        RRT__TRY(rrt__json_int(json, "start", 0, 1, &start, err));
        RRT__TRY(rrt__json_int(json, "stop", 0, 0, &stop, err));
        tokenizer->adds_space = start == 1;
        return RRT_STATUS_OK;
    }
    if (strcmp(type, "Metaspace") != 0)
        return rrt__fail_type(type, "Sequence, ByteFallback, Fuse, Replace, Strip and Metaspace", err);
    RRT__TRY(rrt__read_prepend(json, &prepend, err));
    tokenizer->adds_space = prepend != RRT__PREPEND_NEVER;
    return rrt__check_mark(json, err);
}

bool rrt__pipeline_is_byte_level(const json_t *steps)
{
    const json_t *list = json_object_get(steps, "pretokenizers");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (rrt__pipeline_is_byte_level(json_array_get(list, i))) return true;
    return is_string(json_object_get(steps, "type"), "ByteLevel");
}

rrt_status rrt__pipeline_read(rrt_tokenizer *tokenizer, json_t *json, rrt__around *around, rrt_error *err)
{
    rrt__byte_level byte_level = {0};
    *around = (rrt__around){0};
    const struct {
        const char *key;
        bool required;
        rrt__read_part *read;
        void *user;
    } parts[] = {
        {"normalizer", false, rrt__read_normalizer, NULL},
        {"pre_tokenizer", false, rrt__read_steps, &byte_level},
        {"post_processor", false, read_postprocessor, around},
        {"decoder", true, read_decoder, NULL},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_t *part = json_object_get(json, parts[i].key);
        if (rrt__json_is_absent(part) && !parts[i].required) continue;
        rrt_status status = parts[i].read(tokenizer, part, parts[i].user, err);
        if (status) return rrt__at(err, status, "%s", parts[i].key);
    }
    for (size_t i = 0; i < tokenizer->steps.count; i++) {
        const rrt__step *step = &tokenizer->steps.list[i];
        tokenizer->adds_space |= step->kind == RRT__STEP_SPACE;
        // The first piece is defined on the original text, but a normalizer moves its characters.
        if (step->prepend == RRT__PREPEND_FIRST && tokenizer->normalizer.count)
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                             "prepend_scheme \"first\" behind a normalizer is not supported");
    }
    return RRT_STATUS_OK;
}
