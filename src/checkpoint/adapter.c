// Reads a PEFT adapter: a LoRA on the layers of a base, which layer_replication may repeat. Refuses, by name,
// settings that would change the result and are not supported.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "format/safetensors.h"
#include "model/read.h"
#include "model/unroll.h"

static const double MAX_SETTING = 1e6; // of ranks and alphas

typedef struct adapter {
    const json_t *config;
    const rrt__tensor_table *table;
    rrt_model *model;
} adapter;

// PEFT's own merge is wrong if layers are repeated: it merges all LoRA into the weight that they share.
static const char merge_hint[] =
    "unless it repeats layers, merge the adapter with PEFT (merge_and_unload) and open the result";

static rrt_status fail_unsupported(rrt_error *err, const char *key)
{
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"%s\" is not supported", key);
    return rrt__hint(err, status, "%s", merge_hint);
}

// Refuses settings that change how a LoRA is applied.
static rrt_status check_config(const json_t *config, rrt_error *err)
{
    static const char *const refused[] = {"use_dora",
                                          "use_qalora",
                                          "use_bdlora",
                                          "lora_bias",
                                          "fan_in_fan_out",
                                          "kasa_config",
                                          "velora_config",
                                          "arrow_config",
                                          "megatron_config",
                                          "target_parameters",
                                          "monteclora_config",
                                          "alora_invocation_tokens",
                                          "trainable_token_indices"};
    const char *type, *bias;
    RRT__TRY(rrt__json_string(config, "peft_type", &type, err));
    if (strcmp(type, "LORA") != 0)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "\"peft_type\": '%.40s' is not supported, only 'LORA' is", type);
    RRT__TRY(rrt__json_string_or(config, "bias", "none", &bias, err));
    if (strcmp(bias, "none") != 0) return fail_unsupported(err, "bias");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (!rrt__json_is_off(json_object_get(config, refused[i]))) return fail_unsupported(err, refused[i]);
    }
    return RRT_STATUS_OK;
}

// depths[0..*count): the base's layer at each depth.
static rrt_status read_replication(const json_t *config, int layers, short depths[RRT__MAX_DEPTHS],
                                   int *count, rrt_error *err)
{
    const json_t *ranges = json_object_get(config, "layer_replication"), *range;
    size_t index;
    *count = 0;
    if (rrt__json_is_absent(ranges))
        for (; *count < layers; ++*count) depths[*count] = (short)*count;
    json_array_foreach(ranges, index, range)
    {
        const json_t *ends[] = {json_array_get(range, 0), json_array_get(range, 1)};
        json_int_t begin = json_integer_value(ends[0]), end = json_integer_value(ends[1]);
        if (!json_is_integer(ends[0]) || !json_is_integer(ends[1]) || begin < 0 || begin >= end ||
            end > layers)
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "\"layer_replication\"[%zu] is no range of the base's %d layers", index, layers);
        if (end - begin > RRT__MAX_DEPTHS - *count)
            return rrt__fail(err, RRT_STATUS_FORMAT, "\"layer_replication\" makes more than %d layers",
                             RRT__MAX_DEPTHS);
        for (; begin < end; begin++) depths[(*count)++] = (short)begin;
    }
    return *count ? RRT_STATUS_OK
                  : rrt__fail(err, RRT_STATUS_FORMAT, "\"layer_replication\" is no list of ranges");
}

// Splits a tensor's name: part `rest` of the layer at a depth. False for tensors outside the layers.
static bool split_name(const rrt_model *base, const char *name, long *depth, const char **rest)
{
    const char *const prefixes[] = {RRT__PEFT_PREFIX, base->family->hf.layers};
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], length) != 0) return false;
        name += length;
    }
    char *end;
    *depth = strtol(name, &end, 10);
    *rest = end + 1;
    return *name >= '0' && *name <= '9' && *end == '.';
}

// Whether rest is "<part>.<suffix>" for one of the parts; sets *index to it.
static bool is_one_of(const char *rest, const char *const *parts, int count, const char *suffix, int *index)
{
    for (*index = 0; *index < count; ++*index) {
        size_t length = parts[*index] ? strlen(parts[*index]) : 0;
        if (length && strncmp(rest, parts[*index], length) == 0 && rest[length] == '.' &&
            strcmp(rest + length + 1, suffix) == 0)
            return true;
    }
    return false;
}

static bool is_norm(const rrt_model *base, const char *rest, int *place)
{
    return is_one_of(rest, base->family->hf.norms, RRT__NORM_COUNT, "weight", place);
}

static bool has_norms(const rrt_model *base, const rrt__tensor_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        long depth;
        const char *rest;
        int place;
        if (split_name(base, table->tensors[i].name, &depth, &rest) && is_norm(base, rest, &place))
            return true;
    }
    return false;
}

// A pattern is a regular expression for the end of a module's name after a dot; only plain text is supported.
static rrt_status setting_of(const json_t *config, const char *key, const char *patterns_key,
                             const char *module, double *out, rrt_error *err)
{
    const char *pattern;
    json_t *value, *patterns = json_object_get(config, patterns_key);
    RRT__TRY(rrt__json_real_or(config, key, 8, out, err));
    if (!rrt__json_is_absent(patterns) && !json_is_object(patterns))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" has the wrong type: an object is expected",
                         patterns_key);
    json_object_foreach(patterns, pattern, value)
    {
        if (strpbrk(pattern, "^$*+?()[]{}|\\")) {
            rrt_status status =
                rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                          "\"%s\": the regular expression '%.80s' is not supported", patterns_key, pattern);
            return rrt__hint(err, status, "name the modules that it stands for");
        }
        size_t length = strlen(module), tail = strlen(pattern);
        if (tail > length || strcmp(module + length - tail, pattern) != 0) continue;
        if (tail < length && module[length - tail - 1] != '.') continue;
        if (!rrt__json_is_finite(value))
            return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\": '%.80s' is no finite number", patterns_key,
                             pattern);
        *out = json_number_value(value);
        break;
    }
    if (fabs(*out) <= MAX_SETTING) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %g: from -%g to %g is possible", key, *out,
                     MAX_SETTING, MAX_SETTING);
}

// Joins the matrix's LoRA and the previous one: B₁·A₁ + B₂·A₂ = [B₁ B₂]·[A₁; A₂].
static rrt_status join(adapter *a, int depth, int matrix, const rrt__lora *before, rrt_error *err)
{
    rrt__lora *lora = &a->model->depths[depth].lora[matrix];
    const rrt__lora own = *lora;
    size_t in = own.a.in, rank = before->rank + own.rank, smallest = in < own.b.out ? in : own.b.out;
    if (rank > smallest)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "with the adapters before it, its rank is %zu: more than the matrix's %zu", rank,
                         smallest);
    RRT__TRY(rrt__model_add_lora(a->model, depth, (rrt__matrix)matrix, rank, err));
    RRT__TRY(rrt__linear_read(&before->a, 0, before->rank, lora->a.weight, err));
    memcpy(lora->a.weight + before->rank * in, own.a.weight, own.rank * in * sizeof(float));
    for (size_t r = 0; r < own.b.out; r++) {
        float *row = lora->b.weight + r * rank;
        RRT__TRY(rrt__linear_read(&before->b, r, r + 1, row, err));
        memcpy(row + before->rank, own.b.weight + r * own.rank, own.rank * sizeof(float));
    }
    return RRT_STATUS_OK;
}

// PEFT adds scale · B·A: multiplies the scale into B.
static rrt_status load_lora(adapter *a, const rrt__tensor *tensor, int depth, int matrix, rrt_error *err)
{
    rrt_model *model = a->model;
    const rrt__linear *linear = &model->slots[model->plan.slot[depth]].matrix[matrix];
    rrt__lora *lora = &model->depths[depth].lora[matrix];
    const size_t prefix = strlen(RRT__PEFT_PREFIX);
    char name[320], module[256];
    double alpha, declared;
    bool by_root;
    snprintf(module, sizeof module, "%s%d.%s", model->family->hf.layers, depth,
             model->family->hf.matrices[matrix]);
    snprintf(name, sizeof name, RRT__PEFT_PREFIX "%s.lora_B.weight", module);
    const rrt__tensor *b = rrt__tensor_table_find(a->table, name);
    if (!b) return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor '%s' is missing", name + prefix);
    // A must be as wide as the matrix, so that the file really holds what is allocated for it.
    size_t rank = tensor->n_dims == 2 && tensor->shape[1] == linear->in ? tensor->shape[0] : 0;
    const rrt__lora before = *lora;
    RRT__TRY(rrt__model_add_lora(model, depth, (rrt__matrix)matrix, rank, err));
    RRT__TRY(setting_of(a->config, "r", "rank_pattern", module, &declared, err));
    if (declared != (double)rank)
        return rrt__fail(err, RRT_STATUS_MISMATCH, "its rank is %zu, and the configuration's \"r\" is %g",
                         rank, declared);
    RRT__TRY(rrt__tensor_read(tensor, rank, linear->in, lora->a.weight, err));
    RRT__TRY(rrt__tensor_read(b, linear->out, rank, lora->b.weight, err));
    RRT__TRY(setting_of(a->config, "lora_alpha", "alpha_pattern", module, &alpha, err));
    RRT__TRY(rrt__json_bool_or(a->config, "use_rslora", false, &by_root, err));
    float scale = (float)(alpha / (by_root ? sqrt((double)rank) : (double)rank));
    for (size_t i = 0; i < linear->out * rank; i++) lora->b.weight[i] *= scale;
    return before.rank ? join(a, depth, matrix, &before, err) : RRT_STATUS_OK;
}

static rrt_status load_norm(adapter *a, const rrt__tensor *tensor, int depth, int place, rrt_error *err)
{
    rrt__norm *norm = &a->model->depths[depth].norm[place];
    RRT__TRY(rrt__tensor_read(tensor, norm->width, 0, norm->gain, err));
    for (size_t i = 0; a->model->family->gain_is_one_plus_weight && i < norm->width; i++) norm->gain[i] += 1;
    return RRT_STATUS_OK;
}

static rrt_status load_one(adapter *a, const rrt__tensor *tensor, rrt_error *err)
{
    const char *const *matrices = a->model->family->hf.matrices, *rest = "";
    long depth = 0;
    int part;
    bool in_layers = split_name(a->model, tensor->name, &depth, &rest);
    if (in_layers && depth >= a->model->plan.n_depths)
        return rrt__fail(err, RRT_STATUS_MISMATCH, "the model has %d layers", a->model->plan.n_depths);
    if (in_layers && is_one_of(rest, matrices, RRT__MATRIX_COUNT, "lora_A.weight", &part))
        return load_lora(a, tensor, (int)depth, part, err);
    if (in_layers && is_one_of(rest, matrices, RRT__MATRIX_COUNT, "lora_B.weight", &part))
        return a->model->depths[depth].lora[part].rank
                   ? RRT_STATUS_OK // its A came before: tensors are sorted by name
                   : rrt__fail(err, RRT_STATUS_FORMAT, "its lora_A is missing");
    if (in_layers && is_norm(a->model, rest, &part)) return load_norm(a, tensor, (int)depth, part, err);
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                  "only LoRA of the layers' matrices and their norms are supported");
    return rrt__hint(err, status, "%s", merge_hint);
}

static rrt_status load_all(adapter *a, rrt_error *err)
{
    for (size_t i = 0; i < a->table->count; i++) {
        rrt_status status = load_one(a, &a->table->tensors[i], err);
        if (status) return rrt__at(err, status, "tensor '%.150s'", a->table->tensors[i].name);
    }
    return RRT_STATUS_OK;
}

// Merges the LoRA of a plain model into its weights.
static rrt_status merge_all(rrt_model *model, rrt_error *err)
{
    for (int i = 0; i < model->plan.n_depths * RRT__MATRIX_COUNT; i++) {
        int d = i / RRT__MATRIX_COUNT, m = i % RRT__MATRIX_COUNT;
        rrt__lora *lora = &model->depths[d].lora[m];
        RRT__TRY(rrt__merge_lora(model, &model->slots[model->plan.slot[d]].matrix[m], lora, 0, err));
        *lora = (rrt__lora){0};
    }
    return RRT_STATUS_OK;
}

static rrt_status build(adapter *a, const rrt_model *base, bool merges_lora, rrt_error *err)
{
    short depths[RRT__MAX_DEPTHS];
    int count, layers = base->plan.n_depths;
    rrt__plan plan;
    rrt_status status = check_config(a->config, err);
    if (!status) status = read_replication(a->config, layers, depths, &count, err);
    if (status) return rrt__at(err, status, RRT__PEFT_CONFIG);
    if (base->plan.sharing != RRT__SHARING_NONE)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the base model is recursive itself");
    if (!rrt__plan_recognise(&plan, depths, count, layers))
        RRT__TRY(rrt__plan_make(&plan, RRT__SHARING_NONE, 1, count, 0, 0, err));
    bool is_plain = plan.sharing == RRT__SHARING_NONE;
    rrt__norms_mode norms = !is_plain && has_norms(base, a->table) ? RRT__NORMS_PER_DEPTH : RRT__NORMS_TIED;
    RRT__TRY(rrt__replan(&a->model, base, depths, &plan, norms, err));
    for (int d = 0; d < a->model->plan.n_depths; d++)
        memcpy(a->model->depths[d].lora, base->depths[depths[d]].lora, sizeof base->depths->lora);
    status = load_all(a, err);
    if (status) return rrt__at(err, status, RRT__PEFT_WEIGHTS);
    return is_plain && merges_lora ? merge_all(a->model, err) : RRT_STATUS_OK;
}

rrt_status rrt__adapter_load(rrt_model **out, const rrt_model *base, const char *folder, bool merges_lora,
                             rrt_error *err)
{
    char path[4096];
    json_t *config = NULL;
    rrt__safetensors *file = NULL;
    adapter a = {0};
    rrt_status status;
    RRT__GOTO(rrt__path_join(path, folder, RRT__PEFT_CONFIG, err));
    RRT__GOTO(rrt__json_read(&config, path, err));
    RRT__GOTO(rrt__path_join(path, folder, RRT__PEFT_WEIGHTS, err));
    RRT__GOTO(rrt__safetensors_open(&file, path, err));
    a.config = config;
    a.table = rrt__safetensors_tensors(file);
    RRT__GOTO(build(&a, base, merges_lora, err));
    a.model->file_bytes = base->file_bytes + rrt__safetensors_file_bytes(file);
    a.model->folder = file;
    file = NULL;
done:
    rrt__safetensors_close(file);
    json_decref(config);
    if (status) {
        rrt_model_close(a.model);
        a.model = NULL;
    }
    *out = a.model;
    return status;
}
