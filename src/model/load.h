// Loading and saving, inside the model room. rrt_model_open picks among the sources by looking at the path.
#ifndef RRT__LOAD_H
#define RRT__LOAD_H

#include "base/file.h"
#include "base/json.h"
#include "format/peft.h"
#include "format/safetensors.h"
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
#define RRT__SHARD_BYTES 5000000000ull // most of weights in one file: Hugging Face's for years

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

// Of every `local` layers the last sees all, the others a window; of every `unrotated` ones the last is not
// rotated. 0: all see all, all are.
void rrt__attention_from_pattern(rrt__config *config, int layers, int local, int unrotated);

// How the layers attend, and shape.window.
rrt_status rrt__attention_from_json(rrt__config *config, const json_t *json, int layers, rrt_error *err);
void rrt__attention_to_json(json_t *json, const rrt_model *model);

// Sets what a fresh model takes from its config beside shapes: how depths attend, shared keys and values,
// gates.
rrt_status rrt__config_apply(rrt_model *model, const rrt__config *config, rrt_error *err);

// A model of this config with everything zero, without LoRA.
rrt_status rrt__config_create(rrt_model **out, const rrt__config *config, rrt__matrices matrices,
                              rrt_error *err);

// The same with all parameters, LoRA included, of the table. Vectors are read, matrices are deferred: the
// table has to outlive the model, or rrt__model_unpack. names: the family's hf or gguf.
rrt_status rrt__model_load(rrt_model **out, const rrt__config *config, const rrt__tensor_table *table,
                           const rrt__names *names, rrt_error *err);

// Makes of a base and the adapter in a folder the model that they are together: recursive where the adapter
// repeats layers by a plan that we know, else plain, with LoRA merged if asked. The base is without sharing
// and may have a LoRA itself; it stays as it is, and the model's matrices are deferred to it.
rrt_status rrt__adapter_load(rrt_model **out, const rrt_model *base, const char *folder, bool merges_lora,
                             rrt_error *err);

// The architecture of llama.cpp that runs the layers of a Llama several times, each stored once. Its own
// models norm between the loops; ours, and those that we read, do not.
#define RRT__GGUF_LOOPED "nanbeige"

// A quantised file of ours (quantize.c): its architecture, and the model that it holds, which the file has to
// outlive.
#define RRT__GGUF_ARCHITECTURE "rrt"
rrt_status rrt__model_load_packed(rrt_model **out, rrt__gguf *gguf, rrt_error *err);

// Brings deferred matrices into memory as they are stored, or quantised, or maps them there: now the model
// can run. quantized: what the layers' matrices become, as rrt__quantized_storage has it; F32: nothing is
// quantised. NUMERIC if a value or a scale is not finite, MEMORY if there is not enough.
rrt_status rrt__model_take_in(rrt_model *model, rrt__storage quantized, const rrt_open_options *options,
                              rrt_error *err);

// What a matrix becomes there, unless it is quantised on the way: what lies in memory, or in a mapped file of
// ours, stays; a tensor of another file keeps its type; what is made of several becomes f32.
rrt__storage rrt__resident_storage(const rrt__linear *linear);

// What weights can be stored as: "f32", "bf16", "f16"; NULL: the fallback.
rrt_status rrt__dtype_parse(rrt__dtype *dtype, const char *name, rrt__dtype fallback, rrt_error *err);

// Writes configuration, weights and tokenizer into a folder that is there. Files of the same name are
// replaced.
rrt_status rrt__model_write(const rrt_model *model, const char *folder,
                            const rrt__safetensors_options *options, rrt_error *err);

#endif
