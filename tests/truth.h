// The plain truth: each kernel as its formula, in double where it matters. Slow; the tests hold all tables to
// it.
#ifndef RRT__TEST_TRUTH_H
#define RRT__TEST_TRUTH_H

#include <math.h>

#include "kernels/kernels.h"

static void truth_rms_norm(float *out, const float *x, const float *gain, size_t rows, size_t width,
                           float epsilon)
{
    for (size_t r = 0; r < rows; r++, x += width, out += width) {
        double sum = 0;
        for (size_t i = 0; i < width; i++) sum += (double)x[i] * x[i];
        double scale = 1.0 / sqrt(sum / (double)width + epsilon);
        for (size_t i = 0; i < width; i++) out[i] = (float)(x[i] * scale * gain[i]);
    }
}

static void truth_layer_norm(float *out, const float *x, const float *gain, const float *bias, size_t rows,
                             size_t width, float epsilon)
{
    for (size_t r = 0; r < rows; r++, x += width, out += width) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < width; i++) mean += x[i];
        mean /= (double)width;
        for (size_t i = 0; i < width; i++) variance += (x[i] - mean) * (x[i] - mean);
        double scale = 1.0 / sqrt(variance / (double)width + epsilon);
        for (size_t i = 0; i < width; i++) out[i] = (float)((x[i] - mean) * scale * gain[i] + bias[i]);
    }
}

static void truth_rope(float *x, const float *cos_sin, size_t heads, size_t head_dim, size_t rotary)
{
    size_t half = rotary / 2;
    for (size_t h = 0; h < heads; h++, x += head_dim) {
        for (size_t i = 0; i < half; i++) {
            float a = x[i], b = x[i + half], c = cos_sin[i], s = cos_sin[i + half];
            x[i] = a * c - b * s;
            x[i + half] = b * c + a * s;
        }
    }
}

static void truth_silu_mul(float *out, const float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = (float)(gate[i] / (1.0 + exp(-(double)gate[i])) * up[i]);
}

static void truth_gelu_mul(float *out, const float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double x = gate[i], u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
        out[i] = (float)(0.5 * x * (1.0 + tanh(u)) * up[i]);
    }
}

static void truth_softcap(float *x, float cap, size_t count)
{
    for (size_t i = 0; i < count; i++) x[i] = (float)(cap * tanh((double)x[i] / cap));
}

static void truth_sigmoid_mul(float *x, const float *gate, size_t count)
{
    for (size_t i = 0; i < count; i++) x[i] = (float)(x[i] / (1.0 + exp(-(double)gate[i])));
}

static void truth_gelu(float *out, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = (float)(0.5 * x[i] * (1.0 + erf(x[i] * 0.70710678118654752)));
}

// Number i of a page's part.
static double truth_number(const unsigned char *from, size_t i, rrt__kv_type type)
{
    uint16_t half;
    float single;
    if (type == RRT__KV_TYPE_Q8_0) return ((const int8_t *)from)[i];
    if (type == RRT__KV_TYPE_F32) {
        memcpy(&single, from + i * sizeof single, sizeof single);
        return single;
    }
    memcpy(&half, from + i * sizeof half, sizeof half);
    int sign = half >> 15, exponent = half >> 10 & 31, fraction = half & 1023;
    double size = exponent == 31 ? (fraction ? NAN : INFINITY)
                  : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                 : ldexp(fraction, -24);
    return sign ? -size : size;
}

// Scale i, which follows the numbers of a page's part.
static double truth_scale(const unsigned char *from, size_t head_dim, size_t i, rrt__kv_type type)
{
    return type == RRT__KV_TYPE_Q8_0 ? truth_number(from + RRT__PAGE_TOKENS * head_dim, i, RRT__KV_TYPE_F16)
                                     : 1;
}

static double truth_key(const rrt__kv_view *kv, size_t token, size_t d)
{
    return truth_number(kv->pages[token / RRT__PAGE_TOKENS] + kv->key_offset,
                        d * RRT__PAGE_TOKENS + token % RRT__PAGE_TOKENS, kv->types.key) *
           truth_scale(kv->pages[token / RRT__PAGE_TOKENS] + kv->key_offset, kv->head_dim,
                       d / RRT__KV_BLOCK * RRT__PAGE_TOKENS + token % RRT__PAGE_TOKENS, kv->types.key);
}

static double truth_value(const rrt__kv_view *kv, size_t token, size_t d)
{
    return truth_number(kv->pages[token / RRT__PAGE_TOKENS] + kv->value_offset,
                        token % RRT__PAGE_TOKENS * kv->head_dim + d, kv->types.value) *
           truth_scale(kv->pages[token / RRT__PAGE_TOKENS] + kv->value_offset, kv->head_dim,
                       d / RRT__KV_BLOCK * RRT__PAGE_TOKENS + token % RRT__PAGE_TOKENS, kv->types.value);
}

// softmax(scores of the query · keysᵀ) · values
static inline void truth_attention(float *out, const rrt__query *query, const rrt__kv_view *kv,
                                   const rrt__scoring *scoring)
{
    double largest = -INFINITY, total = 0, *scores = malloc(query->end * sizeof *scores);
    for (size_t t = query->first; t < query->end; t++) {
        double score = 0;
        for (size_t d = 0; d < kv->head_dim; d++) score += query->vector[d] * truth_key(kv, t, d);
        score *= scoring->scale;
        scores[t] = scoring->cap != 0 ? scoring->cap * tanh(score / scoring->cap) : score;
        if (scores[t] > largest) largest = scores[t];
    }
    for (size_t t = query->first; t < query->end; t++) total += exp(scores[t] - largest);
    for (size_t d = 0; d < kv->head_dim; d++) {
        double sum = 0;
        for (size_t t = query->first; t < query->end; t++)
            sum += exp(scores[t] - largest) / total * truth_value(kv, t, d);
        out[d] = (float)sum;
    }
    free(scores);
}

static double truth_log_sum_exp(const float *x, size_t count)
{
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++)
        if (x[i] > largest) largest = x[i];
    for (size_t i = 0; i < count; i++) sum += exp(x[i] - largest);
    return largest + log(sum);
}

static float truth_softmax(float *x, size_t count)
{
    double total = truth_log_sum_exp(x, count);
    for (size_t i = 0; i < count; i++) x[i] = (float)exp(x[i] - total);
    return (float)total;
}

static double truth_kl_divergence(const float *p, const float *q, size_t count)
{
    double p_total = truth_log_sum_exp(p, count), q_total = truth_log_sum_exp(q, count), sum = 0;
    for (size_t i = 0; i < count; i++) sum += exp(p[i] - p_total) * ((p[i] - p_total) - (q[i] - q_total));
    return sum;
}

static void truth_quantise(rrt__quantised to, const float *x, size_t count)
{
    for (size_t begin = 0, b = 0; begin < count; begin += RRT__BLOCK, b++) {
        size_t end = count - begin < RRT__BLOCK ? count : begin + RRT__BLOCK;
        float largest = 0;
        for (size_t i = begin; i < end && !isnan(largest); i++)
            largest = isnan(x[i]) || fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
        to.scales[b] = largest / 127;
        to.sums[b] = to.half_sums[2 * b] = to.half_sums[2 * b + 1] = 0;
        for (size_t i = begin; i < begin + RRT__BLOCK; i++) {
            float quant =
                i < end && largest > 1e-30f && isfinite(largest) ? rintf(x[i] * (127 / largest)) : 0;
            to.quants[i] = (int8_t)quant;
            to.sums[b] += to.quants[i];
            to.half_sums[2 * b + (i - begin) / 16] += to.quants[i];
        }
    }
}

static const rrt__kernels truth_kernels = {"truth",
                                           truth_rms_norm,
                                           truth_layer_norm,
                                           truth_rope,
                                           truth_silu_mul,
                                           truth_sigmoid_mul,
                                           truth_gelu_mul,
                                           truth_gelu,
                                           truth_softcap,
                                           truth_softmax,
                                           rrt__kv_store_reference,
                                           rrt__kv_copy_reference,
                                           rrt__kv_attend_reference,
                                           rrt__kv_merge_reference,
                                           truth_quantise,
                                           rrt__packed_multiply_reference,
                                           rrt__plain_multiply_reference,
                                           rrt__pack_group_reference,
                                           truth_log_sum_exp,
                                           truth_kl_divergence};

#endif
