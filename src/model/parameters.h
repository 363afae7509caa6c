// The list of a model's parameters: one enumeration for loading, saving, counting and training.
#ifndef RRT__PARAMETERS_H
#define RRT__PARAMETERS_H

#include "model/model.h"

typedef enum rrt__parameter_kind {
    RRT__PARAMETER_EMBEDDING, // embedding, and the head if it is not tied
    RRT__PARAMETER_SHARED,    // weights and biases of linear layers
    RRT__PARAMETER_LORA,
    RRT__PARAMETER_NORM,
    RRT__PARAMETER_GATE,
    RRT__PARAMETER_KIND_COUNT
} rrt__parameter_kind;

typedef struct rrt__parameter {
    char name[128];
    rrt__parameter_kind kind;
    int matrix;           // rrt__matrix of a weight or bias held by a slot, else -1
    int uses;             // depths that run a slot's matrix; 0 for other parameters
    size_t rows, columns; // columns 0: a vector [rows]
    bool is_row;          // a vector that Hugging Face folders hold as a matrix [1, rows]
    float *values;        // NULL for a matrix that is not f32 in memory
    rrt__linear *linear;  // NULL for a vector
} rrt__parameter;

typedef rrt_status (*rrt__parameter_visit)(void *user, const rrt__parameter *parameter, rrt_error *err);

// Visits every stored parameter once, in a fixed order. Parameters of a slot have the name of a layer with
// the slot's number ("model.layers.3.mlp.up_proj.weight"); those of a depth are
// "rrt.depths.<depth>.<matrix>.lora_A.weight", "rrt.depths.<depth>.<norm>.weight"; the gate after loop n + 1
// is "rrt.gates.<n>.weight" and ".bias", unless the family has one for all.
rrt_status rrt__model_each_parameter(const rrt_model *model, const rrt__names *names,
                                     rrt__parameter_visit visit, void *user, rrt_error *err);

enum { RRT__FUSED_PARTS = 4 }; // at most: the gate of attention, q, k and v

// The rows of a parameter in a tensor that holds several: runs of `run` rows; the first starts at row
// `first`, each next one `stride` rows later.
typedef struct rrt__fused {
    char name[256];
    size_t rows; // of the whole tensor
    size_t first, run, stride;
    bool is_first; // the first parameter of the tensor in the order of rrt__model_each_parameter
} rrt__fused;

// A parameter as a matrix: a vector has one column.
static inline rrt__linear rrt__parameter_linear(const rrt__parameter *p)
{
    return p->linear ? *p->linear : (rrt__linear){.out = p->rows, .in = 1, .weight = p->values};
}

// Whether files hold this parameter as a part of one tensor for q, k and v, or for gate and up.
bool rrt__parameter_is_fused(const rrt__parameter *parameter, const rrt__names *names,
                             const rrt__shape *shape, rrt__fused *fused);

// Number of parameters, without LoRA and gates, of a model with this shape and plan.
uint64_t rrt__shape_parameters(const rrt__family *family, const rrt__shape *shape, const rrt__plan *plan,
                               rrt__norms_mode norms);

// Operations of one layer per token: its matrix products, and attention over half a window of tokens.
double rrt__shape_layer_operations(const rrt__family *family, const rrt__shape *shape, double window);

// Number of LoRA parameters if every matrix at every depth of a shared slot (used by more than one depth)
// gets a LoRA of this rank, capped at min(out, in) of the matrix.
uint64_t rrt__shape_lora_parameters(const rrt__family *family, const rrt__shape *shape, const rrt__plan *plan,
                                    size_t rank);

static inline size_t rrt__parameter_count(const rrt__parameter *p)
{
    return p->columns ? p->rows * p->columns : p->rows;
}

#endif
