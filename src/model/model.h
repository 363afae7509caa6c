// The model in memory. Weights belong to a slot, which several depths may share; vectors (norms, biases) and
// LoRA belong to a depth, and the vectors of depths that share a slot are the same memory where they are
// tied.
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
    size_t rotary;                   // how many of a head's values are rotated
    rrt__rope rope;                  // of all layers
    double local_rope_base;          // of those that see a window; 0: rope is theirs, too
    size_t window;                   // how many tokens a local layer sees, itself included; 0: it sees all
    double attention_scale;          // scores are multiplied by it; 0: by 1 / √head_dim
    double attention_cap, logit_cap; // x becomes cap · tanh(x / cap); 0: it stays
    double embedding_scale, residual_scale, logit_scale; // the embedding's rows, what attention and MLP add,
                                                         // and logits are multiplied by it; 0: they stay
    double norm_epsilon;
    bool has_bias[RRT__MATRIX_COUNT];
    bool parallel_residual; // x + attention(norm1 x) + mlp(norm2 x)
    bool tied_head;         // the head is the embedding
} rrt__shape;

// What the matrices of a model are (its vectors are always f32 in memory).
typedef enum rrt__matrices {
    RRT__MATRICES_F32,      // all in memory, and may be changed
    RRT__MATRICES_STORED,   // each as it is stored, in memory or in a mapped file: what runs
    RRT__MATRICES_DEFERRED, // read, or made, when they are asked for: to be written elsewhere, not to be run
} rrt__matrices;

// y += B·(A·x), no scale (paper eq. 3). a: [rank, in], b: [out, rank]. rank 0: none.
typedef struct rrt__lora {
    rrt__linear a, b;
    size_t rank;
} rrt__lora;

typedef struct rrt__norm {
    float *gain,
        *bias; // [width]; bias NULL for RMSNorm, both NULL for a norm that the family lacks: it copies
    size_t width;
} rrt__norm;

typedef struct rrt__slot {
    rrt__linear matrix[RRT__MATRIX_COUNT]; // y = W·x (+ bias + LoRA, which the depth holds)
} rrt__slot;

typedef struct rrt__depth {
    rrt__slot *slot;
    int kv; // the depth whose keys and values it reads: the same layer's in the first loop where they are
            // shared, else its own
    const struct rrt__norm *input; // of the hidden state before all else, where a loop begins; NULL: none
    rrt__norm norm[RRT__NORM_COUNT];
    float *bias[RRT__MATRIX_COUNT]; // [out], NULL where the family has none
    rrt__lora lora[RRT__MATRIX_COUNT];
    unsigned attention; // RRT__ATTENTION_… that apply
} rrt__depth;

// A probe of the hidden state at a loop boundary (exit.h): would the last loop say the same?
typedef struct rrt__gate {
    float *weight, *bias; // [hidden], [1]
} rrt__gate;

// Whether depths that share a slot share their vectors. Folded: gains of the norms are multiplied into the
// linear layers that follow, and are 1; biases are per depth.
typedef enum rrt__norms_mode { RRT__NORMS_TIED, RRT__NORMS_PER_DEPTH, RRT__NORMS_FOLDED } rrt__norms_mode;

struct rrt_model {
    const rrt__family *family;
    rrt__shape shape;
    rrt__plan plan;
    rrt__norms_mode norms;
    rrt__matrices matrices;
    bool shares_kv;         // all loops read the first one's keys and values (rrt__depth.kv)
    rrt__slot *slots;       // [plan.n_slots]
    rrt__depth *depths;     // [plan.n_depths]
    rrt__linear *embedding; // [vocab, hidden]
    rrt__linear *head;      // [vocab, hidden]; the embedding where the head is tied
    rrt__norm final_norm;
    rrt__gate *gates; // [plan.loops - 1], the first after loop 1; NULL: none
    rrt_tokenizer *tokenizer;
    rrt_error no_tokenizer; // why tokenizer is NULL, where there was one that could not be used
    rrt__arena arena;
    // What matrices lie in, where they are not in memory: closed with the model.
    rrt__gguf *file;
    rrt__safetensors *folder;
    rrt_model *base;
    char *name; // what it calls itself, or what its file or folder is called; NULL: it was just made
    uint64_t file_bytes;
    rrt__dtype dtype; // that the matrices had, or have, in their files: F32, F16 or BF16
};

static inline float rrt__model_residual_scale(const rrt_model *model)
{
    return model->shape.residual_scale != 0 ? (float)model->shape.residual_scale : 1.0f;
}

static inline float rrt__model_logit_scale(const rrt_model *model)
{
    return model->shape.logit_scale != 0 ? (float)model->shape.logit_scale : 1.0f;
}

// What a row of the embedding is multiplied with.
static inline float rrt__model_embedding_scale(const rrt_model *model)
{
    return model->shape.embedding_scale != 0 ? (float)model->shape.embedding_scale : 1.0f;
}

// [out, in] of a matrix in this shape.
void rrt__shape_matrix(const rrt__shape *shape, rrt__matrix matrix, size_t *out, size_t *in);

// How many values a norm of this shape is over: hidden, or for queries and keys a head's or all heads'.
size_t rrt__shape_norm(const rrt__family *family, const rrt__shape *shape, rrt__norm_place place);

// A model with all weights and vectors allocated and zero, without LoRA and tokenizer. Matrices are allocated
// for storage F32 only: else whoever makes the model says where they lie.
rrt_status rrt__model_create_stored(rrt_model **out, const rrt__family *family, const rrt__shape *shape,
                                    const rrt__plan *plan, rrt__norms_mode norms, rrt__matrices matrices,
                                    rrt_error *err);
rrt_status rrt__model_allocate(rrt_model **out, const rrt__family *family, const rrt__shape *shape,
                               const rrt__plan *plan, rrt__norms_mode norms, rrt_error *err);

// A model of the same plan and shapes, LoRA and gates included, all zero and without a tokenizer: room for
// gradients and for the optimizer's moments.
rrt_status rrt__model_create_like(rrt_model **out, const rrt_model *model, rrt_error *err);

// Gives one matrix at one depth a LoRA whose matrices are somewhere else. ARGUMENT unless 1 ≤ rank ≤ min(out,
// in), and for k and v of a depth that has none.
rrt_status rrt__model_declare_lora(rrt_model *model, int depth, rrt__matrix matrix, size_t rank,
                                   rrt_error *err);

// The same, with its matrices allocated and zero.
rrt_status rrt__model_add_lora(rrt_model *model, int depth, rrt__matrix matrix, size_t rank, rrt_error *err);

// Allocates zero gates, which say ½ of everything. UNSUPPORTED where the plan has no loop boundary.
rrt_status rrt__model_add_gates(rrt_model *model, rrt_error *err);

// From here on all loops read the first one's keys and values; LoRA of k and v in later loops is dropped.
// UNSUPPORTED where the plan has no loop boundary.
rrt_status rrt__model_share_kv(rrt_model *model, rrt_error *err);

// Whether the depth's vectors are stored under the depth itself and not with its slot.
bool rrt__model_owns_vectors(const rrt_model *model);

// Whether two models speak of the same tokens, so that they can be compared or distilled: MISMATCH if their
// tokenizers, where both have one, differ in an id, or if one is missing and the vocabularies differ in size.
// With one tokenizer the sizes may differ, as embeddings are padded: then the rows that both have count, and
// softmax is over those.
rrt_status rrt__model_check_vocabulary(const rrt_model *a, const rrt_model *b, rrt_error *err);
// How many those are. b NULL: all of a's.
size_t rrt__model_common_rows(const rrt_model *a, const rrt_model *b);

// UNSUPPORTED for a model whose matrices are deferred: it cannot run.
rrt_status rrt__model_check_in_memory(const rrt_model *model, rrt_error *err);

// UNSUPPORTED for a model that is not f32, in the name of something that reads or changes f32 weights.
rrt_status rrt__model_check_f32(const rrt_model *model, const char *what, rrt_error *err);

// The first depth that uses the slot.
int rrt__model_first_depth(const rrt_model *model, int slot);

const char *rrt__norms_name(rrt__norms_mode norms);
rrt_status rrt__norms_parse(rrt__norms_mode *norms, const char *name, rrt_error *err);

#endif
