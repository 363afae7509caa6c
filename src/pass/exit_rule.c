// The syntax of exit rules and of policies for keys and values.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/locale.h"
#include "pass/exit.h"
#include "pass/weights.h"

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
        "state:D, gate:P, agreement:P or oracle",
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

// RRT__EXIT_KIND_COUNT: none has this name.
static rrt__exit_kind find_kind(const char *name, size_t length)
{
    int kind = 0;
    while (kind < RRT__EXIT_KIND_COUNT &&
           (strlen(kinds[kind].name) != length || strncmp(name, kinds[kind].name, length) != 0))
        kind++;
    return (rrt__exit_kind)kind;
}

static rrt_status fail_uncalibrated(const char *text, const rrt_model *model, const char *kv,
                                    const char *kv_type, rrt_error *err)
{
    rrt_status status = rrt__fail(
        err, RRT_STATUS_UNSUPPORTED,
        "the exit rule '%s' needs a threshold calibrated for %d loops, --kv %s and --kv-type %s: %s", text,
        model->plan.loops, kv, kv_type,
        model->has_stale_thresholds ? "those stored with the model are of other weights"
                                    : "none is stored with the model");
    return rrt__hint(err, status,
                     "rrt eval exits -m MODEL -f TEXT --exit margin:0.5 --save calibrates and stores it");
}

// Per token: rules that read logits also pay for coda and head at every boundary where it stays.
static double cost_of(const rrt__calibrated_exit *c, const rrt__model_weights *w)
{
    rrt__exit_kind kind = find_kind(c->rule, strlen(c->rule));
    bool reads_logits = kind < RRT__EXIT_KIND_COUNT && kinds[kind].reads_logits;
    return c->mean_loops * w->loop + (reads_logits ? (c->mean_loops - 1) * w->head : 0);
}

// value is NaN if it is no number.
static rrt_status set_threshold(rrt__exit_rule *rule, rrt__exit_kind kind, double value, const char *text,
                                const rrt_model *model, rrt_error *err)
{
    if (!(value >= kinds[kind].min && value <= kinds[kind].max) ||
        (kind == RRT__EXIT_LOOPS && value != floor(value)))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the exit rule '%s' needs a%s number from %g to %g: %s:…",
                         text, kind == RRT__EXIT_LOOPS ? " whole" : "", kinds[kind].min, kinds[kind].max,
                         kinds[kind].name);
    *rule = (rrt__exit_rule){kind, rrt__exit_threshold(kind, value)};
    return check_rule(rule, model, err);
}

// "95%" or "0.95", of a calibrated threshold.
static rrt_status choose_calibrated(rrt__exit_rule *rule, const char *text, const rrt_model *model,
                                    rrt__kv_policy policy, rrt__kv_types types, rrt_error *err)
{
    const rrt__model_weights weights = rrt__model_weights_of(model);
    const rrt__calibrated_exit *found = NULL;
    char kv[16], kv_type[16], *end;
    const char *number = strchr(text, ':') + 1;
    double agreement = rrt__read_real(number, &end);
    bool is_percent = *end == '%';
    if (is_percent) agreement /= 100;
    if (end == number || end[is_percent] || !(agreement > 0 && agreement <= 1))
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "the exit rule '%s' needs a share: agreement:95%%", text);
    rrt__kv_describe(kv, kv_type, model, policy, types);
    for (size_t i = 0; i < model->n_calibrated; i++) {
        const rrt__calibrated_exit *c = &model->calibrated[i];
        bool fits = c->agreement >= agreement - 1e-9 && c->loops == model->plan.loops &&
                    strcmp(c->kv, kv) == 0 && strcmp(c->kv_type, kv_type) == 0;
        if (fits && (!found || cost_of(c, &weights) < cost_of(found, &weights))) found = c;
    }
    if (!found) return fail_uncalibrated(text, model, kv, kv_type, err);
    rrt__exit_kind kind = find_kind(found->rule, strlen(found->rule));
    if (kind == RRT__EXIT_KIND_COUNT || !kinds[kind].has_threshold) return fail_unknown(found->rule, err);
    // A score may be outside by its rounding.
    double threshold = fmax(kinds[kind].min, fmin(kinds[kind].max, found->threshold));
    return set_threshold(rule, kind, threshold, found->rule, model, err);
}

rrt_status rrt__exit_rule_parse(rrt__exit_rule *rule, const char *text, const rrt_model *model,
                                rrt__kv_policy policy, rrt__kv_types types, rrt_error *err)
{
    size_t length = strcspn(text, ":");
    rrt__exit_kind kind = find_kind(text, length);
    if (strncmp(text, "agreement:", strlen("agreement:")) == 0)
        return choose_calibrated(rule, text, model, policy, types, err);
    if (kind == RRT__EXIT_KIND_COUNT) return fail_unknown(text, err);
    if (!kinds[kind].has_threshold) {
        *rule = (rrt__exit_rule){kind, 1};
        return text[length] ? fail_unknown(text, err) : check_rule(rule, model, err);
    }
    char *end = NULL;
    double value = text[length] ? rrt__read_real(text + length + 1, &end) : NAN;
    bool is_number = end && end != text + length + 1 && !*end;
    return set_threshold(rule, kind, is_number ? value : NAN, text, model, err);
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

static const char *const policies[RRT__KV_POLICY_COUNT] = {"propagate", "copy", "recompute", "shared",
                                                           "last"};

const char *rrt__kv_policy_name(rrt__kv_policy policy)
{
    return policies[policy];
}

void rrt__kv_describe(char kv[16], char kv_type[16], const rrt_model *model, rrt__kv_policy policy,
                      rrt__kv_types types)
{
    size_t window = model->kv_window == 1 ? 0 : model->kv_window; // 1: the token alone
    if (policy == RRT__KV_LAST)
        snprintf(kv, 16, "last:%zu", window);
    else
        snprintf(kv, 16, "%s", policies[policy]);
    snprintf(kv_type, 16, "%s/%s", rrt__kv_type_name(types.key), rrt__kv_type_name(types.value));
}

rrt_status rrt__kv_policy_parse(rrt__kv_policy *policy, const char *text, const rrt_model *model,
                                rrt_error *err)
{
    int i = 0;
    *policy = model->kv_window ? RRT__KV_LAST : model->shares_kv ? RRT__KV_SHARED : RRT__KV_PROPAGATE;
    if (!text) return RRT_STATUS_OK;
    while (i < RRT__KV_POLICY_COUNT && strcmp(text, policies[i]) != 0) i++;
    if (i == RRT__KV_POLICY_COUNT)
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
