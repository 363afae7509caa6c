// Training text: files → shards of token ids on disk → windows in a shuffled order.
//
// A shard holds one file's ids, memory-mapped: magic "RRTTOKEN", version, fingerprint of the tokenizer, name,
// size and checksum of the source, number of ids, checksum of the ids, then the ids as u32, little endian.
// Documents (documents.h) follow each other, each with an EOS at its end if the tokenizer has one. In a
// conversation only the assistant's text is a target.
//
// The joined ids of all shards are cut into windows of `context` inputs without overlap; if the tokenizer
// adds BOS, each window starts with it. Every token of the text is a target once (without BOS, every one but
// the first); tokens at the end that do not fill a window are dropped.
#ifndef RRT__DATA_H
#define RRT__DATA_H

#include "base/memory.h"
#include "rrt/tokenizer.h"

typedef struct rrt__dataset rrt__dataset;

// Maps folder/0000.tokens …. FORMAT for a damaged or unreadable shard (checksums are verified) and for an
// id that is not below vocab, MISMATCH for another tokenizer's shards, ARGUMENT if the text does not fill
// one window.
rrt_status rrt__dataset_open(rrt__dataset **out, const char *folder, const rrt_tokenizer *tokenizer,
                             size_t vocab, size_t context, rrt_error *err);
void rrt__dataset_close(rrt__dataset *dataset); // NULL is allowed

size_t rrt__dataset_windows(const rrt__dataset *dataset);
size_t rrt__dataset_tokens(const rrt__dataset *dataset); // total number of ids

// Number of a window's targets that count for the loss.
size_t rrt__dataset_learnt(const rrt__dataset *dataset, size_t window);

size_t rrt__dataset_bytes(const rrt__dataset *dataset); // of the shards on disk

// A number that depends on all ids and their order: equal for equal data.
uint64_t rrt__dataset_fingerprint(const rrt__dataset *dataset);

// Window number `window` in the text's order: ids[context], and targets[context], the next id of each
// (targets[i] = ids[i+1] …), -1 where it does not count for the loss.
void rrt__dataset_window(const rrt__dataset *dataset, size_t window, int32_t *ids, int32_t *targets);

// The window for `step` when windows are drawn in a random order, each once per epoch. Depends only on the
// arguments, so that one number describes the position in the data.
size_t rrt__dataset_shuffle(size_t n_windows, uint64_t seed, uint64_t step);

#endif
