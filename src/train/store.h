// A teacher's answers on disk: for every token of a dataset, the `top` most likely next tokens and the
// logarithm of their probabilities. Made once by rrt_teach, read by training in any order.
//
// A store is a folder: the dataset's shards (data.h) and `teacher.topk`: magic "RRTTOPK1", context, top,
// vocabulary, number of windows, the dataset's fingerprint, the name of the teacher, checksum of the header,
// then per window and position `top` ids (u32) and `top` log-probabilities (f16), little endian.
#ifndef RRT__STORE_H
#define RRT__STORE_H

#include "train/data.h"

typedef struct rrt__store rrt__store;

// The answer at one position. log_p are natural logarithms, descending, as f16 bits.
typedef struct rrt__store_row {
    const uint32_t *ids;
    const uint16_t *log_p;
} rrt__store_row;

// Whether a folder holds teacher.topk.
bool rrt__store_is(const char *folder);

// Fails with FORMAT for a damaged or truncated store (an id not below vocab, a size that does not fit).
rrt_status rrt__store_open(rrt__store **out, const char *folder, rrt_error *err);
void rrt__store_close(rrt__store *store); // NULL is fine

size_t rrt__store_context(const rrt__store *store);
size_t rrt__store_top(const rrt__store *store);
size_t rrt__store_vocab(const rrt__store *store);
size_t rrt__store_windows(const rrt__store *store);
uint64_t rrt__store_fingerprint(const rrt__store *store); // of the dataset

rrt__store_row rrt__store_at(const rrt__store *store, size_t window, size_t position);

#endif
