// Training: a teacher's answers.
#ifndef RRT_TRAIN_H
#define RRT_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_teach_options {
    size_t context;    // tokens per window, at least 2; 0: 512, or what the model can see if that is less
    size_t top;        // answers per token; 0: 64, or the vocabulary if that is less
    size_t max_tokens; // of the text to answer, in whole windows; 0: all
    int threads;       // 0: one per core
    int overwrite;     // replace a store that is there
    const char *teacher_name; // kept in the store; may be NULL
    const rrt_progress *progress;
} rrt_teach_options;

typedef struct rrt_teach_result {
    uint64_t tokens; // answered
    uint64_t bytes;  // of the store
} rrt_teach_result;

// Runs the teacher over text (.txt, .jsonl with a "text" per line, both also as .zst) and writes its `top`
// most likely next tokens at every position, with their log-probabilities, into a folder that training reads
// instead of running the teacher. The folder appears under its name only once it is complete. options NULL:
// all zero. UNSUPPORTED if the teacher has no tokenizer, ARGUMENT if the text does not fill one window,
// FORMAT with file, line and byte for text that cannot be read, NUMERIC if the teacher's output is not
// finite, EXISTS if store_path exists and overwrite is 0.
RRT_API rrt_status rrt_teach(const rrt_model *teacher, const char *const *files, size_t n_files,
                             const char *store_path, const rrt_teach_options *options,
                             rrt_teach_result *result, rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
