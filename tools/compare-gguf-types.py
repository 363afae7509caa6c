#!/usr/bin/env python3
"""What a GGUF's types cost in rrt and in llama.cpp, against an f32 pass over the weights that gguf-py makes of the file.

    tools/compare-gguf-types.py FILE.gguf… [--text FILE] [--tokens 8192] [--f32-by transformers|llama.cpp] [--work FOLDER]

A line per file: mean KL to the f32 pass over windows of 512 (as `rrt eval kl` cuts them, the text is WikiText-2 of RRT_DATA) and how
often the likeliest token is the same, of both programs; logits after 1, 2, 17, 100 and 400 tokens, the largest distance in
standard deviations of the logits. Exit code 1 where rrt's KL is above 1.1 times llama.cpp's and above 1e-4, or its logits are
further away than 8 bits explain.

The f32 pass is by transformers for models below half a billion parameters, else by llama.cpp on a file of f32. The KL of llama.cpp is to
its logits; ours is `rrt eval kl` to rrt on that file, whose logits are compared with the f32 pass: "f32" in the table, at most 1e-4.
llama.cpp's keys and values are f32. Needs what compare-families.py needs; disk and memory for the model in f32.
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # two runtimes of OpenMP that wait for each other

import numpy as np
import torch
from gguf import GGUFReader

from oracle import load, write_f32
from references import Llama, import_llama, ours, rrt

WINDOW, PREFIXES = 512, (1, 2, 17, 100, 400)
MOST_APART, MOST_F32_APART, FINE_KL = 0.12, 1e-4, 1e-4


def read(*arguments):
    out = rrt(*arguments, "--json")
    if isinstance(out, Exception):
        raise out
    return json.loads(out)


class Transformers:
    def __init__(self, path):
        self.model = load(path)

    def rows(self, ids):
        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0].numpy()

    def close(self):
        self.model = None


def windows_of(path, text, tokens):
    """As src/eval cuts them."""
    fields = GGUFReader(path).fields
    field = lambda key, otherwise: fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else otherwise
    adds = field("add_bos_token", field("model", "") == "llama")
    bos = [field("bos_token_id", 1)] if adds else []
    ids = read("tokenize", "-m", path, "-f", text)["ids"][:tokens]
    step = WINDOW - len(bos)
    return [bos + ids[i:i + step] for i in range(0, len(ids) - step + 1, step)]


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def kl_and_same(truth, other):
    """Sums over rows; a few at a time, since a vocabulary may have 262,144 tokens."""
    kl = same = 0
    for at in range(0, len(truth), 32):
        p, q = log_softmax(truth[at:at + 32]), log_softmax(other[at:at + 32])
        kl += (np.exp(p) * (p - q)).sum()
        same += (p.argmax(-1) == q.argmax(-1)).sum()
    return np.array([kl, same])


def numbers(row):
    if isinstance(row, Exception):
        raise row
    return row.numpy()


def apart(mine, reference):
    return float((mine - reference).std() / reference.std())


def compare(path, f32, oracle, windows, options):
    """A dictionary of figures."""
    peer, sums, found = Llama(path), np.zeros(2), {}
    for i, window in enumerate(windows):
        truth, other = oracle.rows(window), peer.rows(window)
        sums += kl_and_same(truth[:-1], other[:-1])
        if i:
            continue
        rows = lambda model: [numbers(ours(model, window[:n], truth.shape[1])) for n in PREFIXES]
        worst = lambda those: max(apart(row, truth[n - 1].astype(np.float64)) for n, row in zip(PREFIXES, those))
        found["logits"], found["f32"] = worst(rows(path)), worst(rows(f32))
        found["peer_logits"] = worst([other[n - 1] for n in PREFIXES])
    peer.close()
    scored = len(windows) * (WINDOW - 1)
    found["peer_kl"], found["peer_same"] = sums / scored
    own = read("eval", "kl", "-m", path, "--teacher", f32, "-f", options.text, "--max-tokens", options.tokens)
    assert own["tokens"] == scored, (own["tokens"], scored)
    return found | {"kl": own["kl"], "same": own["top1_agreement"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--text", default=os.environ.get("RRT_DATA", "data") + "/ppl/wikitext2.test.raw")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--f32-by", choices=["transformers", "llama.cpp"])
    parser.add_argument("--work", type=pathlib.Path, help="for the file of f32 (default: a temporary folder)")
    options = parser.parse_args()
    if not import_llama():
        sys.exit("needs llama-cpp-python")
    torch.set_num_threads(2)
    bad = 0
    print("| file | f32 pass by | KL llama.cpp | KL rrt | ratio | top-1 llama.cpp, rrt | logits llama.cpp, rrt | f32 | |\n" + "| --- " * 9 + "|")
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        f32 = pathlib.Path(work) / "f32.gguf"
        for path in options.files:
            write_f32(path, f32)
            by = options.f32_by or ("transformers" if f32.stat().st_size < 2e9 else "llama.cpp")
            oracle = Transformers(path) if by == "transformers" else Llama(f32)
            r = compare(path, f32, oracle, windows_of(path, options.text, options.tokens), options)
            oracle.close()
            well = r["kl"] <= max(1.1 * r["peer_kl"], FINE_KL) and r["logits"] <= MOST_APART and r["f32"] <= MOST_F32_APART
            bad += not well
            print(f"| {path.stem} | {by} | {r['peer_kl']:.2e} | {r['kl']:.2e} | {r['kl'] / r['peer_kl']:.2f} "
                  f"| {r['peer_same']:.2%}, {r['same']:.2%} | {r['peer_logits']:.1e}, {r['logits']:.1e} | {r['f32']:.1e} "
                  f"| {'well' if well else 'WRONG'} |", flush=True)
    return bad > 0


sys.exit(main())
