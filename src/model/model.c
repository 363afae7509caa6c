#include "model/model.h"

#include <string.h>

#include "tokenizer/tokenizer.h"

static const char *const norms_names[] = {"tied", "per-depth", "folded"};

const char *rrt__norms_name(rrt__norms_mode norms)
{
    return norms_names[norms];
}

rrt_status rrt__norms_parse(rrt__norms_mode *norms, const char *name, rrt_error *err)
{
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, norms_names[i]) != 0) continue;
        *norms = (rrt__norms_mode)i;
        return RRT_STATUS_OK;
    }
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "norms '%s' is not known: tied, per-depth or folded", name);
}

void rrt__shape_matrix(const rrt__shape *shape, rrt__matrix matrix, size_t *out, size_t *in)
{
    size_t q = shape->heads * shape->head_dim, kv = shape->kv_heads * shape->head_dim;
    const size_t shapes[RRT__MATRIX_COUNT][2] = {
        [RRT__MATRIX_Q] = {q, shape->hidden},
        [RRT__MATRIX_K] = {kv, shape->hidden},
        [RRT__MATRIX_V] = {kv, shape->hidden},
        [RRT__MATRIX_O] = {shape->hidden, q},
        [RRT__MATRIX_GATE] = {shape->ffn, shape->hidden},
        [RRT__MATRIX_UP] = {shape->ffn, shape->hidden},
        [RRT__MATRIX_DOWN] = {shape->hidden, shape->ffn},
        [RRT__MATRIX_ATTENTION_GATE] = {q, shape->hidden},
    };
    *out = shapes[matrix][0];
    *in = shapes[matrix][1];
}

size_t rrt__shape_norm(const rrt__family *family, const rrt__shape *shape, rrt__norm_place place)
{
    if (place != RRT__NORM_Q && place != RRT__NORM_K) return shape->hidden;
    size_t heads = place == RRT__NORM_Q ? shape->heads : shape->kv_heads;
    return family->norms_whole_rows ? heads * shape->head_dim : shape->head_dim;
}

bool rrt__model_owns_vectors(const rrt_model *model)
{
    return model->norms != RRT__NORMS_TIED;
}

bool rrt__model_has_lora(const rrt_model *model)
{
    for (int i = 0; i < model->plan.n_depths * RRT__MATRIX_COUNT; i++)
        if (model->depths[i / RRT__MATRIX_COUNT].lora[i % RRT__MATRIX_COUNT].rank) return true;
    return false;
}

int rrt__model_first_depth(const rrt_model *model, int slot)
{
    int depth = 0;
    while (model->plan.slot[depth] != slot) depth++;
    return depth;
}

static rrt_status create_matrix(rrt_model *model, rrt__linear *linear, size_t out, size_t in,
                                const char *what, rrt_error *err)
{
    size_t count;
    linear->out = out;
    linear->in = in;
    if (!rrt__size_mul(out, in, &count))
        return rrt__fail(err, RRT_STATUS_FORMAT, "%s is too large: %zu x %zu", what, out, in);
    if (model->matrices != RRT__MATRICES_F32) return RRT_STATUS_OK;
    return rrt__arena_alloc(&model->arena, &linear->weight, count, sizeof(float), what, err);
}

static rrt_status create_norm(rrt_model *model, rrt__norm *norm, rrt_error *err)
{
    RRT__TRY(rrt__arena_alloc(&model->arena, &norm->gain, norm->width, sizeof(float), "a norm", err));
    if (model->family->norm == RRT__NORM_LAYER)
        RRT__TRY(rrt__arena_alloc(&model->arena, &norm->bias, norm->width, sizeof(float), "a norm", err));
    for (size_t i = 0; i < norm->width && model->family->norms_have_no_weight; i++) norm->gain[i] = 1;
    return RRT_STATUS_OK;
}

// Sets the fields of a depth that follow from its position.
static void place_depth(rrt_model *model, int d)
{
    rrt__depth *depth = &model->depths[d];
    depth->kv = d;
    depth->entry = rrt__plan_entry(&model->plan, d);
}

static rrt_status create_depth(rrt_model *model, int d, rrt_error *err)
{
    rrt__depth *depth = &model->depths[d];
    int first = rrt__model_first_depth(model, model->plan.slot[d]);
    if (first < d && !rrt__model_owns_vectors(model)) {
        *depth = model->depths[first]; // copies the pointers to the vectors; LoRA is added later
        place_depth(model, d);
        return RRT_STATUS_OK;
    }
    depth->slot = &model->slots[model->plan.slot[d]];
    place_depth(model, d);
    for (int i = 0; i < RRT__NORM_COUNT; i++) {
        depth->norm[i].width = rrt__shape_norm(model->family, &model->shape, i);
        if (rrt__family_has_norm(model->family, i)) RRT__TRY(create_norm(model, &depth->norm[i], err));
    }
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        if (!model->shape.has_bias[m]) continue;
        size_t out = depth->slot->matrix[m].out;
        RRT__TRY(rrt__arena_alloc(&model->arena, &depth->bias[m], out, sizeof(float), "a bias", err));
    }
    return RRT_STATUS_OK;
}

static rrt_status allocate(rrt_model *model, rrt_error *err)
{
    const rrt__shape *shape = &model->shape;
    rrt__arena *arena = &model->arena;
    RRT__TRY(rrt__arena_alloc(arena, &model->slots, (size_t)model->plan.n_slots, sizeof *model->slots,
                              "slots", err));
    RRT__TRY(rrt__arena_alloc(arena, &model->depths, (size_t)model->plan.n_depths, sizeof *model->depths,
                              "depths", err));
    RRT__TRY(rrt__arena_alloc(arena, &model->embedding, 2, sizeof *model->embedding, "slots", err));
    model->head = model->embedding + (shape->tied_head ? 0 : 1);
    RRT__TRY(create_matrix(model, model->embedding, shape->vocab, shape->hidden, "the embedding", err));
    if (!shape->tied_head)
        RRT__TRY(create_matrix(model, model->head, shape->vocab, shape->hidden, "the head", err));
    for (int s = 0; s < model->plan.n_slots; s++) {
        for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
            if (!rrt__family_has(model->family, m)) continue;
            size_t out, in;
            rrt__shape_matrix(shape, m, &out, &in);
            RRT__TRY(create_matrix(model, &model->slots[s].matrix[m], out, in, "a weight matrix", err));
        }
    }
    for (int d = 0; d < model->plan.n_depths; d++) RRT__TRY(create_depth(model, d, err));
    if (model->plan.sharing == RRT__SHARING_STACKS)
        RRT__TRY(rrt__arena_alloc(arena, &model->low_start, shape->hidden, sizeof(float), "a state", err));
    model->final_norm.width = shape->hidden;
    return create_norm(model, &model->final_norm, err);
}

static rrt_status create(rrt_model **out, const rrt_model *like, rrt_error *err)
{
    RRT__TRY(rrt__alloc(out, 1, sizeof **out, "a model", err));
    **out = *like;
    rrt_status status = allocate(*out, err);
    if (status) {
        rrt_model_close(*out);
        *out = NULL;
    }
    return status;
}

rrt_status rrt__model_create_stored(rrt_model **out, const rrt__family *family, const rrt__shape *shape,
                                    const rrt__plan *plan, rrt__norms_mode norms, rrt__matrices matrices,
                                    rrt_error *err)
{
    const rrt_model like = {.family = family,
                            .shape = *shape,
                            .plan = *plan,
                            .norms = norms,
                            .matrices = matrices,
                            .exit_threshold = 1};
    return create(out, &like, err);
}

rrt_status rrt__model_allocate(rrt_model **out, const rrt__family *family, const rrt__shape *shape,
                               const rrt__plan *plan, rrt__norms_mode norms, rrt_error *err)
{
    return rrt__model_create_stored(out, family, shape, plan, norms, RRT__MATRICES_F32, err);
}

rrt_status rrt__model_check_in_memory(const rrt_model *model, rrt_error *err)
{
    if (model->matrices != RRT__MATRICES_DEFERRED) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                  "the model's matrices were left in their files: it cannot run");
    return rrt__hint(err, status, "open it with rrt_model_open, or read them in (rrt_model_unpack)");
}

rrt_status rrt__model_check_f32(const rrt_model *model, const char *what, rrt_error *err)
{
    RRT__TRY(rrt__model_check_in_memory(model, err));
    if (model->matrices == RRT__MATRICES_F32) return RRT_STATUS_OK;
    rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                  "the model's matrices are as they were stored: %s needs f32 weights", what);
    return rrt__hint(err, status, "make it f32 (rrt_model_unpack)");
}

rrt_status rrt__model_declare_lora(rrt_model *model, int depth, rrt__matrix matrix, size_t rank,
                                   rrt_error *err)
{
    const rrt__linear *linear = &model->depths[depth].slot->matrix[matrix];
    int kv = model->depths[depth].kv;
    size_t max_rank = linear->out < linear->in ? linear->out : linear->in;
    if (rank < 1 || rank > max_rank)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a LoRA of rank %zu on %s at depth %d: 1 to %zu is possible", rank,
                         rrt__matrix_name(matrix), depth, max_rank);
    bool is_kv = matrix == RRT__MATRIX_K || matrix == RRT__MATRIX_V;
    if (is_kv && kv != depth)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "a LoRA on %s at depth %d, which reads the keys and values of depth %d",
                         rrt__matrix_name(matrix), depth, kv);
    model->depths[depth].lora[matrix] = (rrt__lora){
        .a = {.out = rank, .in = linear->in}, .b = {.out = linear->out, .in = rank}, .rank = rank};
    return RRT_STATUS_OK;
}

rrt_status rrt__model_add_lora(rrt_model *model, int depth, rrt__matrix matrix, size_t rank, rrt_error *err)
{
    rrt__lora *lora = &model->depths[depth].lora[matrix];
    RRT__TRY(rrt__model_declare_lora(model, depth, matrix, rank, err));
    RRT__TRY(rrt__arena_alloc(&model->arena, &lora->a.weight, lora->a.out * lora->a.in, sizeof(float),
                              "LoRA A", err));
    return rrt__arena_alloc(&model->arena, &lora->b.weight, lora->b.out * lora->b.in, sizeof(float), "LoRA B",
                            err);
}

rrt_status rrt__model_share_kv(rrt_model *model, rrt_error *err)
{
    const rrt__plan *plan = &model->plan;
    if (!rrt__plan_has_boundary(plan))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "loops share keys and values: the plan (sharing: %s, %d loops) has none that could",
                         rrt__sharing_name(plan->sharing), plan->loops);
    model->shares_kv = true;
    for (int d = rrt__plan_loop(plan, 2).begin; d < rrt__plan_loop(plan, plan->loops).end; d++) {
        model->depths[d].kv = model->depths[d - plan->layers_per_block].kv;
        model->depths[d].lora[RRT__MATRIX_K] = model->depths[d].lora[RRT__MATRIX_V] = (rrt__lora){0};
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__model_add_gates(rrt_model *model, rrt_error *err)
{
    rrt__arena *arena = &model->arena;
    rrt__gate *gates;
    size_t count = (size_t)model->plan.loops - 1;
    if (!rrt__plan_has_boundary(&model->plan))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "gates stand at loop boundaries: the plan (sharing: %s, %d loops) has none",
                         rrt__sharing_name(model->plan.sharing), model->plan.loops);
    RRT__TRY(rrt__arena_alloc(arena, &gates, count, sizeof *gates, "gates", err));
    for (size_t i = 0; i < count; i++) {
        gates[i] = gates[0];
        if (i > 0 && rrt__family_has_cumulative_gate(model->family)) continue;
        RRT__TRY(
            rrt__arena_alloc(arena, &gates[i].weight, model->shape.hidden, sizeof(float), "a gate", err));
        RRT__TRY(rrt__arena_alloc(arena, &gates[i].bias, 1, sizeof(float), "a gate", err));
    }
    model->gates = gates;
    return RRT_STATUS_OK;
}

rrt_status rrt__model_create_like(rrt_model **out, const rrt_model *model, rrt_error *err)
{
    RRT__TRY(rrt__model_allocate(out, model->family, &model->shape, &model->plan, model->norms, err));
    (*out)->shares_kv = model->shares_kv;
    for (int d = 0; d < model->plan.n_depths; d++) {
        (*out)->depths[d].attention = model->depths[d].attention;
        (*out)->depths[d].kv = model->depths[d].kv;
    }
    rrt_status status = model->gates ? rrt__model_add_gates(*out, err) : RRT_STATUS_OK;
    for (int i = 0; !status && i < model->plan.n_depths * RRT__MATRIX_COUNT; i++) {
        int d = i / RRT__MATRIX_COUNT, m = i % RRT__MATRIX_COUNT;
        size_t rank = model->depths[d].lora[m].rank;
        if (rank) status = rrt__model_add_lora(*out, d, m, rank, err);
    }
    if (status) {
        rrt_model_close(*out);
        *out = NULL;
    }
    return status;
}

rrt_status rrt__model_check_vocabulary(const rrt_model *a, const rrt_model *b, rrt_error *err)
{
    bool same_size = a->shape.vocab == b->shape.vocab;
    if (!same_size && (!a->tokenizer || !b->tokenizer))
        return rrt__fail(
            err, RRT_STATUS_MISMATCH,
            "the models have different vocabularies: %zu and %zu tokens, and not both a tokenizer "
            "to tell whether one only has rows to spare",
            a->shape.vocab, b->shape.vocab);
    return rrt__tokenizer_check_same(a->tokenizer, b->tokenizer, err);
}

size_t rrt__model_common_rows(const rrt_model *a, const rrt_model *b)
{
    return !b || a->shape.vocab < b->shape.vocab ? a->shape.vocab : b->shape.vocab;
}

void rrt_model_close(rrt_model *model)
{
    if (!model) return;
    rrt_tokenizer_close(model->tokenizer);
    rrt__arena_free(&model->arena);
    rrt__gguf_close(model->file);
    rrt__safetensors_close(model->folder);
    rrt_model_close(model->base);
    rrt__free(model);
}

const rrt_tokenizer *rrt_model_tokenizer(const rrt_model *model)
{
    return model->tokenizer;
}

rrt_status rrt_model_check_tokenizer(const rrt_model *model, rrt_error *err)
{
    if (model->tokenizer) return RRT_STATUS_OK;
    if (!model->no_tokenizer.status)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "the model has no tokenizer: its folder lacks tokenizer.json and tokenizer.model");
    if (err) *err = model->no_tokenizer;
    return model->no_tokenizer.status;
}
