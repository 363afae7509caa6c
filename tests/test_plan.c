// The plan: lists written out by hand, what is refused, JSON, and parameter counts that the paper prints.
#include "model/parameters.h"
#include "model/plan.h"
#include "test.h"

static void assert_slots(const rrt__plan *plan, int n_depths, int n_slots, const short *slots)
{
    assert_int_equal(plan->n_depths, n_depths);
    assert_int_equal(plan->n_slots, n_slots);
    for (int d = 0; d < n_depths; d++)
        if (plan->slot[d] != slots[d]) fail_msg("depth %d uses slot %d, not %d", d, plan->slot[d], slots[d]);
}

static rrt__plan make(rrt__sharing sharing, int loops, int layers_per_block, int prelude, int coda)
{
    rrt_error err = {0};
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, sharing, loops, layers_per_block, prelude, coda, &err));
    return plan;
}

static void plans_have_the_lists_written_by_hand(void **state)
{
    (void)state;
    rrt__plan plan = make(RRT__SHARING_CYCLE, 2, 3, 0, 0);
    assert_slots(&plan, 6, 3, (short[]){0, 1, 2, 0, 1, 2});
    plan = make(RRT__SHARING_SEQUENCE, 2, 3, 0, 0);
    assert_slots(&plan, 6, 3, (short[]){0, 0, 1, 1, 2, 2});
    plan = make(RRT__SHARING_CYCLE, 3, 2, 1, 2); // the middle-cycle
    assert_slots(&plan, 9, 5, (short[]){0, 1, 2, 1, 2, 1, 2, 3, 4});
    plan = make(RRT__SHARING_SEQUENCE, 3, 2, 2, 1);
    assert_slots(&plan, 9, 5, (short[]){0, 1, 2, 2, 2, 3, 3, 3, 4});
    plan = make(RRT__SHARING_NONE, 1, 4, 0, 0);
    assert_slots(&plan, 4, 4, (short[]){0, 1, 2, 3});
    plan = make(RRT__SHARING_CYCLE, 1, 2, 1, 1); // one loop: every slot once
    assert_slots(&plan, 4, 4, (short[]){0, 1, 2, 3});
    plan = make(RRT__SHARING_CYCLE, 4, 1, 0, 0);
    assert_slots(&plan, 4, 1, (short[]){0, 0, 0, 0});
    plan = make(RRT__SHARING_CYCLE, RRT__MAX_DEPTHS, 1, 0, 0);
    assert_int_equal(plan.n_depths, RRT__MAX_DEPTHS);
}

static void layers_are_divided_evenly_among_loops(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__plan plan;
    assert_ok(rrt__plan_divide(&plan, RRT__SHARING_CYCLE, 30, 2, 0, 0, &err));
    assert_int_equal(plan.layers_per_block, 15);
    assert_ok(rrt__plan_divide(&plan, RRT__SHARING_CYCLE, 30, 4, 1, 1, &err));
    assert_int_equal(plan.layers_per_block, 7);
    assert_int_equal(plan.n_depths, 30);
    assert_int_equal(plan.n_slots, 9);
    assert_fails(RRT_STATUS_ARGUMENT, "30 layers cannot be shared by 4 loops",
                 rrt__plan_divide(&plan, RRT__SHARING_CYCLE, 30, 4, 0, 0, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "nothing to loop",
                 rrt__plan_divide(&plan, RRT__SHARING_CYCLE, 4, 1, 2, 2, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "", rrt__plan_divide(&plan, RRT__SHARING_CYCLE, 4, 0, 0, 0, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "", rrt__plan_divide(&plan, RRT__SHARING_CYCLE, 4, 2, -2, 2, &err));
}

static void impossible_plans_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__plan plan;
    const int bad[][4] = {{0, 2, 0, 0}, {-1, 2, 0, 0}, {2, 0, 0, 0}, {2, 2, -1, 0}, {2, 2, 0, -1}};
    for (int i = 0; i < 5; i++)
        assert_fails(
            RRT_STATUS_ARGUMENT, "not possible",
            rrt__plan_make(&plan, RRT__SHARING_CYCLE, bad[i][0], bad[i][1], bad[i][2], bad[i][3], &err));
    const int large[][4] = {
        {1025, 1, 0, 0},     {1, 1025, 0, 0}, {32, 32, 1, 0}, {32, 32, 0, 1}, {1, 1, INT32_MAX, INT32_MAX},
        {65536, 65536, 0, 0}};
    for (int i = 0; i < 6; i++)
        assert_fails(RRT_STATUS_ARGUMENT, "1024",
                     rrt__plan_make(&plan, RRT__SHARING_CYCLE, large[i][0], large[i][1], large[i][2],
                                    large[i][3], &err));
    assert_fails(RRT_STATUS_ARGUMENT, "without sharing",
                 rrt__plan_make(&plan, RRT__SHARING_NONE, 2, 2, 0, 0, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "without sharing",
                 rrt__plan_make(&plan, RRT__SHARING_NONE, 1, 2, 1, 0, &err));
    rrt__sharing sharing;
    assert_fails(RRT_STATUS_ARGUMENT, "cycle, sequence or none", rrt__sharing_parse(&sharing, "Cycle", &err));
}

static void assert_depths(const rrt__plan *plan, int loops, int count, const short *expected)
{
    rrt_error err = {0};
    short depths[RRT__MAX_DEPTHS];
    int n;
    assert_ok(rrt__plan_depths(plan, loops, depths, &n, &err));
    assert_int_equal(n, count);
    assert_memory_equal(depths, expected, (size_t)count * sizeof *depths);
}

static void fewer_loops_leave_out_the_later_depths(void **state)
{
    (void)state;
    rrt_error err = {0};
    short depths[RRT__MAX_DEPTHS];
    int n;
    rrt__plan plan = make(RRT__SHARING_CYCLE, 3, 2, 1, 2);
    assert_true(rrt__plan_has_boundary(&plan));
    assert_depths(&plan, 1, 5, (short[]){0, 1, 2, 7, 8});
    assert_depths(&plan, 2, 7, (short[]){0, 1, 2, 3, 4, 7, 8});
    assert_depths(&plan, 3, 9, (short[]){0, 1, 2, 3, 4, 5, 6, 7, 8});
    assert_fails(RRT_STATUS_ARGUMENT, "1 to 3", rrt__plan_depths(&plan, 0, depths, &n, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "1 to 3", rrt__plan_depths(&plan, 4, depths, &n, &err));

    plan = make(RRT__SHARING_SEQUENCE, 2, 2, 0, 0);
    assert_false(rrt__plan_has_boundary(&plan));
    assert_depths(&plan, 2, 4, (short[]){0, 1, 2, 3});
    assert_fails(RRT_STATUS_UNSUPPORTED, "sequence", rrt__plan_depths(&plan, 1, depths, &n, &err));

    plan = make(RRT__SHARING_NONE, 1, 3, 0, 0);
    assert_false(rrt__plan_has_boundary(&plan));
    assert_depths(&plan, 1, 3, (short[]){0, 1, 2});
    assert_fails(RRT_STATUS_UNSUPPORTED, "none", rrt__plan_depths(&plan, 2, depths, &n, &err));
}

static void plans_survive_json(void **state)
{
    (void)state;
    rrt_error err = {0};
    const rrt__plan plans[] = {make(RRT__SHARING_CYCLE, 2, 3, 0, 0), make(RRT__SHARING_CYCLE, 3, 2, 1, 2),
                               make(RRT__SHARING_SEQUENCE, 4, 2, 0, 1), make(RRT__SHARING_NONE, 1, 5, 0, 0)};
    for (int i = 0; i < 4; i++) {
        json_t *object = json_object();
        rrt__plan again;
        memset(&again, 0xff, sizeof again);
        assert_ok(rrt__plan_to_json(&plans[i], object, &err));
        assert_ok(rrt__plan_from_json(&again, object, &err));
        assert_memory_equal(&again, &plans[i], sizeof again);
        json_decref(object);
    }
}

static void plans_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    const rrt__plan plan = make(RRT__SHARING_CYCLE, 2, 2, 1, 1);
    const struct {
        const char *key;
        json_t *value;
        const char *text;
    } changes[] = {
        {"plan", json_pack("[i,i,i,i,i,i]", 0, 1, 2, 1, 2, 4), "\"plan\"[5]"},
        {"plan", json_pack("[i,i,i,i,i]", 0, 1, 2, 1, 2), "loops"},
        {"plan", json_pack("[f,i,i,i,i,i]", 0.0, 1, 2, 1, 2, 3), "\"plan\"[0]"},
        {"plan", json_array(), "0 depths"},
        {"plan", json_string("0 1 2"), "an array"},
        {"sharing", json_string("sequence"), "\"plan\"[2]"},
        {"sharing", json_null(), "a string"},
        {"loops", json_integer(0), "loops"},
        {"loops", json_integer(4), "\"plan\""},
        {"prelude", json_integer(0), "loops"},
        {"prelude", json_integer(-1), "prelude"},
        {"coda", json_integer(6), "coda"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        json_t *object = json_object();
        rrt__plan again;
        assert_ok(rrt__plan_to_json(&plan, object, &err));
        json_object_set_new(object, changes[i].key, changes[i].value);
        rrt_status status = rrt__plan_from_json(&again, object, &err);
        if (!status || !strstr(err.message, changes[i].text))
            fail_msg("change %zu: status %d, '%s' is not in: %s", i, status, changes[i].text, err.message);
        json_decref(object);
    }
}

// --- the paper's N-emb tables, in billions
// -------------------------------------------------------------------------------

// Half of the last printed digit, and the biases and norms (0.2 M at most), which we count.
static const double TABLE_TOLERANCE = 0.0007;

typedef struct table {
    const char *name, *family;
    rrt__shape shape;
    int layers, loops;
    double base;     // billions without LoRA
    double ranks[4]; // 64, 128, 256, 512
} table;

// Gemma has no row of its own in the family table yet; its linear matrices are those of a Llama with a gated
// MLP.
#define GEMMA                                                                                                \
    {                                                                                                        \
        .hidden = 2048, .heads = 8, .kv_heads = 1, .head_dim = 256, .ffn = 16384, .vocab = 256000,           \
        .tied_head = true                                                                                    \
    }

static const table tables[] = {
    {"Gemma 2B, 2 loops", "llama", GEMMA, 18, 2, 0.991, {1.069, 1.148, 1.305, 1.597}},
    {"Gemma 2B, 3 loops", "llama", GEMMA, 18, 3, 0.661, {0.739, 0.817, 0.974, 1.267}},
    {"TinyLlama 1.1B, 2 loops",
     "llama",
     {.hidden = 2048, .heads = 32, .kv_heads = 4, .head_dim = 64, .ffn = 5632, .vocab = 32000},
     22,
     2,
     0.4845,
     {0.535, 0.585, 0.686, 0.862}},
    {"Pythia 1B, 2 loops",
     "gpt_neox",
     {.hidden = 2048, .heads = 8, .kv_heads = 8, .head_dim = 256, .ffn = 8192, .vocab = 50304},
     16,
     2,
     0.403,
     {0.440, 0.478, 0.554, 0.705}},
};

static void parameter_counts_are_those_of_the_paper(void **state)
{
    (void)state;
    rrt_error err = {0};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const table *t = &tables[i];
        const rrt__family *family;
        rrt__plan plan;
        assert_ok(rrt__family_by_name(&family, t->family, &err));
        assert_ok(rrt__plan_divide(&plan, RRT__SHARING_CYCLE, t->layers, t->loops, 0, 0, &err));
        uint64_t embedding = t->shape.vocab * t->shape.hidden * (t->shape.tied_head ? 1 : 2);
        uint64_t body = rrt__shape_parameters(family, &t->shape, &plan, RRT__NORMS_TIED) - embedding;
        assert_near((double)body / 1e9, t->base, TABLE_TOLERANCE);
        assert_int_equal(rrt__shape_lora_parameters(family, &t->shape, &plan, 0), 0);
        for (int r = 0; r < 4; r++) {
            uint64_t lora = rrt__shape_lora_parameters(family, &t->shape, &plan, (size_t)64 << r);
            double difference = (double)(body + lora) / 1e9 - t->ranks[r];
            if (difference > TABLE_TOLERANCE || difference < -TABLE_TOLERANCE)
                fail_msg("%s, rank %d: off by %.4f", t->name, 64 << r, difference);
        }
    }
}

// Only depths whose slot is shared get a LoRA, and the counts are those of a model that is really built.
static void counts_equal_those_of_a_built_model(void **state)
{
    (void)state;
    rrt_error err = {0};
    const rrt__shape shape = {.hidden = 24,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 6,
                              .ffn = 40,
                              .vocab = 11,
                              .context = 8,
                              .rotary = 6,
                              .rope.base = 1e4};
    const rrt__plan plans[] = {make(RRT__SHARING_CYCLE, 2, 2, 1, 2), make(RRT__SHARING_SEQUENCE, 3, 1, 0, 1),
                               make(RRT__SHARING_CYCLE, 1, 3, 1, 0), make(RRT__SHARING_NONE, 1, 2, 0, 0)};
    for (int i = 0; i < 8; i++) {
        const rrt__plan *plan = &plans[i / 2];
        const rrt__family *family;
        rrt__norms_mode norms = i % 2 ? RRT__NORMS_PER_DEPTH : RRT__NORMS_TIED;
        rrt_model *model;
        rrt_model_info info;
        assert_ok(rrt__family_by_name(&family, i % 2 ? "llama" : "gpt_neox", &err));
        assert_ok(rrt__model_allocate(&model, family, &shape, plan, norms, &err));
        for (int d = 0; d < plan->n_depths; d++) {
            int uses = 0;
            for (int e = 0; e < plan->n_depths; e++) uses += plan->slot[e] == plan->slot[d];
            for (int m = 0; m < RRT__MATRIX_COUNT && uses > 1; m++) {
                size_t out, in, rank = 15; // K and V allow 12
                if (!rrt__family_has(family, m)) continue;
                rrt__shape_matrix(&shape, m, &out, &in);
                rank = rank < out ? rank : out;
                assert_ok(rrt__model_add_lora(model, d, m, rank < in ? rank : in, &err));
            }
        }
        rrt_model_describe(model, &info);
        assert_int_equal(info.params_lora, rrt__shape_lora_parameters(family, &shape, plan, 15));
        assert_int_equal(info.params_total - info.params_lora,
                         rrt__shape_parameters(family, &shape, plan, norms));
        rrt_model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_have_the_lists_written_by_hand),
        cmocka_unit_test(layers_are_divided_evenly_among_loops),
        cmocka_unit_test(impossible_plans_are_refused),
        cmocka_unit_test(fewer_loops_leave_out_the_later_depths),
        cmocka_unit_test(plans_survive_json),
        cmocka_unit_test(plans_that_contradict_themselves_are_refused),
        cmocka_unit_test(parameter_counts_are_those_of_the_paper),
        cmocka_unit_test(counts_equal_those_of_a_built_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
