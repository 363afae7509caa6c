// Opening a tokenizer by the path of a model or of a tokenizer.json.
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

static rrt_status open_json(rrt_tokenizer **out, const char *path, const char *folder, rrt_error *err)
{
    json_t *json = NULL, *config = NULL;
    rrt_status status = RRT_STATUS_OK;
    RRT__GOTO(rrt__json_read(&json, path, err));
    if (folder) RRT__GOTO(read_config(&config, folder, err));
    status = rrt__tokenizer_from_json(out, json, config, err);
    if (!status && folder) status = rrt__tokenizer_read_token_ids(*out, folder, err);
    if (status) rrt__at(err, status, "%s", path);
done:
    if (status) rrt_tokenizer_close(*out);
    if (status) *out = NULL;
    json_decref(json);
    json_decref(config);
    return status;
}

static bool is_json(const char *path)
{
    size_t length = strlen(path);
    return length >= 5 && strcmp(path + length - 5, ".json") == 0;
}

rrt_status rrt_tokenizer_open(rrt_tokenizer **out, const char *path, rrt_error *err)
{
    char base[4096], file[4096];
    *out = NULL;
    if (rrt__path_is_folder(path) && rrt__peft_is_adapter(path)) {
        RRT__TRY(rrt__peft_find_base(base, path, err));
        path = base;
    }
    if (!rrt__path_is_folder(path))
        return is_json(path) ? open_json(out, path, NULL, err) : open_gguf(out, path, err);
    RRT__TRY(rrt__path_join(file, path, "tokenizer.json", err));
    return open_json(out, file, path, err);
}
