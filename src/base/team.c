#define _DEFAULT_SOURCE // syscall
#include "base/team.h"

#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/control_group.h"
#include "base/cores.h"

// How often a thread looks whether the others have come before it goes to sleep. Well balanced work needs fewer
// looks. On a busy machine another program has the core of the last one: while a thread sleeps, the kernel can
// move that one to the free core, which it does not where the core is taken by a thread that waits.
enum { LOOKS = 2000, LINE = 64 };

// Each on a cache line of its own.
typedef struct rrt__barrier {
    _Alignas(LINE) atomic_int n_arrived;
    _Alignas(LINE) atomic_uint round;
    _Alignas(LINE) atomic_int n_sleeping;
} rrt__barrier;

// Counted once: what was allocated for so many threads is used by so many.
static pthread_once_t counted = PTHREAD_ONCE_INIT;
static int processors;

static void count_processors(void)
{
    int paid = rrt__control_group_processors();
    processors = rrt__cores();
    if (paid && paid < processors) processors = paid;
}

int rrt__team_threads(int asked)
{
    if (asked <= 0) {
        pthread_once(&counted, count_processors);
        asked = processors;
    }
    return asked < RRT__MAX_THREADS ? asked : RRT__MAX_THREADS;
}

void rrt__team_run(int n_threads, void (*work)(rrt__team team, void *argument), void *argument)
{
    rrt__barrier barrier = {0};
#pragma omp parallel num_threads(rrt__team_threads(n_threads))
    {
        omp_set_num_threads(1); // a BLAS call in here stays on its thread, also where the team is one thread
        rrt__team team = {.ith = omp_get_thread_num(), .nth = omp_get_num_threads(), .barrier = &barrier};
        work(team, argument);
        rrt__team_barrier(team); // OpenMP's own, at the end of a region, spins long
    }
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// The kernel puts the thread to sleep only if the round has not changed by then, so that no wake-up is missed:
// the last one to arrive changes the round first and then looks for sleepers.
static void sleep_until_next(rrt__barrier *b, unsigned round)
{
    atomic_fetch_add(&b->n_sleeping, 1);
    while (atomic_load(&b->round) == round)
        syscall(SYS_futex, &b->round, FUTEX_WAIT_PRIVATE, round, NULL, NULL, 0);
    atomic_fetch_sub(&b->n_sleeping, 1);
}

void rrt__team_barrier(rrt__team team)
{
    if (team.nth == 1) return;
    rrt__barrier *b = team.barrier;
    unsigned round = atomic_load(&b->round);
    if (atomic_fetch_add(&b->n_arrived, 1) == team.nth - 1) {
        atomic_store(&b->n_arrived, 0);
        atomic_store(&b->round, round + 1);
        if (atomic_load(&b->n_sleeping))
            syscall(SYS_futex, &b->round, FUTEX_WAKE_PRIVATE, team.nth, NULL, NULL, 0);
        return;
    }
    for (int looks = 0; looks < LOOKS; looks++) {
        if (atomic_load_explicit(&b->round, memory_order_acquire) != round) return;
        pause_briefly();
    }
    sleep_until_next(b, round);
}

rrt__share rrt__team_share(rrt__team team, size_t count, size_t grain)
{
    size_t grains = (count + grain - 1) / grain, nth = (size_t)team.nth, ith = (size_t)team.ith;
    size_t begin = grains * ith / nth * grain, end = grains * (ith + 1) / nth * grain;
    return (rrt__share){begin < count ? begin : count, end < count ? end : count};
}

void rrt__team_copy_share(rrt__team team, float *to, const float *from, size_t rows, size_t width)
{
    rrt__share share = rrt__team_share(team, rows, 1);
    memcpy(to + share.begin * width, from + share.begin * width,
           (share.end - share.begin) * width * sizeof(float));
}
