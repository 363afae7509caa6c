// The training kernels for the vectoriser, compiled once per instruction set like generic.c.
#include <math.h>

#include "kernels/gradients.h"
#include "kernels/vector.h"

static void rms_norm(float *restrict dx, float *restrict dgain, const float *restrict x,
                     const float *restrict gain, const float *restrict dy, size_t rows, size_t width,
                     float epsilon)
{
    for (size_t r = 0; r < rows; r++, x += width, dx += width, dy += width) {
        float squares = 0, through = 0;
#pragma omp simd reduction(+ : squares, through)
        for (size_t i = 0; i < width; i++) {
            squares += x[i] * x[i];
            through += dy[i] * gain[i] * x[i];
        }
        float scale = 1.0f / sqrtf(squares / (float)width + epsilon);
        through *= scale * scale / (float)width;
#pragma omp simd
        for (size_t i = 0; i < width; i++) {
            dx[i] += scale * (dy[i] * gain[i] - x[i] * through);
            dgain[i] += dy[i] * x[i] * scale;
        }
    }
}

static void layer_norm(float *restrict dx, float *restrict dgain, float *restrict dbias,
                       const float *restrict x, const float *restrict gain, const float *restrict dy,
                       size_t rows, size_t width, float epsilon)
{
    float share = 1.0f / (float)width;
    for (size_t r = 0; r < rows; r++, x += width, dx += width, dy += width) {
        float mean = 0, variance = 0, d_mean = 0, through = 0;
#pragma omp simd reduction(+ : mean)
        for (size_t i = 0; i < width; i++) mean += x[i];
        mean *= share;
#pragma omp simd reduction(+ : variance, d_mean, through)
        for (size_t i = 0; i < width; i++) {
            variance += (x[i] - mean) * (x[i] - mean);
            d_mean += dy[i] * gain[i];
            through += dy[i] * gain[i] * (x[i] - mean);
        }
        float scale = 1.0f / sqrtf(variance * share + epsilon);
        d_mean *= share;
        through *= scale * scale * share;
#pragma omp simd
        for (size_t i = 0; i < width; i++) {
            dx[i] += scale * (dy[i] * gain[i] - d_mean - (x[i] - mean) * through);
            dgain[i] += dy[i] * (x[i] - mean) * scale;
            dbias[i] += dy[i];
        }
    }
}

static void rope(float *dx, const float *cos_sin, size_t heads, size_t head_dim, size_t rotary)
{
    size_t half = rotary / 2;
    for (size_t h = 0; h < heads; h++, dx += head_dim) {
#pragma omp simd
        for (size_t i = 0; i < half; i++) {
            float a = dx[i], b = dx[i + half], c = cos_sin[i], s = cos_sin[i + half];
            dx[i] = a * c + b * s;
            dx[i + half] = b * c - a * s;
        }
    }
}

static void silu_mul(float *restrict gate, float *restrict up, float *restrict dy, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float g = gate[i], u = up[i], d = dy[i], sigmoid = 1.0f / (1.0f + fast_exp(-g));
        gate[i] = d * u * sigmoid * (1.0f + g * (1.0f - sigmoid));
        up[i] = d * g * sigmoid;
        dy[i] = g * sigmoid * u;
    }
}

static void gelu_mul(float *restrict gate, float *restrict up, float *restrict dy, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float x = gate[i], u = up[i], d = dy[i];
        float sigmoid = 1.0f / (1.0f + fast_exp(-1.59576912f * (x + 0.044715f * x * x * x)));
        float slope = 1.59576912f * (1.0f + 0.134145f * x * x);
        gate[i] = d * u * sigmoid * (1.0f + x * (1.0f - sigmoid) * slope);
        up[i] = d * x * sigmoid;
        dy[i] = x * sigmoid * u;
    }
}

static void softcap(float *restrict dy, const float *restrict y, float cap, size_t count)
{
    float inverse = 1.0f / cap;
#pragma omp simd
    for (size_t i = 0; i < count; i++) dy[i] *= 1.0f - y[i] * inverse * (y[i] * inverse);
}

static void gelu(float *restrict x, float *restrict dy, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = x[i], phi = 0.5f * (1.0f + erff(value * 0.70710678f));
        float density = 0.39894228f * fast_exp(-0.5f * value * value);
        x[i] = dy[i] * (phi + value * density);
        dy[i] = value * phi;
    }
}

static void softmax(float *restrict p, float *restrict dp, float log_sum, float through, float scale,
                    size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        p[i] = fast_exp(p[i] - log_sum);
        dp[i] = scale * p[i] * (dp[i] - through);
    }
}

// ln Σ exp(x[i] · inverse_temperature)
static float log_sum_exp(const float *restrict x, size_t count, float inverse_temperature)
{
    float largest = max_of(x, count) * inverse_temperature;
    double sum = 0;
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        size_t end = count - begin < BLOCK ? count : begin + BLOCK;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (size_t i = begin; i < end; i++) part += fast_exp(x[i] * inverse_temperature - largest);
        sum += part;
    }
    return largest + (float)log(sum);
}

static double cross_entropy(float *restrict gradient, const float *restrict logits, size_t vocab,
                            size_t target, float weight)
{
    float total = log_sum_exp(logits, vocab, 1);
#pragma omp simd
    for (size_t i = 0; i < vocab; i++) gradient[i] += weight * fast_exp(logits[i] - total);
    gradient[target] -= weight;
    return (double)total - logits[target];
}

// Runs BODY for every token with p, q and their logarithms; the sums first and second are in double between
// blocks of floats. One loop for all divergences, each with its own straight-line code.
#define EACH_TOKEN(BODY)                                                                                     \
    float inverse = 1.0f / temperature;                                                                      \
    float q_total = log_sum_exp(student, vocab, inverse), p_total = log_sum_exp(teacher, vocab, inverse);    \
    double first_sum = 0, second_sum = 0;                                                                    \
    for (size_t begin = 0; begin < vocab; begin += BLOCK) {                                                  \
        size_t end = vocab - begin < BLOCK ? vocab : begin + BLOCK;                                          \
        float first = 0, second = 0;                                                                         \
        _Pragma("omp simd reduction(+ : first, second)") for (size_t i = begin; i < end; i++)                \
        {                                                                                                    \
            float log_q = student[i] * inverse - q_total, log_p = teacher[i] * inverse - p_total;            \
            float q = fast_exp(log_q), p = fast_exp(log_p);                                                  \
            (void)p;                                                                                         \
            BODY                                                                                             \
        }                                                                                                    \
        first_sum += first;                                                                                  \
        second_sum += second;                                                                                \
    }

// gradient -= scale · softmax(student / T): the part of a gradient with respect to q that all tokens share.
static void take_off(float *restrict gradient, const float *restrict student, size_t vocab, float scale,
                     float inverse, float q_total)
{
#pragma omp simd
    for (size_t i = 0; i < vocab; i++) gradient[i] -= scale * fast_exp(student[i] * inverse - q_total);
}

static double forward_kl(float *restrict gradient, const float *restrict student,
                         const float *restrict teacher, size_t vocab, float temperature, float weight)
{
    float slope = weight * temperature;
    EACH_TOKEN({
        first += p * (log_p - log_q);
        gradient[i] += slope * (q - p);
    })
    (void)second_sum;
    return first_sum * temperature * temperature;
}

static double reverse_kl(float *restrict gradient, const float *restrict student,
                         const float *restrict teacher, size_t vocab, float temperature, float weight)
{
    float slope = weight * temperature;
    EACH_TOKEN({
        float part = q * (log_q - log_p);
        first += part;
        second += q;
        gradient[i] += slope * part;
    })
    float through = (float)(first_sum / second_sum);
    take_off(gradient, student, vocab, slope * through, inverse, q_total);
    return first_sum * temperature * temperature;
}

static double jensen_shannon(float *restrict gradient, const float *restrict student,
                             const float *restrict teacher, size_t vocab, float temperature, float weight)
{
    float slope = weight * temperature;
    EACH_TOKEN({
        float log_m = logf(0.5f * (p + q));
        float part = 0.5f * q * (log_q - log_m);
        first += 0.5f * p * (log_p - log_m);
        second += part;
        gradient[i] += slope * part;
    })
    float through = (float)second_sum;
    take_off(gradient, student, vocab, slope * through, inverse, q_total);
    return (first_sum + second_sum) * temperature * temperature;
}

static double total_variation(float *restrict gradient, const float *restrict student,
                              const float *restrict teacher, size_t vocab, float temperature, float weight)
{
    float slope = weight * temperature;
    EACH_TOKEN({
        float part = q > p ? 0.5f * q : -0.5f * q;
        first += 0.5f * fabsf(p - q);
        second += part;
        gradient[i] += slope * part;
    })
    float through = (float)second_sum;
    take_off(gradient, student, vocab, slope * through, inverse, q_total);
    return first_sum * temperature * temperature;
}

static void adam(float *restrict weights, float *restrict mean, float *restrict variance,
                 const float *restrict gradient, size_t count, const rrt__adam *step)
{
    const rrt__adam s = *step;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i] * s.gradient_scale;
        float m = s.beta1 * mean[i] + (1.0f - s.beta1) * g;
        float v = s.beta2 * variance[i] + (1.0f - s.beta2) * g * g;
        float update = m * s.correction1 / (sqrtf(v * s.correction2) + s.epsilon);
        weights[i] -= s.learning_rate * (update + s.weight_decay * weights[i]);
        mean[i] = m;
        variance[i] = v;
    }
}

static double sum_squares(const float *restrict x, size_t count)
{
    double sum = 0;
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        size_t end = count - begin < BLOCK ? count : begin + BLOCK;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (size_t i = begin; i < end; i++) part += x[i] * x[i];
        sum += part;
    }
    return sum;
}

const rrt__gradient_kernels RRT__VARIANT_NAME(rrt__gradient_kernels_) = {
    rms_norm, layer_norm, rope,    silu_mul,      gelu_mul,
    gelu,     softmax,    softcap, cross_entropy, {forward_kl, reverse_kl, jensen_shannon, total_variation},
    adam,     sum_squares};
