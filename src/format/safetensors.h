// safetensors: memory-mapped reading of one file or of a folder (single or sharded), and writing. Format: u64
// header length, JSON header (≤ 100 MB) of {name: {dtype, shape, data_offsets}}, then the data without gaps
// or overlap. Reads F32, F16 and BF16. Files may also have integers and booleans (I8–I64, U8–U64, BOOL), such
// as position ids, but the table omits them. Any other dtype is refused by name.
#ifndef RRT__SAFETENSORS_H
#define RRT__SAFETENSORS_H

#include "base/file.h"
#include "base/rows.h"
#include "format/tensors.h"

typedef struct rrt__safetensors rrt__safetensors;

// path: a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json and its
// shards. It is an error if a shard of the index is missing, or a tensor is not in the shard that the
// index names.
rrt_status rrt__safetensors_open(rrt__safetensors **out, const char *path, rrt_error *err);

// The same for one file's bytes in memory that must outlive the result (tests, fuzzing); path is
// for messages.
rrt_status rrt__safetensors_parse(rrt__safetensors **out, const void *data, size_t size_bytes,
                                  const char *path, rrt_error *err);

void rrt__safetensors_close(rrt__safetensors *file); // NULL is allowed
const rrt__tensor_table *rrt__safetensors_tensors(const rrt__safetensors *file);
size_t rrt__safetensors_file_bytes(const rrt__safetensors *file); // of all shards

// Writing: describe every tensor, then write path at once. Converts values to dtype (F32, F16 or BF16); reads
// those that are not in memory piece by piece.
typedef struct rrt__safetensors_entry {
    const char *name;
    int n_dims;
    size_t shape[RRT__TENSOR_MAX_DIMS];
    const float *values; // NULL: read from `from`
    rrt__rows from;      // a matrix, or a vector as one column
} rrt__safetensors_entry;

// Stores tensors in the given order, each name once (ARGUMENT otherwise). NUMERIC if a value is not finite,
// before or after conversion to dtype. After a failure the caller must remove path: see rrt__destination.
rrt_status rrt__safetensors_write(const char *path, const rrt__safetensors_entry *entries, size_t count,
                                  rrt__dtype dtype, rrt_error *err);

typedef struct rrt__safetensors_options {
    rrt__dtype dtype;
    uint64_t max_shard_bytes; // of values per file
    const rrt_progress *progress;
} rrt__safetensors_options;

// Writes model.safetensors into an existing folder or, if it would exceed max_shard_bytes of values,
// model-00001-of-0000N.safetensors … and model.safetensors.index.json. Tensors are not split: a larger one
// has its own shard. Order and failures as for a file.
rrt_status rrt__safetensors_write_folder(const char *folder, const rrt__safetensors_entry *entries,
                                         size_t count, const rrt__safetensors_options *options,
                                         rrt_error *err);

#endif
