// Reads a file sequentially, plain or unpacked (.zst).
#ifndef RRT__SOURCE_H
#define RRT__SOURCE_H

#include "base/file.h"

typedef struct rrt__source {
    rrt__map map;
    size_t at;                    // in the map
    struct ZSTD_DCtx_s *unpacker; // NULL for a plain file
    bool in_frame;                // the compressed frame is incomplete
} rrt__source;

// Kind of a file by its extension, in upper or lower case, without .zst.
typedef enum rrt__source_kind {
    RRT__SOURCE_TEXT,
    RRT__SOURCE_LINES, // .jsonl, .ndjson: a JSON object per line
    RRT__SOURCE_JSON,  // .json: one object for the whole file, unsupported
} rrt__source_kind;

rrt__source_kind rrt__source_kind_of(const char *path);

// Whether a name ends in .zst.
bool rrt__source_is_packed(const char *path);

rrt_status rrt__source_open(rrt__source *source, const char *path, rrt_error *err);
void rrt__source_close(rrt__source *source); // zero-initialised is allowed

// Fills out[0..room); *got is less only at the end. FORMAT with the byte offset in the file for damaged or
// truncated compressed data, UNSUPPORTED for compressed data that takes too much memory to unpack.
rrt_status rrt__source_read(rrt__source *source, char *out, size_t room, size_t *got, rrt_error *err);

#endif
