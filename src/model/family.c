#include "model/family.h"

#include <stdio.h>
#include <string.h>

#define HF_ENDS                                                                                              \
    .embedding = "model.embed_tokens", .final_norm = "model.norm", .head = "lm_head",                        \
    .layers = "model.layers."
#define HF_MATRICES                                                                                          \
    {                                                                                                        \
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",     \
            "mlp.up_proj", "mlp.down_proj"                                                                   \
    }
#define GGUF_ENDS .embedding = "token_embd", .final_norm = "output_norm", .head = "output", .layers = "blk."
#define GGUF_MATRICES                                                                                        \
    {                                                                                                        \
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"                        \
    }

static const rrt__family families[] = {
    {
        .name = "llama",
        .gguf_name = "llama",
        .hf_class = "LlamaForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_SILU_GATED,
        .activation_key = "hidden_act",
        .activation = "silu",
        .rope_base = 10000,
        .pairs_rope_in_gguf = true,
        .repeats_in_peft = true,
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {"input_layernorm", "post_attention_layernorm"}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {"attn_norm", "ffn_norm"}},
    },
    {
        .name = "smollm3",
        .gguf_name = "smollm3",
        .hf_class = "SmolLM3ForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_SILU_GATED,
        .activation_key = "hidden_act",
        .activation = "silu",
        .ties_head = true,
        .pairs_rope_in_gguf = true,
        .unrotated_pattern = 4,
        .rope_base = 2000000,
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {"input_layernorm", "post_attention_layernorm"}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {"attn_norm", "ffn_norm"}},
    },
    {
        .name = "qwen2",
        .gguf_name = "qwen2",
        .hf_class = "Qwen2ForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_SILU_GATED,
        .activation_key = "hidden_act",
        .activation = "silu",
        .has_bias = {true, true, true},
        .rope_base = 10000,
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {"input_layernorm", "post_attention_layernorm"}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {"attn_norm", "ffn_norm"}},
    },
    {
        .name = "qwen3",
        .gguf_name = "qwen3",
        .hf_class = "Qwen3ForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_SILU_GATED,
        .activation_key = "hidden_act",
        .activation = "silu",
        .rope_base = 10000,
        .hf = {HF_ENDS, .matrices = HF_MATRICES,
               .norms = {"input_layernorm", "post_attention_layernorm", NULL, NULL, "self_attn.q_norm",
                         "self_attn.k_norm"}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES,
                 .norms = {"attn_norm", "ffn_norm", NULL, NULL, "attn_q_norm", "attn_k_norm"}},
    },
    {
        .name = "gemma",
        .gguf_name = "gemma",
        .hf_class = "GemmaForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_GELU_GATED,
        .activation_key = "hidden_act",
        .activation = "gelu_pytorch_tanh",
        .old_activation = "gelu", // and means the approximation
        .gains_are_above_one = true,
        .scales_embedding = true,
        .ties_head = true,
        .repeats_in_peft = true,
        .rope_base = 10000,
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {"input_layernorm", "post_attention_layernorm"}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {"attn_norm", "ffn_norm"}},
    },
    {
        .name = "gemma2",
        .gguf_name = "gemma2",
        .hf_class = "Gemma2ForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_GELU_GATED,
        .activation_key = "hidden_activation",
        .activation = "gelu_pytorch_tanh",
        .gains_are_above_one = true,
        .scales_embedding = true,
        .ties_head = true,
        .has_score_settings = true,
        .local_pattern = 2,
        .rope_base = 10000,
        .hf = {HF_ENDS, .matrices = HF_MATRICES,
               .norms = {"input_layernorm", "pre_feedforward_layernorm", "post_attention_layernorm",
                         "post_feedforward_layernorm"}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES,
                 .norms = {"attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"}},
    },
    {
        .name = "gemma3_text",
        .gguf_name = "gemma3",
        .hf_class = "Gemma3ForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_GELU_GATED,
        .activation_key = "hidden_activation",
        .activation = "gelu_pytorch_tanh",
        .gains_are_above_one = true,
        .scales_embedding = true,
        .ties_head = true,
        .has_score_settings = true,
        .local_pattern = 6,
        .rope_base = 1000000,
        .local_rope_base = 10000,
        .hf = {HF_ENDS, .matrices = HF_MATRICES,
               .norms = {"input_layernorm", "pre_feedforward_layernorm", "post_attention_layernorm",
                         "post_feedforward_layernorm", "self_attn.q_norm", "self_attn.k_norm"}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES,
                 .norms = {"attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm", "attn_q_norm",
                           "attn_k_norm"}},
    },
    {
        .name = "gpt_neox",
        .hf_class = "GPTNeoXForCausalLM",
        .norm = RRT__NORM_LAYER,
        .mlp = RRT__MLP_GELU,
        .activation_key = "hidden_act",
        .activation = "gelu",
        .rope_base = 10000,
        .has_bias = {true, true, true, true, false, true, true},
        .parallel_residual = true,
        .hf = {.embedding = "gpt_neox.embed_in",
               .final_norm = "gpt_neox.final_layer_norm",
               .head = "embed_out",
               .layers = "gpt_neox.layers.",
               .matrices = {"attention.query", "attention.key", "attention.value", "attention.dense", NULL,
                            "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
               .norms = {"input_layernorm", "post_attention_layernorm"},
               .fused_qkv = "attention.query_key_value"},
    },
};

enum { FAMILY_COUNT = sizeof families / sizeof families[0] };

static rrt_status fail_unknown(const char *name, rrt_error *err)
{
    char known[256] = "";
    for (int i = 0; i < FAMILY_COUNT; i++) {
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", families[i].name);
    }
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED,
                     "the model family '%s' is not supported; those that are: %s", name, known);
}

rrt_status rrt__family_by_name(const rrt__family **out, const char *name, rrt_error *err)
{
    for (*out = families; *out < families + FAMILY_COUNT; ++*out)
        if (strcmp((*out)->name, name) == 0) return RRT_STATUS_OK;
    return fail_unknown(name, err);
}

rrt_status rrt__family_by_gguf_name(const rrt__family **out, const char *name, rrt_error *err)
{
    for (*out = families; *out < families + FAMILY_COUNT; ++*out)
        if ((*out)->gguf_name && strcmp((*out)->gguf_name, name) == 0) return RRT_STATUS_OK;
    return fail_unknown(name, err);
}

bool rrt__family_has(const rrt__family *family, rrt__matrix matrix)
{
    return family->hf.matrices[matrix] != NULL;
}

bool rrt__family_has_norm(const rrt__family *family, rrt__norm_place place)
{
    return family->hf.norms[place] != NULL;
}

bool rrt__family_is_gated(const rrt__family *family)
{
    return family->mlp != RRT__MLP_GELU;
}

rrt__norm_place rrt__matrix_norm(rrt__matrix matrix)
{
    if (matrix == RRT__MATRIX_O || matrix == RRT__MATRIX_DOWN) return RRT__NORM_COUNT;
    return matrix <= RRT__MATRIX_V ? RRT__NORM_ATTENTION : RRT__NORM_MLP;
}

const char *rrt__matrix_name(rrt__matrix matrix)
{
    static const char *const names[RRT__MATRIX_COUNT] = {"q", "k", "v", "o", "gate", "up", "down"};
    return names[matrix];
}
