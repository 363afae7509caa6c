// Files: read-only maps, and writes that leave either the old content or all of the new.
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

// IO for anything but a readable regular file, FORMAT for a Git LFS pointer (a file that was not fetched). An
// empty file maps to size 0.
rrt_status rrt__map_open(rrt__map *map, const char *path, rrt_error *err);
void rrt__map_close(rrt__map *map);

// Releases the memory of the pages around these bytes of a map; the system reads them again on access. No
// effect on an empty map.
void rrt__map_forget(const rrt__map *map, const unsigned char *data, size_t size_bytes);

// Reads a whole file, or standard input if path is "-". UNSUPPORTED above 512 MB.
rrt_status rrt__file_read(rrt__string *out, const char *path, rrt_error *err);

bool rrt__path_exists(const char *path);
// Calls visit with the name of each entry, except . and .., until one fails; every walk over a folder uses
// it. IO if the folder cannot be read. The second walks an open folder, and leaves it open.
typedef rrt_status rrt__folder_visit(void *user, const char *name, rrt_error *err);
rrt_status rrt__folder_each(const char *folder, rrt__folder_visit *visit, void *user, rrt_error *err);
rrt_status rrt__folder_each_of(int folder, rrt__folder_visit *visit, void *user, rrt_error *err);

bool rrt__path_ends_with(const char *path, const char *end);
bool rrt__path_is_folder(const char *path);
bool rrt__path_is_empty_folder(const char *path);

// Writes "folder/name" to out; ARGUMENT if it does not fit.
rrt_status rrt__path_join(char out[4096], const char *folder, const char *name, rrt_error *err);

// Writes a small file at once and flushes it to the disk.
rrt_status rrt__file_write(const char *path, const void *data, size_t size_bytes, rrt_error *err);

// Flushes to the disk and closes; returns any deferred error.
rrt_status rrt__file_finish(FILE *file, const char *path, rrt_error *err);

#endif
