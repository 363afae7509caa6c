// All kernel tables; some may be beyond this processor (rrt__kernels_can_run).
#ifndef RRT__TEST_VARIANTS_H
#define RRT__TEST_VARIANTS_H

#include "kernels/kernels.h"

static const rrt__kernels *const variants[] = {
    &rrt__kernels_reference,
#if defined(__x86_64__)
    &rrt__kernels_avx2,
    &rrt__kernels_avx512,
#endif
};
enum { VARIANT_COUNT = sizeof variants / sizeof *variants };

#endif
