// Chooses the kernels: the first of the list that the processor can run.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/gradients.h"
#include "kernels/kernels.h"

static bool can_always_run(void)
{
    return true;
}

#if defined(__x86_64__)
static bool can_run_avx2(void)
{
    // Every processor with these two also has F16C, a name that clang 14 does not know.
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool can_run_avx512(void)
{
    return can_run_avx2() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// Best first; the last runs everywhere. A processor that can run one need not be able to run those after it.
static const struct {
    const rrt__kernels *kernels;
    const rrt__gradient_kernels *gradients;
    bool (*can_run)(void);
} variants[] = {
#if defined(__x86_64__)
    {&rrt__kernels_avx512, &rrt__gradient_kernels_avx512, can_run_avx512},
    {&rrt__kernels_avx2, &rrt__gradient_kernels_avx2, can_run_avx2},
#endif
    {&rrt__kernels_reference, &rrt__gradient_kernels_reference, can_always_run},
};
enum { VARIANT_COUNT = sizeof variants / sizeof *variants };

// VARIANT_COUNT for an unknown name.
static size_t find(const char *name)
{
    size_t v = 0;
    while (v < VARIANT_COUNT && strcmp(name, variants[v].kernels->name) != 0) v++;
    return v;
}

static size_t choose(void)
{
    const char *forced = getenv("RRT_KERNELS");
    size_t v = forced ? find(forced) : VARIANT_COUNT;
    if (v == VARIANT_COUNT || !variants[v].can_run()) v = 0;
    while (!variants[v].can_run()) v++;
    return v;
}

bool rrt__kernels_can_run(const rrt__kernels *kernels)
{
    return variants[find(kernels->name)].can_run();
}

rrt_status rrt__kernels_check(rrt_error *err)
{
    const char *forced = getenv("RRT_KERNELS");
    size_t v = forced ? find(forced) : 0;
    char names[128] = "";
    if (!forced || (v < VARIANT_COUNT && variants[v].can_run())) return RRT_STATUS_OK;
    if (v < VARIANT_COUNT)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "RRT_KERNELS in the environment is '%s', which this processor cannot run", forced);
    for (v = 0; v < VARIANT_COUNT; v++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", v ? ", " : "",
                 variants[v].kernels->name);
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "RRT_KERNELS in the environment is '%s': possible are %s",
                     forced, names);
}

const rrt__kernels *rrt__kernels_get(void)
{
    return variants[choose()].kernels;
}

const rrt__gradient_kernels *rrt__gradient_kernels_get(void)
{
    return variants[choose()].gradients;
}
