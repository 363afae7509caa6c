// A family is a row of a table: its kind of norm, MLP, residual and rotary embedding, and the names of its
// tensors. This row drives the forward pass, which is one function.
#ifndef RRT__FAMILY_H
#define RRT__FAMILY_H

#include <stdbool.h>

#include "base/error.h"

// The linear matrices of a block. A family without a gate in its MLP has no RRT__MATRIX_GATE; few have one on
// the output of attention.
typedef enum rrt__matrix {
    RRT__MATRIX_Q,
    RRT__MATRIX_K,
    RRT__MATRIX_V,
    RRT__MATRIX_O,
    RRT__MATRIX_GATE,
    RRT__MATRIX_UP,
    RRT__MATRIX_DOWN,
    RRT__MATRIX_ATTENTION_GATE,
    RRT__MATRIX_COUNT
} rrt__matrix;

// The norms of a block. All families have the first two, on the inputs of attention and MLP; some also norm
// the outputs of both, and each head's query and key before the rotation.
typedef enum rrt__norm_place {
    RRT__NORM_ATTENTION,
    RRT__NORM_MLP,
    RRT__NORM_AFTER_ATTENTION,
    RRT__NORM_AFTER_MLP,
    RRT__NORM_Q,
    RRT__NORM_K,
    RRT__NORM_COUNT
} rrt__norm_place;
enum { RRT__NORM_INPUTS = RRT__NORM_MLP + 1 }; // those that linear layers read

typedef enum rrt__norm_kind { RRT__NORM_RMS, RRT__NORM_LAYER } rrt__norm_kind;
typedef enum rrt__mlp_kind { RRT__MLP_SILU_GATED, RRT__MLP_GELU_GATED, RRT__MLP_GELU } rrt__mlp_kind;

// Deviations of a layer's attention from the default (all earlier tokens, rotated). A property of the depth.
enum {
    RRT__ATTENTION_LOCAL = 1, // sees only the last shape.window tokens, and may have its own rotary base
    RRT__ATTENTION_NOPE = 2,  // without rotary positions (NoPE)
};

// Layout of a file's tensor that holds several matrices of ours: q, k and v, or gate and up.
typedef enum rrt__fusion {
    RRT__FUSION_NONE,
    RRT__FUSION_STACKED,     // one after the other, the gate of attention before q
    RRT__FUSION_INTERLEAVED, // [heads, 3, head_dim, …]
} rrt__fusion;

// Tensor names: "<embedding>.weight", "<layers><index>.<matrix>.weight", … Where matrices are fused, the file
// has only the fused name; LoRA keep the matrix's name.
typedef struct rrt__names {
    const char *embedding, *final_norm, *head, *layers;
    const char *high_layers; // of the second of two stacks, which counts from 0; NULL: `layers` goes on
    const char *low_start;   // rrt_model.low_start; NULL: the family has none
    const char *gate;        // the gate of all loop boundaries (rrt__native_loops); NULL: the family has none
    const char *matrices[RRT__MATRIX_COUNT];
    const char *norms[RRT__NORM_COUNT];
    const char *fused_qkv, *fused_mlp; // NULL: not fused
    rrt__fusion qkv_fusion;            // gate and up are always stacked
} rrt__names;

// Rule for the biases of linear layers, fixed or by config.json.
typedef enum rrt__bias_rule {
    RRT__BIAS_NEVER,
    RRT__BIAS_ALWAYS,
    RRT__BIAS_OFF,    // by "attention_bias" or "mlp_bias", default false
    RRT__BIAS_ON,     // the same, default true
    RRT__BIAS_OF_QKV, // q, k and v always, o never
} rrt__bias_rule;

// Rule for the layers that attend to a window only.
typedef enum rrt__window_rule {
    RRT__WINDOW_NEVER,
    RRT__WINDOW_ALL,     // all, if "sliding_window" is a number
    RRT__WINDOW_LAST,    // by "use_sliding_window": from "max_window_layers" on, or by "layer_types"
    RRT__WINDOW_NOPE,    // by "use_sliding_window": the NoPE layers, or by "layer_types"
    RRT__WINDOW_PATTERN, // all but every local_pattern'th, or by "layer_types"
} rrt__window_rule;

// What a family's own config.json says of its loops: the whole stack of layers runs so many times, and the
// final norm's output enters the next loop. In GGUF files the keys are "num_loops" and
// "skip_loop_final_norm".
typedef struct rrt__native_loops {
    const char *key;      // their number; NULL: models of the family are not looped
    int absent;           // their number if the key is missing
    const char *skip_key; // true: no norm between loops; NULL: the norm is always there
} rrt__native_loops;

// Whether llama.cpp looks for a head besides the embedding.
typedef enum rrt__gguf_head {
    RRT__GGUF_HEAD_MAY_BE_TIED,
    RRT__GGUF_HEAD_IS_STORED, // always; a copy of the embedding if they are tied
    RRT__GGUF_HEAD_IS_TIED,
} rrt__gguf_head;

// The biases that llama.cpp looks for.
typedef enum rrt__gguf_biases {
    RRT__GGUF_BIASES_OF_QKV, // optional, of q, k and v
    RRT__GGUF_BIASES_OF_ALL, // optional, of every matrix
    RRT__GGUF_BIASES_NEEDED, // required, of every matrix
} rrt__gguf_biases;

// Defaults of transformers' class for keys that config.json lacks. kv_heads 0: as many as heads; head_dim 0:
// hidden size over heads; window 0: none.
typedef struct rrt__absent {
    int heads, kv_heads, head_dim, vocab, context, window;
    double norm_epsilon, rope_base, local_rope_base; // local 0: local layers use the same base
    double original_context;                         // not 0: config.json has it at the top level
    double attention_cap, logit_cap;                 // 0: none
} rrt__absent;

typedef struct rrt__family {
    const char *name;      // model_type of config.json
    const char *gguf_name; // general.architecture
    const char *hf_class;  // architectures[0] of config.json
    rrt__norm_kind norm;
    rrt__mlp_kind mlp;
    const char *activation_key, *activation; // the MLP's, in config.json
    const char *old_activation;              // its value in older files; NULL: none
    rrt__bias_rule attention_bias, mlp_bias;
    rrt__window_rule window;
    bool partial_rotary;          // config.json may rotate only a part of each head
    bool only_longrope;           // the only rope scaling; old files call it "su" or "yarn"
    bool gain_is_one_plus_weight; // the Hugging Face files hold gain - 1
    bool scales_embedding;        // multiplied by the square root of the hidden size
    bool ties_head;               // default if config.json does not say
    bool pairs_rope_in_gguf;      // in GGUF files, rows of q and k that rotate together are adjacent
    bool norms_whole_rows;        // norms of q and k are over all heads at once
    bool parallel_residual;       // x + attention(norm1 x) + mlp(norm2 x); config.json may switch it off
    bool has_score_settings;      // config.json has the scale of attention scores and their caps
    bool has_multipliers;         // config.json has multipliers of embedding, branches, scores and logits
    bool repeats_in_peft;         // transformers can run it after PEFT has repeated its layers
    int local_pattern;            // RRT__WINDOW_PATTERN: every local_pattern'th layer sees all tokens
    bool names_pattern;           // config.json may set another pattern
    rrt__gguf_head gguf_head;
    rrt__gguf_biases gguf_biases;
    bool gguf_divisors; // llama.cpp reads divisors of the rotary angles
    rrt__native_loops loops;
    bool has_stacks;                // two stacks that run in turns (plan.h, RRT__SHARING_STACKS)
    bool norms_have_no_weight;      // all gains are 1, and files do not hold them
    const char *const *must_be_off; // keys of config.json that change the result; NULL-terminated, or NULL
    int nope_pattern; // every nope_pattern'th layer is NoPE, unless files say otherwise; 0: none
    rrt__absent absent;
    rrt__names hf, gguf;
} rrt__family;

// Finds a family by model_type or by general.architecture. UNSUPPORTED, with the list of known names, for
// an unknown one. If two families have the same architecture, a file with a window gets the one that can
// have it.
rrt_status rrt__family_by_name(const rrt__family **out, const char *name, rrt_error *err);
rrt_status rrt__family_by_gguf_name(const rrt__family **out, const char *name, bool has_window,
                                    rrt_error *err);

bool rrt__family_has(const rrt__family *family, rrt__matrix matrix);
bool rrt__family_has_norm(const rrt__family *family, rrt__norm_place place);
bool rrt__family_is_gated(const rrt__family *family);

// Whether one gate stands at all loop boundaries, on the final norm's output, and its probabilities add up
// over the loops (Ouro). Else a model may have a gate of its own at each boundary (rrt/train.h).
bool rrt__family_has_cumulative_gate(const rrt__family *family);

// The norm whose output the matrix reads; RRT__NORM_COUNT for o and down, which read none.
rrt__norm_place rrt__matrix_norm(rrt__matrix matrix);

// "q", "k", "v", "o", "gate", "up", "down", "attention_gate"
const char *rrt__matrix_name(rrt__matrix matrix);

#endif
