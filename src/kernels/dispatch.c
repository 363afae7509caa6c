#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

static bool can_run_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

const rrt__kernels *rrt__kernels_get(void)
{
    const rrt__kernels *best = &rrt__kernels_baseline;
#if defined(__x86_64__)
    if (can_run_avx2()) best = &rrt__kernels_avx2;
#endif
    const char *forced = getenv("RRT_KERNELS");
    if (!forced) return best;
    if (strcmp(forced, "reference") == 0) return &rrt__kernels_reference;
    if (strcmp(forced, "baseline") == 0) return &rrt__kernels_baseline;
    return best;
}
