// Exports a recursive model as a PEFT adapter: the base has every slot once, as a plain model's layers, and
// the adapter repeats them in the plan's order (layer_replication) with a LoRA per depth.
//
//     DST/adapter_config.json, adapter_model.safetensors      the adapter
//     DST/base/                                               the base, a Hugging Face folder
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "export/export.h"
#include "format/safetensors.h"
#include "model/read.h"
#include "model/unroll.h"

typedef struct adapter {
    const rrt__export *export;
    rrt__safetensors_entry *entries;
    size_t count, capacity;
    rrt__arena arena; // names, and values that the model does not own
    json_t *config, *targets, *ranks, *saved;
    size_t rank; // the max
} adapter;

static rrt_status add_entry(adapter *a, const char *name, const char *suffix, size_t rows, size_t columns,
                            rrt__linear values, rrt_error *err)
{
    rrt__linear *linear;
    char full[256], *copy;
    int length = snprintf(full, sizeof full, "%s%s.%s", RRT__PEFT_PREFIX, name, suffix);
    RRT__TRY(rrt__array_reserve(&a->entries, &a->capacity, a->count + 1, sizeof *a->entries, err));
    RRT__TRY(rrt__arena_copy(&a->arena, &copy, full, (size_t)length, err));
    RRT__TRY(rrt__arena_alloc(&a->arena, &linear, 1, sizeof *linear, "a matrix's place", err));
    *linear = values;
    a->entries[a->count++] = (rrt__safetensors_entry){
        .name = copy, .n_dims = columns ? 2 : 1, .shape = {rows, columns}, .from = rrt__linear_rows(linear)};
    return RRT_STATUS_OK;
}

static rrt_status add_lora(adapter *a, int depth, rrt__matrix matrix, const rrt__lora *lora, rrt_error *err)
{
    const rrt_model *model = a->export->model;
    const rrt__names *names = &model->family->hf;
    char name[128];
    snprintf(name, sizeof name, "%s%d.%s", names->layers, depth, names->matrices[matrix]);
    json_array_append_new(a->targets, json_string(name));
    json_object_set_new(a->ranks, name, json_integer((json_int_t)lora->rank));
    if (lora->rank > a->rank) a->rank = lora->rank;
    RRT__TRY(add_entry(a, name, "lora_A.weight", lora->a.out, lora->a.in, lora->a, err));
    return add_entry(a, name, "lora_B.weight", lora->b.out, lora->b.in, lora->b, err);
}

static rrt_status add_loras(adapter *a, rrt_error *err)
{
    const rrt_model *model = a->export->model;
    for (int d = 0; d < model->plan.n_depths; d++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            if (model->depths[d].lora[m].rank)
                RRT__TRY(add_lora(a, d, (rrt__matrix)m, &model->depths[d].lora[m], err));
    if (a->rank) return RRT_STATUS_OK;
    // PEFT refuses an adapter without a target module, that is, without effect.
    const rrt__linear *linear = &model->slots[0].matrix[RRT__MATRIX_Q];
    rrt__lora nothing = {.a = {.out = 1, .in = linear->in}, .b = {.out = linear->out, .in = 1}, .rank = 1};
    RRT__TRY(rrt__arena_alloc(&a->arena, &nothing.a.weight, linear->in, sizeof(float), "a LoRA", err));
    RRT__TRY(rrt__arena_alloc(&a->arena, &nothing.b.weight, linear->out, sizeof(float), "a LoRA", err));
    return add_lora(a, 0, RRT__MATRIX_Q, &nothing, err);
}

static bool differs(const float *x, const float *y, size_t count)
{
    return x && memcmp(x, y, count * sizeof *x) != 0;
}

// Whether a norm differs between depths of the same slot.
static bool norm_differs(const rrt_model *model, rrt__norm_place place)
{
    for (int d = 0; d < model->plan.n_depths; d++) {
        const rrt__norm *norm = &model->depths[d].norm[place],
                        *first =
                            &model->depths[rrt__model_first_depth(model, model->plan.slot[d])].norm[place];
        if (differs(norm->gain, first->gain, norm->width)) return true;
    }
    return false;
}

static rrt_status add_gain(adapter *a, int depth, rrt__norm_place place, rrt_error *err)
{
    const rrt_model *model = a->export->model;
    const rrt__norm *norm = &model->depths[depth].norm[place];
    float *values, less = model->family->gain_is_one_plus_weight ? 1.0f : 0.0f;
    char name[128];
    snprintf(name, sizeof name, "%s%d.%s", model->family->hf.layers, depth, model->family->hf.norms[place]);
    RRT__TRY(rrt__arena_alloc(&a->arena, &values, norm->width, sizeof *values, "a norm", err));
    for (size_t i = 0; i < norm->width; i++) values[i] = norm->gain[i] - less;
    return add_entry(a, name, "weight", norm->width, 0,
                     (rrt__linear){.out = norm->width, .in = 1, .weight = values}, err);
}

// A depth's own norms become modules that PEFT saves whole.
static rrt_status add_norms(adapter *a, rrt_error *err)
{
    const rrt_model *model = a->export->model;
    for (int i = 0; i < RRT__NORM_COUNT; i++) {
        if (!rrt__family_has_norm(model->family, i) || !norm_differs(model, i)) continue;
        json_array_append_new(a->saved, json_string(model->family->hf.norms[i]));
        for (int d = 0; d < model->plan.n_depths; d++) RRT__TRY(add_gain(a, d, i, err));
    }
    return RRT_STATUS_OK;
}

// The plan as runs of consecutive layers: [[0, 10], [0, 10], [0, 10]].
static json_t *replication(const rrt__plan *plan)
{
    json_t *ranges = json_array();
    for (int begin = 0, end; begin < plan->n_depths; begin = end) {
        for (end = begin + 1; end < plan->n_depths && plan->slot[end] == plan->slot[end - 1] + 1;) end++;
        json_array_append_new(ranges, json_pack("[i, i]", plan->slot[begin], plan->slot[end - 1] + 1));
    }
    return ranges;
}

// Keeps only ranks that differ from the max, which is the adapter's.
static void keep_other_ranks(adapter *a)
{
    const char *name;
    json_t *rank;
    void *next;
    json_object_foreach_safe(a->ranks, next, name, rank)
    {
        if ((size_t)json_integer_value(rank) == a->rank) json_object_del(a->ranks, name);
    }
}

static rrt_status write_config(const adapter *a, rrt_error *err)
{
    const rrt__plan *plan = &a->export->model->plan;
    char base[4096], path[4096];
    RRT__TRY(rrt__path_join(base, a->export->path, RRT__PEFT_BASE, err));
    RRT__TRY(rrt__path_join(path, a->export->temporary, RRT__PEFT_CONFIG, err));
    json_t *config =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:s, s:b, s:b, s:O, s:O, s:O, s:O?, s:o?}", "peft_type",
                  "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path", base, "r", (json_int_t)a->rank,
                  "lora_alpha", (json_int_t)a->rank, "lora_dropout", 0.0, "bias", "none", "fan_in_fan_out", 0,
                  "inference_mode", 1, "target_modules", a->targets, "rank_pattern", a->ranks,
                  "alpha_pattern", a->ranks, "modules_to_save", json_array_size(a->saved) ? a->saved : NULL,
                  "layer_replication", plan->sharing == RRT__SHARING_NONE ? NULL : replication(plan));
    if (!config) return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory while writing " RRT__PEFT_CONFIG);
    rrt_status status = rrt__json_write(config, path, err);
    json_decref(config);
    return status;
}

static rrt_status write_adapter(adapter *a, rrt_error *err)
{
    char path[4096];
    RRT__TRY(add_loras(a, err));
    RRT__TRY(add_norms(a, err));
    keep_other_ranks(a);
    RRT__TRY(write_config(a, err));
    RRT__TRY(rrt__path_join(path, a->export->temporary, RRT__PEFT_WEIGHTS, err));
    return rrt__safetensors_write(path, a->entries, a->count, a->export->dtype, err);
}

static rrt_status write_base(const rrt__export *export, rrt_error *err)
{
    const rrt_model *model = export->model;
    short depths[RRT__MAX_DEPTHS];
    char folder[4096];
    rrt_model *base;
    for (int s = 0; s < model->plan.n_slots; s++) depths[s] = (short)rrt__model_first_depth(model, s);
    RRT__TRY(rrt__path_join(folder, export->temporary, RRT__PEFT_BASE, err));
    if (mkdir(folder, 0777) != 0) return rrt__at(err, rrt__fail_errno(err, "cannot create"), "%s", folder);
    RRT__TRY(rrt__unroll(&base, model, depths, model->plan.n_slots, false, export->options->threads, err));
    rrt_status status = rrt__export_folder(export, base, folder, err);
    rrt_model_close(base);
    return status;
}

// Checks that stock PEFT and transformers would run the model with repeated layers correctly.
static rrt_status check(const rrt_model *model, rrt_error *err)
{
    const char *hint = "export --to hf keeps everything";
    if (!model->family->repeats_in_peft) {
        rrt_status status =
            rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                      "PEFT cannot repeat the layers of a model of the family '%s' (llama and "
                      "gemma only)",
                      model->family->name);
        return rrt__hint(err, status, "%s", hint);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__export_peft(const rrt__export *export, rrt_error *err)
{
    adapter a = {.export = export, .targets = json_array(), .ranks = json_object(), .saved = json_array()};
    rrt_status status = check(export->model, err);
    if (!status) status = write_base(export, err);
    if (!status) status = write_adapter(&a, err);
    json_decref(a.targets);
    json_decref(a.ranks);
    json_decref(a.saved);
    rrt__free(a.entries);
    rrt__arena_free(&a.arena);
    return status;
}
