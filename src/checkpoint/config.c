#include "checkpoint/config.h"

#include <math.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_VOCAB = 1 << 24 };

static bool is_size(double value)
{
    return value >= 0 && isfinite(value);
}

static rrt_status check_rope(const rrt__shape *s, rrt_error *err)
{
    const rrt__rope *r = &s->rope;
    if (s->rotary < 2 || s->rotary > s->head_dim || s->rotary % 2 != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%zu rotated values of a head of %zu are not possible",
                         s->rotary, s->head_dim);
    if (!(r->base > 0 && isfinite(r->base)) || !is_size(s->local_rope_base))
        return rrt__fail(err, RRT_STATUS_FORMAT, "rope base %g or local rope base %g is not possible",
                         r->base, s->local_rope_base);
    if (r->kind == RRT__ROPE_DEFAULT) return RRT_STATUS_OK;
    bool ramps = r->kind == RRT__ROPE_YARN || r->kind == RRT__ROPE_LLAMA3;
    if (!(r->factor > 0 && isfinite(r->factor)) || !is_size(r->attention_factor) ||
        (ramps && !(r->slow > 0 && r->fast > r->slow && isfinite(r->fast))) ||
        (r->kind == RRT__ROPE_YARN && r->base == 1))
        return rrt__fail(
            err, RRT_STATUS_FORMAT,
            "the rope scaling '%s' of factor %g, attention factor %g, from %g to %g is not possible",
            rrt__rope_name(r->kind), r->factor, r->attention_factor, r->slow, r->fast);
    return RRT_STATUS_OK;
}

static rrt_status check_scales(const rrt__shape *s, rrt_error *err)
{
    if (!is_size(s->attention_cap) || !is_size(s->logit_cap))
        return rrt__fail(err, RRT_STATUS_FORMAT, "caps %g and %g are not possible", s->attention_cap,
                         s->logit_cap);
    if (isfinite(s->attention_scale) && isfinite(s->embedding_scale) && isfinite(s->residual_scale) &&
        isfinite(s->logit_scale))
        return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "multipliers %g (scores), %g, %g and %g are not possible",
                     s->attention_scale, s->embedding_scale, s->residual_scale, s->logit_scale);
}

rrt_status rrt__shape_check(const rrt__shape *s, rrt_error *err)
{
    const struct {
        const char *name;
        size_t value, max;
    } limits[] = {{"hidden size", s->hidden, MAX_WIDTH},
                  {"number of heads", s->heads, MAX_WIDTH},
                  {"number of K/V heads", s->kv_heads, MAX_WIDTH},
                  {"head size", s->head_dim, MAX_WIDTH},
                  {"MLP width", s->ffn, MAX_WIDTH},
                  {"vocabulary", s->vocab, MAX_VOCAB},
                  {"context length", s->context, RRT__MAX_CONTEXT}};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i].value < 1 || limits[i].value > limits[i].max)
            return rrt__fail(err, RRT_STATUS_FORMAT, "the %s is %zu: 1 to %zu is possible", limits[i].name,
                             limits[i].value, limits[i].max);
    if (s->heads * s->head_dim > MAX_WIDTH)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%zu heads of %zu are too wide", s->heads, s->head_dim);
    if (s->heads % s->kv_heads != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%zu heads cannot share %zu K/V heads evenly", s->heads,
                         s->kv_heads);
    if (!(s->norm_epsilon >= 0 && s->norm_epsilon < 1))
        return rrt__fail(err, RRT_STATUS_FORMAT, "norm epsilon %g is not possible", s->norm_epsilon);
    RRT__TRY(check_rope(s, err));
    return check_scales(s, err);
}

// Requires a value for a setting that changes the result: no other value is implemented.
static rrt_status require_bool(const json_t *json, const char *key, bool expected, rrt_error *err)
{
    bool value;
    RRT__TRY(rrt__json_bool_or(json, key, expected, &value, err));
    if (value == expected) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"%s\": %s is not supported", key,
                     value ? "true" : "false");
}

static rrt_status require_string(const json_t *json, const char *key, const char *expected, rrt_error *err)
{
    const char *value;
    RRT__TRY(rrt__json_string_or(json, key, expected, &value, err));
    if (strcmp(value, expected) == 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"%s\": '%s' is not supported, only '%s' is", key, value,
                     expected);
}

// null: as many as heads; a missing key: the default of the family's class.
static rrt_status read_kv_heads(int64_t *kv_heads, int64_t heads, const rrt__family *family,
                                const json_t *json, rrt_error *err)
{
    int usual = family->absent.kv_heads;
    if (!json_object_get(json, "num_key_value_heads") && usual) {
        *kv_heads = usual;
        return RRT_STATUS_OK;
    }
    if (family->norm != RRT__NORM_LAYER)
        return rrt__json_int_or(json, "num_key_value_heads", 1, MAX_WIDTH, heads, kv_heads, err);
    *kv_heads = heads;
    return RRT_STATUS_OK;
}

static rrt_status read_sizes(rrt__shape *shape, int *layers, const rrt__family *family, const json_t *json,
                             rrt_error *err)
{
    const rrt__absent *absent = &family->absent;
    int64_t hidden, n_layers, heads, kv_heads, head_dim, ffn, vocab, context;
    RRT__TRY(rrt__json_int(json, "hidden_size", 1, MAX_WIDTH, &hidden, err));
    RRT__TRY(rrt__json_int(json, "num_hidden_layers", 1, RRT__MAX_DEPTHS, &n_layers, err));
    RRT__TRY(rrt__json_int_or(json, "num_attention_heads", 1, MAX_WIDTH, absent->heads, &heads, err));
    RRT__TRY(read_kv_heads(&kv_heads, heads, family, json, err));
    int64_t usual = absent->head_dim ? absent->head_dim : hidden / heads;
    RRT__TRY(rrt__json_int_or(json, "head_dim", 1, MAX_WIDTH, usual, &head_dim, err));
    RRT__TRY(rrt__json_int(json, "intermediate_size", 1, MAX_WIDTH, &ffn, err));
    RRT__TRY(rrt__json_int_or(json, "vocab_size", 1, MAX_VOCAB, absent->vocab, &vocab, err));
    RRT__TRY(rrt__json_int_or(json, "max_position_embeddings", 1, RRT__MAX_CONTEXT, absent->context, &context,
                              err));
    *layers = (int)n_layers;
    shape->hidden = (size_t)hidden;
    shape->heads = (size_t)heads;
    shape->kv_heads = (size_t)kv_heads;
    shape->head_dim = (size_t)head_dim;
    shape->ffn = (size_t)ffn;
    shape->vocab = (size_t)vocab;
    shape->context = (size_t)context;
    return RRT_STATUS_OK;
}

static rrt_status read_activation(const rrt__family *family, const json_t *json, rrt_error *err)
{
    const char *value;
    RRT__TRY(rrt__json_string_or(json, family->activation_key, family->activation, &value, err));
    if (family->old_activation && strcmp(value, family->old_activation) == 0) return RRT_STATUS_OK;
    return require_string(json, family->activation_key, family->activation, err);
}

static rrt_status read_bias(bool *has, rrt__bias_rule rule, const json_t *json, const char *key,
                            rrt_error *err)
{
    *has = rule != RRT__BIAS_NEVER;
    if (rule != RRT__BIAS_OFF && rule != RRT__BIAS_ON) return RRT_STATUS_OK;
    return rrt__json_bool_or(json, key, rule == RRT__BIAS_ON, has, err);
}

static bool is_of_mlp(int m)
{
    return m == RRT__MATRIX_GATE || m == RRT__MATRIX_UP || m == RRT__MATRIX_DOWN;
}

static rrt_status read_biases(rrt__shape *shape, const rrt__family *family, const json_t *json,
                              rrt_error *err)
{
    bool attention, mlp;
    RRT__TRY(read_bias(&attention, family->attention_bias, json, "attention_bias", err));
    RRT__TRY(read_bias(&mlp, family->mlp_bias, json, "mlp_bias", err));
    for (int m = 0; m < RRT__MATRIX_COUNT; m++)
        shape->has_bias[m] = rrt__family_has(family, m) && (is_of_mlp(m) ? mlp : attention);
    if (family->attention_bias == RRT__BIAS_OF_QKV) shape->has_bias[RRT__MATRIX_O] = false;
    return RRT_STATUS_OK;
}

// null is not the default here: it means no cap.
static rrt_status read_cap(double *cap, double usual, const json_t *json, const char *key, rrt_error *err)
{
    const json_t *value = json_object_get(json, key);
    *cap = value ? 0 : usual;
    if (rrt__json_is_absent(value)) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_real_or(json, key, 0, cap, err));
    if (*cap > 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT,
                     "the cap \"%s\" is %g: more than 0 is possible, or null for none", key, *cap);
}

static rrt_status read_multiplier(double *value, double usual, const json_t *json, const char *key,
                                  rrt_error *err)
{
    RRT__TRY(rrt__json_real_or(json, key, usual, value, err));
    if (*value != 0 && isfinite(*value)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %g: a number other than 0 is expected", key, *value);
}

static rrt_status read_scales(rrt__shape *shape, const rrt__family *family, const json_t *json,
                              rrt_error *err)
{
    double divisor;
    if (family->scales_embedding) shape->embedding_scale = (double)sqrtf((float)shape->hidden);
    if (family->has_score_settings) {
        RRT__TRY(read_multiplier(&divisor, 256, json, "query_pre_attn_scalar", err));
        if (divisor < 0)
            return rrt__fail(err, RRT_STATUS_FORMAT,
                             "\"query_pre_attn_scalar\" is %g: more than 0 is expected", divisor);
        shape->attention_scale = 1 / sqrt(divisor);
        if (family->absent.attention_cap != 0) // only these families' classes have a cap of scores
            RRT__TRY(read_cap(&shape->attention_cap, family->absent.attention_cap, json,
                              "attn_logit_softcapping", err));
        RRT__TRY(read_cap(&shape->logit_cap, family->absent.logit_cap, json, "final_logit_softcapping", err));
    }
    if (family->has_stacks) {
        double spread;
        RRT__TRY(read_multiplier(&spread, 0.02, json, "initializer_range", err));
        RRT__TRY(read_multiplier(&shape->embedding_scale, 1 / spread, json, "embedding_scale", err));
    }
    if (!family->has_multipliers) return RRT_STATUS_OK;
    RRT__TRY(read_multiplier(&shape->embedding_scale, 1, json, "embedding_multiplier", err));
    RRT__TRY(read_multiplier(&shape->residual_scale, 1, json, "residual_multiplier", err));
    RRT__TRY(read_multiplier(&shape->attention_scale, 1, json, "attention_multiplier", err));
    RRT__TRY(read_multiplier(&divisor, 1, json, "logits_scaling", err));
    shape->logit_scale = 1 / divisor;
    return RRT_STATUS_OK;
}

// Weights that another program quantised: quants, scales and zeros have their own names.
static rrt_status refuse_quantized(const json_t *json, rrt_error *err)
{
    const json_t *settings = json_object_get(json, "quantization_config");
    const char *method = json_string_value(json_object_get(settings, "quant_method"));
    if (rrt__json_is_absent(settings)) return RRT_STATUS_OK;
    rrt_status status =
        rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the weights are quantised by '%s' (\"quantization_config\")",
                  method ? method : "another program");
    return rrt__hint(err, status, "take the folder of the unquantised model, or a GGUF file of it");
}

// Reads settings that the family's row leaves open, and checks the others against the row. Keys that the
// family's class does not use have no effect in transformers, and none here.
static rrt_status read_settings(rrt__shape *shape, const rrt__family *family, const json_t *json,
                                rrt_error *err)
{
    bool neox = family->norm == RRT__NORM_LAYER;
    RRT__TRY(rrt__rope_from_json(shape, family, json, err));
    RRT__TRY(rrt__json_real_or(json, neox ? "layer_norm_eps" : "rms_norm_eps", family->absent.norm_epsilon,
                               &shape->norm_epsilon, err));
    RRT__TRY(rrt__json_bool_or(json, "tie_word_embeddings", family->ties_head, &shape->tied_head, err));
    RRT__TRY(read_activation(family, json, err));
    RRT__TRY(read_biases(shape, family, json, err));
    RRT__TRY(read_scales(shape, family, json, err));
    if (family->gain_is_one_plus_weight)
        RRT__TRY(require_bool(json, "use_bidirectional_attention", false, err));
    RRT__TRY(require_bool(json, "is_causal", true, err));
    for (const char *const *key = family->must_be_off; key && *key; key++)
        if (!rrt__json_is_off(json_object_get(json, *key)))
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"%s\" is not supported", *key);
    shape->parallel_residual = false;
    if (!family->parallel_residual) return RRT_STATUS_OK;
    if (shape->head_dim != shape->hidden / shape->heads)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "\"head_dim\": %zu is not supported, only hidden size over heads", shape->head_dim);
    return rrt__json_bool_or(json, "use_parallel_residual", true, &shape->parallel_residual, err);
}

// Wrappers of a text model and others (vision) keep the text model's settings in an object of their own.
static rrt_status find_family(const rrt__family **family, const json_t **json, rrt_error *err)
{
    const char *type;
    if (!json_is_object(*json)) return rrt__fail(err, RRT_STATUS_FORMAT, "a JSON object is expected");
    RRT__TRY(rrt__json_string(*json, "model_type", &type, err));
    RRT__TRY(refuse_quantized(*json, err));
    json_t *inner = json_object_get(*json, "text_config");
    if (strcmp(type, "gemma3") == 0 && json_is_object(inner)) {
        type = "gemma3_text";
        *json = inner;
    }
    return rrt__family_by_name(family, type, err);
}

rrt_status rrt__config_from_json(rrt__config *config, const json_t *json, rrt_error *err)
{
    *config = (rrt__config){.exit_threshold = 1};
    int layers;
    RRT__TRY(find_family(&config->family, &json, err));
    RRT__TRY(read_sizes(&config->shape, &layers, config->family, json, err));
    RRT__TRY(read_settings(&config->shape, config->family, json, err));
    RRT__TRY(rrt__attention_from_json(config, json, layers, err));
    RRT__TRY(rrt__shape_check(&config->shape, err));
    return rrt__loops_from_json(config, layers, json, err);
}
