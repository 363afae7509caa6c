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

// Reads a whole file, or standard input where path is "-". UNSUPPORTED if it has more than 512 MB.
rrt_status rrt__file_read(rrt__string *out, const char *path, rrt_error *err);

bool rrt__path_exists(const char *path);
// Calls visit with the name of each entry, . and .. aside, until one fails: the walker of all folders. IO
// where the folder cannot be read. The second walks a folder that is open, and leaves it open.
typedef rrt_status rrt__folder_visit(void *user, const char *name, rrt_error *err);
rrt_status rrt__folder_each(const char *folder, rrt__folder_visit *visit, void *user, rrt_error *err);
rrt_status rrt__folder_each_of(int folder, rrt__folder_visit *visit, void *user, rrt_error *err);

bool rrt__path_is_folder(const char *path);
bool rrt__path_is_empty_folder(const char *path);

// Writes "folder/name" to out; fails with ARGUMENT if it does not fit.
rrt_status rrt__path_join(char out[4096], const char *folder, const char *name, rrt_error *err);

// Writes a small file in one go and flushes it to the disk.
rrt_status rrt__file_write(const char *path, const void *data, size_t size_bytes, rrt_error *err);

// Flushes to the disk and closes; any error that was held back surfaces here.
rrt_status rrt__file_finish(FILE *file, const char *path, rrt_error *err);

#endif
