// Rotary settings of config.json: at the top level ("rope_theta", "rope_scaling") or, in newer files, in
// "rope_parameters", where local and global layers may have their own. The precedence is that of
// transformers' convert_rope_params_to_dict and standardize_rope_params.
#include <math.h>
#include <string.h>

#include "checkpoint/config.h"

typedef struct reader {
    rrt__shape *shape;
    const rrt__family *family;
    const json_t *json;    // the whole file
    const json_t *scaling; // the object that describes the rotation; may be NULL
    rrt__rope *rope;
} reader;

// A number in the scaling object that has no default.
static rrt_status read_needed(const reader *r, const char *key, double *out, rrt_error *err)
{
    RRT__TRY(rrt__json_real_or(r->scaling, key, 0, out, err));
    if (*out > 0 && isfinite(*out)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT,
                     "\"%s\" of the rope scaling '%s' is %g: a positive number is expected", key,
                     rrt__rope_name(r->rope->kind), *out);
}

static rrt_status read_original_context(const reader *r, rrt_error *err)
{
    const char *key = "original_max_position_embeddings";
    double inside, usual = r->family->absent.original_context;
    RRT__TRY(rrt__json_real_or(r->scaling, key, (double)r->shape->context, &inside, err));
    RRT__TRY(rrt__json_real_or(r->json, key, usual != 0 ? usual : inside, &r->rope->original_context, err));
    if (r->rope->original_context > 1 && isfinite(r->rope->original_context)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %g: more than 1 is expected", key,
                     r->rope->original_context);
}

// Yarn's factor of the scores for texts `factor` times longer.
static double stretched(double factor, double scale)
{
    return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

static rrt_status read_yarn(const reader *r, rrt_error *err)
{
    rrt__rope *rope = r->rope;
    double scale, scale_all, context = (double)r->shape->context;
    bool truncate;
    RRT__TRY(read_original_context(r, err));
    if (!json_object_get(r->scaling, "factor"))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"factor\" of the rope scaling 'yarn' is missing");
    RRT__TRY(rrt__json_real_or(r->scaling, "factor", context / rope->original_context, &rope->factor, err));
    RRT__TRY(rrt__json_real_or(r->scaling, "mscale", 0, &scale, err));
    RRT__TRY(rrt__json_real_or(r->scaling, "mscale_all_dim", 0, &scale_all, err));
    bool both = scale != 0 && scale_all != 0;
    RRT__TRY(rrt__json_real_or(r->scaling, "attention_factor",
                               both ? stretched(rope->factor, scale) / stretched(rope->factor, scale_all)
                                    : stretched(rope->factor, 1),
                               &rope->attention_factor, err));
    RRT__TRY(rrt__json_real_or(r->scaling, "beta_fast", 32, &rope->fast, err));
    RRT__TRY(rrt__json_real_or(r->scaling, "beta_slow", 1, &rope->slow, err));
    RRT__TRY(rrt__json_bool_or(r->scaling, "truncate", true, &truncate, err));
    if (rope->fast == 0) rope->fast = 32;
    if (rope->slow == 0) rope->slow = 1;
    rope->exact_ramp = !truncate;
    size_t reach = (size_t)(rope->original_context * rope->factor);
    if (reach > r->shape->context && reach <= RRT__MAX_CONTEXT) r->shape->context = reach;
    return RRT_STATUS_OK;
}

static rrt_status read_divisors(const reader *r, const char *key, float *out, rrt_error *err)
{
    json_t *list;
    size_t pairs = r->shape->rotary / 2;
    RRT__TRY(rrt__json_array(r->scaling, key, &list, err));
    if (json_array_size(list) != pairs)
        return rrt__fail(err, RRT_STATUS_FORMAT,
                         "\"%s\" has %zu numbers: %zu are expected, one for each rotated pair", key,
                         json_array_size(list), pairs);
    if (pairs > RRT__ROPE_MAX_PAIRS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"%s\" for %zu pairs is not supported, at most %d are",
                         key, pairs, RRT__ROPE_MAX_PAIRS);
    for (size_t i = 0; i < pairs; i++) {
        const json_t *number = json_array_get(list, i);
        double value = json_is_number(number) ? json_number_value(number) : NAN;
        out[i] = (float)value;
        if (!(out[i] > 0 && isfinite(out[i])))
            return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\"[%zu] is no positive number", key, i);
    }
    return RRT_STATUS_OK;
}

static rrt_status read_longrope(const reader *r, rrt_error *err)
{
    rrt__rope *rope = r->rope;
    RRT__TRY(read_original_context(r, err));
    double stretch = (double)r->shape->context / rope->original_context;
    RRT__TRY(rrt__json_real_or(r->scaling, "factor", stretch, &rope->factor, err));
    double usual = rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log(rope->original_context));
    RRT__TRY(rrt__json_real_or(r->scaling, "attention_factor", usual, &rope->attention_factor, err));
    RRT__TRY(read_divisors(r, "short_factor", rope->short_divisors, err));
    return read_divisors(r, "long_factor", rope->long_divisors, err);
}

static rrt_status read_llama3(const reader *r, rrt_error *err)
{
    RRT__TRY(read_original_context(r, err));
    RRT__TRY(read_needed(r, "factor", &r->rope->factor, err));
    RRT__TRY(read_needed(r, "low_freq_factor", &r->rope->slow, err));
    return read_needed(r, "high_freq_factor", &r->rope->fast, err);
}

// transformers has no limit for the text; here it is factor times the context.
static rrt_status read_dynamic(const reader *r, rrt_error *err)
{
    RRT__TRY(read_needed(r, "factor", &r->rope->factor, err));
    r->rope->original_context = (double)r->shape->context;
    double reach = r->rope->original_context * r->rope->factor;
    if (reach > r->rope->original_context && reach <= RRT__MAX_CONTEXT) r->shape->context = (size_t)reach;
    return RRT_STATUS_OK;
}

static rrt_status read_kind(const reader *r, rrt_error *err)
{
    const char *old, *name;
    RRT__TRY(rrt__json_string_or(r->scaling, "type", "default", &old, err));
    if (r->family->absent.local_rope_base != 0) old = "default"; // its class ignores the old key
    RRT__TRY(rrt__json_string_or(r->scaling, "rope_type", old, &name, err));
    bool only = r->family->only_longrope;
    if (only && (strcmp(name, "su") == 0 || strcmp(name, "yarn") == 0)) name = "longrope";
    bool known = rrt__rope_parse(&r->rope->kind, name);
    if (known && only) known = r->rope->kind == RRT__ROPE_DEFAULT || r->rope->kind == RRT__ROPE_LONGROPE;
    if (known) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the rope scaling '%s' is not supported in models of '%s'",
                     name, r->family->name);
}

static rrt_status read_scaling(const reader *r, rrt_error *err)
{
    switch (r->rope->kind) {
    case RRT__ROPE_LINEAR:
        return read_needed(r, "factor", &r->rope->factor, err);
    case RRT__ROPE_DYNAMIC:
        return read_dynamic(r, err);
    case RRT__ROPE_YARN:
        return read_yarn(r, err);
    case RRT__ROPE_LONGROPE:
        return read_longrope(r, err);
    case RRT__ROPE_LLAMA3:
        return read_llama3(r, err);
    default:
        return RRT_STATUS_OK;
    }
}

// Only some families rotate a part of each head. In the others the plain kind ignores the key.
static rrt_status read_fraction(const reader *r, rrt_error *err)
{
    bool neox = r->family->norm == RRT__NORM_LAYER, partial = r->family->partial_rotary;
    const char *top = neox ? "rotary_pct" : "partial_rotary_factor";
    double fraction;
    RRT__TRY(rrt__json_real_or(r->json, top, neox ? 0.25 : 1.0, &fraction, err));
    RRT__TRY(rrt__json_real_or(r->scaling, "partial_rotary_factor", fraction, &fraction, err));
    r->shape->rotary = r->shape->head_dim;
    if (!partial && (r->rope->kind == RRT__ROPE_DEFAULT || fraction == 1)) return RRT_STATUS_OK;
    if (!partial)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "\"partial_rotary_factor\": %g is not supported in models of '%s'", fraction,
                         r->family->name);
    if (!(fraction > 0 && fraction <= 1))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %g: more than 0 and at most 1 is possible", top,
                         fraction);
    r->shape->rotary = (size_t)((double)r->shape->head_dim * fraction);
    return RRT_STATUS_OK;
}

// Local layers with their own base: in an object per kind of layers, or in keys at the top level.
static rrt_status read_local(const reader *r, const json_t *local, rrt_error *err)
{
    const char *type;
    RRT__TRY(rrt__json_real_or(r->json, "rope_local_base_freq", r->family->absent.local_rope_base,
                               &r->shape->local_rope_base, err));
    RRT__TRY(
        rrt__json_real_or(local, "rope_theta", r->shape->local_rope_base, &r->shape->local_rope_base, err));
    RRT__TRY(rrt__json_string_or(local, "rope_type", "default", &type, err));
    if (strcmp(type, "default") == 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the rope scaling '%s' of local layers is not supported",
                     type);
}

static rrt_status check_object(const json_t *value, const char *key, rrt_error *err)
{
    if (rrt__json_is_absent(value) || json_is_object(value)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" has the wrong type: an object is expected", key);
}

rrt_status rrt__rope_from_json(rrt__shape *shape, const rrt__family *family, const json_t *json,
                               rrt_error *err)
{
    const json_t *parameters = json_object_get(json, "rope_parameters"),
                 *old = json_object_get(json, "rope_scaling");
    const json_t *global = json_object_get(parameters, "full_attention"),
                 *local = json_object_get(parameters, "sliding_attention");
    reader r = {shape, family, json, json_object_size(old) ? old : parameters, &shape->rope};
    RRT__TRY(check_object(parameters, "rope_parameters", err));
    RRT__TRY(check_object(old, "rope_scaling", err));
    if (family->absent.local_rope_base != 0) {
        RRT__TRY(read_local(&r, local, err));
        r.scaling = json_object_size(old) ? old : global;
    } else if (global || local) {
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "\"rope_parameters\" for each kind of layers are not supported in"
                         " models of '%s'",
                         family->name);
    }
    const char *top = family->norm == RRT__NORM_LAYER ? "rotary_emb_base" : "rope_theta";
    RRT__TRY(rrt__json_real_or(json, top, family->absent.rope_base, &shape->rope.base, err));
    RRT__TRY(rrt__json_real_or(global, "rope_theta", shape->rope.base, &shape->rope.base, err));
    RRT__TRY(rrt__json_real_or(r.scaling, "rope_theta", shape->rope.base, &shape->rope.base, err));
    RRT__TRY(read_kind(&r, err));
    RRT__TRY(read_fraction(&r, err));
    return read_scaling(&r, err);
}

// Readers truncate head_dim · fraction to a whole number, and nine digits are written: a third rounded down
// would lose one value. So the ninth digit is rounded up.
static double rotary_fraction(const rrt__shape *s)
{
    double fraction = ceil(1e9 * (double)s->rotary / (double)s->head_dim) / 1e9;
    return (size_t)(fraction * (double)s->head_dim) < s->rotary ? fraction + 1e-9 : fraction;
}

static json_t *divisors_to_json(const float *divisors, size_t pairs)
{
    json_t *list = json_array();
    for (size_t i = 0; i < pairs; i++) json_array_append_new(list, json_real((double)divisors[i]));
    return list;
}

static json_t *scaling_to_json(const rrt__rope *rope, size_t rotary)
{
    json_t *json = json_pack("{s:s, s:f}", "rope_type", rrt__rope_name(rope->kind), "factor", rope->factor);
    if (rope->kind == RRT__ROPE_LINEAR || rope->kind == RRT__ROPE_DYNAMIC) return json;
    json_object_set_new(json, "original_max_position_embeddings",
                        json_integer((json_int_t)rope->original_context));
    if (rope->kind == RRT__ROPE_LLAMA3) {
        json_object_set_new(json, "low_freq_factor", json_real(rope->slow));
        json_object_set_new(json, "high_freq_factor", json_real(rope->fast));
        return json;
    }
    json_object_set_new(json, "attention_factor", json_real(rope->attention_factor));
    if (rope->kind == RRT__ROPE_YARN) {
        json_object_set_new(json, "beta_fast", json_real(rope->fast));
        json_object_set_new(json, "beta_slow", json_real(rope->slow));
        json_object_set_new(json, "truncate", json_boolean(!rope->exact_ramp));
        return json;
    }
    json_object_set_new(json, "short_factor", divisors_to_json(rope->short_divisors, rotary / 2));
    json_object_set_new(json, "long_factor", divisors_to_json(rope->long_divisors, rotary / 2));
    return json;
}

void rrt__rope_to_json(json_t *json, const rrt_model *model)
{
    const rrt__shape *s = &model->shape;
    const rrt__rope *rope = &s->rope;
    bool neox = model->family->norm == RRT__NORM_LAYER;
    json_object_set_new(json, neox ? "rotary_emb_base" : "rope_theta", json_real(rope->base));
    if (s->local_rope_base != 0)
        json_object_set_new(json, "rope_local_base_freq", json_real(s->local_rope_base));
    if (neox || s->rotary != s->head_dim)
        json_object_set_new(json, neox ? "rotary_pct" : "partial_rotary_factor",
                            json_real(rotary_fraction(s)));
    if (rope->kind == RRT__ROPE_DEFAULT) return;
    json_object_set_new(json, "rope_scaling", scaling_to_json(rope, s->rotary));
    if (rope->kind == RRT__ROPE_DYNAMIC) // the context depends on it
        json_object_set_new(json, "max_position_embeddings",
                            json_integer((json_int_t)rope->original_context));
    if (model->family->absent.original_context != 0) // readers look here first
        json_object_set_new(json, "original_max_position_embeddings",
                            json_integer((json_int_t)rope->original_context));
}
