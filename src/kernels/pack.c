#include "kernels/kernels.h"

void rrt__pack(rrt__team team, unsigned char *data, rrt__storage storage, const float *weights, size_t out,
               size_t in)
{
    const rrt__kernels *kernels = rrt__kernels_get();
    size_t group_bytes = rrt__packed_group_bytes(storage, in);
    rrt__share share = rrt__team_share(team, rrt__linear_groups(out), 1);
    for (size_t g = share.begin; g < share.end; g++) {
        size_t first = g * RRT__GROUP, rows = out - first < RRT__GROUP ? out - first : RRT__GROUP;
        kernels->pack_group(data + g * group_bytes, storage, weights + first * in, rows, in);
    }
}
