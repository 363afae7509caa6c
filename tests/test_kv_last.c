// Loops that read the last loop's keys and values of older blocks (--kv last:W): logits and texts against
// PyTorch (tools/looped_models.py, LastLoop), the same bits in chunks of any size, in batches, and after a
// shared prefix.
#include "engines.h"
#include "looped.h"
#include "rrt/eval.h"

enum { LONG = 150 };

static rrt_model *open_last(const char *name, size_t window)
{
    rrt_error err = {0};
    rrt_model *model;
    char path[4096], kv[32];
    snprintf(path, sizeof path, "%s/models/%s", RRT_TEST_DATA, name);
    snprintf(kv, sizeof kv, "last:%zu", window);
    assert_ok(rrt_model_open(&model, path, &(rrt_open_options){.kv = kv}, &err));
    return model;
}

static json_t *open_wanted(const char *name)
{
    rrt_error err = {0};
    json_t *wanted;
    char path[4096];
    snprintf(path, sizeof path, "%s/models/%s/last-loop.json", RRT_TEST_DATA, name);
    assert_ok(rrt__json_read(&wanted, path, &err));
    return wanted;
}

static size_t read_ids(int32_t *ids, const json_t *list)
{
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value) ids[i] = (int32_t)json_integer_value(value);
    return json_array_size(list);
}

// Logits after the ids, appended in pieces of `chunk`.
static void logits_in_chunks(float *logits, const rrt_model *model, const int32_t *ids, size_t count,
                             size_t chunk, const char *kv_type)
{
    rrt_error err = {0};
    rrt_session *session;
    assert_ok(
        rrt_session_open(&session, model, &(rrt_session_options){.threads = 2, .kv_type = kv_type}, &err));
    for (size_t at = 0; at < count; at += chunk)
        assert_ok(rrt_session_append(session, ids + at, count - at < chunk ? count - at : chunk, &err));
    memcpy(logits, rrt_session_logits(session), model->shape.vocab * sizeof *logits);
    rrt_session_close(session);
}

static void check_logits(const char *name, const json_t *wanted)
{
    rrt_model *model = open_last(name, (size_t)json_integer_value(json_object_get(wanted, "window")));
    int32_t ids[LONG], rows[16];
    size_t vocab = model->shape.vocab, n_rows = read_ids(rows, json_object_get(wanted, "rows"));
    float *expected = must_alloc(n_rows * vocab, sizeof *expected), *got = must_alloc(vocab, sizeof *got);
    read_ids(ids, json_object_get(wanted, "prompt"));
    read_rows(expected, json_object_get(wanted, "logits"));
    for (size_t r = 0; r < n_rows; r++) {
        logits_in_chunks(got, model, ids, (size_t)rows[r] + 1, LONG, "f32");
        double difference = max_difference(got, expected + r * vocab, vocab);
        if (!(difference <= TOLERANCE))
            fail_msg("%s, window %zu, token %d: logits are off by %g", name, model->kv_window, rows[r],
                     difference);
    }
    free(expected), free(got);
    rrt_model_close(model);
}

// The text, with exits by the gate where there is one, alone and beside itself.
static void check_text(const char *name, const json_t *wanted)
{
    rrt_model *model = open_last(name, (size_t)json_integer_value(json_object_get(wanted, "window")));
    int32_t prompt[LONG], ids[LONG], depths[LONG];
    size_t count = read_ids(prompt, json_object_get(wanted, "prompt")),
           made = read_ids(ids, json_object_get(wanted, "ids"));
    read_ids(depths, json_object_get(wanted, "depths"));
    rrt_engine *engine =
        open_engine(model, (rrt_engine_options){.threads = 2, .kv_type = "f32", .requests = 3, .rows = 10});
    heard heard_of[3] = {0};
    for (int i = 0; i < 3; i++)
        submit(engine,
               (rrt_request){.prompt = prompt,
                             .prompt_tokens = count,
                             .max_tokens = made,
                             .exit = model->gates ? "gate:0.27" : NULL},
               &heard_of[i]);
    run_engine(engine);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(heard_of[i].count, made);
        for (size_t t = 0; t < made; t++)
            if (heard_of[i].ids[t] != ids[t] || heard_of[i].loops[t] != depths[t])
                fail_msg("%s, window %zu: token %zu is %d after %d loops, not %d after %d", name,
                         model->kv_window, t, heard_of[i].ids[t], heard_of[i].loops[t], ids[t], depths[t]);
    }
    rrt_engine_close(engine);
    rrt_model_close(model);
}

static void logits_and_texts_match_pytorch(void **state)
{
    (void)state;
    static const char *const calm[] = {"nanbeige-calm", "ouro-calm"};
    for (int n = 0; n < 2; n++) {
        json_t *all = open_wanted(calm[n]), *wanted;
        size_t i;
        json_array_foreach(all, i, wanted)
        {
            check_logits(calm[n], wanted);
            check_text(calm[n], wanted);
        }
        json_decref(all);
    }
}

static const size_t windows[] = {0, 16, 48, 256};
enum { WINDOWS = sizeof windows / sizeof *windows };

static void chunks_do_not_change_a_bit(void **state)
{
    (void)state;
    const char *const types[] = {"f16", "f32", "q8_0", "f16/q8_0"};
    const size_t chunks[] = {1, 7, 64, 512};
    for (int w = 0; w < WINDOWS; w++) {
        rrt_model *model = open_last("ouro", windows[w]);
        size_t vocab = model->shape.vocab;
        int32_t ids[LONG];
        float *first = must_alloc(vocab, sizeof *first), *other = must_alloc(vocab, sizeof *other);
        fill_prompt(ids, LONG, 3, model);
        for (int t = 0; t < 4; t++) {
            logits_in_chunks(first, model, ids, LONG, chunks[0], types[t]);
            for (int c = 1; c < 4; c++) {
                logits_in_chunks(other, model, ids, LONG, chunks[c], types[t]);
                assert_memory_equal(other, first, vocab * sizeof *first);
            }
        }
        free(first), free(other);
        rrt_model_close(model);
    }
}

// Requests that begin alike, one after another and all at once.
static void shared_prefixes_do_not_change_a_bit(void **state)
{
    (void)state;
    enum { REQUESTS = 5, MADE = 30 };
    for (int w = 0; w < WINDOWS; w++) {
        rrt_model *model = open_last("ouro", windows[w]);
        int32_t prompts[REQUESTS][LONG];
        heard alone[REQUESTS] = {0}, shared[REQUESTS] = {0};
        for (int i = 0; i < REQUESTS; i++) {
            fill_prompt(prompts[i], LONG, 3, model);
            for (int at = 20 * i + 40; at < LONG; at++) prompts[i][at] = (prompts[i][at] + i) % 97;
        }
        for (int with = 0; with < 2; with++) {
            rrt_engine *engine = open_engine(model, (rrt_engine_options){.threads = 1 + with,
                                                                         .requests = 4,
                                                                         .rows = with ? 100 : 30,
                                                                         .no_prefix_reuse = !with});
            for (int i = 0; i < REQUESTS; i++) {
                heard *h = with ? &shared[i] : &alone[i];
                submit(engine,
                       (rrt_request){.prompt = prompts[i], .prompt_tokens = LONG - 10, .max_tokens = MADE},
                       h);
                if (!with || i % 2 == 0) run_engine(engine);
            }
            run_engine(engine);
            rrt_engine_close(engine);
        }
        for (int i = 0; i < REQUESTS; i++) {
            assert_heard_equal(&shared[i], &alone[i]);
            assert_memory_equal(shared[i].logprobs, alone[i].logprobs, MADE * sizeof *alone[i].logprobs);
        }
        size_t cached = shared[4].stats.cached_tokens, window = windows[w] ? windows[w] : 16;
        assert_int_equal(cached, 112 / window * window); // tokens 0 to 119 are those of the first
        rrt_model_close(model);
    }
}

static void evaluation_reads_what_decoding_does(void **state)
{
    (void)state;
    for (int w = 0; w < WINDOWS; w++) {
        rrt_error err = {0};
        rrt_model *model = open_last("ouro", windows[w]);
        size_t vocab = model->shape.vocab;
        int32_t ids[LONG];
        float *logits = must_alloc(LONG * vocab, sizeof *logits);
        double loss = 0;
        rrt_eval_ppl_result result;
        fill_prompt(ids, LONG, 3, model);
        step_logits(logits, model, ids, LONG - 1, &(rrt_session_options){.threads = 1});
        for (size_t i = 0; i + 1 < LONG; i++) {
            double sum = 0;
            for (size_t v = 0; v < vocab; v++) sum += exp(logits[i * vocab + v]);
            loss += log(sum) - logits[i * vocab + (size_t)ids[i + 1]];
        }
        assert_ok(rrt_eval_ppl(model, ids, LONG, &(rrt_eval_options){.context = LONG, .threads = 2}, &result,
                               &err));
        assert_near(log(result.ppl), loss / (LONG - 1), 1e-4);
        free(logits);
        rrt_model_close(model);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"last:",    "last:5", "last:-16", "last: 16",
                                        "last:16x", "lastly", "copy",     "last:99999999999999999999"};
    rrt_error err = {0};
    rrt_model *model;
    char path[4096];
    snprintf(path, sizeof path, "%s/models/ouro", RRT_TEST_DATA);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(rrt_model_open(&model, path, &(rrt_open_options){.kv = wrong[i]}, &err),
                         RRT_STATUS_ARGUMENT);
    snprintf(path, sizeof path, "%s/models/llama", RRT_TEST_DATA);
    assert_int_equal(rrt_model_open(&model, path, &(rrt_open_options){.kv = "last"}, &err),
                     RRT_STATUS_UNSUPPORTED);
    model = open_last("ouro", 16);
    uint64_t id;
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.threads = 1});
    const int32_t one = 1;
    rrt_request request = {.prompt = &one, .prompt_tokens = 1, .max_tokens = 2, .kv = "propagate"};
    assert_int_equal(rrt_engine_submit(engine, &request, &id, &err), RRT_STATUS_UNSUPPORTED);
    request = (rrt_request){.prompt = &one,
                            .prompt_tokens = 1,
                            .max_tokens = 2,
                            .draft_loops = 1,
                            .draft_tokens = 2,
                            .kv = "last"};
    assert_int_equal(rrt_engine_submit(engine, &request, &id, &err), RRT_STATUS_UNSUPPORTED);
    rrt_engine_close(engine);
    rrt_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_texts_match_pytorch),
        cmocka_unit_test(chunks_do_not_change_a_bit),
        cmocka_unit_test(shared_prefixes_do_not_change_a_bit),
        cmocka_unit_test(evaluation_reads_what_decoding_does),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
