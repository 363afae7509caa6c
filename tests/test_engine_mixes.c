// Random mixes of requests: lengths, arrivals, cancellations, rules, policies, drafts, few pages, small
// queues. Every request is answered once, in bounded time and as if it were alone; no page is lost. RRT_MIXES
// says how many (default 60): `make mixes` runs ten thousand under AddressSanitizer.
#include "engines.h"

enum { MAX_REQUESTS = 24, VARIANTS = 3, PROMPTS = 4, MODELS = 6, TYPES = 4 };

static const layout layouts[VARIANTS] = {{3, 2, 1, 1}, {2, 2, 0, 0}, {3, 1, 0, 2}};
static const char *const rules[] = {NULL,        "loops:1",   "loops:2", "confidence:0.05",
                                    "unchanged", "state:0.6", "gate:0.5"};
static const char *const policies[] = {"propagate", "copy", "recompute"};
enum { RULES = 7, POLICIES = 3 };

static const char *const kv_types[TYPES] = {"f16", "f32", "q8_0", "f16/q8_0"};

// Beside the layouts: loops that share keys and values, and that read the last one's of older tokens.
static rrt_model *build_model(int i)
{
    static const size_t windows[MODELS] = {0, 0, 0, 0, 1, 32};
    rrt_model *model = build_packed(&layouts[i % VARIANTS], i == 1, i == VARIANTS);
    model->kv_window = windows[i];
    return model;
}

static uint64_t stream, counter;

static size_t draw(size_t below)
{
    return rrt__random_bits(11, stream, counter++) % below;
}

// What was asked, and what came.
typedef struct asked {
    rrt_request request;
    unsigned char trace[MAX_TOKENS];
    heard heard;
    uint64_t id;
    bool is_cancelled;
} asked;

static int32_t prompts[PROMPTS][64];

static rrt_request draw_request(asked *a, const rrt_model *model)
{
    int loops = model->plan.loops;
    rrt_request r = {.prompt = prompts[draw(PROMPTS)],
                     .prompt_tokens = 1 + draw(60),
                     .max_tokens = draw(24),
                     .ignore_end = draw(2) != 0,
                     .sampling = {.temperature = (float)draw(2), .seed = draw(3)},
                     .kv = model->shares_kv || model->kv_window ? NULL : policies[draw(POLICIES)],
                     .wants_prompt_logprobs = draw(6) == 0};
    if (draw(6) == 0) r.loops = 1 + (int)draw((size_t)loops);
    switch (draw(4)) {
    case 0:
        r.exit = rules[draw(RULES)];
        if (r.exit && draw(3) == 0) r.min_loops = r.loops ? 1 : 1 + (int)draw((size_t)loops);
        break;
    case 1:
        if (r.loops || model->kv_window) break;
        r.draft_loops = 1 + (int)draw((size_t)loops - 1);
        r.draft_tokens = 1 + (int)draw(16);
        break;
    case 2:
        for (size_t i = 0; i < r.max_tokens; i++) a->trace[i] = (unsigned char)(1 + draw((size_t)loops));
        r.exit_trace = a->trace;
        break;
    }
    return r;
}

// As if it were alone: what was heard until it was cancelled is the beginning of that.
static void check_alone(rrt_engine *alone, const asked *a)
{
    heard h = {0};
    submit(alone, a->request, &h);
    run_engine(alone);
    assert_true(a->heard.count <= h.count);
    assert_memory_equal(a->heard.ids, h.ids, (size_t)a->heard.count * sizeof *h.ids);
    assert_memory_equal(a->heard.loops, h.loops, (size_t)a->heard.count * sizeof *h.loops);
    if (a->is_cancelled) return;
    assert_int_equal(a->heard.count, h.count);
    assert_int_equal(a->heard.finish, h.finish);
    assert_int_equal(a->heard.prompt_count, h.prompt_count);
}

static void run_mix(const rrt_model *model, const char *kv_type, rrt_engine *alone, bool checks)
{
    static asked all[MAX_REQUESTS];
    rrt_error err = {0};
    size_t count = 1 + draw(MAX_REQUESTS), next = 0, refused = 0;
    rrt_engine *engine =
        open_engine(model, (rrt_engine_options){.threads = 1,
                                                .requests = 1 + draw(8),
                                                .rows = 1 + draw(40),
                                                .kv_tokens = 96 + 16 * draw(30),
                                                .max_waiting = draw(3) ? 0 : 1 + draw(6),
                                                .batching = (rrt_batching)(draw(2) ? 0 : draw(2)),
                                                .coda_steps = (int)draw(4),
                                                .kv_type = kv_type,
                                                .no_prefix_reuse = draw(3) == 0});
    bool busy = true;
    size_t steps = 0, longest = 0;
    while (busy || next < count) {
        while (next < count && draw(3)) {
            asked *a = &all[next++];
            *a = (asked){0};
            a->request = draw_request(a, model);
            a->id = submit(engine, a->request, &a->heard);
            refused += a->id == 0;
            longest += a->request.prompt_tokens + a->request.max_tokens * 18;
        }
        if (next && draw(12) == 0) {
            asked *a = &all[draw(next)];
            a->is_cancelled |= a->heard.endings == 0;
            rrt_engine_cancel(engine, a->id);
        }
        assert_ok(rrt_engine_step(engine, &busy, &err));
        // The bound: all that was asked, one row at a time, with all loops and every draft wrong.
        assert_true(++steps < (longest + 10 * MAX_REQUESTS) * 3 + 1000);
    }
    rrt_engine_stats stats;
    rrt_engine_describe(engine, &stats);
    assert_int_equal(stats.pages_used + stats.running + stats.waiting, 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(all[i].heard.endings, all[i].id ? 1 : 0);
        if (checks && all[i].id) check_alone(alone, &all[i]);
    }
    rrt_engine_close(engine);
}

static void random_mixes_answer_every_request_as_if_alone(void **state)
{
    (void)state;
    size_t mixes = getenv("RRT_MIXES") ? strtoul(getenv("RRT_MIXES"), NULL, 10) : 60;
    rrt_model *models[MODELS];
    rrt_engine *alone[MODELS][TYPES];
    for (int i = 0; i < MODELS; i++) {
        models[i] = build_model(i);
        for (int t = 0; t < TYPES; t++)
            alone[i][t] = open_engine(
                models[i], (rrt_engine_options){
                               .threads = 1, .requests = 1, .no_prefix_reuse = 1, .kv_type = kv_types[t]});
    }
    for (size_t i = 0; i < PROMPTS; i++) fill_prompt(prompts[i], 64, i / 2, models[0]); // some begin alike
    for (size_t i = 0; i < PROMPTS; i++) prompts[i][40] = (int32_t)i;
    for (stream = 0; stream < mixes; stream++) {
        counter = 0;
        size_t variant = draw(MODELS), type = draw(TYPES);
        run_mix(models[variant], kv_types[type], alone[variant][type], draw(4) == 0);
    }
    for (int i = 0; i < MODELS; i++) {
        for (int t = 0; t < TYPES; t++) rrt_engine_close(alone[i][t]);
        rrt_model_close(models[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_mixes_answer_every_request_as_if_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
