// Matrices whose rows are read or computed on demand, so that matrices larger than memory can be copied
// between files.
#ifndef RRT__ROWS_H
#define RRT__ROWS_H

#include <stddef.h>

#include "base/error.h"

// read fills out [end - begin, columns] with rows [begin, end); several threads may call it at once. `from`
// must outlive this. Zero-initialised: no rows.
typedef struct rrt__rows {
    rrt_status (*read)(const void *from, size_t begin, size_t end, float *out, rrt_error *err);
    const void *from;
} rrt__rows;

// Uses rows [begin, end), whose values are in memory; called by several threads.
typedef rrt_status (*rrt__rows_use)(void *user, size_t begin, size_t end, const float *values,
                                    rrt_error *err);

// Uses items [begin, end); called by several threads.
typedef rrt_status (*rrt__pieces_use)(void *user, size_t begin, size_t end, rrt_error *err);

// Calls use for items [begin, end) in pieces, on all threads (0: one per core). Stops at the first failure.
rrt_status rrt__pieces_each(size_t begin, size_t end, size_t piece, int threads, rrt__pieces_use use,
                            void *user, rrt_error *err);

// A multiple of `grain` rows whose values have about the size of a cache.
size_t rrt__rows_piece(size_t columns, size_t grain);

// out [end - begin, columns] = rows [begin, end), on all threads (0: one per core).
rrt_status rrt__rows_read(const rrt__rows *rows, size_t begin, size_t end, size_t columns, int threads,
                          float *out, rrt_error *err);

// Reads rows [begin, end) piece by piece and calls use for each, on all threads. Pieces, except the last, are
// a multiple of `grain` rows of about the size of a cache.
rrt_status rrt__rows_each(const rrt__rows *rows, size_t begin, size_t end, size_t columns, size_t grain,
                          int threads, rrt__rows_use use, void *user, rrt_error *err);

#endif
