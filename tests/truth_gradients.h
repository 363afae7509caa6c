// The plain truth of the training kernels: each as its formula, in double.
#ifndef RRT__TEST_TRUTH_GRADIENTS_H
#define RRT__TEST_TRUTH_GRADIENTS_H

#include <math.h>

#include "kernels/gradients.h"
#include "kernels/kernels.h"

static void truth_d_rms_norm(float *dx, float *dgain, const float *x, const float *gain, const float *dy,
                             size_t rows, size_t width, float epsilon)
{
    for (size_t r = 0; r < rows; r++, x += width, dx += width, dy += width) {
        double squares = 0, through = 0;
        for (size_t i = 0; i < width; i++) squares += (double)x[i] * x[i];
        double scale = 1 / sqrt(squares / (double)width + epsilon);
        for (size_t i = 0; i < width; i++) through += (double)dy[i] * gain[i] * x[i] * scale / (double)width;
        for (size_t i = 0; i < width; i++) {
            dx[i] += (float)(scale * ((double)dy[i] * gain[i] - x[i] * scale * through));
            dgain[i] += (float)(dy[i] * x[i] * scale);
        }
    }
}

static void truth_d_layer_norm(float *dx, float *dgain, float *dbias, const float *x, const float *gain,
                               const float *dy, size_t rows, size_t width, float epsilon)
{
    double n = (double)width;
    for (size_t r = 0; r < rows; r++, x += width, dx += width, dy += width) {
        double mean = 0, variance = 0, d_mean = 0, through = 0;
        for (size_t i = 0; i < width; i++) mean += x[i] / n;
        for (size_t i = 0; i < width; i++) variance += (x[i] - mean) * (x[i] - mean) / n;
        double scale = 1 / sqrt(variance + epsilon);
        for (size_t i = 0; i < width; i++) {
            d_mean += (double)dy[i] * gain[i] / n;
            through += (double)dy[i] * gain[i] * (x[i] - mean) * scale / n;
        }
        for (size_t i = 0; i < width; i++) {
            double normal = (x[i] - mean) * scale;
            dx[i] += (float)(scale * ((double)dy[i] * gain[i] - d_mean - normal * through));
            dgain[i] += (float)(dy[i] * normal);
            dbias[i] += dy[i];
        }
    }
}

static void truth_d_rope(float *dx, const float *cos_sin, size_t heads, size_t head_dim, size_t rotary)
{
    size_t half = rotary / 2;
    for (size_t h = 0; h < heads; h++, dx += head_dim) {
        for (size_t i = 0; i < half; i++) {
            float a = dx[i], b = dx[i + half], c = cos_sin[i], s = cos_sin[i + half];
            dx[i] = a * c + b * s;
            dx[i + half] = b * c - a * s;
        }
    }
}

static void truth_d_silu_mul(float *gate, float *up, float *dy, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double g = gate[i], u = up[i], d = dy[i], sigmoid = 1 / (1 + exp(-g));
        gate[i] = (float)(d * u * sigmoid * (1 + g * (1 - sigmoid)));
        up[i] = (float)(d * g * sigmoid);
        dy[i] = (float)(g * sigmoid * u);
    }
}

static void truth_d_gelu_mul(float *gate, float *up, float *dy, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double x = gate[i], u = up[i], d = dy[i], inner = 0.7978845608028654 * (x + 0.044715 * x * x * x);
        double t = tanh(inner), slope = 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
        gate[i] = (float)(d * u * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope));
        up[i] = (float)(d * 0.5 * x * (1 + t));
        dy[i] = (float)(0.5 * x * (1 + t) * u);
    }
}

static void truth_d_softcap(float *dy, const float *y, float cap, size_t count)
{
    for (size_t i = 0; i < count; i++) dy[i] = (float)(dy[i] * (1 - (double)y[i] / cap * y[i] / cap));
}

static void truth_d_gelu(float *x, float *dy, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double value = x[i], phi = 0.5 * (1 + erf(value * 0.70710678118654752));
        double density = 0.3989422804014327 * exp(-0.5 * value * value);
        x[i] = (float)(dy[i] * (phi + value * density));
        dy[i] = (float)(value * phi);
    }
}

static void truth_d_softmax(float *p, float *dp, float log_sum, float through, float scale, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double value = exp((double)p[i] - log_sum);
        p[i] = (float)value;
        dp[i] = (float)(scale * value * ((double)dp[i] - through));
    }
}

static double truth_d_log_sum_exp(const float *x, size_t count, double temperature)
{
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, x[i] / temperature);
    for (size_t i = 0; i < count; i++) sum += exp(x[i] / temperature - largest);
    return largest + log(sum);
}

static double truth_d_cross_entropy(float *gradient, const float *logits, size_t vocab, size_t target,
                                    float weight)
{
    double total = truth_d_log_sum_exp(logits, vocab, 1);
    for (size_t i = 0; i < vocab; i++)
        gradient[i] += (float)(weight * (exp(logits[i] - total) - (i == target ? 1 : 0)));
    return total - logits[target];
}

// Of one token: its share of the divergence, and in *slope the derivative with respect to q.
static double truth_d_divergence(rrt__divergence_kind kind, double log_p, double log_q, double *slope)
{
    double p = exp(log_p), q = exp(log_q), m = (p + q) / 2;
    switch (kind) {
    case RRT__DIVERGENCE_FORWARD_KL:
        *slope = -p / q;
        return p > 0 ? p * (log_p - log_q) : 0;
    case RRT__DIVERGENCE_REVERSE_KL:
        *slope = log_q - log_p + 1;
        return q > 0 ? q * (log_q - log_p) : 0;
    case RRT__DIVERGENCE_JENSEN_SHANNON:
        *slope = 0.5 * log(q / m);
        return 0.5 * (p > 0 ? p * log(p / m) : 0) + 0.5 * (q > 0 ? q * log(q / m) : 0);
    default:
        *slope = q > p ? 0.5 : -0.5;
        return 0.5 * fabs(p - q);
    }
}

// Any divergence D(q) has dD/ds[j] = q[j] (slope[j] - Σ q · slope) / T for q = truth_d_softmax(s / T).
static double truth_d_distil(rrt__divergence_kind kind, float *gradient, const float *student,
                             const float *teacher, size_t vocab, float temperature, float weight)
{
    double t = temperature, q_total = truth_d_log_sum_exp(student, vocab, t), sum = 0, through = 0, slope;
    double p_total = truth_d_log_sum_exp(teacher, vocab, t);
    for (size_t i = 0; i < vocab; i++) {
        double log_q = student[i] / t - q_total;
        sum += truth_d_divergence(kind, teacher[i] / t - p_total, log_q, &slope);
        through += exp(log_q) * slope;
    }
    for (size_t i = 0; i < vocab; i++) {
        double log_q = student[i] / t - q_total;
        truth_d_divergence(kind, teacher[i] / t - p_total, log_q, &slope);
        gradient[i] += (float)(weight * t * exp(log_q) * (slope - through));
    }
    return sum * t * t;
}

static double truth_d_forward_kl(float *gradient, const float *student, const float *teacher, size_t vocab,
                                 float temperature, float weight)
{
    return truth_d_distil(RRT__DIVERGENCE_FORWARD_KL, gradient, student, teacher, vocab, temperature, weight);
}

static double truth_d_reverse_kl(float *gradient, const float *student, const float *teacher, size_t vocab,
                                 float temperature, float weight)
{
    return truth_d_distil(RRT__DIVERGENCE_REVERSE_KL, gradient, student, teacher, vocab, temperature, weight);
}

static double truth_d_jensen_shannon(float *gradient, const float *student, const float *teacher,
                                     size_t vocab, float temperature, float weight)
{
    return truth_d_distil(RRT__DIVERGENCE_JENSEN_SHANNON, gradient, student, teacher, vocab, temperature,
                          weight);
}

static double truth_d_total_variation(float *gradient, const float *student, const float *teacher,
                                      size_t vocab, float temperature, float weight)
{
    return truth_d_distil(RRT__DIVERGENCE_TOTAL_VARIATION, gradient, student, teacher, vocab, temperature,
                          weight);
}

static void truth_d_adam(float *weights, float *mean, float *variance, const float *gradient, size_t count,
                         const rrt__adam *step)
{
    for (size_t i = 0; i < count; i++) {
        double g = (double)gradient[i] * step->gradient_scale;
        double m = step->beta1 * (double)mean[i] + (1 - (double)step->beta1) * g;
        double v = step->beta2 * (double)variance[i] + (1 - (double)step->beta2) * g * g;
        double update = m * step->correction1 / (sqrt(v * step->correction2) + step->epsilon);
        weights[i] = (float)(weights[i] - step->learning_rate * (update + step->weight_decay * weights[i]));
        mean[i] = (float)m;
        variance[i] = (float)v;
    }
}

static double truth_d_sum_squares(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)x[i] * x[i];
    return sum;
}

static const rrt__gradient_kernels truth_gradient_kernels = {
    truth_d_rms_norm,
    truth_d_layer_norm,
    truth_d_rope,
    truth_d_silu_mul,
    truth_d_gelu_mul,
    truth_d_gelu,
    truth_d_softmax,
    truth_d_softcap,
    truth_d_cross_entropy,
    {truth_d_forward_kl, truth_d_reverse_kl, truth_d_jensen_shannon, truth_d_total_variation},
    truth_d_adam,
    truth_d_sum_squares};

#endif
