// From rrt to other programs: a model in their formats.
#ifndef RRT_EXPORT_H
#define RRT_EXPORT_H

#include <stdbool.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_export_options {
    // "hf": a folder of an unrolled model, LoRA merged, as transformers and vLLM load it · "peft": a LoRA
    // adapter that repeats the layers of the model beside it, in `base`, each of which is stored once ·
    // "gguf": a file of the unrolled model for llama.cpp.
    const char *format;
    const char *dtype; // of the stored weights: "f32", "bf16" or "f16"; NULL: as rrt_save_options has it
    bool looped;    // gguf only: not unrolled, of llama.cpp's looped architecture; for a cycle without LoRA
    bool overwrite; // what stands at the path
    int threads;    // 0: one per core
    const rrt_progress *progress; // may be NULL
} rrt_export_options;

// Writes the model, opens what was written again and compares: *max_logit_diff, which may be NULL, becomes
// the greatest difference of any logit on a few fixed tokens. Only if that is as small as rounding explains
// the result appears at path; MISMATCH otherwise. UNSUPPORTED for a model that the format cannot hold.
// ARGUMENT, EXISTS, IO; a failure leaves nothing behind.
RRT_API rrt_status rrt_model_export(const rrt_model *model, const char *path,
                                    const rrt_export_options *options, double *max_logit_diff,
                                    rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
