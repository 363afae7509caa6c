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

// Tensor names: "<embedding>.weight", "<layers><index>.<matrix>.weight", …
typedef struct rrt__names {
    const char *embedding, *final_norm, *head, *layers;
    const char *matrices[RRT__MATRIX_COUNT];
    const char *norms[RRT__NORM_COUNT];
    const char *fused_qkv; // NULL, or the one tensor that holds q, k and v, interleaved per head
} rrt__names;

typedef struct rrt__family {
    const char *name;      // model_type of config.json
    const char *gguf_name; // general.architecture, NULL if we do not read it from GGUF
    const char *hf_class;  // architectures[0] of config.json
    rrt__norm_kind norm;
    rrt__mlp_kind mlp;
    const char *activation_key, *activation; // in config.json: the MLP's
    const char *old_activation;              // what older files say instead, NULL: nothing
    bool has_bias[RRT__MATRIX_COUNT];
    bool parallel_residual;   // x + attention(norm1 x) + mlp(norm2 x)
    bool gains_are_above_one; // a gain is 1 + what the Hugging Face files hold
    bool scales_embedding;    // by the square root of the hidden size
    bool ties_head;           // where config.json does not say
    bool pairs_rope_in_gguf;  // rows of q and k that are rotated together stand side by side in GGUF files
    // Where files do not say: every so manieth layer sees all, the others are local; every so manieth is not
    // rotated. 0: all see all, all are.
    int local_pattern, unrotated_pattern;
    bool repeats_in_peft;    // transformers runs it where PEFT has repeated its layers
    bool has_score_settings; // config.json names the scale of attention's scores and their caps
    double rope_base;        // where files do not say
    double local_rope_base;  // the same; 0: local layers have the base of all
    rrt__names hf, gguf;
} rrt__family;

// By model_type or by general.architecture. UNSUPPORTED, with the list of those that are, if there is none.
rrt_status rrt__family_by_name(const rrt__family **out, const char *name, rrt_error *err);
rrt_status rrt__family_by_gguf_name(const rrt__family **out, const char *name, rrt_error *err);

bool rrt__family_has(const rrt__family *family, rrt__matrix matrix);
bool rrt__family_has_norm(const rrt__family *family, rrt__norm_place place);
bool rrt__family_is_gated(const rrt__family *family);

// The norm whose output the matrix reads; RRT__NORM_COUNT for o and down, which read none.
rrt__norm_place rrt__matrix_norm(rrt__matrix matrix);

// "q", "k", "v", "o", "gate", "up", "down"
const char *rrt__matrix_name(rrt__matrix matrix);

#endif
