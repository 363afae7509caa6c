// What config.json says of loops: a family's own keys, or our "rrt" object.
#include <stdio.h>
#include <string.h>

#include "checkpoint/config.h"
#include "checkpoint/modeling.h"

static const char exit_threshold_key[] = "early_exit_threshold";

static rrt_status read_kv(rrt__config *config, const json_t *object, rrt_error *err)
{
    const char *kv;
    RRT__TRY(rrt__json_string_or(object, "kv", "per-depth", &kv, err));
    config->shares_kv = strcmp(kv, "shared") == 0;
    if (!config->shares_kv && strcmp(kv, "per-depth") != 0)
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                         "\"kv\": '%s' is not supported, only 'per-depth' and 'shared'", kv);
    if (!config->shares_kv) return RRT_STATUS_OK;
    if (rrt__plan_has_boundary(&config->plan)) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT,
                     "\"kv\" is 'shared', but the plan has no loops that could share");
}

static rrt_status read_object(rrt__config *config, int layers, const json_t *object, rrt_error *err)
{
    int64_t version;
    const char *norms;
    RRT__TRY(rrt__json_int(object, "format_version", 1, INT32_MAX, &version, err));
    if (version != RRT__FORMAT_VERSION) {
        rrt_status status = rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                                      "format_version %lld is newer than this rrt, which reads %d",
                                      (long long)version, RRT__FORMAT_VERSION);
        return rrt__hint(err, status, "use a newer rrt, or convert the model again with this one");
    }
    RRT__TRY(rrt__plan_from_json(&config->plan, object, err));
    if (config->plan.n_depths != layers)
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"plan\" lists %d depths, but num_hidden_layers is %d",
                         config->plan.n_depths, layers);
    RRT__TRY(read_kv(config, object, err));
    RRT__TRY(rrt__json_string_or(object, "norms", "tied", &norms, err));
    RRT__TRY(rrt__json_bool_or(object, "gates", false, &config->has_gates, err));
    if (config->has_gates && !rrt__plan_has_boundary(&config->plan))
        return rrt__fail(err, RRT_STATUS_FORMAT, "\"gates\" is true, but the plan has no loop boundary");
    return rrt__norms_parse(&config->norms, norms, err);
}

rrt_status rrt__loops_make(rrt__config *config, int loops, int layers, bool norms_loops, rrt_error *err)
{
    rrt__sharing sharing = loops > 1 ? RRT__SHARING_CYCLE : RRT__SHARING_NONE;
    unsigned char attention[RRT__MAX_DEPTHS];
    RRT__TRY(rrt__plan_make(&config->plan, sharing, loops, layers, 0, 0, err));
    config->plan.norms_loops = loops > 1 && norms_loops;
    memcpy(attention, config->attention, sizeof attention); // of the layers
    for (int d = 0; d < config->plan.n_depths; d++) config->attention[d] = attention[config->plan.slot[d]];
    return RRT_STATUS_OK;
}

// num_hidden_layers is the number of layers of a stack or, in newer files, of depths.
static rrt_status read_stacks(rrt__config *config, int layers, const json_t *json, rrt_error *err)
{
    int64_t high, low, of_stack;
    RRT__TRY(rrt__json_bool_or(json, "prefix_lm", true, &config->prefix_lm, err));
    RRT__TRY(rrt__json_int_or(json, "H_cycles", 1, RRT__MAX_DEPTHS, 2, &high, err));
    RRT__TRY(rrt__json_int_or(json, "L_cycles", 1, RRT__MAX_DEPTHS, 3, &low, err));
    RRT__TRY(rrt__json_int_or(json, "num_layers_per_stack", 1, RRT__MAX_DEPTHS, layers, &of_stack, err));
    return rrt__plan_make_stacks(&config->plan, (int)high, (int)low, (int)of_stack, err);
}

static rrt_status read_native(rrt__config *config, int layers, const json_t *json, rrt_error *err)
{
    if (config->family->has_stacks) return read_stacks(config, layers, json, err);
    const rrt__native_loops *native = &config->family->loops;
    int64_t loops = 1;
    bool skips = false;
    if (native->key)
        RRT__TRY(rrt__json_int_or(json, native->key, 1, RRT__MAX_DEPTHS, native->absent, &loops, err));
    if (native->skip_key) RRT__TRY(rrt__json_bool_or(json, native->skip_key, false, &skips, err));
    return rrt__loops_make(config, (int)loops, layers, !skips, err);
}

rrt_status rrt__loops_from_json(rrt__config *config, int layers, const json_t *json, rrt_error *err)
{
    json_t *object;
    if (rrt__family_has_cumulative_gate(config->family)) {
        RRT__TRY(rrt__json_real_or(json, exit_threshold_key, 1, &config->exit_threshold, err));
        if (!(config->exit_threshold >= 0))
            return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" is %g: at least 0 is expected",
                             exit_threshold_key, config->exit_threshold);
    }
    if (!json_object_get(json, "rrt")) return read_native(config, layers, json, err);
    RRT__TRY(rrt__json_object(json, "rrt", &object, err));
    rrt_status status = read_object(config, layers, object, err);
    return status ? rrt__at(err, status, "\"rrt\"") : RRT_STATUS_OK;
}

// --- writing

bool rrt__loops_are_native(const rrt_model *model, const rrt__family *family)
{
    const rrt__plan *plan = &model->plan;
    if (plan->sharing == RRT__SHARING_STACKS)
        return family->has_stacks && model->norms == RRT__NORMS_TIED && !rrt__model_has_lora(model);
    return model->norms == RRT__NORMS_TIED && family->loops.key && rrt__plan_has_boundary(plan) &&
           !plan->prelude && !plan->coda && !model->shares_kv && !rrt__model_has_lora(model) &&
           (plan->norms_loops || family->loops.skip_key);
}

bool rrt__model_is_native(const rrt_model *model)
{
    bool is_plain = model->plan.sharing == RRT__SHARING_NONE && model->norms == RRT__NORMS_TIED;
    bool has_our_gates = model->gates && !rrt__family_has_cumulative_gate(model->family);
    return is_plain || (!has_our_gates && rrt__loops_are_native(model, model->family));
}

int rrt__config_layers(const rrt_model *model)
{
    bool is_cycle = model->plan.sharing == RRT__SHARING_CYCLE;
    return is_cycle && rrt__model_is_native(model) ? model->plan.n_slots : model->plan.n_depths;
}

static json_t *make_object(const rrt_model *model, rrt_error *err)
{
    json_t *object = json_object();
    json_object_set_new(object, "format_version", json_integer(RRT__FORMAT_VERSION));
    if (rrt__plan_to_json(&model->plan, object, err)) {
        json_decref(object);
        return NULL;
    }
    json_object_set_new(object, "norms", json_string(rrt__norms_name(model->norms)));
    json_object_set_new(object, "kv", json_string(model->shares_kv ? "shared" : "per-depth"));
    if (model->gates) json_object_set_new(object, "gates", json_true());
    json_object_set_new(object, "lora_ranks", rrt__lora_ranks(model));
    return object;
}

static void set_native(json_t *json, const rrt_model *model)
{
    const rrt__native_loops *native = &model->family->loops;
    if (model->family->has_stacks) {
        json_object_set_new(json, "num_layers_per_stack", json_integer(rrt__plan_stack_layers(&model->plan)));
        json_object_set_new(json, "prefix_lm", json_boolean(model->prefix_lm));
        json_object_set_new(json, "H_cycles", json_integer(model->plan.loops));
        json_object_set_new(json, "L_cycles", json_integer(rrt__plan_low_loops(&model->plan)));
        json_object_set_new(json, "embedding_scale", json_real(rrt__model_embedding_scale(model)));
    }
    if (native->key) json_object_set_new(json, native->key, json_integer(model->plan.loops));
    if (native->skip_key)
        json_object_set_new(json, native->skip_key,
                            json_boolean(model->plan.loops > 1 && !model->plan.norms_loops));
}

// Programs that do not know the object must not take the model for a plain one of its family.
static rrt_status set_object(json_t *json, const rrt_model *model, rrt_error *err)
{
    char class[64], code[96];
    json_t *object = make_object(model, err);
    if (!object) return RRT_STATUS_MEMORY;
    snprintf(class, sizeof class, "Recursive%s", model->family->hf_class);
    snprintf(code, sizeof code, RRT__MODELING ".%s", class);
    json_object_set_new(json, "architectures", json_pack("[s]", class));
    if (rrt__model_has_modeling(model))
        json_object_set_new(json, "auto_map", json_pack("{s:s}", "AutoModelForCausalLM", code));
    json_object_set_new(json, "rrt", object);
    return RRT_STATUS_OK;
}

rrt_status rrt__loops_to_json(json_t *json, const rrt_model *model, rrt_error *err)
{
    if (rrt__family_has_cumulative_gate(model->family))
        json_object_set_new(json, exit_threshold_key, json_real(model->exit_threshold));
    if (!rrt__model_is_native(model)) return set_object(json, model, err);
    set_native(json, model);
    return RRT_STATUS_OK;
}
