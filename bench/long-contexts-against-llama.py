#!/usr/bin/env python3
"""Long contexts, the same file in llama.cpp and rrt:

    bench/long-contexts-against-llama.py FILE.gguf [--rounds 3] [--prompts 2048,4096,8000] [--depths 4000,8000] [--batches 1,8]

Tokens/s of reading prompts, and of streams that decode after so many tokens (`rrt bench -d`, `llama-bench -d`): each has keys and values
of its own. 2 threads each, in turns, keys and values in f16; medians and their ratio. For the choice of llama.cpp's ways, "others" and
--wait see engine-against-llama.py, whose code this is.
"""
import argparse
import importlib
import json
import pathlib
import subprocess
import time

engine = importlib.import_module("engine-against-llama")


class Peer(engine.Peer):
    def read(self, context, tokens):
        """One stream; tokens/s."""
        self.clear(context)
        start = time.perf_counter()
        for begin in range(0, tokens, engine.PROMPT):
            end = min(tokens, begin + engine.PROMPT)
            self.decode(context, [(1000 + i, i, 0, i == end - 1) for i in range(begin, end)])
        return tokens / (time.perf_counter() - start)

    def fill(self, context, streams, depth):
        self.read(context, depth)
        memory = self.lib.llama_get_memory(context)
        for stream in range(1, streams):
            self.lib.llama_memory_seq_cp(memory, 0, stream, -1, -1)

    def generate_after(self, context, streams, depth, tokens):
        """After `fill`, again and again; tokens/s."""
        start = time.perf_counter()
        for at in range(depth, depth + tokens):
            self.decode(context, [(1000 + at + s, at, s, True) for s in range(streams)])
        seconds = time.perf_counter() - start
        memory = self.lib.llama_get_memory(context)
        for stream in range(streams):
            self.lib.llama_memory_seq_rm(memory, stream, depth, -1)
        return tokens * streams / seconds


def ours(path, *words):
    command = [engine.RRT, "bench", "-m", path, "-r", "1", "-t", str(engine.THREADS), "--json", *map(str, words)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["rows"][0]["tokens_per_s_mean"]


def rows_of(options):
    """(case, llama.cpp, rrt)"""
    peer, file, n = Peer(options.peer), options.peer, options.tokens
    ways = [(False, False), (True, False)]  # without and with flash attention; a cache of its own for each stream
    for prompt in options.prompts:
        context = peer.fastest(1, prompt, ways, lambda context: peer.read(context, prompt))
        pair = lambda: peer.read(context, prompt), lambda: ours(file, "-p", prompt, "-n", 0)
        yield f"prompt of {prompt}", *engine.medians(options, pair)
        peer.lib.llama_free(context)
    for depth in options.depths:
        for streams in options.batches:
            def fill_and_generate(context):
                peer.fill(context, streams, depth)
                return peer.generate_after(context, streams, depth, n)
            context = peer.fastest(streams, depth + n, ways, fill_and_generate)
            pair = (lambda: peer.generate_after(context, streams, depth, n),
                    lambda: ours(file, "-p", 0, "-n", n, "-d", depth, "-b", streams))
            yield f"{streams} stream{'s' * (streams > 1)} after {depth}", *engine.medians(options, pair)
            peer.lib.llama_free(context)


def main():
    numbers = lambda text: [int(n) for n in text.split(",") if n]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", metavar="FILE.gguf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=numbers, default="2048,4096,8000")
    parser.add_argument("--depths", type=numbers, default="4000,8000")
    parser.add_argument("--batches", type=numbers, default="1,8")
    parser.add_argument("--tokens", type=int, default=32, help="decoded by each stream")
    parser.add_argument("--wait", type=float, default=0, help="seconds")
    options = parser.parse_args()
    print(f"{pathlib.Path(options.peer).name}\n\n| tokens/s | llama.cpp | rrt | ratio | others |\n| --- | --- | --- | --- | --- |")
    engine.OTHERS.begin()
    for case, theirs, mine in rows_of(options):
        print(f"| {case} | {theirs:.4g} | {mine:.4g} | {mine / theirs:.2f} | {engine.OTHERS.share():.0%} |", flush=True)
        engine.OTHERS.begin()


main()
