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
    double exit_threshold; // rrt_model's, like the next one
    bool prefix_lm;
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

// The plan of config.json: of the family's own keys for loops, or of its "rrt" object; num_hidden_layers is
// `layers`. The attention of the layers must be set.
rrt_status rrt__loops_from_json(rrt__config *config, int layers, const json_t *json, rrt_error *err);
rrt_status rrt__loops_to_json(json_t *json, const rrt_model *model, rrt_error *err);

// The plan of `layers` layers that all run `loops` times. The attention of the layers becomes that of the
// depths.
rrt_status rrt__loops_make(rrt__config *config, int loops, int layers, bool norms_loops, rrt_error *err);

// Whether a family's own keys can say how the model's layers run: one cycle of all of them, without LoRA.
bool rrt__loops_are_native(const rrt_model *model, const rrt__family *family);
// Whether the model's own family's keys can, or the model is a plain one: its folder has no "rrt" object.
bool rrt__model_is_native(const rrt_model *model);
// num_hidden_layers: layers that are stored, or with an "rrt" object depths.
int rrt__config_layers(const rrt_model *model);

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

// Sets has_gates of a family with one gate for all boundaries: files may lack it.
void rrt__config_find_gate(rrt__config *config, const rrt__tensor_table *table, const rrt__names *names);

// A zero model of this config, without LoRA.
rrt_status rrt__config_create(rrt_model **out, const rrt__config *config, rrt__matrices matrices,
                              rrt_error *err);

#endif
