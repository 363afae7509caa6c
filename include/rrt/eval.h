// Evaluation of a model: perplexity on a text, distance to another model, and zero-shot tasks.
//
// For the first two, the text's ids are cut into windows of `context` tokens without overlap. If the model's
// tokenizer adds BOS, each window starts with it. Tokens 2 … context of a window are scored, each given those
// before it. A last, shorter window is dropped, unless it is the only one.
#ifndef RRT_EVAL_H
#define RRT_EVAL_H

#include <stddef.h>
#include <stdint.h>

#include "rrt/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_eval_options {
    int threads;       // 0: one per core
    int loops;         // of the model; 0: all
    size_t context;    // tokens per window, at least 2; 0: 512, or the model's context if that is less
    size_t max_tokens; // max tokens of the text, without BOS; 0: all
    const rrt_progress *progress;
    // Use keys and values as in decoding: "f16", "q8_0" …, as in rrt_session_options. NULL: whole windows
    // without stored keys and values; with an exit rule, f16.
    const char *kv_type;
} rrt_eval_options;

typedef struct rrt_eval_ppl_result {
    double ppl;           // exp(nll_per_token)
    double nll_per_token; // mean of -ln p, in nats
    uint64_t tokens;      // scored
} rrt_eval_ppl_result;

RRT_API rrt_status rrt_eval_ppl(const rrt_model *model, const int32_t *ids, size_t count,
                                const rrt_eval_options *options, rrt_eval_ppl_result *result, rrt_error *err);

typedef struct rrt_eval_kl_result {
    double kl;               // mean of KL(teacher ‖ model), in nats
    double top1_agreement;   // share of tokens at which both find the same token most likely
    double ppl, teacher_ppl; // perplexities on the same tokens
    uint64_t tokens;         // scored
} rrt_eval_kl_result;

// The teacher runs all its loops. Both models must have the same tokens (MISMATCH). If the embeddings differ
// in padding, kl and top1_agreement are over the rows that both have.
RRT_API rrt_status rrt_eval_kl(const rrt_model *model, const rrt_model *teacher, const int32_t *ids,
                               size_t count, const rrt_eval_options *options, rrt_eval_kl_result *result,
                               rrt_error *err);

// The same for several models, up to RRT_EVAL_KL_MODELS, with one run of the teacher. results: [n_models].
enum { RRT_EVAL_KL_MODELS = 16 };
RRT_API rrt_status rrt_eval_kl_each(const rrt_model *const *models, int n_models, const rrt_model *teacher,
                                    const int32_t *ids, size_t count, const rrt_eval_options *options,
                                    rrt_eval_kl_result *results, rrt_error *err);

// One of the model's exits: after n loops, then coda, norm, head.
typedef struct rrt_eval_exit {
    double ppl, agreement; // if all tokens exit here: perplexity, and share of tokens whose most likely token
                           // is the last exit's
    double share, oracle_share; // share of tokens that exit here by the rule; by the oracle: at the first
                                // exit whose most likely token is the last one's
} rrt_eval_exit;

// The rule with another threshold, approximately: each token as if all tokens exited where it does, whatever
// the K/V policy.
typedef struct rrt_eval_exits_point {
    double threshold, agreement, mean_loops, ppl;
} rrt_eval_exits_point;

// A calibrated threshold: the one with the most exits, of those tried, that keeps the wanted agreement with
// 95 % confidence. Each one tried is decoded, with the K/V policy and types that were asked for, on the first
// half of the windows, at most 32.
typedef struct rrt_eval_exits_promise {
    double wanted;             // agreement with the model that runs all loops: 0.9, 0.95, 0.99
    double threshold;          // NaN: with none
    double agreement;          // on these windows
    double agreement_bound;    // its lower bound with 95 % confidence, for text of this kind: windows are
                               // independent, their tokens need not be
    double mean_loops, ppl;    // on these windows
    double held_out_agreement; // on as many windows behind them; NaN: there are none
    double free_agreement;     // of the tokens that the model generates from the first half of each window
                               // on; NaN: windows are too short
    uint64_t tokens, held_out_tokens, free_tokens;
} rrt_eval_exits_promise;

enum { RRT_EVAL_EXITS_POINTS = 21, RRT_EVAL_EXITS_WANTED = 3 };

typedef struct rrt_eval_exits_result {
    int loops;
    rrt_eval_exit *exits;                 // [loops]
    double mean_loops, oracle_mean_loops; // per token
    // By the rule: perplexity; agreement with the model that runs all loops, its lower bound with 95 %
    // confidence, and, of at most 32 windows, what it is where the model runs freely from their middle on
    // (NaN: not measured).
    double ppl, agreement, agreement_bound, free_agreement;
    uint64_t tokens; // scored
    // [tokens], window by window of tokens_per_window: the loops that each ran by the rule, and would run by
    // the oracle.
    int *left, *oracle_left;
    size_t tokens_per_window;
    int n_points; // 0 if the rule has no threshold
    rrt_eval_exits_point points[RRT_EVAL_EXITS_POINTS];
    rrt_eval_exits_promise calibrated[RRT_EVAL_EXITS_WANTED]; // only with points
} rrt_eval_exits_result;

// Measures the model's exits, and where tokens exit by a rule. The rule's tokens are decoded one by one, as
// in a session: a token's attention reads the keys and values that earlier tokens' exits left. exits NULL:
// no token exits early. options->loops is not used. ARGUMENT for an unknown rule or policy, UNSUPPORTED for
// one that the model cannot follow. Free the result with rrt_eval_exits_free; after a failure there is
// nothing to free.
RRT_API rrt_status rrt_eval_exits(const rrt_model *model, const int32_t *ids, size_t count,
                                  const rrt_eval_options *options, const rrt_exit_options *exits,
                                  rrt_eval_exits_result *result, rrt_error *err);
RRT_API void rrt_eval_exits_free(rrt_eval_exits_result *result);

// Stores the calibrated thresholds beside the model at path, which `model` was opened from, for the exit rule
// "agreement:95%": in a folder as exits.json, beside a file as NAME.exits.json. Thresholds of other rules,
// K/V policies and types stay there, but not those of other weights. exits and kv_type are those of
// rrt_eval_exits. UNSUPPORTED if the model is not as its files have it (another type or number of loops, an
// adapter), ARGUMENT if the rule has no threshold.
RRT_API rrt_status rrt_exit_thresholds_save(const char *path, const rrt_model *model,
                                            const rrt_exit_options *exits, const char *kv_type,
                                            const rrt_eval_exits_result *result, rrt_error *err);

// --- zero-shot tasks by the rules of EleutherAI's lm-evaluation-harness, sample by sample
//
// An answer is scored by ln p of its tokens after the question's context. Context and answer are encoded
// together and split after the number of tokens of the context alone; spaces at the context's end belong to
// the answer. BOS comes first if the tokenizer adds it; a text longer than the model's context loses tokens
// on the left.

// The tasks' names by index, from 0: lambada_openai, hellaswag, piqa, winogrande, arc_easy, arc_challenge,
// openbookqa. NULL after the last.
RRT_API const char *rrt_task_name(size_t index);

typedef struct rrt_task_answer {
    double log_likelihood; // ln p of all its tokens, in nats
    size_t characters;     // of the choice, without the space before it: acc_norm divides by it
    bool is_greedy;        // each of its tokens was the most likely one
} rrt_task_answer;

// One question with its result.
typedef struct rrt_task_sample {
    const char *task;
    size_t index;                   // in its file, from 0
    const rrt_task_answer *answers; // [n_answers]
    size_t n_answers, gold;         // gold: the right answer
    int acc, acc_norm;              // 1 or 0; acc_norm is 0 for a task without it
} rrt_task_sample;

typedef struct rrt_task_options {
    int threads;  // 0: one per core
    int loops;    // of the model; 0: all
    size_t limit; // use only the first questions; 0: all
    const rrt_progress *progress;
    void (*report)(void *user, const rrt_task_sample *sample); // per question, in order; NULL: none
    void *user;
    const char *kv_type; // as in rrt_session_options
} rrt_task_options;

// NAN if a task has no such figure, and for errors of fewer than two questions.
typedef struct rrt_task_result {
    uint64_t n;        // questions
    double acc;        // share of right answers: the most likely one, or (lambada) the greedy one
    double acc_norm;   // the same by ln p per character
    double perplexity; // lambada: exp(-mean ln p of the answer)
    double score;      // for an average over tasks (paper App. E): acc_norm, or acc without it
    double acc_stderr; // standard errors of the means, from the samples' deviation (n - 1)
    double acc_norm_stderr;
    double perplexity_stderr; // perplexity · standard error of the mean ln p; the harness bootstraps it
} rrt_task_result;

// Evaluates the questions in `folder`/`task`.jsonl (docs/FORMATS.md). ARGUMENT for an unknown task,
// UNSUPPORTED if the model has no tokenizer; FORMAT with file and line if a line is not a question, NUMERIC
// if the model's output is not finite.
RRT_API rrt_status rrt_eval_task(const rrt_model *model, const char *task, const char *folder,
                                 const rrt_task_options *options, rrt_task_result *result, rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
