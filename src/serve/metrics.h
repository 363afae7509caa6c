// The server's counters, in Prometheus' format. Names are vLLM's, with our prefix, for the same quantities.
#ifndef RRT__SERVE_METRICS_H
#define RRT__SERVE_METRICS_H

#include <pthread.h>

#include "base/memory.h"
#include "rrt/engine.h"

typedef enum rrt__latency {
    RRT__LATENCY_FIRST_TOKEN,
    RRT__LATENCY_INTER_TOKEN,
    RRT__LATENCY_REQUEST,
    RRT__LATENCY_QUEUE,
    RRT__LATENCY_PREFILL,
    RRT__LATENCY_DECODE,
    RRT__LATENCIES,
} rrt__latency;

typedef enum rrt__outcome {
    RRT__OUTCOME_STOP,
    RRT__OUTCOME_LENGTH,
    RRT__OUTCOME_ABORT, // the client is gone
    RRT__OUTCOME_ERROR,
    RRT__OUTCOMES,
} rrt__outcome;

// The names in replies and metrics.
extern const char *const rrt__outcome_names[RRT__OUTCOMES];

enum { RRT__MAX_BUCKETS = 24 };

typedef struct rrt__metrics {
    pthread_mutex_t lock;
    struct {
        uint64_t buckets[RRT__MAX_BUCKETS + 1], count;
        double sum;
    } latencies[RRT__LATENCIES];
    uint64_t outcomes[RRT__OUTCOMES];
    uint64_t refused; // with 429
    rrt_engine_stats engine;
} rrt__metrics;

void rrt__metrics_open(rrt__metrics *metrics);
void rrt__metrics_close(rrt__metrics *metrics);
void rrt__metrics_observe(rrt__metrics *metrics, rrt__latency latency, double seconds);
void rrt__metrics_count(rrt__metrics *metrics, uint64_t *counter, uint64_t by);
void rrt__metrics_put_engine(rrt__metrics *metrics, const rrt_engine_stats *stats);
void rrt__metrics_engine(rrt__metrics *metrics, rrt_engine_stats *stats);

// Appends all metrics as text. loops: the model's number.
rrt_status rrt__metrics_print(rrt__metrics *metrics, const char *model_name, int loops, rrt__string *out,
                              rrt_error *err);

#endif
