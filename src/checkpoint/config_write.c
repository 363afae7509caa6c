// A model's config.json.
#include <math.h>
#include <stdio.h>

#include "checkpoint/config.h"
#include "checkpoint/modeling.h"
#include "tokenizer/tokenizer.h"

bool rrt__model_has_modeling(const rrt_model *model)
{
    return !rrt__model_is_native(model) && !model->shares_kv && !model->family->hf.fused_qkv &&
           !model->family->loops.key;
}

json_t *rrt__lora_ranks(const rrt_model *model)
{
    json_t *ranks = json_array();
    for (int d = 0; d < model->plan.n_depths; d++) {
        json_t *row = json_array();
        for (int m = 0; m < RRT__MATRIX_COUNT; m++)
            json_array_append_new(row, json_integer((json_int_t)model->depths[d].lora[m].rank));
        json_array_append_new(ranks, row);
    }
    return ranks;
}

// torch's name for a type of stored weights.
static const char *torch_name(rrt__dtype dtype)
{
    return dtype == RRT__DTYPE_BF16 ? "bfloat16" : dtype == RRT__DTYPE_F16 ? "float16" : "float32";
}

// Hugging Face's generate() looks for them here.
static void set_token_ids(json_t *json, const rrt_tokenizer *tokenizer)
{
    json_t *ids = tokenizer ? rrt__tokenizer_token_ids(tokenizer) : NULL;
    json_object_update(json, ids);
    json_decref(ids);
}

// null for none.
static json_t *real_or_null(double value)
{
    return value != 0 ? json_real(value) : json_null();
}

static json_t *multiplier(double value)
{
    return json_real(value != 0 ? value : 1);
}

// A whole number where readers expect one.
static json_t *number(double value)
{
    return value == floor(value) ? json_integer((json_int_t)value) : json_real(value);
}

static void set_scales(json_t *json, const rrt__family *family, const rrt__shape *s)
{
    double scale = s->attention_scale != 0 ? s->attention_scale : 1 / sqrt((double)s->head_dim);
    if (family->has_score_settings) {
        json_object_set_new(json, "query_pre_attn_scalar", number(round(1e6 / (scale * scale)) / 1e6));
        if (family->absent.attention_cap != 0)
            json_object_set_new(json, "attn_logit_softcapping", real_or_null(s->attention_cap));
        json_object_set_new(json, "final_logit_softcapping", real_or_null(s->logit_cap));
    }
    if (!family->has_multipliers) return;
    json_object_set_new(json, "embedding_multiplier", multiplier(s->embedding_scale));
    json_object_set_new(json, "residual_multiplier", multiplier(s->residual_scale));
    json_object_set_new(json, "attention_multiplier", json_real(scale));
    json_object_set_new(json, "logits_scaling", json_real(s->logit_scale != 0 ? 1 / s->logit_scale : 1));
}

// Keys that the family's class reads.
static void set_biases(json_t *json, const rrt__family *family, const rrt__shape *s)
{
    bool attention = family->attention_bias == RRT__BIAS_OFF || family->attention_bias == RRT__BIAS_ON;
    if (attention) json_object_set_new(json, "attention_bias", json_boolean(s->has_bias[RRT__MATRIX_Q]));
    if (family->mlp_bias == RRT__BIAS_OFF)
        json_object_set_new(json, "mlp_bias", json_boolean(s->has_bias[RRT__MATRIX_UP]));
    if (family->parallel_residual)
        json_object_set_new(json, "use_parallel_residual", json_boolean(s->parallel_residual));
}

rrt_status rrt__config_to_json(const rrt_model *model, rrt__dtype dtype, json_t **out, rrt_error *err)
{
    const rrt__shape *s = &model->shape;
    bool neox = model->family->norm == RRT__NORM_LAYER;
    json_t *json = json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:s, s:f, s:s}",                //
        "architectures", model->family->hf_class, "model_type", model->family->name,          //
        "hidden_size", (int)s->hidden, "num_hidden_layers", rrt__config_layers(model),        //
        "num_attention_heads", (int)s->heads, "num_key_value_heads", (int)s->kv_heads,        //
        "intermediate_size", (int)s->ffn, "vocab_size", (int)s->vocab,                        //
        "max_position_embeddings", (int)s->context, "tie_word_embeddings", (int)s->tied_head, //
        model->family->activation_key, model->family->activation,                             //
        neox ? "layer_norm_eps" : "rms_norm_eps", s->norm_epsilon, "torch_dtype", torch_name(dtype));
    if (!json) return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory while writing config.json");
    set_token_ids(json, model->tokenizer);
    set_scales(json, model->family, s);
    set_biases(json, model->family, s);
    rrt__attention_to_json(json, model);
    rrt__rope_to_json(json, model);
    // Defaults of a family are omitted: some readers do not know the key.
    if (s->head_dim != s->hidden / s->heads || !neox)
        json_object_set_new(json, "head_dim", json_integer((json_int_t)s->head_dim));
    rrt_status status = rrt__loops_to_json(json, model, err);
    if (status) json_decref(json);
    *out = status ? NULL : json;
    return status;
}
