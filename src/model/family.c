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

// Norms in the order of rrt__norm_place.
#define HF_NORMS "input_layernorm", "post_attention_layernorm"
#define GGUF_NORMS "attn_norm", "ffn_norm"
#define HF_NORMS_AROUND                                                                                      \
    "input_layernorm", "pre_feedforward_layernorm", "post_attention_layernorm", "post_feedforward_layernorm"
#define GGUF_NORMS_AROUND "attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"
#define HF_HEAD_NORMS "self_attn.q_norm", "self_attn.k_norm"
#define GGUF_HEAD_NORMS "attn_q_norm", "attn_k_norm"

// The block of Llama.
#define LIKE_LLAMA                                                                                           \
    .norm = RRT__NORM_RMS, .mlp = RRT__MLP_SILU_GATED, .activation_key = "hidden_act", .activation = "silu"
#define NAMES_OF_LLAMA                                                                                       \
    .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {HF_NORMS}},                                           \
    .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {GGUF_NORMS}}
#define LIKE_GEMMA                                                                                           \
    .norm = RRT__NORM_RMS, .mlp = RRT__MLP_GELU_GATED, .activation = "gelu_pytorch_tanh",                    \
    .attention_bias = RRT__BIAS_OFF, .gain_is_one_plus_weight = true, .scales_embedding = true,              \
    .ties_head = true

// Parts of Nanbeige's code that its published models leave off.
static const char *const off_in_nanbeige[] = {"qk_layernorm",
                                              "emb_neighbor_num",
                                              "insert_ngram_layer_idx",
                                              "ngram_insert_all_layers",
                                              "loop_share_kv",
                                              "enable_double_loop_split",
                                              "loop_middle_layers",
                                              "loop_loss_weights",
                                              "enable_mhc",
                                              "enable_hyper_connection",
                                              "enable_h_res_identity",
                                              "enable_depth_attention",
                                              NULL};

static const char *const off_in_hrm_text[] = {"attention_bias", "mlp_bias", NULL};

static const rrt__family families[] = {
    {
        .name = "llama",
        .gguf_biases = RRT__GGUF_BIASES_OF_ALL,
        .gguf_divisors = true,
        .gguf_name = "llama",
        .hf_class = "LlamaForCausalLM",
        LIKE_LLAMA,
        .attention_bias = RRT__BIAS_OFF,
        .mlp_bias = RRT__BIAS_OFF,
        .pairs_rope_in_gguf = true,
        .repeats_in_peft = true,
        .absent = {.heads = 32, .vocab = 32000, .context = 2048, .norm_epsilon = 1e-6, .rope_base = 10000},
        NAMES_OF_LLAMA,
    },
    {
        .name = "mistral",
        .gguf_divisors = true,
        .gguf_name = "llama",
        .hf_class = "MistralForCausalLM",
        LIKE_LLAMA,
        .window = RRT__WINDOW_ALL,
        .pairs_rope_in_gguf = true,
        .absent = {.heads = 32,
                   .kv_heads = 8,
                   .vocab = 32000,
                   .context = 4096 * 32,
                   .window = 4096,
                   .norm_epsilon = 1e-6,
                   .rope_base = 10000},
        NAMES_OF_LLAMA,
    },
    {
        .name = "smollm3",
        .gguf_name = "smollm3",
        .hf_class = "SmolLM3ForCausalLM",
        LIKE_LLAMA,
        .attention_bias = RRT__BIAS_OFF,
        .mlp_bias = RRT__BIAS_OFF,
        .window = RRT__WINDOW_NOPE,
        .ties_head = true,
        .pairs_rope_in_gguf = true,
        .nope_pattern = 4,
        .absent = {.heads = 16,
                   .kv_heads = 4,
                   .vocab = 128256,
                   .context = 32768,
                   .norm_epsilon = 1e-6,
                   .rope_base = 2000000},
        NAMES_OF_LLAMA,
    },
    {
        .name = "qwen2",
        .gguf_name = "qwen2",
        .hf_class = "Qwen2ForCausalLM",
        LIKE_LLAMA,
        .attention_bias = RRT__BIAS_OF_QKV,
        .window = RRT__WINDOW_LAST,
        .absent = {.heads = 32,
                   .kv_heads = 32,
                   .vocab = 151936,
                   .context = 32768,
                   .window = 4096,
                   .norm_epsilon = 1e-6,
                   .rope_base = 10000},
        NAMES_OF_LLAMA,
    },
    {
        .name = "qwen3",
        .gguf_name = "qwen3",
        .hf_class = "Qwen3ForCausalLM",
        LIKE_LLAMA,
        .attention_bias = RRT__BIAS_OFF,
        .window = RRT__WINDOW_LAST,
        .absent = {.heads = 32,
                   .kv_heads = 32,
                   .head_dim = 128,
                   .vocab = 151936,
                   .context = 32768,
                   .window = 4096,
                   .norm_epsilon = 1e-6,
                   .rope_base = 10000},
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {HF_NORMS, NULL, NULL, HF_HEAD_NORMS}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {GGUF_NORMS, NULL, NULL, GGUF_HEAD_NORMS}},
    },
    {
        .name = "olmo2",
        .gguf_head = RRT__GGUF_HEAD_IS_STORED,
        .gguf_name = "olmo2",
        .hf_class = "Olmo2ForCausalLM",
        LIKE_LLAMA,
        .attention_bias = RRT__BIAS_OFF,
        .norms_whole_rows = true,
        .absent = {.heads = 32, .vocab = 50304, .context = 2048, .norm_epsilon = 1e-5, .rope_base = 10000},
        .hf = {HF_ENDS, .matrices = HF_MATRICES,
               .norms = {NULL, NULL, "post_attention_layernorm", "post_feedforward_layernorm",
                         HF_HEAD_NORMS}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES,
                 .norms = {NULL, NULL, "post_attention_norm", "post_ffw_norm", GGUF_HEAD_NORMS}},
    },
    {
        .name = "phi3",
        .gguf_divisors = true,
        .gguf_name = "phi3",
        .hf_class = "Phi3ForCausalLM",
        LIKE_LLAMA,
        .window = RRT__WINDOW_ALL,
        .partial_rotary = true,
        .only_longrope = true,
        .absent = {.heads = 32,
                   .vocab = 32064,
                   .context = 4096,
                   .norm_epsilon = 1e-5,
                   .rope_base = 10000,
                   .original_context = 4096},
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {HF_NORMS}, .fused_qkv = "self_attn.qkv_proj",
               .qkv_fusion = RRT__FUSION_STACKED, .fused_mlp = "mlp.gate_up_proj"},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {GGUF_NORMS}, .fused_qkv = "attn_qkv",
                 .qkv_fusion = RRT__FUSION_STACKED, .fused_mlp = "ffn_up"},
    },
    {
        .name = "granite",
        .gguf_biases = RRT__GGUF_BIASES_OF_ALL,
        .gguf_divisors = true,
        .gguf_name = "granite",
        .hf_class = "GraniteForCausalLM",
        LIKE_LLAMA,
        .attention_bias = RRT__BIAS_OFF,
        .mlp_bias = RRT__BIAS_OFF,
        .pairs_rope_in_gguf = true,
        .has_multipliers = true,
        .absent = {.heads = 32, .vocab = 32000, .context = 2048, .norm_epsilon = 1e-6, .rope_base = 10000},
        NAMES_OF_LLAMA,
    },
    {
        .name = "gemma",
        .gguf_head = RRT__GGUF_HEAD_IS_TIED,
        .gguf_name = "gemma",
        .hf_class = "GemmaForCausalLM",
        LIKE_GEMMA,
        .activation_key = "hidden_act",
        .old_activation = "gelu", // means the approximation, too
        .repeats_in_peft = true,
        .absent = {.heads = 16,
                   .kv_heads = 16,
                   .head_dim = 256,
                   .vocab = 256000,
                   .context = 8192,
                   .norm_epsilon = 1e-6,
                   .rope_base = 10000},
        NAMES_OF_LLAMA,
    },
    {
        .name = "gemma2",
        .gguf_head = RRT__GGUF_HEAD_IS_TIED,
        .gguf_name = "gemma2",
        .hf_class = "Gemma2ForCausalLM",
        LIKE_GEMMA,
        .activation_key = "hidden_activation",
        .has_score_settings = true,
        .window = RRT__WINDOW_PATTERN,
        .local_pattern = 2,
        .absent = {.heads = 8,
                   .kv_heads = 4,
                   .head_dim = 256,
                   .vocab = 256000,
                   .context = 8192,
                   .window = 4096,
                   .norm_epsilon = 1e-6,
                   .rope_base = 10000,
                   .attention_cap = 50,
                   .logit_cap = 30},
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {HF_NORMS_AROUND}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {GGUF_NORMS_AROUND}},
    },
    {
        .name = "gemma3_text",
        .gguf_name = "gemma3",
        .hf_class = "Gemma3ForCausalLM",
        LIKE_GEMMA,
        .activation_key = "hidden_activation",
        .has_score_settings = true,
        .window = RRT__WINDOW_PATTERN,
        .local_pattern = 6,
        .names_pattern = true,
        .absent = {.heads = 8,
                   .kv_heads = 4,
                   .head_dim = 256,
                   .vocab = 262208,
                   .context = 131072,
                   .window = 4096,
                   .norm_epsilon = 1e-6,
                   .rope_base = 1000000,
                   .local_rope_base = 10000},
        .hf = {HF_ENDS, .matrices = HF_MATRICES, .norms = {HF_NORMS_AROUND, HF_HEAD_NORMS}},
        .gguf = {GGUF_ENDS, .matrices = GGUF_MATRICES, .norms = {GGUF_NORMS_AROUND, GGUF_HEAD_NORMS}},
    },
    {
        .name = "gpt_neox",
        .gguf_biases = RRT__GGUF_BIASES_NEEDED,
        .gguf_head = RRT__GGUF_HEAD_IS_STORED,
        .gguf_name = "gptneox",
        .hf_class = "GPTNeoXForCausalLM",
        .norm = RRT__NORM_LAYER,
        .mlp = RRT__MLP_GELU,
        .activation_key = "hidden_act",
        .activation = "gelu",
        .attention_bias = RRT__BIAS_ON,
        .mlp_bias = RRT__BIAS_ALWAYS,
        .partial_rotary = true,
        .parallel_residual = true,
        .absent = {.heads = 64, .vocab = 50432, .context = 2048, .norm_epsilon = 1e-5, .rope_base = 10000},
        .hf = {.embedding = "gpt_neox.embed_in",
               .final_norm = "gpt_neox.final_layer_norm",
               .head = "embed_out",
               .layers = "gpt_neox.layers.",
               .matrices = {"attention.query", "attention.key", "attention.value", "attention.dense", NULL,
                            "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
               .norms = {HF_NORMS},
               .fused_qkv = "attention.query_key_value",
               .qkv_fusion = RRT__FUSION_INTERLEAVED},
        .gguf = {GGUF_ENDS,
                 .matrices = {"attn_q", "attn_k", "attn_v", "attn_output", NULL, "ffn_up", "ffn_down"},
                 .norms = {GGUF_NORMS}, .fused_qkv = "attn_qkv", .qkv_fusion = RRT__FUSION_STACKED},
    },
    {
        .name = "nanbeige",
        .gguf_divisors = true,
        .gguf_name = "nanbeige",
        .hf_class = "NanbeigeForCausalLM",
        LIKE_LLAMA,
        .attention_bias = RRT__BIAS_OFF,
        .mlp_bias = RRT__BIAS_OFF,
        .pairs_rope_in_gguf = true,
        .loops = {.key = "num_loops", .absent = 1, .skip_key = "skip_loop_final_norm"},
        .must_be_off = off_in_nanbeige,
        .absent = {.heads = 32, .vocab = 32000, .context = 2048, .norm_epsilon = 1e-6, .rope_base = 10000},
        NAMES_OF_LLAMA,
    },
    {
        .name = "ouro",
        .gguf_name = "ouro",
        .hf_class = "OuroForCausalLM",
        LIKE_LLAMA,
        .window = RRT__WINDOW_LAST,
        .pairs_rope_in_gguf = true,
        .loops = {.key = "total_ut_steps", .absent = 4},
        .absent = {.heads = 32,
                   .kv_heads = 32,
                   .vocab = 151936,
                   .context = 32768,
                   .window = 4096,
                   .norm_epsilon = 1e-6,
                   .rope_base = 10000},
        .hf = {HF_ENDS, .gate = "model.early_exit_gate", .matrices = HF_MATRICES,
               .norms = {HF_NORMS, "input_layernorm_2", "post_attention_layernorm_2"}},
        .gguf = {GGUF_ENDS, .gate = "early_exit_gate", .matrices = GGUF_MATRICES,
                 .norms = {GGUF_NORMS, "post_attention_norm", "post_ffw_norm"}},
    },
    {
        .name = "hrm_text",
        .gguf_name = "hrm_text",
        .hf_class = "HrmTextForCausalLM",
        LIKE_LLAMA,
        .has_stacks = true,
        .norms_have_no_weight = true,
        .must_be_off = off_in_hrm_text,
        .absent = {.heads = 12,
                   .head_dim = 128,
                   .vocab = 151808,
                   .context = 2048,
                   .norm_epsilon = 1e-6,
                   .rope_base = 10000},
        .hf = {.embedding = "model.embed_tokens",
               .final_norm = "model.norm",
               .head = "lm_head",
               .layers = "model.L_module.layers.",
               .high_layers = "model.H_module.layers.",
               .low_start = "model.z_L_init",
               .matrices = {"attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj", "mlp.gate_proj",
                            "mlp.up_proj", "mlp.down_proj", "attn.gate_proj"},
               .norms = {HF_NORMS},
               .fused_qkv = "attn.gqkv_proj",
               .qkv_fusion = RRT__FUSION_STACKED,
               .fused_mlp = "mlp.gate_up_proj"},
        .gguf = {GGUF_ENDS, .low_start = "hrm.z_l_init",
                 .matrices = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
                              "attn_gate"},
                 .norms = {GGUF_NORMS}},
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

rrt_status rrt__family_by_gguf_name(const rrt__family **out, const char *name, bool has_window,
                                    rrt_error *err)
{
    const rrt__family *found = NULL;
    for (*out = families; *out < families + FAMILY_COUNT; ++*out) {
        if (strcmp((*out)->gguf_name, name) != 0) continue;
        if (!has_window || (*out)->window) return RRT_STATUS_OK;
        found = *out;
    }
    if (!found) return fail_unknown(name, err);
    return rrt__fail(err, RRT_STATUS_UNSUPPORTED, "a window of attention is not supported in models of '%s'",
                     name);
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

bool rrt__family_has_cumulative_gate(const rrt__family *family)
{
    return family->hf.gate != NULL;
}

rrt__norm_place rrt__matrix_norm(rrt__matrix matrix)
{
    if (matrix == RRT__MATRIX_O || matrix == RRT__MATRIX_DOWN) return RRT__NORM_COUNT;
    bool is_mlp = matrix == RRT__MATRIX_GATE || matrix == RRT__MATRIX_UP;
    return is_mlp ? RRT__NORM_MLP : RRT__NORM_ATTENTION;
}

const char *rrt__matrix_name(rrt__matrix matrix)
{
    static const char *const names[RRT__MATRIX_COUNT] = {"q",    "k",  "v",    "o",
                                                         "gate", "up", "down", "attention_gate"};
    return names[matrix];
}
