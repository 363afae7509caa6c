// A model's settings in files: config.json, and the metadata of GGUF.
#ifndef RRT__CONFIG_H
#define RRT__CONFIG_H

#include "base/json.h"
#include "model/model.h"

// A config.json, or the metadata of a GGUF file, in our terms.
typedef struct rrt__config {
    const rrt__family *family;
    rrt__shape shape;
    rrt__plan plan;
    rrt__norms_mode norms;
    bool has_gates, shares_kv;
    unsigned char attention[RRT__MAX_DEPTHS]; // by depth: RRT__ATTENTION_… that apply
} rrt__config;

enum { RRT__FORMAT_VERSION = 1 }; // of the rrt object
enum { RRT__MAX_CONTEXT = 1 << 24 };

// Fails with UNSUPPORTED, by name, for settings that would change the result and that we do not handle.
rrt_status rrt__config_from_json(rrt__config *config, const json_t *json, rrt_error *err);
// The same of a GGUF file's metadata and tensors.
rrt_status rrt__config_from_gguf(rrt__config *config, const rrt__gguf *gguf, rrt_error *err);
// dtype: of the weights beside it.
rrt_status rrt__config_to_json(const rrt_model *model, rrt__dtype dtype, json_t **out, rrt_error *err);

// Whether a folder of the model has what opens it in transformers beside it (modeling.h).
bool rrt__model_has_modeling(const rrt_model *model);

// Per depth the ranks of its LoRA, by matrix; NULL if out of memory.
json_t *rrt__lora_ranks(const rrt_model *model);

// Checks that the numbers of a shape are possible and fit each other.
rrt_status rrt__shape_check(const rrt__shape *shape, rrt_error *err);

// The rotation, and what of the context follows from it; the other sizes are there.
rrt_status rrt__rope_from_json(rrt__shape *shape, const rrt__family *family, const json_t *json,
                               rrt_error *err);
void rrt__rope_to_json(json_t *json, const rrt_model *model);
rrt_status rrt__rope_from_gguf(rrt__shape *shape, const rrt__family *family, const rrt__gguf *gguf,
                               const char *arch, rrt_error *err);

// Tensors of a GGUF file with a divisor for each rotated pair: of all texts; of those within the original
// context and beyond it.
#define RRT__GGUF_ROPE_DIVISORS "rope_freqs.weight"
#define RRT__GGUF_ROPE_SHORT "rope_factors_short.weight"
#define RRT__GGUF_ROPE_LONG "rope_factors_long.weight"

// Of every `local` layers the last sees all, the others a window; of every `nope` ones the last is not
// rotated. 0: all see all, all are.
void rrt__attention_from_pattern(rrt__config *config, int layers, int local, int nope);

// How the layers attend, and shape.window.
rrt_status rrt__attention_from_json(rrt__config *config, const json_t *json, int layers, rrt_error *err);
void rrt__attention_to_json(json_t *json, const rrt_model *model);

// Sets what a fresh model takes from its config beside shapes: how depths attend, shared keys and values,
// gates.
rrt_status rrt__config_apply(rrt_model *model, const rrt__config *config, rrt_error *err);

// A model of this config with everything zero, without LoRA.
rrt_status rrt__config_create(rrt_model **out, const rrt__config *config, rrt__matrices matrices,
                              rrt_error *err);

// The architecture of llama.cpp that runs the layers of a Llama several times, each stored once. Its own
// models norm between the loops; ours, and those that we read, do not.
#define RRT__GGUF_LOOPED "nanbeige"

#endif
