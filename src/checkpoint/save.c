#include <stdio.h>
#include <string.h>

#include "base/destination.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/modeling.h"
#include "checkpoint/whole.h"
#include "format/safetensors.h"
#include "model/parameters.h"
#include "model/read.h"
#include "tokenizer/tokenizer.h"

typedef struct saver {
    const rrt_model *model;
    rrt__safetensors_entry *entries;
    size_t count, capacity;
    rrt__arena arena; // names, and sources of values
} saver;

// values NULL: read from `from`.
static rrt_status add_entry(saver *save, const char *name, size_t rows, size_t columns, const float *values,
                            rrt__rows from, rrt_error *err)
{
    char *copy;
    RRT__TRY(
        rrt__array_reserve(&save->entries, &save->capacity, save->count + 1, sizeof *save->entries, err));
    RRT__TRY(rrt__arena_copy(&save->arena, &copy, name, strlen(name), err));
    save->entries[save->count++] = (rrt__safetensors_entry){
        .name = copy, .n_dims = columns ? 2 : 1, .shape = {rows, columns}, .values = values, .from = from};
    return RRT_STATUS_OK;
}

// Parameters of one stored tensor follow each other: the first adds the entry, the others fill their parts.
static rrt_status add_fused(saver *save, const rrt__fused *place, const rrt__parameter *p, rrt_error *err)
{
    rrt__whole *whole;
    if (place->is_first) {
        RRT__TRY(rrt__arena_alloc(&save->arena, &whole, 1, sizeof *whole, "a fused tensor", err));
        RRT__TRY(add_entry(save, place->name, place->rows, p->columns, NULL, rrt__whole_rows(whole), err));
    }
    whole = (rrt__whole *)(uintptr_t)save->entries[save->count - 1].from.from;
    rrt__whole_add(whole, place, p->rows, rrt__parameter_linear(p));
    return RRT_STATUS_OK;
}

// Files of some families hold gain - 1.
static rrt_status add_gain(saver *save, const rrt__parameter *p, rrt_error *err)
{
    float *values;
    RRT__TRY(rrt__arena_alloc(&save->arena, &values, p->rows, sizeof(float), "a norm", err));
    for (size_t i = 0; i < p->rows; i++) values[i] = p->values[i] - 1;
    return add_entry(save, p->name, p->rows, 0, values, (rrt__rows){0}, err);
}

static rrt_status save_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    saver *save = user;
    rrt__fused fused;
    rrt__linear *linear;
    if (rrt__parameter_is_fused(p, &save->model->family->hf, &save->model->shape, &fused))
        return add_fused(save, &fused, p, err);
    if (save->model->family->gain_is_one_plus_weight && p->kind == RRT__PARAMETER_NORM)
        return add_gain(save, p, err);
    RRT__TRY(rrt__arena_alloc(&save->arena, &linear, 1, sizeof *linear, "a matrix's place", err));
    *linear = rrt__parameter_linear(p);
    if (p->is_row) return add_entry(save, p->name, 1, p->rows, p->values, (rrt__rows){0}, err);
    return add_entry(save, p->name, p->rows, p->columns, p->values, rrt__linear_rows(linear), err);
}

static rrt_status save_weights(const rrt_model *model, const char *folder,
                               const rrt__safetensors_options *options, rrt_error *err)
{
    saver save = {.model = model};
    rrt_status status = rrt__model_each_parameter(model, &model->family->hf, save_one, &save, err);
    if (!status) status = rrt__safetensors_write_folder(folder, save.entries, save.count, options, err);
    rrt__free(save.entries);
    rrt__arena_free(&save.arena);
    return status;
}

// Takes ownership of the JSON.
static rrt_status write_json(json_t *json, const char *folder, const char *name, rrt_error *err)
{
    char path[4096];
    rrt_status status = json ? rrt__path_join(path, folder, name, err)
                             : rrt__fail(err, RRT_STATUS_MEMORY, "out of memory while writing %s", name);
    if (!status) status = rrt__json_write(json, path, err);
    json_decref(json);
    return status;
}

static rrt_status save_config(const rrt_model *model, const char *folder, rrt__dtype dtype, rrt_error *err)
{
    json_t *config;
    RRT__TRY(rrt__config_to_json(model, dtype, &config, err));
    return write_json(config, folder, "config.json", err);
}

static rrt_status save_modeling(const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, RRT__MODELING ".py", err));
    return rrt__file_write(path, rrt__modeling, rrt__modeling_bytes, err);
}

rrt_status rrt__model_write(const rrt_model *model, const char *folder,
                            const rrt__safetensors_options *options, rrt_error *err)
{
    RRT__TRY(save_config(model, folder, options->dtype, err));
    RRT__TRY(save_weights(model, folder, options, err));
    if (rrt__model_has_modeling(model)) RRT__TRY(save_modeling(folder, err));
    if (!model->tokenizer) return RRT_STATUS_OK;
    RRT__TRY(write_json(rrt__tokenizer_generation(model->tokenizer), folder, "generation_config.json", err));
    return rrt__tokenizer_write(model->tokenizer, folder, err);
}

rrt_status rrt__dtype_parse(rrt__dtype *dtype, const char *name, rrt__dtype fallback, rrt_error *err)
{
    static const struct {
        const char *name;
        rrt__dtype dtype;
    } known[] = {{"f32", RRT__DTYPE_F32}, {"bf16", RRT__DTYPE_BF16}, {"f16", RRT__DTYPE_F16}};
    *dtype = fallback;
    if (!name) return RRT_STATUS_OK;
    for (int i = 0; i < 3; i++) {
        *dtype = known[i].dtype;
        if (strcmp(name, known[i].name) == 0) return RRT_STATUS_OK;
    }
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "the dtype '%s' is not known: f32, bf16 or f16", name);
}

rrt_status rrt_model_save(const rrt_model *model, const char *path, const rrt_save_options *options,
                          rrt_error *err)
{
    const rrt_save_options defaults = {0};
    rrt__destination destination;
    if (!options) options = &defaults;
    rrt__safetensors_options weights = {.max_shard_bytes = options->max_shard_bytes ? options->max_shard_bytes
                                                                                    : RRT__SHARD_BYTES,
                                        .progress = options->progress};
    RRT__TRY(rrt__dtype_parse(&weights.dtype, options->dtype, model->dtype, err));
    RRT__TRY(rrt__destination_open(&destination, path, RRT__DESTINATION_FOLDER, options->overwrite, err));
    rrt_status status = rrt__model_write(model, destination.temporary, &weights, err);
    if (!status) status = rrt__destination_commit(&destination, err);
    if (status) rrt__destination_discard(&destination);
    return status;
}
