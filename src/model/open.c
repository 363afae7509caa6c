#include <string.h>

#include "format/gguf.h"
#include "format/safetensors.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "model/load.h"
#include "tokenizer/tokenizer.h"

// The key of one of the architecture's settings, "llama.block_count".
static const char *key_of(char key[128], const char *arch, const char *name)
{
    snprintf(key, 128, "%s.%s", arch, name);
    return key;
}

// fallback 0: the key has to be there.
static rrt_status gguf_size(const rrt__gguf *gguf, const char *arch, const char *name, int64_t most,
                            size_t fallback, size_t *out, rrt_error *err)
{
    char key[128];
    int64_t value;
    key_of(key, arch, name);
    RRT__TRY(fallback ? rrt__gguf_int_or(gguf, key, 1, most, (int64_t)fallback, &value, err)
                      : rrt__gguf_int(gguf, key, 1, most, &value, err));
    *out = (size_t)value;
    return RRT_STATUS_OK;
}

static rrt_status gguf_real(const rrt__gguf *gguf, const char *arch, const char *name, double fallback,
                            double *out, rrt_error *err)
{
    char key[128];
    return rrt__gguf_real_or(gguf, key_of(key, arch, name), fallback, out, err);
}

static rrt_status gguf_shape(rrt__shape *s, const rrt__family *family, const rrt__gguf *gguf,
                             const char *arch, rrt_error *err)
{
    enum { MOST = 1 << 20, MOST_CONTEXT = 1 << 24 };
    char key[128];
    RRT__TRY(gguf_size(gguf, arch, "embedding_length", MOST, 0, &s->hidden, err));
    RRT__TRY(gguf_size(gguf, arch, "feed_forward_length", MOST, 0, &s->ffn, err));
    RRT__TRY(gguf_size(gguf, arch, "attention.head_count", MOST, 0, &s->heads, err));
    RRT__TRY(gguf_size(gguf, arch, "attention.head_count_kv", MOST, s->heads, &s->kv_heads, err));
    RRT__TRY(gguf_size(gguf, arch, "attention.key_length", MOST, s->hidden / s->heads, &s->head_dim, err));
    RRT__TRY(gguf_size(gguf, arch, "rope.dimension_count", MOST, s->head_dim, &s->rotary, err));
    RRT__TRY(gguf_size(gguf, arch, "context_length", MOST_CONTEXT, 2048, &s->context, err));
    RRT__TRY(gguf_real(gguf, arch, "attention.layer_norm_rms_epsilon", 1e-5, &s->norm_epsilon, err));
    RRT__TRY(gguf_real(gguf, arch, "rope.freq_base", family->rope_base, &s->rope_base, err));
    RRT__TRY(gguf_real(gguf, arch, "rope.freq_base_swa", family->local_rope_base, &s->local_rope_base, err));
    RRT__TRY(gguf_real(gguf, arch, "attn_logit_softcapping", 0, &s->attention_cap, err));
    RRT__TRY(gguf_real(gguf, arch, "final_logit_softcapping", 0, &s->logit_cap, err));
    if (family->local_pattern)
        RRT__TRY(gguf_size(gguf, arch, "attention.sliding_window", MOST_CONTEXT, 0, &s->window, err));
    if (rrt__gguf_has(gguf, key_of(key, arch, "rope.scaling.type")))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s is not supported", key);
    const rrt__tensor *embedding = rrt__tensor_table_find(rrt__gguf_tensors(gguf), "token_embd.weight");
    if (!embedding || embedding->n_dims != 2)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor 'token_embd.weight' is missing or not a matrix");
    s->vocab = embedding->shape[0];
    s->tied_head = !rrt__tensor_table_find(rrt__gguf_tensors(gguf), "output.weight");
    return rrt__shape_check(s, err);
}

// Layers that the file has once, and how often they run.
static rrt_status gguf_plan(rrt__plan *plan, const rrt__gguf *gguf, const char *arch, rrt_error *err)
{
    size_t layers, loops;
    bool is_plain;
    char key[128];
    RRT__TRY(gguf_size(gguf, arch, "block_count", RRT__MAX_DEPTHS, 0, &layers, err));
    if (strcmp(arch, RRT__GGUF_LOOPED) != 0)
        return rrt__plan_make(plan, RRT__SHARING_NONE, 1, (int)layers, 0, 0, err);
    RRT__TRY(gguf_size(gguf, arch, "num_loops", RRT__MAX_DEPTHS, 1, &loops, err));
    RRT__TRY(rrt__gguf_bool_or(gguf, key_of(key, arch, "skip_loop_final_norm"), loops == 1, &is_plain, err));
    if (!is_plain)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a norm between the loops is not supported (%s)", key);
    return rrt__plan_make(plan, RRT__SHARING_CYCLE, (int)loops, (int)layers, 0, 0, err);
}

static rrt_status gguf_config(rrt__config *config, const rrt__gguf *gguf, rrt_error *err)
{
    rrt__slice arch;
    char name[64];
    *config = (rrt__config){0};
    RRT__TRY(rrt__gguf_string(gguf, "general.architecture", &arch, err));
    snprintf(name, sizeof name, "%.*s", (int)(arch.length < 40 ? arch.length : 40), arch.data);
    const char *family = strcmp(name, RRT__GGUF_LOOPED) == 0 ? "llama" : name;
    RRT__TRY(rrt__family_by_gguf_name(&config->family, family, err));
    RRT__TRY(gguf_shape(&config->shape, config->family, gguf, name, err));
    RRT__TRY(gguf_plan(&config->plan, gguf, name, err));
    rrt__attention_from_pattern(config, config->plan.n_depths, config->family->local_pattern,
                                config->family->unrotated_pattern);
    return RRT_STATUS_OK;
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
    rrt_status status = gguf_config(&config, gguf, err);
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
