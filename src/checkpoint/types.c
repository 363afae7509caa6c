// Lists the types of a model's tensors, in its files or in memory.
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "kernels/storage.h"
#include "model/parameters.h"

typedef struct listing {
    rrt_model_type *types;
    size_t count;
} listing;

static void add(listing *list, const char *name, uint64_t bytes)
{
    size_t i = 0;
    while (i < list->count && strcmp(list->types[i].name, name) != 0) i++;
    if (i == RRT_MODEL_TYPES) return;
    if (i == list->count) list->types[list->count++] = (rrt_model_type){.name = name};
    list->types[i].tensors++;
    list->types[i].bytes += bytes;
}

static void add_table(listing *list, const rrt__tensor_table *table)
{
    for (rrt__dtype dtype = 0; dtype < RRT__DTYPE_COUNT; dtype++)
        for (size_t i = 0; i < table->count; i++)
            if (table->tensors[i].dtype == dtype)
                add(list, rrt__dtype_name(dtype), table->tensors[i].size_bytes);
}

static void add_files(listing *list, const rrt_model *model)
{
    if (model->base) add_files(list, model->base);
    if (model->file) add_table(list, rrt__gguf_tensors(model->file));
    if (model->folder) add_table(list, rrt__safetensors_tensors(model->folder));
}

static rrt_status add_parameter(void *user, const rrt__parameter *p, rrt_error *err)
{
    (void)err;
    const rrt__linear linear = rrt__parameter_linear(p);
    add(user, rrt__storage_name(linear.storage), rrt__storage_bytes(linear.storage, linear.out, linear.in));
    return RRT_STATUS_OK;
}

static rrt_status add_resident(void *user, const rrt__parameter *p, rrt_error *err)
{
    (void)err;
    rrt__storage storage = p->linear ? rrt__resident_storage(p->linear) : RRT__STORAGE_F32;
    add(user, rrt__storage_name(storage), rrt__storage_bytes(storage, p->rows, p->columns ? p->columns : 1));
    return RRT_STATUS_OK;
}

size_t rrt_model_resident_types(const rrt_model *model, rrt_model_type types[RRT_MODEL_TYPES])
{
    listing list = {types, 0};
    rrt__model_each_parameter(model, &model->family->hf, add_resident, &list, NULL);
    return list.count;
}

size_t rrt_model_types(const rrt_model *model, rrt_model_type types[RRT_MODEL_TYPES])
{
    listing list = {types, 0};
    bool is_ours = model->embedding->data; // files of ours hold bytes; the parameters tell the types
    if (model->matrices == RRT__MATRICES_DEFERRED && !is_ours)
        add_files(&list, model);
    else
        rrt__model_each_parameter(model, &model->family->hf, add_parameter, &list, NULL);
    return list.count;
}
