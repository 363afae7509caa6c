// The model in memory. Weights belong to a slot, which several depths may share; vectors (norms, biases) and
// LoRA belong to a depth. With tied norms, depths of the same slot also share the memory of their vectors.
#ifndef RRT__MODEL_H
#define RRT__MODEL_H

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "format/dtype.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "kernels/linear.h"
#include "model/family.h"
#include "model/plan.h"
#include "model/rope.h"
#include "rrt/model.h"

typedef struct rrt__shape {
    size_t hidden, heads, kv_heads, head_dim, ffn, vocab, context;
    size_t rotary;                   // number of rotated values per head
    rrt__rope rope;                  // of all layers
    double local_rope_base;          // of layers with a window; 0: the same as rope
    size_t window;                   // max tokens that a local layer sees, the current one included; 0: all
    double attention_scale;          // factor of attention scores; 0: 1 / √head_dim
    double attention_cap, logit_cap; // x becomes cap · tanh(x / cap); 0: no cap
    double embedding_scale, residual_scale, logit_scale; // factors of the embedding's rows, of the output of
                                                         // attention and MLP, and of logits; 0: 1
    double norm_epsilon;
    bool has_bias[RRT__MATRIX_COUNT];
    bool parallel_residual; // x + attention(norm1 x) + mlp(norm2 x)
    bool tied_head;         // the head is the embedding
} rrt__shape;

// How a model holds its matrices (its vectors are always f32 in memory).
typedef enum rrt__matrices {
    RRT__MATRICES_F32,      // in memory, writable
    RRT__MATRICES_STORED,   // as stored, in memory or in a mapped file: can run
    RRT__MATRICES_DEFERRED, // read or computed on demand: to be written to a file, cannot run
} rrt__matrices;

// y += B·(A·x), no scale (paper eq. 3). a: [rank, in], b: [out, rank]. rank 0: none.
typedef struct rrt__lora {
    rrt__linear a, b;
    size_t rank;
} rrt__lora;

typedef struct rrt__norm {
    // [width]; bias NULL for RMSNorm; both NULL for a norm that the family lacks, which then copies
    float *gain, *bias;
    size_t width;
} rrt__norm;

typedef struct rrt__slot {
    rrt__linear matrix[RRT__MATRIX_COUNT]; // y = W·x (+ bias + LoRA, which the depth holds)
} rrt__slot;

typedef struct rrt__depth {
    rrt__slot *slot;
    int kv; // the depth whose keys and values it reads: its own, or where loops share them the same layer of
            // the first loop
    rrt__depth_entry entry;
    rrt__norm norm[RRT__NORM_COUNT];
    float *bias[RRT__MATRIX_COUNT]; // [out]; NULL if the family has none
    rrt__lora lora[RRT__MATRIX_COUNT];
    unsigned attention; // flags RRT__ATTENTION_…
} rrt__depth;

// A linear probe of the hidden state at a loop boundary (exit.h). All boundaries of a family with a
// cumulative gate have the same one.
typedef struct rrt__gate {
    float *weight, *bias; // [hidden], [1]
} rrt__gate;

// Whether depths of the same slot share their vectors. Folded: the norms' gains are multiplied into the
// linear layers that follow, and are 1; biases are per depth.
typedef enum rrt__norms_mode { RRT__NORMS_TIED, RRT__NORMS_PER_DEPTH, RRT__NORMS_FOLDED } rrt__norms_mode;

// A threshold of an exit rule with which tokens agree with the model that runs all loops, for one way to keep
// keys and values (checkpoint/exit_thresholds.h).
typedef struct rrt__calibrated_exit {
    char rule[16], kv[16], kv_type[16]; // "margin", "propagate" or "last:256", "f16/q8_0"
    int loops;
    double threshold, agreement, mean_loops;
} rrt__calibrated_exit;

struct rrt_model {
    const rrt__family *family;
    rrt__shape shape;
    rrt__plan plan;
    rrt__norms_mode norms;
    rrt__matrices matrices;
    bool shares_kv;     // all loops read the first loop's keys and values (rrt__depth.kv)
    size_t kv_window;   // tokens of a block whose keys and values of every loop are kept (kv.h); 0: of all
    rrt__slot *slots;   // [plan.n_slots]
    rrt__depth *depths; // [plan.n_depths]
    rrt__linear *embedding; // [vocab, hidden]
    rrt__linear *head;      // [vocab, hidden]; the embedding if the head is tied
    rrt__norm final_norm;
    float *low_start;      // [hidden]: the low stack's first state; NULL: the plan has no stacks
    rrt__gate *gates;      // [plan.loops - 1], the first after loop 1; NULL: none
    int trained_loops;     // if it was opened with another number of loops: that of its files; else 0
    bool prefix_lm;        // it was trained with prompts whose tokens attend both ways
    double exit_threshold; // of a cumulative gate, for tokens without an exit rule; from 1 on: never
    rrt__calibrated_exit *calibrated;
    size_t n_calibrated;
    bool has_stale_thresholds; // there are some, but of other weights
    bool is_requantized;       // its matrices were quantised while reading
    rrt_tokenizer *tokenizer;
    rrt_error no_tokenizer; // why tokenizer is NULL if the model's could not be used
    rrt__arena arena;
    // The file that holds the matrices if they are not in memory: closed with the model.
    rrt__gguf *file;
    rrt__safetensors *folder;
    rrt_model *base;
    char *name; // from its metadata, or the name of its file or folder; NULL: it was just made
    uint64_t file_bytes;
    rrt__dtype dtype; // type of the matrices in files: F32, F16 or BF16
};

static inline float rrt__model_residual_scale(const rrt_model *model)
{
    return model->shape.residual_scale != 0 ? (float)model->shape.residual_scale : 1.0f;
}

static inline float rrt__model_logit_scale(const rrt_model *model)
{
    return model->shape.logit_scale != 0 ? (float)model->shape.logit_scale : 1.0f;
}

// Factor of the embedding's rows.
static inline float rrt__model_embedding_scale(const rrt_model *model)
{
    return model->shape.embedding_scale != 0 ? (float)model->shape.embedding_scale : 1.0f;
}

// [out, in] of a matrix in this shape.
void rrt__shape_matrix(const rrt__shape *shape, rrt__matrix matrix, size_t *out, size_t *in);

// Width of a norm of this shape: hidden, or for queries and keys one head or all heads.
size_t rrt__shape_norm(const rrt__family *family, const rrt__shape *shape, rrt__norm_place place);

// A model with all weights and vectors allocated and zero, without LoRA and tokenizer. Allocates matrices
// only for storage F32: for others the caller sets their data.
rrt_status rrt__model_create_stored(rrt_model **out, const rrt__family *family, const rrt__shape *shape,
                                    const rrt__plan *plan, rrt__norms_mode norms, rrt__matrices matrices,
                                    rrt_error *err);
rrt_status rrt__model_allocate(rrt_model **out, const rrt__family *family, const rrt__shape *shape,
                               const rrt__plan *plan, rrt__norms_mode norms, rrt_error *err);

// A zero model of the same plan and shapes, LoRA and gates included, without a tokenizer: for gradients and
// the optimizer's moments.
rrt_status rrt__model_create_like(rrt_model **out, const rrt_model *model, rrt_error *err);

// Gives one matrix at one depth a LoRA whose data the caller sets. ARGUMENT unless 1 ≤ rank ≤ min(out, in),
// and for k and v of a depth that has none.
rrt_status rrt__model_declare_lora(rrt_model *model, int depth, rrt__matrix matrix, size_t rank,
                                   rrt_error *err);

// The same, with the LoRA's matrices allocated and zero.
rrt_status rrt__model_add_lora(rrt_model *model, int depth, rrt__matrix matrix, size_t rank, rrt_error *err);

bool rrt__model_has_lora(const rrt_model *model);

// Allocates zero gates, which predict ½ for every state. UNSUPPORTED if the plan has no loop boundary.
rrt_status rrt__model_add_gates(rrt_model *model, rrt_error *err);

// Makes all loops read the first loop's keys and values; drops LoRA of k and v in later loops. UNSUPPORTED if
// the plan has no loop boundary.
rrt_status rrt__model_share_kv(rrt_model *model, rrt_error *err);

// Whether the depth's vectors are stored per depth and not with its slot.
bool rrt__model_owns_vectors(const rrt_model *model);

// Checks that two models have the same tokens, so that they can be compared or distilled: MISMATCH if both
// have a tokenizer and an id differs, or if one has none and the vocabulary sizes differ. With equal
// tokenizers the sizes may differ, as embeddings are padded: then softmax is over the rows that both have.
rrt_status rrt__model_check_vocabulary(const rrt_model *a, const rrt_model *b, rrt_error *err);
// The number of these rows. b NULL: all of a's.
size_t rrt__model_common_rows(const rrt_model *a, const rrt_model *b);

// UNSUPPORTED for a model with deferred matrices, which cannot run.
rrt_status rrt__model_check_in_memory(const rrt_model *model, rrt_error *err);

// UNSUPPORTED for a model that is not f32. `what`, for the message, reads or changes f32 weights.
rrt_status rrt__model_check_f32(const rrt_model *model, const char *what, rrt_error *err);

// The first depth that uses the slot.
int rrt__model_first_depth(const rrt_model *model, int slot);

const char *rrt__norms_name(rrt__norms_mode norms);
rrt_status rrt__norms_parse(rrt__norms_mode *norms, const char *name, rrt_error *err);

#endif
