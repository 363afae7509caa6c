#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/exits.h"

// Lower confidence bound of a share measured on `count` independent draws.
static double wilson(double share, double count, double deviations)
{
    double z = deviations, middle = share + z * z / (2 * count);
    return (middle - z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))) /
           (1 + z * z / count);
}

// Student's quantile where the normal one is z (Cornish and Fisher's expansion).
static double student(double z, double freedom)
{
    double z3 = z * z * z, z5 = z3 * z * z;
    return z + (z3 + z) / (4 * freedom) + (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom * freedom);
}

static double share_that_agrees(const rrt__exit_rows *r, size_t begin, size_t end)
{
    const int32_t *last = r->best + (size_t)(r->loops - 1) * r->count;
    size_t agreed = 0;
    for (size_t row = begin; row < end; row++) agreed += r->rule_best[row] == last[row];
    return (double)agreed / (double)(end - begin);
}

// Of the mean over windows of equal length.
static double student_bound(const rrt__exit_rows *r, size_t per_window, size_t begin, size_t end, double mean,
                            double deviations)
{
    double square = 0, windows = (double)(end - begin);
    if (end - begin < 2) return mean;
    for (size_t w = begin; w < end; w++) {
        double difference = share_that_agrees(r, w * per_window, (w + 1) * per_window) - mean;
        square += difference * difference;
    }
    return mean - student(deviations, windows - 1) * sqrt(square / (windows - 1) / windows);
}

rrt__exit_summary rrt__exit_summarize(const rrt__exit_rows *r, const rrt__cut *cut, size_t begin, size_t end,
                                      double deviations)
{
    size_t per_window = cut->length - 1, first = begin * per_window, last = end * per_window;
    double count = (double)(last - first), loss = 0;
    rrt__exit_summary summary = {.agreement = share_that_agrees(r, first, last)};
    for (size_t row = first; row < last; row++) {
        loss += r->rule_loss[row] / count;
        summary.mean_loops += r->left[row] / count;
    }
    summary.ppl = exp(loss);
    summary.bound = fmin(wilson(summary.agreement, count, deviations),
                         student_bound(r, per_window, begin, end, summary.agreement, deviations));
    return summary;
}

void rrt__exit_rows_estimate(rrt__exit_rows *r, const rrt__cut *cut, double limit, size_t begin, size_t end)
{
    for (size_t row = begin * (cut->length - 1); row < end * (cut->length - 1); row++) {
        int n = 1;
        while (n < r->loops && r->score[(size_t)(n - 1) * r->count + row] < limit) n++;
        size_t at = (size_t)(n - 1) * r->count + row;
        r->left[row] = n;
        r->rule_best[row] = r->best[at];
        r->rule_loss[row] = r->loss[at];
    }
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

rrt_status rrt__exit_rows_quantiles(const rrt__exit_rows *r, double *limits, size_t count, rrt_error *err)
{
    size_t scores = (size_t)(r->loops - 1) * r->count;
    double *sorted;
    RRT__TRY(rrt__alloc(&sorted, scores, sizeof *sorted, "scores", err));
    memcpy(sorted, r->score, scores * sizeof *sorted);
    qsort(sorted, scores, sizeof *sorted, rising);
    for (size_t i = 0; i < count; i++) limits[i] = sorted[(scores - 1) * i / (count - 1)];
    rrt__free(sorted);
    return RRT_STATUS_OK;
}
