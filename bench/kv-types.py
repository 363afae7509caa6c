#!/usr/bin/env python3
"""Keys and values in every type and policy: bench/kv-types.py MODEL -f TEXT [--tokens 8192] [--depths 512,4096] [--rounds 3]

Of each: KiB a token; mean KL and top-1 agreement with whole windows of 512, which keep every loop's in f32 (`rrt eval kl` of the model with
itself: use one with F32 weights, where nothing else rounds); tokens/s of one stream and of 8 that have read so many tokens (`rrt bench -d`;
2 threads, all variants in turns, medians). `last` where the model has loops.
"""
import argparse
import importlib
import json
import statistics
import subprocess

engine = importlib.import_module("engine-against-llama")
TYPES = "f32", "f16", "f16/q8_0", "q8_0"
POLICIES = [], ["--kv", "last:256"], ["--kv", "last:0"]
DECODED = 16


def rrt(*words):
    out = subprocess.run([engine.RRT, *map(str, words), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    return json.loads(out)


def type_words(name):
    key, _, value = name.partition("/")
    return ["--cache-type-k", key, "--cache-type-v", value or key]


def speed(model, words, depth, streams):
    rows = rrt("bench", "-m", model, "-p", 0, "-n", DECODED, "-d", depth, "-b", streams, "-r", 1, "-t", engine.THREADS, *words)["rows"]
    return rows[0]["tokens_per_s_mean"]


def main():
    numbers = lambda text: [int(n) for n in text.split(",") if n]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-f", "--file", required=True)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--depths", type=numbers, default="512,4096")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    has_loops = rrt("inspect", options.model)["loops"] > 1
    variants = [(t, p, type_words(t) + p) for p in POLICIES[: len(POLICIES) if has_loops else 1] for t in TYPES]
    cells = [(depth, streams) for depth in options.depths for streams in (1, 8)]
    found = {(t, *p): {cell: [] for cell in cells} for t, p, _ in variants}
    for _ in range(options.rounds):
        for cell in cells:
            for t, p, words in variants:
                found[t, *p][cell].append(speed(options.model, words, *cell))
    titles = [f"{depth}, {streams} stream{'s' * (streams > 1)}" for depth, streams in cells]
    print(f"| K/V | KiB a token | mean KL | top-1 | {' | '.join(titles)} |\n|{' --- |' * (4 + len(cells))}")
    for t, p, words in variants:
        kib = rrt("inspect", options.model, *words)["kv_bytes_per_token"] / 1024
        kl = rrt("eval", "kl", "-m", options.model, "--teacher", options.model, "-f", options.file, "--max-tokens", options.tokens, *words)
        speeds = " | ".join(f"{statistics.median(found[t, *p][cell]):.4g}" for cell in cells)
        print(f"| {t}{', ' + p[1] if p else ''} | {kib:.4g} | {kl['kl']:.2g} | {100 * kl['top1_agreement']:.2f} % | {speeds} |", flush=True)


main()
