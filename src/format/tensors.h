// A table of the tensors in one or several mapped files, of any format: the source for loading a model.
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
    const unsigned char *data;          // in the map, not aligned
    size_t size_bytes;
    size_t file_offset; // of data, for error messages
    const char *path;   // of its file
    rrt__map map;       // the map of data, to release pages after reading; empty: data is in memory
} rrt__tensor;

// Zero-initialised is empty. Borrows names and paths from the file's handle.
typedef struct rrt__tensor_table {
    rrt__tensor *tensors; // sorted by name after rrt__tensor_table_seal
    size_t count, capacity;
} rrt__tensor_table;

rrt_status rrt__tensor_table_add(rrt__tensor_table *table, const rrt__tensor *tensor, rrt_error *err);

// Sorts; FORMAT for two tensors of one name or two that overlap in one file.
rrt_status rrt__tensor_table_seal(rrt__tensor_table *table, rrt_error *err);

// In a sealed table; NULL for an unknown name.
const rrt__tensor *rrt__tensor_table_find(const rrt__tensor_table *table, const char *name);

// The type for writing its matrices: F32, F16 or BF16, whichever has the most bytes; BF16 if they
// are quantised.
rrt__dtype rrt__tensor_table_dtype(const rrt__tensor_table *table);

void rrt__tensor_table_free(rrt__tensor_table *table);

// Number of values; false on overflow.
bool rrt__tensor_count(const rrt__tensor *tensor, size_t *count);

// MISMATCH unless the tensor's shape is [rows, columns] (columns == 0: [rows]).
rrt_status rrt__tensor_check_shape(const rrt__tensor *tensor, size_t rows, size_t columns, rrt_error *err);

// out[0..count) = its values [first, first + count) as f32, both multiples of a block's values. NUMERIC for a
// NaN or infinity, with tensor, index, file and byte offset.
rrt_status rrt__tensor_read_values(const rrt__tensor *tensor, size_t first, size_t count, float *out,
                                   rrt_error *err);

// Address of value `first`, the first of a block.
const unsigned char *rrt__tensor_place(const rrt__tensor *tensor, size_t first);

bool rrt__all_finite(const float *values, size_t count);

// Whether two tensors have the same type and bytes.
bool rrt__tensor_is_same(const rrt__tensor *a, const rrt__tensor *b);

// Releases the memory of these values' pages: the system reads them again on access.
void rrt__tensor_forget(const rrt__tensor *tensor, size_t first, size_t count);

// Both checks, and all values: out[rows · columns].
rrt_status rrt__tensor_read(const rrt__tensor *tensor, size_t rows, size_t columns, float *out,
                            rrt_error *err);

#endif
