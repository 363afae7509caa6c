// Zero-shot tasks: every answer's log-likelihood against logits from a session, the figures by hand, and
// files that are no questions.
#include "texts.h"

enum { MAX_SAMPLES = 256, MAX_ANSWERS = 1024 };

// What rrt_eval_task reported, in order.
typedef struct record {
    rrt_task_sample samples[MAX_SAMPLES];
    rrt_task_answer answers[MAX_ANSWERS];
    size_t n_samples, n_answers;
} record;

static record found;

static void keep(void *user, const rrt_task_sample *sample)
{
    record *r = user;
    assert_true(r->n_samples < MAX_SAMPLES && r->n_answers + sample->n_answers <= MAX_ANSWERS);
    assert_int_equal(sample->index, r->n_samples);
    rrt_task_sample *kept = &r->samples[r->n_samples++];
    *kept = *sample;
    kept->answers = r->answers + r->n_answers;
    memcpy(r->answers + r->n_answers, sample->answers, sample->n_answers * sizeof *sample->answers);
    r->n_answers += sample->n_answers;
}

static rrt_task_result ask(const rrt_model *model, const char *task, const char *lines)
{
    rrt_error err = {0};
    rrt_task_result result;
    char name[64];
    found = (record){0};
    snprintf(name, sizeof name, "%s.jsonl", task);
    write_text(name, lines);
    const rrt_task_options options = {.threads = 1, .report = keep, .user = &found, .kv_type = "f32"};
    assert_ok(rrt_eval_task(model, task, folder, &options, &result, &err));
    assert_int_equal(result.n, found.n_samples);
    return result;
}

static rrt_status encode(const rrt_model *model, const char *text, int32_t **ids, size_t *count,
                         rrt_error *err)
{
    const rrt_tokenizer *tokenizer = rrt_model_tokenizer(model);
    return rrt_encode(tokenizer, text, strlen(text),
                      &(rrt_encode_options){rrt_tokenizer_adds_bos(tokenizer), 1}, ids, count, err);
}

// The answer behind the context (which has no space at its end) by the logits of a session.
static rrt_task_answer by_hand(const rrt_model *model, const char *context, const char *answer)
{
    rrt_error err = {0};
    char text[4096];
    int32_t *head, *ids;
    size_t n_head, count, vocab = model->shape.vocab, most = model->shape.context;
    snprintf(text, sizeof text, "%s%s", context, answer);
    assert_ok(encode(model, context, &head, &n_head, &err));
    assert_ok(encode(model, text, &ids, &count, &err));
    memcpy(ids, head, n_head * sizeof *ids);
    size_t cut = count > most + 1 ? count - most - 1 : 0, rows = count - cut - 1;
    float *logits = must_alloc(rows * vocab, sizeof *logits);
    step_logits(logits, model, ids + cut, rows, &(rrt_session_options){.threads = 1});
    rrt_task_answer result = {.is_greedy = 1};
    for (size_t at = n_head; at < count; at++) {
        const float *row = logits + (at - cut - 1) * vocab;
        double sum = 0;
        size_t best = 0;
        for (size_t i = 0; i < vocab; i++) {
            sum += exp(row[i]);
            if (row[i] > row[best]) best = i;
        }
        result.log_likelihood += row[ids[at]] - log(sum);
        if (best != (size_t)ids[at]) result.is_greedy = 0;
    }
    free(logits);
    rrt_ids_free(head);
    rrt_ids_free(ids);
    return result;
}

static void assert_answer(size_t sample, size_t answer, const rrt_model *model, const char *context,
                          const char *text, size_t characters)
{
    rrt_task_answer expected = by_hand(model, context, text);
    const rrt_task_answer *actual = &found.samples[sample].answers[answer];
    assert_near(actual->log_likelihood, expected.log_likelihood, 1e-4);
    assert_int_equal(actual->is_greedy, expected.is_greedy);
    assert_int_equal(actual->characters, characters);
}

static int set_up(void **state)
{
    (void)state;
    temp_folder(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

// llama has no BOS, llama-tied adds it.
static void choices_get_the_log_likelihoods_of_a_session(void **state)
{
    (void)state;
    static const char *const models[] = {"llama", "llama-tied"};
    static const char lines[] = "{\"context\": \"the cat runs on\", \"choices\": [\"one\", \"one loop, what "
                                "else\", \"a\"], \"gold\": 2}\n"
                                "\n"
                                "{\"id\": 7, \"gold\": 1, \"choices\": [\"the \\u00e9\", \"the \\u00e9\"], "
                                "\"context\": \"what \\n \"}\r\n"
                                "{\"context\": \"the cat runs on\", \"choices\": [\"cat\"], \"gold\": 0}";
    for (int m = 0; m < 2; m++) {
        rrt_model *model = open_golden(models[m]);
        rrt_task_result result = ask(model, "piqa", lines);
        assert_int_equal(result.n, 3);
        assert_answer(0, 0, model, "the cat runs on", " one", 3);
        assert_answer(0, 1, model, "the cat runs on", " one loop, what else", 19);
        assert_answer(0, 2, model, "the cat runs on", " a", 1);
        // White space at the context's end goes to the answer, and is not counted.
        for (size_t i = 0; i < 2; i++) assert_answer(1, i, model, "what", " \n  the \xc3\xa9", 5);
        assert_answer(2, 0, model, "the cat runs on", " cat", 3);
        assert_true(isnan(result.perplexity));
        rrt_model_close(model);
    }
}

static void contexts_and_targets_are_scored_as_by_hand(void **state)
{
    (void)state;
    rrt_model *model = open_golden("llama");
    rrt_task_result result =
        ask(model, "winogrande",
            "{\"contexts\": [\"the cat\", \"the loop\"], \"target\": \"runs on.\", \"gold\": 1}");
    assert_answer(0, 0, model, "the cat", " runs on.", 7);
    assert_answer(0, 1, model, "the loop", " runs on.", 8);
    assert_true(isnan(result.acc_norm) && isnan(result.acc_stderr) && result.score == result.acc);

    result = ask(model, "lambada_openai",
                 "{\"context\": \"the cat runs\", \"target\": \"on\"}\n"
                 "{\"context\": \"one loop, what\", \"target\": \"else\"}\n");
    assert_answer(0, 0, model, "the cat runs", " on", 2);
    assert_answer(1, 0, model, "one loop, what", " else", 4);
    double a = found.answers[0].log_likelihood, b = found.answers[1].log_likelihood;
    assert_near(result.perplexity, exp(-(a + b) / 2), 1e-9 * result.perplexity);
    assert_near(result.perplexity_stderr, result.perplexity * fabs(a - b) / 2, 1e-6 * result.perplexity);
    assert_near(result.acc, (found.answers[0].is_greedy + found.answers[1].is_greedy) / 2.0, 0);
    rrt_model_close(model);
}

// A head that knows one token: what it can say is greedy, and a longer answer that begins so is not.
static void only_an_answer_that_is_greedy_throughout_is_right(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = open_golden("llama");
    size_t vocab = model->shape.vocab, hidden = model->shape.hidden, n_on, n_cat;
    int32_t *on, *cat;
    assert_ok(encode(model, " on", &on, &n_on, &err));
    assert_ok(encode(model, "the cat", &cat, &n_cat, &err));
    assert_int_equal(n_on, 1);
    for (size_t i = 0; i < vocab * hidden; i++)
        if (i / hidden != (size_t)on[0]) model->head->weight[i] = 0;
    float *logits = must_alloc(n_cat * vocab, sizeof *logits);
    step_logits(logits, model, cat, n_cat, &(rrt_session_options){.threads = 1});
    bool is_likely = logits[(n_cat - 1) * vocab + (size_t)on[0]] > 0;
    for (size_t i = 0; i < hidden && !is_likely; i++) model->head->weight[(size_t)on[0] * hidden + i] *= -1;
    rrt_task_result result = ask(model, "lambada_openai",
                                 "{\"context\": \"the cat\", \"target\": \"on\"}\n"
                                 "{\"context\": \"the cat\", \"target\": \"one\"}\n"
                                 "{\"context\": \"the cat\", \"target\": \"loop\"}\n");
    assert_true(found.samples[0].acc == 1 && found.samples[1].acc == 0 && found.samples[2].acc == 0);
    assert_near(result.acc, 1 / 3.0, 1e-12);
    assert_near(result.acc_stderr, 1 / 3.0, 1e-12);
    free(logits);
    rrt_ids_free(on);
    rrt_ids_free(cat);
    rrt_model_close(model);
}

// Of equals the first wins, as in numpy.
static void the_first_of_equal_answers_wins(void **state)
{
    (void)state;
    rrt_model *model = open_golden("llama");
    for (int gold = 0; gold < 2; gold++) {
        char line[128];
        snprintf(line, sizeof line, "{\"context\": \"the\", \"choices\": [\"cat\", \"cat\"], \"gold\": %d}",
                 gold);
        rrt_task_result result = ask(model, "piqa", line);
        assert_true(found.answers[0].log_likelihood == found.answers[1].log_likelihood);
        assert_true(result.acc == !gold && result.acc_norm == !gold);
    }
    rrt_model_close(model);
}

static void judge_by_hand(const rrt_task_sample *s, int *acc, int *acc_norm)
{
    size_t best = 0, best_norm = 0;
    for (size_t i = 1; i < s->n_answers; i++) {
        const rrt_task_answer *a = &s->answers[i], *b = &s->answers[best], *n = &s->answers[best_norm];
        if (a->log_likelihood > b->log_likelihood) best = i;
        if (a->log_likelihood / (double)a->characters > n->log_likelihood / (double)n->characters)
            best_norm = i;
    }
    *acc = best == s->gold;
    *acc_norm = best_norm == s->gold;
}

// More questions than a batch holds, with answers of many lengths, a tie, and a text that is cut on the left.
static void figures_of_many_batches_are_those_by_hand(void **state)
{
    (void)state;
    rrt_error err = {0};
    enum { QUESTIONS = 150 };
    static const char *const words[] = {"the", "cat", "runs", "on", "one", "loop", "what", "else"};
    static char contexts[QUESTIONS][1024], choices[QUESTIONS][3][64];
    rrt__string lines = {0};
    for (size_t q = 0; q < QUESTIONS; q++) {
        size_t n_words = q == 70 ? 100 : 1 + q * 7 % 19;
        contexts[q][0] = '\0';
        for (size_t w = 0; w < n_words; w++)
            sprintf(contexts[q] + strlen(contexts[q]), "%s%s", w ? " " : "", words[(q * q + w * 3) % 8]);
        for (size_t c = 0; c < 3; c++)
            snprintf(choices[q][c], sizeof choices[q][c], "%.*s", (int)(1 + (q + c * 5) % 17),
                     "loop what else the cat");
        strcpy(choices[5][2], choices[5][1]);
        char line[2048];
        snprintf(
            line, sizeof line,
            "{\"context\": \"%.1000s\", \"choices\": [\"%.60s\", \"%.60s\", \"%.60s\"], \"gold\": %zu}\n",
            contexts[q], choices[q][0], choices[q][1], choices[q][2], q % 3);
        assert_ok(rrt__string_append(&lines, line, strlen(line), &err));
    }
    rrt_model *model = open_golden("llama-tied");
    int32_t *ids;
    size_t count;
    assert_ok(encode(model, contexts[70], &ids, &count, &err));
    assert_true(count > model->shape.context);
    rrt_ids_free(ids);
    rrt_task_result result = ask(model, "arc_easy", lines.data);
    double right = 0, right_norm = 0, n = QUESTIONS;
    for (size_t q = 0; q < QUESTIONS; q++) {
        int acc, acc_norm;
        for (size_t c = 0; c < 3; c++) {
            char answer[80];
            snprintf(answer, sizeof answer, " %.60s", choices[q][c]);
            assert_answer(q, c, model, contexts[q], answer, strlen(choices[q][c]));
        }
        judge_by_hand(&found.samples[q], &acc, &acc_norm);
        assert_int_equal(found.samples[q].acc, acc);
        assert_int_equal(found.samples[q].acc_norm, acc_norm);
        right += acc;
        right_norm += acc_norm;
    }
    assert_true(right > 0 && right < n);
    assert_near(result.acc, right / n, 1e-12);
    assert_near(result.acc_norm, right_norm / n, 1e-12);
    assert_near(result.acc_stderr, sqrt(result.acc * (1 - result.acc) / (n - 1)), 1e-12);
    assert_near(result.acc_norm_stderr, sqrt(result.acc_norm * (1 - result.acc_norm) / (n - 1)), 1e-12);
    assert_true(result.score == result.acc_norm);
    // The first 20, by three threads: the same to six digits.
    rrt_task_answer first = found.answers[20];
    found = (record){0};
    const rrt_task_options options = {
        .threads = 3, .limit = 20, .report = keep, .user = &found, .kv_type = "f32"};
    assert_ok(rrt_eval_task(model, "arc_easy", folder, &options, &result, &err));
    assert_int_equal(result.n, 20);
    assert_near(found.answers[20].log_likelihood, first.log_likelihood, 1e-4);
    rrt_model_close(model);
    rrt__string_free(&lines);
}

static void fewer_loops_are_the_shorter_model(void **state)
{
    (void)state;
    rrt_error err = {0};
    static const char line[] = "{\"context\": \"the cat\", \"target\": \"runs\"}";
    rrt_model *original = open_golden("llama");
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 2, 2, 0, 0, &err));
    rrt_model *looped = tie(original, &plan, RRT__NORMS_TIED), *first = unroll(looped, (short[]){0, 1}, 2);
    looped->tokenizer = original->tokenizer;
    ask(looped, "lambada_openai", line);
    first->tokenizer = original->tokenizer;
    double all = found.answers[0].log_likelihood;
    ask(first, "lambada_openai", line);
    double once = found.answers[0].log_likelihood;
    rrt_task_result result;
    const rrt_task_options options = {.threads = 1, .loops = 1, .kv_type = "f32"};
    assert_ok(rrt_eval_task(looped, "lambada_openai", folder, &options, &result, &err));
    assert_near(log(result.perplexity), -once, 1e-5);
    assert_true(fabs(all - once) > 1e-3);
    assert_fails(
        RRT_STATUS_ARGUMENT, "3 loops",
        rrt_eval_task(looped, "lambada_openai", folder, &(rrt_task_options){.loops = 3}, &result, &err));
    looped->tokenizer = first->tokenizer = NULL;
    rrt_model_close(looped);
    rrt_model_close(first);
    rrt_model_close(original);
}

static const char choice[] = "{\"context\": \"the\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n";

static void lines_that_are_no_questions_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *task, *line, *text;
    } lines[] = {
        {"piqa", "{\"context\": \"the\", ", "not valid JSON"},
        {"piqa", "the cat", "not valid JSON"},
        {"piqa", "[1]", "not a JSON object"},
        {"piqa", "{\"choices\": [\"a\", \"b\"], \"gold\": 0}", "\"context\" is missing"},
        {"piqa", "{\"context\": 3, \"choices\": [\"a\", \"b\"], \"gold\": 0}", "\"context\": not a string"},
        {"piqa", "{\"context\": \"\", \"choices\": [\"a\", \"b\"], \"gold\": 0}",
         "\"context\": an empty text"},
        {"piqa", "{\"context\": \" \\u3000\\n\", \"choices\": [\"a\"], \"gold\": 0}",
         "\"context\": an empty text"},
        {"piqa", "{\"context\": \"the\", \"gold\": 0}", "\"choices\" is missing"},
        {"piqa", "{\"context\": \"the\", \"choices\": \"a\", \"gold\": 0}", "an array is expected"},
        {"piqa", "{\"context\": \"the\", \"choices\": [], \"gold\": 0}", "\"choices\" is empty"},
        {"piqa", "{\"context\": \"the\", \"choices\": [\"a\", \"\"], \"gold\": 0}",
         "\"choices\": an empty text"},
        {"piqa", "{\"context\": \"the\", \"choices\": [\"a\", 1], \"gold\": 0}", "\"choices\": not a string"},
        {"piqa", "{\"context\": \"the\", \"choices\": [\"a\", \"b\"]}", "\"gold\" is missing"},
        {"piqa", "{\"context\": \"the\", \"choices\": [\"a\", \"b\"], \"gold\": \"0\"}",
         "an integer is expected"},
        {"piqa", "{\"context\": \"the\", \"choices\": [\"a\", \"b\"], \"gold\": 2}", "from 0 to 1"},
        {"piqa", "{\"context\": \"the\", \"choices\": [\"a\", \"b\"], \"gold\": -1}", "from 0 to 1"},
        {"piqa", "{\"context\": \"the\", \"context\": \"a\", \"choices\": [\"a\"], \"gold\": 0}",
         "duplicate"},
        {"piqa", "{\"context\": \"the \xff cat\", \"choices\": [\"a\"], \"gold\": 0}", "UTF-8"},
        {"piqa", "{\"context\": \"the \\ud800\", \"choices\": [\"a\"], \"gold\": 0}", "not valid JSON"},
        {"piqa", "{\"context\": \"\\u6f22\", \"choices\": [\"a\", \"b\"], \"gold\": 0}", "no token"},
        {"winogrande", "{\"contexts\": [\"the\", \"a\"], \"gold\": 0}", "\"target\" is missing"},
        {"winogrande", "{\"contexts\": [], \"target\": \"a\", \"gold\": 0}", "\"contexts\" is empty"},
        {"winogrande", "{\"context\": \"the\", \"target\": \"a\", \"gold\": 0}", "\"contexts\" is missing"},
        {"lambada_openai", "{\"context\": \"the\"}", "\"target\" is missing"},
        {"lambada_openai", "{\"context\": \"the\", \"target\": \"\"}", "\"target\": an empty text"},
    };
    rrt_error err = {0};
    rrt_task_result result;
    rrt_model *model = open_golden("llama");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char name[64], text[512];
        snprintf(name, sizeof name, "%s.jsonl", lines[i].task);
        snprintf(text, sizeof text, "\n%s%s\n", strcmp(lines[i].task, "piqa") == 0 ? choice : "\n",
                 lines[i].line);
        const char *path = write_text(name, text);
        assert_fails(RRT_STATUS_FORMAT, lines[i].text,
                     rrt_eval_task(model, lines[i].task, folder, NULL, &result, &err));
        if (strncmp(err.where, path, strlen(path)) != 0 || strcmp(err.where + strlen(path), ": line 3") != 0)
            fail_msg("where: %s", err.where);
        if (!strstr(lines[i].text, "token") && !strstr(lines[i].text, "UTF-8"))
            assert_non_null(strstr(err.hint, "such as {\""));
    }
    // What is not asked is not read.
    write_text("piqa.jsonl", "{\"context\": \"the\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\nrubbish\n");
    assert_ok(rrt_eval_task(model, "piqa", folder, &(rrt_task_options){.limit = 1}, &result, &err));
    write_text("piqa.jsonl", " \n\n");
    assert_fails(RRT_STATUS_FORMAT, "no questions",
                 rrt_eval_task(model, "piqa", folder, NULL, &result, &err));
    // An answer that the model cannot see.
    char line[1024] = "{\"context\": \"the\", \"target\": \"a";
    while (strlen(line) < 900) strcat(line, " loop, what");
    strcat(line, "\"}");
    write_text("lambada_openai.jsonl", line);
    assert_fails(RRT_STATUS_FORMAT, "the model can see 128",
                 rrt_eval_task(model, "lambada_openai", folder, NULL, &result, &err));
    rrt_model_close(model);
}

static int stop_at_once(void *user, const char *stage, double done, double total)
{
    (void)user, (void)done, (void)total;
    assert_string_equal(stage, "piqa");
    return 1;
}

static void impossible_evaluations_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_task_result result;
    rrt_model *model = open_golden("llama"), *silent = open_golden("neox");
    write_text("piqa.jsonl", choice);
    assert_fails(RRT_STATUS_ARGUMENT, "'f8' are not known",
                 rrt_eval_task(model, "piqa", folder, &(rrt_task_options){.kv_type = "f8"}, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "'mmlu'", rrt_eval_task(model, "mmlu", folder, NULL, &result, &err));
    assert_non_null(strstr(err.hint, "openbookqa"));
    assert_fails(RRT_STATUS_IO, "nowhere", rrt_eval_task(model, "piqa", "nowhere", NULL, &result, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "tokenizer",
                 rrt_eval_task(silent, "piqa", folder, NULL, &result, &err));
    const rrt_progress progress = {stop_at_once, NULL};
    assert_fails(
        RRT_STATUS_CANCELLED, "",
        rrt_eval_task(model, "piqa", folder, &(rrt_task_options){.progress = &progress}, &result, &err));
    model->head->weight[0] = NAN;
    assert_fails(RRT_STATUS_NUMERIC, "not finite", rrt_eval_task(model, "piqa", folder, NULL, &result, &err));
    rrt_model_close(silent);
    rrt_model_close(model);
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    rrt_model *model = open_golden("llama");
    write_text("piqa.jsonl", choice);
    rrt_status status = RRT_STATUS_MEMORY;
    long failures = -1;
    while (status) {
        rrt_error err = {0};
        rrt_task_result result;
        rrt__memory_fail_after = ++failures;
        status = rrt_eval_task(model, "piqa", folder, &(rrt_task_options){.threads = 1}, &result, &err);
        rrt__memory_fail_after = -1;
        if (status && status != RRT_STATUS_MEMORY)
            fail_msg("request %ld: %s: %s: %s", failures, rrt_status_name(status), err.where, err.message);
    }
    assert_true(failures > 20);
    rrt_model_close(model);
}

static void the_seven_tasks_have_names(void **state)
{
    (void)state;
    assert_string_equal(rrt_task_name(0), "lambada_openai");
    assert_string_equal(rrt_task_name(6), "openbookqa");
    assert_null(rrt_task_name(7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_get_the_log_likelihoods_of_a_session),
        cmocka_unit_test(contexts_and_targets_are_scored_as_by_hand),
        cmocka_unit_test(only_an_answer_that_is_greedy_throughout_is_right),
        cmocka_unit_test(the_first_of_equal_answers_wins),
        cmocka_unit_test(figures_of_many_batches_are_those_by_hand),
        cmocka_unit_test(fewer_loops_are_the_shorter_model),
        cmocka_unit_test(lines_that_are_no_questions_are_refused),
        cmocka_unit_test(impossible_evaluations_are_refused),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
        cmocka_unit_test(the_seven_tasks_have_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
