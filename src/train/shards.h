// A shard on disk: a header of 512 bytes, then the ids as u32, little endian.
#ifndef RRT__SHARDS_H
#define RRT__SHARDS_H

#include "base/file.h"
#include "rrt/tokenizer.h"

typedef struct rrt__shard_header {
    char magic[8];      // "RRTTOKEN"
    uint64_t version;   // 1; 2 if some ids have RRT__UNLEARNT
    uint64_t tokenizer; // its fingerprint
    uint64_t source_bytes, source_hash;
    uint64_t count, ids_hash;
    char source[448];     // the file's name without its folder, NUL-padded; a longer one is cut off
    uint64_t header_hash; // of all before
} rrt__shard_header;

// Set in an id that is read but not learnt: what others than the assistant say in a conversation.
#define RRT__UNLEARNT (UINT32_C(1) << 31)

// Encodes each file (text or .jsonl, plain or .zst) into folder/0000.tokens, 0001.tokens … A shard that is
// there already and was made from the same file (name, size, checksum) by the same tokenizer is kept; shards
// beyond n_files are removed. The folder is created if need be. A shard appears only once it is complete.
// FORMAT with file, line and byte offset for text that cannot be read.
rrt_status rrt__shards_make(const char *folder, const rrt_tokenizer *tokenizer, const char *const *files,
                            size_t n_files, const rrt_progress *progress, rrt_error *err);

// "folder/0003.tokens".
rrt_status rrt__shard_path(char path[4096], const char *folder, size_t index, rrt_error *err);

// Maps a shard and checks its header and size, but not its ids; *header lies in the map.
rrt_status rrt__shard_map(rrt__map *map, const rrt__shard_header **header, const char *path, rrt_error *err);

// A number that depends on the bytes of all tokens and on the special ids.
uint64_t rrt__tokenizer_fingerprint(const rrt_tokenizer *tokenizer);

#endif
