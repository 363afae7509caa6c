#!/usr/bin/env python3
"""Compares rrt's logits and perplexity with transformers' on the same weights, dequantised to f32.

    tools/compare-logits.py models/smollm2-135m.gguf [--text FILE --max-tokens N]

The oracle: gguf-py dequantises, transformers runs (needs: pip install torch transformers gguf).
"""
import argparse
import json
import math
import subprocess

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def load(path):
    reader = GGUFReader(path)
    field = lambda key: reader.fields["llama." + key].contents()
    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    tensors = {t.name: torch.tensor(np.array(dequantize(t.data, t.tensor_type))) for t in reader.tensors}
    config = LlamaConfig(
        hidden_size=field("embedding_length"), intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"), num_attention_heads=heads, num_key_value_heads=kv_heads,
        vocab_size=tensors["token_embd.weight"].shape[0], max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"), tie_word_embeddings="output.weight" not in tensors,
        rope_parameters={"rope_theta": field("rope.freq_base"), "rope_type": "default"})
    model = LlamaForCausalLM(config).eval()
    state = {"model.embed_tokens.weight": tensors["token_embd.weight"], "model.norm.weight": tensors["output_norm.weight"]}
    state["lm_head.weight"] = tensors.get("output.weight", tensors["token_embd.weight"])
    for name, value in tensors.items():
        if not name.startswith("blk."):
            continue
        _, layer, part, _ = name.split(".")
        if part in ("attn_q", "attn_k"):  # undo GGUF's order of the rotary pairs
            n = heads if part == "attn_q" else kv_heads
            value = value.reshape(n, value.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(value.shape)
        state[f"model.layers.{layer}.{NAMES[part]}.weight"] = value
    model.load_state_dict(state)
    return model


def rrt(*arguments):
    return json.loads(subprocess.run(["build/rrt", *arguments, "--json"], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--text")
    parser.add_argument("--max-tokens", type=int, default=8192)
    args = parser.parse_args()
    torch.manual_seed(1)
    model = load(args.model)
    vocab = model.config.vocab_size
    worst = 0.0
    for length in (1, 2, 17, 100, 400):
        ids = torch.randint(0, vocab, (length,))
        with torch.no_grad():
            theirs = model(ids[None]).logits[0, -1]
        ours = rrt("logits", "-m", args.model, "--tokens", ",".join(map(str, ids.tolist())), "--top", str(vocab))
        difference = max(abs(theirs[t["id"]].item() - t["logit"]) for t in ours["top"])
        worst = max(worst, difference)
        print(f"{length:4d} tokens: largest difference of {vocab} logits {difference:.2e}")
    print(f"largest of all: {worst:.2e} (bar: 2e-3)")
    if args.text:
        ids = rrt("tokenize", "-m", args.model, "-f", args.text)["ids"][: args.max_tokens]
        windows = [ids[i : i + 512] for i in range(0, len(ids) - 511, 512)]
        total = 0.0
        with torch.no_grad():
            for window in windows:
                window = torch.tensor(window)
                total += torch.nn.functional.cross_entropy(model(window[None]).logits[0, :-1], window[1:], reduction="sum").item()
        theirs = math.exp(total / (len(windows) * 511))
        ours = rrt("eval", "ppl", "-m", args.model, "-f", args.text, "--max-tokens", str(args.max_tokens))["ppl"]
        print(f"perplexity: rrt {ours:.5f}, transformers {theirs:.5f}, apart {abs(ours / theirs - 1) * 100:.4f} % (bar: 0.1 %)")


main()
