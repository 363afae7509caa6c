#include "model/parameters.h"

#include <stdio.h>
#include <string.h>

#include "tokenizer/tokenizer.h"

typedef struct walk {
    const rrt_model *model;
    const rrt__names *names;
    rrt__parameter_visit visit;
    void *user;
    rrt_error *err;
} walk;

static rrt_status visit(const walk *w, rrt__parameter parameter, const char *prefix, int index,
                        const char *middle, const char *suffix)
{
    char *name = parameter.name;
    if (index < 0)
        snprintf(name, sizeof parameter.name, "%s.%s", middle, suffix);
    else
        snprintf(name, sizeof parameter.name, "%s%d.%s.%s", prefix, index, middle, suffix);
    return w->visit(w->user, &parameter, w->err);
}

static rrt_status visit_norm(const walk *w, const rrt__norm *norm, const char *prefix, int index,
                             const char *name)
{
    if (!norm->gain || w->model->family->norms_have_no_weight) return RRT_STATUS_OK;
    rrt__parameter p = {.kind = RRT__PARAMETER_NORM, .matrix = -1, .rows = norm->width, .values = norm->gain};
    RRT__TRY(visit(w, p, prefix, index, name, "weight"));
    p.values = norm->bias;
    return p.values ? visit(w, p, prefix, index, name, "bias") : RRT_STATUS_OK;
}

// The vectors of one depth, named under a slot or under the depth itself.
static rrt_status visit_vectors(const walk *w, int depth, const char *prefix, int index, bool in_slot)
{
    const rrt__depth *held = &w->model->depths[depth];
    const rrt__slot *slot = &w->model->slots[w->model->plan.slot[depth]];
    for (int i = 0; i < RRT__NORM_COUNT; i++)
        RRT__TRY(visit_norm(w, &held->norm[i], prefix, index, w->names->norms[i]));
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        if (!held->bias[m]) continue;
        rrt__parameter p = {.kind = RRT__PARAMETER_SHARED,
                            .matrix = in_slot ? m : -1,
                            .rows = slot->matrix[m].out,
                            .values = held->bias[m]};
        RRT__TRY(visit(w, p, prefix, index, w->names->matrices[m], "bias"));
    }
    return RRT_STATUS_OK;
}

static rrt__parameter matrix_of(rrt__parameter_kind kind, rrt__linear *linear)
{
    return (rrt__parameter){.kind = kind,
                            .matrix = -1,
                            .rows = linear->out,
                            .columns = linear->in,
                            .values = linear->storage == RRT__STORAGE_F32 ? linear->weight : NULL,
                            .linear = linear};
}

static rrt_status visit_slot(const walk *w, int s)
{
    // Matrices of one tensor follow each other, as they do in it.
    static const rrt__matrix order[RRT__MATRIX_COUNT] = {
        RRT__MATRIX_ATTENTION_GATE, RRT__MATRIX_Q,  RRT__MATRIX_K,   RRT__MATRIX_V, RRT__MATRIX_O,
        RRT__MATRIX_GATE,           RRT__MATRIX_UP, RRT__MATRIX_DOWN};
    int uses = 0, low = w->names->high_layers ? rrt__plan_stack_layers(&w->model->plan) : s + 1;
    const char *prefix = s < low ? w->names->layers : w->names->high_layers;
    int index = s < low ? s : s - low;
    for (int d = 0; d < w->model->plan.n_depths; d++) uses += w->model->plan.slot[d] == s;
    for (int i = 0; i < RRT__MATRIX_COUNT; i++) {
        rrt__matrix m = order[i];
        if (!rrt__family_has(w->model->family, m)) continue;
        rrt__parameter p = matrix_of(RRT__PARAMETER_SHARED, &w->model->slots[s].matrix[m]);
        p.matrix = m;
        p.uses = uses;
        RRT__TRY(visit(w, p, prefix, index, w->names->matrices[m], "weight"));
    }
    if (rrt__model_owns_vectors(w->model)) return RRT_STATUS_OK;
    return visit_vectors(w, rrt__model_first_depth(w->model, s), prefix, index, true);
}

static rrt_status visit_depth(const walk *w, int d)
{
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        rrt__lora *lora = &w->model->depths[d].lora[m];
        if (!lora->rank) continue;
        rrt__parameter a = matrix_of(RRT__PARAMETER_LORA, &lora->a),
                       b = matrix_of(RRT__PARAMETER_LORA, &lora->b);
        RRT__TRY(visit(w, a, "rrt.depths.", d, w->names->matrices[m], "lora_A.weight"));
        RRT__TRY(visit(w, b, "rrt.depths.", d, w->names->matrices[m], "lora_B.weight"));
    }
    return rrt__model_owns_vectors(w->model) ? visit_vectors(w, d, "rrt.depths.", d, false) : RRT_STATUS_OK;
}

static rrt_status visit_gate(const walk *w, const rrt__gate *gate, const char *name, bool is_row)
{
    rrt__parameter weight = {.kind = RRT__PARAMETER_GATE,
                             .matrix = -1,
                             .rows = w->model->shape.hidden,
                             .is_row = is_row,
                             .values = gate->weight};
    rrt__parameter bias = {.kind = RRT__PARAMETER_GATE, .matrix = -1, .rows = 1, .values = gate->bias};
    RRT__TRY(visit(w, weight, "", -1, name, "weight"));
    return visit(w, bias, "", -1, name, "bias");
}

static rrt_status visit_gates(const walk *w)
{
    if (w->model->gates && w->names->gate) return visit_gate(w, w->model->gates, w->names->gate, true);
    for (int n = 0; w->model->gates && n < w->model->plan.loops - 1; n++) {
        char name[32];
        snprintf(name, sizeof name, "rrt.gates.%d", n);
        RRT__TRY(visit_gate(w, &w->model->gates[n], name, false));
    }
    return RRT_STATUS_OK;
}

static rrt_status visit_low_start(const walk *w)
{
    if (!w->model->low_start) return RRT_STATUS_OK;
    rrt__parameter p = {.kind = RRT__PARAMETER_EMBEDDING,
                        .matrix = -1,
                        .rows = w->model->shape.hidden,
                        .values = w->model->low_start};
    snprintf(p.name, sizeof p.name, "%s", w->names->low_start);
    return w->visit(w->user, &p, w->err);
}

rrt_status rrt__model_each_parameter(const rrt_model *model, const rrt__names *names,
                                     rrt__parameter_visit function, void *user, rrt_error *err)
{
    walk w = {model, names, function, user, err};
    RRT__TRY(
        visit(&w, matrix_of(RRT__PARAMETER_EMBEDDING, model->embedding), "", -1, names->embedding, "weight"));
    RRT__TRY(visit_low_start(&w));
    for (int s = 0; s < model->plan.n_slots; s++) RRT__TRY(visit_slot(&w, s));
    for (int d = 0; d < model->plan.n_depths; d++) RRT__TRY(visit_depth(&w, d));
    RRT__TRY(visit_gates(&w));
    RRT__TRY(visit_norm(&w, &model->final_norm, "", -1, names->final_norm));
    if (model->shape.tied_head) return RRT_STATUS_OK;
    return visit(&w, matrix_of(RRT__PARAMETER_EMBEDDING, model->head), "", -1, names->head, "weight");
}

uint64_t rrt__shape_parameters(const rrt__family *family, const rrt__shape *shape, const rrt__plan *plan,
                               rrt__norms_mode norms)
{
    uint64_t weights = 0, biases = 0;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        if (!rrt__family_has(family, m)) continue;
        rrt__shape_matrix(shape, m, &out, &in);
        weights += (uint64_t)out * in;
        biases += shape->has_bias[m] ? out : 0;
    }
    uint64_t vectors = family->norm == RRT__NORM_LAYER ? 2 : 1, norms_of_block = 0;
    for (int i = 0; i < RRT__NORM_COUNT; i++)
        if (rrt__family_has_norm(family, i) && !family->norms_have_no_weight)
            norms_of_block += vectors * rrt__shape_norm(family, shape, i);
    uint64_t owners = (uint64_t)(norms == RRT__NORMS_TIED ? plan->n_slots : plan->n_depths);
    return (uint64_t)shape->vocab * shape->hidden * (shape->tied_head ? 1 : 2) +
           weights * (uint64_t)plan->n_slots + (biases + norms_of_block) * owners +
           (family->norms_have_no_weight ? 1 : vectors) *
               shape->hidden; // the final norm, or the low stack's start
}

double rrt__shape_layer_operations(const rrt__family *family, const rrt__shape *shape, double window)
{
    double sum = 2 * window * (double)(shape->heads * shape->head_dim); // scores and values
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        if (!rrt__family_has(family, m)) continue;
        rrt__shape_matrix(shape, m, &out, &in);
        sum += 2 * (double)out * (double)in;
    }
    return sum;
}

uint64_t rrt__shape_lora_parameters(const rrt__family *family, const rrt__shape *shape, const rrt__plan *plan,
                                    size_t rank)
{
    uint64_t per_depth = 0;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        size_t out, in;
        if (!rrt__family_has(family, m)) continue;
        rrt__shape_matrix(shape, m, &out, &in);
        size_t max_rank = out < in ? out : in;
        per_depth += (uint64_t)(rank < max_rank ? rank : max_rank) * (out + in);
    }
    // With one loop every slot is used once: there is no LoRA.
    return plan->loops > 1 ? per_depth * (uint64_t)(plan->loops * plan->layers_per_block) : 0;
}

static rrt_status count_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    (void)err;
    uint64_t *counts = user;
    counts[p->kind] += rrt__parameter_count(p);
    return RRT_STATUS_OK;
}

void rrt_model_describe(const rrt_model *model, rrt_model_info *info)
{
    const rrt__plan *plan = &model->plan;
    const rrt__shape *shape = &model->shape;
    uint64_t counts[RRT__PARAMETER_KIND_COUNT] = {0};
    rrt__model_each_parameter(model, &model->family->hf, count_one, counts, NULL);
    uint64_t body = counts[RRT__PARAMETER_SHARED] + counts[RRT__PARAMETER_LORA] + counts[RRT__PARAMETER_NORM];
    *info = (rrt_model_info){
        .family = model->family->name,
        .sharing = rrt__sharing_name(plan->sharing),
        .norms = rrt__norms_name(model->norms),
        .kv = model->kv_window   ? "last"
              : model->shares_kv ? "shared"
                                 : "per-depth",
        .kv_window = model->kv_window > 1 ? model->kv_window : 0,
        .layers = plan->n_depths,
        .loops = plan->loops,
        .trained_loops = model->trained_loops ? model->trained_loops : plan->loops,
        .loop_norm = plan->norms_loops,
        .exit_threshold = model->exit_threshold,
        .prefix_lm = model->prefix_lm,
        .layers_per_block = plan->layers_per_block,
        .prelude = plan->prelude,
        .coda = plan->coda,
        .hidden = (int)shape->hidden,
        .heads = (int)shape->heads,
        .kv_heads = (int)shape->kv_heads,
        .head_dim = (int)shape->head_dim,
        .ffn = (int)shape->ffn,
        .vocab = (int)shape->vocab,
        .context = (int)shape->context,
        .params_total = body + counts[RRT__PARAMETER_EMBEDDING] + counts[RRT__PARAMETER_GATE],
        .params_body = body,
        .params_embedding = counts[RRT__PARAMETER_EMBEDDING],
        .params_shared = counts[RRT__PARAMETER_SHARED],
        .params_lora = counts[RRT__PARAMETER_LORA],
        .params_norm = counts[RRT__PARAMETER_NORM],
        .params_gate = counts[RRT__PARAMETER_GATE],
        .file_bytes = model->file_bytes,
        .name = model->name,
        .tokenizer = model->tokenizer ? rrt_tokenizer_kind(model->tokenizer) : NULL,
        .has_chat_template = model->tokenizer && rrt__tokenizer_chat_template(model->tokenizer),
    };
}

bool rrt__parameter_is_fused(const rrt__parameter *p, const rrt__names *names, const rrt__shape *shape,
                             rrt__fused *fused)
{
    bool is_gate = p->matrix == RRT__MATRIX_ATTENTION_GATE;
    bool qkv = is_gate || (p->matrix >= RRT__MATRIX_Q && p->matrix <= RRT__MATRIX_V);
    bool mlp = p->matrix == RRT__MATRIX_GATE || p->matrix == RRT__MATRIX_UP;
    const char *whole = qkv ? names->fused_qkv : mlp ? names->fused_mlp : NULL;
    if (!whole) return false;
    size_t q = shape->heads * shape->head_dim, kv = shape->kv_heads * shape->head_dim,
           gate = names->matrices[RRT__MATRIX_ATTENTION_GATE] ? q : 0;
    const size_t begin[RRT__MATRIX_COUNT] = {[RRT__MATRIX_Q] = gate,
                                             [RRT__MATRIX_K] = gate + q,
                                             [RRT__MATRIX_V] = gate + q + kv,
                                             [RRT__MATRIX_UP] = shape->ffn};
    *fused = (rrt__fused){.rows = qkv ? gate + q + 2 * kv : 2 * shape->ffn,
                          .first = begin[p->matrix],
                          .run = p->rows,
                          .is_first = begin[p->matrix] == 0};
    if (qkv && names->qkv_fusion == RRT__FUSION_INTERLEAVED) {
        fused->first = (size_t)(p->matrix - RRT__MATRIX_Q) * shape->head_dim;
        fused->run = shape->head_dim;
        fused->stride = 3 * shape->head_dim;
    }
    const char *end = strstr(p->name, names->matrices[p->matrix]);
    snprintf(fused->name, sizeof fused->name, "%.*s%s.%s", (int)(end - p->name), p->name, whole,
             p->columns ? "weight" : "bias");
    return true;
}
