// Converts values to a file's type, piece by piece.
#ifndef RRT__ENCODE_H
#define RRT__ENCODE_H

#include "base/error.h"
#include "base/rows.h"
#include "format/dtype.h"

// Receives the next bytes.
typedef rrt_status (*rrt__encode_put)(void *to, const void *bytes, size_t size_bytes, rrt_error *err);

// dtype: F32, F16 or BF16. NUMERIC, with its index, if a value is not finite in that type.
rrt_status rrt__encode_values(const float *values, size_t count, rrt__dtype dtype, rrt__encode_put put,
                              void *to, rrt_error *err);

// The same for a matrix [count, columns] that is not in memory. All threads read and convert, one passes the
// bytes on in order.
rrt_status rrt__encode_rows(const rrt__rows *rows, size_t count, size_t columns, rrt__dtype dtype,
                            rrt__encode_put put, void *to, rrt_error *err);

#endif
