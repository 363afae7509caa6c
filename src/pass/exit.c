#include "pass/exit.h"

#include <math.h>

#include "kernels/kernels.h"

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
    if (best < 0 && rrt__exit_reads_logits(kind))
        best = (int32_t)rrt__argmax(view->logits, model->shape.vocab);
    double value = measure(kind, model, state, best, view);
    state->best = best;
    if (isnan(value)) return -INFINITY;      // NaN never leaves
    return rrt__exit_threshold(kind, value); // turned round where less is better
}

bool rrt__exit_leaves(const rrt__exit_rule *rule, const rrt_model *model, rrt__exit_state *state,
                      const rrt__exit_view *view)
{
    return rrt__exit_score(rule->kind, model, state, view) >= rule->limit;
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
