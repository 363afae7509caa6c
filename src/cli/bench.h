// rrt bench: what its files share.
#ifndef RRT__CLI_BENCH_H
#define RRT__CLI_BENCH_H

#include "cli/cli.h"

enum { RRT__MAX_BATCHES = 16 };

// Concurrent requests under several ways of batching and exit rules (lists: "depth,sequence").
typedef struct rrt__bench_serving {
    const char *batching, *exits, *trace_path, *html;
    bool force;
    rrt_bench_requests_options options; // what holds for all
} rrt__bench_serving;

// Adds a row for each batch size, way of batching and rule, measured in turns.
rrt_status rrt__bench_serving_run(rrt__bench_serving *serving, const rrt_model *model, const size_t *batches,
                                  int n_batches, int repeats, json_t *rows, rrt_error *err);

#endif
