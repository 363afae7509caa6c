// The tokens that a Hugging Face folder declares beside its SentencePiece model, as transformers reads them:
// added_tokens_decoder of tokenizer_config.json, or the older added_tokens.json and special_tokens_map.json,
// and the named ones (bos_token …).
#ifndef RRT__TOKENIZER_DECLARED_H
#define RRT__TOKENIZER_DECLARED_H

#include "tokenizer/parts.h"

typedef struct rrt__declared {
    int64_t id;
    rrt__slice text; // in the config
    unsigned flags;  // RRT__TOKEN_SPECIAL, _LEFT, _RIGHT, _WORD
} rrt__declared;

typedef struct rrt__declarations {
    rrt__declared *list; // by id
    size_t count, capacity;
} rrt__declarations;

// Reads the tokens with an id. folder: NULL for a model without one. Brings what the older files say into the
// config, which has to outlive the list.
rrt_status rrt__declared_read(rrt__declarations *out, json_t *config, const char *folder, rrt_error *err);

// Makes the config's named tokens special ones. Those that neither the list nor the vocabulary (text → id)
// has get the ids from *total on, in transformers' order.
rrt_status rrt__declared_add_named(rrt__declarations *to, json_t *config, const json_t *vocab, size_t *total,
                                   rrt_error *err);

void rrt__declared_close(rrt__declarations *declared);

#endif
