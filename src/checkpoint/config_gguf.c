// Reads a GGUF file's metadata. The meaning of keys, and their defaults, are those of llama.cpp, which reads
// some of them for some architectures only.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/config.h"

enum { MAX_SIZE = 1 << 20 };

typedef struct reader {
    const rrt__gguf *gguf;
    char arch[64];
    const rrt__family *family;
    rrt__config *config;
    rrt__shape *shape;
} reader;

// The full key of one of the architecture's settings, "llama.block_count".
static const char *key_of(const reader *r, char key[160], const char *name)
{
    snprintf(key, 160, "%s.%s", r->arch, name);
    return key;
}

static bool has(const reader *r, const char *name)
{
    char key[160];
    return rrt__gguf_has(r->gguf, key_of(r, key, name));
}

// A number, or a list with one per layer, which must all be equal.
static rrt_status read_listed(const reader *r, const char *name, int64_t *out, rrt_error *err)
{
    char key[160];
    int64_t values[RRT__MAX_DEPTHS];
    size_t count;
    RRT__TRY(rrt__gguf_array_count(r->gguf, key_of(r, key, name), &count, err));
    if (count < 1 || count > RRT__MAX_DEPTHS)
        return rrt__fail(err, RRT_STATUS_FORMAT, "%s lists %zu layers: 1 to %d are possible", key, count,
                         RRT__MAX_DEPTHS);
    RRT__TRY(rrt__gguf_ints(r->gguf, key, values, count, err));
    for (size_t i = 1; i < count; i++)
        if (values[i] != values[0])
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                             "%s differs from layer to layer, which is not supported", key);
    *out = values[0];
    return RRT_STATUS_OK;
}

// fallback 0: the key is required.
static rrt_status read_size(const reader *r, const char *name, int64_t max, size_t fallback, size_t *out,
                            rrt_error *err)
{
    char key[160];
    int64_t value;
    if (rrt__gguf_is_array(r->gguf, key_of(r, key, name))) {
        RRT__TRY(read_listed(r, name, &value, err));
        if (value < 1 || value > max)
            return rrt__fail(err, RRT_STATUS_FORMAT, "%s is %lld: 1 to %lld is possible", key,
                             (long long)value, (long long)max);
    } else {
        RRT__TRY(fallback ? rrt__gguf_int_or(r->gguf, key, 1, max, (int64_t)fallback, &value, err)
                          : rrt__gguf_int(r->gguf, key, 1, max, &value, err));
    }
    *out = (size_t)value;
    return RRT_STATUS_OK;
}

static rrt_status read_real(const reader *r, const char *name, double fallback, double *out, rrt_error *err)
{
    char key[160];
    return rrt__gguf_real_or(r->gguf, key_of(r, key, name), fallback, out, err);
}

// Refuses settings that change the result in some architectures, unless they have the neutral value
// given here.
static rrt_status refuse_others(const reader *r, rrt_error *err)
{
    static const struct {
        const char *name;
        double harmless;
    } keys[] = {{"expert_count", 0},
                {"attention.max_alibi_bias", 0},
                {"attention.clamp_kqv", 0},
                {"nextn_predict_layers", 0},
                {"pooling_type", 0},
                {"rope.scaling.yarn_log_multiplier", 0},
                {"rope.scaling.yarn_beta_fast", 32},
                {"rope.scaling.yarn_beta_slow", 1}};
    char key[160];
    bool causal;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value = keys[i].harmless;
        if (!has(r, keys[i].name)) continue;
        RRT__TRY(rrt__gguf_number(r->gguf, key_of(r, key, keys[i].name), &value, err));
        if (value == keys[i].harmless) continue;
        if (i == 0)
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a mixture of %g experts (%s) is not supported",
                             value, key);
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s %g is not supported, only %g is", key, value,
                         keys[i].harmless);
    }
    RRT__TRY(rrt__gguf_bool_or(r->gguf, key_of(r, key, "attention.causal"), true, &causal, err));
    if (causal) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "attention in both directions (%s false) is not supported",
                     key);
}

static rrt_status read_sizes(const reader *r, rrt_error *err)
{
    rrt__shape *s = r->shape;
    size_t value_length;
    RRT__TRY(read_size(r, "embedding_length", MAX_SIZE, 0, &s->hidden, err));
    RRT__TRY(read_size(r, "feed_forward_length", MAX_SIZE, 0, &s->ffn, err));
    RRT__TRY(read_size(r, "attention.head_count", MAX_SIZE, 0, &s->heads, err));
    RRT__TRY(read_size(r, "attention.head_count_kv", MAX_SIZE, s->heads, &s->kv_heads, err));
    RRT__TRY(read_size(r, "attention.key_length", MAX_SIZE, s->hidden / s->heads, &s->head_dim, err));
    RRT__TRY(read_size(r, "attention.value_length", MAX_SIZE, s->head_dim, &value_length, err));
    RRT__TRY(read_size(r, "rope.dimension_count", MAX_SIZE, s->head_dim, &s->rotary, err));
    RRT__TRY(read_size(r, "context_length", RRT__MAX_CONTEXT, 0, &s->context, err));
    if (value_length != s->head_dim)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "values of %zu beside keys of %zu are not supported",
                         value_length, s->head_dim);
    if (!r->family->partial_rotary && s->rotary != s->head_dim)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "%s.rope.dimension_count %zu is not supported, only whole heads of %zu", r->arch,
                         s->rotary, s->head_dim);
    const rrt__tensor *embedding = rrt__tensor_table_find(rrt__gguf_tensors(r->gguf), "token_embd.weight");
    if (!embedding || embedding->n_dims != 2)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the tensor 'token_embd.weight' is missing or not a matrix");
    s->vocab = embedding->shape[0];
    s->tied_head = !rrt__tensor_table_find(rrt__gguf_tensors(r->gguf), "output.weight");
    return RRT_STATUS_OK;
}

// Gemma 2 and 3 of 27 B divide scores by another number, which no key holds: llama.cpp recognises them by the
// number of layers.
static bool is_gemma_27b(const reader *r, size_t layers)
{
    return (strcmp(r->arch, "gemma2") == 0 && layers == 46) ||
           (strcmp(r->arch, "gemma3") == 0 && layers == 62);
}

static rrt_status read_scales(const reader *r, size_t layers, rrt_error *err)
{
    const rrt__family *family = r->family;
    rrt__shape *s = r->shape;
    bool neox = family->norm == RRT__NORM_LAYER;
    const char *epsilon = neox ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    if (!has(r, epsilon))
        return rrt__fail(err, RRT_STATUS_FORMAT, "the metadata has no '%s.%s'", r->arch, epsilon);
    RRT__TRY(read_real(r, epsilon, 0, &s->norm_epsilon, err));
    if (family->scales_embedding) s->embedding_scale = (double)sqrtf((float)s->hidden);
    if (family->has_score_settings) {
        size_t per_head = s->hidden / s->heads;
        if (is_gemma_27b(r, layers)) s->attention_scale = 1 / sqrt((double)per_head);
        if (family->absent.attention_cap != 0)
            RRT__TRY(
                read_real(r, "attn_logit_softcapping", family->absent.attention_cap, &s->attention_cap, err));
        RRT__TRY(read_real(r, "final_logit_softcapping", family->absent.logit_cap, &s->logit_cap, err));
    }
    if (family->has_multipliers) {
        double divisor;
        RRT__TRY(read_real(r, "embedding_scale", 0, &s->embedding_scale, err));
        RRT__TRY(read_real(r, "residual_scale", 0, &s->residual_scale, err));
        RRT__TRY(read_real(r, "logit_scale", 0, &divisor, err));
        if (divisor == 0) return rrt__fail(err, RRT_STATUS_FORMAT, "%s.logit_scale is missing or 0", r->arch);
        s->logit_scale = 1 / divisor;
    }
    double scale, usual = s->attention_scale != 0 ? s->attention_scale : 1 / sqrt((double)s->head_dim);
    RRT__TRY(read_real(r, "attention.scale", 0, &scale, err));
    if (family->has_multipliers)
        s->attention_scale = scale;
    else if (scale != 0 && fabs(scale - usual) > 1e-6 * usual)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s.attention.scale %g is not supported, only %g is",
                         r->arch, scale, usual);
    return RRT_STATUS_OK;
}

// A matrix has a bias if the first block has one.
static void find_biases(const reader *r)
{
    const rrt__tensor_table *tensors = rrt__gguf_tensors(r->gguf);
    const rrt__names *names = &r->family->gguf;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        char name[128];
        if (!rrt__family_has(r->family, m)) continue;
        const char *matrix = (m <= RRT__MATRIX_V || m == RRT__MATRIX_ATTENTION_GATE) && names->fused_qkv
                                 ? names->fused_qkv
                                 : names->matrices[m];
        snprintf(name, sizeof name, "%s0.%s.bias", names->layers, matrix);
        r->shape->has_bias[m] = rrt__tensor_table_find(tensors, name) != NULL;
    }
}

// block_count is the number of depths; the file holds the layers of two stacks.
static rrt_status read_stacks(const reader *r, size_t depths, rrt_error *err)
{
    rrt__plan *plan = &r->config->plan;
    size_t layers, high, low;
    char key[160];
    RRT__TRY(rrt__gguf_bool_or(r->gguf, key_of(r, key, "hrm.prefix_lm"), false, &r->config->prefix_lm, err));
    RRT__TRY(read_size(r, "hrm.layers_per_stack", RRT__MAX_DEPTHS, 0, &layers, err));
    RRT__TRY(read_size(r, "hrm.h_cycles", RRT__MAX_DEPTHS, 0, &high, err));
    RRT__TRY(read_size(r, "hrm.l_cycles", RRT__MAX_DEPTHS, 0, &low, err));
    RRT__TRY(read_real(r, "embedding_scale", 1, &r->shape->embedding_scale, err));
    RRT__TRY(rrt__plan_make_stacks(plan, (int)high, (int)low, (int)layers, err));
    if ((size_t)plan->n_depths == depths) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "%s.block_count is %zu: %d depths are expected", r->arch, depths,
                     plan->n_depths);
}

// The layers that the file stores once, and the number of loops.
static rrt_status read_plan(const reader *r, size_t layers, rrt_error *err)
{
    size_t loops = 1;
    bool skips = false;
    char key[160];
    if (r->family->has_stacks) return read_stacks(r, layers, err);
    if (r->family->loops.key) {
        RRT__TRY(read_size(r, "num_loops", RRT__MAX_DEPTHS, 1, &loops, err));
        RRT__TRY(rrt__gguf_bool_or(r->gguf, key_of(r, key, "skip_loop_final_norm"), false, &skips, err));
    }
    if (rrt__family_has_cumulative_gate(r->family))
        RRT__TRY(read_real(r, "early_exit_threshold", 1, &r->config->exit_threshold, err));
    return rrt__loops_make(r->config, (int)loops, (int)layers, !skips, err);
}

// Local layers: all but the last of every so many, or as listed.
static rrt_status read_pattern(const reader *r, int layers, rrt_error *err)
{
    char key[160];
    int64_t pattern, local[RRT__MAX_DEPTHS];
    key_of(r, key, "attention.sliding_window_pattern");
    if (rrt__gguf_is_array(r->gguf, key)) {
        RRT__TRY(rrt__gguf_ints(r->gguf, key, local, (size_t)layers, err));
        for (int i = 0; i < layers; i++) r->config->attention[i] = local[i] ? RRT__ATTENTION_LOCAL : 0;
        return RRT_STATUS_OK;
    }
    RRT__TRY(rrt__gguf_int_or(r->gguf, key, 0, RRT__MAX_DEPTHS, r->family->local_pattern, &pattern, err));
    rrt__attention_from_pattern(r->config, layers, (int)pattern, 0);
    for (int i = 0; i < layers && pattern == 0; i++) r->config->attention[i] = RRT__ATTENTION_LOCAL;
    return RRT_STATUS_OK;
}

static rrt_status read_attention(const reader *r, int64_t window, int layers, rrt_error *err)
{
    rrt__attention_from_pattern(r->config, layers, 0, r->family->nope_pattern);
    r->shape->window = (size_t)window;
    if (!window) return RRT_STATUS_OK;
    if (r->family->window == RRT__WINDOW_PATTERN) return read_pattern(r, layers, err);
    if (r->family->window != RRT__WINDOW_ALL)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s.attention.sliding_window is not supported",
                         r->arch);
    for (int i = 0; i < layers; i++) r->config->attention[i] = RRT__ATTENTION_LOCAL;
    return RRT_STATUS_OK;
}

static rrt_status read_architecture(reader *r, rrt_error *err)
{
    rrt__slice arch, type;
    RRT__TRY(rrt__gguf_string(r->gguf, "general.architecture", &arch, err));
    snprintf(r->arch, sizeof r->arch, "%.*s", (int)(arch.length < 40 ? arch.length : 40), arch.data);
    if (rrt__gguf_string(r->gguf, "general.type", &type, NULL) || !type.length) return RRT_STATUS_OK;
    if (type.length == 5 && memcmp(type.data, "model", 5) == 0) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the file holds no model, but is of the type '%.*s'",
                     (int)(type.length < 40 ? type.length : 40), type.data);
}

rrt_status rrt__config_from_gguf(rrt__config *config, const rrt__gguf *gguf, rrt_error *err)
{
    *config = (rrt__config){.exit_threshold = 1};
    reader r = {.gguf = gguf, .config = config, .shape = &config->shape};
    char key[160];
    size_t layers;
    int64_t window;
    RRT__TRY(read_architecture(&r, err));
    int64_t usual = strcmp(r.arch, "gemma2") == 0 ? 4096 : 0;
    RRT__TRY(rrt__gguf_int_or(gguf, key_of(&r, key, "attention.sliding_window"), 0, RRT__MAX_CONTEXT, usual,
                              &window, err));
    RRT__TRY(rrt__family_by_gguf_name(&config->family, r.arch, window > 0, err));
    r.family = config->family;
    RRT__TRY(refuse_others(&r, err));
    RRT__TRY(read_sizes(&r, err));
    RRT__TRY(read_size(&r, "block_count", RRT__MAX_DEPTHS, 0, &layers, err));
    RRT__TRY(read_scales(&r, layers, err));
    find_biases(&r);
    if (r.family->parallel_residual)
        RRT__TRY(rrt__gguf_bool_or(gguf, key_of(&r, key, "use_parallel_residual"), true,
                                   &config->shape.parallel_residual, err));
    RRT__TRY(rrt__rope_from_gguf(&config->shape, r.family, gguf, r.arch, err));
    RRT__TRY(read_attention(&r, window, (int)layers, err));
    RRT__TRY(read_plan(&r, layers, err));
    return rrt__shape_check(&config->shape, err);
}
