#!/usr/bin/env python3
"""The engine against llama.cpp: bench/engine-against-llama.py PEER.gguf OURS.gguf [--rounds 5] [--batches 1,8,32]

Prompt of 512 tokens, then 128 tokens decoded, 2 threads each, in turns; medians and their ratio. PEER.gguf is run by
llama.cpp through llama-cpp-python (flash attention off and on, the better counts), OURS.gguf by `rrt bench`.
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import time

import llama_cpp

THREADS = 2
QUIET = llama_cpp.llama_log_callback(lambda *_: None)


class Peer:
    """llama.cpp as llama-bench and llama-batched-bench run it: random tokens, greedy or no sampling."""

    def __init__(self, path, streams, flash):
        self.lib, self.streams = llama_cpp, streams
        llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 640 * streams, 512, 512, streams
        params.n_threads = params.n_threads_batch = THREADS
        params.flash_attn_type = 1 if flash else 0
        params.kv_unified = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)

    def decode(self, rows):
        """rows: (token, position, sequence, whether logits are wanted)"""
        for i, (token, position, sequence, wanted) in enumerate(rows):
            self.batch.token[i], self.batch.pos[i], self.batch.n_seq_id[i] = token, position, 1
            self.batch.seq_id[i][0], self.batch.logits[i] = sequence, wanted
        self.batch.n_tokens = len(rows)
        if self.lib.llama_decode(self.context, self.batch):
            raise RuntimeError("llama_decode failed")

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def prefill(self, tokens):
        self.clear()
        start = time.time()
        self.decode([(1000 + i, i, 0, i == tokens - 1) for i in range(tokens)])
        return tokens / (time.time() - start)

    def generate(self, tokens):
        self.clear()
        start = time.time()
        for at in range(tokens):
            self.decode([(1000 + at + s, at, s, True) for s in range(self.streams)])
        return tokens * self.streams / (time.time() - start)


def ours(path, prompt, tokens, batch):
    command = ["build/rrt", "bench", "-m", path, "-p", str(prompt), "-n", str(tokens), "-b", str(batch), "-r", "1", "-t",
               str(THREADS), "--json"]
    rows = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["rows"]
    return rows[0]["tokens_per_s_mean"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer")
    parser.add_argument("ours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,8,32")
    options = parser.parse_args()
    options.peer, options.ours = os.path.abspath(options.peer), os.path.abspath(options.ours)
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    batches = [int(batch) for batch in options.batches.split(",")]
    peers = {(batch, flash): Peer(options.peer, batch, flash) for batch in batches for flash in [False, True]}
    cases = {"pp512": (lambda flash: peers[batches[0], flash].prefill(512), lambda: ours(options.ours, 512, 0, 1))}
    for batch in batches:
        cases[f"tg128, {batch} streams"] = (lambda flash, b=batch: peers[b, flash].generate(128),
                                            lambda b=batch: ours(options.ours, 0, 128, b))
    print("| case | llama.cpp | rrt | ratio |\n| --- | --- | --- | --- |")
    for name, (peer, own) in cases.items():
        peer(False), peer(True)
        rounds = [(max(peer(False), peer(True)), own()) for _ in range(options.rounds)]
        theirs, mine = statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)
        print(f"| {name} | {theirs:.0f} | {mine:.0f} | {mine / theirs:.2f} |", flush=True)


main()
