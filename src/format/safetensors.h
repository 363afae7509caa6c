// safetensors: memory-mapped reading of one file or of a folder (single or sharded), and writing.
// Format: u64 header length, JSON header (≤ 100 MB) of {name: {dtype, shape, data_offsets}}, then the data
// without holes or overlap. F32, F16 and BF16 are read. Integers and booleans (I8–I64, U8–U64, BOOL) may lie
// in a file, as buffers like position ids do, but are left out of the table. Any other dtype is refused by
// name.
#ifndef RRT__SAFETENSORS_H
#define RRT__SAFETENSORS_H

#include "base/file.h"
#include "base/rows.h"
#include "format/tensors.h"

typedef struct rrt__safetensors rrt__safetensors;

// path: a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json and its
// shards. A shard named in the index that is missing, or a tensor that is not in the shard the index names,
// is an error.
rrt_status rrt__safetensors_open(rrt__safetensors **out, const char *path, rrt_error *err);

// One file's bytes in memory that outlive the result (tests, fuzzing); path is for messages.
rrt_status rrt__safetensors_parse(rrt__safetensors **out, const void *data, size_t size_bytes,
                                  const char *path, rrt_error *err);

void rrt__safetensors_close(rrt__safetensors *file); // NULL is fine
const rrt__tensor_table *rrt__safetensors_tensors(const rrt__safetensors *file);
size_t rrt__safetensors_file_bytes(const rrt__safetensors *file); // of all shards

// Writing: describe every tensor, then write path in one go. Values are converted to dtype (F32, F16 or
// BF16). Those that are not in memory are read piece by piece.
typedef struct rrt__safetensors_entry {
    const char *name;
    int n_dims;
    size_t shape[RRT__TENSOR_MAX_DIMS];
    const float *values; // NULL: they are read
    rrt__rows from;      // of a matrix, or a vector as a matrix of one column
} rrt__safetensors_entry;

// Tensors are stored in the order given, each name once (ARGUMENT otherwise). A value that is not finite, or
// is not any more once converted to dtype, fails with NUMERIC. What a failure leaves at path is the caller's
// to remove: see rrt__destination.
rrt_status rrt__safetensors_write(const char *path, const rrt__safetensors_entry *entries, size_t count,
                                  rrt__dtype dtype, rrt_error *err);

typedef struct rrt__safetensors_options {
    rrt__dtype dtype;
    uint64_t max_shard_bytes; // of values in one file
    const rrt_progress *progress;
} rrt__safetensors_options;

// Writes model.safetensors into an existing folder. Where it would hold more than max_shard_bytes of values,
// writes model-00001-of-0000N.safetensors … and model.safetensors.index.json instead. No tensor is split: one
// that is larger has a shard of its own. Order, failures and what they leave: as for a file.
rrt_status rrt__safetensors_write_folder(const char *folder, const rrt__safetensors_entry *entries,
                                         size_t count, const rrt__safetensors_options *options,
                                         rrt_error *err);

#endif
