// The location of a parameter in a file: its tensor, and its rows there.
#ifndef RRT__STORED_H
#define RRT__STORED_H

#include "base/rows.h"
#include "format/tensors.h"

// Row r is row r / block · stride + first + r % block of the tensor: the plain case is one block of all rows.
// If rows are paired, i and i + block/2 of a block (those that rotate together) are adjacent. A vector is a
// matrix of one column.
typedef struct rrt__stored {
    const rrt__tensor *tensor;
    size_t columns;
    size_t block, stride, first;
    bool paired;
} rrt__stored;

// out [end - begin, columns] = rows [begin, end). NUMERIC if a value is not finite.
rrt_status rrt__stored_read(const rrt__stored *stored, size_t begin, size_t end, float *out, rrt_error *err);

// The bytes of row r.
const unsigned char *rrt__stored_row(const rrt__stored *stored, size_t r);

// Releases the memory of rows [begin, end) that were read.
void rrt__stored_forget(const rrt__stored *stored, size_t begin, size_t end);

// The parameter as rrt__rows; memory that was read is released. stored must outlive them.
rrt__rows rrt__stored_rows(const rrt__stored *stored);

// The inverse; NULL if rows are something else.
const rrt__stored *rrt__rows_stored(rrt__rows rows);

#endif
