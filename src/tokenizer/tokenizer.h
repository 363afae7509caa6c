// Inside the tokenizer: how one is built from its sources, and written back as Hugging Face files.
#ifndef RRT__TOKENIZER_H
#define RRT__TOKENIZER_H

#include "base/json.h"
#include "format/gguf.h"
#include "format/gguf_write.h"
#include "rrt/tokenizer.h"

// Of a GGUF file, or of our own quantised one: then *out is NULL if the file has none.
rrt_status rrt__tokenizer_from_gguf(rrt_tokenizer **out, const rrt__gguf *gguf, rrt_error *err);

// Adds all of a tokenizer to the metadata of our own file.
rrt_status rrt__tokenizer_pack(const rrt_tokenizer *tokenizer, rrt__gguf_writer *writer, rrt_error *err);

// From now on encoding fails with UNSUPPORTED where a text needs an id that a model of so many rows lacks,
// and BOS and EOS are none if they are such. Before the tokenizer is shared; NULL is fine.
void rrt__tokenizer_limit(rrt_tokenizer *tokenizer, size_t rows);

// For config.json and generation_config.json: "bos_token_id", "eos_token_id" and "pad_token_id" as the
// model's files had them, all else of the second file too, or what the tokenizer says. The caller's.
json_t *rrt__tokenizer_token_ids(const rrt_tokenizer *tokenizer);
json_t *rrt__tokenizer_generation(const rrt_tokenizer *tokenizer);

// Adds the tokenizer to a file's metadata, for a vocabulary of `vocab` ids, which may be more than it has.
// UNSUPPORTED if GGUF has no name for how it prepares a text.
rrt_status rrt__tokenizer_to_gguf(const rrt_tokenizer *tokenizer, size_t vocab, rrt__gguf_writer *writer,
                                  rrt_error *err);

// json: tokenizer.json. config: tokenizer_config.json, or NULL if the folder has none. Both are kept, not
// copied: who passes them must not change them afterwards.
rrt_status rrt__tokenizer_from_json(rrt_tokenizer **out, json_t *json, json_t *config, rrt_error *err);

// One more owner, who closes it too. NULL gives NULL.
rrt_tokenizer *rrt__tokenizer_share(rrt_tokenizer *tokenizer);

// MISMATCH if an id that both have stands for different bytes: their models cannot be compared or distilled.
// OK if either is NULL.
rrt_status rrt__tokenizer_check_same(const rrt_tokenizer *a, const rrt_tokenizer *b, rrt_error *err);

// Writes tokenizer.json, tokenizer_config.json (with the chat template, if any) and special_tokens_map.json
// into an existing folder.
// What the Hugging Face tokenizers library makes of them gives the same ids.
rrt_status rrt__tokenizer_write(const rrt_tokenizer *tokenizer, const char *folder, rrt_error *err);

// What it was built from, as rrt__tokenizer_from_json takes it: *out is the caller's, the settings live as
// long as the tokenizer.
rrt_status rrt__tokenizer_json(json_t **out, const rrt_tokenizer *tokenizer, rrt_error *err);
json_t *rrt__tokenizer_config(const rrt_tokenizer *tokenizer);

// Whether a text certainly has more tokens, by its bytes alone. False says nothing.
bool rrt__tokenizer_exceeds(const rrt_tokenizer *tokenizer, const char *text, size_t length, size_t tokens);

// The chat template's text (Jinja), NULL if the source has none.
const char *rrt__tokenizer_chat_template(const rrt_tokenizer *tokenizer);

#endif
