#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gradients.h"
#include "kernels/kernels.h"

static bool can_run_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

typedef enum variant { REFERENCE, BASELINE, AVX2 } variant;

static variant choose(void)
{
    variant best = can_run_avx2() ? AVX2 : BASELINE;
    const char *forced = getenv("RRT_KERNELS");
    if (!forced) return best;
    if (strcmp(forced, "reference") == 0) return REFERENCE;
    if (strcmp(forced, "baseline") == 0) return BASELINE;
    return best;
}

const rrt__kernels *rrt__kernels_get(void)
{
    static const rrt__kernels *const tables[] = {
        &rrt__kernels_reference,
        &rrt__kernels_baseline,
#if defined(__x86_64__)
        &rrt__kernels_avx2
#endif
    };
    return tables[choose()];
}

const rrt__gradient_kernels *rrt__gradient_kernels_get(void)
{
    static const rrt__gradient_kernels *const tables[] = {
        &rrt__gradient_kernels_reference,
        &rrt__gradient_kernels_baseline,
#if defined(__x86_64__)
        &rrt__gradient_kernels_avx2
#endif
    };
    return tables[choose()];
}
