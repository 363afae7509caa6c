// A file's bytes from front to back, as they are or unpacked (.zst).
#ifndef RRT__SOURCE_H
#define RRT__SOURCE_H

#include "base/file.h"

typedef struct rrt__source {
    rrt__map map;
    size_t at;                    // in the map
    struct ZSTD_DCtx_s *unpacker; // NULL for a plain file
    bool in_frame;                // more of the compressed frame is to come
} rrt__source;

// What a file is by the end of its name, in capital or small letters; .zst behind it does not count.
typedef enum rrt__source_kind {
    RRT__SOURCE_TEXT,
    RRT__SOURCE_LINES, // .jsonl, .ndjson: a JSON object per line
    RRT__SOURCE_JSON,  // .json: one for the whole file, which nothing here reads
} rrt__source_kind;

rrt__source_kind rrt__source_kind_of(const char *path);

// Whether a name ends in .zst.
bool rrt__source_is_packed(const char *path);

rrt_status rrt__source_open(rrt__source *source, const char *path, rrt_error *err);
void rrt__source_close(rrt__source *source); // zero-initialised is fine

// Fills out[0..room); *got is less only at the end. FORMAT with the byte offset in the file for damaged or
// cut off compressed data, UNSUPPORTED for such that takes much memory to unpack.
rrt_status rrt__source_read(rrt__source *source, char *out, size_t room, size_t *got, rrt_error *err);

#endif
