#include <string.h>

#include "format/gguf.h"
#include "format/safetensors.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "model/load.h"
#include "tokenizer/tokenizer.h"

// A tokenizer of a kind that we do not know is no reason to refuse the weights: what needs it fails later,
// with what was found here.
static rrt_status tolerate_unknown(rrt_model *model, rrt_status status, const rrt_error *found,
                                   rrt_error *err)
{
    if (status != RRT_STATUS_UNSUPPORTED) {
        if (status && err) *err = *found;
        return status;
    }
    model->no_tokenizer = *found;
    rrt__hint(&model->no_tokenizer, status, "what needs no text still works: inspect, logits, convert");
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
    RRT__TRY(rrt__gguf_open(&gguf, path, err));
    if (is_ours(gguf)) {
        rrt_status status = rrt__model_load_packed(out, gguf, err);
        if (status) rrt__gguf_close(gguf);
        return status;
    }
    rrt_status status = rrt__config_from_gguf(&config, gguf, err);
    if (!status)
        status = rrt__model_load(out, &config, rrt__gguf_tensors(gguf), &config.family->gguf, progress, err);
    if (!status) {
        rrt_error found = {0};
        status = rrt__tokenizer_from_gguf(&(*out)->tokenizer, gguf, &found);
        if (status) rrt__at(&found, status, "%s", path);
        status = tolerate_unknown(*out, status, &found, err);
    }
    if (!status) (*out)->file_bytes = rrt__gguf_file_bytes(gguf);
    rrt__gguf_close(gguf);
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
    return tolerate_unknown(*out, status, &found, err);
}

// The base that an adapter names; an export of ours has it within, wherever the folder was moved to.
static rrt_status find_base(char base[4096], const char *folder, rrt_error *err)
{
    char path[4096];
    const char *name;
    json_t *json;
    RRT__TRY(rrt__path_join(base, folder, RRT__PEFT_BASE, err));
    if (rrt__path_is_folder(base)) return RRT_STATUS_OK;
    RRT__TRY(rrt__path_join(path, folder, RRT__PEFT_CONFIG, err));
    RRT__TRY(rrt__json_read(&json, path, err));
    rrt_status status = rrt__json_string(json, "base_model_name_or_path", &name, err);
    if (!status) snprintf(base, 4096, "%s", name);
    bool is_there = !status && rrt__path_exists(base);
    if (!status && !is_there) {
        status = rrt__fail(err, RRT_STATUS_IO, "the base model '%.200s' is not there", name);
        rrt__hint(err, status, "put its folder into the adapter's, as '" RRT__PEFT_BASE "'");
    }
    json_decref(json);
    return status ? rrt__at(err, status, RRT__PEFT_CONFIG) : RRT_STATUS_OK;
}

static rrt_status open_adapter(rrt_model **out, const char *folder, const rrt_progress *progress,
                               rrt_error *err)
{
    char path[4096];
    rrt_model *base;
    RRT__TRY(find_base(path, folder, err));
    RRT__TRY(rrt__path_is_folder(path) ? open_base(&base, path, progress, err)
                                       : open_gguf(&base, path, progress, err));
    rrt_status status = rrt_model_unpack(base, err);
    if (!status) status = rrt__adapter_load(out, base, folder, err);
    rrt_model_close(base);
    return status;
}

static rrt_status open_folder(rrt_model **out, const char *folder, const rrt_progress *progress,
                              rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, RRT__PEFT_CONFIG, err));
    return rrt__path_exists(path) ? open_adapter(out, folder, progress, err)
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
    const rrt_tokenizer *tokenizer = *out ? (*out)->tokenizer : NULL;
    if (!status && tokenizer && (size_t)rrt_tokenizer_vocab(tokenizer) > (*out)->shape.vocab)
        status =
            rrt__fail(err, RRT_STATUS_MISMATCH, "the tokenizer has %d ids, but the embedding only %zu rows",
                      rrt_tokenizer_vocab(tokenizer), (*out)->shape.vocab);
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
