// Matrices that a conversion computes from the source's, read as rows, so that the result may exceed memory.
#ifndef RRT__MADE_H
#define RRT__MADE_H

#include "base/rows.h"
#include "model/model.h"

// The mean of one or more matrices of the source, or N(0, 0.02²) if there are none.
typedef struct rrt__made {
    rrt__linear *source; // [count]
    const float **gain;  // [count], of the norm folded into the columns; NULL: none
    int count;
    size_t columns;
    uint64_t seed, stream; // of random weights
} rrt__made;

// Allocates for count matrices of `columns` inputs, in an arena that must outlive *out.
rrt_status rrt__made_open(rrt__made **out, rrt__arena *arena, int count, size_t columns, rrt_error *err);

rrt__rows rrt__made_rows(const rrt__made *made);

#endif
