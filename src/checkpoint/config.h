// A model's settings in files: config.json, and GGUF metadata.
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
    unsigned char attention[RRT__MAX_DEPTHS]; // by depth: flags RRT__ATTENTION_…
} rrt__config;

enum { RRT__FORMAT_VERSION = 1 }; // of the rrt object
enum { RRT__MAX_CONTEXT = 1 << 24 };

// UNSUPPORTED, by name, for settings that would change the result and are not supported.
rrt_status rrt__config_from_json(rrt__config *config, const json_t *json, rrt_error *err);
// The same for a GGUF file's metadata and tensors.
rrt_status rrt__config_from_gguf(rrt__config *config, const rrt__gguf *gguf, rrt_error *err);
// dtype: of the weights in the same folder.
rrt_status rrt__config_to_json(const rrt_model *model, rrt__dtype dtype, json_t **out, rrt_error *err);

// Whether the model's folder includes the module that opens it in transformers (modeling.h).
bool rrt__model_has_modeling(const rrt_model *model);

// Ranks of the LoRA of each depth, by matrix; NULL if out of memory.
json_t *rrt__lora_ranks(const rrt_model *model);

// Checks that the sizes of a shape are possible and consistent.
rrt_status rrt__shape_check(const rrt__shape *shape, rrt_error *err);

// Reads the rotation, and sets the context if it depends on it; the other sizes must be set.
rrt_status rrt__rope_from_json(rrt__shape *shape, const rrt__family *family, const json_t *json,
                               rrt_error *err);
void rrt__rope_to_json(json_t *json, const rrt_model *model);
rrt_status rrt__rope_from_gguf(rrt__shape *shape, const rrt__family *family, const rrt__gguf *gguf,
                               const char *arch, rrt_error *err);

// GGUF tensors with a divisor per rotated pair: for all texts; for texts within the original context, and
// beyond it.
#define RRT__GGUF_ROPE_DIVISORS "rope_freqs.weight"
#define RRT__GGUF_ROPE_SHORT "rope_factors_short.weight"
#define RRT__GGUF_ROPE_LONG "rope_factors_long.weight"

// In every `local` layers the last sees all tokens, the others a window; in every `nope` layers the last is
// NoPE. 0: no local layers, no NoPE layers.
void rrt__attention_from_pattern(rrt__config *config, int layers, int local, int nope);

// Reads the attention of the layers, and shape.window.
rrt_status rrt__attention_from_json(rrt__config *config, const json_t *json, int layers, rrt_error *err);
void rrt__attention_to_json(json_t *json, const rrt_model *model);

// Applies a config's settings besides shapes to a new model: attention of the depths, shared keys and
// values, gates.
rrt_status rrt__config_apply(rrt_model *model, const rrt__config *config, rrt_error *err);

// A zero model of this config, without LoRA.
rrt_status rrt__config_create(rrt_model **out, const rrt__config *config, rrt__matrices matrices,
                              rrt_error *err);

// llama.cpp's architecture that runs the layers of a Llama several times, each stored once. Its own models
// have norms between loops; ours, and those that we read, do not.
#define RRT__GGUF_LOOPED "nanbeige"

#endif
