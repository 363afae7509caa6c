// Opening a tokenizer by the path of a model, of a tokenizer.json or of a SentencePiece model.
#include <string.h>

#include "format/peft.h"
#include "tokenizer/chat_templates.h"
#include "tokenizer/tokenizer_inside.h"

static rrt_status open_gguf(rrt_tokenizer **out, const char *path, rrt_error *err)
{
    rrt__gguf *gguf;
    RRT__TRY(rrt__gguf_open(&gguf, path, err));
    rrt_status status = rrt__tokenizer_from_gguf(out, gguf, err);
    if (!status && !*out) status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the file has no tokenizer");
    rrt__gguf_close(gguf);
    // The file reader's errors name the path; the tokenizer loader's do not.
    bool is_named = !status || !err || strncmp(err->where, path, strlen(path)) == 0;
    return is_named ? status : rrt__at(err, status, "%s", path);
}

static rrt_status read_config(json_t **config, const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, "tokenizer_config.json", err));
    if (rrt__path_exists(path))
        RRT__TRY(rrt__json_read(config, path, err));
    else
        *config = rrt__config_new();
    if (!json_is_object(*config))
        return rrt__at(err, rrt__fail(err, RRT_STATUS_FORMAT, "not a JSON object"), "%s", path);
    return rrt__chat_templates_of_folder(*config, folder, err);
}

static rrt_status open_json(rrt_tokenizer **out, const char *path, json_t *config, rrt_error *err)
{
    json_t *json;
    RRT__TRY(rrt__json_read(&json, path, err));
    rrt_status status = rrt__tokenizer_from_json(out, json, config, err);
    json_decref(json);
    return status;
}

static rrt_status open_sentencepiece(rrt_tokenizer **out, const char *path, const json_t *config,
                                     const char *folder, rrt_error *err)
{
    rrt__map map;
    RRT__TRY(rrt__map_open(&map, path, err));
    rrt_status status = rrt__tokenizer_from_sentencepiece(out, map.data ? (const char *)map.data : "",
                                                          map.size_bytes, config, folder, err);
    rrt__map_close(&map);
    return status;
}

// folder: NULL for a file alone.
static rrt_status open_file(rrt_tokenizer **out, const char *path, const char *folder, bool is_json,
                            rrt_error *err)
{
    json_t *config = NULL;
    rrt_status status = RRT_STATUS_OK;
    if (folder) RRT__GOTO(read_config(&config, folder, err));
    status = is_json ? open_json(out, path, config, err) : open_sentencepiece(out, path, config, folder, err);
    if (!status && folder) status = rrt__tokenizer_read_token_ids(*out, folder, err);
    bool is_named = err && strncmp(err->where, path, strlen(path)) == 0;
    if (status && !is_named) rrt__at(err, status, "%s", path);
done:
    if (status) rrt_tokenizer_close(*out);
    if (status) *out = NULL;
    json_decref(config);
    return status;
}

static const char *const files[] = {"tokenizer.json", "tokenizer.model"}; // the first that is there counts

bool rrt__tokenizer_is_in(const char *folder)
{
    char path[4096];
    for (int i = 0; i < 2; i++)
        if (!rrt__path_join(path, folder, files[i], NULL) && rrt__path_exists(path)) return true;
    return false;
}

static rrt_status open_folder(rrt_tokenizer **out, const char *folder, rrt_error *err)
{
    char path[4096];
    for (int i = 0; i < 2; i++) {
        RRT__TRY(rrt__path_join(path, folder, files[i], err));
        if (rrt__path_exists(path)) return open_file(out, path, folder, i == 0, err);
    }
    return rrt__at(err, rrt__fail(err, RRT_STATUS_IO, "neither tokenizer.json nor tokenizer.model is there"),
                   "%s", folder);
}

rrt_status rrt_tokenizer_open(rrt_tokenizer **out, const char *path, rrt_error *err)
{
    char base[4096];
    *out = NULL;
    if (rrt__path_is_folder(path) && rrt__peft_is_adapter(path)) {
        RRT__TRY(rrt__peft_find_base(base, path, err));
        path = base;
    }
    if (rrt__path_is_folder(path)) return open_folder(out, path, err);
    bool is_json = rrt__path_ends_with(path, ".json");
    return is_json || rrt__path_ends_with(path, ".model") ? open_file(out, path, NULL, is_json, err)
                                                          : open_gguf(out, path, err);
}
