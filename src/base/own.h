// What rrt wrote: the one place that knows what may be removed. Everything else is somebody's.
#ifndef RRT__OWN_H
#define RRT__OWN_H

#include <stdbool.h>

#include "base/error.h"

// A file that says that `rrt train` made the folder in which it lies, and by whose lock a run is at work
// there.
#define RRT__RUN_MARKER "run.lock"

// Whether a file, named without its folder, is `name` with what is appended while a result is written:
// ".tmp-" and eight hexadecimal digits. name NULL: any name that rrt gives to a file or folder in its
// folders.
bool rrt__own_is_temporary(const char *file, const char *name);

// Fails with EXISTS, and names it, if something in a folder, at any depth, has no name that rrt gives, is no
// plain file or folder, or lies in a folder that rrt does not make there. No link is followed.
rrt_status rrt__own_check(const char *folder, rrt_error *err);

// Removes a plain file, or a folder that passes the check. False if something is left; of a folder that does
// not pass, nothing is removed. What is not there is removed already.
bool rrt__own_remove(const char *path);

// Removes what processes that have died were writing to `name` in a folder when they died (NULL: to any name
// of ours). What a living one writes is locked: rrt__own_hold.
void rrt__own_sweep(const char *folder, const char *name);

// Locks a file or folder for as long as *fd is open; close it to let go. False if another process has it, or
// if it is not there any more. Where the file system has no locks, nothing is ever swept, and *fd is -1.
bool rrt__own_hold(int *fd, const char *path);

// Whether a folder was made by `rrt train`, also where links lead to it.
bool rrt__run_is_marked(const char *folder);

// Marks a folder, and holds the mark like rrt__run_hold.
rrt_status rrt__run_mark(int *fd, const char *folder, rrt_error *err);

// Holds the mark of a folder, as long as *fd is open. EXISTS if another run is at work there.
rrt_status rrt__run_hold(int *fd, const char *folder, rrt_error *err);

#endif
