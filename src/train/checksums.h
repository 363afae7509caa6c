// The checksums of the files in a folder, in the folder's checksums.json: {"config.json": "00f3…", …}.
#ifndef RRT__CHECKSUMS_H
#define RRT__CHECKSUMS_H

#include "base/error.h"

// Writes the checksums of all plain files in the folder.
rrt_status rrt__checksums_write(const char *folder, rrt_error *err);

// FORMAT, naming the file, if one is missing or has changed.
rrt_status rrt__checksums_verify(const char *folder, rrt_error *err);

#endif
