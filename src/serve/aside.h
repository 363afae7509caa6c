// Work on requests and replies that must not block the HTTP thread or the worker: reading bodies, templates,
// tokens, and building long replies. It has two lanes, each with a thread: long work runs at low priority,
// and short work never waits for it.
#ifndef RRT__SERVE_ASIDE_H
#define RRT__SERVE_ASIDE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

// Part of its owner until it runs. Each request has at most one at a time, so that the number of requests
// bounds the queue.
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
// Runs the remaining work. Nothing can be put afterwards.
void rrt__aside_close(rrt__aside *aside);
bool rrt__aside_put(rrt__aside *aside, rrt__lane lane, rrt__work *work);

#endif
