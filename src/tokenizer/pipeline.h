// Reads the parts of a tokenizer.json around its model, each an object with a "type". Refuses unknown ones.
#ifndef RRT__PIPELINE_H
#define RRT__PIPELINE_H

#include "tokenizer/tokenizer_inside.h"

typedef rrt_status rrt__read_part(rrt_tokenizer *tokenizer, json_t *json, void *user, rrt_error *err);

// Calls `read` on each element of the array in json[key].
rrt_status rrt__read_sequence(rrt_tokenizer *tokenizer, const json_t *json, const char *key,
                              rrt__read_part *read, void *user, rrt_error *err);
rrt_status rrt__read_type(const json_t *json, const char **type, rrt_error *err);
// "pattern": {"String": …} or {"Regex": …}.
rrt_status rrt__read_pattern(const json_t *json, const char **text, bool *literal, rrt_error *err);
// Reads whether a Metaspace puts a mark before a piece.
rrt_status rrt__read_prepend(const json_t *json, rrt__prepend *prepend, rrt_error *err);
rrt_status rrt__check_mark(const json_t *json, rrt_error *err); // checks its "replacement"

rrt_status rrt__fail_type(const char *type, const char *known, rrt_error *err);
rrt_status rrt__fail_setting(const char *key, rrt_error *err);

// Add to tokenizer->normalizer and tokenizer->steps. user: NULL, and an rrt__byte_level.
rrt__read_part rrt__read_normalizer, rrt__read_steps;

// Whether a pre-tokenizer has had a ByteLevel step; later steps see its alphabet.
typedef struct rrt__byte_level {
    bool was_there;
} rrt__byte_level;

#endif
