// The documents of a training file, in pieces of text that can be encoded one by one.
//
// FILE.jsonl (or .ndjson) has a JSON object per line, with a document as "text" or a conversation as
// "messages". A .json file is refused. Any other file is text, in which a line "<|endoftext|>" ends a
// document, whatever the tokenizer; without such lines it is one document. A byte order mark is skipped, and
// lines may end in \r\n. A long document comes in several pieces, cut where the ids do not change: the joined
// ids of the pieces are those of the whole text.
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
    bool ended;         // the source is at its end
    size_t piece_bytes; // approximate length of a piece
    rrt__string buffer;
    size_t begin;        // buffer.data[begin..length) is unread
    size_t offset, line; // position of buffer.data[begin] in the (unpacked) file; lines count from 1
    json_t *json;        // of the last returned line
} rrt__documents;

// Valid UTF-8 of at least one byte, or a conversation's object; valid until the next call.
typedef struct rrt__piece {
    const char *text;
    size_t length;
    bool ends_document;
    const json_t *conversation; // if set, text is not
} rrt__piece;

// path and tokenizer must outlive the documents.
rrt_status rrt__documents_open(rrt__documents *documents, const char *path, const rrt_tokenizer *tokenizer,
                               size_t piece_bytes, rrt_error *err);
void rrt__documents_close(rrt__documents *documents); // zero-initialised is allowed

// The next piece; at the end it has neither length nor conversation. Skips documents without text. FORMAT
// with file, line and byte offset for text that is not UTF-8 and for lines that are not as above, UNSUPPORTED
// for a line, or text that cannot be cut, of more than 32 MB.
rrt_status rrt__documents_next(rrt__documents *documents, rrt__piece *piece, rrt_error *err);

// A position in text[0..length), valid UTF-8, where it can be cut without changing the ids; 0 if none
// was found.
rrt_status rrt__cut_find(const rrt_tokenizer *tokenizer, const char *text, size_t length, size_t *cut,
                         rrt_error *err);

#endif
