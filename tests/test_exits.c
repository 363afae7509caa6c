// Leaving the loops: rules, keys and values of what is not run, and how they are measured. The truth is a
// decoder in double that takes one token after the other and computes only what that token needs.
#include "eval/exits.h"
#include "models.h"

enum { WINDOWS = 3, LENGTH = 14, ROWS = WINDOWS * (LENGTH - 1), MAX_WIDTH = 256, MAX_DEPTHS = 16 };

typedef struct layout {
    int loops, layers_per_block, prelude, coda;
    bool norms_loops;
} layout;

static const layout layouts[] = {
    {3, 2, 1, 1, false}, {2, 2, 0, 0, false}, {3, 1, 0, 2, false}, {3, 2, 0, 1, true}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };
static const char *const rules[] = {"loops",     "confidence", "margin", "entropy",
                                    "unchanged", "state",      "gate",   "oracle"};
static const char *const policies[] = {"propagate", "copy", "recompute", "shared"};

static rrt_model *build(const layout *l)
{
    rrt_error err = {0};
    rrt__plan plan;
    rrt_model *original = open_golden("llama");
    assert_ok(
        rrt__plan_make(&plan, RRT__SHARING_CYCLE, l->loops, l->layers_per_block, l->prelude, l->coda, &err));
    plan.norms_loops = l->norms_loops;
    rrt_model *model = tie(original, &plan, RRT__NORMS_PER_DEPTH);
    add_random_loras(model);
    assert_ok(rrt__model_add_gates(model, &err));
    for (int n = 0; n < l->loops - 1; n++)
        fill_gaussian(model->gates[n].weight, model->shape.hidden, (uint64_t)(500 + n), 0, 0.2);
    rrt_model_close(original);
    return model;
}

static void make_ids(const rrt_model *model, int32_t ids[WINDOWS * LENGTH])
{
    for (int i = 0; i < WINDOWS * LENGTH; i++) ids[i] = (i * i * 3 + i * 31 + 7) % (int)model->shape.vocab;
}

// --- the reference
// ------------------------------------------------------------------------------------------

typedef struct reference {
    const rrt_model *model;
    double k[MAX_DEPTHS][LENGTH][MAX_WIDTH], v[MAX_DEPTHS][LENGTH][MAX_WIDTH];
} reference;

static void norm(const rrt_model *model, const rrt__norm *with, double *out, const double *x)
{
    size_t width = model->shape.hidden;
    double square = 0;
    for (size_t i = 0; i < width; i++) square += x[i] * x[i] / (double)width;
    for (size_t i = 0; i < width; i++)
        out[i] = x[i] / sqrt(square + model->shape.norm_epsilon) * with->gain[i];
}

static void apply(double *y, const float *w, const double *x, size_t out, size_t in)
{
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++) y[o] += (double)w[o * in + i] * x[i];
}

// y = (W + B·A)·x
static void project(const rrt_model *model, int depth, rrt__matrix m, double *y, const double *x)
{
    const rrt__linear *linear = &model->slots[model->plan.slot[depth]].matrix[m];
    const rrt__lora *lora = &model->depths[depth].lora[m];
    double low[MAX_WIDTH] = {0};
    memset(y, 0, linear->out * sizeof *y);
    apply(y, linear->weight, x, linear->out, linear->in);
    apply(low, lora->a.weight, x, lora->rank, linear->in);
    apply(y, lora->b.weight, low, linear->out, lora->rank);
}

static void rotate(const rrt_model *model, double *x, size_t heads, size_t position)
{
    size_t half = model->shape.rotary / 2;
    for (size_t h = 0; h < heads; h++)
        for (size_t p = 0; p < half; p++) {
            double angle = (double)position * pow(model->shape.rope.base, -(double)p / (double)half);
            double *a = x + h * model->shape.head_dim + p, *b = a + half, first = *a;
            *a = first * cos(angle) - *b * sin(angle);
            *b = *b * cos(angle) + first * sin(angle);
        }
}

// Keys and values of one token at one depth.
static void store(reference *r, int depth, const double *h, size_t t)
{
    double x[MAX_WIDTH];
    norm(r->model, &r->model->depths[depth].norm[RRT__NORM_ATTENTION], x, h);
    project(r->model, depth, RRT__MATRIX_K, r->k[depth][t], x);
    project(r->model, depth, RRT__MATRIX_V, r->v[depth][t], x);
    rotate(r->model, r->k[depth][t], r->model->shape.kv_heads, t);
}

static void block(reference *r, int depth, double *h, size_t t)
{
    const rrt__shape *s = &r->model->shape;
    const rrt__plan *plan = &r->model->plan;
    int from = depth; // whose keys and values are read
    if (r->model->shares_kv && depth < rrt__plan_coda(plan).begin)
        while (from - plan->layers_per_block >= plan->prelude) from -= plan->layers_per_block;
    double x[MAX_WIDTH], q[MAX_WIDTH], mixed[MAX_WIDTH] = {0}, y[MAX_WIDTH], up[MAX_WIDTH], p[LENGTH];
    if (from == depth) store(r, depth, h, t);
    norm(r->model, &r->model->depths[depth].norm[RRT__NORM_ATTENTION], x, h);
    project(r->model, depth, RRT__MATRIX_Q, q, x);
    rotate(r->model, q, s->heads, t);
    for (size_t head = 0; head < s->heads; head++) {
        size_t at = head * s->head_dim, kv = head / (s->heads / s->kv_heads) * s->head_dim;
        double total = 0;
        for (size_t j = 0; j <= t; j++) {
            double dot = 0;
            for (size_t i = 0; i < s->head_dim; i++) dot += q[at + i] * r->k[from][j][kv + i];
            total += p[j] = exp(dot / sqrt((double)s->head_dim));
        }
        for (size_t j = 0; j <= t; j++)
            for (size_t i = 0; i < s->head_dim; i++) mixed[at + i] += p[j] / total * r->v[from][j][kv + i];
    }
    project(r->model, depth, RRT__MATRIX_O, y, mixed);
    for (size_t i = 0; i < s->hidden; i++) h[i] += y[i];
    norm(r->model, &r->model->depths[depth].norm[RRT__NORM_MLP], x, h);
    project(r->model, depth, RRT__MATRIX_GATE, y, x);
    project(r->model, depth, RRT__MATRIX_UP, up, x);
    for (size_t i = 0; i < s->ffn; i++) up[i] *= y[i] / (1 + exp(-y[i]));
    project(r->model, depth, RRT__MATRIX_DOWN, y, up);
    for (size_t i = 0; i < s->hidden; i++) h[i] += y[i];
}

// What happens to a state where a loop begins.
static void enter(const reference *r, int n, double *h)
{
    if (n > 1 && r->model->plan.norms_loops) norm(r->model, &r->model->final_norm, h, h);
}

static void run_coda(reference *r, double *h, size_t t)
{
    for (int d = r->model->plan.n_depths - r->model->plan.coda; d < r->model->plan.n_depths; d++)
        block(r, d, h, t);
}

// Probabilities of the exit at h; returns the most likely token.
static int logits_row(reference *r, const double *h, size_t t, double *p)
{
    size_t vocab = r->model->shape.vocab, width = r->model->shape.hidden;
    double x[MAX_WIDTH], total = 0;
    int best = 0;
    memcpy(x, h, sizeof x);
    run_coda(r, x, t);
    norm(r->model, &r->model->final_norm, x, x);
    memset(p, 0, vocab * sizeof *p);
    apply(p, r->model->head->weight, x, vocab, width);
    for (size_t i = 0; i < vocab; i++) total += p[i] = exp(p[i]);
    for (size_t i = 0; i < vocab; i++) p[i] /= total;
    for (size_t i = 0; i < vocab; i++)
        if (p[i] > p[best]) best = (int)i;
    return best;
}

// What the rule measures after loop n.
static double measure(const rrt_model *model, rrt__exit_kind kind, int n, const double *h,
                      const double *before, const double *p, int best, int best_before, int last)
{
    size_t width = model->shape.hidden;
    double square = 0, change = 0, second = 0, entropy = 0, logit = 0;
    for (size_t i = 0; i < model->shape.vocab; i++) {
        if ((int)i != best && p[i] > second) second = p[i];
        entropy -= p[i] * log(p[i]);
    }
    for (size_t i = 0; i < width; i++) {
        square += h[i] * h[i];
        change += (h[i] - before[i]) * (h[i] - before[i]);
        logit += model->gates[n - 1].weight[i] * h[i];
    }
    logit = logit / sqrt(square / (double)width) + model->gates[n - 1].bias[0];
    const double found[] = {n,
                            p[best],
                            p[best] - second,
                            -entropy,
                            best == best_before,
                            -sqrt(change / square),
                            1 / (1 + exp(-logit)),
                            best == last};
    return found[kind];
}

typedef struct outcome {
    int left, best;
    double loss;
} outcome;

static outcome decode(reference *r, const rrt__exit_rule *rule, int policy, int32_t id, int32_t target,
                      int last, size_t t)
{
    const rrt__plan *plan = &r->model->plan;
    size_t width = r->model->shape.hidden, bytes = width * sizeof(double);
    double h[MAX_WIDTH], before[MAX_WIDTH], deep[MAX_WIDTH],
        *p = must_alloc(r->model->shape.vocab, sizeof *p);
    outcome out = {.left = plan->loops};
    int best = -1;
    for (size_t i = 0; i < width; i++) h[i] = r->model->embedding->weight[(size_t)id * width + i];
    for (int d = 0; d < plan->prelude; d++) block(r, d, h, t);
    for (int n = 1; n <= plan->loops; n++) {
        memcpy(before, h, bytes);
        enter(r, n, h);
        for (int d = rrt__plan_loop(plan, n).begin; d < rrt__plan_loop(plan, n).end; d++) block(r, d, h, t);
        if (n == plan->loops) break;
        int best_before = best;
        best = logits_row(r, h, t, p);
        if (measure(r->model, rule->kind, n, h, before, p, best, best_before, last) < rule->limit) continue;
        out.left = n;
        break;
    }
    memcpy(deep, h, bytes);
    for (int d = rrt__plan_loop(plan, out.left).end; d < rrt__plan_coda(plan).begin; d++) {
        int n = 1 + (d - plan->prelude) / plan->layers_per_block;
        if (d == rrt__plan_loop(plan, n).begin) {
            if (policy == RRT__KV_PROPAGATE) memcpy(deep, h, bytes);
            enter(r, n, deep);
        }
        if (policy == RRT__KV_RECOMPUTE) block(r, d, deep, t);
        if (policy == RRT__KV_PROPAGATE) store(r, d, deep, t);
        if (policy == RRT__KV_COPY) {
            memcpy(r->k[d][t], r->k[d - plan->layers_per_block][t], sizeof r->k[d][t]);
            memcpy(r->v[d][t], r->v[d - plan->layers_per_block][t], sizeof r->v[d][t]);
        }
    }
    out.best = logits_row(r, h, t, p);
    out.loss = -log(p[target]);
    if (policy == RRT__KV_RECOMPUTE) run_coda(r, deep, t);
    free(p);
    return out;
}

// --- the tests
// ----------------------------------------------------------------------------------------------

// A threshold that some tokens reach: between two scores, so that rounding decides nothing.
static double between_scores(const rrt__exit_rows *rows)
{
    double low = rows->score[ROWS / 3], high = INFINITY;
    for (int i = 0; i < ROWS; i++)
        if (rows->score[i] > low && rows->score[i] < high) high = rows->score[i];
    return isfinite(high) ? (low + high) / 2 : low + 1e-3;
}

static void check_rule(const rrt_model *model, const rrt__cut *cut, rrt__exit_rows *rows, rrt__exit_kind kind,
                       rrt__kv_policy policy)
{
    rrt_error err = {0};
    rrt__exit_rule rule = {kind, kind == RRT__EXIT_LOOPS ? 2 : 1};
    const rrt_eval_options options = {.threads = 1 + (int)kind % 3};
    reference *r = must_alloc(1, sizeof *r);
    int early = 0;
    const rrt__exit_run run = {model, cut, &options, policy, {RRT__KV_TYPE_F32, RRT__KV_TYPE_F32}};
    assert_ok(rrt__exit_rows_measure(rows, &run, kind, 1, &err));
    if (rrt__exit_has_threshold(kind) && kind != RRT__EXIT_LOOPS) rule.limit = between_scores(rows);
    assert_ok(rrt__exit_rows_decode(rows, &run, &rule, 0, WINDOWS, &err));
    for (size_t w = 0, row = 0; w < WINDOWS; w++) {
        int32_t ids[LENGTH];
        rrt__cut_window(cut, w, ids);
        r->model = model;
        for (size_t t = 0; t < LENGTH - 1; t++, row++) {
            int last = rows->best[(model->plan.loops - 1) * ROWS + row];
            outcome expected = decode(r, &rule, (int)policy, ids[t], ids[t + 1], last, t);
            early += expected.left < model->plan.loops;
            if (rows->left[row] != expected.left || rows->rule_best[row] != expected.best ||
                !(fabs(rows->rule_loss[row] - expected.loss) < 1e-4))
                fail_msg(
                    "%s, %s, token %zu: left after %d loops with token %d, %.6f nats; %d, %d, %.6f expected",
                    rules[kind], policies[policy], row, rows->left[row], rows->rule_best[row],
                    rows->rule_loss[row], expected.left, expected.best, expected.loss);
        }
    }
    if (kind != RRT__EXIT_ORACLE && kind != RRT__EXIT_UNCHANGED && model->plan.loops > 2)
        assert_true(early > 3 && early <= ROWS);
    free(r);
}

static void every_rule_and_policy_matches_the_reference(void **state)
{
    (void)state;
    rrt_error err = {0};
    for (int l = 0; l < LAYOUTS; l++) {
        rrt_model *model = build(&layouts[l]);
        int32_t ids[WINDOWS * LENGTH];
        rrt__cut cut;
        rrt__exit_rows rows;
        make_ids(model, ids);
        assert_ok(
            rrt__cut_make(&cut, model, ids, WINDOWS * LENGTH, &(rrt_eval_options){.context = LENGTH}, &err));
        assert_ok(rrt__exit_rows_create(&rows, model, &cut, &err));
        for (int kind = 0; kind < RRT__EXIT_KIND_COUNT; kind++)
            for (int policy = 0; policy < RRT__KV_SHARED; policy++)
                check_rule(model, &cut, &rows, (rrt__exit_kind)kind, (rrt__kv_policy)policy);
        assert_ok(rrt__model_share_kv(model, &err));
        for (int kind = 0; kind < RRT__EXIT_KIND_COUNT; kind++)
            for (int policy = RRT__KV_RECOMPUTE; policy <= RRT__KV_SHARED; policy++)
                check_rule(model, &cut, &rows, (rrt__exit_kind)kind, (rrt__kv_policy)policy);
        rrt__exit_rows_free(&rows);
        rrt_model_close(model);
    }
}

// The public function: what each exit says is what fewer loops say, and the rest follows.
static void each_exit_says_what_fewer_loops_say(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = build(&layouts[0]);
    int32_t ids[WINDOWS * LENGTH];
    rrt_eval_options options = {
        .threads = 2, .context = LENGTH, .kv_type = "f32"}; // exactly what decoding reads
    rrt_eval_exits_result all, some;
    rrt_eval_ppl_result plain;
    make_ids(model, ids);
    assert_ok(rrt_eval_exits(model, ids, WINDOWS * LENGTH, &options, NULL, &all, &err));
    assert_int_equal(all.tokens, ROWS);
    for (int n = 1; n <= 3; n++) {
        options.loops = n;
        assert_ok(rrt_eval_ppl(model, ids, WINDOWS * LENGTH, &options, &plain, &err));
        assert_near(all.exits[n - 1].ppl, plain.ppl, 1e-6 * plain.ppl);
        // All tokens leave at one exit, whatever becomes of keys and values that nobody reads.
        char rule[16];
        snprintf(rule, sizeof rule, "loops:%d", n);
        const rrt_exit_options exits = {rule, policies[n - 1]};
        assert_ok(rrt_eval_exits(model, ids, WINDOWS * LENGTH, &options, &exits, &some, &err));
        if (n < 3) assert_near(some.exits[n - 1].share, 1, 1e-9);
        if (n < 3) assert_near(some.ppl, plain.ppl, 1e-5 * plain.ppl);
        assert_near(some.mean_loops, n, 1e-9);
        rrt_eval_exits_free(&some);
    }
    assert_near(all.mean_loops, 3, 1e-9);
    assert_near(all.ppl, plain.ppl, 1e-6 * plain.ppl);
    assert_near(all.agreement, 1, 1e-9);
    assert_near(all.exits[2].agreement, 1, 1e-9);
    assert_int_equal(all.n_points, 0);
    assert_near(all.exits[0].oracle_share, all.exits[0].agreement, 1e-9);

    // The oracle changes no token where the rest is as if all loops had run (paper App. K).
    const rrt_exit_options oracle = {"oracle", "recompute"};
    assert_ok(rrt_eval_exits(model, ids, WINDOWS * LENGTH, &options, &oracle, &some, &err));
    assert_near(some.agreement, 1, 1e-9);
    rrt_eval_exits_free(&some);
    rrt_eval_exits_free(&all);
    rrt_model_close(model);
}

// Without a coda, a threshold of the sweep is what the rule does with recomputed keys and values.
static void the_sweep_predicts_each_threshold(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = build(&layouts[1]);
    int32_t ids[WINDOWS * LENGTH];
    const rrt_eval_options options = {.threads = 1, .context = LENGTH, .kv_type = "f32"};
    make_ids(model, ids);
    for (int kind = RRT__EXIT_CONFIDENCE; kind <= RRT__EXIT_GATE; kind++) {
        rrt_eval_exits_result swept, found;
        char rule[64];
        if (!rrt__exit_has_threshold((rrt__exit_kind)kind)) continue;
        snprintf(rule, sizeof rule, "%s:0.5", rules[kind]);
        assert_ok(rrt_eval_exits(model, ids, WINDOWS * LENGTH, &options,
                                 &(rrt_exit_options){rule, "recompute"}, &swept, &err));
        assert_true(swept.n_points > 10);
        assert_near(swept.points[0].mean_loops, 1, 1e-9);
        const rrt_eval_exits_point *middle = &swept.points[swept.n_points / 2];
        // A token stands on the threshold itself.
        double step = kind == RRT__EXIT_ENTROPY || kind == RRT__EXIT_STATE ? 1e-6 : -1e-6;
        snprintf(rule, sizeof rule, "%s:%.9g", rules[kind], middle->threshold + step);
        assert_ok(rrt_eval_exits(model, ids, WINDOWS * LENGTH, &options,
                                 &(rrt_exit_options){rule, "recompute"}, &found, &err));
        assert_near(found.mean_loops, middle->mean_loops, 1e-9);
        assert_near(found.agreement, middle->agreement, 1e-9);
        assert_near(found.ppl, middle->ppl, 1e-4 * middle->ppl);
        rrt_eval_exits_free(&swept);
        rrt_eval_exits_free(&found);
    }
    rrt_model_close(model);
}

static void impossible_rules_and_policies_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt_model *model = build(&layouts[0]), *plain = open_golden("llama");
    rrt__exit_rule rule;
    rrt__kv_policy policy;
    const char *const unknown[] = {"", "some", "confidences:1", "unchanged:1", "oracle:", "conf:0.5"};
    const char *const numbers[] = {"confidence", "confidence:", "confidence:x", "confidence:0.5x",
                                   "margin:1.1", "gate:nan",    "entropy:-1",   "state:-0.1",
                                   "loops:1.5",  "loops:0"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_fails(
            RRT_STATUS_ARGUMENT, "is not known: loops:N",
            rrt__exit_rule_parse(&rule, unknown[i], model, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_fails(
            RRT_STATUS_ARGUMENT, "number from",
            rrt__exit_rule_parse(&rule, numbers[i], model, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "4 loops",
                 rrt__exit_rule_parse(&rule, "loops:4", model, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    assert_fails(
        RRT_STATUS_UNSUPPORTED, "no loop boundary",
        rrt__exit_rule_parse(&rule, "margin:0.5", plain, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    model->gates = NULL;
    assert_fails(RRT_STATUS_UNSUPPORTED, "rrt train MODEL --gates",
                 rrt__exit_rule_parse(&rule, "gate:0.5", model, RRT__KV_PROPAGATE, (rrt__kv_types){0}, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "propagate, copy, recompute, shared or last",
                 rrt__kv_policy_parse(&policy, "keep", model, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "--kv shared", rrt__kv_policy_parse(&policy, "shared", model, &err));
    assert_ok(rrt__model_share_kv(model, &err));
    assert_fails(RRT_STATUS_UNSUPPORTED, "share those of the first",
                 rrt__kv_policy_parse(&policy, "copy", model, &err));
    assert_ok(rrt__kv_policy_parse(&policy, NULL, model, &err));
    assert_int_equal(policy, RRT__KV_SHARED);
    assert_fails(RRT_STATUS_UNSUPPORTED, "none that could", rrt__model_share_kv(plain, &err));
    rrt_model_close(model);
    rrt_model_close(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_and_policy_matches_the_reference),
        cmocka_unit_test(each_exit_says_what_fewer_loops_say),
        cmocka_unit_test(the_sweep_predicts_each_threshold),
        cmocka_unit_test(impossible_rules_and_policies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
