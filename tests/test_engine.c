// The engine against the decoder that runs one token after the other (test_exits.c holds that one to the
// truth), bit for bit: quantised models give the same logits whatever runs beside them.
#include "engines.h"
#include "pass/decoder.h"

static const layout layouts[] = {
    {3, 2, 1, 1, false}, {2, 2, 0, 0, false}, {3, 1, 0, 2, false}, {3, 2, 0, 1, true}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts, PROMPT = 21, MADE = 12 };

// --- what a request should get
// -----------------------------------------------------------------------------------

typedef struct alone {
    rrt__decoder decoder;
    rrt__span span;
    int32_t id;
} alone;

static void run_alone(rrt__team team, void *argument)
{
    alone *a = argument;
    rrt__decoder_step(team, &a->decoder, &a->span, 1, &a->id, NULL);
}

// Greedy, the prompt through all loops.
static void expect(heard *h, const rrt_model *model, const rrt_request *r, const char *rule_text,
                   const char *kv_type)
{
    rrt_error err = {0};
    rrt__kv_types types;
    rrt__exit_rule rule = {RRT__EXIT_LOOPS, RRT__MAX_DEPTHS};
    rrt__kv_policy policy;
    rrt__sequence sequence;
    alone a;
    *h = (heard){.finish = RRT_FINISH_LENGTH};
    assert_ok(rrt__kv_types_parse(&types, kv_type, &err));
    assert_ok(rrt__kv_policy_parse(&policy, r->kv, model, &err));
    if (rule_text) assert_ok(rrt__exit_rule_parse(&rule, rule_text, model, policy, types, &err));
    assert_ok(rrt__decoder_create(&a.decoder, model, &rule, policy, 1, 64, 1, &err));
    rrt__sequence_init(&sequence, model, types, model->shape.context);
    assert_ok(rrt__sequence_reserve(&sequence, 64, &err));
    for (size_t i = 0; i < r->prompt_tokens + r->max_tokens - 1; i++) {
        a.id = i < r->prompt_tokens ? r->prompt[i] : h->ids[i - r->prompt_tokens];
        a.span = (rrt__span){&sequence, i, 1};
        a.decoder.rule.limit = i < r->prompt_tokens ? INFINITY : rule.limit;
        rrt__team_run(1, run_alone, &a);
        if (i + 1 < r->prompt_tokens) continue;
        h->loops[h->count] = a.decoder.left[0];
        h->ids[h->count++] = (int32_t)rrt__argmax(a.decoder.logits, model->shape.vocab);
    }
    rrt__sequence_free(&sequence);
    rrt__decoder_free(&a.decoder);
}

// --- exits and policies
// ------------------------------------------------------------------------------------------

static const char *const rules[] = {NULL,          "loops:1",   "confidence:0.05", "margin:0.01",
                                    "entropy:4.5", "unchanged", "state:0.6",       "gate:0.5"};
enum { RULES = 8 };

static const char *const kv_types[] = {"f16", "f32", "q8_0", "f16/q8_0"};
enum { KV_TYPES = sizeof kv_types / sizeof *kv_types };

// All rules side by side in one engine, with few rows, so that prompts come in pieces.
static int check_rules_of(const rrt_model *model, const char *kv, const char *kv_type, rrt_batching batching,
                          int threads)
{
    heard got[RULES] = {{{0}}}, expected[RULES];
    int32_t prompts[RULES][PROMPT + RULES];
    rrt_request requests[RULES];
    int early = 0;
    rrt_engine *engine = open_engine(
        model, (rrt_engine_options){
                   .threads = threads, .requests = 5, .rows = 9, .batching = batching, .kv_type = kv_type});
    for (int i = 0; i < RULES; i++) {
        fill_prompt(prompts[i], PROMPT + RULES, (size_t)i, model);
        requests[i] = (rrt_request){.prompt = prompts[i],
                                    .prompt_tokens = PROMPT + (size_t)i,
                                    .max_tokens = MADE,
                                    .ignore_end = 1,
                                    .exit = rules[i],
                                    .kv = kv};
        submit(engine, requests[i], &got[i]);
    }
    run_engine(engine);
    for (int i = 0; i < RULES; i++) {
        bool exits = batching == RRT_BATCHING_DEPTH || batching == RRT_BATCHING_SEQUENCE_EXIT;
        expect(&expected[i], model, &requests[i], exits ? rules[i] : NULL, kv_type);
        assert_heard_equal(&got[i], &expected[i]);
        assert_int_equal(got[i].endings, 1);
        for (int t = 1; t < got[i].count; t++) early += got[i].loops[t] < got[i].loops[0];
    }
    rrt_engine_stats stats;
    rrt_engine_describe(engine, &stats);
    assert_int_equal(stats.pages_used, 0);
    assert_int_equal(stats.generated_tokens, RULES * MADE);
    rrt_engine_close(engine);
    return early;
}

static int check_rules(const rrt_model *model, const char *kv, rrt_batching batching, int threads)
{
    int early = 0;
    for (int i = 0; i < KV_TYPES; i++) early += check_rules_of(model, kv, kv_types[i], batching, threads);
    return early;
}

static void every_rule_and_policy_matches_the_decoder(void **state)
{
    (void)state;
    static const char *const policies[] = {"propagate", "copy", "recompute"};
    for (int l = 0; l < LAYOUTS; l++)
        for (int tied = 0; tied < (layouts[l].norms_loops ? 1 : 2); tied++) {
            rrt_model *model = build_packed(&layouts[l], tied, false);
            for (int p = 0; p < 3; p++) {
                assert_true(check_rules(model, policies[p], RRT_BATCHING_DEPTH, 1 + p % 2) > 15);
                check_rules(model, policies[p], RRT_BATCHING_SEQUENCE_EXIT, 1);
            }
            check_rules(model, NULL, RRT_BATCHING_SEQUENCE, 1);
            check_rules(model, NULL, RRT_BATCHING_STATIC, 2);
            rrt_model_close(model);
        }
}

static void shared_keys_and_values_match_the_decoder(void **state)
{
    (void)state;
    for (int l = 0; l < LAYOUTS; l++) {
        rrt_model *model = build_packed(&layouts[l], false, true);
        check_rules(model, "shared", RRT_BATCHING_DEPTH, 2);
        check_rules(model, "recompute", RRT_BATCHING_DEPTH, 1);
        rrt_model_close(model);
    }
}

// --- company, chunks, drafts
// -------------------------------------------------------------------------------------

enum { MANY = 32 };

// The engine's counters are the sums of its requests'.
static void assert_counts_add_up(const heard *got, const rrt_engine *engine)
{
    rrt_engine_stats all;
    size_t cached = 0, drafted = 0, accepted = 0;
    rrt_engine_describe(engine, &all);
    for (int i = 0; i < MANY; i++) {
        assert_true(got[i].stats.accepted <= got[i].stats.drafted);
        assert_true(got[i].stats.accepted <= (size_t)got[i].count);
        cached += got[i].stats.cached_tokens;
        drafted += got[i].stats.drafted;
        accepted += got[i].stats.accepted;
    }
    assert_int_equal(all.cached_tokens, cached);
    assert_int_equal(all.drafted, drafted);
    assert_int_equal(all.accepted, accepted);
}

// As they are given, but for the type of keys and values, which all of a comparison have in common.
static const char *many_kv_type;

static void run_many(heard *got, const rrt_model *model, rrt_engine_options options, rrt_request like)
{
    static int32_t prompts[MANY][PROMPT];
    options.kv_type = many_kv_type;
    rrt_engine *engine = open_engine(model, options);
    for (size_t i = 0; i < MANY; i++) {
        fill_prompt(prompts[i], PROMPT, i, model);
        got[i] = (heard){0};
        like.prompt = prompts[i];
        like.prompt_tokens = 1 + i % PROMPT;
        like.max_tokens = 1 + i * 7 % 20;
        like.ignore_end = 1;
        like.sampling.seed = i;
        submit(engine, like, &got[i]);
    }
    run_engine(engine);
    assert_counts_add_up(got, engine);
    rrt_engine_close(engine);
}

static void assert_same_many(const heard *a, const heard *b)
{
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(a[i].count, b[i].count);
        assert_memory_equal(a[i].ids, b[i].ids, (size_t)a[i].count * sizeof *a[i].ids);
    }
}

// One at a time, 7, 32; a row a step for prompts, or all at once; four ways of batching; drafts of some
// loops; greedy and not: always the same tokens.
static void tokens_depend_on_the_request_alone(void **state)
{
    (void)state;
    static heard expected[MANY], got[MANY];
    for (int l = 0; l < LAYOUTS; l++)
        for (int sampled = 0; sampled < 2; sampled++) {
            rrt_model *model = build_packed(&layouts[l], l == 1, false);
            rrt_request like = {.sampling = {.temperature = (float)sampled}};
            many_kv_type = kv_types[(l + sampled) % KV_TYPES];
            run_many(expected, model, (rrt_engine_options){.threads = 1, .requests = 1, .no_prefix_reuse = 1},
                     like);
            for (int way = 0; way < 4; way++) {
                run_many(got, model,
                         (rrt_engine_options){.requests = 7, .rows = 8, .batching = (rrt_batching)way}, like);
                assert_same_many(got, expected);
                run_many(got, model,
                         (rrt_engine_options){
                             .threads = 1 + way % 2, .requests = 32, .batching = (rrt_batching)way},
                         like);
                assert_same_many(got, expected);
            }
            setenv("RRT_KERNELS", "reference", 1);
            run_many(got, model, (rrt_engine_options){.requests = 7}, like);
            assert_same_many(got, expected);
            unsetenv("RRT_KERNELS");
            for (int drafts = 1; drafts < 4; drafts++) {
                like.draft_loops = 1 + drafts % (layouts[l].loops - 1);
                like.draft_tokens = 2 * drafts;
                // The fewest rows: no room for all drafts.
                run_many(got, model, (rrt_engine_options){.requests = 6, .rows = drafts == 1 ? 6 : 0}, like);
                assert_same_many(got, expected);
                assert_true(got[MANY - 1].stats.drafted > 0);
            }
            rrt_model_close(model);
        }
    many_kv_type = NULL;
}

// A model without loops, in f32.
static void a_model_without_loops_matches_the_session(void **state)
{
    (void)state;
    static heard got[MANY], expected[MANY];
    rrt_error err = {0};
    rrt_model *model = open_golden("neox");
    run_many(expected, model, (rrt_engine_options){.threads = 1, .requests = 1}, (rrt_request){0});
    run_many(got, model, (rrt_engine_options){.requests = 7, .rows = 8}, (rrt_request){0});
    assert_same_many(got, expected);
    // In two halves, with drafts by the first layers and without.
    for (int layers = 1; layers < model->plan.n_depths; layers++)
        for (int drafts = 0; drafts < 3; drafts++) {
            run_many(
                got, model,
                (rrt_engine_options){
                    .threads = 1 + layers % 2, .requests = 7, .rows = drafts ? 0 : 8, .draft_layers = layers},
                (rrt_request){.draft_loops = drafts > 0, .draft_tokens = 3 * drafts});
            assert_same_many(got, expected);
            assert_int_equal(got[MANY - 1].stats.drafted > 0, drafts > 0);
        }
    rrt_session *session; // and the session that evaluation uses agrees
    int32_t prompt[PROMPT];
    fill_prompt(prompt, PROMPT, 5, model);
    assert_ok(rrt_session_open(&session, model, NULL, &err));
    assert_ok(rrt_session_append(session, prompt, 6, &err));
    assert_int_equal(rrt__argmax(rrt_session_logits(session), model->shape.vocab), expected[5].ids[0]);
    rrt_session_close(session);
    rrt_model_close(model);
}

// --- pages
// ---------------------------------------------------------------------------------------------------

static void a_known_prefix_is_reused(void **state)
{
    (void)state;
    rrt_model *model = build_packed(&layouts[0], false, false);
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.requests = 4});
    int32_t prompt[MAX_TOKENS];
    rrt_engine_stats stats;
    heard first = {0}, again = {0}, longer = {0}, other = {0}, reference = {0};
    fill_prompt(prompt, MAX_TOKENS, 3, model);
    rrt_request r = {.prompt = prompt, .prompt_tokens = 50, .max_tokens = 30, .ignore_end = 1};
    submit(engine, r, &first);
    run_engine(engine);
    uint64_t id = submit(engine, r, &again);
    run_engine(engine);
    assert_heard_equal(&again, &first);
    assert_int_equal(first.stats.cached_tokens, 0);
    assert_int_equal(again.stats.cached_tokens, 48);
    rrt_engine_describe_request(engine, id, &again.stats);
    assert_int_equal(again.stats.cached_tokens, 0); // it is over
    // The next turn: prompt, reply, and more.
    memcpy(prompt + 50, first.ids, 30 * sizeof *prompt);
    r.prompt_tokens = 90;
    submit(engine, r, &longer);
    run_engine(engine);
    assert_int_equal(longer.stats.cached_tokens, 64); // 79 tokens ran: four pages
    rrt_engine *fresh = open_engine(model, (rrt_engine_options){.requests = 1, .no_prefix_reuse = 1});
    submit(fresh, r, &reference);
    run_engine(fresh);
    assert_heard_equal(&longer, &reference);
    rrt_engine_close(fresh);
    // With other loops, other keys and values.
    r.loops = 1;
    submit(engine, r, &other);
    run_engine(engine);
    assert_int_equal(other.stats.cached_tokens, 0);
    rrt_engine_describe(engine, &stats);
    assert_int_equal(stats.cached_tokens, 48 + 64);
    rrt_engine_close(engine);
    rrt_model_close(model);
}

// Fewer pages than requests want: they wait in order, and all are answered.
static void too_few_pages_change_no_token(void **state)
{
    (void)state;
    static heard expected[MANY], got[MANY];
    rrt_model *model = build_packed(&layouts[0], false, false);
    run_many(expected, model, (rrt_engine_options){.requests = 1}, (rrt_request){0});
    run_many(got, model, (rrt_engine_options){.requests = 32, .kv_tokens = 64}, (rrt_request){0});
    assert_same_many(got, expected);
    rrt_model_close(model);
}

// What does not fit in free memory is told at once, and what does is known.
static void pages_beyond_free_memory_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = build_packed(&layouts[0], false, false);
    rrt_engine_stats stats;
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.kv_tokens = 16});
    rrt_engine_describe(engine, &stats);
    size_t page = stats.kv_bytes_per_token * 16, context = model->shape.context, fits;
    rrt_engine_close(engine);
    rrt__memory_available_max = page * 3;
    assert_ok(rrt_engine_tokens_that_fit(&fits, model, NULL, &err));
    assert_int_equal(fits, 32);
    assert_fails(RRT_STATUS_MEMORY, "keys and values of 64 tokens",
                 rrt_engine_open(&engine, model, &(rrt_engine_options){.kv_tokens = 64}, &err));
    rrt__memory_available_max = SIZE_MAX;
    assert_ok(rrt_engine_tokens_that_fit(&fits, model, NULL, &err));
    assert_int_equal(fits, context);
    rrt_model_close(model);
}

// A token's bytes: keys and values of all depths. f16 is the default, and half of f32; a block of q8_0, here
// a head, has a scale of two bytes.
static void bytes_of_a_token_are_those_of_its_types(void **state)
{
    (void)state;
    static const char *const types[] = {NULL, "f16", "f32", "q8_0", "f16/q8_0"};
    rrt_model *model = build_packed(&layouts[0], false, false);
    const rrt__shape *s = &model->shape;
    size_t heads = (size_t)model->plan.n_depths * s->kv_heads, d = s->head_dim;
    const size_t expected[] = {4 * d, 4 * d, 8 * d, 2 * (d + 2), 2 * d + d + 2};
    for (int i = 0; i < 5; i++) {
        rrt_engine_stats stats;
        rrt_engine *engine = open_engine(model, (rrt_engine_options){.requests = 1, .kv_type = types[i]});
        rrt_engine_describe(engine, &stats);
        assert_int_equal(stats.kv_bytes_per_token, heads * expected[i]);
        rrt_engine_close(engine);
    }
    rrt_model_close(model);
}

// --- probabilities, endings, refusals
// ----------------------------------------------------------------------------

static void logprobs_are_those_of_the_session(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = build_packed(&layouts[0], false, false);
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.requests = 2, .rows = 7});
    int32_t prompt[PROMPT];
    heard h = {0}, only = {0};
    fill_prompt(prompt, PROMPT, 1, model);
    rrt_request r = {.prompt = prompt,
                     .prompt_tokens = PROMPT,
                     .max_tokens = 3,
                     .ignore_end = 1,
                     .wants_logprobs = 1,
                     .wants_prompt_logprobs = 1,
                     .top_logprobs = 2};
    submit(engine, r, &h);
    r.max_tokens = 0;
    submit(engine, r, &only);
    run_engine(engine);
    assert_int_equal(h.prompt_count, PROMPT);
    assert_int_equal(only.prompt_count, PROMPT);
    assert_int_equal(only.count, 0);
    assert_int_equal(only.finish, RRT_FINISH_LENGTH);
    assert_true(isnan(h.prompt_logprobs[0]));
    rrt_session *session;
    assert_ok(rrt_session_open(&session, model, NULL, &err));
    for (int i = 0; i + 1 < PROMPT + 3; i++) {
        int32_t id = i < PROMPT ? prompt[i] : h.ids[i - PROMPT],
                next = i + 1 < PROMPT ? prompt[i + 1] : h.ids[i + 1 - PROMPT];
        assert_ok(rrt_session_append(session, &id, 1, &err));
        const float *logits = rrt_session_logits(session);
        double logprob = logits[next] - rrt__kernels_get()->log_sum_exp(logits, model->shape.vocab);
        assert_near(i + 1 < PROMPT ? h.prompt_logprobs[i + 1] : h.logprobs[i + 1 - PROMPT], logprob, 1e-6);
    }
    rrt_session_close(session);
    rrt_engine_close(engine);
    rrt_model_close(model);
}

static void requests_end_by_length_cancellation_or_callback(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = build_packed(&layouts[0], false, false);
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.requests = 1, .max_waiting = 2});
    int32_t prompt[PROMPT];
    heard runs = {0}, waits = {0}, third = {0}, leaves = {.leave_after = 3};
    bool busy;
    uint64_t full;
    fill_prompt(prompt, PROMPT, 1, model);
    rrt_request r = {.prompt = prompt, .prompt_tokens = 4, .max_tokens = 50, .ignore_end = 1};
    uint64_t a = submit(engine, r, &runs);
    for (int i = 0; i < 9; i++) assert_ok(rrt_engine_step(engine, &busy, &err));
    uint64_t b = submit(engine, r, &waits);
    submit(engine, r, &third);
    assert_ok(rrt_engine_submit(engine, &r, &full, &err));
    assert_int_equal(full, 0); // the queue has two
    rrt_engine_cancel(engine, a);
    rrt_engine_cancel(engine, b);
    rrt_engine_cancel(engine, 999);
    assert_int_equal(runs.finish, RRT_FINISH_CANCELLED);
    assert_int_equal(waits.finish, RRT_FINISH_CANCELLED);
    assert_true(runs.count > 0);
    submit(engine, r, &leaves);
    run_engine(engine);
    assert_int_equal(third.count, 50);
    assert_int_equal(leaves.count, 3); // its callback said so
    assert_int_equal(leaves.endings, 0);
    rrt_engine_stats stats;
    rrt_engine_describe(engine, &stats);
    assert_int_equal(stats.pages_used, 0);
    assert_int_equal(stats.running + stats.waiting, 0);
    submit(engine, r, &(heard){0}); // closing with work left leaks nothing
    rrt_engine_close(engine);
    rrt_model_close(model);
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    uint64_t id;
    int32_t prompt[MAX_TOKENS] = {0};
    rrt_model *model = build_packed(&layouts[0], false, false), *plain = open_golden("llama");
    rrt_engine *engine = open_engine(model, (rrt_engine_options){.kv_tokens = 32}),
               *other = open_engine(plain, (rrt_engine_options){0});
    const rrt_request good = {.prompt = prompt, .prompt_tokens = 4, .max_tokens = 4};
#define assert_refused(status, text, engine_, ...)                                                           \
    do {                                                                                                     \
        rrt_request r = good;                                                                                \
        __VA_ARGS__;                                                                                         \
        assert_fails(status, text, rrt_engine_submit(engine_, &r, &id, &err));                               \
    } while (0)
    assert_refused(RRT_STATUS_ARGUMENT, "empty", engine, r.prompt_tokens = 0);
    assert_refused(RRT_STATUS_ARGUMENT, "context", engine, r.prompt_tokens = MAX_TOKENS);
    assert_refused(RRT_STATUS_ARGUMENT, "pages", engine, r.prompt_tokens = 40);
    assert_refused(RRT_STATUS_ARGUMENT, "vocabulary", engine, r.prompt = (int32_t[]){-1, 0, 0, 0});
    assert_refused(RRT_STATUS_ARGUMENT, "temperature", engine, r.sampling.temperature = -1);
    assert_refused(RRT_STATUS_ARGUMENT, "top_logprobs", engine, r.top_logprobs = 33);
    assert_refused(RRT_STATUS_ARGUMENT, "not known", engine, r.exit = "soon");
    assert_refused(RRT_STATUS_UNSUPPORTED, "oracle", engine, r.exit = "oracle");
    assert_refused(RRT_STATUS_ARGUMENT, "not known", engine, r.kv = "none");
    assert_refused(RRT_STATUS_ARGUMENT, "4", engine, r.loops = 4);
    assert_refused(RRT_STATUS_ARGUMENT, "min_loops", engine, r.min_loops = 4);
    assert_refused(RRT_STATUS_ARGUMENT, "1 to 2", engine, r.draft_loops = 3, r.draft_tokens = 2);
    assert_refused(RRT_STATUS_ARGUMENT, "1 to 16", engine, r.draft_loops = 1);
    assert_refused(RRT_STATUS_ARGUMENT, "no exit rule", engine, r.draft_loops = 1, r.draft_tokens = 2,
                   r.exit = "loops:1");
    assert_refused(RRT_STATUS_UNSUPPORTED, "boundary", other, r.draft_loops = 1, r.draft_tokens = 2);
    assert_refused(RRT_STATUS_UNSUPPORTED, "boundary", other, r.exit = "unchanged");
    assert_refused(RRT_STATUS_UNSUPPORTED, "boundary", other, r.loops = 2);
    rrt_engine *none, *halves = open_engine(plain, (rrt_engine_options){.draft_layers = 1});
    assert_refused(RRT_STATUS_ARGUMENT, "no exit trace", halves, r.exit_trace = (unsigned char[64]){1});
    assert_refused(RRT_STATUS_ARGUMENT, "1 to 1", halves, r.draft_loops = 2, r.draft_tokens = 2);
    rrt_engine_close(halves);
    assert_fails(RRT_STATUS_UNSUPPORTED, "draft_loops",
                 rrt_engine_open(&none, model, &(rrt_engine_options){.draft_layers = 1}, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "layers to draft: 1 to",
                 rrt_engine_open(&none, plain, &(rrt_engine_options){.draft_layers = 100}, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "'f8' are not known: f16, f32 or q8_0",
                 rrt_engine_open(&none, model, &(rrt_engine_options){.kv_type = "f8"}, &err));
    assert_null(none);
    rrt_engine_close(engine);
    rrt_engine_close(other);
    rrt_model_close(model);
    rrt_model_close(plain);
}

// Whichever request for memory fails: an error, nothing leaks, and nothing is asked for in a step.
static void steps_allocate_nothing_and_failures_leak_nothing(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = build_packed(&layouts[0], false, false);
    int32_t prompt[PROMPT];
    fill_prompt(prompt, PROMPT, 1, model);
    const rrt_request r = {
        .prompt = prompt, .prompt_tokens = PROMPT, .max_tokens = 20, .draft_loops = 1, .draft_tokens = 3};
    rrt_engine *engine = NULL;
    uint64_t id = 0;
    for (long n = 0; !id; n++) {
        assert_true(n < 1000);
        rrt__memory_fail_after = n;
        rrt_status status = rrt_engine_open(&engine, model, &(rrt_engine_options){.requests = 2}, &err);
        if (!status) status = rrt_engine_submit(engine, &r, &id, &err);
        if (!status) break; // and no memory is left for the steps
        assert_int_equal(status, RRT_STATUS_MEMORY);
        rrt_engine_close(engine);
    }
    run_engine(engine);
    rrt__memory_fail_after = -1;
    rrt_engine_stats stats;
    rrt_engine_describe(engine, &stats);
    assert_true(stats.generated_tokens > 0);
    rrt_engine_close(engine);
    rrt_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_allocate_nothing_and_failures_leak_nothing),
        cmocka_unit_test(every_rule_and_policy_matches_the_decoder),
        cmocka_unit_test(shared_keys_and_values_match_the_decoder),
        cmocka_unit_test(tokens_depend_on_the_request_alone),
        cmocka_unit_test(a_model_without_loops_matches_the_session),
        cmocka_unit_test(a_known_prefix_is_reused),
        cmocka_unit_test(too_few_pages_change_no_token),
        cmocka_unit_test(pages_beyond_free_memory_are_refused),
        cmocka_unit_test(bytes_of_a_token_are_those_of_its_types),
        cmocka_unit_test(logprobs_are_those_of_the_session),
        cmocka_unit_test(requests_end_by_length_cancellation_or_callback),
        cmocka_unit_test(impossible_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
