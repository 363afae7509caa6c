// What the tests of kernels share: every variant that this processor can run, random values, comparisons.
// Buffers are of the exact size, so that the address sanitizer sees an overrun.
#ifndef RRT__TEST_KERNEL_CHECKS_H
#define RRT__TEST_KERNEL_CHECKS_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "test.h"
#include "truth.h"
#include "variants.h"

static const rrt__kernels *const truth = &truth_kernels;

typedef void (*check)(const rrt__kernels *k);

static inline void each_variant(check function)
{
    for (size_t v = 0; v < VARIANT_COUNT; v++)
        if (rrt__kernels_can_run(variants[v]))
            function(variants[v]);
        else
            print_message("skipped: this processor cannot run %s\n", variants[v]->name);
}

static inline float *make(size_t count, uint64_t stream, double mean, double deviation)
{
    float *values = malloc(count * sizeof *values + !count);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(mean + deviation * rrt__random_gaussian(7, stream, i));
    return values;
}

static const size_t head_dims[] = {2, 6, 8, 20, 64, 80, 256};
enum { HEAD_DIM_COUNT = sizeof head_dims / sizeof *head_dims };

static inline void assert_close(const rrt__kernels *k, const char *what, const float *got,
                                const float *expected, size_t count, double relative, double absolute)
{
    for (size_t i = 0; i < count; i++) {
        double allowed = absolute + relative * fabs((double)expected[i]);
        if (!(fabs((double)got[i] - expected[i]) <= allowed))
            fail_msg("%s: %s: value %zu of %zu is %.9g, not %.9g", k->name, what, i, count, got[i],
                     expected[i]);
    }
}

static inline void assert_same_bits(const rrt__kernels *k, const char *what, const float *got,
                                    const float *expected, size_t count)
{
    if (memcmp(got, expected, count * sizeof *got) != 0)
        fail_msg("%s: %s: not the bits of the reference", k->name, what);
}

#endif
