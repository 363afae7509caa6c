// A loaded model: read-only, and shared by any number of sessions and threads.
#ifndef RRT_MODEL_H
#define RRT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rrt/status.h"
#include "rrt/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_model rrt_model;

typedef struct rrt_open_options {
    // Quantises all matrices while they are read: "q8_0", "q6_0", "q4_1" or "q4_0", as rrt_model_quantize does. NULL:
    // each keeps the type that it is stored as.
    const char *type;
    // Folders of PEFT adapters, [n_loras], that are added to the model, one to the other, and not merged.
    const char *const *loras;
    size_t n_loras;
    int threads;                  // 0: one per core
    const rrt_progress *progress; // may be NULL
} rrt_open_options;

// Opens a .gguf file, a Hugging Face folder (config.json, model.safetensors or shards, tokenizer.json), an
// rrt folder (the same with an "rrt" object in config.json), or a PEFT adapter (adapter_config.json,
// adapter_model.safetensors, and the base that they name), to run it. Weights are computed with as they are
// stored (F32, F16, BF16, and of GGUF Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, Q4_1, Q4_0), in an order that suits
// the processor; a file that rrt_model_quantize wrote lies so already and is mapped, so that processes share
// it. A weight that several depths share is held once. What trains or converts with calibration needs f32
// weights: rrt_model_open_deferred and rrt_model_unpack. Free with rrt_model_close. options NULL: all zero.
// MEMORY, with the sum, if it needs more than is free.
RRT_API rrt_status rrt_model_open(rrt_model **out, const char *path, const rrt_open_options *options,
                                  rrt_error *err);
RRT_API void rrt_model_close(rrt_model *model);

// The same without options, but matrices stay in their files and are read when they are needed: a look at a
// model costs next to nothing, and one that is greater than memory can be quantised, exported, converted
// without calibration, and saved. What was made of it (rrt_convert) reads from it, too, and has to be closed
// first. Whatever runs a model fails with UNSUPPORTED until rrt_model_unpack has read them in.
RRT_API rrt_status rrt_model_open_deferred(rrt_model **out, const char *path, rrt_error *err);

// The model's tokenizer, owned by the model. NULL if its folder has none, or if it is of a kind that rrt does
// not know: all that works with ids then still works.
RRT_API const rrt_tokenizer *rrt_model_tokenizer(const rrt_model *model);

// OK if the model has a tokenizer; UNSUPPORTED otherwise, and err says why it has none.
RRT_API rrt_status rrt_model_check_tokenizer(const rrt_model *model, rrt_error *err);

typedef struct rrt_model_info {
    const char *family;  // "llama", "gpt_neox"
    const char *sharing; // "none", "cycle", "sequence"
    const char *norms;   // "tied", "per-depth", "folded"
    const char *kv;      // "per-depth"; "shared": all loops read the first one's keys and values
    int layers;          // depths in all: prelude + loops * layers_per_block + coda
    int loops, layers_per_block, prelude, coda;
    int hidden, heads, kv_heads, head_dim, ffn, vocab, context;
    // Parameters, each stored one counted once: total = body + embedding + gate, body = shared + lora + norm.
    uint64_t params_total, params_body;
    uint64_t params_embedding; // embedding, and the head where it is a matrix of its own
    uint64_t params_shared;    // linear layers' weights and biases
    uint64_t params_lora;
    uint64_t params_norm; // the final norm included
    uint64_t params_gate; // probes at loop boundaries (rrt/train.h)
    uint64_t file_bytes;  // of the weight files
    const char *name; // what it calls itself, or what its file or folder is called; NULL: it was just made
    const char *tokenizer; // its kind (rrt_tokenizer_kind); NULL: there is none that could be used
    bool has_chat_template;
} rrt_model_info;

// How many tensors are of one type. bytes: in the files of a deferred model, in memory of another.
typedef struct rrt_model_type {
    const char *name; // "BF16", "Q4_K"; of our quantised files "q4_0"
    uint64_t tensors, bytes;
} rrt_model_type;

enum { RRT_MODEL_TYPES = 16 }; // most that there are

// Returns how many there are.
RRT_API size_t rrt_model_types(const rrt_model *model, rrt_model_type types[RRT_MODEL_TYPES]);

// The same of a deferred model as rrt_model_open would have it in memory, what is mapped included.
RRT_API size_t rrt_model_resident_types(const rrt_model *model, rrt_model_type types[RRT_MODEL_TYPES]);

// Where tokens leave the loops, decided at every loop boundary but the last.
typedef struct rrt_exit_options {
    // NULL: nowhere. Else one of: loops:N (after N loops) · confidence:P (the most likely token has at least
    // this probability) · margin:P (so much more than the second) · entropy:H (at most H nats) · unchanged
    // (the most likely token is the one of a loop before) · state:D (the hidden state changed by at most the
    // part D in the last loop) · gate:P (the model's gate says that the last loop agrees; rrt/train.h) ·
    // oracle (it does: for analysis, as in the paper's App. K)
    const char *rule;
    // Keys and values of a token in loops that it did not run. propagate: made of the state that it left with
    // · copy: those of the same slot in the last loop that it ran · recompute: as if it had run them, so that
    // later tokens see no difference · shared: there are none, the model's loops share those of the first.
    // NULL: shared where they do, else propagate.
    const char *kv;
} rrt_exit_options;

// A model with random weights, N(0, 0.02²), from a folder with config.json and, if it has one, a tokenizer;
// weights in the folder are not read. Free with rrt_model_close.
RRT_API rrt_status rrt_model_create(rrt_model **out, const char *folder, uint64_t seed, rrt_error *err);

typedef struct rrt_save_options {
    // Of the stored weights: "f32", "bf16" or "f16". NULL: what those of the model's files are, or bf16 where
    // they are quantised; f32 for a model that was not opened or converted
    const char *dtype;
    uint64_t max_shard_bytes; // of weights in one file, unless a single tensor is larger; 0: 5e9
    bool overwrite;           // whether a model at path is replaced
    const rrt_progress *progress;
} rrt_save_options;

// Writes the model as a folder that appears under its name only once it is complete: config.json, tokenizer
// files, and model.safetensors, or model-00001-of-0000N.safetensors … with their index where that would be
// too large. options may be NULL. EXISTS if path exists and overwrite is 0. A failure, a cancellation too,
// leaves nothing behind.
RRT_API rrt_status rrt_model_save(const rrt_model *model, const char *path, const rrt_save_options *options,
                                  rrt_error *err);

typedef struct rrt_quantize_options {
    // Of the layers' matrices: "q8_0", "q6_0", "q4_1" or "q4_0". Beside a 4-bit type embedding, head, LoRA, prelude
    // and coda become q6_0, and what more than 4 loops share q8_0; vectors stay f32.
    const char *type;
    bool overwrite;               // what stands at the path
    int threads;                  // 0: one per core
    const rrt_progress *progress; // may be NULL
} rrt_quantize_options;

// Writes the model into one file (GGUF with architecture "rrt"; docs/FORMATS.md) that rrt_model_open maps.
// ARGUMENT for a type that is not known, EXISTS, IO.
RRT_API rrt_status rrt_model_quantize(const rrt_model *model, const char *path,
                                      const rrt_quantize_options *options, rrt_error *err);

// Makes all weights of a model f32, in place: what training needs. Of an f32 model: nothing. Nobody may be
// using the model, which can only be closed after a failure.
RRT_API rrt_status rrt_model_unpack(rrt_model *model, rrt_error *err);

RRT_API void rrt_model_describe(const rrt_model *model, rrt_model_info *info);

#ifdef __cplusplus
}
#endif
#endif
