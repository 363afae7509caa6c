// Text to token ids and back.
#ifndef RRT_TOKENIZER_H
#define RRT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_tokenizer rrt_tokenizer; // read-only after loading: any number of threads may share it

// Loads the tokenizer of a .gguf file (our quantised ones, too), of a Hugging Face folder (tokenizer.json,
// else tokenizer.model), of a PEFT adapter's base, or a .json or .model file alone. Free with
// rrt_tokenizer_close.
RRT_API rrt_status rrt_tokenizer_open(rrt_tokenizer **out, const char *path, rrt_error *err);
RRT_API void rrt_tokenizer_close(rrt_tokenizer *tokenizer);

RRT_API const char *
rrt_tokenizer_kind(const rrt_tokenizer *tokenizer);                  // "byte-level BPE", "SentencePiece BPE"
RRT_API int32_t rrt_tokenizer_vocab(const rrt_tokenizer *tokenizer); // number of ids
RRT_API int32_t rrt_tokenizer_bos(const rrt_tokenizer *tokenizer);   // -1 if there is none
RRT_API int32_t rrt_tokenizer_eos(const rrt_tokenizer *tokenizer);   // -1 if there is none
// Whether the model expects BOS before a text (its add_bos_token).
RRT_API int rrt_tokenizer_adds_bos(const rrt_tokenizer *tokenizer);
// Whether the tokenizer adds a space before a text: decoding from a text's beginning then starts with
// that space.
RRT_API int rrt_tokenizer_adds_space(const rrt_tokenizer *tokenizer);
// Whether the token ends a generation: EOS, the tokens in the model's eos_token_id, or, without that, tokens
// whose text says so (<|im_end|>, <|eot_id|>).
RRT_API int rrt_tokenizer_ends(const rrt_tokenizer *tokenizer, int32_t id);

typedef struct rrt_encode_options {
    int add_bos;       // prepend BOS, if the tokenizer has one
    int parse_special; // special tokens written in the text ("<|im_start|>") become their id; else they
                       // are text
} rrt_encode_options;

// Encodes text[0..length), which must be valid UTF-8 (FORMAT with the byte offset otherwise) and may contain
// NUL; at most 715 MB per call (ARGUMENT). options NULL: no BOS, special tokens are text. A byte without a
// token becomes the vocabulary's unknown token or, if there is none, is dropped, as in Hugging Face's
// tokenizers. UNSUPPORTED, with the id, for an id without a row in the model's embedding. Does not append an
// EOS, even if the tokenizer would: prompts are continued. *ids is allocated, NULL if there are none; free it
// with rrt_ids_free.
RRT_API rrt_status rrt_encode(const rrt_tokenizer *tokenizer, const char *text, size_t length,
                              const rrt_encode_options *options, int32_t **ids, size_t *count,
                              rrt_error *err);
RRT_API void rrt_ids_free(int32_t *ids);

// Joins the bytes of ids[0..count): *text[0..*length), then a NUL. Not always valid UTF-8: a character
// may span several tokens, so a part of a longer text may begin or end within one, and a model may
// generate any bytes. An id that the tokenizer lacks gives no bytes: a model's vocabulary may be padded.
// Free with rrt_text_free.
RRT_API rrt_status rrt_decode(const rrt_tokenizer *tokenizer, const int32_t *ids, size_t count, char **text,
                              size_t *length, rrt_error *err);
RRT_API void rrt_text_free(char *text);

// The bytes of one token, possibly a part of a UTF-8 character; sets *length. NULL if id is out of range. The
// bytes live as long as the tokenizer. Special tokens give their text.
RRT_API const char *rrt_token_bytes(const rrt_tokenizer *tokenizer, int32_t id, size_t *length);

#ifdef __cplusplus
}
#endif
#endif
