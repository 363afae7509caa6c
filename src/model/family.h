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

typedef enum rrt__norm_place { RRT__NORM_ATTENTION, RRT__NORM_MLP, RRT__NORM_COUNT } rrt__norm_place;

typedef enum rrt__norm_kind { RRT__NORM_RMS, RRT__NORM_LAYER } rrt__norm_kind;
typedef enum rrt__mlp_kind { RRT__MLP_SILU_GATED, RRT__MLP_GELU } rrt__mlp_kind;

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
    bool has_biases;        // on every linear layer and norm
    bool parallel_residual; // x + attention(norm1 x) + mlp(norm2 x)
    rrt__names hf, gguf;
} rrt__family;

// By model_type or by general.architecture. UNSUPPORTED, with the list of those that are, if there is none.
rrt_status rrt__family_by_name(const rrt__family **out, const char *name, rrt_error *err);
rrt_status rrt__family_by_gguf_name(const rrt__family **out, const char *name, rrt_error *err);

bool rrt__family_has(const rrt__family *family, rrt__matrix matrix);

// The norm whose output the matrix reads; RRT__NORM_COUNT for o and down, which read none.
rrt__norm_place rrt__matrix_norm(rrt__matrix matrix);

// "q", "k", "v", "o", "gate", "up", "down"
const char *rrt__matrix_name(rrt__matrix matrix);

#endif
