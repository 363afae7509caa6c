// The documents of a training file, in pieces of text that a tokenizer can be given one by one.
//
// FILE.jsonl (or .ndjson) has a JSON object per line, whose "text" is a document, or whose "messages" are a
// conversation. A .json file is refused. Any other is text, in which a line
// "<|endoftext|>" ends a document, whatever the tokenizer; without such lines it is one document. A byte
// order mark is passed over, and lines may end in \r\n. A long document comes in several pieces, cut where
// the ids do not change: those of the pieces, end to end, are those of the whole text.
#ifndef RRT__DOCUMENTS_H
#define RRT__DOCUMENTS_H

#include "base/json.h"
#include "rrt/tokenizer.h"
#include "train/source.h"

typedef struct rrt__documents {
    rrt__source source;
    const char *path;
    const rrt_tokenizer *tokenizer;
    bool is_jsonl;
    bool ended;         // the source has no more
    size_t piece_bytes; // how long a piece is to be, about
    rrt__string buffer;
    size_t begin;        // buffer.data[begin..length) has not been handed out
    size_t offset, line; // in the (unpacked) file, of buffer.data[begin]; lines count from 1
    json_t *json;        // of the line that was handed out last
} rrt__documents;

// Valid UTF-8 of at least one byte, or the object of a conversation; lives until the next call.
typedef struct rrt__piece {
    const char *text;
    size_t length;
    bool ends_document;
    const json_t *conversation; // text is then not set
} rrt__piece;

// path and tokenizer outlive the documents.
rrt_status rrt__documents_open(rrt__documents *documents, const char *path, const rrt_tokenizer *tokenizer,
                               size_t piece_bytes, rrt_error *err);
void rrt__documents_close(rrt__documents *documents); // zero-initialised is fine

// The next piece; at the end it has neither length nor conversation. Documents without text are passed over.
// FORMAT with file, line and byte offset for text that is not UTF-8 and lines that are not as above,
// UNSUPPORTED for a line, or text that cannot be cut, of more than 32 MB.
rrt_status rrt__documents_next(rrt__documents *documents, rrt__piece *piece, rrt_error *err);

// A place within text[0..length), valid UTF-8, at which it can be cut without changing the ids; 0 if none was
// found.
rrt_status rrt__cut_find(const rrt_tokenizer *tokenizer, const char *text, size_t length, size_t *cut,
                         rrt_error *err);

#endif
