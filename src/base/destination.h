// Gives results their name: complete or not at all, and without replacing anything unless told to.
#ifndef RRT__DESTINATION_H
#define RRT__DESTINATION_H

#include <stdbool.h>

#include "base/error.h"

typedef enum rrt__destination_kind {
    RRT__DESTINATION_FILE,
    RRT__DESTINATION_FOLDER,
    RRT__DESTINATION_RUN, // a folder of `rrt train`, which may replace another of its kind
} rrt__destination_kind;

// A destination that appears under its own name only once it is complete. Open, write to temporary (a file of
// that name, or files below it), then commit; discard after a failure (no effect if zero-initialised or
// committed). `temporary` is unique even if several processes write to the same path. It is locked: the
// leftovers of a dead process are removed by the next one that opens the same path.
typedef struct rrt__destination {
    char path[4096];
    char temporary[4096]; // "": not open
    rrt__destination_kind kind;
    bool overwrite;
    int lock, replaced; // locks of the temporary and of the replaced run; -1: none
} rrt__destination;

// Whether a result may go to path. ARGUMENT if it is empty or too long, IO if its folder is not writable.
// EXISTS if something is there and overwrite is false, or if it is neither a plain file nor a folder that
// holds a result of ours and nothing else (base/own.h).
rrt_status rrt__destination_check(const char *path, bool overwrite, rrt_error *err);

// Checks the same, and creates the temporary file or folder. A run may replace one that is not active.
rrt_status rrt__destination_open(rrt__destination *destination, const char *path, rrt__destination_kind kind,
                                 bool overwrite, rrt_error *err);

// Removes leftovers of dead processes that were writing to this path; opening it does so, too.
void rrt__destination_sweep(const char *path);

// Gives the result its name. Replaces what is at path by now, if overwriting was requested and the check
// still holds; otherwise EXISTS. Old and new are exchanged in one step if the file system can do that; if
// not, a folder steps aside as PATH.old-XXXXXXXX, and the next process that opens the path restores it if
// nothing has replaced it.
rrt_status rrt__destination_commit(rrt__destination *destination, rrt_error *err);
void rrt__destination_discard(rrt__destination *destination);

// Whether path and place are one file or folder, or path is inside place at any depth: replacing place would
// destroy it.
bool rrt__path_is_at_or_in(const char *path, const char *place);

#endif
