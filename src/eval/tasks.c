// Zero-shot tasks: questions → tokens → log-likelihoods → right answers → figures.
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "eval/likelihood.h"
#include "eval/questions.h"

typedef struct task {
    const char *name;
    rrt__question_form form;
    bool has_norm;
} task;

static const task tasks[] = {
    {"lambada_openai", RRT__QUESTION_TARGET, false}, {"hellaswag", RRT__QUESTION_CHOICES, true},
    {"piqa", RRT__QUESTION_CHOICES, true},           {"winogrande", RRT__QUESTION_CONTEXTS, false},
    {"arc_easy", RRT__QUESTION_CHOICES, true},       {"arc_challenge", RRT__QUESTION_CHOICES, true},
    {"openbookqa", RRT__QUESTION_CHOICES, true},
};
enum { N_TASKS = sizeof tasks / sizeof *tasks };

const char *rrt_task_name(size_t index)
{
    return index < N_TASKS ? tasks[index].name : NULL;
}

static rrt_status find_task(const task **out, const char *name, rrt_error *err)
{
    for (size_t i = 0; i < N_TASKS; i++) {
        *out = &tasks[i];
        if (strcmp(tasks[i].name, name) == 0) return RRT_STATUS_OK;
    }
    rrt_status status = rrt__fail(err, RRT_STATUS_ARGUMENT, "there is no task '%.100s'", name);
    return rrt__hint(err, status,
                     "lambada_openai, hellaswag, piqa, winogrande, arc_easy, arc_challenge, "
                     "openbookqa");
}

// --- tokens

// The harness encodes the context alone and the whole text; the answer is what follows as many tokens of the
// whole. Special tokens in the text become special tokens, as in Hugging Face's tokenizers.
static rrt_status join(rrt__continuation *out, const rrt_model *model, rrt__arena *arena,
                       const int32_t *context, size_t n_context, const int32_t *whole, size_t n_whole,
                       rrt_error *err)
{
    size_t max = model->shape.context, n_answer = n_whole > n_context ? n_whole - n_context : 0;
    if (n_context == 0 || n_answer == 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the %s has no token in this model's vocabulary",
                         n_context == 0 ? "context" : "answer");
    if (n_answer > max)
        return rrt__fail(err, RRT_STATUS_FORMAT, "an answer of %zu tokens: the model can see %zu", n_answer,
                         max);
    size_t cut = n_whole > max + 1 ? n_whole - max - 1 : 0; // on the left: the last token is only scored
    int32_t *ids;
    RRT__TRY(rrt__arena_alloc(arena, &ids, n_whole - cut, sizeof *ids, "a question's tokens", err));
    memcpy(ids, context + cut, (n_context - cut) * sizeof *ids);
    memcpy(ids + n_context - cut, whole + n_context, n_answer * sizeof *ids);
    *out = (rrt__continuation){.ids = ids, .context = n_context - cut, .count = n_whole - cut};
    return RRT_STATUS_OK;
}

static rrt_status encode(rrt__continuation *out, const rrt_model *model, rrt__arena *arena,
                         const rrt__answer_text *text, rrt_error *err)
{
    const rrt_encode_options options = {rrt_tokenizer_adds_bos(model->tokenizer), 1};
    int32_t *context = NULL, *whole = NULL;
    size_t n_context, n_whole;
    rrt_status status;
    RRT__GOTO(
        rrt_encode(model->tokenizer, text->text, text->context_length, &options, &context, &n_context, err));
    RRT__GOTO(rrt_encode(model->tokenizer, text->text, text->length, &options, &whole, &n_whole, err));
    RRT__GOTO(join(out, model, arena, context, n_context, whole, n_whole, err));
done:
    rrt_ids_free(context);
    rrt_ids_free(whole);
    return status;
}

static rrt_status encode_question(rrt__continuation *requests, const rrt_model *model, rrt__arena *arena,
                                  const rrt__questions *q, const rrt__question *question, rrt_error *err)
{
    for (size_t i = question->first; i < question->first + question->count; i++)
        RRT__TRY(encode(&requests[i], model, arena, &q->texts[i], err));
    return RRT_STATUS_OK;
}

static rrt_status encode_all(rrt__continuation *requests, const rrt_model *model, rrt__arena *arena,
                             const rrt__questions *q, const char *path, rrt_error *err)
{
    for (size_t i = 0; i < q->count; i++) {
        rrt_status status = encode_question(requests, model, arena, q, &q->items[i], err);
        if (status) return rrt__at(err, status, "%s: line %zu", path, q->items[i].line);
    }
    return RRT_STATUS_OK;
}

// Sets log_likelihood and is_greedy of all answers.
static rrt_status score_answers(const rrt_model *model, rrt__questions *q, const char *stage,
                                const char *path, const rrt_task_options *options, rrt_error *err)
{
    rrt__continuation *requests = NULL;
    rrt__arena arena = {0};
    rrt__kv_types kv_type;
    rrt_status status;
    RRT__GOTO(rrt__kv_types_parse(&kv_type, options->kv_type, err));
    RRT__GOTO(rrt__alloc(&requests, q->n_answers, sizeof *requests, "requests", err));
    RRT__GOTO(encode_all(requests, model, &arena, q, path, err));
    RRT__GOTO(rrt__likelihoods(model, requests, q->n_answers, options->threads, options->loops, kv_type,
                               options->progress, stage, err));
    for (size_t i = 0; i < q->n_answers; i++) {
        q->answers[i].log_likelihood = requests[i].log_likelihood;
        q->answers[i].is_greedy = requests[i].is_greedy;
    }
done:
    rrt__arena_free(&arena);
    rrt__free(requests);
    return status;
}

// --- figures

// The first of the best answers, by log-likelihood or by log-likelihood per character.
static size_t best_answer(const rrt_task_answer *answers, size_t count, bool per_character)
{
    size_t best = 0;
    double highest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        double score = answers[i].log_likelihood;
        if (per_character) score /= (double)answers[i].characters;
        if (score > highest) {
            highest = score;
            best = i;
        }
    }
    return best;
}

static rrt_task_sample judge(const task *t, const rrt__questions *q, size_t index)
{
    const rrt__question *question = &q->items[index];
    const rrt_task_answer *answers = q->answers + question->first;
    rrt_task_sample sample = {t->name, index, answers, question->count, question->gold, 0, 0};
    sample.acc = t->form == RRT__QUESTION_TARGET
                     ? answers->is_greedy
                     : best_answer(answers, question->count, false) == question->gold;
    if (t->has_norm) sample.acc_norm = best_answer(answers, question->count, true) == question->gold;
    return sample;
}

// For a mean and its standard error.
typedef struct tally {
    double sum, squares;
} tally;

static void count_in(tally *t, double value)
{
    t->sum += value;
    t->squares += value * value;
}

static double standard_error(const tally *t, double n)
{
    return n < 2 ? NAN : sqrt(fmax(0, t->squares - t->sum * t->sum / n) / (n - 1) / n);
}

static void summarise(const task *t, const rrt__questions *q, const rrt_task_options *options,
                      rrt_task_result *result)
{
    tally acc = {0}, norm = {0}, log_likelihood = {0};
    double n = (double)q->count;
    for (size_t i = 0; i < q->count; i++) {
        rrt_task_sample sample = judge(t, q, i);
        count_in(&acc, sample.acc);
        count_in(&norm, sample.acc_norm);
        count_in(&log_likelihood, sample.answers->log_likelihood);
        if (options->report) options->report(options->user, &sample);
    }
    *result = (rrt_task_result){.n = q->count,
                                .acc = acc.sum / n,
                                .acc_stderr = standard_error(&acc, n),
                                .acc_norm = t->has_norm ? norm.sum / n : NAN,
                                .acc_norm_stderr = t->has_norm ? standard_error(&norm, n) : NAN,
                                .perplexity = NAN,
                                .perplexity_stderr = NAN};
    result->score = t->has_norm ? result->acc_norm : result->acc;
    if (t->form != RRT__QUESTION_TARGET) return;
    result->perplexity = exp(-log_likelihood.sum / n);
    result->perplexity_stderr = result->perplexity * standard_error(&log_likelihood, n);
}

rrt_status rrt_eval_task(const rrt_model *model, const char *name, const char *folder,
                         const rrt_task_options *options, rrt_task_result *result, rrt_error *err)
{
    const rrt_task_options defaults = {0};
    const task *t;
    rrt__questions questions = {0};
    char file[64], path[4096];
    rrt_status status;
    if (!options) options = &defaults;
    RRT__TRY(find_task(&t, name, err));
    RRT__TRY(rrt_model_check_tokenizer(model, err));
    snprintf(file, sizeof file, "%s.jsonl", t->name);
    RRT__TRY(rrt__path_join(path, folder, file, err));
    RRT__GOTO(rrt__questions_read(&questions, path, t->form, options->limit, err));
    RRT__GOTO(score_answers(model, &questions, t->name, path, options, err));
    summarise(t, &questions, options, result);
done:
    rrt__questions_free(&questions);
    return status;
}
