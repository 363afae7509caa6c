// What the files share: safetensors.c (files and folders) and safetensors_header.c (one file's header) read,
// safetensors_write.c (one file) and safetensors_shards.c (a folder) write.
#ifndef RRT__SAFETENSORS_INSIDE_H
#define RRT__SAFETENSORS_INSIDE_H

#include "base/json.h"
#include "format/safetensors.h"

// Checks the header of data[0..size_bytes) and adds its tensors to table; their names go to the arena, path
// and data are borrowed. *header is the parsed JSON, for json_decref (NULL after a failure).
rrt_status rrt__safetensors_read_header(rrt__tensor_table *table, rrt__arena *arena,
                                        const unsigned char *data, size_t size_bytes, const char *path,
                                        json_t **header, rrt_error *err);

// Moves *end on by the bytes that the entry's values take as dtype. ARGUMENT if there are too many dimensions
// or *end passes 63 bits.
rrt_status rrt__safetensors_measure(const rrt__safetensors_entry *entry, rrt__dtype dtype, size_t *end,
                                    rrt_error *err);

// How far the writing of all files is, in bytes of values.
typedef struct rrt__safetensors_watch {
    const rrt_progress *progress;
    double done, total;
} rrt__safetensors_watch;

// rrt__safetensors_write, reporting after each tensor.
rrt_status rrt__safetensors_write_watched(const char *path, const rrt__safetensors_entry *entries,
                                          size_t count, rrt__dtype dtype, rrt__safetensors_watch *watch,
                                          rrt_error *err);

#endif
