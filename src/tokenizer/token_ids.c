// The ids of special tokens in a model's files: those of config.json and generation_config.json, which
// conversions and exports keep unchanged, and those in our own file, which contains the whole tokenizer.
#include <stdlib.h>
#include <string.h>

#include "tokenizer/tokenizer_inside.h"

static const char *const names[] = {"bos_token_id", "eos_token_id", "pad_token_id"};

// generation_config.json takes precedence; if neither file has the ids, the texts of the tokens decide.
static rrt_status find_ends(rrt_tokenizer *t, rrt_error *err)
{
    const json_t *ids = json_object_get(t->generation, "eos_token_id");
    if (rrt__json_is_absent(ids)) ids = json_object_get(t->token_ids, "eos_token_id");
    return rrt__json_is_absent(ids) ? RRT_STATUS_OK : rrt__tokenizer_end_at_listed(t, ids, err);
}

rrt_status rrt__tokenizer_read_token_ids(rrt_tokenizer *t, const char *folder, rrt_error *err)
{
    json_t *config = NULL;
    rrt_status status = rrt__json_read_object(&config, folder, "config.json", err);
    if (status) goto done;
    // A multimodal model has the settings of its text part in an object.
    const json_t *inner = json_object_get(config, "text_config");
    if (config) t->token_ids = json_object();
    for (size_t i = 0; config && i < 3; i++) {
        json_t *value = json_object_get(config, names[i]);
        if (!value && inner) value = json_object_get(inner, names[i]);
        if (value) json_object_set(t->token_ids, names[i], value);
    }
    RRT__GOTO(rrt__json_read_object(&t->generation, folder, "generation_config.json", err));
    RRT__GOTO(find_ends(t, err));
done:
    json_decref(config);
    return status;
}

// The ids for a source without such files.
static json_t *made_ids(const rrt_tokenizer *t, bool lists)
{
    json_t *ids = json_object(), *ends = json_array();
    int32_t pad = rrt__tokenizer_named(t, "pad_token");
    for (int32_t id = 0; id < t->vocab.count; id++)
        if (t->vocab.tokens[id].flags & RRT__TOKEN_ENDS) json_array_append_new(ends, json_integer(id));
    if (t->bos >= 0) json_object_set_new(ids, "bos_token_id", json_integer(t->bos));
    if (lists && json_array_size(ends))
        json_object_set(ids, "eos_token_id", ends);
    else if (t->eos >= 0)
        json_object_set_new(ids, "eos_token_id", json_integer(t->eos));
    if (pad >= 0) json_object_set_new(ids, "pad_token_id", json_integer(pad));
    json_decref(ends);
    return ids;
}

json_t *rrt__tokenizer_token_ids(const rrt_tokenizer *t)
{
    return t->token_ids ? json_incref(t->token_ids) : made_ids(t, false);
}

json_t *rrt__tokenizer_generation(const rrt_tokenizer *t)
{
    return t->generation ? json_incref(t->generation) : made_ids(t, true);
}

// Takes ownership of the JSON.
static rrt_status pack(rrt__gguf_writer *writer, const char *key, json_t *json, rrt_error *err)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text) return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory while writing '%s'", key);
    rrt_status status = rrt__gguf_write_string(writer, key, text, strlen(text), err);
    free(text);
    return status;
}

rrt_status rrt__tokenizer_pack(const rrt_tokenizer *t, rrt__gguf_writer *writer, rrt_error *err)
{
    RRT__TRY(rrt__gguf_write_string(writer, "rrt.tokenizer", t->source, strlen(t->source), err));
    RRT__TRY(pack(writer, "rrt.tokenizer_config", json_incref(t->config), err));
    RRT__TRY(pack(writer, "rrt.token_ids", rrt__tokenizer_token_ids(t), err));
    return pack(writer, "rrt.generation_config", rrt__tokenizer_generation(t), err);
}

static rrt_status unpack(json_t **out, const rrt__gguf *gguf, const char *key, rrt_error *err)
{
    rrt__slice text;
    RRT__TRY(rrt__gguf_string(gguf, key, &text, err));
    rrt_status status = rrt__json_parse(out, text.data, text.length, err);
    return status ? rrt__at(err, status, "metadata '%s'", key) : RRT_STATUS_OK;
}

rrt_status rrt__tokenizer_unpack(rrt_tokenizer **out, const rrt__gguf *gguf, rrt_error *err)
{
    json_t *json = NULL, *config = NULL;
    rrt_status status = RRT_STATUS_OK;
    *out = NULL;
    if (!rrt__gguf_has(gguf, "rrt.tokenizer")) return RRT_STATUS_OK;
    RRT__GOTO(unpack(&json, gguf, "rrt.tokenizer", err));
    RRT__GOTO(unpack(&config, gguf, "rrt.tokenizer_config", err));
    RRT__GOTO(rrt__tokenizer_from_json(out, json, config, err));
    if (!rrt__gguf_has(gguf, "rrt.generation_config")) goto done; // older files lack it
    RRT__GOTO(unpack(&(*out)->token_ids, gguf, "rrt.token_ids", err));
    RRT__GOTO(unpack(&(*out)->generation, gguf, "rrt.generation_config", err));
    RRT__GOTO(find_ends(*out, err));
done:
    if (status) rrt_tokenizer_close(*out);
    if (status) *out = NULL;
    json_decref(json);
    json_decref(config);
    return status;
}
