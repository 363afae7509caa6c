// Status codes and the error record that every fallible rrt call fills.
#ifndef RRT_STATUS_H
#define RRT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RRT_API __attribute__((visibility("default")))
#else
#define RRT_API
#endif

// Every fallible call returns one of these. Nothing in the library exits, aborts or prints.
typedef enum rrt_status {
    RRT_STATUS_OK = 0,
    RRT_STATUS_ARGUMENT,    // an invalid argument (a bad rank, an id out of range)
    RRT_STATUS_IO,          // a file cannot be opened, read or written
    RRT_STATUS_FORMAT,      // a file is damaged or not what it claims to be
    RRT_STATUS_UNSUPPORTED, // a valid file or request that rrt does not handle
    RRT_STATUS_MISMATCH,    // two things that must match do not (two vocabularies, a LoRA and its base)
    RRT_STATUS_EXISTS,      // the destination exists and overwriting was not requested
    RRT_STATUS_MEMORY,      // out of memory
    RRT_STATUS_NUMERIC,     // NaN or infinity instead of a number
    RRT_STATUS_CANCELLED,   // a progress callback asked to stop
} rrt_status;

// The cause of a failure, where it occurred, and how to fix it. All strings are valid, printable UTF-8
// (control characters replaced, since parts may come from hostile files). `where` names file, tensor and byte
// offset as far as known.
typedef struct rrt_error {
    rrt_status status;
    char where[512];
    char message[512];
    char hint[256]; // advice, or ""
} rrt_error;

// A short English name of a status code ("damaged file"). Static storage.
RRT_API const char *rrt_status_name(rrt_status status);

// Long operations report here. done and total are in the stage's own unit (bytes, tokens, matrices …). Return
// non-zero to stop: the operation then fails with RRT_STATUS_CANCELLED. Called from one thread.
typedef struct rrt_progress {
    int (*report)(void *user, const char *stage, double done, double total);
    void *user;
} rrt_progress;

#ifdef __cplusplus
}
#endif
#endif
