#include "model/load.h"

#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "model/parameters.h"

typedef struct loader {
    rrt_model *model;
    const rrt__tensor_table *table;
    const rrt__names *names;
    bool is_gguf;
    const rrt_progress *progress;
    double done, total; // parameters
} loader;

static rrt_status find(const loader *load, const char *name, const rrt__tensor **out, rrt_error *err)
{
    *out = rrt__tensor_table_find(load->table, name);
    if (*out) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor '%s' is missing", name);
}

// dst row = src row permuted within each head: GGUF keeps the pairs (i, i + head_dim/2) of Llama side by
// side.
static void unpermute_heads(float *rows, float *copy, size_t n_rows, size_t columns, size_t head_dim)
{
    memcpy(copy, rows, n_rows * columns * sizeof(float));
    for (size_t r = 0; r < n_rows; r++) {
        size_t head = r / head_dim * head_dim, i = r % head_dim, half = head_dim / 2;
        size_t from = head + 2 * (i % half) + i / half;
        memcpy(rows + r * columns, copy + from * columns, columns * sizeof(float));
    }
}

static rrt_status read_permuted(const loader *load, const rrt__parameter *p, rrt_error *err)
{
    float *copy;
    RRT__TRY(rrt__alloc(&copy, rrt__parameter_count(p), sizeof(float), "a copy of a tensor", err));
    unpermute_heads(p->values, copy, p->rows, p->columns, load->model->shape.head_dim);
    rrt__free(copy);
    return RRT_STATUS_OK;
}

// Q, K or V out of one tensor [heads, 3, head_dim, hidden] (or a bias without the last).
static rrt_status read_fused(const loader *load, const rrt__parameter *p, const char *name, rrt_error *err)
{
    const rrt__shape *shape = &load->model->shape;
    const rrt__tensor *tensor;
    size_t columns = p->columns ? p->columns : 1;
    float *fused;
    RRT__TRY(find(load, name, &tensor, err));
    RRT__TRY(rrt__alloc(&fused, 3 * p->rows * columns, sizeof(float), "a fused tensor", err));
    rrt_status status = rrt__tensor_read(tensor, 3 * p->rows, p->columns, fused, err);
    size_t head_values = shape->head_dim * columns;
    for (size_t h = 0; !status && h < shape->heads; h++)
        memcpy(p->values + h * head_values, fused + (3 * h + (size_t)p->matrix) * head_values,
               head_values * sizeof(float));
    rrt__free(fused);
    return status;
}

static rrt_status load_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    loader *load = user;
    const rrt__tensor *tensor;
    char name[256];
    const rrt__family *family = load->model->family;
    if (rrt__parameter_is_fused(p, load->names, name)) {
        RRT__TRY(read_fused(load, p, name, err));
    } else {
        RRT__TRY(find(load, p->name, &tensor, err));
        RRT__TRY(rrt__tensor_read(tensor, p->rows, p->columns, p->values, err));
        bool is_qk = p->matrix == RRT__MATRIX_Q || p->matrix == RRT__MATRIX_K;
        if (load->is_gguf && family->pairs_rope_in_gguf && is_qk) RRT__TRY(read_permuted(load, p, err));
    }
    bool above_one = !load->is_gguf && family->gains_are_above_one && p->kind == RRT__PARAMETER_NORM;
    for (size_t i = 0; above_one && i < p->rows; i++) p->values[i] += 1;
    load->done += (double)rrt__parameter_count(p);
    return rrt__progress_report(load->progress, "load", load->done, load->total, err);
}

// Every LoRA that the table holds; its A tells the rank.
static rrt_status add_loras(loader *load, rrt_error *err)
{
    rrt_model *model = load->model;
    for (int d = 0; d < model->plan.n_depths; d++) {
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            char name[128];
            if (!rrt__family_has(model->family, m)) continue;
            snprintf(name, sizeof name, "rrt.depths.%d.%s.lora_A.weight", d, load->names->matrices[m]);
            const rrt__tensor *a = rrt__tensor_table_find(load->table, name);
            if (!a) continue;
            const rrt__linear *linear = &model->slots[model->plan.slot[d]].matrix[m];
            // A that is as wide as the matrix: what is allocated for it is then really in the file.
            size_t rank = a->n_dims == 2 && a->shape[1] == linear->in ? a->shape[0] : 0;
            rrt_status status = rrt__model_add_lora(model, d, m, rank, err);
            if (status) return rrt__at(err, status, "tensor '%s'", name);
            load->total += (double)rank * (double)(linear->in + linear->out);
        }
    }
    return RRT_STATUS_OK;
}

// A config may promise any size: no memory is taken before the files are known to hold that much.
static rrt_status check_size(const rrt__config *config, const rrt__tensor_table *table, uint64_t *promised,
                             rrt_error *err)
{
    uint64_t held = 0;
    for (size_t i = 0; i < table->count; i++) {
        size_t count;
        if (rrt__tensor_count(&table->tensors[i], &count)) held += count;
    }
    *promised = rrt__shape_parameters(config->family, &config->shape, &config->plan, config->norms);
    if (config->has_gates) *promised += (uint64_t)(config->plan.loops - 1) * (config->shape.hidden + 1);
    if (*promised <= held) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_MISMATCH,
                  "the configuration describes %llu parameters, but the weight files hold only %llu",
                  (unsigned long long)*promised, (unsigned long long)held);
    return rrt__hint(err, status, "configuration and weights are of different models, or a file is missing");
}

rrt_status rrt__config_apply(rrt_model *model, const rrt__config *config, rrt_error *err)
{
    model->shares_kv = config->shares_kv;
    for (int d = 0; d < config->plan.n_depths; d++) model->depths[d].attention = config->attention[d];
    return config->has_gates ? rrt__model_add_gates(model, err) : RRT_STATUS_OK;
}

rrt_status rrt__config_create(rrt_model **out, const rrt__config *config, rrt_error *err)
{
    *out = NULL;
    RRT__TRY(rrt__model_create(out, config->family, &config->shape, &config->plan, config->norms, err));
    rrt_status status = rrt__config_apply(*out, config, err);
    if (status) {
        rrt_model_close(*out);
        *out = NULL;
    }
    return status;
}

rrt_status rrt__model_load(rrt_model **out, const rrt__config *config, const rrt__tensor_table *table,
                           const rrt__names *names, const rrt_progress *progress, rrt_error *err)
{
    uint64_t promised;
    *out = NULL;
    RRT__TRY(check_size(config, table, &promised, err));
    RRT__TRY(rrt__config_create(out, config, err));
    loader load = {*out, table, names, names == &config->family->gguf, progress, 0, (double)promised};
    rrt_status status = add_loras(&load, err);
    if (!status) status = rrt__model_each_parameter(*out, names, load_one, &load, err);
    if (status) {
        rrt_model_close(*out);
        *out = NULL;
    }
    return status;
}
