// Shared by safetensors.c (reads files and folders), safetensors_header.c (reads one file's header),
// safetensors_write.c (writes one file) and safetensors_shards.c (writes a folder).
#ifndef RRT__SAFETENSORS_INSIDE_H
#define RRT__SAFETENSORS_INSIDE_H

#include "base/json.h"
#include "format/safetensors.h"

// Checks the header of data[0..size_bytes) and adds its tensors to table; copies their names to the arena,
// borrows path and data. *header is the parsed JSON, for json_decref (NULL after a failure).
rrt_status rrt__safetensors_read_header(rrt__tensor_table *table, rrt__arena *arena,
                                        const unsigned char *data, size_t size_bytes, const char *path,
                                        json_t **header, rrt_error *err);

// Adds the size of the entry's values as dtype to *end. ARGUMENT if there are too many dimensions or *end
// exceeds 63 bits.
rrt_status rrt__safetensors_measure(const rrt__safetensors_entry *entry, rrt__dtype dtype, size_t *end,
                                    rrt_error *err);

// Progress of writing all files, in bytes of values.
typedef struct rrt__safetensors_watch {
    const rrt_progress *progress;
    double done, total;
} rrt__safetensors_watch;

// rrt__safetensors_write with progress reports after each tensor.
rrt_status rrt__safetensors_write_watched(const char *path, const rrt__safetensors_entry *entries,
                                          size_t count, rrt__dtype dtype, rrt__safetensors_watch *watch,
                                          rrt_error *err);

#endif
