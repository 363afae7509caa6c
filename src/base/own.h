// Files that rrt wrote: only this module decides what may be removed. All other files are not ours.
#ifndef RRT__OWN_H
#define RRT__OWN_H

#include <stdbool.h>

#include "base/error.h"

// A file that marks a folder as made by `rrt train`; an active run holds its lock.
#define RRT__RUN_MARKER "run.lock"

// Whether a file, named without its folder, is `name` with the suffix of an unfinished result: ".tmp-" and
// eight hexadecimal digits. name NULL: any name that rrt gives to a file or folder in its folders.
bool rrt__own_is_temporary(const char *file, const char *name);

// EXISTS, with its name, if anything in a folder, at any depth, has a name that rrt does not use, is not a
// plain file or folder, or is in a folder that rrt does not create there. Follows no links.
rrt_status rrt__own_check(const char *folder, rrt_error *err);

// Removes a plain file, or a folder that passes the check. False if something is left; removes nothing from a
// folder that does not pass. A missing path counts as removed.
bool rrt__own_remove(const char *path);

// Removes leftovers of dead processes that were writing to `name` in a folder (NULL: to any of our names).
// Living processes lock their files: rrt__own_hold.
void rrt__own_sweep(const char *folder, const char *name);

// Locks a file or folder while *fd is open; close it to unlock. False if another process holds it, or if it
// does not exist any more. On a file system without locks nothing is ever swept, and *fd is -1.
bool rrt__own_hold(int *fd, const char *path);

// Whether a folder was made by `rrt train`; follows links.
bool rrt__run_is_marked(const char *folder);

// Marks a folder, and holds the mark like rrt__run_hold.
rrt_status rrt__run_mark(int *fd, const char *folder, rrt_error *err);

// Holds a folder's mark while *fd is open. EXISTS if another run is active there.
rrt_status rrt__run_hold(int *fd, const char *folder, rrt_error *err);

#endif
