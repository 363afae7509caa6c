// A shard on disk: a header of 512 bytes, then the ids as u32, little endian.
#ifndef RRT__SHARDS_H
#define RRT__SHARDS_H

#include "base/file.h"
#include "rrt/tokenizer.h"

typedef struct rrt__shard_header {
    char magic[8];      // "RRTTOKEN"
    uint64_t version;   // 1; 2 if some ids have RRT__UNLEARNT
    uint64_t tokenizer; // the tokenizer's fingerprint
    uint64_t source_bytes, source_hash;
    uint64_t count, ids_hash;
    char source[448];     // the file's name without its folder, NUL-padded, truncated if too long
    uint64_t header_hash; // of all fields before
} rrt__shard_header;

// Flag of an id that is an input but not a target: text of others than the assistant in a conversation.
#define RRT__UNLEARNT (UINT32_C(1) << 31)

// Encodes each file (text or .jsonl, plain or .zst) into folder/0000.tokens, 0001.tokens … Keeps an existing
// shard that was made from the same file (name, size, checksum) by the same tokenizer; removes shards beyond
// n_files. Creates the folder if needed. A shard appears only once it is complete. FORMAT with file, line and
// byte offset for text that cannot be read.
rrt_status rrt__shards_make(const char *folder, const rrt_tokenizer *tokenizer, const char *const *files,
                            size_t n_files, const rrt_progress *progress, rrt_error *err);

// "folder/0003.tokens".
rrt_status rrt__shard_path(char path[4096], const char *folder, size_t index, rrt_error *err);

// Maps a shard and checks its header and size, but not its ids; *header points into the map.
rrt_status rrt__shard_map(rrt__map *map, const rrt__shard_header **header, const char *path, rrt_error *err);

// A number that depends on the bytes of all tokens and on the special ids.
uint64_t rrt__tokenizer_fingerprint(const rrt_tokenizer *tokenizer);

#endif
