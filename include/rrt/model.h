// A loaded model: read-only; any number of sessions and threads may share it.
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
    // Quantises all matrices while reading: "q8_0", "q6_0", "q4_1" or "q4_0", like rrt_model_quantize. NULL:
    // each keeps its stored type.
    const char *type;
    // Folders of PEFT adapters, [n_loras]. Their sum is added to the model without merging.
    const char *const *loras;
    size_t n_loras;
    // Another number of loops than in the files, fewer or more: the last loop's LoRA, vectors and gate serve
    // those beyond. 0: that of the files. UNSUPPORTED unless the plan is a cycle.
    int loops;
    // Layers of an ordinary model that run again: "10-14x2" runs 10 to 14 twice, and "10-14x2:0.2" scales the
    // norms of the second time by 0.2 (as convert's loop_gain). NULL: none. UNSUPPORTED if the model has
    // loops.
    const char *repeat;
    // "last:W": a token's keys and values of all loops are kept for blocks of W tokens, a multiple of 16 or 0
    // (the token alone); from older blocks every loop reads those of the last loop that a token ran. "last":
    // W = 256. More than the context is the context. NULL: of every loop for all tokens. UNSUPPORTED for a
    // plan without loop boundaries, and where loops share keys and values. For running only: no file says it.
    const char *kv;
    int threads;                  // 0: one per core
    const rrt_progress *progress; // may be NULL
} rrt_open_options;

// Opens a .gguf file, a Hugging Face folder (config.json, model.safetensors or shards, tokenizer.json or
// tokenizer.model), an rrt folder (the same with an "rrt" object in config.json), or a PEFT adapter
// (adapter_config.json, adapter_model.safetensors, and the base that they name), for inference. Weights keep
// their stored type (F32, F16, BF16, and of GGUF Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, Q4_1, Q4_0), in an order
// that suits the processor; a file of rrt_model_quantize already has this order and is mapped, so that
// processes share it. A weight that several depths share is in memory once. Training, and conversion with
// calibration, need f32 weights: use rrt_model_open_deferred and rrt_model_unpack. Free with rrt_model_close.
// options NULL: all zero. MEMORY, with the size needed, if it exceeds the free memory.
RRT_API rrt_status rrt_model_open(rrt_model **out, const char *path, const rrt_open_options *options,
                                  rrt_error *err);
RRT_API void rrt_model_close(rrt_model *model);

// The same, but matrices stay in their files (so `type` is no option here) and are read on demand: inspection
// is almost free, and a model larger than memory can be quantised, exported, converted without calibration,
// and saved. A model converted from it (rrt_convert) reads from it, too, and must be closed first. Running it
// fails with UNSUPPORTED until rrt_model_unpack has read the matrices.
RRT_API rrt_status rrt_model_open_deferred(rrt_model **out, const char *path, const rrt_open_options *options,
                                           rrt_error *err);

// The model's tokenizer, owned by the model. NULL if its folder has none, or one that rrt does not support:
// everything that works with ids still works.
RRT_API const rrt_tokenizer *rrt_model_tokenizer(const rrt_model *model);

// OK if the model has a tokenizer; else UNSUPPORTED, and err says why.
RRT_API rrt_status rrt_model_check_tokenizer(const rrt_model *model, rrt_error *err);

typedef struct rrt_model_info {
    const char *family;  // "llama", "gpt_neox"
    const char *sharing; // "none", "cycle", "sequence"
    const char *norms;   // "tied", "per-depth", "folded"
    const char *kv;      // "per-depth"; "shared": all loops read the first loop's keys and values; "last"
    size_t kv_window;    // if "last": W; 0 is the token alone
    int layers;          // total depths: prelude + loops * layers_per_block + coda
    int loops, layers_per_block, prelude, coda;
    int trained_loops; // loops of its files: another number if it was opened so
    bool loop_norm;    // the final norm's output of a loop enters the next
    bool prefix_lm;    // trained with prompts whose tokens attend both ways
    // By a cumulative gate, tokens without an exit rule leave from this probability on; from 1 on: never.
    double exit_threshold;
    int hidden, heads, kv_heads, head_dim, ffn, vocab, context;
    // Parameters, each stored one counted once: total = body + embedding + gate, body = shared + lora + norm.
    uint64_t params_total, params_body;
    uint64_t params_embedding; // embedding, and the head if it is not tied
    uint64_t params_shared;    // linear layers' weights and biases
    uint64_t params_lora;
    uint64_t params_norm;  // with the final norm
    uint64_t params_gate;  // gates at loop boundaries (rrt/train.h)
    uint64_t file_bytes;   // of the weight files
    const char *name;      // from its metadata, or the name of its file or folder; NULL: it was just made
    const char *tokenizer; // its kind (rrt_tokenizer_kind); NULL: none, or not supported
    bool has_chat_template;
} rrt_model_info;

// The tensors of one type: their number and bytes, in the files of a deferred model, in memory of another.
typedef struct rrt_model_type {
    const char *name; // "BF16", "Q4_K"; in our quantised files "q4_0"
    uint64_t tensors, bytes;
} rrt_model_type;

enum { RRT_MODEL_TYPES = 16 }; // max number of types

// Returns the number of types.
RRT_API size_t rrt_model_types(const rrt_model *model, rrt_model_type types[RRT_MODEL_TYPES]);

// The types that a deferred model would have in memory after rrt_model_open, mapped ones included.
RRT_API size_t rrt_model_resident_types(const rrt_model *model, rrt_model_type types[RRT_MODEL_TYPES]);

// The exit rule, applied at every loop boundary but the last, and the K/V policy.
typedef struct rrt_exit_options {
    // NULL: no exits. Else one of: loops:N (after N loops) · confidence:P (the most likely token has at least
    // this probability) · margin:P (at least this much more than the second) · entropy:H (at most H nats) ·
    // unchanged (the most likely token is that of the loop before) · state:D (the last loop changed the
    // hidden state by at most the fraction D) · gate:P (the model's gate predicts agreement with the last
    // loop; rrt/train.h) · oracle (the last loop does agree: for analysis, as in the paper's App. K) ·
    // agreement:P (the cheapest rule calibrated for these keys and values whose tokens agree with those of
    // all loops in the share P or more, "95%" or "0.95": rrt_exit_thresholds_save)
    const char *rule;
    // Keys and values of a token in loops that it did not run. propagate: computed from the hidden state at
    // its exit · copy: those of the same slot in the last loop that it ran · recompute: as if it had run
    // them, so that later tokens see no difference · shared: none, the model's loops share those of the
    // first. NULL: shared if the model's loops do, else propagate.
    const char *kv;
} rrt_exit_options;

// A model with random weights, N(0, 0.02²), from a folder with config.json and optionally a tokenizer; does
// not read the folder's weights. Free with rrt_model_close.
RRT_API rrt_status rrt_model_create(rrt_model **out, const char *folder, uint64_t seed, rrt_error *err);

typedef struct rrt_save_options {
    // Type of the stored weights: "f32", "bf16" or "f16". NULL: that of the model's files, or bf16 if they
    // are quantised; f32 for a model that was not opened or converted
    const char *dtype;
    uint64_t max_shard_bytes; // per weight file, unless a single tensor is larger; 0: 5e9
    bool overwrite;           // replace a model at path
    const rrt_progress *progress;
} rrt_save_options;

// Writes the model as a folder that appears under its name only once it is complete: config.json, tokenizer
// files, and model.safetensors, or, if that would be too large, model-00001-of-0000N.safetensors … with their
// index. options may be NULL. EXISTS if path exists and overwrite is 0. A failure or cancellation leaves
// nothing behind.
RRT_API rrt_status rrt_model_save(const rrt_model *model, const char *path, const rrt_save_options *options,
                                  rrt_error *err);

typedef struct rrt_quantize_options {
    // Type of the layers' matrices: "q8_0", "q6_0", "q4_1" or "q4_0". With a 4-bit type, embedding, head,
    // LoRA, prelude and coda become q6_0, and weights shared by more than 4 loops q8_0; vectors stay f32.
    const char *type;
    bool overwrite;               // replace an existing file
    int threads;                  // 0: one per core
    const rrt_progress *progress; // may be NULL
} rrt_quantize_options;

// Writes the model into one file (GGUF with architecture "rrt"; docs/FORMATS.md) that rrt_model_open maps.
// ARGUMENT for an unknown type, EXISTS, IO.
RRT_API rrt_status rrt_model_quantize(const rrt_model *model, const char *path,
                                      const rrt_quantize_options *options, rrt_error *err);

// Converts all weights of a model to f32, in place: training needs it. No effect on an f32 model. Nothing
// else may be using the model, which can only be closed after a failure.
RRT_API rrt_status rrt_model_unpack(rrt_model *model, rrt_error *err);

RRT_API void rrt_model_describe(const rrt_model *model, rrt_model_info *info);

#ifdef __cplusplus
}
#endif
#endif
