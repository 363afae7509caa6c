// About how fast this machine is at the moment: what estimates of a job's time are made from. Measured in
// some tenths of a second, on as many threads as the job will have.
#ifndef RRT__SPEED_H
#define RRT__SPEED_H

#include "base/memory.h"

typedef struct rrt__speed {
    int threads;
    double product;  // operations per second of matrix products, all threads together
    double eigen;    // n³ per second of eigenvectors of [n, n], one thread
    double elements; // values per second that are read and added up one by one, one thread
} rrt__speed;

// rows, width: of the products that the job makes most.
rrt_status rrt__speed_measure(rrt__speed *speed, size_t rows, size_t width, int threads, rrt_error *err);

// What a job does.
typedef struct rrt__operations {
    double product, eigen, elements; // shared out among the threads
    double eigen_alone;              // by one thread, while the others wait
} rrt__operations;

double rrt__operations_seconds(const rrt__operations *work, const rrt__speed *speed);

#endif
