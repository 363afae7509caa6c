// A tensor of a file that several parameters are parts of, on its way out.
#ifndef RRT__WHOLE_H
#define RRT__WHOLE_H

#include "model/parameters.h"

typedef struct rrt__whole {
    rrt__linear part[3];
    rrt__fused place[3];
    int count;
    size_t filled; // rows that are there
} rrt__whole;

// Parts come in any order. Those of a vector have one column.
void rrt__whole_add(rrt__whole *whole, const rrt__fused *place, size_t rows, rrt__linear part);

// The tensor's rows, once all parts are there. whole outlives them.
rrt__rows rrt__whole_rows(const rrt__whole *whole);

#endif
