#!/usr/bin/env python3
"""A Hugging Face folder of Ouro-1.4B's shape with random weights in bf16 (2.9 GB): bench/synthetic-ouro.py FOLDER --tokenizer FOLDER

24 layers run four times, with norms after attention and MLP and a gate, under the names of the published files. The tokenizer is that of
the second folder: SmolLM2's, as `rrt export smollm2-135m.gguf FOLDER --to hf` writes it, has Ouro's 49,152 tokens. The head gives its
special tokens logits of about 0, so that no text ends by itself.
"""
import argparse
import importlib
import json
import math
import pathlib
import shutil
import struct

import numpy

synthetic = importlib.import_module("synthetic-gguf")
LAYERS, HIDDEN, SPECIAL_TOKENS = 24, 2048, 17
CONFIG = dict(
    architectures=["OuroForCausalLM"], model_type="ouro", attention_dropout=0.0, bos_token_id=0, early_exit_threshold=1.0,
    eos_token_id=0, head_dim=128, hidden_act="silu", hidden_size=HIDDEN, initializer_range=0.02, intermediate_size=5632,
    layer_types=["full_attention"] * LAYERS, max_position_embeddings=65536, max_window_layers=LAYERS, num_attention_heads=16,
    num_hidden_layers=LAYERS, num_key_value_heads=16, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=1000000.0,
    sliding_window=None, tie_word_embeddings=False, torch_dtype="bfloat16", total_ut_steps=4, use_cache=True,
    use_sliding_window=False, vocab_size=49152)
NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
}


def tensors():
    """As synthetic-gguf.py's"""
    for name, shape, spread in synthetic.tensors(synthetic.SHAPES["ouro-as-nanbeige"]):
        *layer, part, _ = name.split(".")
        yield (f"model.layers.{layer[1]}." if layer else "") + NAMES[part] + ".weight", shape, spread
    for i in range(LAYERS):  # what attention and MLP add has the size that their norm gives it
        for norm in "input_layernorm_2", "post_attention_layernorm_2":
            yield f"model.layers.{i}.{norm}.weight", (HIDDEN,), 1 / math.sqrt(2 * LAYERS)
    yield "model.early_exit_gate.weight", (1, HIDDEN), 1 / math.sqrt(HIDDEN)
    yield "model.early_exit_gate.bias", (1,), -1


def write_safetensors(path, random, pool):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in tensors():
        end = at + 2 * math.prod(shape)
        header[name] = dict(dtype="BF16", shape=shape, data_offsets=[at, end])
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape, spread in tensors():
            values = synthetic.values_of(random, pool, shape, spread, False)
            if name == "lm_head.weight":
                values[:SPECIAL_TOKENS * HIDDEN] = synthetic.bf16(numpy.full(1, 1e-3, numpy.float32))  # 0 has no scale to quantise by
            (values if values.dtype == numpy.uint16 else synthetic.bf16(values)).tofile(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tokenizer", required=True, type=pathlib.Path)
    options = parser.parse_args()
    options.folder.mkdir()
    for file in "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json":
        shutil.copy(options.tokenizer / file, options.folder)
    (options.folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    random = numpy.random.default_rng(1)
    pool = random.standard_normal(synthetic.POOL_VALUES, dtype=numpy.float32)
    write_safetensors(options.folder / "model.safetensors", random, pool)


main()
