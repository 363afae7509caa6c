#include "pass/exit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/locale.h"
#include "kernels/kernels.h"

// Syntax of the rules. A falling rule's score is minus its measure: every rule leaves above its limit.
static const struct {
    const char *name;
    bool has_threshold, falls, reads_logits;
    double min, max; // of the threshold
} kinds[RRT__EXIT_KIND_COUNT] = {
    [RRT__EXIT_LOOPS] = {"loops", true, false, false, 1, RRT__MAX_DEPTHS},
    [RRT__EXIT_CONFIDENCE] = {"confidence", true, false, true, 0, 1},
    [RRT__EXIT_MARGIN] = {"margin", true, false, true, 0, 1},
    [RRT__EXIT_ENTROPY] = {"entropy", true, true, true, 0, 100},
    [RRT__EXIT_UNCHANGED] = {"unchanged", false, false, true, 0, 0},
    [RRT__EXIT_STATE] = {"state", true, true, false, 0, 1e6},
    [RRT__EXIT_GATE] = {"gate", true, false, false, 0, 1},
    [RRT__EXIT_ORACLE] = {"oracle", false, false, true, 0, 0},
};

static rrt_status fail_unknown(const char *text, rrt_error *err)
{
    return rrt__fail(
        err, RRT_STATUS_ARGUMENT,
        "the exit rule '%s' is not known: loops:N, confidence:P, margin:P, entropy:H, unchanged, "
        "state:D, gate:P or oracle",
        text);
}

static rrt_status check_rule(const rrt__exit_rule *rule, const rrt_model *model, rrt_error *err)
{
    if (rule->kind == RRT__EXIT_LOOPS) return rrt__plan_check_loops(&model->plan, (int)rule->limit, err);
    if (!rrt__plan_has_boundary(&model->plan))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "no token can leave early: the plan (sharing: %s, %d loops) has no loop boundary",
                         rrt__sharing_name(model->plan.sharing), model->plan.loops);
    if (rule->kind == RRT__EXIT_GATE && !model->gates) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED, "the model has no gates to leave by");
        return rrt__hint(err, status, "rrt train MODEL --gates trains them");
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__exit_rule_parse(rrt__exit_rule *rule, const char *text, const rrt_model *model,
                                rrt_error *err)
{
    size_t length = strcspn(text, ":");
    int kind = 0;
    while (kind < RRT__EXIT_KIND_COUNT &&
           (strlen(kinds[kind].name) != length || strncmp(text, kinds[kind].name, length) != 0))
        kind++;
    if (kind == RRT__EXIT_KIND_COUNT) return fail_unknown(text, err);
    *rule = (rrt__exit_rule){(rrt__exit_kind)kind, 1};
    if (!kinds[kind].has_threshold)
        return text[length] ? fail_unknown(text, err) : check_rule(rule, model, err);
    char *end = NULL;
    double value = text[length] ? rrt__read_real(text + length + 1, &end) : 0;
    bool is_number = end && end != text + length + 1 && !*end;
    if (!is_number || !(value >= kinds[kind].min && value <= kinds[kind].max) ||
        (kind == RRT__EXIT_LOOPS && value != floor(value)))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the exit rule '%s' needs a%s number from %g to %g: %s:…",
                         text, kind == RRT__EXIT_LOOPS ? " whole" : "", kinds[kind].min, kinds[kind].max,
                         kinds[kind].name);
    rule->limit = rrt__exit_threshold(rule->kind, value);
    return check_rule(rule, model, err);
}

bool rrt__exit_rule_of_model(rrt__exit_rule *rule, const rrt_model *model)
{
    *rule = (rrt__exit_rule){RRT__EXIT_GATE, model->exit_threshold};
    return model->gates && rrt__family_has_cumulative_gate(model->family) && model->exit_threshold < 1;
}

double rrt__exit_threshold(rrt__exit_kind kind, double score)
{
    return kinds[kind].falls ? -score : score;
}

const char *rrt__exit_name(rrt__exit_kind kind)
{
    return kinds[kind].name;
}

bool rrt__exit_has_threshold(rrt__exit_kind kind)
{
    return kinds[kind].has_threshold;
}

bool rrt__exit_reads_logits(rrt__exit_kind kind)
{
    return kinds[kind].reads_logits;
}

// The most likely token's probability minus the second's.
static double margin(const float *logits, size_t vocab, size_t best, double total)
{
    float second = -INFINITY;
    for (size_t i = 0; i < vocab; i++)
        if (i != best && logits[i] > second) second = logits[i];
    return exp(logits[best] - total) - exp(second - total);
}

static double entropy(const float *logits, size_t vocab, double total)
{
    double sum = 0;
    for (size_t i = 0; i < vocab; i++) {
        double log_p = logits[i] - total;
        if (log_p > -80) sum -= exp(log_p) * log_p;
    }
    return sum;
}

// ‖h - before‖ / ‖h‖
static double relative_change(const float *hidden, const float *before, size_t width)
{
    double change = 0, square = 1e-30;
    for (size_t i = 0; i < width; i++) {
        double difference = (double)hidden[i] - before[i];
        change += difference * difference;
        square += (double)hidden[i] * hidden[i];
    }
    return sqrt(change / square);
}

// What a gate says of a token; a cumulative one's probabilities to leave here or before.
static double measure_gate(const rrt_model *model, rrt__exit_state *state, const rrt__exit_view *v)
{
    double leaves = rrt__gate_probability(model, v->n, v->hidden);
    if (!rrt__family_has_cumulative_gate(model->family)) return leaves;
    state->stays *= 1 - leaves;
    return 1 - state->stays;
}

static double measure(rrt__exit_kind kind, const rrt_model *model, rrt__exit_state *state, int32_t best,
                      const rrt__exit_view *v)
{
    size_t vocab = model->shape.vocab, width = model->shape.hidden;
    bool needs_total = kind == RRT__EXIT_CONFIDENCE || kind == RRT__EXIT_MARGIN || kind == RRT__EXIT_ENTROPY;
    double total = needs_total ? rrt__kernels_get()->log_sum_exp(v->logits, vocab) : 0;
    switch (kind) {
    case RRT__EXIT_LOOPS:
        return v->n;
    case RRT__EXIT_CONFIDENCE:
        return exp(v->logits[best] - total);
    case RRT__EXIT_MARGIN:
        return margin(v->logits, vocab, (size_t)best, total);
    case RRT__EXIT_ENTROPY:
        return entropy(v->logits, vocab, total);
    case RRT__EXIT_UNCHANGED:
        return best == state->best;
    case RRT__EXIT_STATE:
        return relative_change(v->hidden, v->before, width);
    case RRT__EXIT_GATE:
        return measure_gate(model, state, v);
    default:
        return best == v->last_best;
    }
}

rrt__exit_view rrt__exit_look(const rrt_model *model, int n, const float *hidden, const float *before,
                              size_t row, const float *logits)
{
    size_t at = row * model->shape.hidden;
    return (rrt__exit_view){
        .n = n, .hidden = hidden + at, .before = before + at, .logits = logits, .best = -1, .last_best = -1};
}

double rrt__exit_score(rrt__exit_kind kind, const rrt_model *model, rrt__exit_state *state,
                       const rrt__exit_view *view)
{
    int32_t best = view->best;
    if (best < 0 && kinds[kind].reads_logits) best = (int32_t)rrt__argmax(view->logits, model->shape.vocab);
    double value = measure(kind, model, state, best, view);
    state->best = best;
    if (isnan(value)) return -INFINITY; // NaN never leaves
    return kinds[kind].falls ? -value : value;
}

bool rrt__exit_leaves(const rrt__exit_rule *rule, const rrt_model *model, rrt__exit_state *state,
                      const rrt__exit_view *view)
{
    return rrt__exit_score(rule->kind, model, state, view) >= rule->limit;
}

rrt_status rrt__kv_policy_parse(rrt__kv_policy *policy, const char *text, const rrt_model *model,
                                rrt_error *err)
{
    static const char *const names[] = {"propagate", "copy", "recompute", "shared", "last"};
    enum { COUNT = sizeof names / sizeof *names };
    int i = 0;
    *policy = model->kv_window ? RRT__KV_LAST : model->shares_kv ? RRT__KV_SHARED : RRT__KV_PROPAGATE;
    if (!text) return RRT_STATUS_OK;
    while (i < COUNT && strcmp(text, names[i]) != 0) i++;
    if (i == COUNT)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "the K/V policy '%s' is not known: propagate, copy, recompute, shared or last",
                         text);
    bool fits = *policy == RRT__KV_PROPAGATE ? i < RRT__KV_SHARED : i == (int)*policy;
    if (fits || (i == RRT__KV_RECOMPUTE && model->shares_kv)) {
        *policy = (rrt__kv_policy)i;
        return RRT_STATUS_OK;
    }
    return rrt__fail(
        err, RRT_STATUS_UNSUPPORTED,
        model->kv_window    ? "the K/V policy '%s' is not of this model: it was opened with last"
        : model->shares_kv  ? "the K/V policy '%s' is for loops with keys and values of their own: the "
                              "model's share those of the first"
        : i == RRT__KV_LAST ? "the K/V policy '%s' is of all requests: open the model with it"
                            : "the K/V policy '%s' is for a model that was trained with --kv shared",
        text);
}

int rrt__gate_count(const rrt_model *model, int loops)
{
    int last = model->plan.loops - (rrt__family_has_cumulative_gate(model->family) ? 0 : 1);
    return !model->gates ? 0 : loops < last ? loops : last;
}

const float *rrt__gate_gain(const rrt_model *model)
{
    return rrt__family_has_cumulative_gate(model->family) ? model->final_norm.gain : NULL;
}

float rrt__gate_logit(const rrt_model *model, int n, const float *hidden, float *scale)
{
    const float *gain = rrt__gate_gain(model);
    const rrt__gate *gate = &model->gates[gain ? 0 : n - 1];
    size_t width = model->shape.hidden;
    float dot = 0, square = 0, epsilon = gain ? (float)model->shape.norm_epsilon : 1e-12f;
    for (size_t i = 0; i < width; i++) {
        dot += gate->weight[i] * (gain ? gain[i] : 1) * hidden[i];
        square += hidden[i] * hidden[i];
    }
    *scale = 1 / sqrtf(square / (float)width + epsilon);
    return dot * *scale + gate->bias[0];
}

double rrt__gate_probability(const rrt_model *model, int n, const float *hidden)
{
    float scale;
    return 1 / (1 + exp(-(double)rrt__gate_logit(model, n, hidden, &scale)));
}

size_t rrt__argmax(const float *x, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (x[i] > x[best]) best = i;
    return best;
}
