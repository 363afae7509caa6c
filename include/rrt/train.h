// Training: a teacher logits cache.
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
    bool overwrite;    // replace a store that is there
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

// Whether a folder holds a teacher logits cache.
RRT_API bool rrt_store_exists(const char *folder);

// How far the student is from the teacher (paper §3.6, appendix I).
typedef enum rrt_divergence {
    RRT_DIVERGENCE_FORWARD_KL,
    RRT_DIVERGENCE_REVERSE_KL,
    RRT_DIVERGENCE_JENSEN_SHANNON,
    RRT_DIVERGENCE_TOTAL_VARIATION,
} rrt_divergence;

// The losses of the exits at loop boundaries: after n of B loops, coda, norm and head give an answer too,
// which is the one of `rrt logits --loops n` (paper §2.4, App. E, Table J.1). Each has the main loss, times a
// weight.
typedef enum rrt_exit_loss {
    RRT_EXIT_LOSS_NONE,       // only the last exit is trained
    RRT_EXIT_LOSS_AGGRESSIVE, // the last exit 1, each one before it exit_weight
    RRT_EXIT_LOSS_WEIGHTED,   // exit n: n / (1 + 2 + … + B)
} rrt_exit_loss;

typedef enum rrt_optimizer_kind {
    RRT_OPTIMIZER_ADAMW,
    RRT_OPTIMIZER_MUON, // Muon for the matrices of layers and LoRA, AdamW for the rest
} rrt_optimizer_kind;

// What one step did.
typedef struct rrt_train_step {
    uint64_t step, tokens;            // so far
    double loss;                      // of this step, in nats per token: all exits with their weights, and
                                      // gates; of hidden-state distillation: the squared error of hidden states,
                                      // relative to their square
    double cross_entropy, divergence; // the last exit's parts of it, before their weights
    double learning_rate;
    double norm; // of the gradient, before clipping; without gates, which are not clipped
    double tokens_per_s;
    const char *event; // NULL, or what made the run go back to a checkpoint
} rrt_train_step;

// Begin with rrt_train_defaults(), whose numbers are named here. Sizes of 0 are chosen.
typedef struct rrt_train_options {
    // What is learnt.
    const char *const *files; // text as for rrt_teach; none where store is given
    size_t n_files;
    const rrt_model *teacher; // its outputs are learnt, computed on the way; NULL: none
    const char *store;        // or a teacher logits cache that rrt_teach wrote: with their text
    rrt_divergence divergence;
    double kd_weight;      // loss = (1 - w) · cross-entropy + w · divergence, where there is a teacher; 1
    double kd_temperature; // 1

    rrt_exit_loss exit_loss; // the model has to have a loop boundary, unless it is NONE
    double exit_weight;      // of aggressive; 0.1 (the paper's choice)
    bool exit_kd;            // exits before the last learn the last one's output, by forward KL at
                             // kd_temperature, instead of the main loss; no gradient goes into that output

    bool gates; // train the gates at loop boundaries, which the model gets if it has none: the probability
                // that the last exit finds the same token most likely, by binary cross-entropy; no gradient
                // goes on into the model. Where all else is frozen, there is no backward pass at all

    bool share_kv; // from here on all loops read the first one's keys and values: a property of the model,
                   // kept with it. LoRA of k and v in later loops is dropped

    uint64_t match_tokens; // first so many tokens of hidden-state distillation: each depth is trained to do with the
                           // teacher's hidden state what the teacher does with it

    // How long: until the first of these is reached; one has to be given.
    uint64_t tokens;
    double minutes; // of training, those before a resumption included

    // The steps.
    size_t context;   // tokens of a sequence; 0: 512, or what the model can see if that is less
    size_t batch;     // sequences per step; 0: 4
    size_t at_a_time; // sequences whose activations are held at once, a divisor of batch; 0: batch
    bool bf16;        // round the factors of matrix products to bfloat16, sums in f32 (mixed precision):
                      // faster where the processor has AVX-512 BF16, nothing elsewhere
    bool recompute;   // hold less: make activations again in the backward pass
    rrt_optimizer_kind optimizer;
    double learning_rate; // greatest; 3e-4
    double warmup;        // share of the run over which it rises; 0.05
    double min_rate;      // where the cosine ends, as a share of the greatest; 0.1
    double weight_decay;  // of matrices; 0.1
    double clip;          // greatest norm of the gradient, 0: any; 1
    // Learning rates of the parameters of one kind, as a factor; 0: frozen; 1.
    double rate_shared, rate_lora, rate_norm, rate_embedding;
    double rate_gate; // 10

    // The run.
    int threads;                  // 0: one per core
    uint64_t seed;                // of the order of the text
    bool resume;                  // go on from the last checkpoint, if there is one
    bool overwrite;               // replace a finished or broken-off run
    double checkpoint_minutes;    // 10
    uint64_t checkpoint_steps;    // also after so many steps; 0: never
    const rrt_progress *progress; // stage "train"; to stop, it writes a checkpoint first
    void (*report)(void *user, const rrt_train_step *step); // after each step; NULL: none
    void *user;
} rrt_train_options;

RRT_API rrt_train_options rrt_train_defaults(void);

typedef struct rrt_train_result {
    double loss; // mean over the last steps
    uint64_t steps, tokens;
    double tokens_per_s, seconds;
    uint64_t peak_rss_bytes;
} rrt_train_result;

// Trains a model (paper §3.6) and leaves it, with log and checkpoints, in the folder `out`:
//     config.json, model.safetensors, tokenizer   the trained model, once the run is complete
//     log.jsonl, log.csv                          a line per step
//     data/                                       the text as ids
//     checkpoints/<step>/                         the last one: a model with all that is needed to go on
//     run.lock                                    locked while a run is at work there
// A run that cannot begin leaves nothing, and replaces nothing.
// The same options, data and number of threads give the same bytes, however often the run was broken off and
// resumed (where `tokens` ends it: a clock is not repeatable). The model's weights are changed.
// A loss that is not finite or jumps makes the run go back to its last checkpoint and leave out that text;
// after three times in a row it fails with NUMERIC. CANCELLED after a checkpoint if progress asks to stop.
// EXISTS if `out` is there and neither resume nor overwrite is set, if it is no run or another run is at work
// there, or if overwrite would remove what rrt did not write; MISMATCH if a run is resumed with another
// student, teacher, other options or other text, FORMAT if its checkpoint is damaged; or if teacher and model
// differ in vocabulary.
RRT_API rrt_status rrt_train(rrt_model *model, const char *out, const rrt_train_options *options,
                             rrt_train_result *result, rrt_error *err);

// Writes the curves of runs (folders that rrt_train left) as one HTML page that needs nothing else. EXISTS if
// path is there and overwrite is 0.
RRT_API rrt_status rrt_train_report(const char *const *runs, size_t n_runs, const char *path, bool overwrite,
                                    rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
