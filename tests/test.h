// What every test file includes: cmocka, and checks that print an rrt_error when they fail.
#ifndef RRT__TEST_H
#define RRT__TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

#define assert_ok(expression)                                                                                \
    do {                                                                                                     \
        rrt_status status_ = (expression);                                                                   \
        if (status_) fail_msg("%s: %s: %s", rrt_status_name(status_), err.where, err.message);               \
    } while (0)

// Fails with this status, and says text somewhere in where, message or hint.
#define assert_fails(expected, text, expression)                                                             \
    do {                                                                                                     \
        memset(&err, 0, sizeof err);                                                                         \
        assert_int_equal(expression, expected);                                                              \
        if (!strstr(err.message, text) && !strstr(err.where, text) && !strstr(err.hint, text))               \
            fail_msg("'%s' is not in: %s: %s (%s)", text, err.where, err.message, err.hint);                 \
    } while (0)

#define assert_near(a, b, tolerance)                                                                         \
    do {                                                                                                     \
        double a_ = (a), b_ = (b), difference_ = a_ > b_ ? a_ - b_ : b_ - a_;                                \
        if (!(difference_ <= (tolerance)))                                                                   \
            fail_msg("%.9g is not within %g of %.9g", a_, (double)(tolerance), b_);                          \
    } while (0)

#endif
