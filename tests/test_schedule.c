// Continuous batching without a model: the paper's Figure 3, what enters when, and how long anything waits.
#include "infer/schedule.h"
#include "test.h"

enum { MAX_STEPS = 64, LOOPS = 3 };

// Rows of each loop in each step.
typedef struct trace {
    int rows[MAX_STEPS][LOOPS + 1];
    int steps;
} trace;

typedef struct queue {
    int waiting, arrivals[4];
    bool leaves_early[64]; // by slot: after two loops
    int began;
} queue;

// Requests of one token in 32 rows; some leave after loop 2 where the batching lets them.
static trace run_figure(rrt_batching batching, bool with_exits)
{
    rrt_error err = {0};
    rrt__schedule s;
    trace t = {0};
    queue q = {.arrivals = {16, 32, 8, 0}};
    assert_ok(rrt__schedule_create(&s, batching, 32, 32, LOOPS, &err));
    for (int step = 0; step < 4 || q.waiting || s.n_taken; step++) {
        if (step < 4) q.waiting += q.arrivals[step];
        for (; q.waiting && rrt__schedule_has_slot(&s); q.waiting--) {
            // 8 of the first 16, 8 of the next 16
            bool early = with_exits && (q.began < 8 || (q.began >= 16 && q.began < 24));
            q.leaves_early[rrt__schedule_begin(&s, 1, 0, false)] = early;
            q.began++;
        }
        rrt__schedule_fill(&s);
        assert_true(step < MAX_STEPS);
        bool over[32] = {false};
        for (size_t i = 0; i < s.n_chunks; i++) {
            rrt__chunk *f = &s.chunks[i];
            t.rows[step][f->loop] += (int)f->count;
            f->leaves = f->loop == (q.leaves_early[f->slot] ? 2 : LOOPS);
            over[f->slot] = f->leaves;
        }
        if (s.n_chunks) t.steps = step + 1;
        rrt__schedule_advance(&s);
        for (size_t p = 0; p < 32; p++)
            if (over[p]) rrt__schedule_end(&s, p);
    }
    rrt__schedule_free(&s);
    return t;
}

static void assert_steps(const trace *t, int steps, const int expected[][LOOPS + 1])
{
    assert_int_equal(t->steps, steps);
    for (int i = 0; i < steps; i++)
        for (int loop = 1; loop <= LOOPS; loop++) assert_int_equal(t->rows[i][loop], expected[i][loop]);
}

// Arrivals of 16, 32 and 8 at the first three steps.
static void figure_3_takes_the_papers_steps(void **state)
{
    (void)state;
    static const int vanilla[][LOOPS + 1] = {{0, 16}, {0, 0, 16}, {0, 0, 0, 16},
                                             {0, 32}, {0, 0, 32}, {0, 0, 0, 32},
                                             {0, 8},  {0, 0, 8},  {0, 0, 0, 8}};
    static const int depth[][LOOPS + 1] = {{0, 16},       {0, 16, 16},   {0, 0, 16, 16}, {0, 16, 0, 16},
                                           {0, 8, 16, 0}, {0, 0, 8, 16}, {0, 0, 0, 8}};
    static const int exits[][LOOPS + 1] = {{0, 16},       {0, 16, 16},   {0, 8, 16, 8},
                                           {0, 16, 8, 8}, {0, 0, 16, 8}, {0, 0, 0, 16}};
    trace t = run_figure(RRT_BATCHING_STATIC, false);
    assert_steps(&t, 9, vanilla);
    t = run_figure(RRT_BATCHING_DEPTH, false);
    assert_steps(&t, 7, depth);
    t = run_figure(RRT_BATCHING_DEPTH, true);
    assert_steps(&t, 6, exits);
}

// Tokens go before prompts, older requests before younger ones, and a prompt gets the rows that are left.
static void tokens_enter_before_prompts_and_older_requests_first(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__schedule s;
    assert_ok(rrt__schedule_create(&s, RRT_BATCHING_DEPTH, 6, 3, 2, &err));
    size_t a = rrt__schedule_begin(&s, 1, 0, false), b = rrt__schedule_begin(&s, 20, 16, false);
    rrt__schedule_fill(&s);
    assert_int_equal(s.n_chunks, 2);
    assert_int_equal(s.chunks[1].position, 16); // what was cached does not run
    assert_int_equal(s.chunks[1].count, 4);
    size_t c = rrt__schedule_begin(&s, 9, 0, false);
    rrt__schedule_advance(&s);
    rrt__schedule_fill(&s); // one row is left
    assert_int_equal(s.chunks[0].slot, c);
    assert_int_equal(s.chunks[0].count, 1);
    assert_int_equal(s.refills, 1);
    for (size_t i = 0; i < s.n_chunks; i++) s.chunks[i].leaves = s.chunks[i].loop == 2;
    assert_int_equal(rrt__schedule_done(&s, b), 16);
    rrt__schedule_add_token(&s, a);
    rrt__schedule_add_token(&s, b);
    rrt__schedule_advance(&s);
    assert_int_equal(rrt__schedule_done(&s, b), 20);
    rrt__schedule_fill(&s);
    assert_int_equal(s.n_chunks,
                     4); // both tokens, the rest of c's prompt as far as it fits, and its beginning
    assert_int_equal(s.chunks[0].slot, a);
    assert_int_equal(s.chunks[1].slot, b);
    assert_int_equal(s.chunks[2].slot, c);
    assert_int_equal(s.chunks[2].count, 3);
    rrt__schedule_end(&s, c);
    assert_int_equal(s.n_chunks, 2);
    rrt__schedule_free(&s);
}

// Whatever runs beside it, a request that runs makes a token within 2 · `loops` steps: in 32 slots
// with prompts that never end, each token enters in the step after it became known.
static void nobody_starves(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__schedule s;
    int since[32] = {0};
    assert_ok(rrt__schedule_create(&s, RRT_BATCHING_DEPTH, 40, 32, LOOPS, &err));
    for (int i = 0; i < 32; i++) rrt__schedule_begin(&s, i < 16 ? 1 : 100000, 0, false);
    for (int step = 0; step < 500; step++) {
        rrt__schedule_fill(&s);
        for (int p = 0; p < 16; p++) since[p]++;
        for (size_t i = 0; i < s.n_chunks; i++) {
            rrt__chunk *f = &s.chunks[i];
            f->leaves = f->loop == LOOPS;
            if (!f->leaves || f->slot >= 16) continue;
            since[f->slot] = 0;
            rrt__schedule_add_token(&s, f->slot);
        }
        rrt__schedule_advance(&s);
        for (int p = 0; p < 16; p++) assert_true(since[p] < LOOPS + LOOPS);
    }
    rrt__schedule_free(&s);
}

// With a K/V window two prompts run side by side, each a block after another.
static void a_block_of_a_window_waits_for_the_one_before(void **state)
{
    (void)state;
    enum { WINDOW = 16, PROMPT = 50, CACHED = 32 };
    rrt_error err = {0};
    rrt__schedule s;
    assert_ok(rrt__schedule_create(&s, RRT_BATCHING_DEPTH, 20, 2, LOOPS, &err));
    s.window = WINDOW;
    rrt__schedule_begin(&s, PROMPT, 0, false);
    rrt__schedule_begin(&s, PROMPT, CACHED, false);
    size_t done[2] = {0, CACHED};
    while (done[0] < PROMPT || done[1] < PROMPT) {
        rrt__schedule_fill(&s);
        assert_true(s.n_running > 0);
        bool seen[2] = {false};
        for (size_t i = 0; i < s.n_chunks; i++) {
            rrt__chunk *c = &s.chunks[i];
            assert_false(seen[c->slot]);
            seen[c->slot] = true;
            assert_int_equal(c->position, done[c->slot]);
            assert_int_equal(c->position / WINDOW, (c->position + c->count - 1) / WINDOW);
            c->leaves = c->loop == LOOPS;
            if (c->leaves) done[c->slot] += c->count;
        }
        rrt__schedule_advance(&s);
    }
    rrt__schedule_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figure_3_takes_the_papers_steps),
        cmocka_unit_test(tokens_enter_before_prompts_and_older_requests_first),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(a_block_of_a_window_waits_for_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
