#include <math.h>

#include "eval/windows.h"
#include "pass/exit.h"

// Per-row results are kept and added up in row order at the end: the sum is the same for any number of
// threads.
typedef struct scores {
    double *loss, *teacher_loss; // -ln p of the token that followed
    double *kl;
    unsigned char *agrees;
    size_t vocab, teacher_vocab, common; // rows of the model's head, of the teacher's, that both have
    const rrt__kernels *kernels;
    rrt__arena arena;
} scores;

static rrt_status scores_open(scores *s, const rrt_model *model, size_t count, rrt_error *err)
{
    s->vocab = model->shape.vocab;
    s->kernels = rrt__kernels_get();
    RRT__TRY(rrt__arena_alloc(&s->arena, &s->loss, count, sizeof(double), "scores", err));
    RRT__TRY(rrt__arena_alloc(&s->arena, &s->teacher_loss, count, sizeof(double), "scores", err));
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

static void score_kl(void *user, rrt__team team, size_t first, size_t rows, const float *const *logits,
                     const int32_t *targets)
{
    scores *s = user;
    rrt__share share = rrt__team_share(team, rows, 1);
    for (size_t r = share.begin; r < share.end; r++) {
        const float *student = logits[0] + r * s->vocab, *teacher = logits[1] + r * s->teacher_vocab;
        s->kl[first + r] = s->kernels->kl_divergence(teacher, student, s->common);
        s->agrees[first + r] = rrt__argmax(student, s->common) == rrt__argmax(teacher, s->common);
        s->loss[first + r] = s->kernels->log_sum_exp(student, s->vocab) - student[targets[r]];
        s->teacher_loss[first + r] = s->kernels->log_sum_exp(teacher, s->teacher_vocab) - teacher[targets[r]];
    }
}

rrt_status rrt_eval_kl(const rrt_model *model, const rrt_model *teacher, const int32_t *ids, size_t count,
                       const rrt_eval_options *options, rrt_eval_kl_result *result, rrt_error *err)
{
    const rrt_eval_options defaults = {0};
    if (!options) options = &defaults;
    scores s = {0};
    size_t n_scored, agreed = 0;
    rrt_status status;
    RRT__GOTO(rrt__windows_count(model, ids, count, options, &n_scored, err));
    RRT__GOTO(scores_open(&s, model, n_scored, err));
    s.teacher_vocab = teacher->shape.vocab;
    s.common = rrt__model_common_rows(model, teacher);
    RRT__GOTO(
        rrt__windows_run((const rrt_model *[]){model, teacher}, 2, ids, count, options, score_kl, &s, err));
    RRT__GOTO(mean_of(s.kl, n_scored, &result->kl, err));
    RRT__GOTO(mean_of(s.loss, n_scored, &result->ppl, err));
    RRT__GOTO(mean_of(s.teacher_loss, n_scored, &result->teacher_ppl, err));
    result->ppl = exp(result->ppl);
    result->teacher_ppl = exp(result->teacher_ppl);
    for (size_t i = 0; i < n_scored; i++) agreed += s.agrees[i];
    result->top1_agreement = (double)agreed / (double)n_scored;
    result->tokens = n_scored;
done:
    rrt__arena_free(&s.arena);
    return status;
}
