// Internal interface of the tokenizer: creation from its sources, and writing as Hugging Face files.
#ifndef RRT__TOKENIZER_H
#define RRT__TOKENIZER_H

#include "base/json.h"
#include "format/gguf.h"
#include "format/gguf_write.h"
#include "rrt/tokenizer.h"

// From a GGUF file or our own quantised file, which may have none: then *out is NULL.
rrt_status rrt__tokenizer_from_gguf(rrt_tokenizer **out, const rrt__gguf *gguf, rrt_error *err);

// Adds the whole tokenizer to the metadata of our own file.
rrt_status rrt__tokenizer_pack(const rrt_tokenizer *tokenizer, rrt__gguf_writer *writer, rrt_error *err);

// From now on encoding fails with UNSUPPORTED if a text needs an id that a model with `rows` rows lacks, and
// BOS and EOS are unset if they are such ids. Call it before the tokenizer is shared; NULL is allowed.
void rrt__tokenizer_limit(rrt_tokenizer *tokenizer, size_t rows);

// For config.json and generation_config.json: "bos_token_id", "eos_token_id" and "pad_token_id" of the
// model's files, and the rest of the second file; without these files the tokenizer's ids. The caller
// owns it.
json_t *rrt__tokenizer_token_ids(const rrt_tokenizer *tokenizer);
json_t *rrt__tokenizer_generation(const rrt_tokenizer *tokenizer);

// Adds the tokenizer to a file's metadata, for a vocabulary of `vocab` ids, which may exceed its own.
// UNSUPPORTED if GGUF has no name for its pre-tokenizer.
rrt_status rrt__tokenizer_to_gguf(const rrt_tokenizer *tokenizer, size_t vocab, rrt__gguf_writer *writer,
                                  rrt_error *err);

// json: tokenizer.json. config: tokenizer_config.json, or NULL if the folder has none. Keeps both without
// copying: callers must not change them afterwards.
rrt_status rrt__tokenizer_from_json(rrt_tokenizer **out, json_t *json, json_t *config, rrt_error *err);

// data: a SentencePiece model. config: as above; it is copied. folder: where files lie that declare more
// tokens, NULL: nowhere. UNSUPPORTED unless it is BPE.
rrt_status rrt__tokenizer_from_sentencepiece(rrt_tokenizer **out, const char *data, size_t length,
                                             const json_t *config, const char *folder, rrt_error *err);

// Whether a model's folder has a tokenizer.
bool rrt__tokenizer_is_in(const char *folder);

// Adds an owner, who must close it, too. NULL gives NULL.
rrt_tokenizer *rrt__tokenizer_share(rrt_tokenizer *tokenizer);

// MISMATCH if an id that both have differs in its bytes: their models cannot be compared or distilled. OK if
// either is NULL.
rrt_status rrt__tokenizer_check_same(const rrt_tokenizer *a, const rrt_tokenizer *b, rrt_error *err);

// Writes tokenizer.json, tokenizer_config.json (with the chat template, if any) and special_tokens_map.json
// into an existing folder. Hugging Face's tokenizers library gives the same ids with them.
rrt_status rrt__tokenizer_write(const rrt_tokenizer *tokenizer, const char *folder, rrt_error *err);

// Its source in the form of rrt__tokenizer_from_json: the caller owns *out; the config lives as long as
// the tokenizer.
rrt_status rrt__tokenizer_json(json_t **out, const rrt_tokenizer *tokenizer, rrt_error *err);
json_t *rrt__tokenizer_config(const rrt_tokenizer *tokenizer);

// Whether a text certainly has more tokens, by its bytes alone. False: unknown.
bool rrt__tokenizer_exceeds(const rrt_tokenizer *tokenizer, const char *text, size_t length, size_t tokens);

// The chat template's text (Jinja), NULL if the source has none.
const char *rrt__tokenizer_chat_template(const rrt_tokenizer *tokenizer);

#endif
