// The limits of this process's control groups (cgroup v2: containers, systemd's units).
#ifndef RRT__CONTROL_GROUP_H
#define RRT__CONTROL_GROUP_H

#include <stddef.h>

// Bytes left before the first memory.max is reached; SIZE_MAX without a limit.
size_t rrt__control_group_memory(void);

// Processors that the lowest cpu.max pays for, rounded up; 0 without a limit.
int rrt__control_group_processors(void);

// Test hooks: the mount point of the groups, and the file that names this process's.
extern const char *rrt__control_group_mount, *rrt__control_group_of_process;

#endif
