// A tokenizer in the making. A GGUF file and a SentencePiece model list the same things; they are brought
// into the form of tokenizer.json and tokenizer_config.json, so that there is one way to load a tokenizer
// and one to write it.
#ifndef RRT__TOKENIZER_PARTS_H
#define RRT__TOKENIZER_PARTS_H

#include "tokenizer/gguf_pre.h"
#include "tokenizer/tokenizer_inside.h"

// What a token is, by the numbers of SentencePiece and of tokenizer.ggml.token_type.
enum {
    RRT__TYPE_NORMAL = 1,
    RRT__TYPE_UNKNOWN,
    RRT__TYPE_CONTROL,
    RRT__TYPE_USER_DEFINED,
    RRT__TYPE_UNUSED,
    RRT__TYPE_BYTE,
};

// The variable parts of the two files.
typedef struct rrt__parts {
    const rrt__gguf_pre *pre; // NULL: SentencePiece, for which the flags are
    bool adds_space;          // one is put before a text, and after every added token
    bool only_first;          // … only before a text, unless it begins with one
    bool strips_spaces;       // at the ends of a text, and doubled ones
    bool falls_back;          // a character without a token becomes its bytes
    json_t *vocab;            // text → id
    json_t *merges;           // "left right"
    json_t *added;            // as "added_tokens"
    json_t *isolated;         // NULL, or tokens of the model that stay apart wherever their text stands
    json_t *unknown;          // NULL, or the text of the token for what has none
    json_t *config;           // tokenizer_config.json
} rrt__parts;

// Zero-initialise the parts, and close them even if opening it fails.
rrt_status rrt__parts_open(rrt__parts *parts, rrt_error *err);
void rrt__parts_close(rrt__parts *parts);

// FORMAT unless JSON can hold the string.
rrt_status rrt__parts_check_text(rrt__slice text, rrt_error *err);
// Adds a token of the model. An empty text becomes a name that no text contains. FORMAT for one that is
// there.
rrt_status rrt__parts_add_token(rrt__parts *parts, size_t id, rrt__slice text, rrt_error *err);
// Adds an added token, whose text is copied.
rrt_status rrt__parts_add_added(rrt__parts *parts, int64_t id, rrt__slice text, unsigned flags,
                                rrt_error *err);

// The tokenizer of all parts.
rrt_status rrt__parts_load(rrt_tokenizer **out, const rrt__parts *parts, rrt_error *err);

#endif
