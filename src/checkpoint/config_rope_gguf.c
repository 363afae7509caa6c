// Rotary settings of a GGUF file: keys, and tensors of divisors. Their interpretation is llama.cpp's.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/config.h"

typedef struct reader {
    const rrt__gguf *gguf;
    const char *arch;
    size_t pairs;
    rrt__rope *rope;
} reader;

static rrt_status read_real(const reader *r, const char *name, double fallback, double *out, rrt_error *err)
{
    char key[160];
    *out = fallback;
    snprintf(key, sizeof key, "%s.rope.%s", r->arch, name);
    return rrt__gguf_has(r->gguf, key) ? rrt__gguf_number(r->gguf, key, out, err) : RRT_STATUS_OK;
}

static rrt_status read_kind(const reader *r, rrt_error *err)
{
    char key[160], name[40];
    rrt__slice type = {"linear", 6};
    snprintf(key, sizeof key, "%s.rope.scaling.type", r->arch);
    if (rrt__gguf_has(r->gguf, key)) RRT__TRY(rrt__gguf_string(r->gguf, key, &type, err));
    snprintf(name, sizeof name, "%.*s", (int)(type.length < 39 ? type.length : 39), type.data);
    bool none = strcmp(name, "none") == 0;
    bool known = none || rrt__rope_parse(&r->rope->kind, name);
    if (none) r->rope->kind = RRT__ROPE_DEFAULT;
    if (known && r->rope->kind != RRT__ROPE_DYNAMIC && r->rope->kind != RRT__ROPE_LLAMA3)
        return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                     "%s '%s' is not supported: none, linear, yarn and longrope are", key, name);
}

// Divisors times the factor that divides all angles.
static rrt_status read_divisors(const reader *r, const char *name, double factor, float *out, rrt_error *err)
{
    const rrt__tensor *tensor = rrt__tensor_table_find(rrt__gguf_tensors(r->gguf), name);
    if (r->pairs > RRT__ROPE_MAX_PAIRS)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "a rope scaling of %zu pairs is not supported, at most %d are", r->pairs,
                         RRT__ROPE_MAX_PAIRS);
    if (tensor) RRT__TRY(rrt__tensor_read(tensor, r->pairs, 0, out, err));
    for (size_t i = 0; i < r->pairs; i++) {
        out[i] = (tensor ? out[i] : 1) * (float)factor;
        if (!(out[i] > 0 && isfinite(out[i])))
            return rrt__fail(err, RRT_STATUS_FORMAT, "value %zu of the tensor '%s' is no positive number", i,
                             name);
    }
    return RRT_STATUS_OK;
}

static rrt_status read_yarn(const reader *r, double factor, double multiplier, rrt_error *err)
{
    double said;
    r->rope->factor = factor;
    r->rope->fast = 32;
    r->rope->slow = 1;
    r->rope->attention_factor = multiplier * (factor <= 1 ? 1 : 0.1 * log(factor) + 1);
    // The converter writes this key, but llama.cpp ignores it.
    RRT__TRY(read_real(r, "scaling.yarn_attn_factor", 1, &said, err));
    if (said == 1 || fabs(said - r->rope->attention_factor) < 1e-4) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                     "%s.rope.scaling.yarn_attn_factor %g is not supported, only %g is", r->arch, said,
                     r->rope->attention_factor);
}

rrt_status rrt__rope_from_gguf(rrt__shape *shape, const rrt__family *family, const rrt__gguf *gguf,
                               const char *arch, rrt_error *err)
{
    rrt__rope *rope = &shape->rope;
    const reader r = {gguf, arch, shape->rotary / 2, rope};
    double factor, old_factor, multiplier, local = family->absent.local_rope_base;
    const rrt__tensor_table *tensors = rrt__gguf_tensors(gguf);
    bool divides = rrt__tensor_table_find(tensors, RRT__GGUF_ROPE_DIVISORS) != NULL;
    RRT__TRY(read_real(&r, "freq_base", 10000, &rope->base, err));
    RRT__TRY(read_real(&r, "freq_base_swa", local != 0 ? local : rope->base, &shape->local_rope_base, err));
    if (family->window != RRT__WINDOW_PATTERN || (local == 0 && shape->local_rope_base == rope->base))
        shape->local_rope_base = 0;
    RRT__TRY(read_kind(&r, err));
    RRT__TRY(read_real(&r, "scale_linear", 0, &old_factor, err));
    RRT__TRY(read_real(&r, "scaling.factor", old_factor, &factor, err));
    RRT__TRY(read_real(&r, "scaling.attn_factor", 1, &multiplier, err));
    RRT__TRY(read_real(&r, "scaling.original_context_length", (double)shape->context, &rope->original_context,
                       err));
    if (multiplier != 1 && shape->local_rope_base != 0) // it would also apply to local layers
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "%s.rope.scaling.attn_factor %g is not supported", arch,
                         multiplier);
    // llama.cpp stretches local layers in this case.
    if (factor > 1 && rope->kind == RRT__ROPE_DEFAULT && family->window == RRT__WINDOW_PATTERN && local == 0)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "%s.rope.scaling.type 'none' beside a factor of %g is not supported", arch, factor);
    if (factor == 0 || rope->kind == RRT__ROPE_DEFAULT) factor = 1;
    rope->factor = factor;
    // By length if there are such tensors, whatever the type is.
    bool by_length = rrt__tensor_table_find(tensors, RRT__GGUF_ROPE_LONG) ||
                     rrt__tensor_table_find(tensors, RRT__GGUF_ROPE_SHORT);
    if (rope->kind == RRT__ROPE_YARN && (divides || by_length))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "a rope scaling 'yarn' beside a tensor of divisors ('%s') is not supported",
                         by_length ? RRT__GGUF_ROPE_LONG : RRT__GGUF_ROPE_DIVISORS);
    if (rope->kind == RRT__ROPE_YARN) return read_yarn(&r, factor, multiplier, err);
    if (!divides && !by_length && multiplier == 1) {
        rope->kind = factor == 1 ? RRT__ROPE_DEFAULT : RRT__ROPE_LINEAR;
        return RRT_STATUS_OK;
    }
    // The rest is a table of divisors.
    rope->kind = RRT__ROPE_LONGROPE;
    rope->attention_factor = multiplier;
    RRT__TRY(read_divisors(&r, by_length ? RRT__GGUF_ROPE_SHORT : RRT__GGUF_ROPE_DIVISORS, factor,
                           rope->short_divisors, err));
    return read_divisors(&r, by_length ? RRT__GGUF_ROPE_LONG : RRT__GGUF_ROPE_DIVISORS, factor,
                         rope->long_divisors, err);
}
