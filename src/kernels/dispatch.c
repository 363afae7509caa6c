#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/gradients.h"
#include "kernels/kernels.h"

static bool can_run_avx2(void)
{
#if defined(__x86_64__)
    // Every processor that has these two has F16C as well, for which clang 14 knows no name.
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool can_run_avx512(void)
{
#if defined(__x86_64__)
    return can_run_avx2() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

typedef enum variant {
    REFERENCE,
    AVX2,
    AVX512,
    VARIANT_COUNT
} variant; // a processor runs all up to its best

static const char *const names[VARIANT_COUNT] = {"reference", "avx2", "avx512"};

static variant best_variant(void)
{
    if (can_run_avx512()) return AVX512;
    return can_run_avx2() ? AVX2 : REFERENCE;
}

// VARIANT_COUNT if there is none of this name.
static variant find(const char *name)
{
    variant v = REFERENCE;
    while (v < VARIANT_COUNT && strcmp(name, names[v]) != 0) v++;
    return v;
}

static variant choose(void)
{
    const char *forced = getenv("RRT_KERNELS");
    variant best = best_variant(), v = forced ? find(forced) : best;
    return v < best ? v : best;
}

bool rrt__kernels_can_run(const rrt__kernels *kernels)
{
    return find(kernels->name) <= best_variant();
}

rrt_status rrt__kernels_check(rrt_error *err)
{
    const char *forced = getenv("RRT_KERNELS");
    if (!forced || find(forced) <= best_variant()) return RRT_STATUS_OK;
    if (find(forced) == VARIANT_COUNT)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "RRT_KERNELS in the environment is '%s': reference, avx2 or avx512 is possible",
                         forced);
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                     "RRT_KERNELS in the environment is '%s', which this processor cannot run", forced);
}

const rrt__kernels *rrt__kernels_get(void)
{
    static const rrt__kernels *const tables[] = {
        &rrt__kernels_reference,
#if defined(__x86_64__)
        &rrt__kernels_avx2,
        &rrt__kernels_avx512,
#endif
    };
    return tables[choose()];
}

const rrt__gradient_kernels *rrt__gradient_kernels_get(void)
{
    static const rrt__gradient_kernels *const tables[] = {
        &rrt__gradient_kernels_reference,
#if defined(__x86_64__)
        &rrt__gradient_kernels_avx2,
        &rrt__gradient_kernels_avx512,
#endif
    };
    return tables[choose()];
}
