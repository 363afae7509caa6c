#include <string.h>

#include "format/gguf.h"
#include "format/safetensors.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "model/load.h"
#include "tokenizer/tokenizer.h"

static rrt_status gguf_config(rrt__config *config, const rrt__gguf *gguf, rrt_error *err)
{
    *config = (rrt__config){0};
    rrt__slice arch;
    char name[64];
    RRT__TRY(rrt__gguf_string(gguf, "general.architecture", &arch, err));
    snprintf(name, sizeof name, "%.*s", (int)(arch.length < 40 ? arch.length : 40), arch.data);
    RRT__TRY(rrt__family_by_gguf_name(&config->family, name, err));

    int64_t layers, value[6];
    double epsilon, base;
    const char *const keys[6] = {"embedding_length",        "feed_forward_length",  "attention.head_count",
                                 "attention.head_count_kv", "attention.key_length", "rope.dimension_count"};
    for (int i = 0; i < 6; i++) {
        char key[128];
        snprintf(key, sizeof key, "%s.%s", name, keys[i]);
        // Later keys default to what earlier ones imply: heads → K/V heads, width → head size → rotated
        // values.
        int64_t fallback = i == 3 ? value[2] : i == 4 ? value[0] / value[2] : i == 5 ? value[4] : 0;
        if (i < 3)
            RRT__TRY(rrt__gguf_int(gguf, key, 1, 1 << 20, &value[i], err));
        else
            RRT__TRY(rrt__gguf_int_or(gguf, key, 1, 1 << 20, fallback, &value[i], err));
    }
    char key[128];
    snprintf(key, sizeof key, "%s.block_count", name);
    RRT__TRY(rrt__gguf_int(gguf, key, 1, RRT__MAX_DEPTHS, &layers, err));
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", name);
    RRT__TRY(rrt__gguf_real_or(gguf, key, 1e-5, &epsilon, err));
    snprintf(key, sizeof key, "%s.rope.freq_base", name);
    RRT__TRY(rrt__gguf_real_or(gguf, key, 10000.0, &base, err));
    int64_t context;
    snprintf(key, sizeof key, "%s.context_length", name);
    RRT__TRY(rrt__gguf_int_or(gguf, key, 1, 1 << 24, 2048, &context, err));
    snprintf(key, sizeof key, "%s.rope.scaling.type", name);
    if (rrt__gguf_has(gguf, key)) return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s is not supported", key);

    const rrt__tensor *embedding = rrt__tensor_table_find(rrt__gguf_tensors(gguf), "token_embd.weight");
    if (!embedding || embedding->n_dims != 2)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor 'token_embd.weight' is missing or not a matrix");
    config->shape = (rrt__shape){
        .hidden = (size_t)value[0],
        .ffn = (size_t)value[1],
        .heads = (size_t)value[2],
        .kv_heads = (size_t)value[3],
        .head_dim = (size_t)value[4],
        .rotary = (size_t)value[5],
        .vocab = embedding->shape[0],
        .context = (size_t)context,
        .rope_base = base,
        .norm_epsilon = epsilon,
        .tied_head = !rrt__tensor_table_find(rrt__gguf_tensors(gguf), "output.weight"),
    };
    RRT__TRY(rrt__shape_check(&config->shape, err));
    return rrt__plan_make(&config->plan, RRT__SHARING_NONE, 1, (int)layers, 0, 0, err);
}

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

static rrt_status open_gguf(rrt_model **out, const char *path, const rrt_progress *progress, rrt_error *err)
{
    rrt__gguf *gguf;
    rrt__config config;
    RRT__TRY(rrt__gguf_open(&gguf, path, err));
    rrt_status status = gguf_config(&config, gguf, err);
    if (!status)
        status =
            rrt__model_load(out, &config, rrt__gguf_tensors(gguf), &config.family->gguf, true, progress, err);
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
    rrt_status status = rrt__model_load(out, config, rrt__safetensors_tensors(file), &config->family->hf,
                                        false, progress, err);
    if (!status) (*out)->file_bytes = rrt__safetensors_file_bytes(file);
    rrt__safetensors_close(file);
    return status;
}

static rrt_status open_folder(rrt_model **out, const char *folder, const rrt_progress *progress,
                              rrt_error *err)
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
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    // A plan or rank that cannot be is not the caller's mistake here: it came from a file.
    if (status == RRT_STATUS_ARGUMENT) status = RRT_STATUS_FORMAT;
    if (err) err->status = status;
    // Errors from deeper down may name the path already.
    return err && strncmp(err->where, path, strlen(path)) == 0 ? status : rrt__at(err, status, "%s", path);
}
