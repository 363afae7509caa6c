// Loading and saving, inside the model room. rrt_model_open picks among the sources by looking at the path.
#ifndef RRT__LOAD_H
#define RRT__LOAD_H

#include "base/json.h"
#include "format/safetensors.h"
#include "model/model.h"

// A config.json, or the metadata of a GGUF file, in our terms.
typedef struct rrt__config {
    const rrt__family *family;
    rrt__shape shape;
    rrt__plan plan;
    rrt__norms_mode norms;
    bool has_gates, shares_kv;
} rrt__config;

// Fails with UNSUPPORTED, by name, for settings that would change the result and that we do not handle.
rrt_status rrt__config_from_json(rrt__config *config, const json_t *json, rrt_error *err);
// dtype: of the weights beside it.
rrt_status rrt__config_to_json(const rrt_model *model, rrt__dtype dtype, json_t **out, rrt_error *err);

// Checks that the numbers of a shape are possible and fit each other.
rrt_status rrt__shape_check(const rrt__shape *shape, rrt_error *err);

// Creates the model of this config and reads all its parameters, LoRA included, from the table.
// gguf_rope: rows of q and k stand in GGUF's order for Llama (pairs side by side) and are put back.
rrt_status rrt__model_load(rrt_model **out, const rrt__config *config, const rrt__tensor_table *table,
                           const rrt__names *names, bool gguf_rope, const rrt_progress *progress,
                           rrt_error *err);

// A quantised file of ours (quantize.c): its architecture, and the model that it holds. The model takes the
// file over, unless this fails.
#define RRT__GGUF_ARCHITECTURE "rrt"
rrt_status rrt__model_load_packed(rrt_model **out, rrt__gguf *gguf, rrt_error *err);

// Writes config.json, weights and tokenizer into a folder that is there. Files of the same name are replaced.
rrt_status rrt__model_write(const rrt_model *model, const char *folder,
                            const rrt__safetensors_options *options, rrt_error *err);

#endif
