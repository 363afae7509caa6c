// The gradient of every stored tensor, and a loss curve, against PyTorch's (tools/make-gradient-golden.py),
// for both families, all kinds of plan and all losses; with the same results when activations are recomputed
// and whatever the number of threads.
#include <math.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "format/safetensors.h"
#include "kernels/gemm_bf16.h"
#include "models.h"
#include "pass/exit.h"
#include "train/step.h"

enum { SEQUENCES = 2, CONTEXT = 9, ROWS = SEQUENCES * CONTEXT, STEPS = 20 };
static const float temperature = 1.7f, kd_weight = 0.7f;
static const struct {
    const char *name;
    int divergence; // of the main loss; RRT__DIVERGENCE_COUNT: none
    rrt__exit_training exits;
} losses[] = {
    {"fkl", RRT__DIVERGENCE_FORWARD_KL, {0}},
    {"rkl", RRT__DIVERGENCE_REVERSE_KL, {0}},
    {"jsd", RRT__DIVERGENCE_JENSEN_SHANNON, {0}},
    {"tvd", RRT__DIVERGENCE_TOTAL_VARIATION, {0}},
    {"ce", RRT__DIVERGENCE_COUNT, {0}},
    {"weighted", RRT__DIVERGENCE_COUNT, {RRT_EXIT_LOSS_WEIGHTED, 0, false}},
    {"aggressive", RRT__DIVERGENCE_FORWARD_KL, {RRT_EXIT_LOSS_AGGRESSIVE, 0.3f, false}},
    {"exit-kd", RRT__DIVERGENCE_REVERSE_KL, {RRT_EXIT_LOSS_AGGRESSIVE, 0.3f, true}},
    {"exit-kd and gates", RRT__DIVERGENCE_REVERSE_KL, {RRT_EXIT_LOSS_AGGRESSIVE, 0.3f, true, true}},
    {"gates", RRT__DIVERGENCE_COUNT, {RRT_EXIT_LOSS_NONE, 0, false, true}},
};
enum { FORWARD_KL, CROSS_ENTROPY = 4, FIRST_OF_EXITS, EXIT_KD = 7, EXIT_KD_AND_GATES, ONLY_GATES };
static const char *const families[] = {"llama", "neox"};
static const char *const plans[] = {"cycle", "sequence", "ends", "normed"};
enum { PLAN_COUNT = sizeof plans / sizeof *plans };
static const char *const plans_with_exits[] = {"cycle", "ends", "normed",
                                               "loops"}; // the last with 3 loops and a coda

// The batch that the script makes for a salt.
static void make_batch(int salt, size_t vocab, int32_t ids[ROWS], int32_t targets[ROWS])
{
    for (int s = 0; s < SEQUENCES; s++)
        for (int i = 0; i <= CONTEXT; i++) {
            int32_t id = (i * i * 5 + i * 7 + s * 11 + salt * 3) % (int)vocab;
            if (i < CONTEXT) ids[s * CONTEXT + i] = id;
            if (i > 0) targets[s * CONTEXT + i - 1] = id;
        }
}

static size_t teacher_padding; // rows to spare in the teacher's embedding

typedef struct training {
    rrt_model *model, *teacher;
    rrt__stepper stepper;
    double gates; // mean loss of the last batch
} training;

static void add_gates(rrt_model *model)
{
    rrt_error err = {0};
    assert_ok(rrt__model_add_gates(model, &err));
    for (int n = 0; n < model->plan.loops - 1; n++) {
        fill_gaussian(model->gates[n].weight, model->shape.hidden, (uint64_t)n, 0, 0.3);
        model->gates[n].bias[0] = 0.3f;
    }
}

static void open_training_of(training *t, const char *family, const char *plan, int loss, bool recompute,
                             int threads, bool share_kv, bool muon)
{
    char name[64];
    rrt_error err = {0};
    snprintf(name, sizeof name, "%s-%s", family, plan);
    bool plain = losses[loss].divergence == RRT__DIVERGENCE_COUNT;
    *t = (training){.model = open_in_gradients(name), .teacher = plain ? NULL : open_in_gradients(family)};
    const rrt__optimizer_options options = {.muon = muon,
                                            .beta1 = 0.9,
                                            .beta2 = 0.95,
                                            .epsilon = 1e-8,
                                            .weight_decay = 0.1,
                                            .clip = 1,
                                            .scale = {1, 1, 1, 1, 1}};
    if (teacher_padding && t->teacher) {
        rrt_model *padded = with_padding(t->teacher, teacher_padding);
        rrt_model_close(t->teacher);
        t->teacher = padded;
    }
    if (losses[loss].exits.gates) add_gates(t->model);
    if (share_kv) assert_ok(rrt__model_share_kv(t->model, &err));
    const rrt__step_options step = {.sequences = SEQUENCES,
                                    .context = CONTEXT,
                                    .recompute = recompute,
                                    .threads = threads,
                                    .objective = {plain ? 0 : (rrt__divergence_kind)losses[loss].divergence,
                                                  plain ? 0 : kd_weight, temperature},
                                    .exits = losses[loss].exits};
    assert_ok(rrt__stepper_create(&t->stepper, t->model, plain ? NULL : t->teacher, &options, &step, &err));
}

static void open_training(training *t, const char *family, const char *plan, int loss, bool recompute,
                          int threads)
{
    open_training_of(t, family, plan, loss, recompute, threads, false, false);
}

static void close_training(training *t)
{
    rrt__stepper_free(&t->stepper);
    rrt_model_close(t->model);
    rrt_model_close(t->teacher);
}

// Adds the gradients of the batch's mean loss, which is returned.
static double run_batch(training *t, int salt)
{
    int32_t ids[ROWS], targets[ROWS];
    rrt__loss_sums sums = {0};
    make_batch(salt, t->model->shape.vocab, ids, targets);
    rrt__batch batch = {SEQUENCES, CONTEXT, ids, targets, NULL};
    rrt__stepper_gradients(&t->stepper, &batch, 1.0f / ROWS, &sums);
    assert_int_equal(sums.rows, ROWS);
    t->gates = sums.gates / ROWS;
    return sums.loss / ROWS;
}

static json_t *open_golden_json(const char *family, const char *plan)
{
    char path[512];
    snprintf(path, sizeof path, RRT_TEST_DATA "/gradients/%s-%s/golden.json", family, plan);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    return json;
}

// The tensors "LOSS.*" of the goldens, read as a model of the student's shape.
static rrt_model *open_golden_gradient(const rrt_model *model, const char *family, const char *plan,
                                       const char *loss)
{
    char path[512];
    rrt_error err = {0};
    rrt__safetensors *file;
    rrt__tensor_table table = {0};
    rrt_model *gradient;
    size_t prefix = strlen(loss) + 1;
    snprintf(path, sizeof path, RRT_TEST_DATA "/gradients/%s-%s/gradients.safetensors", family, plan);
    assert_ok(rrt__safetensors_open(&file, path, &err));
    const rrt__tensor_table *all = rrt__safetensors_tensors(file);
    for (size_t i = 0; i < all->count; i++) {
        rrt__tensor tensor = all->tensors[i];
        if (strncmp(tensor.name, loss, prefix - 1) != 0) continue;
        tensor.name += prefix;
        assert_ok(rrt__tensor_table_add(&table, &tensor, &err));
    }
    assert_ok(rrt__tensor_table_seal(&table, &err));
    rrt__family plain = *model->family; // the gradient of a gain is not above one
    plain.gain_is_one_plus_weight = false;
    const rrt__config config = {&plain, model->shape, model->plan, model->norms};
    assert_ok(rrt__model_load(&gradient, &config, &table, &plain.hf, &err));
    assert_ok(rrt_model_unpack(gradient, &err));
    gradient->family = model->family;
    rrt__tensor_table_free(&table);
    rrt__safetensors_close(file);
    return gradient;
}

typedef struct listing {
    rrt__parameter parameters[256];
    size_t count;
} listing;

static rrt_status list_one(void *user, const rrt__parameter *p, rrt_error *err)
{
    (void)err;
    listing *list = user;
    assert_true(list->count < 256);
    list->parameters[list->count++] = *p;
    return RRT_STATUS_OK;
}

static double norm_of(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = (double)a[i] - (b ? (double)b[i] : 0);
        sum += difference * difference;
    }
    return sqrt(sum);
}

// The greatest ‖got - expected‖ / ‖expected‖ of a tensor.
static double compare(const rrt_model *got, const rrt_model *expected, const char *what, double allowed)
{
    listing a = {.count = 0}, b = {.count = 0};
    double worst = 0;
    rrt__model_each_parameter(got, &got->family->hf, list_one, &a, NULL);
    rrt__model_each_parameter(expected, &got->family->hf, list_one, &b, NULL);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        const rrt__parameter *p = &a.parameters[i], *q = &b.parameters[i];
        assert_string_equal(p->name, q->name);
        size_t count = rrt__parameter_count(p);
        double relative = norm_of(p->values, q->values, count) / (norm_of(q->values, NULL, count) + 1e-7);
        if (!(relative <= allowed)) fail_msg("%s: %s is off by %.3g relative", what, p->name, relative);
        if (relative > worst) worst = relative;
    }
    return worst;
}

static void check_gradients(const char *family, const char *plan, int loss, bool recompute, int threads)
{
    training t;
    char what[128];
    open_training(&t, family, plan, loss, recompute, threads);
    json_t *json = open_golden_json(family, plan);
    double expected = json_number_value(json_object_get(json_object_get(json, "losses"), losses[loss].name));
    double got = run_batch(&t, 0);
    snprintf(what, sizeof what, "%s-%s %s%s, %d threads", family, plan, losses[loss].name,
             recompute ? " recomputed" : "", threads);
    if (!(fabs(got - expected) < 1e-5 * expected)) fail_msg("%s: loss %.8g, not %.8g", what, got, expected);
    rrt_model *gradient = open_golden_gradient(t.model, family, plan, losses[loss].name);
    double worst = compare(t.stepper.optimizer.gradient, gradient, what, 1e-4);
    if (!recompute && threads == 1) print_message("%s: gradients within %.1e relative\n", what, worst);
    rrt_model_close(gradient);
    json_decref(json);
    close_training(&t);
}

static void every_gradient_matches_pytorch(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++)
        for (int p = 0; p < PLAN_COUNT; p++)
            for (int loss = 0; loss <= CROSS_ENTROPY; loss++)
                check_gradients(families[f], plans[p], loss, false, 1);
}

// Every other family: with pieces that Llama and GPT-NeoX lack, layers of different kinds tied.
static void gradients_of_the_other_families_match_pytorch(void **state)
{
    (void)state;
    static const char *const names[] = {"gemma",  "gemma2",  "gemma3", "qwen2", "qwen3",  "smollm3",
                                        "biases", "mistral", "olmo2",  "phi3",  "granite"};
    for (int f = 0; f < (int)(sizeof names / sizeof *names); f++) {
        const char *plan = strcmp(names[f], "gemma3") == 0 ? "sequence" : "cycle";
        check_gradients(names[f], plan, CROSS_ENTROPY, false, 1);
        check_gradients(names[f], plan, CROSS_ENTROPY, false, 3);
        check_gradients(names[f], plan, CROSS_ENTROPY, true, 2);
    }
}

static void recomputing_and_threads_change_no_gradient(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++)
        for (int p = 0; p < PLAN_COUNT; p++) {
            check_gradients(families[f], plans[p], CROSS_ENTROPY, true, 1);
            check_gradients(families[f], plans[p], FORWARD_KL, false, 3);
            check_gradients(families[f], plans[p], FORWARD_KL, true, 2);
        }
}

static void gradients_of_exits_match_pytorch(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++)
        for (int p = 0; p < PLAN_COUNT; p++)
            for (int loss = FIRST_OF_EXITS; loss <= EXIT_KD; loss++) {
                check_gradients(families[f], plans_with_exits[p], loss, false, 1);
                check_gradients(families[f], plans_with_exits[p], loss, true, 2);
            }
}

static void check_curve(const char *family, const char *plan, bool muon, const char *key, double allowed)
{
    training t;
    open_training_of(&t, family, plan, FORWARD_KL, false, 2, false, muon);
    json_t *json = open_golden_json(family, plan);
    const json_t *curve = json_object_get(json, key);
    for (int step = 0; step < STEPS; step++) {
        double expected = json_number_value(json_array_get(curve, (size_t)step));
        double got = run_batch(&t, step);
        if (!(fabs(got - expected) < allowed))
            fail_msg("%s-%s: %s, step %d: loss %.6f, not %.6f", family, plan, key, step, got, expected);
        rrt__stepper_update(&t.stepper, rrt__stepper_norm(&t.stepper),
                            2e-2 * rrt__schedule((step + 1.0) / STEPS, 0.2, 0.1));
    }
    json_decref(json);
    close_training(&t);
}

static void the_loss_curve_matches_pytorch(void **state)
{
    (void)state;
    for (int p = 0; p < PLAN_COUNT; p++) {
        // Between normed loops rounding grows: 1e-7 at first, 2e-3 at most.
        check_curve("llama", plans[p], false, "curve", strcmp(plans[p], "normed") == 0 ? 5e-3 : 1e-3);
        check_curve("neox", plans[p], false, "curve", 1e-3);
        check_curve("llama", plans[p], true, "muon_curve", 1e-3);
    }
}

static double match(training *t)
{
    int32_t ids[ROWS], targets[ROWS];
    rrt__loss_sums sums = {0};
    make_batch(0, t->model->shape.vocab, ids, targets);
    rrt__batch batch = {SEQUENCES, CONTEXT, ids, targets, NULL};
    rrt__stepper_match(&t->stepper, &batch, 1.0f / ROWS, &sums);
    return sums.match / ROWS;
}

typedef double (*loss_function)(training *t);

// By central differences: along the gradient of each tensor the loss changes by its norm.
static void check_along_gradients(training *t, loss_function loss, const char *what)
{
    listing values = {.count = 0}, found = {.count = 0};
    rrt__model_each_parameter(t->model, &t->model->family->hf, list_one, &values, NULL);
    rrt__model_each_parameter(t->stepper.optimizer.gradient, &t->model->family->hf, list_one, &found, NULL);
    for (size_t i = 0; i < values.count; i++) {
        size_t count = rrt__parameter_count(&values.parameters[i]);
        float *x = values.parameters[i].values, gradient[1024];
        assert_true(count <= 1024);
        rrt__stepper_discard(&t->stepper);
        loss(t);
        memcpy(gradient, found.parameters[i].values, count * sizeof *gradient);
        double norm = norm_of(gradient, NULL, count), change[2];
        if (norm < 1e-4) continue; // some have none
        for (int side = 0; side < 2; side++) {
            float step = (side ? -3e-3f : 3e-3f) / (float)norm;
            for (size_t k = 0; k < count; k++) x[k] += step * gradient[k];
            change[side] = loss(t);
            for (size_t k = 0; k < count; k++) x[k] -= step * gradient[k];
        }
        double slope = (change[0] - change[1]) / 6e-3;
        if (!(fabs(slope - norm) < 0.02 * norm + 2e-4))
            fail_msg("%s: %s: %.5g along the gradient, not %.5g", what, values.parameters[i].name, slope,
                     norm);
    }
}

static double first_batch(training *t)
{
    return run_batch(t, 0);
}

// Loops that share keys and values, with exits: what all loops read gathers the gradients of all.
static void shared_keys_and_values_gather_all_loops_gradients(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++)
        for (int p = 0; p < PLAN_COUNT; p++)
            for (int recompute = 0; recompute < 2; recompute++) {
                training t;
                open_training_of(&t, families[f], plans_with_exits[p], FIRST_OF_EXITS, recompute,
                                 1 + recompute, true, false);
                check_along_gradients(&t, first_batch, plans_with_exits[p]);
                // Of k and v nothing but the first loop's is there to be trained.
                rrt__lora *none = t.model->depths[t.model->plan.n_depths - 1 - t.model->plan.coda].lora;
                assert_true(none[RRT__MATRIX_K].rank == 0 && none[RRT__MATRIX_Q].rank == 2);
                rrt_model *again = round_trip(t.model, "f32");
                assert_true(again->shares_kv);
                assert_same_logits(t.model, 0, again, 0, 0);
                rrt_model_close(again);
                close_training(&t);
            }
}

// The most likely token at every position of the batch, by a session with so many loops.
static void find_best(const rrt_model *model, int loops, int best[ROWS])
{
    int32_t ids[ROWS], targets[ROWS];
    size_t vocab = model->shape.vocab;
    float *logits = must_alloc(CONTEXT * vocab, sizeof *logits);
    make_batch(0, vocab, ids, targets);
    for (int s = 0; s < SEQUENCES; s++) {
        step_logits(logits, model, ids + s * CONTEXT, CONTEXT, &(rrt_session_options){1, loops});
        for (size_t i = 0; i < CONTEXT; i++)
            best[s * CONTEXT + i] = (int)rrt__argmax(logits + i * vocab, vocab);
    }
    free(logits);
}

// Loss and gradient of the gate after loop n in double, on the hidden states that the tape kept.
static double check_gate(const training *t, int n)
{
    const rrt__gate *gate = &t->model->gates[n - 1], *gradient = &t->stepper.optimizer.gradient->gates[n - 1];
    const float *hidden = t->stepper.tape.before[rrt__plan_loop(&t->model->plan, n).end];
    size_t width = t->model->shape.hidden;
    double expected[64] = {0}, bias = 0, loss = 0;
    int own[ROWS], last[ROWS];
    find_best(t->model, n, own);
    find_best(t->model, 0, last);
    for (size_t r = 0; r < ROWS; r++) {
        const float *h = hidden + r * width;
        double square = 0, logit = gate->bias[0];
        for (size_t i = 0; i < width; i++) square += (double)h[i] * h[i] / (double)width;
        for (size_t i = 0; i < width; i++) logit += (double)gate->weight[i] * h[i] / sqrt(square);
        double p = 1 / (1 + exp(-logit)), y = own[r] == last[r];
        for (size_t i = 0; i < width; i++) expected[i] += (p - y) * h[i] / sqrt(square) / ROWS;
        bias += (p - y) / ROWS;
        loss -= (y * log(p) + (1 - y) * log(1 - p)) / ROWS;
    }
    for (size_t i = 0; i < width; i++) assert_near(gradient->weight[i], expected[i], 1e-5);
    assert_near(gradient->bias[0], bias, 1e-5);
    return loss;
}

// Gates get their own gradient, and nothing else gets another than without them.
static void gates_get_a_gradient_and_change_no_other(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++)
        for (int p = 0; p < PLAN_COUNT; p++)
            for (int with = EXIT_KD_AND_GATES; with <= ONLY_GATES; with++) {
                training plain, gated;
                int without = with == ONLY_GATES ? CROSS_ENTROPY : EXIT_KD, loops;
                listing a = {.count = 0}, b = {.count = 0};
                open_training(&plain, families[f], plans_with_exits[p], without, p == 1, f + 1);
                open_training(&gated, families[f], plans_with_exits[p], with, p == 1, f + 1);
                double loss = run_batch(&plain, 0), gates = 0;
                assert_near(run_batch(&gated, 0), loss, 1e-9);
                loops = gated.model->plan.loops;
                for (int n = 1; n < loops; n++) gates += check_gate(&gated, n) / (loops - 1);
                assert_near(gated.gates, gates, 1e-5);
                rrt__model_each_parameter(plain.stepper.optimizer.gradient, &plain.model->family->hf,
                                          list_one, &a, NULL);
                rrt__model_each_parameter(gated.stepper.optimizer.gradient, &plain.model->family->hf,
                                          list_one, &b, NULL);
                for (size_t i = 0, k = 0; i < a.count; i++, k++) {
                    while (b.parameters[k].kind == RRT__PARAMETER_GATE) k++;
                    size_t count = rrt__parameter_count(&a.parameters[i]);
                    assert_true(norm_of(a.parameters[i].values, b.parameters[k].values, count) <=
                                1e-6 * norm_of(a.parameters[i].values, NULL, count));
                }
                assert_near(rrt__stepper_norm(&gated.stepper), rrt__stepper_norm(&plain.stepper), 1e-5);
                close_training(&plain);
                close_training(&gated);
            }
}

static void hidden_state_distillation_matches_finite_differences(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++)
        for (int p = 0; p < PLAN_COUNT; p++) {
            training t;
            open_training(&t, families[f], plans[p], FORWARD_KL, p == 1, 2);
            check_along_gradients(&t, match, plans[p]);
            close_training(&t);
        }
}

// What is frozen stays as it is and gets no gradient; the rest gets the gradient that it gets otherwise.
static void frozen_tensors_get_no_gradient_and_change_no_other(void **state)
{
    (void)state;
    for (int kind = 0; kind < RRT__PARAMETER_KIND_COUNT; kind++) {
        training t;
        open_training(&t, "llama", "cycle", CROSS_ENTROPY, false, 1);
        rrt_model *expected_gradient = open_golden_gradient(t.model, "llama", "cycle", "ce");
        t.stepper.tape.trains[kind] = false;
        run_batch(&t, 0);
        listing a = {.count = 0}, b = {.count = 0};
        rrt__model_each_parameter(t.stepper.optimizer.gradient, &t.model->family->hf, list_one, &a, NULL);
        rrt__model_each_parameter(expected_gradient, &t.model->family->hf, list_one, &b, NULL);
        for (size_t i = 0; i < a.count; i++) {
            size_t count = rrt__parameter_count(&a.parameters[i]);
            const float *got = a.parameters[i].values, *expected = b.parameters[i].values;
            bool frozen = (int)a.parameters[i].kind == kind;
            assert_true(norm_of(got, frozen ? NULL : expected, count) <=
                        1e-4 * norm_of(expected, NULL, count));
            if (frozen) assert_true(norm_of(got, NULL, count) == 0);
        }
        rrt_model_close(expected_gradient);
        close_training(&t);
    }
}

// Rounded factors: the same gradients as far as 8 bits of mantissa go.
static void bf16_gradients_stay_close(void **state)
{
    (void)state;
    if (!rrt__gemm_bf16_is_available()) skip();
    for (int family = 0; family < 2; family++) {
        training t;
        open_training(&t, families[family], "cycle", 0, false, 2);
        t.stepper.options.bf16 = true;
        run_batch(&t, 0);
        rrt_model *expected = open_golden_gradient(t.model, families[family], "cycle", losses[0].name);
        assert_true(compare(t.stepper.optimizer.gradient, expected, "bf16", 0.1) > 1e-4);
        rrt_model_close(expected);
        close_training(&t);
    }
}

// A teacher whose embedding has rows to spare teaches what it teaches without them: divergences are over the
// rows that both have.
static void padding_of_the_teacher_changes_no_gradient(void **state)
{
    (void)state;
    teacher_padding = 31;
    for (int loss = 0; loss < CROSS_ENTROPY; loss++) {
        training t;
        open_training(&t, "llama", "cycle", loss, false, 2);
        run_batch(&t, 0);
        rrt_model *expected = open_golden_gradient(t.model, "llama", "cycle", losses[loss].name);
        compare(t.stepper.optimizer.gradient, expected, losses[loss].name, 1e-4);
        rrt_model_close(expected);
        close_training(&t);
    }
    teacher_padding = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_matches_pytorch),
        cmocka_unit_test(gradients_of_the_other_families_match_pytorch),
        cmocka_unit_test(recomputing_and_threads_change_no_gradient),
        cmocka_unit_test(gradients_of_exits_match_pytorch),
        cmocka_unit_test(the_loss_curve_matches_pytorch),
        cmocka_unit_test(gates_get_a_gradient_and_change_no_other),
        cmocka_unit_test(shared_keys_and_values_gather_all_loops_gradients),
        cmocka_unit_test(hidden_state_distillation_matches_finite_differences),
        cmocka_unit_test(frozen_tensors_get_no_gradient_and_change_no_other),
        cmocka_unit_test(padding_of_the_teacher_changes_no_gradient),
        cmocka_unit_test(bf16_gradients_stay_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
