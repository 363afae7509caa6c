// What the control groups of this process (cgroup v2: containers, systemd's units) leave it.
#ifndef RRT__CONTROL_GROUP_H
#define RRT__CONTROL_GROUP_H

#include <stddef.h>

// Bytes until the first memory.max is reached; SIZE_MAX without one.
size_t rrt__control_group_memory(void);

// Processors that the least cpu.max pays for, rounded up; 0 without one.
int rrt__control_group_processors(void);

// Test hooks: where the groups are mounted, and the file that names this process's.
extern const char *rrt__control_group_mount, *rrt__control_group_of_process;

#endif
