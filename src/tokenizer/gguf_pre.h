// How GGUF names the way a byte-level tokenizer prepares a text.
#ifndef RRT__GGUF_PRE_H
#define RRT__GGUF_PRE_H

#include "base/json.h"
#include "format/gguf.h"

enum { RRT__GGUF_PRE_MAX = 7 };

enum {
    RRT__GGUF_PRE_NFC = 1, // the text is normalised: tokenizers of this name do, llama.cpp does not
    RRT__GGUF_PRE_IGNORES_MERGES = 2, // a piece that is a token needs no merges
    RRT__GGUF_PRE_BOS = 4,            // BOS goes in front where add_bos_token does not say
    RRT__GGUF_PRE_COVERS = 8,         // the last pattern leaves no character out
};

typedef struct rrt__gguf_pre {
    const char *names; // apart by spaces
    const char *patterns[RRT__GGUF_PRE_MAX];
    unsigned flags;
} rrt__gguf_pre;

extern const rrt__gguf_pre rrt__gguf_pres[]; // the last has names NULL

// NULL if there is none. No name at all means "default".
const rrt__gguf_pre *rrt__gguf_pre_named(rrt__slice name);

// The parts of a tokenizer.json that say the same; NULL if out of memory.
json_t *rrt__gguf_pre_normalizer(const rrt__gguf_pre *pre);
json_t *rrt__gguf_pre_steps(const rrt__gguf_pre *pre);
json_t *rrt__gguf_pre_byte_level(void); // the last step, and the decoder

#endif
