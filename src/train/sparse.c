#include "train/sparse.h"

#include <math.h>

#include "format/dtype.h"
#include "kernels/kernels.h"

// An outcome's share of D(p, q), and in *slope the derivative with respect to q.
static double outcome(rrt__divergence kind, double p, double q, double *slope)
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

// Probabilities of nothing at all would have infinite logarithms.
static double at_least(double probability)
{
    return probability > 1e-12 ? probability : 1e-12;
}

double rrt__sparse_distil(rrt__divergence kind, float *gradient, const float *student, size_t vocab,
                          rrt__store_row teacher, size_t top, float weight)
{
    double total = rrt__kernels_get()->log_sum_exp(student, vocab), slope, rest_slope;
    double p_rest = 1, q_rest = 1, sum = 0, through = 0;
    for (size_t i = 0; i < top; i++) {
        double p = at_least(exp((double)rrt__f16_to_f32(teacher.log_p[i])));
        double q = at_least(exp(student[teacher.ids[i]] - total));
        sum += outcome(kind, p, q, &slope);
        through += q * slope;
        p_rest -= p;
        q_rest -= q;
    }
    p_rest = at_least(p_rest);
    q_rest = at_least(q_rest);
    sum += outcome(kind, p_rest, q_rest, &rest_slope);
    through += q_rest * rest_slope;
    // dD/ds[j] = q[j] · (slope of j's outcome - Σ q · slope): for all as if they were of the rest, then those
    // that are not are put right.
    float rest = (float)(weight * (rest_slope - through));
    for (size_t j = 0; j < vocab; j++) gradient[j] += rest * expf(student[j] - (float)total);
    for (size_t i = 0; i < top; i++) {
        double p = at_least(exp((double)rrt__f16_to_f32(teacher.log_p[i])));
        double q = at_least(exp(student[teacher.ids[i]] - total));
        outcome(kind, p, q, &slope);
        gradient[teacher.ids[i]] += (float)(weight * q * (slope - rest_slope));
    }
    return sum;
}
