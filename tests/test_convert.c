// The invariants of paper.md §9, and what a conversion may not do.
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "models.h"

static rrt_error err;

static const int32_t text[] = {1, 5, 9, 33, 2, 40, 11, 6, 60, 3, 17, 21, 8, 50, 30, 12, 4, 22, 45, 7};
enum { TEXT = sizeof text / sizeof *text };

static double largest_difference(const rrt_model *a, const rrt_model *b)
{
    return model_difference(a, 0, b, 0);
}

static rrt_model *must_convert(const rrt_model *source, rrt_convert_options options)
{
    rrt_model *model;
    assert_ok(rrt_convert(&model, source, &options, NULL, &err));
    return model;
}

static void one_loop_is_the_original(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "neox", "gemma3", "olmo2", "granite"};
    for (int i = 0; i < 5; i++) {
        rrt_model *source = open_golden(names[i]);
        for (int init = RRT_INIT_STEPWISE; init <= RRT_INIT_LOWER; init++) {
            rrt_model *model =
                must_convert(source, (rrt_convert_options){.loops = 1, .init = (rrt_init)init});
            assert_true(largest_difference(model, source) == 0);
            rrt_model_close(model);
        }
        rrt_model_close(source);
    }
}

// With norms per depth or folded, LoRA of full rank restores the original, whatever the shared weight; with
// tied norms it restores the linear matrices only (paper.md §1.3, caveat).
static void full_rank_restores_the_original(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "neox", "gemma3", "olmo2", "granite"};
    static const char *const sharings[] = {"cycle", "sequence"};
    for (int i = 0; i < 5; i++) {
        rrt_model *source = open_golden(names[i]);
        for (int k = 0; k < 16; k++) {
            int ends = source->plan.n_depths > 2 ? k / 2 % 2 : 0;
            rrt_convert_options options = {.sharing = sharings[k % 2],
                                           .loops = 2,
                                           .prelude = ends,
                                           .coda = ends,
                                           .init =
                                               k / 4 % 4 == 3 ? RRT_INIT_CALIBRATED : (rrt_init)(k / 4 % 4),
                                           .rank = 100000,
                                           .calibration_ids = text,
                                           .calibration_count = TEXT};
            // Healing goes through a linear system in f32, the others through products alone.
            double tolerance = options.init == RRT_INIT_CALIBRATED ? 1e-3 : 2e-4;
            options.norms = "per-depth";
            rrt_model *model = must_convert(source, options);
            assert_near(largest_difference(model, source), 0, tolerance);
            rrt_model_close(model);
            options.norms = "folded";
            model = must_convert(source, options);
            assert_near(largest_difference(model, source), 0, tolerance);
            rrt_model_close(model);
            options.norms = "tied";
            model = must_convert(source, options);
            assert_true(largest_difference(model, source) > 1e-3);
            rrt_model_close(model);
        }
        rrt_model_close(source);
    }
}

static void zero_lora_is_the_plain_recursive_model(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama");
    rrt_model *plain = must_convert(source, (rrt_convert_options){.loops = 2, .init = RRT_INIT_AVERAGE});
    rrt_model *zero = must_convert(
        source, (rrt_convert_options){
                    .loops = 2, .init = RRT_INIT_AVERAGE, .rank = 8, .lora_init = RRT_LORA_INIT_ZERO});
    assert_near(largest_difference(plain, zero), 0, 1e-6);
    assert_true(zero->depths[0].lora[RRT__MATRIX_Q].a.weight[0] != 0);
    rrt_model_close(zero);
    zero = must_convert(
        source, (rrt_convert_options){.loops = 2, .init = RRT_INIT_AVERAGE, .lora_init = RRT_LORA_INIT_ZERO});
    assert_true(largest_difference(plain, zero) == 0); // no LoRA at all
    rrt_model_close(zero);
    rrt_model_close(plain);
    rrt_model_close(source);
}

// Where the shared weight is the original's, there is nothing to approximate: A random, B zero (paper App. C,
// Fig. C.1): with stepwise the first and the last depth, with lower all of the first loop, with average none.
static void exact_matches_start_at_zero(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama");
    static const bool expected[3][4] = {{true, false, false, true}, {false}, {true, true, false, false}};
    for (int init = RRT_INIT_STEPWISE; init <= RRT_INIT_LOWER; init++) {
        rrt_model *model =
            must_convert(source, (rrt_convert_options){.loops = 2, .init = (rrt_init)init, .rank = 4});
        for (int d = 0; d < 4; d++) {
            const rrt__lora *lora = &model->depths[d].lora[RRT__MATRIX_UP];
            double a = 0, b = 0;
            for (size_t i = 0; i < 4 * model->shape.hidden; i++) a += fabsf(lora->a.weight[i]);
            for (size_t i = 0; i < 4 * model->shape.ffn; i++) b += fabsf(lora->b.weight[i]);
            assert_true(a > 0);
            assert_int_equal(b == 0, expected[init][d]);
        }
        rrt_model_close(model);
    }
    rrt_model_close(source);
}

// The random A of an exact match follows the seed and is another one at each depth and matrix.
static void random_rows_differ(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *models[3];
    const uint64_t seeds[3] = {1, 1, 2};
    for (int i = 0; i < 3; i++)
        models[i] = must_convert(
            source,
            (rrt_convert_options){.loops = 2, .init = RRT_INIT_STEPWISE, .rank = 4, .seed = seeds[i]});
    const size_t bytes = 4 * source->shape.hidden * sizeof(float);
    const rrt__lora *first = models[0]->depths[0].lora; // depth 0 and depth 3 match exactly
    assert_memory_equal(first[RRT__MATRIX_UP].a.weight, models[1]->depths[0].lora[RRT__MATRIX_UP].a.weight,
                        bytes);
    assert_memory_not_equal(first[RRT__MATRIX_UP].a.weight,
                            models[2]->depths[0].lora[RRT__MATRIX_UP].a.weight, bytes);
    assert_memory_not_equal(first[RRT__MATRIX_UP].a.weight,
                            models[0]->depths[3].lora[RRT__MATRIX_UP].a.weight, bytes);
    assert_memory_not_equal(first[RRT__MATRIX_UP].a.weight, first[RRT__MATRIX_GATE].a.weight, bytes);
    for (int i = 0; i < 3; i++) rrt_model_close(models[i]);
    rrt_model_close(source);
}

// With average and two loops the residuals are ± half the difference: the same energy is kept at both depths.
static void average_of_two_is_symmetric(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *model;
    rrt_convert_report report;
    assert_ok(rrt_convert(&model, source,
                          &(rrt_convert_options){.loops = 2, .init = RRT_INIT_AVERAGE, .rank = 8}, &report,
                          &err));
    assert_int_equal(report.n_rows, 4 * 7);
    for (size_t i = 0; i < 2 * 7; i++) {
        assert_string_equal(report.rows[i].matrix, report.rows[i + 14].matrix);
        assert_near(report.rows[i].kept, report.rows[i + 14].kept, 1e-5);
    }
    rrt_convert_report_free(&report);
    rrt_model_close(model);
    rrt_model_close(source);
}

// How a depth attends stays its own layer's, whatever it is tied to; what is tied to its unlike is reported.
static void attention_stays_the_layers(void **state)
{
    (void)state;
    rrt_model *source = open_golden("gemma3"); // local, global, local, global
    const struct {
        rrt_convert_options options;
        int mixed, depths;
        unsigned attention[4];
    } cases[] = {{{.loops = 2}, 0, 4, {1, 0, 1, 0}},
                 {{.loops = 2, .sharing = "sequence"}, 2, 4, {1, 0, 1, 0}},
                 {{.loops = 2, .prelude = 1, .coda = 1}, 1, 4, {1, 0, 1, 0}},
                 {{.sharing = "none", .layers = 2}, 0, 2, {1, 0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rrt_model *model, *again;
        rrt_convert_report report;
        assert_ok(rrt_convert(&model, source, &cases[i].options, &report, &err));
        assert_int_equal(report.mixed_slots, cases[i].mixed);
        assert_int_equal(report.attention_period, 2);
        again = round_trip(model, "f32");
        assert_int_equal(again->plan.n_depths, cases[i].depths);
        for (int d = 0; d < cases[i].depths; d++) {
            assert_int_equal(model->depths[d].attention, cases[i].attention[d]);
            assert_int_equal(again->depths[d].attention, cases[i].attention[d]);
        }
        assert_same_logits(model, 0, again, 0, 0);
        rrt_convert_report_free(&report);
        rrt_model_close(again);
        rrt_model_close(model);
    }
    rrt_model_close(source);
}

// On the text that it was fitted to, the reconstructed model is nearer to the original than the pruned one of
// more parameters.
static void calibration_beats_pruning(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "neox"};
    for (int i = 0; i < 2; i++) {
        rrt_model *source = open_golden(names[i]);
        rrt_convert_options options = {.loops = 2,
                                       .prelude = 1,
                                       .coda = 1,
                                       .rank = 6,
                                       .init = RRT_INIT_CALIBRATED,
                                       .norms = "per-depth",
                                       .calibration_ids = text,
                                       .calibration_count = TEXT};
        rrt_model *ours = must_convert(source, options);
        rrt_model *pruned = must_convert(source, (rrt_convert_options){.sharing = "none", .layers = 3});
        rrt_eval_kl_result a, b;
        assert_ok(rrt_eval_kl(ours, source, text, TEXT, NULL, &a, &err));
        assert_ok(rrt_eval_kl(pruned, source, text, TEXT, NULL, &b, &err));
        assert_true(a.kl < b.kl / 2);
        rrt_model_close(pruned);
        rrt_model_close(ours);
        rrt_model_close(source);
    }
}

static void a_budget_is_spent_in_units(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama");
    rrt_convert_options options = {.loops = 2,
                                   .init = RRT_INIT_CALIBRATED,
                                   .lora_budget = 20000,
                                   .calibration_ids = text,
                                   .calibration_count = TEXT};
    rrt_model *model = must_convert(source, options);
    rrt_model_info info;
    rrt_model_describe(model, &info);
    assert_in_range(info.params_lora, 20000 - 32 * (32 + 40), 20000);
    rrt_model_close(model);
    rrt_model_close(source);
}

static void a_search_meets_its_target(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *model;
    rrt_model_info before, after;
    rrt_convert_frontier frontier;
    rrt_convert_options options = {.calibration_ids = text, .calibration_count = TEXT, .norms = "per-depth"};
    rrt_model_describe(source, &before);
    uint64_t target = before.params_body * 8 / 10;
    assert_ok(rrt_convert_search(&model, source, &options, target, &frontier, NULL, &err));
    rrt_model_describe(model, &after);
    assert_true(after.params_body <= target);
    // 2 loops of 2 and of 1 with both ends, 3 loops of 1 with an end, and the ends moved.
    assert_in_range(frontier.n_candidates, 2, 6);
    const rrt_convert_candidate *best = NULL;
    for (size_t i = 0; i < frontier.n_candidates; i++) {
        const rrt_convert_candidate *c = &frontier.candidates[i];
        assert_true(c->params_body <= target && c->kl >= 0 && !c->failed);
        assert_int_equal(c->prelude + c->loops * c->layers_per_block + c->coda, 4);
        if (!best || c->kl < best->kl) best = c;
    }
    assert_true(best->on_frontier);
    assert_int_equal(after.loops, best->loops);
    assert_int_equal(after.prelude, best->prelude);
    assert_int_equal(after.params_body, best->params_body);
    rrt_convert_frontier_free(&frontier);
    rrt_model_close(model);
    assert_fails(RRT_STATUS_ARGUMENT, "no plan",
                 rrt_convert_search(&model, source, &options, 10, NULL, NULL, &err));
    options.sharing = "none";
    assert_fails(RRT_STATUS_ARGUMENT, "shared plans",
                 rrt_convert_search(&model, source, &options, target, NULL, NULL, &err));
    rrt_model_close(source);
}

// A plan whose output is not finite is skipped; only if all are like that the search fails.
static void a_search_skips_what_is_not_finite(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *model;
    rrt_model_info before;
    rrt_convert_options options = {.calibration_ids = text, .calibration_count = TEXT, .norms = "per-depth"};
    rrt_model_describe(source, &before);
    source->final_norm.gain[0] = NAN;
    assert_fails(RRT_STATUS_NUMERIC, "no plan gave a model whose output is finite",
                 rrt_convert_search(&model, source, &options, before.params_body * 8 / 10, NULL, NULL, &err));
    assert_null(model);
    rrt_model_close(source);
}

// Whatever the rule of the block, and also where that is chance.
static void ends_keep_their_layers(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama");
    const size_t up = source->shape.ffn * source->shape.hidden * sizeof(float),
                 gain = source->shape.hidden * sizeof(float);
    for (int init = RRT_INIT_STEPWISE; init <= RRT_INIT_RANDOM; init++) {
        rrt_model *model = must_convert(
            source, (rrt_convert_options){.loops = 2, .prelude = 1, .coda = 1, .init = (rrt_init)init});
        for (int d = 0; d < 4; d++) {
            const float *weight = model->slots[model->plan.slot[d]].matrix[RRT__MATRIX_UP].weight;
            bool is_own = memcmp(weight, source->slots[d].matrix[RRT__MATRIX_UP].weight, up) == 0;
            if (d == 0 || d == 3) assert_true(is_own);
            if (d == 0 || d == 3)
                assert_memory_equal(model->depths[d].norm[0].gain, source->depths[d].norm[0].gain, gain);
            if (init == RRT_INIT_RANDOM && d % 3 != 0) assert_false(is_own);
        }
        rrt_model_close(model);
    }
    rrt_model_close(source);
}

static void the_result_is_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama");
    rrt_convert_options options = {.loops = 2, .init = RRT_INIT_AVERAGE, .rank = 8, .threads = 1};
    rrt_model *one = must_convert(source, options);
    options.threads = 3;
    rrt_model *three = must_convert(source, options);
    assert_true(largest_difference(one, three) == 0);
    rrt_model_close(three);
    rrt_model_close(one);
    rrt_model_close(source);
}

static int note_share(void *user, const char *stage, double done, double total)
{
    assert_string_equal(stage, "convert");
    assert_true(done <= total);
    *(double *)user = done / total;
    return 0;
}

// Whichever thread finishes last, the last that is heard is that all is done.
static void progress_ends_at_its_total(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama");
    for (int i = 0; i < 30; i++) {
        double share = 0;
        const rrt_progress progress = {note_share, &share};
        rrt_model_close(must_convert(
            source,
            (rrt_convert_options){
                .loops = 2, .init = RRT_INIT_AVERAGE, .rank = 8, .threads = 3, .progress = &progress}));
        assert_true(share == 1);
    }
    rrt_model_close(source);
}

static void saving_is_atomic_and_keeps_what_is_there(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *again;
    rrt_model *model = must_convert(
        source, (rrt_convert_options){.loops = 2, .init = RRT_INIT_AVERAGE, .rank = 8, .norms = "per-depth"});
    char folder[] = "/tmp/rrt-test-XXXXXX", path[4096];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model", folder);
    assert_ok(rrt_model_save(model, path, NULL, &err));
    assert_fails(RRT_STATUS_EXISTS, "--force", rrt_model_save(model, path, NULL, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "q4_0",
                 rrt_model_save(model, path, &(rrt_save_options){.dtype = "q4_0", .overwrite = 1}, &err));
    assert_ok(rrt_model_open(&again, path, NULL, &err));
    assert_true(largest_difference(model, again) == 0);
    rrt_model_close(again);
    assert_ok(rrt_model_save(source, path, &(rrt_save_options){.dtype = "bf16", .overwrite = 1}, &err));
    assert_ok(rrt_model_open(&again, path, NULL, &err));
    assert_near(largest_difference(source, again), 0, 0.2);
    rrt_model_close(again);
    char command[4200];
    snprintf(command, sizeof command, "test $(ls %s | wc -l) = 1 && rm -r %s", folder, folder);
    assert_int_equal(system(command), 0); // nothing half-done lies beside it
    rrt_model_close(model);
    rrt_model_close(source);
}

static int must_not_work(void *user, const char *stage, double done, double total)
{
    (void)user, (void)done, (void)total;
    fail_msg("%s has begun", stage);
    return 1;
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *model, *again;
    const int32_t bad_id[] = {1, 1000000};
    const struct {
        const char *text;
        rrt_convert_options options;
    } cases[] = {
        {"cannot be shared by 3 loops", {.loops = 3}},
        {"prelude of 3", {.loops = 2, .prelude = 3, .coda = 1}},
        {"cycle, sequence or none", {.sharing = "spiral"}},
        {"tied, per-depth or folded", {.norms = "loose"}},
        {"1 to 4 can", {.sharing = "none", .layers = 5}},
        {"1 to 4 can", {.layers = -1}},
        {"2 loops x 0 layers", {.layers = 2, .prelude = 1, .coda = 1}},
        {"there are no loops", {.sharing = "none", .layers = 2, .loops = 2}},
        {"say what layers", {.sharing = "none", .layers = 2, .init = RRT_INIT_LOWER}},
        {"say what layers", {.layers = 2, .init = RRT_INIT_AVERAGE}},
        {"not both", {.rank = 8, .lora_budget = 100, .init = RRT_INIT_CALIBRATED}},
        {"needs the calibrated init", {.lora_budget = 100}},
        {"needs a calibration text", {.init = RRT_INIT_CALIBRATED}},
        {"at least 2", {.init = RRT_INIT_CALIBRATED, .calibration_ids = text, .calibration_count = 1}},
        {"nothing for a LoRA", {.sharing = "none", .layers = 2, .rank = 8}},
        {"nothing for a LoRA", {.layers = 2, .rank = 8}},
        {"0 to 1 is possible", {.layers = 2, .norms = "per-depth", .loop_gain = NAN}},
        {"norms per-depth", {.layers = 2, .loop_gain = 0.5}},
        {"kept and run in loops", {.layers = 2, .loops = 1, .norms = "per-depth", .loop_gain = 0.5}},
        {"kept and run in loops", {.loops = 2, .norms = "per-depth", .loop_gain = 0.5}},
        {"nothing for a LoRA", {.loops = 1, .rank = 8}},
        {"units of up to 2304",
         {.lora_budget = 100,
          .init = RRT_INIT_CALIBRATED,
          .calibration_ids = text,
          .calibration_count = TEXT}},
        {"id 1000000", {.init = RRT_INIT_CALIBRATED, .calibration_ids = bad_id, .calibration_count = 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(RRT_STATUS_ARGUMENT, cases[i].text,
                     rrt_convert(&model, source, &cases[i].options, NULL, &err));
        assert_null(model);
    }
    // Refused before the calibration begins.
    const rrt_progress no_work = {must_not_work, NULL};
    rrt_convert_options calibrated = {.init = RRT_INIT_CALIBRATED,
                                      .calibration_ids = text,
                                      .calibration_count = TEXT,
                                      .progress = &no_work,
                                      .norms = "loose"};
    assert_fails(RRT_STATUS_ARGUMENT, "loose", rrt_convert(&model, source, &calibrated, NULL, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "loose",
                 rrt_convert_search(&model, source, &calibrated, 20000, NULL, NULL, &err));
    calibrated.norms = NULL;
    calibrated.loops = 3;
    assert_fails(RRT_STATUS_ARGUMENT, "3 loops", rrt_convert(&model, source, &calibrated, NULL, &err));
    calibrated.loops = 2;
    calibrated.lora_budget = 100;
    assert_fails(RRT_STATUS_ARGUMENT, "units", rrt_convert(&model, source, &calibrated, NULL, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "init 42",
                 rrt_convert(&model, source, &(rrt_convert_options){.init = (rrt_init)42}, NULL, &err));
    assert_fails(
        RRT_STATUS_ARGUMENT, "init 7",
        rrt_convert(&model, source, &(rrt_convert_options){.lora_init = (rrt_lora_init)7}, NULL, &err));
    // What a failure leaves can be freed; without options they are all zero.
    rrt_convert_frontier frontier = {(void *)&model, 9};
    rrt_convert_report report = {(void *)&model, 9, 0};
    assert_fails(RRT_STATUS_ARGUMENT, "calibration text",
                 rrt_convert_search(&model, source, NULL, 20000, &frontier, &report, &err));
    rrt_convert_frontier_free(&frontier);
    rrt_convert_report_free(&report);
    assert_fails(RRT_STATUS_ARGUMENT, "at least 8",
                 rrt_convert_search(&model, source,
                                    &(rrt_convert_options){.calibration_ids = text, .calibration_count = 7},
                                    20000, NULL, NULL, &err));
    assert_ok(rrt_convert(&model, source, NULL, NULL, &err));
    assert_int_equal(model->plan.loops, 2);
    rrt_model_close(model);
    model = must_convert(source, (rrt_convert_options){.loops = 2, .rank = 1});
    assert_fails(RRT_STATUS_UNSUPPORTED, "converted already",
                 rrt_convert(&again, model, &(rrt_convert_options){.loops = 2}, NULL, &err));
    rrt_model_close(model);
    rrt_model_close(source);
}

// What runs in loops without LoRA gets one at every depth, which changes nothing before it is trained.
static void a_looped_model_is_relaxed(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *relaxed, *again;
    rrt_model *looped = must_convert(
        source, (rrt_convert_options){.loops = 3, .layers = 3, .prelude = 1, .coda = 1, .loop_norm = true});
    assert_ok(rrt__model_add_gates(looped, &err));
    looped->gates[1].weight[3] = 7;
    relaxed = must_convert(looped, (rrt_convert_options){.rank = 2, .norms = "per-depth"});
    assert_true(relaxed->plan.norms_loops);
    assert_int_equal(relaxed->depths[2].lora[RRT__MATRIX_UP].rank, 2);
    assert_int_equal(relaxed->depths[0].lora[RRT__MATRIX_UP].rank, 0);
    assert_true(relaxed->gates[1].weight[3] == 7);
    for (int loops = 1; loops <= 3; loops++) assert_same_logits(looped, loops, relaxed, loops, 0);
    assert_fails(RRT_STATUS_UNSUPPORTED, "in loops already",
                 rrt_convert(&again, looped, &(rrt_convert_options){.loops = 2}, NULL, &err));
    rrt_model_close(relaxed);
    rrt_model_close(looped);
    rrt_model_close(source);
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *model = NULL;
    rrt_convert_options options = {.loops = 2,
                                   .init = RRT_INIT_CALIBRATED,
                                   .rank = 4,
                                   .calibration_ids = text,
                                   .calibration_count = TEXT,
                                   .threads = 1};
    rrt_status status = RRT_STATUS_MEMORY;
    for (long n = 0; status; n++) {
        rrt__memory_fail_after = n;
        status = rrt_convert(&model, source, &options, NULL, &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
    }
    rrt_model_close(model);
    rrt_model_close(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_loop_is_the_original),
        cmocka_unit_test(full_rank_restores_the_original),
        cmocka_unit_test(zero_lora_is_the_plain_recursive_model),
        cmocka_unit_test(exact_matches_start_at_zero),
        cmocka_unit_test(random_rows_differ),
        cmocka_unit_test(average_of_two_is_symmetric),
        cmocka_unit_test(attention_stays_the_layers),
        cmocka_unit_test(calibration_beats_pruning),
        cmocka_unit_test(a_budget_is_spent_in_units),
        cmocka_unit_test(a_search_meets_its_target),
        cmocka_unit_test(a_search_skips_what_is_not_finite),
        cmocka_unit_test(ends_keep_their_layers),
        cmocka_unit_test(the_result_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(progress_ends_at_its_total),
        cmocka_unit_test(saving_is_atomic_and_keeps_what_is_there),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(a_looped_model_is_relaxed),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
