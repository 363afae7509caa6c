// Layers that are kept as they are: which, and how they are run.
#include <math.h>

#include "checkpoint/checkpoint.h"
#include "models.h"

static rrt_error err;

static const int32_t text[] = {1, 5, 9, 33, 2, 40, 11, 6, 60, 3, 17, 21, 8, 50, 30, 12, 4, 22, 45, 7};
enum { TEXT = sizeof text / sizeof *text };

static void pruning_keeps_layers_stepwise(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama");
    rrt_convert_options options = {.sharing = "none", .layers = 3};
    rrt_convert_report report;
    rrt_model *model;
    static const int kept[3] = {0, 2, 3}; // 0, 1.5 → 2, 3
    size_t bytes = source->shape.ffn * source->shape.hidden * sizeof(float);
    assert_ok(rrt_convert(&model, source, &options, &report, &err));
    assert_int_equal(model->plan.n_depths, 3);
    assert_int_equal(report.n_kept_layers, 3);
    for (int d = 0; d < 3; d++) {
        assert_int_equal(report.kept_layers[d], kept[d]);
        assert_memory_equal(model->slots[d].matrix[RRT__MATRIX_UP].weight,
                            source->slots[kept[d]].matrix[RRT__MATRIX_UP].weight, bytes);
        assert_memory_equal(model->depths[d].norm[0].gain, source->depths[kept[d]].norm[0].gain,
                            model->shape.hidden * sizeof(float));
    }
    rrt_convert_report_free(&report);
    rrt_model_close(model);
    rrt_model_close(source);
}

static void layers_can_be_named(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *model;
    static const int named[] = {0, 1, 3}, twice[] = {1, 1}, beyond[] = {0, 4};
    static const short slot[4] = {0, 1, 1, 2};
    rrt_convert_options options = {.keep = named, .n_keep = 3, .loops = 2, .prelude = 1, .coda = 1};
    rrt_convert_report report;
    size_t bytes = source->shape.ffn * source->shape.hidden * sizeof(float);
    assert_ok(rrt_convert(&model, source, &options, &report, &err));
    assert_memory_equal(model->plan.slot, slot, sizeof slot);
    assert_memory_equal(report.kept_layers, named, sizeof named);
    for (int s = 0; s < 3; s++)
        assert_memory_equal(model->slots[s].matrix[RRT__MATRIX_UP].weight,
                            source->slots[named[s]].matrix[RRT__MATRIX_UP].weight, bytes);
    rrt_convert_report_free(&report);
    rrt_model_close(model);
    options = (rrt_convert_options){.sharing = "none", .keep = twice, .n_keep = 2};
    assert_fails(RRT_STATUS_ARGUMENT, "layer 1 cannot be kept there",
                 rrt_convert(&model, source, &options, NULL, &err));
    options.keep = beyond;
    assert_fails(RRT_STATUS_ARGUMENT, "0 to 3", rrt_convert(&model, source, &options, NULL, &err));
    options.layers = 3;
    assert_fails(RRT_STATUS_ARGUMENT, "2 layers are named",
                 rrt_convert(&model, source, &options, NULL, &err));
    rrt_model_close(source);
}

static void silence(rrt_model *model, int layer)
{
    static const rrt__matrix writers[] = {RRT__MATRIX_O, RRT__MATRIX_DOWN};
    for (int i = 0; i < 2; i++) {
        rrt__linear *linear = &model->slots[layer].matrix[writers[i]];
        memset(linear->weight, 0, linear->out * linear->in * sizeof(float));
        float *bias = model->depths[layer].bias[writers[i]];
        if (bias) memset(bias, 0, linear->out * sizeof(float));
    }
}

// Two of four layers add nothing, and stepwise pruning would keep both.
static void pruning_by_a_text_drops_what_nobody_misses(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "neox"};
    for (int i = 0; i < 4; i++) {
        rrt_model *source = open_golden(names[i / 2]), *model;
        rrt_convert_options options = {.sharing = "none",
                                       .layers = 2,
                                       .init = RRT_INIT_CALIBRATED,
                                       .calibration_ids = text,
                                       .calibration_count = TEXT,
                                       .threads = 1 + i % 2};
        rrt_convert_report report;
        silence(source, 0);
        silence(source, 3);
        assert_ok(rrt_convert(&model, source, &options, &report, &err));
        assert_int_equal(report.n_kept_layers, 2);
        assert_int_equal(report.kept_layers[0], 1);
        assert_int_equal(report.kept_layers[1], 2);
        assert_same_logits(model, 0, source, 0, 1e-6);
        rrt_convert_report_free(&report);
        rrt_model_close(model);

        source->final_norm.gain[0] = NAN;
        assert_fails(RRT_STATUS_NUMERIC, "the output is not finite",
                     rrt_convert(&model, source, &options, NULL, &err));
        rrt_model_close(source);
    }
}

static void kept_layers_run_in_loops(void **state)
{
    (void)state;
    rrt_model *source = open_golden("llama"), *pruned, *model;
    rrt_convert_options options = {.sharing = "none", .layers = 3};
    static const short slot[4] = {0, 1, 1, 2};
    assert_ok(rrt_convert(&pruned, source, &options, NULL, &err));
    options = (rrt_convert_options){.layers = 3, .loops = 2, .prelude = 1, .coda = 1, .norms = "per-depth"};
    assert_ok(rrt_convert(&model, source, &options, NULL, &err));
    assert_int_equal(model->plan.n_depths, 4);
    assert_memory_equal(model->plan.slot, slot, sizeof slot);
    assert_same_logits(model, 1, pruned, 0, 1e-6);
    assert_memory_equal(model->depths[2].norm[0].gain, model->depths[1].norm[0].gain,
                        model->shape.hidden * sizeof(float));
    rrt_model_close(model);
    rrt_model_close(pruned);
    rrt_model_close(source);
}

// The norms that say how much a loop adds begin at the gain, and no others.
static void later_loops_begin_at_the_gain(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        rrt__norm_place scaled, kept;
    } cases[] = {{"llama", RRT__NORM_ATTENTION, RRT__NORM_COUNT},
                 {"neox", RRT__NORM_MLP, RRT__NORM_COUNT},
                 {"gemma3", RRT__NORM_AFTER_MLP, RRT__NORM_Q}};
    for (int i = 0; i < 3; i++) {
        rrt_model *source = open_golden(cases[i].name), *model;
        rrt_convert_options options = {.layers = 3,
                                       .loops = 3,
                                       .prelude = 1,
                                       .loop_gain = 0.5,
                                       .init = RRT_INIT_CALIBRATED,
                                       .calibration_ids = text,
                                       .calibration_count = TEXT,
                                       .norms = "per-depth",
                                       .threads = 1};
        rrt_convert_report report;
        assert_ok(rrt_convert(&model, source, &options, &report, &err));
        assert_int_equal(report.n_kept_layers, 3);
        assert_int_equal(report.n_rows, 0);
        for (int d = 3; d < model->plan.n_depths; d++) {
            const rrt__norm *first = model->depths[model->plan.slot[d]].norm, *later = model->depths[d].norm;
            rrt__norm_place scaled = cases[i].scaled, kept = cases[i].kept;
            assert_float_equal(later[scaled].gain[1], 0.5 * first[scaled].gain[1], 1e-6);
            if (first[scaled].bias)
                assert_float_equal(later[scaled].bias[1], 0.5 * first[scaled].bias[1], 1e-6);
            if (kept < RRT__NORM_COUNT) assert_float_equal(later[kept].gain[1], first[kept].gain[1], 0);
        }
        rrt_convert_report_free(&report);
        rrt_model_close(model);
        rrt_model_close(source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pruning_keeps_layers_stepwise),
        cmocka_unit_test(layers_can_be_named),
        cmocka_unit_test(pruning_by_a_text_drops_what_nobody_misses),
        cmocka_unit_test(kept_layers_run_in_loops),
        cmocka_unit_test(later_loops_begin_at_the_gain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
