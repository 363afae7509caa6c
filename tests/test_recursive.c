// What makes a recursive model one: shared weights, LoRA and vectors per depth, loops that can be left early.
// The truth is a plain model with the loops unrolled and the LoRA merged.
#include "format/safetensors.h"
#include "models.h"
#include "pass/forward.h"

// Merging W + B·A rounds each weight once more.
static const double MERGED_TOLERANCE = 5e-5;

static const char *const families[] = {"llama", "neox", "gemma3"};
enum { FAMILY_COUNT = sizeof families / sizeof *families };

typedef struct layout {
    rrt__sharing sharing;
    int loops, layers_per_block, prelude, coda;
    rrt__norms_mode norms;
} layout;

static const layout layouts[] = {
    {RRT__SHARING_CYCLE, 2, 2, 0, 0, RRT__NORMS_TIED},
    {RRT__SHARING_CYCLE, 2, 2, 0, 0, RRT__NORMS_PER_DEPTH},
    {RRT__SHARING_CYCLE, 3, 2, 1, 1, RRT__NORMS_TIED},
    {RRT__SHARING_CYCLE, 2, 1, 2, 1, RRT__NORMS_FOLDED},
    {RRT__SHARING_SEQUENCE, 2, 2, 0, 0, RRT__NORMS_TIED},
    {RRT__SHARING_SEQUENCE, 3, 1, 1, 2, RRT__NORMS_PER_DEPTH},
};
enum { LAYOUT_COUNT = sizeof layouts / sizeof *layouts };

static rrt_model *build(const rrt_model *original, const layout *l)
{
    rrt_error err = {0};
    rrt__plan plan;
    assert_ok(rrt__plan_make(&plan, l->sharing, l->loops, l->layers_per_block, l->prelude, l->coda, &err));
    rrt_model *model = tie(original, &plan, l->norms);
    add_random_loras(model);
    return model;
}

typedef void (*check)(rrt_model *model, const layout *l);

static void each_layout(check function)
{
    for (int f = 0; f < FAMILY_COUNT; f++) {
        rrt_model *original = open_golden(families[f]);
        for (int i = 0; i < LAYOUT_COUNT; i++) {
            rrt_model *model = build(original, &layouts[i]);
            function(model, &layouts[i]);
            rrt_model_close(model);
        }
        rrt_model_close(original);
    }
}

static void check_unrolled(rrt_model *model, const layout *l)
{
    (void)l;
    rrt_model *plain = unroll_all(model);
    assert_same_logits(model, 0, plain, 0, MERGED_TOLERANCE);
    rrt_model_close(plain);
}

static void a_recursive_model_equals_the_unrolled_one(void **state)
{
    (void)state;
    each_layout(check_unrolled);
}

static void check_loops(rrt_model *model, const layout *l)
{
    rrt_error err = {0};
    rrt_session *session;
    for (int n = 1; n < l->loops; n++) {
        if (l->sharing == RRT__SHARING_SEQUENCE) {
            assert_fails(RRT_STATUS_UNSUPPORTED, "sequence",
                         rrt_session_open(&session, model, &(rrt_session_options){1, n}, &err));
            continue;
        }
        // By hand: all but the loops after the n-th.
        short depths[RRT__MAX_DEPTHS];
        int count = 0, left_out = l->prelude + n * l->layers_per_block, coda = model->plan.n_depths - l->coda;
        for (int d = 0; d < model->plan.n_depths; d++)
            if (d < left_out || d >= coda) depths[count++] = (short)d;
        rrt_model *plain = unroll(model, depths, count);
        assert_same_logits(model, n, plain, 0, MERGED_TOLERANCE);
        rrt_model_close(plain);
    }
    assert_int_not_equal(rrt_session_open(&session, model, &(rrt_session_options){1, l->loops + 1}, &err),
                         RRT_STATUS_OK);
    assert_int_not_equal(rrt_session_open(&session, model, &(rrt_session_options){1, -1}, &err),
                         RRT_STATUS_OK);
}

static void fewer_loops_equal_the_shorter_model(void **state)
{
    (void)state;
    each_layout(check_loops);
}

static void check_round_trip(rrt_model *model, const layout *l)
{
    rrt_model *again = round_trip(model, "f32");
    assert_same_logits(model, 0, again, 0, 0);
    assert_int_equal(again->norms, l->norms);
    assert_memory_equal(again->plan.slot, model->plan.slot, sizeof model->plan.slot);
    for (int d = 0; d < model->plan.n_depths; d++)
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            assert_int_equal(again->depths[d].lora[m].rank, model->depths[d].lora[m].rank);
    rrt_model_info before, after;
    rrt_model_describe(model, &before);
    rrt_model_describe(again, &after);
    assert_int_equal(before.params_total, after.params_total);
    assert_int_equal(before.params_lora, after.params_lora);
    assert_int_equal(after.prelude, l->prelude);
    assert_string_equal(before.sharing, after.sharing);
    rrt_model_close(again);
}

static void a_recursive_model_survives_saving(void **state)
{
    (void)state;
    each_layout(check_round_trip);
}

// One weight of the shared block is written: the model has to equal an unrolled one that has the change in
// every loop, and none that has it in one loop alone.
static void check_shared_write(rrt_model *model, const layout *l)
{
    const int slot = l->prelude;
    for (int m = 0; m < RRT__MATRIX_COUNT; m++) {
        if (!model->slots[slot].matrix[m].weight) continue;
        rrt_model *everywhere = unroll_all(model), *once = unroll_all(model);
        int last = -1;
        for (int d = 0; d < model->plan.n_depths; d++) {
            if (model->plan.slot[d] != slot) continue;
            everywhere->slots[d].matrix[m].weight[3] += 0.5f;
            last = d;
        }
        once->slots[last].matrix[m].weight[3] += 0.5f;
        model->slots[slot].matrix[m].weight[3] += 0.5f;
        assert_same_logits(model, 0, everywhere, 0, MERGED_TOLERANCE);
        assert_other_logits(model, once, 10 * MERGED_TOLERANCE);
        assert_int_not_equal(last, l->prelude); // it really is shared
        rrt_model_close(everywhere);
        rrt_model_close(once);
    }
}

static void writing_a_shared_weight_changes_every_loop(void **state)
{
    (void)state;
    each_layout(check_shared_write);
}

// The saved file holds each shared weight once, under the slot's number, and what depths own under the
// depth's.
static void the_file_holds_shared_weights_once(void **state)
{
    (void)state;
    rrt_error err = {0};
    char path[64];
    rrt__safetensors *file;
    rrt_model *original = open_golden("llama");
    const layout cycle = {RRT__SHARING_CYCLE, 2, 2, 0, 0, RRT__NORMS_TIED};
    for (int with_lora = 0; with_lora <= 1; with_lora++) {
        rrt__plan plan;
        assert_ok(rrt__plan_make(&plan, cycle.sharing, 2, 2, 0, 0, &err));
        rrt_model *model = tie(original, &plan, cycle.norms);
        if (with_lora) assert_ok(rrt__model_add_lora(model, 3, RRT__MATRIX_DOWN, 5, &err));
        temp_folder(path);
        assert_ok(rrt_model_save(model, path, &(rrt_save_options){.overwrite = 1}, &err));
        assert_ok(rrt__safetensors_open(&file, path, &err));
        const rrt__tensor_table *table = rrt__safetensors_tensors(file);
        assert_int_equal(table->count, 2 * (7 + 2) + 3 + 2 * with_lora);
        assert_non_null(rrt__tensor_table_find(table, "model.layers.1.mlp.down_proj.weight"));
        assert_null(rrt__tensor_table_find(table, "model.layers.2.mlp.down_proj.weight"));
        const rrt__tensor *b = rrt__tensor_table_find(table, "rrt.depths.3.mlp.down_proj.lora_B.weight");
        assert_true((b != NULL) == with_lora);
        if (b) assert_int_equal(b->shape[1], 5);
        rrt__safetensors_close(file);
        remove_folder(path);
        rrt_model_close(model);
    }
    rrt_model_close(original);
}

// One loop over all layers is the original, bit for bit, whatever the plan is called.
static void one_loop_is_the_original(void **state)
{
    (void)state;
    rrt_error err = {0};
    for (int f = 0; f < FAMILY_COUNT; f++) {
        rrt_model *original = open_golden(families[f]);
        const layout plans[] = {{RRT__SHARING_CYCLE, 1, 4, 0, 0, RRT__NORMS_TIED},
                                {RRT__SHARING_SEQUENCE, 1, 4, 0, 0, RRT__NORMS_PER_DEPTH},
                                {RRT__SHARING_CYCLE, 1, 2, 1, 1, RRT__NORMS_FOLDED}};
        for (int i = 0; i < 3; i++) {
            rrt__plan plan;
            assert_ok(rrt__plan_make(&plan, plans[i].sharing, 1, plans[i].layers_per_block, plans[i].prelude,
                                     plans[i].coda, &err));
            rrt_model *model = tie(original, &plan, plans[i].norms), *again = round_trip(model, "f32");
            assert_same_logits(model, 0, original, 0, 0);
            assert_same_logits(again, 0, original, 0, 0);
            rrt_model_close(again);
            rrt_model_close(model);
        }
        rrt_model_close(original);
    }
}

static void ranks_beyond_the_matrix_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = open_golden("llama");
    assert_fails(RRT_STATUS_ARGUMENT, "1 to 16",
                 rrt__model_add_lora(model, 0, RRT__MATRIX_K, 17, &err)); // [16, 32]
    assert_fails(RRT_STATUS_ARGUMENT, "rank 0", rrt__model_add_lora(model, 0, RRT__MATRIX_K, 0, &err));
    assert_ok(rrt__model_add_lora(model, 0, RRT__MATRIX_K, 16, &err));
    rrt_model *untouched = open_golden("llama");
    assert_same_logits(model, 0, untouched, 0, 0); // a LoRA of zeroes changes nothing
    rrt_model_close(untouched);
    rrt_model_close(model);
}

// Two sequences at different loops of the same slot in one call of the block: depth-wise batching.
typedef struct batch {
    const rrt_model *model;
    rrt__workspace workspace;
    rrt__sequence sequences[2];
    rrt__span spans[2];
    rrt__segment segments[2];
} batch;

enum { ROWS = 5 };

static void open_batch(batch *b, const rrt_model *model, size_t rows)
{
    rrt_error err = {0};
    *b = (batch){.model = model};
    assert_ok(rrt__workspace_create(&b->workspace, model, rows, rows, 1, &err));
    for (int i = 0; i < 2; i++) {
        rrt__sequence_init(&b->sequences[i], model, (rrt__kv_types){RRT__KV_TYPE_F16, RRT__KV_TYPE_F16},
                           model->shape.context);
        assert_ok(rrt__sequence_reserve(&b->sequences[i], rows, &err));
    }
}

static void close_batch(batch *b)
{
    for (int i = 0; i < 2; i++) rrt__sequence_free(&b->sequences[i]);
    rrt__workspace_free(&b->workspace);
}

// The block at one depth on the rows of one sequence.
static void run_alone(batch *single, rrt__sequence *sequence, const int32_t *ids, int depth)
{
    const rrt__team alone = {0, 1};
    const rrt__segment segment = {depth, 0, ROWS};
    single->spans[0] = (rrt__span){sequence, 0, ROWS};
    const rrt__pass pass = rrt__pass_make(alone, single->model, &single->workspace, single->spans, 1);
    rrt__forward_embed(&pass, ids);
    rrt__forward_block(&pass, &segment, 1);
}

static void check_two_loops(const rrt_model *model)
{
    const size_t hidden = model->shape.hidden;
    const rrt__team alone = {0, 1};
    const int32_t ids[2 * ROWS] = {5, 9, 2, 40, 11, 60, 3, 3, 77, 12};
    const rrt__segment segments[2] = {{0, 0, ROWS}, {2, ROWS, 2 * ROWS}}; // depths 0 and 2 are slot 0
    batch both, single;
    open_batch(&both, model, 2 * ROWS);
    open_batch(&single, model, ROWS);
    // A sequence in its second loop has been through the first.
    run_alone(&single, &both.sequences[1], ids + ROWS, 0);
    run_alone(&single, &single.sequences[1], ids + ROWS, 0);
    for (size_t i = 0; i < 2; i++) both.spans[i] = (rrt__span){&both.sequences[i], 0, ROWS};
    const rrt__pass pass = rrt__pass_make(alone, model, &both.workspace, both.spans, 2);
    rrt__forward_embed(&pass, ids);
    rrt__forward_block(&pass, segments, 2);
    for (size_t i = 0; i < 2; i++) {
        run_alone(&single, &single.sequences[i], ids + i * ROWS, segments[i].depth);
        const float *rows = both.workspace.hidden + i * ROWS * hidden;
        assert_near(max_difference(single.workspace.hidden, rows, ROWS * hidden), 0, 1e-5);
    }
    close_batch(&single);
    close_batch(&both);
}

static void two_loops_run_in_one_call_as_they_do_alone(void **state)
{
    (void)state;
    rrt_error err = {0};
    for (int f = 0; f < FAMILY_COUNT; f++) {
        rrt_model *original = open_golden(families[f]);
        rrt_model *model = build(original, &layouts[1]); // norms and LoRA per depth
        check_two_loops(model);
        rrt__sequence own, shared;
        rrt__sequence_init(&own, model, (rrt__kv_types){RRT__KV_TYPE_F16, RRT__KV_TYPE_F16},
                           model->shape.context);
        assert_ok(rrt__model_share_kv(model, &err));
        rrt__sequence_init(&shared, model, (rrt__kv_types){RRT__KV_TYPE_F16, RRT__KV_TYPE_F16},
                           model->shape.context);
        assert_int_equal(own.page_bytes, 2 * shared.page_bytes);
        check_two_loops(model);
        assert_fails(RRT_STATUS_ARGUMENT, "reads the keys and values of depth 1",
                     rrt__model_add_lora(model, 3, RRT__MATRIX_V, 1, &err));
        rrt_model_close(model);
        rrt_model_close(original);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recursive_model_equals_the_unrolled_one),
        cmocka_unit_test(fewer_loops_equal_the_shorter_model),
        cmocka_unit_test(a_recursive_model_survives_saving),
        cmocka_unit_test(writing_a_shared_weight_changes_every_loop),
        cmocka_unit_test(the_file_holds_shared_weights_once),
        cmocka_unit_test(one_loop_is_the_original),
        cmocka_unit_test(ranks_beyond_the_matrix_are_refused),
        cmocka_unit_test(two_loops_run_in_one_call_as_they_do_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
