// Loading and saving. rrt_model_open chooses the kind of source by its path.
#ifndef RRT__CHECKPOINT_CHECKPOINT_H
#define RRT__CHECKPOINT_CHECKPOINT_H

#include "checkpoint/config.h"
#include "format/peft.h"
#include "format/safetensors.h"

#define RRT__SHARD_BYTES 5000000000ull // max bytes of weights per file: Hugging Face's limit for years

// Creates a model with all parameters of the table, LoRA included. Reads vectors and defers matrices: the
// table must outlive the model, or rrt__model_to_f32. names: the family's hf or gguf.
rrt_status rrt__model_load(rrt_model **out, const rrt__config *config, const rrt__tensor_table *table,
                           const rrt__names *names, rrt_error *err);

// Combines a base and the adapter in a folder into a model: recursive if the adapter repeats layers by a plan
// that we know, else plain, with LoRA merged on request. The base has no sharing but may have a LoRA; it does
// not change, and the model's matrices are deferred to it.
rrt_status rrt__adapter_load(rrt_model **out, const rrt_model *base, const char *folder, bool merges_lora,
                             rrt_error *err);

// A model whose block runs `loops` times, and one of a plain model that runs layers again ("10-14x2:0.2"), as
// rrt_open_options say. Deferred to `model`, which must outlive them.
rrt_status rrt__model_with_loops(rrt_model **out, const rrt_model *model, int loops, rrt_error *err);
rrt_status rrt__model_with_repeat(rrt_model **out, const rrt_model *model, const char *layers,
                                  rrt_error *err);

// A quantised file of ours (quantize.c): its architecture, and its model, which the file must outlive.
#define RRT__GGUF_ARCHITECTURE "rrt"
rrt_status rrt__model_load_packed(rrt_model **out, rrt__gguf *gguf, rrt_error *err);

// Reads deferred matrices into memory, as stored or quantised, or maps them: the model can run afterwards.
// quantized: new storage of the layers' matrices, as for rrt__quantized_storage; F32: no quantisation.
// NUMERIC if a value or a scale is not finite, MEMORY if there is not enough.
rrt_status rrt__model_take_in(rrt_model *model, rrt__storage quantized, const rrt_open_options *options,
                              rrt_error *err);

// Converts a model to f32, in place, and closes the files of its deferred matrices. threads 0: one per core.
rrt_status rrt__model_to_f32(rrt_model *model, int threads, const rrt_progress *progress, rrt_error *err);

// Storage of a matrix in memory, unless it is quantised on reading: matrices in memory, or in a mapped file
// of ours, stay; a tensor of another file keeps its type; a matrix computed from several becomes f32.
rrt__storage rrt__resident_storage(const rrt__linear *linear);

// Parses a type for stored weights: "f32", "bf16", "f16"; NULL: the fallback.
rrt_status rrt__dtype_parse(rrt__dtype *dtype, const char *name, rrt__dtype fallback, rrt_error *err);

// Writes configuration, weights and tokenizer into an existing folder. Replaces files of the same name.
rrt_status rrt__model_write(const rrt_model *model, const char *folder,
                            const rrt__safetensors_options *options, rrt_error *err);

#endif
