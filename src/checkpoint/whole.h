// A tensor for a file that several parameters are parts of.
#ifndef RRT__WHOLE_H
#define RRT__WHOLE_H

#include "model/parameters.h"

typedef struct rrt__whole {
    rrt__linear part[RRT__FUSED_PARTS];
    rrt__fused place[RRT__FUSED_PARTS];
    int count;
    size_t filled; // rows added so far
} rrt__whole;

// Adds a part; the order does not matter. Vectors have one column.
void rrt__whole_add(rrt__whole *whole, const rrt__fused *place, size_t rows, rrt__linear part);

// The tensor's rows, after all parts were added. whole must outlive them.
rrt__rows rrt__whole_rows(const rrt__whole *whole);

#endif
