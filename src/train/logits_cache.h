// A teacher logits cache on disk: for every token of a dataset, the `top` most likely next tokens and their
// log-probabilities. Written once by rrt_teach; training reads it in any order.
//
// A cache is a folder: the dataset's shards (data.h) and `teacher.topk`: magic "RRTTOPK1", context, top,
// vocabulary, number of windows, the dataset's fingerprint, the name of the teacher, checksum of the header,
// then per window and position `top` ids (u32) and `top` log-probabilities (f16), little endian, and zeros up
// to a multiple of 8 bytes.
#ifndef RRT__LOGITS_CACHE_H
#define RRT__LOGITS_CACHE_H

#include "base/file.h"
#include "train/data.h"

typedef struct rrt__logits_cache rrt__logits_cache;

// The teacher's row at one position. log_p: natural logarithms, descending, as f16 bits.
typedef struct rrt__logits_cache_row {
    const uint32_t *ids;
    const uint16_t *log_p;
} rrt__logits_cache_row;

// FORMAT for a damaged or truncated cache (an id not below vocab, a wrong size, a wrong checksum).
rrt_status rrt__logits_cache_open(rrt__logits_cache **out, const char *folder, rrt_error *err);
void rrt__logits_cache_close(rrt__logits_cache *cache); // NULL is allowed

size_t rrt__logits_cache_context(const rrt__logits_cache *cache);
size_t rrt__logits_cache_top(const rrt__logits_cache *cache);
size_t rrt__logits_cache_vocab(const rrt__logits_cache *cache);
// MISMATCH if a row has an id that a student with `vocab` rows lacks.
rrt_status rrt__logits_cache_check_ids(const rrt__logits_cache *cache, size_t vocab, rrt_error *err);
size_t
rrt__logits_cache_windows(const rrt__logits_cache *cache); // the dataset's first windows; it may have more
uint64_t rrt__logits_cache_fingerprint(const rrt__logits_cache *cache); // of the dataset
uint64_t rrt__logits_cache_checksum(const rrt__logits_cache *cache);    // of the rows
const char *rrt__logits_cache_teacher(const rrt__logits_cache *cache);  // the teacher's name

rrt__logits_cache_row rrt__logits_cache_at(const rrt__logits_cache *cache, size_t window, size_t position);

// Known before the first row.
typedef struct rrt__logits_cache_shape {
    size_t context, top, vocab, windows;
    uint64_t fingerprint;
    const char *teacher; // NULL: ""; truncated to 447 bytes
} rrt__logits_cache_shape;

// Bytes of one row of `top` tokens.
size_t rrt__logits_cache_row_bytes(size_t top);

// Writes folder/teacher.topk sequentially. A zero-initialised writer may be discarded.
typedef struct rrt__logits_cache_writer {
    FILE *file;
    char path[4096];
    struct rrt__logits_cache_header *header;
} rrt__logits_cache_writer;

rrt_status rrt__logits_cache_create(rrt__logits_cache_writer *writer, const char *folder,
                                    const rrt__logits_cache_shape *shape, rrt_error *err);
rrt_status rrt__logits_cache_append(rrt__logits_cache_writer *writer, const void *rows, size_t n_rows,
                                    rrt_error *err);
// Call it after the last row; flushes to the disk. *bytes: size of the file.
rrt_status rrt__logits_cache_finish(rrt__logits_cache_writer *writer, uint64_t *bytes, rrt_error *err);
void rrt__logits_cache_discard(rrt__logits_cache_writer *writer); // closes the file in any state

#endif
