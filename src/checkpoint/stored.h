// A parameter as it lies in a file: which tensor holds it, and where its rows stand there.
#ifndef RRT__STORED_H
#define RRT__STORED_H

#include "base/rows.h"
#include "format/tensors.h"

// Row r is row r / block · stride + first + r % block of the tensor: the plain case is one block of all rows.
// Where rows are paired, i and i + block/2 of a block (those that are rotated together) stand side by side. A
// vector is a matrix of one column.
typedef struct rrt__stored {
    const rrt__tensor *tensor;
    size_t columns;
    size_t block, stride, first;
    bool paired;
} rrt__stored;

// out [end - begin, columns] = rows [begin, end). NUMERIC where a value is not finite.
rrt_status rrt__stored_read(const rrt__stored *stored, size_t begin, size_t end, float *out, rrt_error *err);

// The bytes of row r.
const unsigned char *rrt__stored_row(const rrt__stored *stored, size_t r);

// What was read of rows [begin, end) does not stay in memory.
void rrt__stored_forget(const rrt__stored *stored, size_t begin, size_t end);

// The same as rows; what was read does not stay in memory. stored outlives them.
rrt__rows rrt__stored_rows(const rrt__stored *stored);

// Back from rows; NULL where they are something else.
const rrt__stored *rrt__rows_stored(rrt__rows rows);

#endif
