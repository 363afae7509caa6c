#include <string.h>

#include "format/gguf.h"
#include "format/safetensors.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "model/load.h"
#include "tokenizer/tokenizer.h"

// A tokenizer that we cannot read is no reason to refuse the weights: what needs it fails later, with what
// was found here. One that has more ids than the embedding has rows fails where a text needs such an id.
static rrt_status take_tokenizer(rrt_model *model, rrt_status status, const rrt_error *found, rrt_error *err)
{
    if (status == RRT_STATUS_MEMORY) {
        if (err) *err = *found;
        return status;
    }
    if (status) {
        model->no_tokenizer = *found;
        rrt__hint(&model->no_tokenizer, status, "what needs no text still works: inspect, logits, convert");
    }
    rrt__tokenizer_limit(model->tokenizer, model->shape.vocab);
    return RRT_STATUS_OK;
}

static bool is_ours(const rrt__gguf *gguf)
{
    rrt__slice arch;
    return !rrt__gguf_string(gguf, "general.architecture", &arch, NULL) &&
           arch.length == strlen(RRT__GGUF_ARCHITECTURE) &&
           memcmp(arch.data, RRT__GGUF_ARCHITECTURE, arch.length) == 0;
}

static rrt_status open_gguf(rrt_model **out, const char *path, const rrt_progress *progress, rrt_error *err)
{
    rrt__gguf *gguf;
    rrt__config config;
    rrt_error found = {0};
    RRT__TRY(rrt__gguf_open(&gguf, path, err));
    bool is_packed = is_ours(gguf);
    rrt_status status =
        is_packed ? rrt__model_load_packed(out, gguf, err) : rrt__config_from_gguf(&config, gguf, err);
    if (!status && !is_packed)
        status = rrt__model_load(out, &config, rrt__gguf_tensors(gguf), &config.family->gguf, progress, err);
    if (!status) {
        (*out)->file_bytes = rrt__gguf_file_bytes(gguf);
        status = rrt__tokenizer_from_gguf(&(*out)->tokenizer, gguf, &found);
        if (status) rrt__at(&found, status, "%s", path);
        status = take_tokenizer(*out, status, &found, err);
    }
    if (!*out || !(*out)->file) rrt__gguf_close(gguf); // else the model keeps it
    return status;
}

static rrt_status open_weights(rrt_model **out, const rrt__config *config, const char *folder,
                               const rrt_progress *progress, rrt_error *err)
{
    rrt__safetensors *file;
    RRT__TRY(rrt__safetensors_open(&file, folder, err));
    rrt_status status =
        rrt__model_load(out, config, rrt__safetensors_tensors(file), &config->family->hf, progress, err);
    if (!status) (*out)->file_bytes = rrt__safetensors_file_bytes(file);
    rrt__safetensors_close(file);
    return status;
}

static rrt_status open_base(rrt_model **out, const char *folder, const rrt_progress *progress, rrt_error *err)
{
    char path[4096];
    json_t *json;
    rrt__config config;
    RRT__TRY(rrt__path_join(path, folder, "config.json", err));
    RRT__TRY(rrt__json_read(&json, path, err));
    rrt_status status = rrt__config_from_json(&config, json, err);
    json_decref(json);
    if (status) return rrt__at(err, status, "config.json");
    RRT__TRY(open_weights(out, &config, folder, progress, err));
    RRT__TRY(rrt__path_join(path, folder, "tokenizer.json", err));
    if (!rrt__path_exists(path)) return RRT_STATUS_OK;
    rrt_error found = {0};
    status = rrt_tokenizer_open(&(*out)->tokenizer, folder, &found);
    return take_tokenizer(*out, status, &found, err);
}

static rrt_status open_adapter(rrt_model **out, const char *folder, const rrt_progress *progress,
                               rrt_error *err)
{
    char path[4096];
    rrt_model *base = NULL;
    RRT__TRY(rrt__peft_find_base(path, folder, err));
    rrt_status status = rrt__path_is_folder(path) ? open_base(&base, path, progress, err)
                                                  : open_gguf(&base, path, progress, err);
    if (!status) status = rrt_model_unpack(base, err);
    if (!status) status = rrt__adapter_load(out, base, folder, err);
    rrt_model_close(base);
    return status;
}

static rrt_status open_folder(rrt_model **out, const char *folder, const rrt_progress *progress,
                              rrt_error *err)
{
    return rrt__peft_is_adapter(folder) ? open_adapter(out, folder, progress, err)
                                        : open_base(out, folder, progress, err);
}

rrt_status rrt_model_open(rrt_model **out, const char *path, const rrt_progress *progress, rrt_error *err)
{
    *out = NULL;
    RRT__TRY(rrt__kernels_check(err));
    RRT__TRY(rrt__gemm_self_test(err));
    bool is_folder = rrt__path_is_folder(path);
    rrt_status status =
        is_folder ? open_folder(out, path, progress, err) : open_gguf(out, path, progress, err);
    rrt__give_back(); // what tokenizer.json took while it was read
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    // A plan or rank that cannot be is not the caller's mistake here: it came from a file.
    if (status == RRT_STATUS_ARGUMENT) status = RRT_STATUS_FORMAT;
    if (err) err->status = status;
    // Errors from deeper down may name the path already.
    return err && strncmp(err->where, path, strlen(path)) == 0 ? status : rrt__at(err, status, "%s", path);
}
