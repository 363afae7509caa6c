#include "train/sparse.h"

#include <math.h>

#include "format/dtype.h"
#include "kernels/kernels.h"

// The term of one outcome in D(p, q), and in *slope its derivative with respect to q.
static double outcome(rrt__divergence_kind kind, double p, double q, double *slope)
{
    double m = (p + q) / 2;
    switch (kind) {
    case RRT__DIVERGENCE_FORWARD_KL:
        *slope = -p / q;
        return p * log(p / q);
    case RRT__DIVERGENCE_REVERSE_KL:
        *slope = log(q / p) + 1;
        return q * log(q / p);
    case RRT__DIVERGENCE_JENSEN_SHANNON:
        *slope = 0.5 * log(q / m);
        return 0.5 * (p * log(p / m) + q * log(q / m));
    default:
        *slope = q > p ? 0.5 : -0.5;
        return 0.5 * fabs(p - q);
    }
}

// Keeps logarithms finite.
static double floored(double probability)
{
    return probability > 1e-12 ? probability : 1e-12;
}

static double student_probability(const float *student, double total, uint32_t id)
{
    return floored(exp(student[id] - total));
}

static double teacher_probability(rrt__logits_cache_row teacher, size_t i)
{
    return floored(exp((double)rrt__f16_to_f32(teacher.log_p[i])));
}

// dD/ds[j] = q[j] · (slope of j's outcome - Σ q · slope).
double rrt__sparse_distil(const rrt__gradient_kernels *kernels, rrt__divergence_kind kind, float *gradient,
                          const float *student, size_t vocab, rrt__logits_cache_row teacher, size_t top,
                          float weight, float *scratch)
{
    double total = rrt__kernels_get()->log_sum_exp(student, vocab), slope, rest_slope = 0;
    double p_rest = 1, q_rest = 1, sum = 0, through = 0;
    for (size_t i = 0; i < top; i++) {
        double p = teacher_probability(teacher, i), q = student_probability(student, total, teacher.ids[i]);
        sum += outcome(kind, p, q, &slope);
        through += q * slope;
        p_rest -= p;
        q_rest -= q;
    }
    if (top < vocab) {
        q_rest = floored(q_rest);
        sum += outcome(kind, floored(p_rest), q_rest, &rest_slope);
        through += q_rest * rest_slope;
    }
    for (size_t i = 0; i < top; i++) {
        double p = teacher_probability(teacher, i), q = student_probability(student, total, teacher.ids[i]);
        outcome(kind, p, q, &slope);
        scratch[i] = gradient[teacher.ids[i]] + (float)(weight * q * (slope - through));
    }
    // First adds the rest's gradient to all tokens, then restores the cached ones, since the rest's slope may
    // be huge and must not touch them. rest · softmax(student) is the gradient of a cross-entropy except at
    // its target, which is a cached token.
    float rest = (float)(weight * (rest_slope - through));
    kernels->cross_entropy(gradient, student, vocab, teacher.ids[0], rest);
    for (size_t i = 0; i < top; i++) gradient[teacher.ids[i]] = scratch[i];
    return sum;
}
