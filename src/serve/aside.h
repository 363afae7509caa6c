// Work on requests and replies that must hold up neither the HTTP thread nor the worker: reading bodies,
// templates, tokens, and making long replies. It goes down one of two lanes, each a thread: what is long does
// so at low priority, and what is short never waits for it.
#ifndef RRT__SERVE_ASIDE_H
#define RRT__SERVE_ASIDE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

// Belongs to what it is part of, until it runs. Each request has one at a time at most: their number is the
// bound on what waits.
typedef struct rrt__work {
    struct rrt__work *next;
    void (*run)(struct rrt__work *work);
} rrt__work;

typedef enum rrt__lane { RRT__LANE_SHORT, RRT__LANE_LONG, RRT__LANES } rrt__lane;

typedef struct rrt__aside {
    pthread_mutex_t lock;
    struct rrt__aside_lane {
        struct rrt__aside *aside;
        pthread_t thread;
        pthread_cond_t wake;
        rrt__work *first, *last;
        bool has_thread, is_long;
    } lanes[RRT__LANES];
    bool stops;
} rrt__aside;

rrt_status rrt__aside_open(rrt__aside *aside, rrt_error *err);
// Runs what is left. Nothing more can be put from then on.
void rrt__aside_close(rrt__aside *aside);
bool rrt__aside_put(rrt__aside *aside, rrt__lane lane, rrt__work *work);

#endif
