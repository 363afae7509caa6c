#include "model/load.h"

#include <math.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_VOCAB = 1 << 24, MAX_CONTEXT = 1 << 24 };

static bool is_size(double value)
{
    return value >= 0 && isfinite(value);
}

rrt_status rrt__shape_check(const rrt__shape *s, rrt_error *err)
{
    const struct {
        const char *name;
        size_t value, most;
    } limits[] = {{"hidden size", s->hidden, MAX_WIDTH},
                  {"number of heads", s->heads, MAX_WIDTH},
                  {"number of K/V heads", s->kv_heads, MAX_WIDTH},
                  {"head size", s->head_dim, MAX_WIDTH},
                  {"MLP width", s->ffn, MAX_WIDTH},
                  {"vocabulary", s->vocab, MAX_VOCAB},
                  {"context length", s->context, MAX_CONTEXT}};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i].value < 1 || limits[i].value > limits[i].most)
            return rrt__fail(err, RRT_STATUS_FORMAT, "the %s is %zu: 1 to %zu is possible", limits[i].name,
                             limits[i].value, limits[i].most);
    if (s->heads * s->head_dim > MAX_WIDTH)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%zu heads of %zu are too wide", s->heads, s->head_dim);
    if (s->heads % s->kv_heads != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%zu heads cannot share %zu K/V heads evenly", s->heads,
                         s->kv_heads);
    if (s->rotary < 2 || s->rotary > s->head_dim || s->rotary % 2 != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%zu rotated values of a head of %zu are not possible",
                         s->rotary, s->head_dim);
    if (!(s->rope_base > 0 && isfinite(s->rope_base)) || !(s->norm_epsilon >= 0 && s->norm_epsilon < 1))
        return rrt__fail(err, RRT_STATUS_FORMAT, "rope base %g or norm epsilon %g is not possible",
                         s->rope_base, s->norm_epsilon);
    if (!is_size(s->local_rope_base) || !is_size(s->query_scalar) || !is_size(s->attention_cap) ||
        !is_size(s->logit_cap))
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "local rope base %g, query scalar %g or caps %g and %g are not possible",
                         s->local_rope_base, s->query_scalar, s->attention_cap, s->logit_cap);
    return RRT_STATUS_OK;
}

// A setting that changes the result and has to have this value, because we implement no other.
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

// One kind of layers' rotary settings: {"rope_type", "rope_theta", "partial_rotary_factor"}.
static rrt_status read_rope_parameters(const json_t *parameters, double *base, double *fraction,
                                       rrt_error *err)
{
    RRT__TRY(require_string(parameters, "rope_type", "default", err));
    RRT__TRY(rrt__json_real_or(parameters, "rope_theta", *base, base, err));
    return rrt__json_real_or(parameters, "partial_rotary_factor", *fraction, fraction, err);
}

// Rotary settings stand at the top ("rope_theta") or, in newer files, in "rope_parameters", where local and
// global layers may have their own.
static rrt_status read_rope(rrt__shape *shape, const rrt__family *family, const json_t *json, rrt_error *err)
{
    bool neox = family->norm == RRT__NORM_LAYER;
    const char *fraction_key = neox ? "rotary_pct" : "partial_rotary_factor";
    double fraction;
    const json_t *parameters = json_object_get(json, "rope_parameters");
    const json_t *local = json_object_get(parameters, "sliding_attention");
    const json_t *global = json_object_get(parameters, "full_attention");
    RRT__TRY(rrt__json_real_or(json, neox ? "rotary_emb_base" : "rope_theta", family->rope_base,
                               &shape->rope_base, err));
    RRT__TRY(rrt__json_real_or(json, "rope_local_base_freq", family->local_rope_base, &shape->local_rope_base,
                               err));
    RRT__TRY(rrt__json_real_or(json, fraction_key, neox ? 0.25 : 1.0, &fraction, err));
    if (json_is_object(local)) RRT__TRY(read_rope_parameters(local, &shape->local_rope_base, &fraction, err));
    if (json_is_object(parameters))
        RRT__TRY(read_rope_parameters(json_is_object(global) ? global : parameters, &shape->rope_base,
                                      &fraction, err));
    const json_t *scaling = json_object_get(json, "rope_scaling");
    if (!rrt__json_is_absent(scaling))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"rope_scaling\" is not supported");
    if (!(fraction > 0 && fraction <= 1))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %g: more than 0 and at most 1 is possible",
                         fraction_key, fraction);
    shape->rotary = (size_t)((double)shape->head_dim * fraction);
    return RRT_STATUS_OK;
}

static rrt_status read_sizes(rrt__shape *shape, int *layers, const json_t *json, rrt_error *err)
{
    int64_t hidden, n_layers, heads, kv_heads, head_dim, ffn, vocab, context;
    RRT__TRY(rrt__json_int(json, "hidden_size", 1, MAX_WIDTH, &hidden, err));
    RRT__TRY(rrt__json_int(json, "num_hidden_layers", 1, RRT__MAX_DEPTHS, &n_layers, err));
    RRT__TRY(rrt__json_int(json, "num_attention_heads", 1, MAX_WIDTH, &heads, err));
    RRT__TRY(rrt__json_int_or(json, "num_key_value_heads", 1, MAX_WIDTH, heads, &kv_heads, err));
    RRT__TRY(rrt__json_int_or(json, "head_dim", 1, MAX_WIDTH, hidden / heads, &head_dim, err));
    RRT__TRY(rrt__json_int(json, "intermediate_size", 1, MAX_WIDTH, &ffn, err));
    RRT__TRY(rrt__json_int(json, "vocab_size", 1, MAX_VOCAB, &vocab, err));
    RRT__TRY(rrt__json_int_or(json, "max_position_embeddings", 1, MAX_CONTEXT, 2048, &context, err));
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

// What a family's row leaves open, and what it does not and has to be as the row says.
static rrt_status read_settings(rrt__shape *shape, const rrt__family *family, const json_t *json,
                                rrt_error *err)
{
    bool neox = family->norm == RRT__NORM_LAYER;
    RRT__TRY(read_rope(shape, family, json, err));
    RRT__TRY(rrt__json_real_or(json, neox ? "layer_norm_eps" : "rms_norm_eps", neox ? 1e-5 : 1e-6,
                               &shape->norm_epsilon, err));
    RRT__TRY(rrt__json_bool_or(json, "tie_word_embeddings", family->ties_head, &shape->tied_head, err));
    RRT__TRY(rrt__json_real_or(json, "query_pre_attn_scalar", 0, &shape->query_scalar, err));
    RRT__TRY(rrt__json_real_or(json, "attn_logit_softcapping", 0, &shape->attention_cap, err));
    RRT__TRY(rrt__json_real_or(json, "final_logit_softcapping", 0, &shape->logit_cap, err));
    RRT__TRY(read_activation(family, json, err));
    RRT__TRY(require_bool(json, "use_bidirectional_attention", false, err));
    RRT__TRY(require_bool(json, "attention_bias", family->has_bias[RRT__MATRIX_Q], err));
    RRT__TRY(require_bool(json, "mlp_bias", family->has_bias[RRT__MATRIX_UP], err));
    return require_bool(json, "use_parallel_residual", family->parallel_residual, err);
}

static rrt_status read_kv(rrt__config *config, const json_t *object, rrt_error *err)
{
    const char *kv;
    RRT__TRY(rrt__json_string_or(object, "kv", "per-depth", &kv, err));
    config->shares_kv = strcmp(kv, "shared") == 0;
    if (!config->shares_kv) return require_string(object, "kv", "per-depth", err);
    if (rrt__plan_has_boundary(&config->plan)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT,
                     "\"kv\" is 'shared', but the plan has no loops that could share");
}

static rrt_status read_recursion(rrt__config *config, int layers, const json_t *json, rrt_error *err)
{
    if (!json_object_get(json, "rrt"))
        return rrt__plan_make(&config->plan, RRT__SHARING_NONE, 1, layers, 0, 0, err);
    json_t *object;
    int64_t version;
    const char *norms;
    RRT__TRY(rrt__json_object(json, "rrt", &object, err));
    RRT__TRY(rrt__json_int(object, "format_version", 1, INT32_MAX, &version, err));
    if (version != RRT__FORMAT_VERSION) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "format_version %lld is newer than this rrt, which reads %d",
                                      (long long)version, RRT__FORMAT_VERSION);
        return rrt__hint(err, status, "use a newer rrt, or convert the model again with this one");
    }
    RRT__TRY(rrt__plan_from_json(&config->plan, object, err));
    if (config->plan.n_depths != layers)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"plan\" lists %d depths, but num_hidden_layers is %d",
                         config->plan.n_depths, layers);
    RRT__TRY(read_kv(config, object, err));
    RRT__TRY(rrt__json_string_or(object, "norms", "tied", &norms, err));
    RRT__TRY(rrt__json_bool_or(object, "gates", false, &config->has_gates, err));
    if (config->has_gates && !rrt__plan_has_boundary(&config->plan))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"gates\" is true, but the plan has no loop boundary");
    return rrt__norms_parse(&config->norms, norms, err);
}

rrt_status rrt__config_from_json(rrt__config *config, const json_t *json, rrt_error *err)
{
    *config = (rrt__config){0};
    const char *model_type;
    int layers;
    if (!json_is_object(json)) return rrt__fail(err, RRT_STATUS_FORMAT, "a JSON object is expected");
    RRT__TRY(rrt__json_string(json, "model_type", &model_type, err));
    RRT__TRY(rrt__family_by_name(&config->family, model_type, err));
    RRT__TRY(read_sizes(&config->shape, &layers, json, err));
    RRT__TRY(read_settings(&config->shape, config->family, json, err));
    RRT__TRY(rrt__attention_from_json(config, json, layers, err));
    RRT__TRY(rrt__shape_check(&config->shape, err));
    rrt_status status = read_recursion(config, layers, json, err);
    return status ? rrt__at(err, status, "\"rrt\"") : RRT_STATUS_OK;
}
