#include "train/settings.h"

#include <math.h>

rrt_train_options rrt_train_defaults(void)
{
    return (rrt_train_options){.kd_weight = 1,
                               .kd_temperature = 1,
                               .exit_weight = 0.1,
                               .learning_rate = 3e-4,
                               .warmup = 0.05,
                               .min_rate = 0.1,
                               .weight_decay = 0.1,
                               .clip = 1,
                               .rate_shared = 1,
                               .rate_lora = 1,
                               .rate_norm = 1,
                               .rate_embedding = 1,
                               .rate_gate = 10,
                               .checkpoint_minutes = 10};
}

static rrt_status check_range(const char *name, double value, double min, double max, rrt_error *err)
{
    if (value >= min && value <= max) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_ARGUMENT, "%s is %g: %g to %g is possible", name, value, min, max);
}

static rrt_status check(const rrt__settings *s, const rrt_model *model, const rrt_train_options *o,
                        rrt_error *err)
{
    RRT__TRY(check_range("the context", (double)s->step.context, 2, (double)model->shape.context, err));
    RRT__TRY(check_range("the batch", (double)s->batch, 1, 1e6, err));
    RRT__TRY(check_range("the learning rate", s->learning_rate, 1e-12, 10, err));
    RRT__TRY(check_range("the warm-up", s->warmup, 0, 1, err));
    RRT__TRY(check_range("the min rate", s->min_rate, 0, 1, err));
    RRT__TRY(check_range("the weight of distillation", (double)s->step.objective.kd_weight, 0, 1, err));
    RRT__TRY(check_range("the temperature", (double)s->step.objective.temperature, 0.01, 100, err));
    RRT__TRY(check_range("the clip of the gradient norm", s->optimizer.clip, 0, 1e9, err));
    RRT__TRY(check_range("the minutes between checkpoints", s->checkpoint_minutes, 1e-3, 1e7, err));
    RRT__TRY(check_range("the weight decay", s->optimizer.weight_decay, 0, 10, err));
    RRT__TRY(check_range("the weight of exits", (double)s->step.exits.early, 1e-6, 1e3, err));
    RRT__TRY(check_range("the loss of exits", (double)o->exit_loss, 0, RRT_EXIT_LOSS_WEIGHTED, err));
    RRT__TRY(check_range("the optimizer", o->optimizer, 0, RRT_OPTIMIZER_MUON, err));
    RRT__TRY(check_range("the divergence", o->divergence, 0, RRT__DIVERGENCE_COUNT - 1, err));
    double any = 0;
    for (int kind = 0; kind < RRT__PARAMETER_KIND_COUNT; kind++) {
        RRT__TRY(check_range("a rate's factor", s->optimizer.scale[kind], 0, 1e6, err));
        any += s->optimizer.scale[kind];
    }
    if (any == 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "nothing is trained: all rates' factors are 0");
    if (s->tokens == 0 && !(s->minutes > 0))
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "how long is the run? Neither tokens nor minutes are given");
    if (s->batch % s->step.sequences)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "%zu sequences at a time do not divide a batch of %zu",
                         s->step.sequences, s->batch);
    if (o->teacher && o->store)
        return rrt__fail(err, RRT_STATUS_ARGUMENT, "two teachers: a model and a teacher logits cache");
    if (o->match_tokens && !(o->teacher && o->teacher->plan.n_depths == model->plan.n_depths &&
                             o->teacher->shape.hidden == model->shape.hidden))
        return rrt__fail(
            err, RRT_STATUS_MISMATCH,
            "hidden-state distillation needs a teacher that is a model with a layer for each of the "
            "student's %d depths",
            model->plan.n_depths);
    if (o->match_tokens && (o->share_kv || model->shares_kv))
        return rrt__fail(
            err, RRT_STATUS_UNSUPPORTED,
            "hidden-state distillation trains each depth by itself: loops that share keys and values cannot");
    if (s->step.exits.loss != RRT_EXIT_LOSS_NONE && !rrt__plan_has_boundary(&model->plan))
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "there are no exits to train: the plan (sharing: %s, %d loops) has no loop boundary",
                         rrt__sharing_name(model->plan.sharing), model->plan.loops);
    if (s->step.exits.kd && s->step.exits.loss == RRT_EXIT_LOSS_NONE)
        return rrt__fail(err, RRT_STATUS_ARGUMENT,
                         "exits are to learn from the last one, but none has a loss: choose an exit loss");
    if (o->store && s->step.objective.temperature != 1)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "stored logits are of temperature 1: another needs the teacher itself");
    return RRT_STATUS_OK;
}

// A measurement runs two models forward; so spaced, all of them take at most about a seventh of the time of
// training.
static uint64_t choose_every(const rrt_train_options *o)
{
    uint64_t tenth = o->tokens / 10 + (o->tokens % 10 != 0), min = 4 * (uint64_t)o->n_heldout;
    if (o->heldout_every || !o->tokens) return o->heldout_every;
    return tenth > min ? tenth : min;
}

rrt_status rrt__settings_resolve(rrt__settings *s, const rrt_model *model, const rrt_train_options *o,
                                 rrt_error *err)
{
    size_t max = model->shape.context, batch = o->batch ? o->batch : 4;
    bool taught = o->teacher || o->store;
    *s = (rrt__settings){
        .step = {.sequences = o->at_a_time ? o->at_a_time : batch,
                 .context = o->context  ? o->context
                            : max < 512 ? max
                                        : 512,
                 .recompute = o->recompute,
                 .bf16 = o->bf16,
                 .threads = o->threads,
                 .objective = {(rrt__divergence_kind)o->divergence, taught ? (float)o->kd_weight : 0,
                               (float)o->kd_temperature},
                 .exits = {o->exit_loss, (float)o->exit_weight, o->exit_kd, o->gates}},
        .optimizer = {.muon = o->optimizer == RRT_OPTIMIZER_MUON,
                      .beta1 = 0.9,
                      .beta2 = 0.95,
                      .epsilon = 1e-8,
                      .weight_decay = o->weight_decay,
                      .clip = o->clip,
                      .scale = {[RRT__PARAMETER_EMBEDDING] = o->rate_embedding,
                                [RRT__PARAMETER_SHARED] = o->rate_shared,
                                [RRT__PARAMETER_LORA] = o->rate_lora,
                                // Folded gains are fixed at 1.
                                [RRT__PARAMETER_NORM] = model->norms == RRT__NORMS_FOLDED ? 0 : o->rate_norm,
                                [RRT__PARAMETER_GATE] = o->gates ? o->rate_gate : 0}},
        .batch = batch,
        .learning_rate = o->learning_rate,
        .warmup = o->warmup,
        .min_rate = o->min_rate,
        .seed = o->seed,
        .match_tokens = o->match_tokens,
        .tokens = o->tokens,
        .minutes = o->minutes,
        .checkpoint_minutes = o->checkpoint_minutes,
        .checkpoint_steps = o->checkpoint_steps,
        .heldout_every = choose_every(o),
    };
    return check(s, model, o, err);
}

json_t *rrt__settings_to_json(const rrt__settings *s)
{
    const rrt__step_options *step = &s->step;
    const double *scale = s->optimizer.scale;
    const struct {
        const char *name;
        json_int_t value;
    } counts[] = {{"match_tokens", (json_int_t)s->match_tokens},
                  {"context", (json_int_t)step->context},
                  {"batch", (json_int_t)s->batch},
                  {"at_a_time", (json_int_t)step->sequences},
                  {"divergence", step->objective.divergence},
                  {"exit_loss", step->exits.loss},
                  {"exit_kd", step->exits.kd},
                  {"muon", s->optimizer.muon},
                  {"bf16", step->bf16},
                  {"seed", (json_int_t)s->seed}};
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"kd_weight", (double)step->objective.kd_weight},
                   {"temperature", (double)step->objective.temperature},
                   {"exit_weight", (double)step->exits.early},
                   {"learning_rate", s->learning_rate},
                   {"warmup", s->warmup},
                   {"min_rate", s->min_rate},
                   {"weight_decay", s->optimizer.weight_decay},
                   {"clip", s->optimizer.clip},
                   {"rate_embedding", scale[RRT__PARAMETER_EMBEDDING]},
                   {"rate_shared", scale[RRT__PARAMETER_SHARED]},
                   {"rate_lora", scale[RRT__PARAMETER_LORA]},
                   {"rate_norm", scale[RRT__PARAMETER_NORM]},
                   {"rate_gate", scale[RRT__PARAMETER_GATE]}};
    json_t *json = json_object();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        json_object_set_new(json, counts[i].name, json_integer(counts[i].value));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(json, numbers[i].name, json_real(numbers[i].value));
    return json;
}

// Files hold nine digits.
static bool is_same(const json_t *now, const json_t *before)
{
    double value = json_number_value(now);
    return json_equal(now, before) ||
           (json_is_real(now) && fabs(value - json_number_value(before)) <= 1e-8 * fabs(value));
}

rrt_status rrt__settings_compare(const rrt__settings *settings, const json_t *saved, rrt_error *err)
{
    json_t *now = rrt__settings_to_json(settings), *value;
    const char *key;
    rrt_status status = RRT_STATUS_OK;
    json_object_foreach(now, key, value)
    {
        const json_t *before = json_object_get(saved, key);
        if (status || is_same(value, before)) continue;
        if (!json_is_number(before)) {
            status =
                rrt__fail(err, RRT_STATUS_FORMAT, "the run that is resumed does not say what %s it had", key);
            rrt__hint(err, status,
                      "another version of rrt made it, or its state was changed: start another run");
            continue;
        }
        status = rrt__fail(err, RRT_STATUS_MISMATCH, "the run that is resumed had %s %g, now it is %g", key,
                           json_number_value(before), json_number_value(value));
        rrt__hint(err, status, "resume with the options of before, or start another run under another name");
    }
    json_decref(now);
    return status;
}
