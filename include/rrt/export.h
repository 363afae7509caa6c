// Exports a model to the formats of other programs.
#ifndef RRT_EXPORT_H
#define RRT_EXPORT_H

#include <stdbool.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_export_options {
    // "hf": a folder with an unrolled model, LoRA merged, for transformers and vLLM · "peft": a LoRA adapter
    // that repeats the layers of the model in its folder `base`, which stores each layer once · "gguf": a
    // file of the unrolled model for llama.cpp.
    const char *format;
    const char *dtype; // of the stored weights: "f32", "bf16" or "f16"; NULL: as in rrt_save_options
    bool looped;    // gguf only: not unrolled, with llama.cpp's looped architecture; for a cycle without LoRA
    bool overwrite; // replace an existing file or folder
    int threads;    // 0: one per core
    const rrt_progress *progress; // may be NULL
} rrt_export_options;

// Writes the model, opens the result again and compares: *max_logit_diff, which may be NULL, becomes the max
// difference of any logit on a few fixed tokens. The result appears at path only if rounding explains this
// difference; MISMATCH otherwise. UNSUPPORTED for a model that the format cannot hold. ARGUMENT, EXISTS, IO;
// a failure leaves nothing behind.
RRT_API rrt_status rrt_model_export(const rrt_model *model, const char *path,
                                    const rrt_export_options *options, double *max_logit_diff,
                                    rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
