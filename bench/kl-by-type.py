#!/usr/bin/env python3
"""What quantising costs, by number of loops: bench/kl-by-type.py MODEL.gguf TEXT FOLDER [RECURSIVE…] [--tokens 2048]

Mean KL to the same model in f32, TEXT in windows of 512: of MODEL, of recursive models that were trained (folders; as converted,
a model is so far from any text that rounding can change all it says), and of MODEL in llama.cpp (to its own F32 file, by its own
runtime). Files are made in FOLDER.
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
TYPES = ["q8_0", "q6_0", "q4_1", "q4_0"]
FTYPES = {"f32": 0, "q4_0": 2, "q4_1": 3, "q8_0": 7}
RRT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "rrt")


def rrt(*arguments):
    done = subprocess.run([RRT, *map(str, arguments), "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def ours(model, text, folder, tokens):
    """{type: KL}"""
    found = {}
    for kind in TYPES:
        packed = folder / f"{model.stem}-{kind}.gguf"
        rrt("quantize", model, packed, kind, "--force")
        found[kind] = rrt("eval", "kl", "-m", packed, "--teacher", model, "-f", text, "--max-tokens", tokens)["kl"]
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
    parser.add_argument("recursive", type=pathlib.Path, nargs="*")
    parser.add_argument("--tokens", type=int, default=2048)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    peer = theirs(options.model, options.text, options.folder, options.tokens)
    models = [options.model, *options.recursive]
    loops = [rrt("inspect", model)["loops"] for model in models]
    own = [ours(model, options.text, options.folder, options.tokens) for model in models]
    print("| type | llama.cpp | " + " | ".join(f"{model.stem}, {n} loops" for model, n in zip(models, loops)) + " |")
    print("| --- " * (2 + len(models)) + "|")
    for kind in TYPES:
        print(f"| {kind} | {peer[kind]:.4f} | " + " | ".join(f"{found[kind]:.4f}" for found in own) + " |")


main()
