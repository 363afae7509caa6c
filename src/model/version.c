#include "kernels/kernels.h"
#include "rrt/rrt.h"

const char *rrt_version(void)
{
    return RRT_VERSION;
}

const char *rrt_cpu_kernels(void)
{
    return rrt__kernels_get()->name;
}
