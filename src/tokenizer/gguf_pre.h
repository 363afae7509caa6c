// GGUF's names for the pre-tokenizers of byte-level tokenizers.
#ifndef RRT__GGUF_PRE_H
#define RRT__GGUF_PRE_H

#include "base/json.h"
#include "format/gguf.h"

enum { RRT__GGUF_PRE_MAX = 7 };

enum {
    RRT__GGUF_PRE_NFC = 1,            // normalises to NFC: tokenizers of this name do so, llama.cpp does not
    RRT__GGUF_PRE_IGNORES_MERGES = 2, // a piece that is a token needs no merges
    RRT__GGUF_PRE_BOS = 4,            // adds BOS unless add_bos_token says otherwise
    RRT__GGUF_PRE_COVERS = 8,         // the last pattern matches every character
};

typedef struct rrt__gguf_pre {
    const char *names; // separated by spaces
    const char *patterns[RRT__GGUF_PRE_MAX];
    unsigned flags;
} rrt__gguf_pre;

extern const rrt__gguf_pre rrt__gguf_pres[]; // the last has names NULL

// NULL for an unknown name. An empty name means "default".
const rrt__gguf_pre *rrt__gguf_pre_named(rrt__slice name);

// The equivalent parts of a tokenizer.json; NULL if out of memory.
json_t *rrt__gguf_pre_normalizer(const rrt__gguf_pre *pre);
json_t *rrt__gguf_pre_steps(const rrt__gguf_pre *pre);
json_t *rrt__gguf_pre_byte_level(void); // the last step, and the decoder

#endif
