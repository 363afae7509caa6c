// A teacher's answers on disk: for every token of a dataset, the `top` most likely next tokens and the
// logarithm of their probabilities. Made once by rrt_teach, read by training in any order.
//
// A store is a folder: the dataset's shards (data.h) and `teacher.topk`: magic "RRTTOPK1", context, top,
// vocabulary, number of windows, the dataset's fingerprint, the name of the teacher, checksum of the header,
// then per window and position `top` ids (u32) and `top` log-probabilities (f16), little endian, and zeros up
// to a multiple of 8 bytes.
#ifndef RRT__STORE_H
#define RRT__STORE_H

#include "base/file.h"
#include "train/data.h"

typedef struct rrt__store rrt__store;

// The answer at one position. log_p are natural logarithms, descending, as f16 bits.
typedef struct rrt__store_row {
    const uint32_t *ids;
    const uint16_t *log_p;
} rrt__store_row;

// Fails with FORMAT for a damaged or truncated store (an id not below vocab, a size that does not fit, a
// checksum that differs).
rrt_status rrt__store_open(rrt__store **out, const char *folder, rrt_error *err);
void rrt__store_close(rrt__store *store); // NULL is fine

size_t rrt__store_context(const rrt__store *store);
size_t rrt__store_top(const rrt__store *store);
size_t rrt__store_vocab(const rrt__store *store);
// MISMATCH if an answer is an id that a student of `vocab` rows lacks.
rrt_status rrt__store_check_ids(const rrt__store *store, size_t vocab, rrt_error *err);
size_t rrt__store_windows(const rrt__store *store);       // the dataset's first ones; it may have more
uint64_t rrt__store_fingerprint(const rrt__store *store); // of the dataset
uint64_t rrt__store_checksum(const rrt__store *store);    // of the answers
const char *rrt__store_teacher(const rrt__store *store);  // its name

rrt__store_row rrt__store_at(const rrt__store *store, size_t window, size_t position);

// What is known before the first answer.
typedef struct rrt__store_shape {
    size_t context, top, vocab, windows;
    uint64_t fingerprint;
    const char *teacher; // NULL: ""; cut off at 447 bytes
} rrt__store_shape;

// Bytes of one row of `top` answers.
size_t rrt__store_row_bytes(size_t top);

// Writing folder/teacher.topk from front to back. Zero-initialised may be discarded.
typedef struct rrt__store_writer {
    FILE *file;
    char path[4096];
    struct rrt__store_header *header;
} rrt__store_writer;

rrt_status rrt__store_create(rrt__store_writer *writer, const char *folder, const rrt__store_shape *shape,
                             rrt_error *err);
rrt_status rrt__store_append(rrt__store_writer *writer, const void *rows, size_t n_rows, rrt_error *err);
// After the last row; flushes to the disk. *bytes: of the file.
rrt_status rrt__store_finish(rrt__store_writer *writer, uint64_t *bytes, rrt_error *err);
void rrt__store_discard(rrt__store_writer *writer); // closes the file, wherever it stands

#endif
