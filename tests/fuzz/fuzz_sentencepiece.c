// Any bytes as a SentencePiece model, with a config that declares tokens; one that loads encodes a text.
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config_text[] =
    "{\"added_tokens_decoder\": {\"0\": {\"content\": \"<unk>\", \"special\": true}, \"400\": {\"content\": "
    "\"<x>\", \"lstrip\": true}}, \"pad_token\": \"<pad>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = " the  of<x> é\n<unk>foo foods ▁▁▁▁ 你好";
    rrt_error err;
    json_t *config = NULL;
    rrt_tokenizer *tokenizer;
    int32_t *ids;
    size_t count;
    if (rrt__json_parse(&config, config_text, sizeof config_text - 1, &err)) abort();
    bool is_alone = size && data[size - 1] & 1; // some without the config
    if (!rrt__tokenizer_from_sentencepiece(&tokenizer, (const char *)data, size, is_alone ? NULL : config,
                                           NULL, &err)) {
        rrt_encode_options options = {.parse_special = 1};
        if (!rrt_encode(tokenizer, text, strlen(text), &options, &ids, &count, &err)) rrt_ids_free(ids);
        rrt_tokenizer_close(tokenizer);
    }
    json_decref(config);
    return 0;
}
