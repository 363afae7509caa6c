// Exit traces as files: a line is a request, a number the loop after which one of its tokens leaves.
#ifndef RRT__CLI_EXIT_TRACE_H
#define RRT__CLI_EXIT_TRACE_H

#include "cli/cli.h"

typedef struct rrt__exit_trace {
    unsigned char *exits; // [tokens], request by request
    size_t *lengths;      // [requests]
    size_t tokens, requests;
} rrt__exit_trace;

// FORMAT if the file holds anything else, or nothing. Free after a failure too.
rrt_status rrt__exit_trace_read(rrt__exit_trace *trace, const char *path, rrt_error *err);
void rrt__exit_trace_free(rrt__exit_trace *trace);

// Writes `count` numbers of loops, so many in a line.
rrt_status rrt__exit_trace_write(const char *path, const int *loops, size_t count, size_t per_line,
                                 bool overwrite, rrt_error *err);

#endif
