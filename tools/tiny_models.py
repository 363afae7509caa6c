"""Configurations of tiny models, one for each family, variant and rope scaling that rrt reads."""
import functools
import math

import torch
from transformers import (Gemma2Config, Gemma3TextConfig, GemmaConfig, GPTNeoXConfig, GraniteConfig, LlamaConfig,
                          MistralConfig, Olmo2Config, Phi3Config, Qwen2Config, Qwen3Config, SmolLM3Config)

VOCAB = 97
LOCAL, GLOBAL = "sliding_attention", "full_attention"
SMALL = dict(vocab_size=VOCAB, hidden_size=48, intermediate_size=64, num_hidden_layers=4, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=0, eos_token_id=0, pad_token_id=None)
GEMMA = SMALL | dict(head_dim=16, hidden_size=96)


def rope(kind="default", theta=10000.0, **more):
    return {"rope_type": kind, "rope_theta": theta} | more


def divisors(pairs, start):
    return [round(start + i * 0.37, 3) for i in range(pairs)]


LLAMA3 = rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=64)
YARN_SET = YARN | dict(attention_factor=1.3, beta_fast=16.0, beta_slow=2.0, truncate=False)
YARN_SCALES = YARN | dict(mscale=0.7, mscale_all_dim=1.2)
LINEAR = rope("linear", factor=4.0)
DYNAMIC = rope("dynamic", factor=3.0)
LONG = rope("longrope", factor=4.0, original_max_position_embeddings=256, short_factor=divisors(4, 1.0),
            long_factor=divisors(4, 1.5))
LONG_SET = LONG | dict(attention_factor=1.1)
PHI = dict(SMALL, original_max_position_embeddings=256)
PHI_LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": divisors(3, 1.0), "long_factor": divisors(3, 2.0),
            "partial_rotary_factor": 0.75}


def config(cls, **settings):
    return functools.partial(cls, **settings)


CONFIGS = {
    "llama": config(LlamaConfig, **SMALL, rope_parameters=rope()),
    "llama-biases": config(LlamaConfig, **SMALL, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                           rope_parameters=rope()),
    "llama-head-dim": config(LlamaConfig, **SMALL, head_dim=12, rope_parameters=rope()),
    "llama-llama3": config(LlamaConfig, **SMALL, rope_parameters=LLAMA3),
    "llama-yarn": config(LlamaConfig, **SMALL, rope_parameters=YARN),
    "llama-yarn-set": config(LlamaConfig, **SMALL, rope_parameters=YARN_SET),
    "llama-yarn-scales": config(LlamaConfig, **SMALL, rope_parameters=YARN_SCALES),
    "llama-linear": config(LlamaConfig, **SMALL, rope_parameters=LINEAR),
    "llama-dynamic": config(LlamaConfig, **dict(SMALL, max_position_embeddings=128), rope_parameters=DYNAMIC),
    "llama-longrope": config(LlamaConfig, **SMALL, rope_parameters=LONG),
    "llama-longrope-set": config(LlamaConfig, **SMALL, rope_parameters=LONG_SET),
    "mistral": config(MistralConfig, **SMALL, sliding_window=None, rope_parameters=rope()),
    "mistral-window": config(MistralConfig, **SMALL, head_dim=10, sliding_window=40, rope_parameters=rope()),
    "qwen2": config(Qwen2Config, **SMALL, rope_parameters=rope()),
    "qwen2-window": config(Qwen2Config, **SMALL, use_sliding_window=True, sliding_window=20, max_window_layers=2,
                           rope_parameters=rope()),
    "qwen2-yarn": config(Qwen2Config, **SMALL, rope_parameters=YARN),
    "qwen3": config(Qwen3Config, **SMALL, head_dim=12, rope_parameters=rope()),
    "qwen3-biases": config(Qwen3Config, **SMALL, head_dim=12, attention_bias=True, rope_parameters=rope()),
    "qwen3-yarn": config(Qwen3Config, **SMALL, head_dim=12, rope_parameters=YARN),
    "smollm3": config(SmolLM3Config, **SMALL, rope_parameters=rope(theta=2e6)),
    "smollm3-yarn": config(SmolLM3Config, **SMALL, rope_parameters=YARN, attention_bias=True, mlp_bias=True),
    "smollm3-window": config(SmolLM3Config, **SMALL, use_sliding_window=True, sliding_window=20, rope_parameters=rope()),
    "olmo2": config(Olmo2Config, **SMALL, rope_parameters=rope(theta=500000.0)),
    "olmo2-biases": config(Olmo2Config, **SMALL, attention_bias=True, tie_word_embeddings=True, rope_parameters=rope()),
    "olmo2-yarn": config(Olmo2Config, **SMALL, rope_parameters=YARN),
    "phi3": config(Phi3Config, **SMALL, rope_parameters=rope()),
    "phi3-window": config(Phi3Config, **SMALL, sliding_window=40, tie_word_embeddings=True, rope_parameters=rope()),
    "phi3-longrope": config(Phi3Config, **PHI, rope_parameters=PHI_LONG),
    "granite": config(GraniteConfig, **SMALL, embedding_multiplier=12.0, logits_scaling=8.0, residual_multiplier=0.22,
                      attention_multiplier=0.11, tie_word_embeddings=True, rope_parameters=rope(theta=1e7)),
    "granite-biases": config(GraniteConfig, **SMALL, attention_bias=True, mlp_bias=True, rope_parameters=rope()),
    "granite-llama3": config(GraniteConfig, **SMALL, residual_multiplier=0.5, attention_multiplier=0.3, rope_parameters=LLAMA3),
    "gemma": config(GemmaConfig, **GEMMA, rope_parameters=rope()),
    "gemma2": config(Gemma2Config, **GEMMA, query_pre_attn_scalar=16, sliding_window=20, rope_parameters=rope()),
    "gemma2-scalar": config(Gemma2Config, **GEMMA, query_pre_attn_scalar=144, sliding_window=20,
                            attn_logit_softcapping=None, final_logit_softcapping=None, rope_parameters=rope()),
    "gemma3": config(Gemma3TextConfig, **dict(GEMMA, num_hidden_layers=8), query_pre_attn_scalar=16, sliding_window=20,
                     rope_parameters={LOCAL: rope(), GLOBAL: rope(theta=1e6)}),
    "gemma3-linear": config(Gemma3TextConfig, **GEMMA, query_pre_attn_scalar=16, sliding_window=20,
                            layer_types=[LOCAL, GLOBAL, LOCAL, GLOBAL],
                            rope_parameters={LOCAL: rope(), GLOBAL: rope("linear", 1e6, factor=8.0)}),
    "neox": config(GPTNeoXConfig, **{k: v for k, v in SMALL.items() if k != "num_key_value_heads"},
                   rope_parameters=rope(partial_rotary_factor=0.25)),
    "neox-serial": config(GPTNeoXConfig, **{k: v for k, v in SMALL.items() if k != "num_key_value_heads"},
                          use_parallel_residual=False, tie_word_embeddings=True,
                          rope_parameters=rope(partial_rotary_factor=1.0)),
    "neox-without-biases": config(GPTNeoXConfig, **{k: v for k, v in SMALL.items() if k != "num_key_value_heads"},
                                  attention_bias=False, rope_parameters=rope(partial_rotary_factor=0.5)),
}


def randomise(model, generator):
    """Weights large enough that attention is far from even; gains around 1; biases that matter."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 2:
                p.copy_(noise * (0.5 if "embed" in name else 1.4 / math.sqrt(p.shape[1])))
            elif name.endswith("bias"):
                p.copy_(noise * 0.3)
            else:
                p.copy_((0 if "gemma" in model.config.model_type else 1) + noise * 0.25)
