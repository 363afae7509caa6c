// Files: read-only maps, and writes that leave either the old content or the whole new one.
#ifndef RRT__FILE_H
#define RRT__FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/memory.h"

// A file's bytes, read-only. Zero-initialised is empty and may be closed.
typedef struct rrt__map {
    const unsigned char *data;
    size_t size_bytes;
} rrt__map;

// Fails with IO for anything that is not a readable regular file, and with FORMAT for what Git LFS leaves in
// the place of a file that it has not fetched. An empty file maps to size 0.
rrt_status rrt__map_open(rrt__map *map, const char *path, rrt_error *err);
void rrt__map_close(rrt__map *map);

// Takes the pages around these bytes of a map out of memory; the system reads them again when they are
// needed. Of an empty map: nothing.
void rrt__map_forget(const rrt__map *map, const unsigned char *data, size_t size_bytes);

// Reads a whole file, or standard input where path is "-".
rrt_status rrt__file_read(rrt__string *out, const char *path, rrt_error *err);

bool rrt__path_exists(const char *path);
bool rrt__path_is_folder(const char *path);

// Writes "folder/name" to out; fails with ARGUMENT if it does not fit.
rrt_status rrt__path_join(char out[4096], const char *folder, const char *name, rrt_error *err);

// Removes a file, or a folder and the plain files in it. False if something is left: folders within stay.
bool rrt__path_remove(const char *path);

// Whether path and place are one file or folder, or path lies directly in place: what replacing place would
// destroy.
bool rrt__path_is_at_or_in(const char *path, const char *place);

// The one folder that a result may hold, if it is an adapter: its base.
#define RRT__INNER_FOLDER "base"

// A destination, file or folder, that appears under its own name only once it is complete. Open, write to
// temporary (a file of that name, or files below it), then commit; discard after a failure. `temporary` is a
// name of its own, however many write to the same path.
typedef struct rrt__destination {
    char path[4096];
    char temporary[4096];
    bool is_folder, overwrite;
} rrt__destination;

// Whether a result may go to path. ARGUMENT if it is empty or too long, IO if its folder cannot be written
// to. EXISTS if something is there and overwrite is false, or if it is a folder that is no result of ours: it
// holds files but no config.json, or holds folders other than an adapter's RRT__INNER_FOLDER.
rrt_status rrt__destination_check(const char *path, bool overwrite, rrt_error *err);

// Checks the same, and creates the temporary file or folder.
rrt_status rrt__destination_open(rrt__destination *destination, const char *path, bool is_folder,
                                 bool overwrite, rrt_error *err);

// Gives the result its name. What stands at path by now is replaced if overwriting was asked for and the
// check still holds; otherwise the commit fails with EXISTS.
rrt_status rrt__destination_commit(rrt__destination *destination, rrt_error *err);
void rrt__destination_discard(rrt__destination *destination);

// Writes a small file in one go and flushes it to the disk.
rrt_status rrt__file_write(const char *path, const void *data, size_t size_bytes, rrt_error *err);

// Flushes to the disk and closes; any error that was held back surfaces here.
rrt_status rrt__file_finish(FILE *file, const char *path, rrt_error *err);

#endif
