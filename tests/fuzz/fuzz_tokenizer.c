// Any bytes as text for a small tokenizer that uses every part of the pipeline, and as a tokenizer.json; one
// that loads encodes the start of the input.
#include <stdlib.h>

#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char small[] = "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"Ġ\": 2, \"ab\": 3, \"Ġab\": 4, "
                            "\"Ã\": 5}, \"merges\": [\"a b\", \"Ġ ab\"],"
                            " \"ignore_merges\": true, \"unk_token\": \"a\"}, \"normalizer\": {\"type\": "
                            "\"NFC\"}, \"pre_tokenizer\": {\"type\":"
                            " \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", "
                            "\"individual_digits\": true}, {\"type\": \"ByteLevel\","
                            " \"add_prefix_space\": false}]}, \"decoder\": {\"type\": \"ByteLevel\"}, "
                            "\"added_tokens\": [{\"id\": 6, \"content\":"
                            " \"<s>\", \"special\": true}, {\"id\": 7, \"content\": \"  \"}, {\"id\": 8, "
                            "\"content\": \"e\\u0301\"}]}";

static rrt_tokenizer *load(const char *text, size_t length)
{
    rrt_error err;
    rrt_tokenizer *tokenizer = NULL;
    json_t *json;
    if (rrt__json_parse(&json, text, length, &err)) return NULL;
    rrt__tokenizer_from_json(&tokenizer, json, NULL, &err);
    json_decref(json);
    return tokenizer;
}

static void encode(const rrt_tokenizer *tokenizer, const char *text, size_t length)
{
    for (int special = 0; special < 2; special++) {
        rrt_error err;
        int32_t *ids;
        size_t count;
        rrt_encode_options options = {.add_bos = special, .parse_special = special};
        if (rrt_encode(tokenizer, text, length, &options, &ids, &count, &err)) return;
        for (size_t i = 0; i < count; i++) {
            size_t piece;
            if (!rrt_token_bytes(tokenizer, ids[i], &piece)) abort();
        }
        rrt_ids_free(ids);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LEADING_BYTES = 256 };
    static rrt_tokenizer *fixed;
    if (!fixed && !(fixed = load(small, sizeof small - 1))) abort();
    const char *text = (const char *)data;
    encode(fixed, text, size);
    rrt_tokenizer *own = load(text, size);
    size_t start = rrt__utf8_first_invalid(text, size < LEADING_BYTES ? size : LEADING_BYTES);
    if (own) encode(own, text, start);
    rrt_tokenizer_close(own);
    return 0;
}
