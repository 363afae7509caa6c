// A family is a row of a table: what kind of norm, MLP, residual and rotary it has and what its tensors are
// called. The forward pass is one function driven by this row.
#ifndef RRT__FAMILY_H
#define RRT__FAMILY_H

#include <stdbool.h>

#include "base/error.h"

// The linear matrices of a block. A family without a gate has no RRT__MATRIX_GATE.
typedef enum rrt__matrix {
    RRT__MATRIX_Q,
    RRT__MATRIX_K,
    RRT__MATRIX_V,
    RRT__MATRIX_O,
    RRT__MATRIX_GATE,
    RRT__MATRIX_UP,
    RRT__MATRIX_DOWN,
    RRT__MATRIX_COUNT
} rrt__matrix;

// The norms of a block. All families have the first two, of what attention and MLP read; some have more: of
// what the two add to the hidden state, and of each head's query and key before they are rotated.
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

// How a layer's attention differs from the plain one, which sees all tokens before. A property of the depth.
enum {
    RRT__ATTENTION_LOCAL =
        1, // sees the last tokens only, by shape.window, and may rotate by a base of its own
    RRT__ATTENTION_UNROTATED = 2, // without positions (NoPE)
};

// How one tensor of a file holds several matrices of ours: q, k and v, or gate and up.
typedef enum rrt__fusion {
    RRT__FUSION_NONE,
    RRT__FUSION_STACKED,     // one after the other
    RRT__FUSION_INTERLEAVED, // [heads, 3, head_dim, …]
} rrt__fusion;

// Tensor names: "<embedding>.weight", "<layers><index>.<matrix>.weight", … Where matrices are fused, the file
// has the fused name alone; LoRA still go by the matrix's.
typedef struct rrt__names {
    const char *embedding, *final_norm, *head, *layers;
    const char *matrices[RRT__MATRIX_COUNT];
    const char *norms[RRT__NORM_COUNT];
    const char *fused_qkv, *fused_mlp; // NULL: they are not
    rrt__fusion qkv_fusion;            // gate and up are stacked wherever they are fused
} rrt__names;

// Which linear layers have a bias, as far as configurations tell.
typedef enum rrt__bias_rule {
    RRT__BIAS_NEVER,
    RRT__BIAS_ALWAYS,
    RRT__BIAS_OFF,    // as "attention_bias" or "mlp_bias" says: false where it does not
    RRT__BIAS_ON,     // the same, true
    RRT__BIAS_OF_QKV, // q, k and v always, o never
} rrt__bias_rule;

// Which layers see a window of the text only.
typedef enum rrt__window_rule {
    RRT__WINDOW_NEVER,
    RRT__WINDOW_ALL,  // all, where "sliding_window" is a number
    RRT__WINDOW_LAST, // by "use_sliding_window": those from "max_window_layers" on, or as "layer_types" says
    RRT__WINDOW_UNROTATED, // by "use_sliding_window": those without rotation, or as "layer_types" says
    RRT__WINDOW_PATTERN,   // all but every local_pattern'th, or as "layer_types" says
} rrt__window_rule;

// Whether llama.cpp looks for a head apart from the embedding.
typedef enum rrt__gguf_head {
    RRT__GGUF_HEAD_MAY_BE_TIED,
    RRT__GGUF_HEAD_IS_STORED, // always, the embedding once more where they are tied
    RRT__GGUF_HEAD_IS_TIED,
} rrt__gguf_head;

// The biases that llama.cpp looks for.
typedef enum rrt__gguf_biases {
    RRT__GGUF_BIASES_OF_QKV, // may be there
    RRT__GGUF_BIASES_OF_ALL, // the same for every matrix
    RRT__GGUF_BIASES_NEEDED, // of every matrix
} rrt__gguf_biases;

// What transformers' class takes where config.json does not say. kv_heads 0: as many as heads; head_dim 0:
// hidden size over heads; window 0: none.
typedef struct rrt__absent {
    int heads, kv_heads, head_dim, vocab, context, window;
    double norm_epsilon, rope_base, local_rope_base; // local 0: local layers have the base of all
    double original_context;                         // not 0: it stands at the top of config.json
    double attention_cap, logit_cap;                 // 0: none
} rrt__absent;

typedef struct rrt__family {
    const char *name;      // model_type of config.json
    const char *gguf_name; // general.architecture
    const char *hf_class;  // architectures[0] of config.json
    rrt__norm_kind norm;
    rrt__mlp_kind mlp;
    const char *activation_key, *activation; // in config.json: the MLP's
    const char *old_activation;              // what older files say instead, NULL: nothing
    rrt__bias_rule attention_bias, mlp_bias;
    rrt__window_rule window;
    bool partial_rotary;      // config.json may say that a part of each head is rotated
    bool only_longrope;       // of rope scalings, which old files call "su" or "yarn"
    bool gain_is_one_plus_weight; // a gain is 1 + what the Hugging Face files hold
    bool scales_embedding;    // by the square root of the hidden size
    bool ties_head;           // where config.json does not say
    bool pairs_rope_in_gguf;  // rows of q and k that are rotated together stand side by side in GGUF files
    bool norms_whole_rows;    // norms of q and k are over all heads at once, not over each
    bool parallel_residual;  // config.json may say x + attention(norm1 x) + mlp(norm2 x), and does by default
    bool has_score_settings; // config.json names the scale of attention's scores and their caps
    bool has_multipliers;    // config.json names multipliers of embedding, branches, scores and logits
    bool repeats_in_peft;    // transformers runs it where PEFT has repeated its layers
    int local_pattern;       // RRT__WINDOW_PATTERN: every so manieth layer sees all
    bool names_pattern;      // config.json may name another
    rrt__gguf_head gguf_head;
    rrt__gguf_biases gguf_biases;
    bool gguf_divisors; // llama.cpp reads divisors of the rotation's angles
    int nope_pattern;   // where files do not say, every so manieth layer has no rope (NoPE); 0: none
    rrt__absent absent;
    rrt__names hf, gguf;
} rrt__family;

// By model_type or by general.architecture. UNSUPPORTED, with the list of those that are, if there is none.
// Of two families of one architecture that which can have a window is found where the file has one.
rrt_status rrt__family_by_name(const rrt__family **out, const char *name, rrt_error *err);
rrt_status rrt__family_by_gguf_name(const rrt__family **out, const char *name, bool has_window,
                                    rrt_error *err);

bool rrt__family_has(const rrt__family *family, rrt__matrix matrix);
bool rrt__family_has_norm(const rrt__family *family, rrt__norm_place place);
bool rrt__family_is_gated(const rrt__family *family);

// The norm whose output the matrix reads; RRT__NORM_COUNT for o and down, which read none.
rrt__norm_place rrt__matrix_norm(rrt__matrix matrix);

// "q", "k", "v", "o", "gate", "up", "down"
const char *rrt__matrix_name(rrt__matrix matrix);

#endif
