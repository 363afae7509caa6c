// The attention of each layer: a list by depth in memory and in newer config.json files ("layer_types",
// "no_rope_layers"), a pattern in older ones and in GGUF.
#include <string.h>

#include "checkpoint/config.h"

enum { MAX_WINDOW = 1 << 24 };

void rrt__attention_from_pattern(rrt__config *config, int layers, int local, int nope)
{
    for (int i = 0; i < layers; i++) {
        bool is_local = local && (i + 1) % local != 0, is_nope = nope && (i + 1) % nope == 0;
        config->attention[i] =
            (unsigned char)((is_local ? RRT__ATTENTION_LOCAL : 0) | (is_nope ? RRT__ATTENTION_NOPE : 0));
    }
}

static void set_kind(rrt__config *config, int layer, unsigned kind, bool applies)
{
    unsigned others = config->attention[layer] & ~kind;
    config->attention[layer] = (unsigned char)(others | (applies ? kind : 0));
}

static rrt_status check_length(const json_t *list, const char *key, int layers, rrt_error *err)
{
    if (json_array_size(list) == (size_t)layers) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "\"%s\" lists %zu layers, but num_hidden_layers is %d", key,
                     json_array_size(list), layers);
}

static rrt_status read_types(rrt__config *config, const json_t *json, int layers, rrt_error *err)
{
    json_t *types;
    RRT__TRY(rrt__json_array(json, "layer_types", &types, err));
    RRT__TRY(check_length(types, "layer_types", layers, err));
    for (int i = 0; i < layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        bool local = type && strcmp(type, "sliding_attention") == 0;
        if (!local && !(type && strcmp(type, "full_attention") == 0))
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                             "\"layer_types\"[%d] is neither 'sliding_attention' nor 'full_attention'", i);
        set_kind(config, i, RRT__ATTENTION_LOCAL, local);
    }
    return RRT_STATUS_OK;
}

// 1: the layer is rotated, despite the list's name.
static rrt_status read_nope(rrt__config *config, const json_t *json, int layers, rrt_error *err)
{
    json_t *list;
    if (rrt__json_is_absent(json_object_get(json, "no_rope_layers"))) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_array(json, "no_rope_layers", &list, err));
    RRT__TRY(check_length(list, "no_rope_layers", layers, err));
    for (int i = 0; i < layers; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        bool rotated = json_is_true(item) || json_integer_value(item) != 0;
        if (!json_is_integer(item) && !json_is_boolean(item))
            return rrt__fail(err, RRT_STATUS_FORMAT, "\"no_rope_layers\"[%d] is neither 0 nor 1", i);
        set_kind(config, i, RRT__ATTENTION_NOPE, !rotated);
    }
    return RRT_STATUS_OK;
}

// Checks lists that allow only one value; `why` completes the error message.
static rrt_status check_all(const rrt__config *config, int layers, bool local, const char *why,
                            rrt_error *err)
{
    for (int i = 0; i < layers; i++) {
        bool is_local = config->attention[i] & RRT__ATTENTION_LOCAL;
        if (is_local == local) continue;
        return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "\"layer_types\"[%d] is '%s', but %s", i,
                         is_local ? "sliding_attention" : "full_attention", why);
    }
    return RRT_STATUS_OK;
}

static bool has_kind(const rrt__config *config, int layers, unsigned kind)
{
    for (int i = 0; i < layers; i++)
        if (config->attention[i] & kind) return true;
    return false;
}

// By the family's rule if there is no "layer_types".
static rrt_status set_locals(rrt__config *config, const json_t *json, int layers, rrt_error *err)
{
    const rrt__family *family = config->family;
    int64_t first = 0, pattern;
    switch (family->window) {
    case RRT__WINDOW_PATTERN:
        pattern = family->local_pattern;
        if (family->names_pattern)
            RRT__TRY(
                rrt__json_int_or(json, "sliding_window_pattern", 1, RRT__MAX_DEPTHS, pattern, &pattern, err));
        for (int i = 0; i < layers; i++) set_kind(config, i, RRT__ATTENTION_LOCAL, (i + 1) % pattern != 0);
        break;
    case RRT__WINDOW_LAST:
        RRT__TRY(rrt__json_int_or(json, "max_window_layers", 0, INT32_MAX, 28, &first, err));
        for (int i = 0; i < layers; i++) set_kind(config, i, RRT__ATTENTION_LOCAL, i >= first);
        break;
    case RRT__WINDOW_NOPE:
        for (int i = 0; i < layers; i++)
            set_kind(config, i, RRT__ATTENTION_LOCAL, config->attention[i] & RRT__ATTENTION_NOPE);
        break;
    default:
        for (int i = 0; i < layers; i++) set_kind(config, i, RRT__ATTENTION_LOCAL, true);
    }
    return RRT_STATUS_OK;
}

// Sets local layers and their window. A window of null, or one that is switched off, means none.
static rrt_status read_window(rrt__config *config, const json_t *json, int layers, rrt_error *err)
{
    const rrt__family *family = config->family;
    const json_t *value = json_object_get(json, "sliding_window");
    bool switched = family->window == RRT__WINDOW_LAST || family->window == RRT__WINDOW_NOPE, on = true;
    bool listed = !rrt__json_is_absent(json_object_get(json, "layer_types"));
    int64_t window = family->absent.window;
    if (family->window == RRT__WINDOW_NEVER) return RRT_STATUS_OK;
    if (switched) RRT__TRY(rrt__json_bool_or(json, "use_sliding_window", false, &on, err));
    if (value && json_is_null(value)) window = 0;
    RRT__TRY(rrt__json_int_or(json, "sliding_window", 1, MAX_WINDOW, window, &window, err));
    if (on && window) {
        RRT__TRY(listed ? read_types(config, json, layers, err) : set_locals(config, json, layers, err));
        if (family->window == RRT__WINDOW_ALL)
            RRT__TRY(
                check_all(config, layers, true, "models of this family have a window in all layers", err));
    } else if (listed) { // local layers without a window: transformers fails, too
        RRT__TRY(read_types(config, json, layers, err));
        RRT__TRY(check_all(config, layers, false, "\"sliding_window\" is none or switched off", err));
    }
    if (has_kind(config, layers, RRT__ATTENTION_LOCAL)) config->shape.window = (size_t)window;
    return RRT_STATUS_OK;
}

rrt_status rrt__attention_from_json(rrt__config *config, const json_t *json, int layers, rrt_error *err)
{
    int64_t interval;
    int nope = config->family->nope_pattern;
    RRT__TRY(rrt__json_int_or(json, "no_rope_layer_interval", 1, RRT__MAX_DEPTHS, nope, &interval, err));
    rrt__attention_from_pattern(config, layers, 0, nope ? (int)interval : 0);
    if (nope) RRT__TRY(read_nope(config, json, layers, err));
    return read_window(config, json, layers, err);
}

static void set_nope(json_t *json, const rrt_model *model)
{
    json_t *list = json_array();
    for (int d = 0; d < rrt__config_layers(model); d++)
        json_array_append_new(list, json_integer(model->depths[d].attention & RRT__ATTENTION_NOPE ? 0 : 1));
    json_object_set_new(json, "no_rope_layers", list);
}

void rrt__attention_to_json(json_t *json, const rrt_model *model)
{
    rrt__window_rule rule = model->family->window;
    size_t window = model->shape.window;
    if (model->family->nope_pattern) set_nope(json, model);
    if (rule == RRT__WINDOW_NEVER) return;
    // Some families' classes have a window by default, so the key is always written.
    json_object_set_new(json, "sliding_window", window ? json_integer((json_int_t)window) : json_null());
    if (rule == RRT__WINDOW_ALL) return;
    if (rule != RRT__WINDOW_PATTERN)
        json_object_set_new(json, "use_sliding_window", json_boolean(window != 0));
    json_t *types = json_array();
    for (int d = 0; d < rrt__config_layers(model); d++) {
        bool local = model->depths[d].attention & RRT__ATTENTION_LOCAL;
        json_array_append_new(types, json_string(local ? "sliding_attention" : "full_attention"));
    }
    json_object_set_new(json, "layer_types", types);
}
