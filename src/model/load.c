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
    bool *taken; // [table->count]: tensors that became parameters
    const rrt_progress *progress;
    double done, total; // parameters
} loader;

// Names that a Hugging Face folder may have instead: those of a text model within a wrapper, by old and new
// versions of transformers, and of a head as transformers calls it in memory.
static const struct {
    const char *usual, *other;
} other_names[] = {{"model.", "model.language_model."},
                   {"model.", "language_model.model."},
                   {"lm_head.", "language_model.lm_head."},
                   {"embed_out.", "lm_head."}};

static const rrt__tensor *find_tensor(const rrt__tensor_table *table, bool is_gguf, const char *name)
{
    const rrt__tensor *tensor = rrt__tensor_table_find(table, name);
    for (size_t i = 0; !tensor && !is_gguf && i < sizeof other_names / sizeof *other_names; i++) {
        char other[320];
        size_t length = strlen(other_names[i].usual);
        if (strncmp(name, other_names[i].usual, length) != 0) continue;
        snprintf(other, sizeof other, "%s%s", other_names[i].other, name + length);
        tensor = rrt__tensor_table_find(table, other);
    }
    return tensor;
}

static rrt_status find(const loader *load, const char *name, const rrt__tensor **out, rrt_error *err)
{
    *out = find_tensor(load->table, load->is_gguf, name);
    if (!*out) return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor '%s' is missing", name);
    load->taken[*out - load->table->tensors] = true;
    return RRT_STATUS_OK;
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
    size_t columns = p->columns ? p->columns : 1;
    RRT__TRY(rrt__alloc(&copy, rrt__parameter_count(p), sizeof(float), "a copy of a tensor", err));
    unpermute_heads(p->values, copy, p->rows, columns, load->model->shape.head_dim);
    rrt__free(copy);
    return RRT_STATUS_OK;
}

// The parameter's rows out of a tensor that holds several.
static rrt_status read_fused(const loader *load, const rrt__parameter *p, const rrt__fused *fused,
                             rrt_error *err)
{
    const rrt__tensor *tensor;
    size_t columns = p->columns ? p->columns : 1, run = fused->run * columns;
    float *whole;
    RRT__TRY(find(load, fused->name, &tensor, err));
    RRT__TRY(rrt__alloc(&whole, fused->rows * columns, sizeof(float), "a fused tensor", err));
    rrt_status status = rrt__tensor_read(tensor, fused->rows, p->columns, whole, err);
    for (size_t i = 0; !status && i < p->rows / fused->run; i++)
        memcpy(p->values + i * run, whole + (fused->first + i * fused->stride) * columns,
               run * sizeof(float));
    rrt__free(whole);
    return status;
}

static rrt_status load_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    loader *load = user;
    const rrt__tensor *tensor;
    rrt__fused fused;
    const rrt__family *family = load->model->family;
    if (rrt__parameter_is_fused(p, load->names, &load->model->shape, &fused)) {
        RRT__TRY(read_fused(load, p, &fused, err));
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

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), end_length = strlen(end);
    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

// Tensors that no result depends on: what old versions of transformers stored beside the weights, the parts
// of a wrapper that see pictures, and the rotation's divisors, which the configuration has read.
static bool is_harmless(const loader *load, const char *name)
{
    static const char *const ends[] = {".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias"};
    static const char *const begins[] = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                         "model.multi_modal_projector."};
    static const char *const rotation[] = {RRT__GGUF_ROPE_DIVISORS, RRT__GGUF_ROPE_SHORT,
                                           RRT__GGUF_ROPE_LONG};
    for (size_t i = 0; load->is_gguf && i < sizeof rotation / sizeof *rotation; i++)
        if (strcmp(name, rotation[i]) == 0) return true;
    for (size_t i = 0; !load->is_gguf && i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    for (size_t i = 0; !load->is_gguf && i < sizeof begins / sizeof *begins; i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0) return true;
    return false;
}

// What no parameter took would have changed the result.
static rrt_status check_all_taken(const loader *load, rrt_error *err)
{
    size_t left = 0;
    const rrt__tensor *first = NULL;
    for (size_t i = load->table->count; i-- > 0;) {
        const rrt__tensor *tensor = &load->table->tensors[i];
        if (load->taken[i] || is_harmless(load, tensor->name)) continue;
        first = tensor;
        left++;
    }
    if (!left) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                  "the tensor '%.100s' (one of %zu) is no parameter of a model of '%s' as configured",
                  first->name, left, load->model->family->name);
    return rrt__hint(err, status,
                     "configuration and weights are of different models, or of a variant that is not known");
}

// A head that is stored counts, whatever the configuration says, unless it is the embedding once more.
static bool has_own_head(const rrt__tensor_table *table, const rrt__names *names, bool is_gguf)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", names->head);
    const rrt__tensor *head = find_tensor(table, is_gguf, name);
    snprintf(name, sizeof name, "%s.weight", names->embedding);
    const rrt__tensor *embedding = find_tensor(table, is_gguf, name);
    return head && embedding &&
           (head->dtype != embedding->dtype || head->size_bytes != embedding->size_bytes ||
            memcmp(head->data, embedding->data, head->size_bytes) != 0);
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

static rrt_status load_all(loader *load, rrt_error *err)
{
    char head[128];
    RRT__TRY(add_loras(load, err));
    RRT__TRY(rrt__model_each_parameter(load->model, load->names, load_one, load, err));
    snprintf(head, sizeof head, "%s.weight", load->names->head);
    const rrt__tensor *again = find_tensor(load->table, load->is_gguf, head);
    if (again && load->model->shape.tied_head) load->taken[again - load->table->tensors] = true;
    return check_all_taken(load, err);
}

rrt_status rrt__model_load(rrt_model **out, const rrt__config *config, const rrt__tensor_table *table,
                           const rrt__names *names, const rrt_progress *progress, rrt_error *err)
{
    uint64_t promised;
    rrt__config own = *config;
    bool is_gguf = names == &config->family->gguf;
    loader load = {NULL, table, names, is_gguf, NULL, progress, 0, 0};
    rrt_status status;
    *out = NULL;
    if (has_own_head(table, names, is_gguf)) own.shape.tied_head = false;
    RRT__GOTO(check_size(&own, table, &promised, err));
    load.total = (double)promised;
    RRT__GOTO(rrt__alloc(&load.taken, table->count, sizeof *load.taken, "a table of tensors", err));
    RRT__GOTO(rrt__config_create(out, &own, err));
    load.model = *out;
    RRT__GOTO(load_all(&load, err));
done:
    rrt__free(load.taken);
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    return status;
}
