#include "base/team.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/control_group.h"
#include "base/cores.h"

// How often a thread looks whether the others have come before it offers its core to other programs, each
// time it looks again. Well balanced work needs fewer looks; on a busy machine the last of the team may wait
// for just this core.
enum { LOOKS = 2000, LINE = 64 };

// Each on a cache line of its own.
typedef struct rrt__barrier {
    _Alignas(LINE) atomic_int n_arrived;
    _Alignas(LINE) atomic_uint round;
    _Alignas(LINE) atomic_llong lost_ns; // that threads waited beyond LOOKS, added up
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

// Runs work on n_threads threads. Returns the share of the time in which they waited for one that had no
// core: all others wait then.
static double run(int n_threads, void (*work)(rrt__team team, void *argument), void *argument)
{
    rrt__barrier barrier = {0};
    double begin = rrt__now_seconds();
#pragma omp parallel num_threads(n_threads)
    {
        omp_set_num_threads(1); // a BLAS call in here stays on its thread, also where the team is one thread
        rrt__team team = {.ith = omp_get_thread_num(), .nth = omp_get_num_threads(), .barrier = &barrier};
        work(team, argument);
        rrt__team_barrier(team); // OpenMP's own, at the end of a region, spins long
    }
    double waited = (double)atomic_load(&barrier.lost_ns) * 1e-9, seconds = rrt__now_seconds() - begin;
    return n_threads > 1 && seconds > 0 ? waited / (n_threads - 1) / seconds : 0;
}

void rrt__team_run(int n_threads, void (*work)(rrt__team team, void *argument), void *argument)
{
    run(rrt__team_threads(n_threads), work, argument);
}

// Seconds: a judgement is over so much of running; one more thread is tried after so long, at first and at
// last.
static const double JUDGED = 0.01, FIRST_PATIENCE = 0.1, LAST_PATIENCE = 1.6;

// n threads of which one waits for a core a share `lost` of the time do as much as n · (1 - lost) that run.
// Where that is less than n - 1, the team is better off without one of them.
static void judge(rrt__team_fit *fit, int n_threads, double now)
{
    bool is_crowded = fit->lost > fit->seconds / fit->limit;
    fit->seconds = fit->lost = 0;
    if (is_crowded && fit->limit > 1) {
        double longer = fit->until > 0 ? 2 * fit->patience : FIRST_PATIENCE;
        fit->patience = longer < LAST_PATIENCE ? longer : LAST_PATIENCE;
        fit->limit--;
        fit->until = now + fit->patience;
    } else if (fit->limit == n_threads) {
        fit->until = 0; // it fits: the next time that it does not is the first again
    } else if (now >= fit->until) {
        fit->limit++;
    }
}

void rrt__team_run_fitting(rrt__team_fit *fit, int n_threads, void (*work)(rrt__team team, void *argument),
                           void *argument)
{
    n_threads = rrt__team_threads(n_threads);
    if (fit->limit < 1 || fit->limit > n_threads) fit->limit = n_threads;
    double begin = rrt__now_seconds(), share = run(fit->limit, work, argument), now = rrt__now_seconds();
    fit->seconds += now - begin;
    fit->lost += share * (now - begin);
    if (fit->seconds >= JUDGED) judge(fit, n_threads, now);
}

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void rrt__team_barrier(rrt__team team)
{
    if (team.nth == 1) return;
    rrt__barrier *b = team.barrier;
    unsigned round = atomic_load(&b->round);
    if (atomic_fetch_add(&b->n_arrived, 1) == team.nth - 1) {
        atomic_store(&b->n_arrived, 0);
        atomic_store(&b->round, round + 1);
        return;
    }
    for (int looks = 0; looks < LOOKS; looks++) {
        if (atomic_load_explicit(&b->round, memory_order_acquire) != round) return;
        pause_briefly();
    }
    double begin = rrt__now_seconds();
    while (atomic_load_explicit(&b->round, memory_order_acquire) == round) sched_yield();
    atomic_fetch_add(&b->lost_ns, (long long)((rrt__now_seconds() - begin) * 1e9));
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
