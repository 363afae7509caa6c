#include "serve/aside.h"

#include <sys/resource.h>

#include "base/memory.h"

// Lowers this thread's priority; Linux has one per thread. Ignores a refusal.
static void be_patient(void)
{
    enum { NICE = 10 };
    setpriority(PRIO_PROCESS, 0, NICE);
}

static rrt__work *next_work(struct rrt__aside_lane *lane)
{
    rrt__aside *aside = lane->aside;
    pthread_mutex_lock(&aside->lock);
    while (!lane->first && !aside->stops) pthread_cond_wait(&lane->wake, &aside->lock);
    rrt__work *work = lane->first;
    if (work) lane->first = work->next;
    pthread_mutex_unlock(&aside->lock);
    return work;
}

static void *run_lane(void *argument)
{
    struct rrt__aside_lane *lane = argument;
    if (lane->is_long) be_patient();
    for (rrt__work *work; (work = next_work(lane));) {
        work->run(work);
        if (lane->is_long) rrt__give_back(); // otherwise this thread keeps a body's megabytes for good
    }
    return NULL;
}

rrt_status rrt__aside_open(rrt__aside *aside, rrt_error *err)
{
    pthread_mutex_init(&aside->lock, NULL);
    for (int i = 0; i < RRT__LANES; i++) {
        struct rrt__aside_lane *lane = &aside->lanes[i];
        lane->aside = aside;
        lane->is_long = i == RRT__LANE_LONG;
        pthread_cond_init(&lane->wake, NULL);
    }
    for (int i = 0; i < RRT__LANES; i++) {
        struct rrt__aside_lane *lane = &aside->lanes[i];
        if (pthread_create(&lane->thread, NULL, run_lane, lane) != 0)
            return rrt__fail(err, RRT_STATUS_MEMORY, "cannot start a thread");
        lane->has_thread = true;
    }
    return RRT_STATUS_OK;
}

void rrt__aside_close(rrt__aside *aside)
{
    pthread_mutex_lock(&aside->lock);
    aside->stops = true;
    for (int i = 0; i < RRT__LANES; i++) pthread_cond_signal(&aside->lanes[i].wake);
    pthread_mutex_unlock(&aside->lock);
    for (int i = 0; i < RRT__LANES; i++) {
        struct rrt__aside_lane *lane = &aside->lanes[i];
        if (lane->has_thread) pthread_join(lane->thread, NULL);
        pthread_cond_destroy(&lane->wake);
    }
    pthread_mutex_destroy(&aside->lock);
}

bool rrt__aside_put(rrt__aside *aside, rrt__lane lane, rrt__work *work)
{
    struct rrt__aside_lane *to = &aside->lanes[lane];
    work->next = NULL;
    pthread_mutex_lock(&aside->lock);
    bool stops = aside->stops;
    if (!stops) {
        *(to->first ? &to->last->next : &to->first) = work;
        to->last = work;
        pthread_cond_signal(&to->wake);
    }
    pthread_mutex_unlock(&aside->lock);
    return !stops;
}
