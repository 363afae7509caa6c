#include "base/team.h"

#include <omp.h>
#include <string.h>

int rrt__team_threads(int asked)
{
    if (asked <= 0) return omp_get_num_procs();
    return asked < RRT__MAX_THREADS ? asked : RRT__MAX_THREADS;
}

void rrt__team_run(int n_threads, void (*work)(rrt__team team, void *argument), void *argument)
{
#pragma omp parallel num_threads(rrt__team_threads(n_threads))
    {
        omp_set_num_threads(1); // a BLAS call in here stays on its thread, also where the team is one thread
        work((rrt__team){.ith = omp_get_thread_num(), .nth = omp_get_num_threads()}, argument);
    }
}

void rrt__team_barrier(rrt__team team)
{
    if (team.nth == 1) return;
#pragma omp barrier
}

rrt__share rrt__team_share(rrt__team team, size_t count, size_t grain)
{
    size_t grains = (count + grain - 1) / grain, nth = (size_t)team.nth, ith = (size_t)team.ith;
    size_t begin = grains * ith / nth * grain, end = grains * (ith + 1) / nth * grain;
    return (rrt__share){begin < count ? begin : count, end < count ? end : count};
}

void rrt__team_copy(rrt__team team, float *to, const float *from, size_t rows, size_t width)
{
    rrt__share share = rrt__team_share(team, rows, 1);
    memcpy(to + share.begin * width, from + share.begin * width,
           (share.end - share.begin) * width * sizeof(float));
}
