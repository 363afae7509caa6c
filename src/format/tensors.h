// A table of the tensors that lie in one or several mapped files, whatever the format: what a model is loaded
// from.
#ifndef RRT__TENSORS_H
#define RRT__TENSORS_H

#include "base/file.h"
#include "format/dtype.h"

enum { RRT__TENSOR_MAX_DIMS = 4 };

typedef struct rrt__tensor {
    const char *name;
    rrt__dtype dtype;
    int n_dims;                         // 0 (a scalar) to 4
    size_t shape[RRT__TENSOR_MAX_DIMS]; // outermost first: a matrix is [rows, columns], rows contiguous
    const unsigned char *data;          // inside the map, no alignment promised
    size_t size_bytes;
    size_t file_offset; // of data, for error messages
    const char *path;   // of the file it lies in
    rrt__map map;       // that data is in, so that pages can be given back after reading; empty: memory
} rrt__tensor;

// Zero-initialised is empty. Names and paths are borrowed: the file's handle keeps them.
typedef struct rrt__tensor_table {
    rrt__tensor *tensors; // sorted by name after rrt__tensor_table_seal
    size_t count, capacity;
} rrt__tensor_table;

rrt_status rrt__tensor_table_add(rrt__tensor_table *table, const rrt__tensor *tensor, rrt_error *err);

// Sorts; fails with FORMAT on two tensors of one name and on two that overlap in one file.
rrt_status rrt__tensor_table_seal(rrt__tensor_table *table, rrt_error *err);

// In a sealed table; NULL if there is none of that name.
const rrt__tensor *rrt__tensor_table_find(const rrt__tensor_table *table, const char *name);

// What its matrices are, as a type that is written: F32, F16 or BF16, that of most bytes; BF16 if these are
// quantised.
rrt__dtype rrt__tensor_table_dtype(const rrt__tensor_table *table);

void rrt__tensor_table_free(rrt__tensor_table *table);

// Number of values, with overflow checked; false on overflow.
bool rrt__tensor_count(const rrt__tensor *tensor, size_t *count);

// Fails with MISMATCH unless the tensor's shape is [rows, columns] (columns == 0: [rows]).
rrt_status rrt__tensor_check_shape(const rrt__tensor *tensor, size_t rows, size_t columns, rrt_error *err);

// out[0..count) = its values [first, first + count) as f32, both multiples of a block's values. Fails with
// NUMERIC on a NaN or infinity, naming tensor, index, file and byte offset.
rrt_status rrt__tensor_read_values(const rrt__tensor *tensor, size_t first, size_t count, float *out,
                                   rrt_error *err);

// Where value `first` begins, the first of a block.
const unsigned char *rrt__tensor_place(const rrt__tensor *tensor, size_t first);

bool rrt__all_finite(const float *values, size_t count);

// Whether two tensors have the same type and bytes.
bool rrt__tensor_is_same(const rrt__tensor *a, const rrt__tensor *b);

// Takes the pages of these values out of memory: the system reads them again where they are needed.
void rrt__tensor_forget(const rrt__tensor *tensor, size_t first, size_t count);

// Both checks, and all values: out[rows · columns].
rrt_status rrt__tensor_read(const rrt__tensor *tensor, size_t rows, size_t columns, float *out,
                            rrt_error *err);

#endif
