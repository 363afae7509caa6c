#!/usr/bin/env python3
"""What quantising costs, by number of loops: bench/kl-by-type.py MODEL.gguf TEXT FOLDER [--tokens 2048]

Mean KL to the same model in f32, TEXT in windows of 512: of MODEL, of recursive models made of it (calibrated, LoRA to 60 % of the
body, kept in FOLDER), and of MODEL in llama.cpp (to its own F32 file, by its own runtime).
"""
import argparse
import ctypes
import json
import os
import pathlib
import subprocess

import llama_cpp
import numpy

WINDOW = 512
TYPES = ["q8_0", "q4_1", "q4_0"]
PLANS = {1: None, 2: ["--loops", "2", "--lora-budget", "10.6M"], 3: ["--loops", "3", "--lora-budget", "28.3M"],
         5: ["--loops", "5", "--lora-budget", "42.5M"]}
FTYPES = {"f32": 0, "q4_0": 2, "q4_1": 3, "q8_0": 7}
RRT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "rrt")


def rrt(*arguments):
    done = subprocess.run([RRT, *map(str, arguments), "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def ours(model, text, folder, tokens):
    """{type: {loops: KL}}"""
    found = {kind: {} for kind in TYPES}
    for loops, plan in PLANS.items():
        source = folder / f"{loops}-loops" if plan else model
        if plan and not source.exists():
            rrt("convert", model, source, "--init", "calibrated", "--norms", "per-depth", "--calib", "data/wiki/calibration.txt", *plan)
        for kind in TYPES:
            packed = folder / f"{loops}-{kind}.gguf"
            rrt("quantize", source, packed, kind, "--force")
            found[kind][loops] = rrt("eval", "kl", "-m", packed, "--teacher", source, "-f", text, "--max-tokens", tokens)["kl"]
    return found


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))


class Peer:
    def __init__(self, model, folder, kind):
        path = folder / f"peer-{kind}.gguf"
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize, params.nthread = FTYPES[kind], True, 2
        llama_cpp.llama_model_quantize(str(model).encode(), str(path).encode(), ctypes.byref(params))
        self.llama = llama_cpp.Llama(str(path), n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False, n_threads=2,
                                     type_k=0, type_v=0)

    def log_probabilities(self, ids):
        self.llama.reset()
        self.llama.eval(ids)
        return log_softmax(self.llama.scores[:len(ids)].astype(numpy.float64))


def theirs(model, text, folder, tokens):
    original = Peer(model, folder, "f32")
    ids = original.llama.tokenize(text.read_bytes()[:tokens * 8], add_bos=False)[:tokens]
    windows = [ids[i:i + WINDOW] for i in range(0, len(ids), WINDOW)]
    truth = [original.log_probabilities(window) for window in windows]
    found = {}
    for kind in TYPES:
        peer = Peer(model, folder, kind)
        sums = [(numpy.exp(p) * (p - peer.log_probabilities(window))).sum() for p, window in zip(truth, windows)]
        found[kind] = sum(sums) / len(ids)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=2048)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    peer = theirs(options.model, options.text, options.folder, options.tokens)
    own = ours(options.model, options.text, options.folder, options.tokens)
    print("| type | llama.cpp, original | rrt, original | " + " | ".join(f"{n} loops" for n in PLANS if n > 1) + " |")
    print("| --- " * (2 + len(PLANS)) + "|")
    for kind in TYPES:
        print(f"| {kind} | {peer[kind]:.4f} | " + " | ".join(f"{kl:.4f}" for kl in own[kind].values()) + " |")


main()
