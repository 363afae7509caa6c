// The goldens of tools/make-looped-golden.py.
#ifndef RRT__TEST_LOOPED_H
#define RRT__TEST_LOOPED_H

#include "models.h"

static const char *const names[] = {"nanbeige", "nanbeige-plain", "ouro"};
enum { NAME_COUNT = sizeof names / sizeof *names };

// The rows of a list of lists of numbers.
static inline void read_rows(float *out, const json_t *rows)
{
    size_t r, i;
    json_t *row, *value;
    json_array_foreach(rows, r, row) json_array_foreach(row, i, value) *out++ =
        (float)json_number_value(value);
}

// Gains around 1.3 let rounding grow.
#define TOLERANCE 1e-4

static inline void check_exit(const rrt_model *model, const golden *g, int loops, const json_t *expected,
                              const char *what)
{
    float *logits = must_alloc(2 * g->count * g->vocab, sizeof *logits), *rows = logits + g->count * g->vocab;
    read_rows(rows, expected);
    step_logits(logits, model, g->ids, g->count, &(rrt_session_options){.threads = 2, .loops = loops});
    double difference = max_difference(logits, rows, g->count * g->vocab);
    if (!(difference <= TOLERANCE)) fail_msg("%s, %d loops: logits are off by %g", what, loops, difference);
    free(logits);
}

#endif
