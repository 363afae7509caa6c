// The metadata of a GGUF export, and the checks for properties that it cannot express.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "export/gguf.h"

// GGUF's divisors of the rotary angles: none, one tensor, or two by the length of the text.
typedef enum divisors { DIVISORS_NONE, DIVISORS_OF_ALL, DIVISORS_BY_LENGTH } divisors;

static divisors divisors_of(const rrt_model *model)
{
    const rrt__rope *rope = &model->shape.rope;
    size_t bytes = model->shape.rotary / 2 * sizeof *rope->short_divisors;
    // llama.cpp has only one yarn ramp.
    bool usual_ramp = rope->fast == 32 && rope->slow == 1 && !rope->exact_ramp;
    if (rope->kind == RRT__ROPE_LLAMA3 || (rope->kind == RRT__ROPE_YARN && !usual_ramp))
        return DIVISORS_OF_ALL;
    if (rope->kind != RRT__ROPE_LONGROPE) return DIVISORS_NONE;
    bool differ = memcmp(rope->short_divisors, rope->long_divisors, bytes) != 0;
    return differ || model->family->only_longrope ? DIVISORS_BY_LENGTH : DIVISORS_OF_ALL;
}

static rrt_status check_rope(const rrt_model *model, rrt_error *err)
{
    rrt__rope_kind kind = model->shape.rope.kind;
    if (kind == RRT__ROPE_DYNAMIC || (divisors_of(model) != DIVISORS_NONE && !model->family->gguf_divisors))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "GGUF files of %s have no way to say the rope scaling '%s'", model->family->name,
                         rrt__rope_name(kind));
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_declare_divisors(rrt__gguf_export *to, rrt_error *err)
{
    const size_t pairs = to->model->shape.rotary / 2;
    divisors kind = divisors_of(to->model);
    if (kind == DIVISORS_NONE) return RRT_STATUS_OK;
    if (kind == DIVISORS_OF_ALL)
        return rrt__gguf_write_tensor(&to->writer, RRT__GGUF_ROPE_DIVISORS, RRT__DTYPE_F32, 1, &pairs, err);
    RRT__TRY(rrt__gguf_write_tensor(&to->writer, RRT__GGUF_ROPE_LONG, RRT__DTYPE_F32, 1, &pairs, err));
    return rrt__gguf_write_tensor(&to->writer, RRT__GGUF_ROPE_SHORT, RRT__DTYPE_F32, 1, &pairs, err);
}

rrt_status rrt__gguf_write_divisors(rrt__gguf_export *to, rrt_error *err)
{
    const rrt__shape *s = &to->model->shape;
    float plain[RRT__ROPE_MAX_PAIRS], by[RRT__ROPE_MAX_PAIRS];
    size_t pairs = s->rotary / 2;
    divisors kind = divisors_of(to->model);
    if (kind == DIVISORS_NONE) return RRT_STATUS_OK;
    if (s->rope.kind != RRT__ROPE_LONGROPE) {
        rrt__rope_plain_frequencies(s->rope.base, s->rotary, plain);
        rrt__rope_frequencies(&s->rope, s->rotary, 0, by);
        for (size_t p = 0; p < pairs; p++) by[p] = plain[p] / by[p];
        return rrt__gguf_write_data(&to->writer, by, pairs * sizeof *by, err);
    }
    if (kind == DIVISORS_BY_LENGTH)
        RRT__TRY(rrt__gguf_write_data(&to->writer, s->rope.long_divisors, pairs * sizeof(float), err));
    return rrt__gguf_write_data(&to->writer, s->rope.short_divisors, pairs * sizeof(float), err);
}

// Checks properties that readers assume for an architecture, because its files do not hold them.
static rrt_status check_layers(const rrt_model *model, rrt_error *err)
{
    const rrt__family *family = model->family;
    rrt__config usual;
    rrt__attention_from_pattern(&usual, model->plan.n_depths, 0, family->nope_pattern);
    bool said = family->window == RRT__WINDOW_PATTERN || family->window == RRT__WINDOW_ALL;
    for (int d = 0; d < model->plan.n_depths; d++) {
        unsigned kind = model->depths[d].attention;
        if ((said ? kind & RRT__ATTENTION_NOPE : kind) == usual.attention[d]) continue;
        return rrt__fail(
            err, RRT_STATUS_UNSUPPORTED,
            "GGUF has no way to say that the layer at depth %d is not as the %s layers' pattern has it", d,
            family->name);
    }
    return RRT_STATUS_OK;
}

static rrt_status check_biases(const rrt_model *model, rrt_error *err)
{
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        rrt__gguf_biases rule = model->family->gguf_biases;
        bool has = model->shape.has_bias[m], can = m <= RRT__MATRIX_V || rule != RRT__GGUF_BIASES_OF_QKV;
        bool has_to = rule == RRT__GGUF_BIASES_NEEDED && rrt__family_has(model->family, m);
        if (has ? can : !has_to) continue;
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "GGUF has no way to say that %s of %s is %s a bias",
                         rrt__matrix_name(m), model->family->name, has ? "with" : "without");
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__gguf_check(const rrt_model *model, rrt_error *err)
{
    const rrt__family *family = model->family;
    const rrt__shape *s = &model->shape;
    double usual = 1 / sqrt((double)s->head_dim);
    RRT__TRY(check_layers(model, err));
    RRT__TRY(check_biases(model, err));
    if (!family->has_multipliers && s->attention_scale != 0 &&
        fabs(s->attention_scale - usual) > 1e-6 * usual)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "GGUF has no way to say that %s multiplies scores by %g, not %g", family->name,
                         s->attention_scale, usual);
    if (!family->partial_rotary && s->rotary != s->head_dim)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "GGUF files of %s rotate whole heads, not %zu of %zu",
                         family->name, s->rotary, s->head_dim);
    if (family->gguf_head == RRT__GGUF_HEAD_IS_TIED && !s->tied_head)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "GGUF files of %s have no head of their own",
                         family->name);
    if (s->rotary / 2 > RRT__ROPE_MAX_PAIRS && divisors_of(model) != DIVISORS_NONE)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a rope scaling of %zu pairs is not supported",
                         s->rotary / 2);
    return check_rope(model, err);
}

rrt_status rrt__gguf_set_size(rrt__gguf_export *to, const char *name, size_t value, rrt_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", to->model->family->gguf_name, name);
    return rrt__gguf_write_u32(&to->writer, key, (uint32_t)value, err);
}

rrt_status rrt__gguf_set_flag(rrt__gguf_export *to, const char *name, bool value, rrt_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", to->model->family->gguf_name, name);
    return rrt__gguf_write_bool(&to->writer, key, value, err);
}

rrt_status rrt__gguf_set_real(rrt__gguf_export *to, const char *name, double value, rrt_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", to->model->family->gguf_name, name);
    return rrt__gguf_write_f32(&to->writer, key, (float)value, err);
}

// 0: none.
static rrt_status set_real(rrt__gguf_export *to, const char *name, double value, rrt_error *err)
{
    return value != 0 ? rrt__gguf_set_real(to, name, value, err) : RRT_STATUS_OK;
}

static rrt_status set_string(rrt__gguf_export *to, const char *name, const char *value, rrt_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", to->model->family->gguf_name, name);
    return rrt__gguf_write_string(&to->writer, key, value, strlen(value), err);
}

static rrt_status declare_sizes(rrt__gguf_export *to, rrt_error *err)
{
    const rrt__shape *s = &to->model->shape;
    RRT__TRY(rrt__gguf_set_size(to, "vocab_size", s->vocab, err));
    RRT__TRY(rrt__gguf_set_size(to, "context_length", s->context, err));
    RRT__TRY(rrt__gguf_set_size(to, "embedding_length", s->hidden, err));
    RRT__TRY(rrt__gguf_set_size(to, "block_count", (size_t)rrt__config_layers(to->model), err));
    RRT__TRY(rrt__gguf_set_size(to, "feed_forward_length", s->ffn, err));
    RRT__TRY(rrt__gguf_set_size(to, "attention.head_count", s->heads, err));
    RRT__TRY(rrt__gguf_set_size(to, "attention.head_count_kv", s->kv_heads, err));
    RRT__TRY(rrt__gguf_set_size(to, "attention.key_length", s->head_dim, err));
    return rrt__gguf_set_size(to, "attention.value_length", s->head_dim, err);
}

static rrt_status declare_scales(rrt__gguf_export *to, rrt_error *err)
{
    const rrt__shape *s = &to->model->shape;
    const rrt__family *family = to->model->family;
    bool neox = family->norm == RRT__NORM_LAYER;
    RRT__TRY(set_real(to, neox ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
                      s->norm_epsilon, err));
    RRT__TRY(set_real(to, "attn_logit_softcapping", s->attention_cap, err));
    RRT__TRY(set_real(to, "final_logit_softcapping", s->logit_cap, err));
    if (family->has_multipliers) {
        RRT__TRY(set_real(to, "attention.scale", s->attention_scale, err));
        RRT__TRY(set_real(to, "embedding_scale", s->embedding_scale, err));
        RRT__TRY(set_real(to, "residual_scale", s->residual_scale, err));
        RRT__TRY(set_real(to, "logit_scale", s->logit_scale != 0 ? 1 / s->logit_scale : 1, err));
    }
    return family->parallel_residual
               ? rrt__gguf_set_flag(to, "use_parallel_residual", s->parallel_residual, err)
               : RRT_STATUS_OK;
}

// Declares the factor of cosine and sine, without the factor that readers derive from yarn themselves.
static rrt_status declare_attention_factor(rrt__gguf_export *to, double usual, rrt_error *err)
{
    double factor = to->model->shape.rope.attention_factor;
    if (factor == 0 || fabs(factor - usual) <= 1e-6) return RRT_STATUS_OK;
    return set_real(to, "rope.scaling.attn_factor", factor / usual, err);
}

// Declares the rotation's keys. Divisors are separate tensors.
static rrt_status declare_rope(rrt__gguf_export *to, rrt_error *err)
{
    const rrt__shape *s = &to->model->shape;
    const rrt__rope *rope = &s->rope;
    divisors table = divisors_of(to->model);
    RRT__TRY(rrt__gguf_set_size(to, "rope.dimension_count", s->rotary, err));
    RRT__TRY(set_real(to, "rope.freq_base", rope->base, err));
    RRT__TRY(set_real(to, "rope.freq_base_swa", s->local_rope_base, err));
    if (rope->kind == RRT__ROPE_DEFAULT) return RRT_STATUS_OK;
    if (table == DIVISORS_BY_LENGTH || rope->kind == RRT__ROPE_YARN)
        RRT__TRY(rrt__gguf_set_size(to, "rope.scaling.original_context_length",
                                    (size_t)rope->original_context, err));
    if (table == DIVISORS_OF_ALL) return declare_attention_factor(to, 1, err);
    RRT__TRY(set_string(to, "rope.scaling.type", rrt__rope_name(rope->kind), err));
    if (table == DIVISORS_BY_LENGTH) return declare_attention_factor(to, 1, err);
    RRT__TRY(set_real(to, "rope.scaling.factor", rope->factor, err));
    if (rope->kind != RRT__ROPE_YARN) return RRT_STATUS_OK;
    return declare_attention_factor(to, rope->factor <= 1 ? 1 : 0.1 * log(rope->factor) + 1, err);
}

static rrt_status declare_window(rrt__gguf_export *to, rrt_error *err)
{
    const rrt_model *model = to->model;
    int32_t local[RRT__MAX_DEPTHS];
    char key[128];
    rrt__config usual;
    bool differs = false;
    if (model->shape.window || model->family->window == RRT__WINDOW_ALL)
        RRT__TRY(rrt__gguf_set_size(to, "attention.sliding_window", model->shape.window, err));
    if (model->family->window != RRT__WINDOW_PATTERN) return RRT_STATUS_OK;
    rrt__attention_from_pattern(&usual, model->plan.n_depths, model->family->local_pattern, 0);
    for (int d = 0; d < model->plan.n_depths; d++) {
        local[d] = model->depths[d].attention & RRT__ATTENTION_LOCAL ? 1 : 0;
        differs = differs || model->depths[d].attention != usual.attention[d];
    }
    if (!differs) return RRT_STATUS_OK;
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", to->model->family->gguf_name);
    return rrt__gguf_write_i32s(&to->writer, key, local, (size_t)model->plan.n_depths, err);
}

rrt_status rrt__gguf_declare_keys(rrt__gguf_export *to, rrt_error *err)
{
    RRT__TRY(declare_sizes(to, err));
    RRT__TRY(declare_scales(to, err));
    RRT__TRY(declare_rope(to, err));
    return declare_window(to, err);
}
