// Which layers attend how: a list by depth in our memory and in newer config.json files ("layer_types",
// "no_rope_layers"), a pattern in older ones and in GGUF.
#include <string.h>

#include "model/load.h"

enum { MAX_WINDOW = 1 << 24 };

void rrt__attention_from_pattern(rrt__config *config, int layers, int local, int unrotated)
{
    for (int i = 0; i < layers; i++) {
        bool is_local = local && (i + 1) % local != 0, is_unrotated = unrotated && (i + 1) % unrotated == 0;
        config->attention[i] = (unsigned char)((is_local ? RRT__ATTENTION_LOCAL : 0) |
                                               (is_unrotated ? RRT__ATTENTION_UNROTATED : 0));
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

// 1: the layer is rotated, in spite of the list's name.
static rrt_status read_unrotated(rrt__config *config, const json_t *json, int layers, rrt_error *err)
{
    json_t *list;
    if (rrt__json_is_absent(json_object_get(json, "no_rope_layers"))) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_array(json, "no_rope_layers", &list, err));
    RRT__TRY(check_length(list, "no_rope_layers", layers, err));
    for (int i = 0; i < layers; i++)
        set_kind(config, i, RRT__ATTENTION_UNROTATED,
                 json_integer_value(json_array_get(list, (size_t)i)) == 0);
    return RRT_STATUS_OK;
}

static bool has_kind(const rrt__config *config, int layers, unsigned kind)
{
    for (int i = 0; i < layers; i++)
        if (config->attention[i] & kind) return true;
    return false;
}

rrt_status rrt__attention_from_json(rrt__config *config, const json_t *json, int layers, rrt_error *err)
{
    const rrt__family *family = config->family;
    int64_t pattern, interval, window;
    bool slides;
    RRT__TRY(rrt__json_int_or(json, "sliding_window_pattern", 1, RRT__MAX_DEPTHS, family->local_pattern,
                              &pattern, err));
    RRT__TRY(rrt__json_int_or(json, "no_rope_layer_interval", 1, RRT__MAX_DEPTHS, family->unrotated_pattern,
                              &interval, err));
    rrt__attention_from_pattern(config, layers, family->local_pattern ? (int)pattern : 0,
                                family->unrotated_pattern ? (int)interval : 0);
    if (family->unrotated_pattern) RRT__TRY(read_unrotated(config, json, layers, err));
    if (!rrt__json_is_absent(json_object_get(json, "layer_types"))) {
        RRT__TRY(read_types(config, json, layers, err));
    } else {
        RRT__TRY(rrt__json_bool_or(json, "use_sliding_window", false, &slides, err));
        if (slides)
            return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                             "\"use_sliding_window\": true is not supported without \"layer_types\"");
    }
    if (!has_kind(config, layers, RRT__ATTENTION_LOCAL)) return RRT_STATUS_OK;
    RRT__TRY(rrt__json_int(json, "sliding_window", 1, MAX_WINDOW, &window, err));
    config->shape.window = (size_t)window;
    return RRT_STATUS_OK;
}

static void set_unrotated(json_t *json, const rrt_model *model)
{
    json_t *list = json_array();
    for (int d = 0; d < model->plan.n_depths; d++)
        json_array_append_new(list,
                              json_integer(model->depths[d].attention & RRT__ATTENTION_UNROTATED ? 0 : 1));
    json_object_set_new(json, "no_rope_layers", list);
}

void rrt__attention_to_json(json_t *json, const rrt_model *model)
{
    if (model->family->unrotated_pattern) set_unrotated(json, model);
    if (!model->family->local_pattern && !model->shape.window) return;
    json_t *types = json_array();
    for (int d = 0; d < model->plan.n_depths; d++) {
        bool local = model->depths[d].attention & RRT__ATTENTION_LOCAL;
        json_array_append_new(types, json_string(local ? "sliding_attention" : "full_attention"));
    }
    json_object_set_new(json, "layer_types", types);
    if (model->shape.window)
        json_object_set_new(json, "sliding_window", json_integer((json_int_t)model->shape.window));
    if (model->shape.local_rope_base != 0)
        json_object_set_new(json, "rope_local_base_freq", json_real(model->shape.local_rope_base));
}
