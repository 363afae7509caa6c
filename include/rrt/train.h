// Training, and the teacher logits cache.
#ifndef RRT_TRAIN_H
#define RRT_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_teach_options {
    size_t context;           // tokens per window, at least 2; 0: 512, or the model's context if that is less
    size_t top;               // most likely tokens per position; 0: 64, or the vocabulary if that is less
    size_t max_tokens;        // max tokens of the text, in whole windows; 0: all
    int threads;              // 0: one per core
    bool overwrite;           // replace an existing store
    const char *teacher_name; // kept in the store; may be NULL
    const rrt_progress *progress;
} rrt_teach_options;

typedef struct rrt_teach_result {
    uint64_t tokens; // positions written
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

// Divergence of the student from the teacher (paper §3.6, appendix I).
typedef enum rrt_divergence {
    RRT_DIVERGENCE_FORWARD_KL,
    RRT_DIVERGENCE_REVERSE_KL,
    RRT_DIVERGENCE_JENSEN_SHANNON,
    RRT_DIVERGENCE_TOTAL_VARIATION,
} rrt_divergence;

// The losses of the exits at loop boundaries: the output after n of B loops, coda, norm and head, as in `rrt
// logits --loops n` (paper §2.4, App. E, Table J.1). Each exit has the main loss, times a weight.
typedef enum rrt_exit_loss {
    RRT_EXIT_LOSS_NONE,       // only the last exit is trained
    RRT_EXIT_LOSS_AGGRESSIVE, // the last exit 1, each earlier one exit_weight
    RRT_EXIT_LOSS_WEIGHTED,   // exit n: n / (1 + 2 + … + B)
} rrt_exit_loss;

typedef enum rrt_optimizer_kind {
    RRT_OPTIMIZER_ADAMW,
    RRT_OPTIMIZER_MUON, // Muon for the matrices of layers and LoRA, AdamW for the rest
} rrt_optimizer_kind;

// The result of one step.
typedef struct rrt_train_step {
    uint64_t step, tokens;            // so far
    double loss;                      // of this step, in nats per token: weighted sum over all exits, and
                                      // gates; for hidden-state distillation: the squared error of hidden
                                      // states, relative to their square
    double cross_entropy, divergence; // of the last exit, unweighted
    double learning_rate;
    double norm; // of the gradient, before clipping; without gates, which are not clipped
    double tokens_per_s;
    double heldout;    // the last measurement on held-out text (see rrt_train_result); NaN: none
    const char *event; // NULL, or why the run went back to a checkpoint
} rrt_train_step;

// Start from rrt_train_defaults(), whose values are given here. Sizes of 0 mean the default named.
typedef struct rrt_train_options {
    // Data and losses.
    const char *const *files; // text as for rrt_teach; none if store is given
    size_t n_files;
    const rrt_model *teacher; // for distillation, run during training; NULL: none
    const char *store;        // or a teacher logits cache of rrt_teach, with its text
    rrt_divergence divergence;
    double kd_weight;      // loss = (1 - w) · cross-entropy + w · divergence, with a teacher; 1
    double kd_temperature; // 1

    rrt_exit_loss exit_loss; // needs a loop boundary, unless it is NONE
    double exit_weight;      // for aggressive; 0.1 (the paper's choice)
    bool exit_kd;            // distil the exits before the last from the last one's output, by forward KL at
                             // kd_temperature, instead of the main loss; no gradient flows into that output

    bool gates; // train the gates at loop boundaries, which are added if the model has none, to predict
                // whether the last exit finds the same token most likely; binary cross-entropy; no gradient
                // flows into the model. If all else is frozen, there is no backward pass

    bool share_kv; // make all loops read the first loop's keys and values: saved with the model. LoRA of k
                   // and v in later loops is dropped

    uint64_t match_tokens; // hidden-state distillation for this many tokens first: each depth learns the
                           // teacher's next hidden state from the teacher's current one

    // Length of the run: it ends at the first limit reached; at least one is required.
    uint64_t tokens;
    double minutes; // of training, before and after a resumption

    // The steps.
    size_t context;   // tokens of a sequence; 0: 512, or the model's context if that is less
    size_t batch;     // sequences per step; 0: 4
    size_t at_a_time; // sequences whose activations are in memory at once, a divisor of batch; 0: batch
    bool bf16;        // round the factors of matrix products to bfloat16, sums in f32 (mixed precision):
                      // faster with AVX-512 BF16, no effect elsewhere
    bool recompute;   // save memory: compute activations again in the backward pass
    rrt_optimizer_kind optimizer;
    double learning_rate; // max; 3e-4
    double warmup;        // fraction of the run over which it rises; 0.05
    double min_rate;      // final rate of the cosine, as a fraction of the max; 0.1
    double weight_decay;  // of matrices; 0.1
    double clip;          // max norm of the gradient, 0: no clipping; 1
    // Factors of the learning rate by kind of parameter; 0: frozen; default: 1.
    double rate_shared, rate_lora, rate_norm, rate_embedding;
    double rate_gate; // 10

    // Measurements during the run. The trained model is the same with and without them.
    const int32_t *heldout; // ids of a text that is not trained on, cut into windows of `context` as by
                            // rrt_eval_kl; NULL: no measurements
    size_t n_heldout;
    uint64_t heldout_every; // tokens of training between measurements, which also come before the first step
                            // and after the last; 0: a tenth of the run, but at least 4 · n_heldout

    // The run.
    int threads;                  // 0: one per core
    uint64_t seed;                // of the order of the text
    bool resume;                  // continue from the last checkpoint, if there is one
    bool overwrite;               // replace a finished or interrupted run
    double checkpoint_minutes;    // 10
    uint64_t checkpoint_steps;    // also after this many steps; 0: never
    const rrt_progress *progress; // stage "train"; stopping writes a checkpoint first
    void (*report)(void *user, const rrt_train_step *step); // after each step; NULL: none
    void *user;
} rrt_train_options;

RRT_API rrt_train_options rrt_train_defaults(void);

typedef struct rrt_train_result {
    double loss; // mean over the last steps
    uint64_t steps, tokens;
    double tokens_per_s, seconds;
    uint64_t peak_rss_bytes;
    // On the held-out text, before the first step and after the last, in nats per token: the mean
    // KL(teacher ‖ model) where the teacher is a model, else the cross-entropy. NaN without such a text.
    double heldout_start, heldout;
} rrt_train_result;

// Trains a model (paper §3.6) and writes it, with log and checkpoints, into the folder `out`:
//     config.json, model.safetensors, tokenizer   the trained model, once the run is complete
//     log.jsonl, log.csv                          a line per step; log.jsonl has the measurements as well
//     settings.json                               the run's options
//     data/                                       the text as ids
//     checkpoints/<step>/                         the last one: a model with all that is needed to resume
//     run.lock                                    locked while a run is active
// A run that cannot begin leaves nothing, and replaces nothing. The same options, data and number of threads
// give the same bytes, however often the run was interrupted and resumed (if `tokens` ends it: a clock is not
// repeatable). Changes the model's weights. If a loss is not finite or jumps, the run goes back to its last
// checkpoint and skips that text; after three times in a row it fails with NUMERIC. CANCELLED after a
// checkpoint if progress asks to stop. EXISTS if `out` exists and neither resume nor overwrite is set, if it
// is not a run or another run is active there, or if overwrite would remove files that rrt did not write;
// MISMATCH if a run is resumed with another student, teacher, other options or other text, or if teacher and
// model differ in vocabulary; FORMAT if its checkpoint is damaged.
RRT_API rrt_status rrt_train(rrt_model *model, const char *out, const rrt_train_options *options,
                             rrt_train_result *result, rrt_error *err);

// What a run would take, from the models' shapes and the speed of a few matrix products, which are timed
// now: about. Text, checkpoints and measurements are not in it. Nothing is written or read but the
// models' shapes: both may be deferred.
typedef struct rrt_train_forecast {
    uint64_t params_trained, params_total;
    uint64_t steps, tokens; // of a run by the clock: as many as it gets to
    double tokens_per_s, seconds;
    uint64_t peak_bytes; // of memory, both models included
} rrt_train_forecast;

// ARGUMENT and the like as from rrt_train, where the options are wrong.
RRT_API rrt_status rrt_train_estimate(const rrt_model *model, const rrt_train_options *options,
                                      rrt_train_forecast *forecast, rrt_error *err);

// Writes the curves of runs (folders of rrt_train) as one self-contained HTML page. EXISTS if path exists and
// overwrite is 0.
RRT_API rrt_status rrt_train_report(const char *const *runs, size_t n_runs, const char *path, bool overwrite,
                                    rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
