#include "model/family.h"

#include <stdio.h>
#include <string.h>

static const rrt__family families[] = {
    {
        .name = "llama",
        .gguf_name = "llama",
        .hf_class = "LlamaForCausalLM",
        .norm = RRT__NORM_RMS,
        .mlp = RRT__MLP_SILU_GATED,
        .hf = {.embedding = "model.embed_tokens",
               .final_norm = "model.norm",
               .head = "lm_head",
               .layers = "model.layers.",
               .matrices = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                            "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
               .norms = {"input_layernorm", "post_attention_layernorm"}},
        .gguf = {.embedding = "token_embd",
                 .final_norm = "output_norm",
                 .head = "output",
                 .layers = "blk.",
                 .matrices = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"},
                 .norms = {"attn_norm", "ffn_norm"}},
    },
    {
        .name = "gpt_neox",
        .hf_class = "GPTNeoXForCausalLM",
        .norm = RRT__NORM_LAYER,
        .mlp = RRT__MLP_GELU,
        .has_biases = true,
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
