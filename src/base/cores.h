// How many cores the machine has for this process.
#ifndef RRT__CORES_H
#define RRT__CORES_H

// Physical cores among the processors that this process may run on: two hardware threads of one core share
// its arithmetic units, and a second thread there makes the first one slower. At least 1.
int rrt__cores(void);

// Test hook: the folder that lists the processors.
extern const char *rrt__cores_folder;

#endif
