#include <math.h>

#include "eval/windows.h"
#include "pass/exit.h"

// Results are kept per row and summed in row order at the end: the sum is the same for any number of threads.
typedef struct scores {
    double *loss; // -ln p of the next token
    double *kl;
    unsigned char *agrees;
    size_t vocab, common; // rows of the model's head, and those that the teacher also has
    const rrt__kernels *kernels;
    rrt__arena arena;
} scores;

// Scores of models that are compared with one teacher.
typedef struct kl_scores {
    scores of[RRT_EVAL_KL_MODELS];
    int count;
    size_t teacher_vocab;
    double *teacher_loss; // in the arena of the first
} kl_scores;

static rrt_status scores_open(scores *s, const rrt_model *model, size_t count, rrt_error *err)
{
    s->vocab = model->shape.vocab;
    s->kernels = rrt__kernels_get();
    RRT__TRY(rrt__arena_alloc(&s->arena, &s->loss, count, sizeof(double), "scores", err));
    RRT__TRY(rrt__arena_alloc(&s->arena, &s->kl, count, sizeof(double), "scores", err));
    return rrt__arena_alloc(&s->arena, &s->agrees, count, 1, "scores", err);
}

static rrt_status mean_of(const double *values, size_t count, double *mean, rrt_error *err)
{
    *mean = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return rrt__fail(err, RRT_STATUS_NUMERIC, "the model's output at scored token %zu is not finite",
                             i);
        *mean += values[i] / (double)count;
    }
    return RRT_STATUS_OK;
}

static void score_loss(void *user, rrt__team team, size_t first, size_t rows, const float *const *logits,
                       const int32_t *targets)
{
    scores *s = user;
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        const float *row = logits[0] + r * s->vocab;
        s->loss[first + r] = s->kernels->log_sum_exp(row, s->vocab) - row[targets[r]];
    }
}

rrt_status rrt_eval_ppl(const rrt_model *model, const int32_t *ids, size_t count,
                        const rrt_eval_options *options, rrt_eval_ppl_result *result, rrt_error *err)
{
    const rrt_eval_options defaults = {0};
    if (!options) options = &defaults;
    scores s = {0};
    size_t n_scored;
    rrt_status status;
    RRT__GOTO(rrt__windows_count(model, ids, count, options, &n_scored, err));
    RRT__GOTO(scores_open(&s, model, n_scored, err));
    RRT__GOTO(rrt__windows_run(&model, 1, ids, count, options, score_loss, &s, err));
    RRT__GOTO(mean_of(s.loss, n_scored, &result->nll_per_token, err));
    result->ppl = exp(result->nll_per_token);
    result->tokens = n_scored;
done:
    rrt__arena_free(&s.arena);
    return status;
}

// Scores each student.
static void score_kl(void *user, rrt__team team, size_t first, size_t rows, const float *const *logits,
                     const int32_t *targets)
{
    kl_scores *all = user;
    const float *teacher = logits[all->count];
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        const float *expected = teacher + r * all->teacher_vocab;
        all->teacher_loss[first + r] =
            all->of[0].kernels->log_sum_exp(expected, all->teacher_vocab) - expected[targets[r]];
        for (int m = 0; m < all->count; m++) {
            scores *s = &all->of[m];
            const float *student = logits[m] + r * s->vocab;
            s->kl[first + r] = s->kernels->kl_divergence(expected, student, s->common);
            s->agrees[first + r] = rrt__argmax(student, s->common) == rrt__argmax(expected, s->common);
            s->loss[first + r] = s->kernels->log_sum_exp(student, s->vocab) - student[targets[r]];
        }
    }
}

static rrt_status summarise(const kl_scores *all, int m, size_t n_scored, rrt_eval_kl_result *result,
                            rrt_error *err)
{
    const scores *s = &all->of[m];
    size_t agreed = 0;
    RRT__TRY(mean_of(s->kl, n_scored, &result->kl, err));
    RRT__TRY(mean_of(s->loss, n_scored, &result->ppl, err));
    RRT__TRY(mean_of(all->teacher_loss, n_scored, &result->teacher_ppl, err));
    result->ppl = exp(result->ppl);
    result->teacher_ppl = exp(result->teacher_ppl);
    for (size_t i = 0; i < n_scored; i++) agreed += s->agrees[i];
    result->top1_agreement = (double)agreed / (double)n_scored;
    result->tokens = n_scored;
    return RRT_STATUS_OK;
}

rrt_status rrt_eval_kl_each(const rrt_model *const *models, int n_models, const rrt_model *teacher,
                            const int32_t *ids, size_t count, const rrt_eval_options *options,
                            rrt_eval_kl_result *results, rrt_error *err)
{
    const rrt_eval_options defaults = {0};
    if (!options) options = &defaults;
    if (n_models < 1 || n_models > RRT_EVAL_KL_MODELS)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%d models: 1 to %d can be compared at once", n_models,
                         RRT_EVAL_KL_MODELS);
    kl_scores s = {.count = n_models, .teacher_vocab = teacher->shape.vocab};
    const rrt_model *run[RRT_EVAL_KL_MODELS + 1];
    size_t n_scored;
    rrt_status status;
    RRT__GOTO(rrt__windows_count(models[0], ids, count, options, &n_scored, err));
    for (int m = 0; m < n_models; m++) {
        RRT__GOTO(scores_open(&s.of[m], models[m], n_scored, err));
        s.of[m].common = rrt__model_common_rows(models[m], teacher);
        run[m] = models[m];
    }
    run[n_models] = teacher;
    RRT__GOTO(
        rrt__arena_alloc(&s.of[0].arena, &s.teacher_loss, n_scored, sizeof *s.teacher_loss, "scores", err));
    RRT__GOTO(rrt__windows_run(run, n_models + 1, ids, count, options, score_kl, &s, err));
    for (int m = 0; m < n_models; m++) RRT__GOTO(summarise(&s, m, n_scored, &results[m], err));
done:
    for (int m = 0; m < n_models; m++) rrt__arena_free(&s.of[m].arena);
    return status;
}

rrt_status rrt_eval_kl(const rrt_model *model, const rrt_model *teacher, const int32_t *ids, size_t count,
                       const rrt_eval_options *options, rrt_eval_kl_result *result, rrt_error *err)
{
    return rrt_eval_kl_each(&model, 1, teacher, ids, count, options, result, err);
}
