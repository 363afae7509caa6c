// Threads. Work runs in one parallel region; inside it every function takes the caller's place in the team
// and either splits its work by it or waits at a barrier. This file is the only one that knows about OpenMP.
#ifndef RRT__TEAM_H
#define RRT__TEAM_H

#include <stddef.h>

typedef struct rrt__team {
    int ith, nth; // this thread, and how many there are
} rrt__team;

// Runs work once on each of n_threads threads (n_threads ≤ 0: one per core) and waits for all.
void rrt__team_run(int n_threads, void (*work)(rrt__team team, void *argument), void *argument);

// How many threads n_threads ≤ 0 stands for.
int rrt__team_default_threads(void);

// All threads of the team reach this point before any goes on. What they wrote before it is visible after it.
void rrt__team_barrier(rrt__team team);

// This thread's share [begin, end) of count items, in multiples of grain except at the end.
typedef struct rrt__share {
    size_t begin, end;
} rrt__share;
rrt__share rrt__team_share(rrt__team team, size_t count, size_t grain);

#endif
