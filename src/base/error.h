// Error handling: fill the record at the point of failure, add context on the way up.
//
//     if (n > limit)
//         return rrt__fail(err, RRT_STATUS_FORMAT, "%zu dimensions, at most %d are possible", n, limit);
//     ...
//     if (status) return rrt__at(err, status, "tensor '%s'", name);      // where: "tensor 'x'"
//     if (status) return rrt__at(err, status, "%s", path);               // where: "file: tensor 'x'"
#ifndef RRT__ERROR_H
#define RRT__ERROR_H

#include "rrt/status.h"

#define RRT__PRINTF(text, first) __attribute__((format(printf, text, first)))

// Records status and message and returns status. Clears where and hint. err may be NULL.
rrt_status rrt__fail(rrt_error *err, rrt_status status, const char *format, ...) RRT__PRINTF(3, 4);

// The same for a failed system call: the message ends with errno's text.
rrt_status rrt__fail_errno(rrt_error *err, const char *format, ...) RRT__PRINTF(2, 3);

// Prepends "context: " to err->where and returns status.
rrt_status rrt__at(rrt_error *err, rrt_status status, const char *format, ...) RRT__PRINTF(3, 4);

// Sets the advice on how to fix it and returns status.
rrt_status rrt__hint(rrt_error *err, rrt_status status, const char *format, ...) RRT__PRINTF(3, 4);

// Returns from the calling function if the expression fails.
#define RRT__TRY(expression)                                                                                 \
    do {                                                                                                     \
        rrt_status rrt__status = (expression);                                                               \
        if (rrt__status) return rrt__status;                                                                 \
    } while (0)

// The same for functions with a single exit that frees resources: needs a local `status` and a label `done`.
#define RRT__GOTO(expression)                                                                                \
    do {                                                                                                     \
        status = (expression);                                                                               \
        if (status) goto done;                                                                               \
    } while (0)

#endif
