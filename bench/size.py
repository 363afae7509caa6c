#!/usr/bin/env python3
"""Time and memory of what goes from file to file, on a model of a given size with random weights.

    bench/size.py FOLDER [--rrt build/rrt] [--llama-quantize PATH] [--shape 3b|1b] [--threads N] [--rounds 1] [--keep]

Writes a Llama of the shape of Llama 3.2 3B (or 1B) in bf16 into FOLDER/source, piece by piece, then measures inspect, convert, export and
quantize, and llama-quantize on the exported GGUF beside ours, in turns. Peak memory is the greatest resident set, mapped pages included.
Results are deleted as soon as they are measured, the source unless --keep. Needs numpy.
"""
import argparse
import json
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

SHAPES = {"3b": dict(hidden=3072, layers=28, heads=24, kv=8, head=128, ffn=8192, vocab=128256),
          "1b": dict(hidden=2048, layers=16, heads=32, kv=8, head=64, ffn=8192, vocab=128256)}
POOL_VALUES = 1 << 25  # random values; every tensor is cut out of them somewhere


def tensors(s):
    h, q, kv, f = s["hidden"], s["heads"] * s["head"], s["kv"] * s["head"], s["ffn"]
    yield "model.embed_tokens.weight", (s["vocab"], h)
    for i in range(s["layers"]):
        p = f"model.layers.{i}."
        yield p + "self_attn.q_proj.weight", (q, h)
        yield p + "self_attn.k_proj.weight", (kv, h)
        yield p + "self_attn.v_proj.weight", (kv, h)
        yield p + "self_attn.o_proj.weight", (h, q)
        yield p + "mlp.gate_proj.weight", (f, h)
        yield p + "mlp.up_proj.weight", (f, h)
        yield p + "mlp.down_proj.weight", (h, f)
        yield p + "input_layernorm.weight", (h,)
        yield p + "post_attention_layernorm.weight", (h,)
    yield "model.norm.weight", (h,)


def write_source(folder, s):
    """In a process of its own: a child's peak begins with what its parent has in memory."""
    child = os.fork()
    if not child:
        write_tensors(folder, s)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the source could not be written")
    return size_of(folder)


def write_tensors(folder, s):
    import numpy

    folder.mkdir(parents=True, exist_ok=True)
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=s["hidden"], num_hidden_layers=s["layers"],
                  num_attention_heads=s["heads"], num_key_value_heads=s["kv"], head_dim=s["head"], intermediate_size=s["ffn"],
                  vocab_size=s["vocab"], max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=500000.0, hidden_act="silu",
                  tie_word_embeddings=True, torch_dtype="bfloat16")
    (folder / "config.json").write_text(json.dumps(config))
    random = numpy.random.default_rng(1)
    pool = (random.standard_normal(POOL_VALUES, dtype=numpy.float32) * 0.02).view(numpy.uint32)
    pool = ((pool + 0x8000) >> 16).astype(numpy.uint16)
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors(s):
        size = 2 * int(numpy.prod(shape))
        header[name] = dict(dtype="BF16", shape=shape, data_offsets=[end, end + size])
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors(s):
            count = int(numpy.prod(shape))
            if len(shape) == 1:
                file.write(numpy.full(count, 0x3F80, numpy.uint16).tobytes())
                continue
            while count:
                at = int(random.integers(POOL_VALUES - 1))
                piece = pool[at:at + count]
                file.write(piece.tobytes())
                count -= len(piece)


def size_of(path):
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def measure(command):
    """Seconds, and the greatest resident set in MB."""
    start = time.monotonic()
    child = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start
    if status:
        raise SystemExit(f"{' '.join(map(str, command))}: {output.decode()[-2000:]}")
    return seconds, usage.ru_maxrss / 1024 * 1.024


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rrt", default="build/rrt")
    parser.add_argument("--llama-quantize")
    parser.add_argument("--shape", choices=SHAPES, default="3b")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    a = parser.parse_args()
    source, gguf, out = a.folder / "source", a.folder / "source.gguf", a.folder / "out"
    bytes_bf16 = size_of(source) if (source / "model.safetensors").exists() else write_source(source, SHAPES[a.shape])
    print(f"source: {bytes_bf16 / 1e9:.2f} GB of bf16")
    print(f"{'what':48} {'seconds':>8} {'peak MB':>8} {'of bf16':>8} {'written':>9}", flush=True)

    def show(what, command, result=None, keep=False):
        runs = []
        for _ in range(a.rounds):
            if result is not None and result.exists():
                remove(result)
            runs.append(measure(command))
        seconds, peak = sorted(runs)[len(runs) // 2]
        written = f"{size_of(result) / 1e9:.2f} GB" if result is not None else ""
        print(f"{what:48} {seconds:8.2f} {peak:8.0f} {peak * 1e6 / bytes_bf16:8.2f} {written:>9}", flush=True)
        if result is not None and not keep:
            remove(result)

    rrt, t = a.rrt, ["-t", a.threads]
    show("inspect, folder", [rrt, "inspect", source])
    show("export --to gguf", [rrt, "export", source, gguf, "--to", "gguf", *t], gguf, keep=True)
    show("inspect, gguf", [rrt, "inspect", gguf])
    for ours, theirs in (("q4_0", "Q4_0"), ("q4_1", "Q4_1"), ("q8_0", "Q8_0")):
        if a.llama_quantize:
            show(f"llama-quantize {theirs}", [a.llama_quantize, gguf, out, theirs, a.threads], out)
        show(f"quantize {ours}, gguf", [rrt, "quantize", gguf, out, ours, *t], out)
    show("quantize q4_0, folder", [rrt, "quantize", source, out, "q4_0", *t], out)
    remove(gguf)
    show("convert --loops 2 --init stepwise", [rrt, "convert", source, out, "--loops", 2, *t], out)
    show("convert --loops 2 --init average", [rrt, "convert", source, out, "--loops", 2, "--init", "average", *t], out)
    show("convert --loops 2 --init average --rank 64",
         [rrt, "convert", source, out, "--loops", 2, "--init", "average", "--rank", 64, *t], out)
    show("export --to hf", [rrt, "export", source, out, "--to", "hf", *t], out)
    if not a.keep:
        remove(source)


if __name__ == "__main__":
    main()
