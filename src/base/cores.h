// Number of cores for this process.
#ifndef RRT__CORES_H
#define RRT__CORES_H

// Physical cores among the processors that this process may use: two hardware threads of one core share its
// arithmetic units, and a second thread there slows down the first. At least 1.
int rrt__cores(void);

// Test hook: the folder that lists the processors.
extern const char *rrt__cores_folder;

#endif
