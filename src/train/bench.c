#include "rrt/bench.h"

#include "base/clock.h"
#include "base/progress.h"
#include "base/rates.h"
#include "base/rng.h"
#include "train/step.h"

typedef struct bench {
    const rrt_bench_options *options;
    rrt__stepper stepper;
    rrt__batch batch;
    int32_t *ids; // [batch, context + 1]: inputs start at 0, targets at 1
    int repeats;
} bench;

static rrt_status open_bench(bench *b, rrt_model *model, rrt_error *err)
{
    const rrt_bench_options *o = b->options;
    const rrt__optimizer_options adam = {
        .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .clip = 1, .scale = {1, 1, 1, 1}};
    size_t max = model->shape.context, context = o->context ? o->context : max < 512 ? max : 512;
    rrt__step_options step = {.sequences = o->batch ? o->batch : 4,
                              .context = context,
                              .recompute = o->recompute != 0,
                              .bf16 = o->bf16 != 0,
                              .threads = o->threads,
                              .objective = {RRT__DIVERGENCE_FORWARD_KL, o->teacher ? 1.0f : 0, 1}};
    if (context > max)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "sequences of %zu tokens: the model can see %zu", context,
                         max);
    RRT__TRY(rrt__model_check_f32(model, "training", err));
    if (o->teacher) RRT__TRY(rrt__model_check_vocabulary(model, o->teacher, err));
    if (o->match && !(o->teacher && o->teacher->plan.n_depths == model->plan.n_depths))
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "hidden-state distillation needs a teacher with a layer for each depth");
    if (o->match && model->shares_kv)
        return rrt__fail(
            err, RRT_STATUS_UNSUPPORTED,
            "hidden-state distillation trains each depth by itself: loops that share keys and values cannot");
    size_t rows = step.sequences * context, common = rrt__model_common_rows(model, o->teacher);
    RRT__TRY(rrt__alloc(&b->ids, rows + 1, sizeof *b->ids, "ids", err));
    for (size_t i = 0; i <= rows; i++) b->ids[i] = (int32_t)(rrt__random_bits(1, 0, i) % common);
    b->batch = (rrt__batch){step.sequences, context, b->ids, b->ids + 1, NULL};
    return rrt__stepper_create(&b->stepper, model, o->teacher, &adam, &step, err);
}

static rrt_status run(bench *b, rrt_bench_result *result, rrt_error *err)
{
    double rows = (double)(b->batch.n_sequences * b->batch.context);
    rrt__rates rates = {0};
    for (int i = 0; i <= b->repeats; i++) {
        rrt__loss_sums sums = {0};
        double start = rrt__now_seconds();
        (b->options->match ? rrt__stepper_match : rrt__stepper_gradients)(&b->stepper, &b->batch,
                                                                          (float)(1 / rows), &sums);
        rrt__stepper_update(&b->stepper, rrt__stepper_norm(&b->stepper), 1e-6);
        double rate = rows / (rrt__now_seconds() - start);
        RRT__TRY(rrt__progress_report(b->options->progress, "bench", i + 1, b->repeats + 1, err));
        if (i > 0) rrt__rates_add(&rates, rate);
    }
    *result =
        (rrt_bench_result){rrt__rates_mean(&rates), rrt__rates_deviation(&rates), rrt__peak_rss_bytes()};
    return RRT_STATUS_OK;
}

rrt_status rrt_bench_train(rrt_model *model, const rrt_bench_options *options, rrt_bench_result *result,
                           rrt_error *err)
{
    const rrt_bench_options defaults = {0};
    bench b = {.options = options ? options : &defaults};
    b.repeats = b.options->repeats > 0 ? b.options->repeats : 5;
    rrt_status status = open_bench(&b, model, err);
    if (!status) status = run(&b, result, err);
    rrt__stepper_free(&b.stepper);
    rrt__free(b.ids);
    return status;
}
