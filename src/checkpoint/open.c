#include <string.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/exit_thresholds.h"
#include "checkpoint/quantize.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "tokenizer/tokenizer.h"

// A tokenizer that we cannot read does not prevent loading the weights: functions that need it fail later
// with the error found here. One with more ids than the embedding has rows fails when a text needs such
// an id.
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

// The name in the model's metadata, or else that of its file or folder.
static rrt_status set_name(rrt_model *model, const char *name, size_t length, const char *path,
                           rrt_error *err)
{
    if (!length) {
        length = strlen(path);
        while (length > 1 && path[length - 1] == '/') length--;
        size_t begin = length;
        while (begin > 0 && path[begin - 1] != '/') begin--;
        name = path + begin;
        length -= begin;
    }
    return rrt__arena_copy(&model->arena, &model->name, name, length, err);
}

static rrt_status open_gguf(rrt_model **out, const char *path, rrt_error *err)
{
    rrt__gguf *gguf;
    rrt__config config;
    rrt_error found = {0};
    RRT__TRY(rrt__gguf_open(&gguf, path, err));
    rrt_status status;
    if (is_ours(gguf)) {
        status = rrt__model_load_packed(out, gguf, err);
    } else {
        status = rrt__config_from_gguf(&config, gguf, err);
        if (!status)
            status = rrt__model_load(out, &config, rrt__gguf_tensors(gguf), &config.family->gguf, err);
    }
    if (status) {
        rrt__gguf_close(gguf);
        return status;
    }
    (*out)->file = gguf;
    (*out)->file_bytes = rrt__gguf_file_bytes(gguf);
    (*out)->dtype = rrt__tensor_table_dtype(rrt__gguf_tensors(gguf));
    rrt__slice name = {0};
    rrt__gguf_string(gguf, "general.name", &name, NULL);
    RRT__TRY(set_name(*out, name.data, name.length, path, err));
    status = rrt__tokenizer_from_gguf(&(*out)->tokenizer, gguf, &found);
    if (status) rrt__at(&found, status, "%s", path);
    return take_tokenizer(*out, status, &found, err);
}

static rrt_status open_weights(rrt_model **out, const rrt__config *config, const char *folder, rrt_error *err)
{
    rrt__safetensors *file;
    RRT__TRY(rrt__safetensors_open(&file, folder, err));
    const rrt__tensor_table *table = rrt__safetensors_tensors(file);
    rrt_status status = rrt__model_load(out, config, table, &config->family->hf, err);
    if (status) {
        rrt__safetensors_close(file);
        return status;
    }
    (*out)->folder = file;
    (*out)->file_bytes = rrt__safetensors_file_bytes(file);
    (*out)->dtype = rrt__tensor_table_dtype(table);
    return RRT_STATUS_OK;
}

static rrt_status open_configured(rrt_model **out, const json_t *json, const char *folder, rrt_error *err)
{
    rrt__config config;
    const char *name;
    rrt_status status = rrt__config_from_json(&config, json, err);
    if (status) return rrt__at(err, status, "config.json");
    RRT__TRY(open_weights(out, &config, folder, err));
    if (rrt__json_string_or(json, "_name_or_path", "", &name, NULL)) name = "";
    return set_name(*out, name, strlen(name), folder, err);
}

static rrt_status open_base(rrt_model **out, const char *folder, rrt_error *err)
{
    char path[4096];
    json_t *json;
    RRT__TRY(rrt__path_join(path, folder, "config.json", err));
    RRT__TRY(rrt__json_read(&json, path, err));
    rrt_status status = open_configured(out, json, folder, err);
    json_decref(json);
    if (status) return status;
    if (!rrt__tokenizer_is_in(folder)) return RRT_STATUS_OK;
    rrt_error found = {0};
    status = rrt_tokenizer_open(&(*out)->tokenizer, folder, &found);
    return take_tokenizer(*out, status, &found, err);
}

// Replaces *model by one that was made of it.
static void put_on_top(rrt_model **model, rrt_model *made)
{
    made->base = *model;
    made->name = (*model)->name;
    if (!made->file_bytes) made->file_bytes = (*model)->file_bytes;
    *model = made;
}

static rrt_status adapt(rrt_model **model, const char *folder, bool merges_lora, rrt_error *err)
{
    rrt_model *adapted;
    RRT__TRY(rrt__adapter_load(&adapted, *model, folder, merges_lora, err));
    put_on_top(model, adapted);
    return RRT_STATUS_OK;
}

enum { KV_WINDOW = 256 };

// "last", "last:64"
static rrt_status set_kv(rrt_model *model, const char *text, rrt_error *err)
{
    char *end = NULL;
    bool is_last = strncmp(text, "last", 4) == 0, has_window = is_last && text[4] == ':';
    unsigned long window =
        has_window && text[5] >= '0' && text[5] <= '9' ? strtoul(text + 5, &end, 10) : KV_WINDOW;
    if (!is_last || (has_window ? !end || *end : text[4] != 0) || window % RRT__PAGE_TOKENS ||
        window > INT32_MAX)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the K/V policy '%s' is not known here: last, or last:W with a multiple of %d", text,
                         RRT__PAGE_TOKENS);
    if (!rrt__plan_has_boundary(&model->plan) || model->shares_kv)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the K/V policy '%s' is for loops with keys and values of their own: %s", text,
                         model->shares_kv ? "the model's share those of the first"
                                          : "the model has no loop boundary");
    size_t most = (model->shape.context + RRT__PAGE_TOKENS - 1) / RRT__PAGE_TOKENS * RRT__PAGE_TOKENS;
    model->kv_window = window == 0 ? 1 : window < most ? window : most;
    return RRT_STATUS_OK;
}

static rrt_status set_loops(rrt_model **model, const rrt_open_options *options, rrt_error *err)
{
    rrt_model *made;
    if (options->repeat) {
        RRT__TRY(rrt__model_with_repeat(&made, *model, options->repeat, err));
        put_on_top(model, made);
    }
    if (!options->loops || options->loops == (*model)->plan.loops) return RRT_STATUS_OK;
    RRT__TRY(rrt__model_with_loops(&made, *model, options->loops, err));
    put_on_top(model, made);
    return RRT_STATUS_OK;
}

static rrt_status open_plain(rrt_model **out, const char *path, rrt_error *err)
{
    RRT__TRY(rrt__path_is_folder(path) ? open_base(out, path, err) : open_gguf(out, path, err));
    return rrt__exit_thresholds_load(*out, path, err);
}

static rrt_status open_adapter(rrt_model **out, const char *folder, bool merges_lora, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__peft_find_base(path, folder, err));
    RRT__TRY(open_plain(out, path, err));
    RRT__TRY(adapt(out, folder, merges_lora, err));
    return set_name(*out, "", 0, folder, err);
}

static rrt_status open_any(rrt_model **out, const char *path, bool merges_lora, rrt_error *err)
{
    RRT__TRY(rrt__kernels_check(err));
    RRT__TRY(rrt__gemm_self_test(err));
    return rrt__peft_is_adapter(path) ? open_adapter(out, path, merges_lora, err)
                                      : open_plain(out, path, err);
}

// Closes what was opened, and adds the path to the error.
static rrt_status give_up(rrt_model **out, const char *path, rrt_status status, rrt_error *err)
{
    rrt_model_close(*out);
    *out = NULL;
    // An impossible plan or rank is not the caller's mistake here: it came from a file.
    if (status == RRT_STATUS_ARGUMENT) status = RRT_STATUS_FORMAT;
    if (err) err->status = status;
    // Errors from deeper down may name the path already.
    return err && strncmp(err->where, path, strlen(path)) == 0 ? status : rrt__at(err, status, "%s", path);
}

// Options are the caller's mistake.
static rrt_status give_up_option(rrt_model **out, rrt_status status)
{
    rrt_model_close(*out);
    *out = NULL;
    return status;
}

static rrt_status open_deferred(rrt_model **out, const char *path, bool merges_lora,
                                const rrt_open_options *options, rrt_error *err)
{
    *out = NULL;
    rrt_status status = open_any(out, path, merges_lora, err);
    rrt__give_back(); // memory used while reading the tokenizer
    if (status) return give_up(out, path, status, err);
    for (size_t i = 0; i < options->n_loras; i++) {
        status = adapt(out, options->loras[i], merges_lora, err);
        if (status) return give_up(out, options->loras[i], status, err);
    }
    status = set_loops(out, options, err);
    if (!status && options->kv) status = set_kv(*out, options->kv, err);
    return status ? give_up_option(out, status) : RRT_STATUS_OK;
}

static const rrt_open_options no_options;

rrt_status rrt_model_open_deferred(rrt_model **out, const char *path, const rrt_open_options *options,
                                   rrt_error *err)
{
    return open_deferred(out, path, true, options ? options : &no_options, err);
}

rrt_status rrt_model_open(rrt_model **out, const char *path, const rrt_open_options *options, rrt_error *err)
{
    rrt__storage quantized = RRT__STORAGE_F32;
    *out = NULL;
    if (!options) options = &no_options;
    if (options->type) RRT__TRY(rrt__quantized_parse(&quantized, options->type, err));
    RRT__TRY(open_deferred(out, path, false, options, err));
    if (options->type) { // other weights than the thresholds were calibrated for
        (*out)->is_requantized = true;
        (*out)->n_calibrated = 0;
    }
    rrt_status status = rrt__model_take_in(*out, quantized, options, err);
    return status ? give_up(out, path, status, err) : RRT_STATUS_OK;
}
