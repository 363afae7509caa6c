#include "checkpoint/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint/stored.h"
#include "model/parameters.h"

typedef struct loader {
    rrt_model *model;
    const rrt__tensor_table *table;
    const rrt__names *names;
    bool is_gguf;
    bool *taken; // [table->count]: tensors that were used
} loader;

// Alternative names in Hugging Face folders: of a text model within a wrapper, in old and new versions of
// transformers, and of a head under transformers' name in memory.
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

// Finds the tensor that holds a parameter, and the rows in it. GGUF stores the pairs (i, i + head_dim/2) of
// Llama's heads side by side.
static rrt_status locate(const loader *load, const rrt__parameter *p, rrt__stored *out, rrt_error *err)
{
    const rrt_model *model = load->model;
    rrt__fused fused;
    bool is_qk = p->matrix == RRT__MATRIX_Q || p->matrix == RRT__MATRIX_K;
    *out = (rrt__stored){.columns = p->columns ? p->columns : 1, .block = p->rows};
    if (rrt__parameter_is_fused(p, load->names, &model->shape, &fused)) {
        out->block = fused.run;
        out->stride = fused.stride;
        out->first = fused.first;
        RRT__TRY(find(load, fused.name, &out->tensor, err));
        return rrt__tensor_check_shape(out->tensor, fused.rows, p->columns, err);
    }
    if (load->is_gguf && model->family->pairs_rope_in_gguf && is_qk) {
        out->block = out->stride = model->shape.head_dim;
        out->paired = true;
    }
    RRT__TRY(find(load, p->name, &out->tensor, err));
    if (p->is_row && out->tensor->n_dims == 2) return rrt__tensor_check_shape(out->tensor, 1, p->rows, err);
    return rrt__tensor_check_shape(out->tensor, p->rows, p->columns, err);
}

// Reads vectors and defers matrices.
static rrt_status load_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    const loader *load = user;
    rrt__stored found, *kept;
    RRT__TRY(locate(load, p, &found, err));
    if (p->columns) {
        RRT__TRY(rrt__arena_alloc(&load->model->arena, &kept, 1, sizeof *kept, "a matrix's place", err));
        *kept = found;
        p->linear->from = rrt__stored_rows(kept);
        return RRT_STATUS_OK;
    }
    RRT__TRY(rrt__stored_read(&found, 0, p->rows, p->values, err));
    bool above_one =
        !load->is_gguf && load->model->family->gain_is_one_plus_weight && p->kind == RRT__PARAMETER_NORM;
    for (size_t i = 0; above_one && i < p->rows; i++) p->values[i] += 1;
    return RRT_STATUS_OK;
}

// Tensors that do not affect the result: those that old versions of transformers stored with the weights, the
// vision parts of a wrapper, and the rotation's divisors, which the configuration has read.
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
        if (rrt__path_ends_with(name, ends[i])) return true;
    for (size_t i = 0; !load->is_gguf && i < sizeof begins / sizeof *begins; i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0) return true;
    return false;
}

// With one loop there is nothing to leave.
static bool is_idle_gate(const loader *load, const char *name)
{
    const char *gate = load->names->gate;
    return gate && !rrt__plan_has_boundary(&load->model->plan) && strncmp(name, gate, strlen(gate)) == 0;
}

// Refuses unused tensors: they would have changed the result.
static rrt_status check_all_taken(const loader *load, rrt_error *err)
{
    size_t left = 0;
    const rrt__tensor *first = NULL;
    for (size_t i = load->table->count; i-- > 0;) {
        const rrt__tensor *tensor = &load->table->tensors[i];
        if (load->taken[i] || is_harmless(load, tensor->name) || is_idle_gate(load, tensor->name)) continue;
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

// A stored head is used, whatever the configuration says, unless it equals the embedding.
static bool has_own_head(const rrt__tensor_table *table, const rrt__names *names, bool is_gguf)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", names->head);
    const rrt__tensor *head = find_tensor(table, is_gguf, name);
    snprintf(name, sizeof name, "%s.weight", names->embedding);
    const rrt__tensor *embedding = find_tensor(table, is_gguf, name);
    return head && embedding && !rrt__tensor_is_same(head, embedding);
}

void rrt__config_find_gate(rrt__config *config, const rrt__tensor_table *table, const rrt__names *names)
{
    char name[128];
    if (!names->gate || !rrt__plan_has_boundary(&config->plan)) return;
    snprintf(name, sizeof name, "%s.weight", names->gate);
    config->has_gates = rrt__tensor_table_find(table, name) != NULL;
}

// Adds every LoRA of the table; its A gives the rank.
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
            // A must be as wide as the matrix, so that the file really holds what is allocated for it.
            size_t rank = a->n_dims == 2 && a->shape[1] == linear->in ? a->shape[0] : 0;
            rrt_status status = rrt__model_declare_lora(model, d, m, rank, err);
            if (status) return rrt__at(err, status, "tensor '%s'", name);
        }
    }
    return RRT_STATUS_OK;
}

// A config may claim any size: allocates only after checking that the files hold that much.
static rrt_status check_size(const rrt__config *config, const rrt__tensor_table *table, rrt_error *err)
{
    uint64_t held = 0;
    for (size_t i = 0; i < table->count; i++) {
        size_t count;
        if (rrt__tensor_count(&table->tensors[i], &count)) held += count;
    }
    uint64_t claimed = rrt__shape_parameters(config->family, &config->shape, &config->plan, config->norms);
    uint64_t gates = rrt__family_has_cumulative_gate(config->family) ? 1 : (uint64_t)(config->plan.loops - 1);
    if (config->has_gates) claimed += gates * (config->shape.hidden + 1);
    if (claimed <= held) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_MISMATCH,
                  "the configuration describes %llu parameters, but the weight files hold only %llu",
                  (unsigned long long)claimed, (unsigned long long)held);
    return rrt__hint(err, status, "configuration and weights are of different models, or a file is missing");
}

rrt_status rrt__config_apply(rrt_model *model, const rrt__config *config, rrt_error *err)
{
    if (config->shares_kv) RRT__TRY(rrt__model_share_kv(model, err));
    for (int d = 0; d < config->plan.n_depths; d++) model->depths[d].attention = config->attention[d];
    model->exit_threshold = config->exit_threshold;
    model->prefix_lm = config->prefix_lm;
    return config->has_gates ? rrt__model_add_gates(model, err) : RRT_STATUS_OK;
}

rrt_status rrt__config_create(rrt_model **out, const rrt__config *config, rrt__matrices matrices,
                              rrt_error *err)
{
    *out = NULL;
    RRT__TRY(rrt__model_create_stored(out, config->family, &config->shape, &config->plan, config->norms,
                                      matrices, err));
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
                           const rrt__names *names, rrt_error *err)
{
    rrt__config own = *config;
    bool is_gguf = names == &config->family->gguf;
    loader load = {NULL, table, names, is_gguf, NULL};
    rrt_status status;
    *out = NULL;
    if (own.shape.tied_head && has_own_head(table, names, is_gguf)) own.shape.tied_head = false;
    rrt__config_find_gate(&own, table, names);
    RRT__GOTO(check_size(&own, table, err));
    RRT__GOTO(rrt__alloc(&load.taken, table->count, sizeof *load.taken, "a table of tensors", err));
    RRT__GOTO(rrt__config_create(out, &own, RRT__MATRICES_DEFERRED, err));
    load.model = *out;
    RRT__GOTO(load_all(&load, err));
done:
    rrt__free(load.taken);
    if (!status) return RRT_STATUS_OK;
    rrt_model_close(*out);
    *out = NULL;
    return status;
}
