#!/usr/bin/env python3
"""Decoding speed, rrt against PyTorch eager (transformers, f32, K/V cache), in turns; prints medians and the ratio.

    bench/decode-against-pytorch.py models/smollm2-135m.gguf [--tokens 64 --repeats 5 --threads 2]

Needs: pip install torch transformers gguf.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(ROOT, "tools"))
from oracle import load  # noqa: E402


def time_torch(model, ids, tokens):
    with torch.no_grad():
        out = model(ids, use_cache=True)
        start = time.perf_counter()
        for _ in range(tokens):
            out = model(out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values, use_cache=True)
        return tokens / (time.perf_counter() - start)


def time_rrt(model, prompt, tokens, threads):
    result = subprocess.run([os.path.join(ROOT, "build", "rrt"), "generate", "-m", model, "-p", prompt, "-n", str(tokens),
                             "-t", str(threads), "--ignore-eos", "--json"], check=True, capture_output=True, text=True)
    return json.loads(result.stdout)["tokens_per_s"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load(args.model)
    prompt, ids = "Once upon a time there was", torch.tensor([[6403, 2525, 253, 655, 665, 436]])
    time_torch(model, ids, 8)
    ours, theirs = [], []
    for _ in range(args.repeats):
        ours.append(time_rrt(args.model, prompt, args.tokens, args.threads))
        theirs.append(time_torch(model, ids, args.tokens))
        print(f"rrt {ours[-1]:6.1f} tokens/s   PyTorch {theirs[-1]:6.1f} tokens/s   ratio {ours[-1] / theirs[-1]:.2f}", flush=True)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    print(f"medians: rrt {statistics.median(ours):.1f}, PyTorch {statistics.median(theirs):.1f}, ratio {ratio:.2f}")


main()
