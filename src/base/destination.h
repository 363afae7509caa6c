// How a file or folder gets its name: whole or not at all, over nothing that it was not told to replace.
#ifndef RRT__DESTINATION_H
#define RRT__DESTINATION_H

#include <stdbool.h>

#include "base/error.h"

typedef enum rrt__destination_kind {
    RRT__DESTINATION_FILE,
    RRT__DESTINATION_FOLDER,
    RRT__DESTINATION_RUN, // a folder of `rrt train`, which may replace another one of these
} rrt__destination_kind;

// A destination that appears under its own name only once it is complete. Open, write to temporary (a file of
// that name, or files below it), then commit; discard after a failure (zero-initialised or committed: does
// nothing). `temporary` is a name of its own, however many write to the same path. It is locked: what a
// process that died leaves, the next one that opens the same path removes.
typedef struct rrt__destination {
    char path[4096];
    char temporary[4096]; // "": none is open
    rrt__destination_kind kind;
    bool overwrite;
    int lock, replaced; // of the temporary, and of the run that is replaced; -1: none
} rrt__destination;

// Whether a result may go to path. ARGUMENT if it is empty or too long, IO if its folder cannot be written
// to. EXISTS if something is there and overwrite is false, or if it is neither a plain file nor a folder that
// holds a result of ours and nothing else (base/own.h).
rrt_status rrt__destination_check(const char *path, bool overwrite, rrt_error *err);

// Checks the same, and creates the temporary file or folder. A run may replace one at which nobody is at
// work.
rrt_status rrt__destination_open(rrt__destination *destination, const char *path, rrt__destination_kind kind,
                                 bool overwrite, rrt_error *err);

// Removes what processes that have died were writing to this path; opening it does that as well.
void rrt__destination_sweep(const char *path);

// Gives the result its name. What stands at path by now is replaced if overwriting was asked for and the
// check still holds; otherwise the commit fails with EXISTS. Old and new change places in one step, where the
// file system can do that; where it cannot, a folder steps aside as PATH.old-XXXXXXXX, and the next one that
// opens the path brings it back if nothing has taken its place.
rrt_status rrt__destination_commit(rrt__destination *destination, rrt_error *err);
void rrt__destination_discard(rrt__destination *destination);

// Whether path and place are one file or folder, or path lies in place, at any depth: what replacing place
// would destroy.
bool rrt__path_is_at_or_in(const char *path, const char *place);

#endif
