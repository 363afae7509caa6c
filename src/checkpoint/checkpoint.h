// Loading and saving. rrt_model_open picks among the sources by looking at the path.
#ifndef RRT__CHECKPOINT_CHECKPOINT_H
#define RRT__CHECKPOINT_CHECKPOINT_H

#include "checkpoint/config.h"
#include "format/peft.h"
#include "format/safetensors.h"

#define RRT__SHARD_BYTES 5000000000ull // most of weights in one file: Hugging Face's for years

// The same with all parameters, LoRA included, of the table. Vectors are read, matrices are deferred: the
// table has to outlive the model, or rrt__model_to_f32. names: the family's hf or gguf.
rrt_status rrt__model_load(rrt_model **out, const rrt__config *config, const rrt__tensor_table *table,
                           const rrt__names *names, rrt_error *err);

// Makes of a base and the adapter in a folder the model that they are together: recursive where the adapter
// repeats layers by a plan that we know, else plain, with LoRA merged if asked. The base is without sharing
// and may have a LoRA itself; it stays as it is, and the model's matrices are deferred to it.
rrt_status rrt__adapter_load(rrt_model **out, const rrt_model *base, const char *folder, bool merges_lora,
                             rrt_error *err);

// A quantised file of ours (quantize.c): its architecture, and the model that it holds, which the file has to
// outlive.
#define RRT__GGUF_ARCHITECTURE "rrt"
rrt_status rrt__model_load_packed(rrt_model **out, rrt__gguf *gguf, rrt_error *err);

// Brings deferred matrices into memory as they are stored, or quantised, or maps them there: now the model
// can run. quantized: what the layers' matrices become, as rrt__quantized_storage has it; F32: nothing is
// quantised. NUMERIC if a value or a scale is not finite, MEMORY if there is not enough.
rrt_status rrt__model_take_in(rrt_model *model, rrt__storage quantized, const rrt_open_options *options,
                              rrt_error *err);

// Makes an f32 model of any, in place, and closes the files that it was deferred to. threads 0: one per core.
rrt_status rrt__model_to_f32(rrt_model *model, int threads, const rrt_progress *progress, rrt_error *err);

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
