// Reads files of quantize.c: copies vectors, leaves matrices in the file.
#include <stdio.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "kernels/packed.h"
#include "kernels/storage.h"
#include "model/parameters.h"

typedef struct loader {
    rrt_model *model;
    const rrt__tensor_table *table;
} loader;

static rrt_status map_matrix(const rrt__tensor *tensor, rrt__storage storage, const rrt__parameter *p,
                             rrt_error *err)
{
    size_t expected = rrt__packed_bytes(storage, p->rows, p->columns);
    if (tensor->dtype != RRT__DTYPE_I8 || tensor->size_bytes != expected)
        return rrt__fail(err, RRT_STATUS_MISMATCH, "it has %zu bytes of type %s; %zu of I8 are expected",
                         tensor->size_bytes, rrt__dtype_name(tensor->dtype), expected);
    if ((uintptr_t)tensor->data % RRT__PACKED_ALIGNMENT)
        return rrt__fail(err, RRT_STATUS_FORMAT, "it lies at byte %zu, which is no multiple of %d",
                         tensor->file_offset, RRT__PACKED_ALIGNMENT);
    *p->linear = (rrt__linear){p->rows, p->columns, storage, .data = tensor->data};
    return RRT_STATUS_OK;
}

// The tensor named after the parameter and a storage.
static const rrt__tensor *find_packed(const rrt__tensor_table *table, const char *parameter,
                                      rrt__storage *storage)
{
    for (*storage = RRT__STORAGE_Q8_0; *storage <= RRT__STORAGE_Q4_0; ++*storage) {
        char name[160];
        snprintf(name, sizeof name, "%s.%s", parameter, rrt__storage_name(*storage));
        const rrt__tensor *tensor = rrt__tensor_table_find(table, name);
        if (tensor) return tensor;
    }
    return NULL;
}

static rrt_status load_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    loader *load = user;
    rrt__storage storage = RRT__STORAGE_COUNT;
    const rrt__tensor *tensor = p->linear ? find_packed(load->table, p->name, &storage)
                                          : rrt__tensor_table_find(load->table, p->name);
    if (!tensor) return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor '%s' is missing", p->name);
    if (!p->linear) return rrt__tensor_read(tensor, p->rows, p->columns, p->values, err);
    rrt_status status = map_matrix(tensor, storage, p, err);
    return status ? rrt__at(err, status, "tensor '%s'", tensor->name) : RRT_STATUS_OK;
}

static rrt_status take_json(const rrt__gguf *gguf, const char *key, json_t **out, rrt_error *err)
{
    rrt__slice text;
    RRT__TRY(rrt__gguf_string(gguf, key, &text, err));
    rrt_status status = rrt__json_parse(out, text.data, text.length, err);
    return status ? rrt__at(err, status, "metadata '%s'", key) : RRT_STATUS_OK;
}

// Groups of 16 do not reveal the rank, so the metadata holds it, per depth and matrix.
static rrt_status add_loras(rrt_model *model, const rrt__gguf *gguf, rrt_error *err)
{
    json_t *ranks, *row, *rank;
    size_t d, m;
    rrt_status status = RRT_STATUS_OK;
    RRT__TRY(take_json(gguf, "rrt.lora_ranks", &ranks, err));
    json_array_foreach(ranks, d, row) json_array_foreach(row, m, rank)
    {
        json_int_t value = json_integer_value(rank);
        bool is_possible = d < (size_t)model->plan.n_depths && m < RRT__MATRIX_COUNT && value >= 0;
        if (!status && !is_possible)
            status =
                rrt__fail(err, RRT_STATUS_FORMAT, "metadata 'rrt.lora_ranks': no rank per depth and matrix");
        if (!status && value)
            status = rrt__model_declare_lora(model, (int)d, (rrt__matrix)m, (size_t)value, err);
    }
    json_decref(ranks);
    return status;
}

// A configuration may claim any size: allocates only after checking that the file holds half a byte
// per parameter.
static rrt_status check_size(const rrt__config *config, const rrt__gguf *gguf, rrt_error *err)
{
    uint64_t claimed = rrt__shape_parameters(config->family, &config->shape, &config->plan, config->norms);
    if (claimed / 2 <= rrt__gguf_file_bytes(gguf)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_MISMATCH,
                     "the configuration describes %llu parameters, but the file has %zu bytes",
                     (unsigned long long)claimed, rrt__gguf_file_bytes(gguf));
}

static rrt_status load_parameters(rrt_model *model, const rrt__config *config, const rrt__gguf *gguf,
                                  rrt_error *err)
{
    loader load = {model, rrt__gguf_tensors(gguf)};
    RRT__TRY(rrt__config_apply(model, config, err));
    RRT__TRY(add_loras(model, gguf, err));
    return rrt__model_each_parameter(model, &config->family->hf, load_one, &load, err);
}

rrt_status rrt__model_load_packed(rrt_model **out, rrt__gguf *gguf, rrt_error *err)
{
    json_t *json;
    rrt__config config;
    RRT__TRY(take_json(gguf, "rrt.config", &json, err));
    rrt_status status = rrt__config_from_json(&config, json, err);
    json_decref(json);
    if (status) return rrt__at(err, status, "metadata 'rrt.config'");
    rrt__config_find_gate(&config, rrt__gguf_tensors(gguf), &config.family->hf);
    RRT__TRY(check_size(&config, gguf, err));
    RRT__TRY(rrt__model_create_stored(out, config.family, &config.shape, &config.plan, config.norms,
                                      RRT__MATRICES_DEFERRED, err));
    status = load_parameters(*out, &config, gguf, err);
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    return status;
}
