// Perplexity and KL against what the goldens say, and the rules of windows.
#include "models.h"

// ln Σ exp, and -ln p of one row, in double.
static double log_total(const float *row, size_t vocab)
{
    double sum = 0;
    for (size_t i = 0; i < vocab; i++) sum += exp(row[i]);
    return log(sum);
}

static rrt_eval_ppl_result ppl(const rrt_model *model, const int32_t *ids, size_t count, size_t context,
                               size_t max_tokens)
{
    rrt_error err = {0};
    rrt_eval_ppl_result result;
    const rrt_eval_options options = {.threads = 1, .context = context, .max_tokens = max_tokens};
    assert_ok(rrt_eval_ppl(model, ids, count, &options, &result, &err));
    assert_near(result.ppl, exp(result.nll_per_token), 1e-9 * result.ppl);
    return result;
}

// Mean -ln p over the scored tokens of windows cut by hand: what rrt_eval_ppl must find.
static double nll_by_hand(const rrt_model *model, const int32_t *ids, size_t window, size_t n_windows,
                          int32_t bos)
{
    size_t vocab = model->shape.vocab, length = window + (bos >= 0), scored = 0;
    float *logits = must_alloc(length * vocab, sizeof *logits);
    int32_t *tokens = must_alloc(length, sizeof *tokens);
    double sum = 0;
    for (size_t w = 0; w < n_windows; w++) {
        if (bos >= 0) tokens[0] = bos;
        memcpy(tokens + (bos >= 0), ids + w * window, window * sizeof *tokens);
        step_logits(logits, model, tokens, length, &(rrt_session_options){.threads = 1});
        for (size_t i = 0; i + 1 < length; i++, scored++)
            sum += log_total(logits + i * vocab, vocab) - logits[i * vocab + (size_t)tokens[i + 1]];
    }
    free(tokens);
    free(logits);
    return sum / (double)scored;
}

static void perplexity_equals_the_golden(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "neox", "llama-bf16"};
    for (int n = 0; n < 3; n++) {
        golden g = golden_open(names[n]);
        rrt_model *model = open_golden(names[n]);
        double sum = 0;
        for (size_t i = 0; i + 1 < g.count; i++)
            sum += log_total(g.logits + i * g.vocab, g.vocab) - g.logits[i * g.vocab + (size_t)g.ids[i + 1]];
        // One window holds all, and a window longer than the text is cut to it.
        const size_t contexts[] = {g.count, 64};
        for (int c = 0; c < 2; c++) {
            rrt_eval_ppl_result result = ppl(model, g.ids, g.count, contexts[c], 0);
            assert_int_equal(result.tokens, g.count - 1);
            assert_near(result.nll_per_token, sum / (double)(g.count - 1), LOGIT_TOLERANCE);
        }
        rrt_model_close(model);
        golden_close(&g);
    }
}

static void windows_score_what_a_cut_by_hand_scores(void **state)
{
    (void)state;
    golden g = golden_open("llama");
    rrt_model *model = open_golden("llama"); // no BOS
    // 35 tokens: 4 windows of 8, the last 3 are dropped.
    rrt_eval_ppl_result result = ppl(model, g.ids, g.count, 8, 0);
    assert_int_equal(result.tokens, 4 * 7);
    assert_near(result.nll_per_token, nll_by_hand(model, g.ids, 8, 4, -1), 1e-5);
    // max_tokens counts text tokens: 20 of them are 2 windows.
    result = ppl(model, g.ids, g.count, 8, 20);
    assert_int_equal(result.tokens, 2 * 7);
    assert_near(result.nll_per_token, nll_by_hand(model, g.ids, 8, 2, -1), 1e-5);
    // Fewer than one window: the short one counts.
    result = ppl(model, g.ids, g.count, 8, 5);
    assert_int_equal(result.tokens, 4);
    assert_near(result.nll_per_token, nll_by_hand(model, g.ids, 5, 1, -1), 1e-5);
    // The shortest window possible.
    assert_int_equal(ppl(model, g.ids, g.count, 2, 0).tokens, 17);
    rrt_model_close(model);
    golden_close(&g);
}

static void bos_takes_a_place_in_every_window(void **state)
{
    (void)state;
    golden g = golden_open("llama");
    rrt_model *model = open_golden("llama-tied"); // its tokenizer adds BOS, id 0
    assert_true(rrt_tokenizer_adds_bos(rrt_model_tokenizer(model)));
    // BOS takes a place: a window of 8 holds 7 tokens of the text, and all 7 are scored.
    rrt_eval_ppl_result result = ppl(model, g.ids, g.count, 8, 0);
    assert_int_equal(result.tokens, 5 * 7);
    assert_near(result.nll_per_token, nll_by_hand(model, g.ids, 7, 5, 0), 1e-5);
    // max_tokens does not count BOS.
    result = ppl(model, g.ids, g.count, 8, 14);
    assert_int_equal(result.tokens, 14);
    // With BOS a single token can be scored.
    assert_int_equal(ppl(model, g.ids, 1, 8, 0).tokens, 1);
    rrt_model_close(model);
    golden_close(&g);
}

// Enough text for several steps of windows and for windows longer than the rows whose logits exist at once.
static void batching_changes_nothing(void **state)
{
    (void)state;
    enum { COUNT = 1500 };
    rrt_model *model = open_golden("llama");
    int32_t ids[COUNT];
    for (int i = 0; i < COUNT; i++) ids[i] = (i * i * 3 + i) % 97;
    const size_t contexts[] = {2, 16, 100, 128};
    for (int c = 0; c < 4; c++) {
        size_t context = contexts[c], n_windows = COUNT / context;
        double sum = 0;
        for (size_t w = 0; w < n_windows; w++)
            sum += ppl(model, ids + w * context, context, context, 0).nll_per_token;
        assert_near(ppl(model, ids, COUNT, context, 0).nll_per_token, sum / (double)n_windows, 1e-5);
    }
    // The same bytes for any number of threads is not promised by BLAS, the same number to six digits is.
    rrt_error err = {0};
    rrt_eval_ppl_result result;
    assert_ok(
        rrt_eval_ppl(model, ids, COUNT, &(rrt_eval_options){.threads = 3, .context = 100}, &result, &err));
    assert_near(result.nll_per_token, ppl(model, ids, COUNT, 100, 0).nll_per_token, 1e-6);
    rrt_model_close(model);
}

static void kl_equals_that_of_transformers(void **state)
{
    (void)state;
    rrt_error err = {0};
    golden g = golden_open("llama");
    rrt_model *student = open_golden("llama"), *teacher = open_golden("neox");
    const json_t *expected = json_object_get(g.json, "kl_from_neox");
    rrt_eval_kl_result result;
    // The last token is only scored, so it is cut off by its window: KL over the same rows as in Python.
    assert_ok(rrt_eval_kl(student, teacher, g.ids, g.count, &(rrt_eval_options){.threads = 2, .context = 64},
                          &result, &err));
    assert_int_equal(result.tokens, g.count - 1);
    assert_near(result.kl, json_number_value(json_object_get(expected, "kl")), LOGIT_TOLERANCE);
    assert_near(result.top1_agreement, json_number_value(json_object_get(expected, "top1_agreement")), 1e-9);
    rrt_model_close(student);
    rrt_model_close(teacher);
    golden_close(&g);
}

static void several_models_get_what_each_gets_alone(void **state)
{
    (void)state;
    rrt_error err = {0};
    golden g = golden_open("llama");
    const rrt_model *models[] = {open_golden("llama"), open_golden("neox")};
    rrt_model *teacher = open_golden("neox");
    const rrt_eval_options options = {.context = 16};
    rrt_eval_kl_result together[2], alone;
    assert_ok(rrt_eval_kl_each(models, 2, teacher, g.ids, g.count, &options, together, &err));
    for (int i = 0; i < 2; i++) {
        assert_ok(rrt_eval_kl(models[i], teacher, g.ids, g.count, &options, &alone, &err));
        assert_true(together[i].kl == alone.kl && together[i].ppl == alone.ppl);
        assert_true(together[i].top1_agreement == alone.top1_agreement && together[i].tokens == alone.tokens);
    }
    assert_fails(RRT_STATUS_ARGUMENT, "1 to 16",
                 rrt_eval_kl_each(models, 17, teacher, g.ids, g.count, &options, together, &err));
    for (int i = 0; i < 2; i++) rrt_model_close((rrt_model *)models[i]);
    rrt_model_close(teacher);
    golden_close(&g);
}

static void kl_with_itself_is_zero(void **state)
{
    (void)state;
    rrt_error err = {0};
    golden g = golden_open("neox");
    rrt_model *model = open_golden("neox"), *other = open_golden("neox");
    rrt_eval_kl_result result;
    assert_ok(rrt_eval_kl(model, other, g.ids, g.count, &(rrt_eval_options){.context = 16}, &result, &err));
    assert_int_equal(result.tokens, 2 * 15);
    assert_near(result.kl, 0, 1e-12);
    assert_true(result.top1_agreement == 1);
    rrt_model_close(model);
    rrt_model_close(other);
    golden_close(&g);
}

// Rows to spare on either side change nothing, where the tokenizers say that they are to spare.
static void padding_rows_change_no_kl(void **state)
{
    (void)state;
    rrt_error err = {0};
    golden g = golden_open("llama");
    rrt_model *student = open_golden("llama"), *teacher = open_golden("llama");
    for (size_t i = 0; i < 97 * 32; i++)
        student->head->weight[i] += (float)(0.1 * rrt__random_gaussian(3, 0, i));
    rrt_model *models[][2] = {{student, with_padding(teacher, 31)}, {with_padding(student, 31), teacher}};
    const rrt_eval_options options = {.context = 64};
    rrt_eval_kl_result expected, result;
    assert_ok(rrt_eval_kl(student, teacher, g.ids, g.count, &options, &expected, &err));
    for (int i = 0; i < 2; i++) {
        rrt_model *padded = models[i][1 - i];
        assert_ok(rrt_eval_kl(models[i][0], models[i][1], g.ids, g.count, &options, &result, &err));
        assert_near(result.kl, expected.kl, 1e-6);
        assert_true(result.top1_agreement == expected.top1_agreement);
        rrt_tokenizer_close(padded->tokenizer);
        padded->tokenizer = NULL;
        assert_fails(RRT_STATUS_MISMATCH, "rows to spare",
                     rrt_eval_kl(models[i][0], models[i][1], g.ids, g.count, &options, &result, &err));
        rrt_model_close(padded);
    }
    // An id that only one has rows for.
    rrt_model *wide = with_padding(student, 31);
    int32_t ids[] = {1, 2, 100, 3};
    assert_fails(RRT_STATUS_ARGUMENT, "100",
                 rrt_eval_kl(wide, teacher, ids, 4, &(rrt_eval_options){.context = 4}, &result, &err));
    rrt_model_close(wide);
    rrt_model_close(student);
    rrt_model_close(teacher);
    golden_close(&g);
}

// A student that is a little off: agreement lies between 0 and 1, and KL has a direction.
static void kl_of_a_disturbed_model_equals_a_sum_in_double(void **state)
{
    (void)state;
    rrt_error err = {0};
    golden g = golden_open("llama");
    rrt_model *teacher = open_golden("llama"), *student = open_golden("llama");
    for (size_t i = 0; i < 97 * 32; i++)
        student->head->weight[i] += (float)(0.1 * rrt__random_gaussian(3, 0, i));
    size_t vocab = g.vocab, rows = g.count - 1, agreed = 0;
    float *logits = must_alloc(g.count * vocab, sizeof *logits);
    step_logits(logits, student, g.ids, g.count, &(rrt_session_options){.threads = 1});
    double kl = 0;
    for (size_t r = 0; r < rows; r++) {
        const float *p = g.logits + r * vocab, *q = logits + r * vocab;
        double p_total = log_total(p, vocab), q_total = log_total(q, vocab);
        size_t p_best = 0, q_best = 0;
        for (size_t i = 0; i < vocab; i++) {
            kl += exp(p[i] - p_total) * (p[i] - p_total - q[i] + q_total) / (double)rows;
            if (p[i] > p[p_best]) p_best = i;
            if (q[i] > q[q_best]) q_best = i;
        }
        agreed += p_best == q_best;
    }
    rrt_eval_kl_result result;
    assert_ok(rrt_eval_kl(student, teacher, g.ids, g.count, &(rrt_eval_options){.threads = 1, .context = 64},
                          &result, &err));
    assert_near(result.kl, kl, LOGIT_TOLERANCE);
    assert_near(result.top1_agreement, (double)agreed / (double)rows, 1e-9);
    assert_true(agreed > 0 && agreed < rows); // else the disturbance tests nothing
    free(logits);
    rrt_model_close(teacher);
    rrt_model_close(student);
    golden_close(&g);
}

static void fewer_loops_are_the_shorter_model(void **state)
{
    (void)state;
    rrt_error err = {0};
    golden g = golden_open("llama");
    rrt_model *original = open_golden("llama");
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, RRT__SHARING_CYCLE, 2, 2, 0, 0, &err));
    rrt_model *looped = tie(original, &plan, RRT__NORMS_TIED), *first = unroll(looped, (short[]){0, 1}, 2);
    rrt_eval_ppl_result result;
    assert_ok(rrt_eval_ppl(looped, g.ids, g.count,
                           &(rrt_eval_options){.threads = 1, .context = 64, .loops = 1}, &result, &err));
    assert_near(result.nll_per_token, ppl(first, g.ids, g.count, 64, 0).nll_per_token, 1e-7);
    assert_true(fabs(result.nll_per_token - ppl(looped, g.ids, g.count, 64, 0).nll_per_token) > 1e-3);
    // The teacher runs all its loops even where the model runs fewer.
    rrt_eval_kl_result kl;
    assert_ok(rrt_eval_kl(looped, first, g.ids, g.count,
                          &(rrt_eval_options){.threads = 1, .context = 64, .loops = 1}, &kl, &err));
    assert_near(kl.kl, 0, 1e-9);
    assert_ok(rrt_eval_kl(looped, looped, g.ids, g.count,
                          &(rrt_eval_options){.threads = 1, .context = 64, .loops = 1}, &kl, &err));
    assert_true(kl.kl > 1e-3);
    assert_fails(
        RRT_STATUS_ARGUMENT, "3 loops",
        rrt_eval_ppl(looped, g.ids, g.count, &(rrt_eval_options){.context = 64, .loops = 3}, &result, &err));
    rrt_model_close(first);
    rrt_model_close(looped);
    rrt_model_close(original);
    golden_close(&g);
}

// Windows through keys and values, as while decoding: in f32 the same, in f16 nearly.
static void f32_keys_and_values_change_nothing_and_f16_little(void **state)
{
    (void)state;
    rrt_error err = {0};
    static const char *const names[] = {"llama", "gemma2", "neox"};
    for (int i = 0; i < 3; i++) {
        golden g = golden_open(names[i]);
        rrt_model *model = open_golden(names[i]);
        rrt_eval_options options = {.threads = 2, .context = 17};
        rrt_eval_kl_result kl;
        options.kv_type = "f32";
        assert_ok(rrt_eval_kl(model, model, g.ids, g.count, &options, &kl, &err));
        assert_near(kl.kl, 0, 1e-7);
        assert_near(kl.ppl, kl.teacher_ppl, 1e-5 * kl.ppl);
        options.kv_type = "f16";
        assert_ok(rrt_eval_kl(model, model, g.ids, g.count, &options, &kl, &err));
        assert_true(kl.ppl != kl.teacher_ppl);
        assert_near(kl.kl, 0, 1e-5);
        assert_near(kl.ppl, kl.teacher_ppl, 1e-2 * kl.ppl);
        options.kv_type = "f8";
        assert_fails(RRT_STATUS_ARGUMENT, "'f8' are not known",
                     rrt_eval_kl(model, model, g.ids, g.count, &options, &kl, &err));
        rrt_model_close(model);
        golden_close(&g);
    }
}

static int stop_at_once(void *user, const char *stage, double done, double total)
{
    (void)user, (void)stage, (void)done, (void)total;
    return 1;
}

// As many tokens, but not the same ones.
static void kl_across_tokenizers_is_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    char folder[64], path[4096];
    json_t *json;
    copy_golden(folder, "llama");
    assert_ok(rrt__path_join(path, folder, "tokenizer.json", &err));
    assert_ok(rrt__json_read(&json, path, &err));
    json_t *vocab = json_object_get(json_object_get(json, "model"), "vocab");
    json_int_t a = json_integer_value(json_object_get(vocab, "a"));
    json_int_t c = json_integer_value(json_object_get(vocab, "c"));
    assert_true(a > 0 && c > 0);
    json_object_set_new(vocab, "a", json_integer(c));
    json_object_set_new(vocab, "c", json_integer(a));
    assert_ok(rrt__json_write(json, path, &err));
    json_decref(json);
    rrt_model *model = open_golden("llama"), *other = open_path(folder);
    remove_folder(folder);
    rrt_eval_kl_result kl;
    const int32_t ids[4] = {1, 2, 3, 4};
    assert_fails(RRT_STATUS_MISMATCH, "'a' in one, 'c' in the other",
                 rrt_eval_kl(model, other, ids, 4, NULL, &kl, &err));
    rrt_model_close(other);
    rrt_model_close(model);
}

static void impossible_evaluations_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = open_golden("llama");
    rrt_eval_ppl_result result;
    rrt_eval_kl_result kl;
    const int32_t ids[4] = {1, 2, 3, 4}, bad[4] = {1, 97, 3, 4};
    assert_fails(RRT_STATUS_ARGUMENT, "129",
                 rrt_eval_ppl(model, ids, 4, &(rrt_eval_options){.context = 129}, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "1 tokens",
                 rrt_eval_ppl(model, ids, 1, &(rrt_eval_options){.context = 8}, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "",
                 rrt_eval_ppl(model, ids, 4, &(rrt_eval_options){.context = 1}, &result, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "97",
                 rrt_eval_ppl(model, bad, 4, &(rrt_eval_options){.context = 8}, &result, &err));
    const rrt_progress progress = {stop_at_once, NULL};
    assert_fails(
        RRT_STATUS_CANCELLED, "",
        rrt_eval_ppl(model, ids, 4, &(rrt_eval_options){.context = 2, .progress = &progress}, &result, &err));

    rrt__shape shape = model->shape;
    shape.vocab = 96;
    rrt_model *other;
    assert_ok(rrt__model_allocate(&other, model->family, &shape, &model->plan, RRT__NORMS_TIED, &err));
    assert_fails(RRT_STATUS_MISMATCH, "96",
                 rrt_eval_kl(model, other, ids, 4, &(rrt_eval_options){.context = 4}, &kl, &err));
    rrt_model_close(other);

    model->final_norm.gain[0] = INFINITY;
    assert_fails(RRT_STATUS_NUMERIC, "finite",
                 rrt_eval_ppl(model, ids, 4, &(rrt_eval_options){.context = 4}, &result, &err));
    rrt_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perplexity_equals_the_golden),
        cmocka_unit_test(windows_score_what_a_cut_by_hand_scores),
        cmocka_unit_test(bos_takes_a_place_in_every_window),
        cmocka_unit_test(batching_changes_nothing),
        cmocka_unit_test(kl_equals_that_of_transformers),
        cmocka_unit_test(several_models_get_what_each_gets_alone),
        cmocka_unit_test(kl_with_itself_is_zero),
        cmocka_unit_test(kl_of_a_disturbed_model_equals_a_sum_in_double),
        cmocka_unit_test(padding_rows_change_no_kl),
        cmocka_unit_test(kl_across_tokenizers_is_refused),
        cmocka_unit_test(fewer_loops_are_the_shorter_model),
        cmocka_unit_test(f32_keys_and_values_change_nothing_and_f16_little),
        cmocka_unit_test(impossible_evaluations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
