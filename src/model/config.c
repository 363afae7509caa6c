#include "model/load.h"

#include <math.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_VOCAB = 1 << 24, MAX_CONTEXT = 1 << 24, FORMAT_VERSION = 1 };

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

// Rotary settings stand at the top ("rope_theta") or, in newer files, in "rope_parameters".
static rrt_status read_rope(rrt__shape *shape, const json_t *json, const char *base_key,
                            const char *fraction_key, double fraction, rrt_error *err)
{
    const json_t *parameters = json_object_get(json, "rope_parameters");
    RRT__TRY(rrt__json_real_or(json, base_key, 10000.0, &shape->rope_base, err));
    RRT__TRY(rrt__json_real_or(json, fraction_key, fraction, &fraction, err));
    if (json_is_object(parameters)) {
        RRT__TRY(require_string(parameters, "rope_type", "default", err));
        RRT__TRY(rrt__json_real_or(parameters, "rope_theta", shape->rope_base, &shape->rope_base, err));
        RRT__TRY(rrt__json_real_or(parameters, "partial_rotary_factor", fraction, &fraction, err));
    }
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

static rrt_status read_llama(rrt__shape *shape, const json_t *json, rrt_error *err)
{
    RRT__TRY(read_rope(shape, json, "rope_theta", "partial_rotary_factor", 1.0, err));
    RRT__TRY(rrt__json_real_or(json, "rms_norm_eps", 1e-6, &shape->norm_epsilon, err));
    RRT__TRY(rrt__json_bool_or(json, "tie_word_embeddings", false, &shape->tied_head, err));
    RRT__TRY(require_string(json, "hidden_act", "silu", err));
    RRT__TRY(require_bool(json, "attention_bias", false, err));
    return require_bool(json, "mlp_bias", false, err);
}

static rrt_status read_neox(rrt__shape *shape, const json_t *json, rrt_error *err)
{
    RRT__TRY(read_rope(shape, json, "rotary_emb_base", "rotary_pct", 0.25, err));
    RRT__TRY(rrt__json_real_or(json, "layer_norm_eps", 1e-5, &shape->norm_epsilon, err));
    RRT__TRY(rrt__json_bool_or(json, "tie_word_embeddings", false, &shape->tied_head, err));
    RRT__TRY(require_string(json, "hidden_act", "gelu", err));
    RRT__TRY(require_bool(json, "attention_bias", true, err));
    return require_bool(json, "use_parallel_residual", true, err);
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
    if (version != FORMAT_VERSION) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "format_version %lld is newer than this rrt, which reads %d",
                                      (long long)version, FORMAT_VERSION);
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
    RRT__TRY(config->family->norm == RRT__NORM_LAYER ? read_neox(&config->shape, json, err)
                                                     : read_llama(&config->shape, json, err));
    RRT__TRY(rrt__shape_check(&config->shape, err));
    rrt_status status = read_recursion(config, layers, json, err);
    return status ? rrt__at(err, status, "\"rrt\"") : RRT_STATUS_OK;
}

static json_t *recursion_to_json(const rrt_model *model, rrt_error *err)
{
    json_t *object = json_object();
    json_object_set_new(object, "format_version", json_integer(FORMAT_VERSION));
    if (rrt__plan_to_json(&model->plan, object, err)) {
        json_decref(object);
        return NULL;
    }
    json_object_set_new(object, "norms", json_string(rrt__norms_name(model->norms)));
    json_object_set_new(object, "kv", json_string(model->shares_kv ? "shared" : "per-depth"));
    if (model->gates) json_object_set_new(object, "gates", json_true());
    return object;
}

// Reading cuts head_dim · fraction down to a whole number, and nine digits are written: a third rounded down
// would come back as one value less. So the ninth digit is rounded up.
static double rotary_fraction(const rrt__shape *s)
{
    double fraction = ceil(1e9 * (double)s->rotary / (double)s->head_dim) / 1e9;
    return (size_t)(fraction * (double)s->head_dim) < s->rotary ? fraction + 1e-9 : fraction;
}

// torch's name of a dtype that weights are stored in.
static const char *torch_name(rrt__dtype dtype)
{
    return dtype == RRT__DTYPE_BF16 ? "bfloat16" : dtype == RRT__DTYPE_F16 ? "float16" : "float32";
}

// Where Hugging Face's generate() looks for them.
static void set_token_ids(json_t *json, const rrt_tokenizer *tokenizer)
{
    int32_t bos = tokenizer ? rrt_tokenizer_bos(tokenizer) : -1;
    int32_t eos = tokenizer ? rrt_tokenizer_eos(tokenizer) : -1;
    if (bos >= 0) json_object_set_new(json, "bos_token_id", json_integer(bos));
    if (eos >= 0) json_object_set_new(json, "eos_token_id", json_integer(eos));
}

rrt_status rrt__config_to_json(const rrt_model *model, rrt__dtype dtype, json_t **out, rrt_error *err)
{
    const rrt__shape *s = &model->shape;
    bool neox = model->family->norm == RRT__NORM_LAYER;
    json_t *json = json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s, s:f, s:s}",                //
        "architectures", model->family->hf_class, "model_type", model->family->name,          //
        "hidden_size", (int)s->hidden, "num_hidden_layers", model->plan.n_depths,             //
        "num_attention_heads", (int)s->heads, "num_key_value_heads", (int)s->kv_heads,        //
        "intermediate_size", (int)s->ffn, "vocab_size", (int)s->vocab,                        //
        "max_position_embeddings", (int)s->context, "tie_word_embeddings", (int)s->tied_head, //
        "hidden_act", neox ? "gelu" : "silu",                                                 //
        neox ? "layer_norm_eps" : "rms_norm_eps", s->norm_epsilon, "torch_dtype", torch_name(dtype));
    json_t *recursion = json ? recursion_to_json(model, err) : NULL;
    if (!recursion) {
        json_decref(json);
        return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory while writing config.json");
    }
    set_token_ids(json, model->tokenizer);
    json_object_set_new(json, neox ? "rotary_emb_base" : "rope_theta", json_real(s->rope_base));
    // What a family takes for granted is left out: some readers do not know the key.
    if (s->head_dim != s->hidden / s->heads || !neox)
        json_object_set_new(json, "head_dim", json_integer((json_int_t)s->head_dim));
    if (neox || s->rotary != s->head_dim)
        json_object_set_new(json, neox ? "rotary_pct" : "partial_rotary_factor",
                            json_real(rotary_fraction(s)));
    bool plain = model->plan.sharing == RRT__SHARING_NONE && model->norms == RRT__NORMS_TIED;
    if (plain)
        json_decref(recursion); // any Hugging Face tool can read it as it is
    else
        json_object_set_new(json, "rrt", recursion);
    *out = json;
    return RRT_STATUS_OK;
}
