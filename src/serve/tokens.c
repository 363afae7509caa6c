// The tokenizer over HTTP, with vLLM's and llama-server's names.
#include <string.h>

#include "serve/server_inside.h"
#include "tokenizer/tokenizer.h"

// The member under either name: vLLM's is "prompt", llama-server's "content".
static const json_t *either(const json_t *body, const char *name, const char *other)
{
    const json_t *value = json_object_get(body, name);
    return value ? value : json_object_get(body, other);
}

// vLLM adds special tokens by default; llama-server's clients ("content") must ask.
static rrt_status read_options(rrt_encode_options *options, const rrt_tokenizer *tokenizer,
                               const json_t *body, rrt_error *err)
{
    bool adds, parses;
    bool by_default = json_object_get(body, "content") == NULL;
    RRT__TRY(rrt__json_bool_or(body, "add_special", by_default, &adds, err));
    RRT__TRY(rrt__json_bool_or(body, "add_special_tokens", adds, &adds, err));
    RRT__TRY(rrt__json_bool_or(body, "parse_special", true, &parses, err));
    options->add_bos = adds && rrt_tokenizer_adds_bos(tokenizer);
    options->parse_special = parses;
    return RRT_STATUS_OK;
}

static rrt_status tokenize(const rrt__server *server, const json_t *body, json_t **out, rrt_error *err)
{
    rrt_encode_options options;
    int32_t *ids;
    size_t count;
    const json_t *text = either(body, "prompt", "content");
    if (!json_is_string(text))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "\"prompt\" (or \"content\") has to be a string");
    RRT__TRY(read_options(&options, server->tokenizer, body, err));
    RRT__TRY(rrt_encode(server->tokenizer, json_string_value(text), json_string_length(text), &options, &ids,
                        &count, err));
    json_t *tokens = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(tokens, json_integer(ids[i]));
    rrt_ids_free(ids);
    *out = json_pack("{s:o, s:I, s:I}", "tokens", tokens, "count", (json_int_t)count, "max_model_len",
                     (json_int_t)server->max_tokens);
    return RRT_STATUS_OK;
}

static rrt_status detokenize(const rrt__server *server, const json_t *body, json_t **out, rrt_error *err)
{
    const json_t *tokens = json_object_get(body, "tokens"), *value;
    size_t count = json_array_size(tokens), i;
    int32_t *ids;
    if (!json_is_array(tokens))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "\"tokens\" has to be a list of ids");
    RRT__TRY(rrt__alloc(&ids, count, sizeof *ids, "ids", err));
    rrt_status status = RRT_STATUS_OK;
    json_array_foreach(tokens, i, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= server->info.vocab)
            status = rrt__fail(err, RRT_STATUS_ARGUMENT, "\"tokens\": entry %zu is no id from 0 to %d", i,
                               server->info.vocab - 1);
        ids[i] = (int32_t)id;
    }
    char *text = NULL;
    size_t length = 0;
    if (!status) status = rrt_decode(server->tokenizer, ids, count, &text, &length, err);
    if (!status) {
        json_t *json = rrt__json_text(text, length);
        *out = json_pack("{s:O, s:o}", "prompt", json, "content", json);
    }
    rrt_text_free(text);
    rrt__free(ids);
    return status;
}

typedef rrt_status rrt__tokens_function(const rrt__server *server, const json_t *body, json_t **out,
                                        rrt_error *err);

static void answer(rrt__server *server, rrt__exchange *exchange, rrt__tokens_function *function)
{
    rrt_error err = {0};
    json_t *body, *reply = NULL;
    if (!rrt__respond_unless_object(server, exchange, &body)) return;
    rrt_status status = function(server, body, &reply, &err);
    if (status)
        rrt__respond_failure(exchange, &err);
    else
        rrt__respond_json(exchange, 200, reply);
    json_decref(body);
}

void rrt__api_tokenize(rrt__server *server, rrt__exchange *exchange)
{
    answer(server, exchange, tokenize);
}

void rrt__api_detokenize(rrt__server *server, rrt__exchange *exchange)
{
    answer(server, exchange, detokenize);
}

static json_t *special(const rrt_tokenizer *tokenizer, int32_t id)
{
    size_t length;
    const char *bytes = rrt_token_bytes(tokenizer, id, &length);
    return bytes ? rrt__json_text(bytes, length) : json_null();
}

void rrt__api_tokenizer_info(rrt__server *server, rrt__exchange *exchange)
{
    const rrt_tokenizer *t = server->tokenizer;
    json_t *eos = special(t, rrt_tokenizer_eos(t));
    rrt__respond_json(exchange, 200,
                      json_pack("{s:s, s:o, s:O, s:o, s:s?, s:b, s:i, s:I}", "tokenizer_class", "rrt",
                                "bos_token", special(t, rrt_tokenizer_bos(t)), "eos_token", eos, "pad_token",
                                eos, "chat_template", rrt__tokenizer_chat_template(t), "add_bos_token",
                                rrt_tokenizer_adds_bos(t), "vocab_size", rrt_tokenizer_vocab(t),
                                "model_max_length", (json_int_t)server->max_tokens));
}
