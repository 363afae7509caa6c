// Threads. Work runs in one parallel region; inside it every function takes the caller's place in the team
// and either splits its work by it or waits at a barrier. This file is the only one that knows about OpenMP.
#ifndef RRT__TEAM_H
#define RRT__TEAM_H

#include <stdbool.h>
#include <stddef.h>

typedef struct rrt__team {
    int ith, nth;                 // this thread, and how many there are
    struct rrt__barrier *barrier; // that its threads share
} rrt__team;

enum { RRT__MAX_THREADS = 1024 }; // OpenMP keeps a record of each on the stack: 100,000 overflow it

// How many threads a request stands for: for 0 or less one per physical core, or as many as the control group
// pays for (cpu.max); at most RRT__MAX_THREADS.
int rrt__team_threads(int asked);

// Runs work once on each of rrt__team_threads(n_threads) threads and waits for all.
void rrt__team_run(int n_threads, void (*work)(rrt__team team, void *argument), void *argument);

// The same with fewer threads while other programs hold cores that the team would wait for: for short steps
// whose result does not depend on the number of threads. `fit` lives from one run to the next;
// zero-initialised.
typedef struct rrt__team_fit {
    int limit;      // threads that run; 0: all
    double seconds; // of runs with this limit, since it was judged
    double lost;    // of these, waited for threads without a core
    double until;   // when one more thread is tried again
    double patience;
} rrt__team_fit;

void rrt__team_run_fitting(rrt__team_fit *fit, int n_threads, void (*work)(rrt__team team, void *argument),
                           void *argument);

// A function whose name ends in _share does this thread's share and does not wait: a barrier has to follow
// before others read what it wrote.

// All threads of the team reach this point before any goes on. What they wrote before it is visible after it.
void rrt__team_barrier(rrt__team team);

// This thread's share [begin, end) of count items, in multiples of grain except at the end.
typedef struct rrt__share {
    size_t begin, end;
} rrt__share;
rrt__share rrt__team_share(rrt__team team, size_t count, size_t grain);

// Copies this thread's share of rows.
void rrt__team_copy_share(rrt__team team, float *to, const float *from, size_t rows, size_t width);

#endif
