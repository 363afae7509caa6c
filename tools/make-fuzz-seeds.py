#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: tests/fuzz/corpus/NAME/*.

Needs: pip install gguf safetensors numpy
"""
import json
import pathlib
import struct

import gguf
import numpy as np
from safetensors.numpy import save

CORPUS = pathlib.Path(__file__).parent.parent / "tests/fuzz/corpus"
BLOCK_TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]


def write(name, file, content):
    path = CORPUS / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_gguf(file, alignment, add):
    path = CORPUS / "gguf" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(alignment)
    add(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_metadata(writer):
    writer.add_int8("int8", -8)
    writer.add_int16("int16", -16)
    writer.add_uint64("uint64", 2**64 - 1)
    writer.add_float32("real", 0.5)
    writer.add_bool("flag", True)
    writer.add_token_list(["<s>", "a", "Ġb"])
    writer.add_token_scores([0.0, -1.0, -2.0])
    writer.add_array("ints", [1, 2, 3])
    writer.add_tensor("x", np.ones((2, 4), np.float32))


def add_blocks(writer):
    for name in BLOCK_TYPES:
        kind = gguf.GGMLQuantizationType[name]
        size = gguf.GGML_QUANT_SIZES[kind][1]
        writer.add_tensor(name, np.zeros((1, size), np.uint8), raw_dtype=kind)
    writer.add_tensor("F16", np.ones((1, 2), np.float16))


def write_templates():
    """The small templates that are compared with Jinja, twenty to a seed: each makes sense by itself."""
    golden = json.loads((CORPUS.parent.parent / "data/templates.json").read_text(encoding="utf-8"))
    texts = [case["template"] for case in golden["cases"] if "text" in case]
    for i in range(0, len(texts), 20):
        write("template", f"{i // 20:02}", "".join(texts[i:i + 20]).encode())
    variables = {name: golden["variables"][name] for name in ("messages", "xs", "d", "s", "n", "nested", "uni")}
    one = "{% for m in messages %}{{ m | tojson }}{{ xs | sort }}{{ d | dictsort }}{{ nested }}{{ uni[::-1] }}{% endfor %}"
    write("template", "variables", one.encode() + b"\0" + json.dumps(variables).encode())


def add_model(writer):
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(2)
    writer.add_head_count_kv([1])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_sliding_window(4)
    writer.add_tensor("token_embd.weight", np.zeros((3, 8), np.float32))
    writer.add_tensor("blk.0.attn_q.bias", np.zeros(8, np.float32))


def add_long_model(writer):
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(2)
    writer.add_feed_forward_length(8)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_scaling_attn_factors(1.5)
    writer.add_tensor("token_embd.weight", np.zeros((3, 8), np.float32))
    writer.add_tensor("rope_freqs.weight", np.array([1, 2], np.float32))


def main():
    write_templates()
    write_gguf("model", 32, add_model)
    write_gguf("long-model", 32, add_long_model)
    for family in ("phi3", "granite", "olmo2", "gemma3-wrapper", "biases", "mistral", "smollm3"):
        write("config", family + ".json", (CORPUS / "../../data/models" / family / "config.json").read_bytes())
    write_gguf("metadata", 8, add_metadata)
    write_gguf("blocks", 32, add_blocks)
    write("gguf", "empty", b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    tensors = {"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float16), "ids": np.arange(2)}
    write("safetensors", "plain", save(tensors, {"format": "pt"}))
    write("safetensors", "scalar", save({"s": np.array(1, np.float32)}))
    write("safetensors", "empty", struct.pack("<Q", 8) + b"{}      ")
    numbers = {"large": int(1e30), "low": -2**80, "inf": float("inf"), "nan": float("nan"), "list": [-float("inf"), 0.1, 2.0],
               "text": "NaN \\\" 1e999", "most": 2**63 - 1, "small": 1e-320, "nested": {"\u00e9": None, "b": [True, [], {}]}}
    write("json", "numbers", json.dumps(numbers, indent=2).encode())
    write("json", "exponents", b'[1e400, -1E+400, 0e999, 12345678901234567890.5e-3, 1.7976931348623157e308, "\\u0000"]')


if __name__ == "__main__":
    main()
