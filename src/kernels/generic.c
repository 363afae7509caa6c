// The kernels, written for the compiler's vectoriser. Compiled once per instruction set with
// RRT__VARIANT=reference|avx2|avx512 and without contraction: only an explicit fmaf is fused, in
// every variant.
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/vector.h"

// Products with quantised matrices are hand-written where it pays (packed_*.c).
#define RRT__MULTIPLY RRT__PASTE(rrt__packed_multiply_, RRT__MULTIPLY_VARIANT)

// Σ (x[i] - offset)²
static float sum_squares(const float *restrict x, float offset, size_t count)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
#pragma omp simd
        for (size_t l = 0; l < LANES; l++) lane[l] = fmaf(x[i + l] - offset, x[i + l] - offset, lane[l]);
    for (size_t l = 0; i + l < count; l++) lane[l] = fmaf(x[i + l] - offset, x[i + l] - offset, lane[l]);
    return add_lanes(lane);
}

// The factor of a norm. A sum of squares beyond f32's range would make it 0 and everything after it a
// plausible number: it gives NaN instead, which is reported.
static float norm_scale(float squares, size_t width, float epsilon)
{
    return isfinite(squares) ? 1.0f / sqrtf(squares / (float)width + epsilon) : NAN;
}

static void rms_norm(float *out, const float *x, const float *gain, size_t rows, size_t width, float epsilon)
{
    for (size_t r = 0; r < rows; r++, x += width, out += width) {
        float scale = norm_scale(sum_squares(x, 0, width), width, epsilon);
#pragma omp simd
        for (size_t i = 0; i < width; i++) out[i] = x[i] * scale * gain[i];
    }
}

static void layer_norm(float *out, const float *x, const float *gain, const float *bias, size_t rows,
                       size_t width, float epsilon)
{
    for (size_t r = 0; r < rows; r++, x += width, out += width) {
        float mean = sum(x, width) / (float)width;
        float scale = norm_scale(sum_squares(x, mean, width), width, epsilon);
#pragma omp simd
        for (size_t i = 0; i < width; i++) out[i] = fmaf((x[i] - mean) * scale, gain[i], bias[i]);
    }
}

static void rope(float *x, const float *cos_sin, size_t heads, size_t head_dim, size_t rotary)
{
    size_t half = rotary / 2;
    for (size_t h = 0; h < heads; h++, x += head_dim) {
#pragma omp simd
        for (size_t i = 0; i < half; i++) {
            float a = x[i], b = x[i + half], c = cos_sin[i], s = cos_sin[i + half];
            x[i] = fmaf(a, c, -(b * s));
            x[i + half] = fmaf(b, c, a * s);
        }
    }
}

static void silu_mul(float *restrict out, const float *restrict gate, const float *restrict up, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) out[i] = gate[i] / (1.0f + fast_exp(-gate[i])) * up[i];
}

static void sigmoid_mul(float *restrict x, const float *restrict gate, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] /= 1.0f + fast_exp(-gate[i]);
}

static void gelu_mul(float *restrict out, const float *restrict gate, const float *restrict up, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float x = gate[i], twice_u = 1.59576912f * fmaf(0.044715f * x * x, x, x);
        out[i] = x / (1.0f + fast_exp(-twice_u)) * up[i];
    }
}

static void gelu(float *restrict out, const float *restrict x, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678f));
}

static float softmax(float *restrict x, size_t count)
{
    float total, largest = exponentials(x, count, &total), scale = 1.0f / total;
#pragma omp simd
    for (size_t i = 0; i < count; i++) x[i] *= scale;
    return largest + logf(total);
}

// Quantises block b of a row.
static void quantise_block(rrt__quantised to, size_t b, const float *restrict x)
{
    int8_t *restrict quants = to.quants + b * RRT__BLOCK;
    float largest = 0, finite = 0;
#pragma omp simd reduction(max : largest) reduction(+ : finite)
    for (size_t i = 0; i < RRT__BLOCK; i++) {
        float size = fabsf(x[i]);
        largest = size > largest ? size : largest;
        finite += x[i] * 0; // NaN if any value is not finite
    }
    float inverse = largest > 1e-30f ? 127 / largest : 0;
    int32_t totals[2] = {0};
    for (size_t h = 0; h < 2; h++) {
        int32_t total = 0;
#pragma omp simd reduction(+ : total)
        for (size_t i = h * RRT__BLOCK / 2; i < (h + 1) * RRT__BLOCK / 2; i++) {
            float rounded = rintf(x[i] * inverse);
            int32_t quant = (int32_t)(rounded >= -127 ? rounded : -127); // for NaN, too
            quants[i] = (int8_t)quant;
            total += quant;
        }
        totals[h] = total;
        to.half_sums[2 * b + h] = (int16_t)total;
    }
    to.scales[b] = largest / 127 + finite;
    to.sums[b] = totals[0] + totals[1];
}

static void quantise(rrt__quantised to, const float *x, size_t count)
{
    size_t b = 0;
    for (; (b + 1) * RRT__BLOCK <= count; b++) quantise_block(to, b, x + b * RRT__BLOCK);
    if (b * RRT__BLOCK == count) return;
    float last[RRT__BLOCK] = {0};
    memcpy(last, x + b * RRT__BLOCK, (count - b * RRT__BLOCK) * sizeof *x);
    quantise_block(to, b, last);
}

static double log_sum_exp(const float *x, size_t count)
{
    float largest = max_of(x, count);
    double total = 0;
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        size_t end = count - begin < BLOCK ? count : begin + BLOCK, i = begin;
        float lane[LANES] = {0};
        for (; i + LANES <= end; i += LANES)
#pragma omp simd
            for (size_t l = 0; l < LANES; l++) lane[l] += fast_exp(x[i + l] - largest);
        for (size_t l = 0; i + l < end; l++) lane[l] += fast_exp(x[i + l] - largest);
        total += add_lanes(lane);
    }
    return largest + log(total);
}

static double kl_divergence(const float *p, const float *q, size_t count)
{
    float p_largest = max_of(p, count), q_largest = max_of(q, count);
    double p_sum = 0, q_sum = 0, cross = 0;
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        size_t end = count - begin < BLOCK ? count : begin + BLOCK;
        float p_part = 0, q_part = 0, cross_part = 0;
#pragma omp simd reduction(+ : p_part, q_part, cross_part)
        for (size_t i = begin; i < end; i++) {
            float a = p[i] - p_largest, b = q[i] - q_largest, weight = fast_exp(a);
            p_part += weight;
            q_part += fast_exp(b);
            cross_part += weight * (a - b);
        }
        p_sum += p_part;
        q_sum += q_part;
        cross += cross_part;
    }
    return cross / p_sum - log(p_sum) + log(q_sum);
}

const rrt__kernels RRT__VARIANT_NAME(rrt__kernels_) = {RRT__VARIANT_STRING,
                                                       rms_norm,
                                                       layer_norm,
                                                       rope,
                                                       silu_mul,
                                                       sigmoid_mul,
                                                       gelu_mul,
                                                       gelu,
                                                       cap_softly,
                                                       softmax,
                                                       RRT__VARIANT_NAME(rrt__kv_store_),
                                                       RRT__VARIANT_NAME(rrt__kv_copy_),
                                                       RRT__VARIANT_NAME(rrt__kv_attend_),
                                                       RRT__VARIANT_NAME(rrt__kv_merge_),
                                                       quantise,
                                                       RRT__MULTIPLY,
                                                       RRT__VARIANT_NAME(rrt__plain_multiply_),
                                                       RRT__VARIANT_NAME(rrt__pack_group_),
                                                       log_sum_exp,
                                                       kl_divergence};
