#!/usr/bin/env python3
"""Compares rrt's logits and perplexity with transformers' on the same weights, dequantised to f32. (What rrt makes of the
quantised weights themselves: tools/compare-gguf-types.py.) Exit code 1 where they are further apart than a bar.

    tools/compare-logits.py models/smollm2-135m.gguf [--text FILE --max-tokens N]

Needs: pip install torch transformers gguf (tools/oracle.py).
"""
import argparse
import json
import math
import subprocess
import sys
import tempfile

import torch

from oracle import load, write_f32


def rrt(*arguments):
    return json.loads(subprocess.run(["build/rrt", *arguments, "--json"], check=True, capture_output=True, text=True).stdout)


def compare(args, ours_path):
    torch.manual_seed(1)
    model = load(args.model)
    vocab = model.config.vocab_size
    worst, bar = 0.0, 5e-3 if "gemma" in args.model else 2e-3
    for length in (1, 2, 17, 100, 400):
        ids = torch.randint(0, vocab, (length,))
        with torch.no_grad():
            theirs = model(ids[None]).logits[0, -1]
        ours = rrt("logits", "-m", ours_path, "--tokens", ",".join(map(str, ids.tolist())), "--top", str(vocab),
                   "--kv-type", "f32")
        difference = max(abs(theirs[t["id"]].item() - t["logit"]) for t in ours["top"])
        worst = max(worst, difference)
        print(f"{length:4d} tokens: largest difference of {vocab} logits {difference:.2e}")
    print(f"largest of all: {worst:.2e} (bar: {bar:g})")
    good = worst <= bar
    if args.text:
        ids = rrt("tokenize", "-m", args.model, "-f", args.text)["ids"][: args.max_tokens]
        # Where the tokenizer adds BOS it is the first of each window's 512.
        bos = rrt("tokenize", "-m", args.model, "-f", "/dev/null", "--bos")["ids"] if "gemma" in args.model else []
        step = 512 - len(bos)
        windows = [bos + ids[i : i + step] for i in range(0, len(ids) - step + 1, step)]
        total = 0.0
        with torch.no_grad():
            for window in windows:
                window = torch.tensor(window)
                total += torch.nn.functional.cross_entropy(model(window[None]).logits[0, :-1], window[1:], reduction="sum").item()
        theirs = math.exp(total / (len(windows) * 511))
        ours = rrt("eval", "ppl", "-m", ours_path, "-f", args.text, "--max-tokens", str(args.max_tokens))["ppl"]
        print(f"perplexity: rrt {ours:.5f}, transformers {theirs:.5f}, apart {abs(ours / theirs - 1) * 100:.4f} % (bar: 0.1 %)")
        good = good and abs(ours / theirs - 1) <= 1e-3
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--text")
    parser.add_argument("--max-tokens", type=int, default=8192)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/f32.gguf"
        write_f32(args.model, path)
        return 0 if compare(args, path) else 1


sys.exit(main())
