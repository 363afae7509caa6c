#!/usr/bin/env python3
"""Tiny random models with the logits that transformers computes for them: what tests/test_model.c and others
compare with.

    tools/make-model-golden.py                 writes tests/data/models/NAME/{config.json, *.safetensors, golden.json}
    tools/make-model-golden.py --check DIR NAME
                                               loads a folder that rrt wrote with transformers and compares its
                                               logits with the goldens of NAME

Needs torch, transformers, safetensors and tokenizers. Weights come from a fixed seed and are rounded to the dtype
they are stored in; the goldens are then computed in double precision.
"""
import argparse
import json
import math
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (AutoModelForCausalLM, Gemma2Config, Gemma3Config, Gemma3TextConfig, GemmaConfig, GPTNeoXConfig,
                          GraniteConfig, HrmTextConfig, LlamaConfig, MistralConfig, Olmo2Config, Phi3Config, Qwen2Config, Qwen3Config,
                          SiglipVisionConfig, SmolLM3Config)

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "models"
VOCAB = 97
TEXT = (
    "the cat sat on the mat and the rat ate the fat oat. one loop, two loops, three loops: "
    "each loop runs the same layers again, and a small low rank part makes every depth its own. "
    "what the layers share is stored once; what they do not share is little. we go on and on. "
) * 4


def llama(**more):
    common = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=4, num_attention_heads=4,
                  num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=0,
                  rope_parameters={"rope_type": "default", "rope_theta": 50000.0})
    return LlamaConfig(**(common | more))


def neox(**more):
    common = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=4, num_attention_heads=2,
                  max_position_embeddings=128, bos_token_id=0, eos_token_id=0, use_parallel_residual=True,
                  rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25})
    return GPTNeoXConfig(**(common | more))


# The families that differ from Llama in a few things each. Three query heads share a K/V head; head_dim is not
# hidden / heads.
SMALL = dict(vocab_size=VOCAB, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
             num_key_value_heads=1, head_dim=16, max_position_embeddings=128, bos_token_id=0, eos_token_id=0,
             pad_token_id=None, tie_word_embeddings=True)
LOCAL, GLOBAL = "sliding_attention", "full_attention"


def default_rope(theta):
    return {"rope_type": "default", "rope_theta": theta}


# name: config, dtype, shards, tokens of the golden
MODELS = {
    # head_dim 8 = hidden / heads
    "llama": (llama(tie_word_embeddings=False), torch.float32, 1, 35),
    # head_dim 24 differs from hidden / heads; three query heads share one K/V head; two files
    "llama-tied": (llama(tie_word_embeddings=True, num_hidden_layers=2, hidden_size=36, head_dim=24, num_attention_heads=3,
                         num_key_value_heads=1, intermediate_size=24), torch.float16, 2, 20),
    "llama-bf16": (llama(tie_word_embeddings=True, num_hidden_layers=2, intermediate_size=33), torch.bfloat16, 1, 20),
    # 4 of 16 values of a head are rotated
    "neox": (neox(), torch.float16, 1, 35),
    "gemma": (GemmaConfig(**SMALL, rope_parameters=default_rope(10000.0)), torch.bfloat16, 1, 12),
    # caps low enough to matter; a window of 5
    "gemma2": (Gemma2Config(**SMALL, rope_parameters=default_rope(10000.0), query_pre_attn_scalar=9, sliding_window=5,
                            attn_logit_softcapping=4.0, final_logit_softcapping=6.0), torch.bfloat16, 1, 20),
    # local and global layers, each kind with its own base
    "gemma3": (Gemma3TextConfig(**(SMALL | {"num_hidden_layers": 4}), query_pre_attn_scalar=9, sliding_window=5,
                                layer_types=[LOCAL, GLOBAL, LOCAL, GLOBAL],
                                rope_parameters={LOCAL: default_rope(100.0), GLOBAL: default_rope(50000.0)}),
               torch.bfloat16, 1, 20),
    "qwen2": (Qwen2Config(**(SMALL | {"hidden_size": 24, "num_attention_heads": 3, "head_dim": 8}),
                          rope_parameters=default_rope(10000.0)), torch.bfloat16, 1, 12),
    "qwen3": (Qwen3Config(**SMALL, rope_parameters=default_rope(10000.0)), torch.bfloat16, 1, 12),
    "smollm3": (SmolLM3Config(**(SMALL | {"head_dim": 8}), no_rope_layers=[0, 1],
                              rope_parameters=default_rope(10000.0)), torch.bfloat16, 1, 12),
    # Rope scalings: texts go far beyond their original contexts.
    "biases": (LlamaConfig(**(SMALL | {"num_hidden_layers": 2}), attention_bias=True, mlp_bias=True,
                           rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
                                            "high_freq_factor": 4.0, "original_max_position_embeddings": 8}),
               torch.bfloat16, 1, 20),
    "mistral": (MistralConfig(**SMALL, sliding_window=5, rope_parameters=default_rope(10000.0)), torch.bfloat16, 1, 20),
    "olmo2": (Olmo2Config(**SMALL, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                                                    "original_max_position_embeddings": 8}), torch.bfloat16, 1, 20),
    "phi3": (Phi3Config(**(SMALL | {"head_dim": 8}), original_max_position_embeddings=8,
                        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
                                         "short_factor": [1.0, 1.3], "long_factor": [1.5, 4.0]}),
             torch.bfloat16, 1, 20),
    "granite": (GraniteConfig(**SMALL, embedding_multiplier=5.0, residual_multiplier=0.4, attention_multiplier=0.2,
                              logits_scaling=3.0,
                              rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
                torch.bfloat16, 1, 20),
    # a text model within one that sees pictures
    "gemma3-wrapper": (Gemma3Config(text_config=Gemma3TextConfig(**SMALL, query_pre_attn_scalar=9, sliding_window=5,
                                                                 rope_parameters={LOCAL: default_rope(100.0),
                                                                                  GLOBAL: default_rope(50000.0)}),
                                    vision_config=SiglipVisionConfig(hidden_size=4, intermediate_size=4, num_hidden_layers=1,
                                                                     num_attention_heads=1, image_size=4, patch_size=2),
                                    mm_tokens_per_image=4, image_token_index=96), torch.bfloat16, 1, 12),
    "neox-serial": (neox(use_parallel_residual=False, num_hidden_layers=2, attention_bias=False), torch.float16, 1, 12),
    # two stacks of two layers, 2 x (3 + 1) passes; a state to start with, and gates of attention
    "hrm": (HrmTextConfig(vocab_size=VOCAB, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
                          head_dim=16, max_position_embeddings=128, bos_token_id=0, eos_token_id=0, embedding_scale=3.0,
                          rope_parameters=default_rope(10000.0)), torch.float32, 1, 20),
}


def randomise(model, dtype, generator):
    """Weights large enough that attention is far from even; gains around 1; biases that matter."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 2:
                scale = 0.5 if "embed_tokens" in name or "embed_in" in name else 1.4 / math.sqrt(p.shape[1])
                p.copy_((noise * scale).to(dtype))
            elif name.endswith("bias"):
                p.copy_((noise * 0.3).to(dtype))
            else:
                p.copy_(((0 if "gemma" in model.config.model_type else 1) + noise * 0.25).to(dtype))


def ids_of(count, salt):
    return [(i * i * 7 + i * 13 + salt) % VOCAB for i in range(count)]


def logits_of(model, ids):
    with torch.no_grad():
        return model.double()(torch.tensor([ids])).logits[0].double()


def save_weights(model, folder, dtype, shards):
    if model.config.model_type == "hrm_text":  # whose matrices are fused in files
        return model.save_pretrained(folder)
    # The head of GPT-NeoX is embed_out in files, whatever transformers calls it in memory.
    renamed = {"lm_head.weight": "embed_out.weight"} if model.config.model_type == "gpt_neox" else {}
    tensors = {renamed.get(n, n): p.detach().to(dtype).contiguous() for n, p in model.named_parameters()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, files, index = sorted(tensors), {}, {}
    for i, name in enumerate(names):
        file = f"model-{i * shards // len(names) + 1:05d}-of-{shards:05d}.safetensors"
        files.setdefault(file, {})[name] = tensors[name]
        index[name] = file
    for file, part in files.items():
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}, indent=1) + "\n")


def save_tokenizer(folder, adds_bos):
    """Byte-level BPE over the few characters of TEXT, so that it fits a vocabulary of 97."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - 3, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator([TEXT + "\n"], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
              "add_bos_token": adds_bos}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return tokenizer


def make(name, seed):
    config, dtype, shards, count = MODELS[name]
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    randomise(model, dtype, torch.Generator().manual_seed(seed))
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    save_weights(model, folder, dtype, shards)
    ids = ids_of(count, seed)
    logits = logits_of(model, ids)
    golden = {"ids": ids, "logits": [[round(x, 6) for x in row] for row in logits.tolist()]}
    if "original_max_position_embeddings" in config.to_dict():  # a text within the original context
        short = config.original_max_position_embeddings
        golden["short"] = [[round(x, 6) for x in row] for row in logits_of(model, ids[:short]).tolist()]
    if config.model_type == "hrm_text":  # the first 12 tokens attend to each other both ways
        types = torch.tensor([[1] * 12 + [0] * (count - 12)])
        with torch.no_grad():
            both = model.double()(torch.tensor([ids]), token_type_ids=types).logits[0, 11:]
        golden["prefix"] = [[round(x, 6) for x in row] for row in both.tolist()]
    return model, folder, golden


def kl_of(teacher, student, ids):
    p, q = (torch.log_softmax(logits_of(m, ids)[:-1], -1) for m in (teacher, student))
    agreement = (p.argmax(-1) == q.argmax(-1)).double().mean()
    return (p.exp() * (p - q)).sum(-1).mean().item(), agreement.item()


def make_all():
    made = {name: make(name, seed) for seed, name in enumerate(MODELS)}
    teacher, student = made["neox"][0], made["llama"][0]
    golden = made["llama"][2]
    kl, agreement = kl_of(teacher, student, golden["ids"])
    golden["kl_from_neox"] = {"kl": kl, "top1_agreement": agreement}
    for name, adds_bos in (("llama", False), ("llama-tied", True)):
        tokenizer = save_tokenizer(made[name][1], adds_bos)
    sample = "the cat runs on; one loop, what else\n"
    golden["text"] = {"text": sample, "ids": tokenizer.encode(sample).ids}
    assert tokenizer.decode(golden["text"]["ids"]) == sample
    for _, folder, golden in made.values():
        (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


def check(folder, name):
    golden = json.loads((DATA / name / "golden.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64).eval()
    worst = (logits_of(model, golden["ids"]) - torch.tensor(golden["logits"], dtype=torch.float64)).abs().max().item()
    print(f"{folder}: greatest difference from {name}: {worst:.2e}")
    raise SystemExit(worst > 2e-5)


parser = argparse.ArgumentParser()
parser.add_argument("--check", nargs=2, metavar=("DIR", "NAME"))
arguments = parser.parse_args()
if arguments.check:
    check(*arguments.check)
else:
    make_all()
