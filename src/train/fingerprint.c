#include "train/fingerprint.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "model/parameters.h"
#include "model/read.h"

typedef struct summing {
    uint64_t hash; // of all values so far
    size_t columns;
    int threads;
    _Atomic uint64_t rows; // of the current matrix: a sum, independent of the threads' order
} summing;

static rrt_status add_rows(void *user, size_t begin, size_t end, const float *values, rrt_error *err)
{
    (void)err;
    summing *s = user;
    uint64_t sum = 0;
    for (size_t row = begin; row < end; row++)
        sum += rrt__hash(row + 1, values + (row - begin) * s->columns, s->columns * sizeof *values);
    atomic_fetch_add(&s->rows, sum);
    return RRT_STATUS_OK;
}

static rrt_status add_parameter(void *user, const rrt__parameter *p, rrt_error *err)
{
    summing *s = user;
    const rrt__linear linear = rrt__parameter_linear(p);
    const rrt__rows rows = rrt__linear_rows(&linear);
    s->columns = linear.in;
    atomic_store(&s->rows, 0);
    s->hash = rrt__hash(s->hash, p->name, strlen(p->name));
    RRT__TRY(rrt__rows_each(&rows, 0, linear.out, linear.in, RRT__GROUP, s->threads, add_rows, s, err));
    const uint64_t all[] = {linear.out, linear.in, atomic_load(&s->rows)};
    s->hash = rrt__hash(s->hash, all, sizeof all);
    return RRT_STATUS_OK;
}

rrt_status rrt__model_fingerprint(const rrt_model *model, int threads, char text[RRT__FINGERPRINT],
                                  rrt_error *err)
{
    summing s = {.threads = threads};
    json_t *config;
    RRT__TRY(rrt__config_to_json(model, RRT__DTYPE_F32, &config, err));
    char *dump = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(config);
    if (!dump) return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: a model's fingerprint");
    s.hash = rrt__hash(0, dump, strlen(dump));
    free(dump);
    RRT__TRY(rrt__model_each_parameter(model, &model->family->hf, add_parameter, &s, err));
    snprintf(text, RRT__FINGERPRINT, "%016llx", (unsigned long long)s.hash);
    return RRT_STATUS_OK;
}
