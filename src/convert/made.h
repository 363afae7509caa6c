// Matrices that a conversion makes of the source's: as rows, so that the result may be greater than memory.
#ifndef RRT__MADE_H
#define RRT__MADE_H

#include "base/rows.h"
#include "model/model.h"

// The mean of one or more matrices of the source, or N(0, 0.02²) where there is none.
typedef struct rrt__made {
    rrt__linear *source; // [count]
    const float **gain;  // [count], of a norm that is folded into the columns; NULL: none
    int count;
    size_t columns;
    uint64_t seed, stream; // of random weights
} rrt__made;

// Room for count matrices of `columns` inputs, in an arena that outlives it.
rrt_status rrt__made_open(rrt__made **out, rrt__arena *arena, int count, size_t columns, rrt_error *err);

rrt__rows rrt__made_rows(const rrt__made *made);

#endif
