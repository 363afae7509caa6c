#!/usr/bin/env python3
"""Looped models against llama.cpp and chatllm.cpp: bench/looped-against-peers.py SHAPE TYPE --models FOLDER [--rounds 5] [--tokens 64]

    nanbeige, ouro-as-nanbeige    FOLDER/SHAPE-TYPE.gguf in both llama.cpp and rrt: a prompt of 512, then 1, 8 and 32 streams
    ouro                          FOLDER/ouro-chatllm-TYPE.bin in chatllm.cpp and FOLDER/ouro-TYPE.gguf in rrt: a prompt of 512, one stream

2 threads each, in turns; medians and their ratio. Streams start from nothing. All loops run in all programs. chatllm.cpp (--chatllm, its
program "main") runs in a new process each time and times itself, loading left out; without flash attention, as is its default: with it
(`-fa on`) it computes other logits. The last row is the weights that one stream of rrt reads in a second (the layers once for each loop,
the head once) against what bench/read-memory.c reads, in turns too. For "others", --wait and llama.cpp see engine-against-llama.py, whose
code this is. For ouro-as-nanbeige keys and values of 32 streams are 6.4 GB in llama.cpp.
"""
import argparse
import importlib
import json
import pathlib
import re
import subprocess
import tempfile

import gguf

engine = importlib.import_module("engine-against-llama")
HERE = pathlib.Path(__file__).resolve().parent
LLAMA_SHAPES = "nanbeige", "ouro-as-nanbeige"


class Chatllm:
    def __init__(self, program, path, work):
        self.program, self.path, self.prompt = program, path, work / "prompt.txt"

    def run(self, prompt, tokens):
        """Tokens a second: of the prompt; of decoding so many tokens after it."""
        self.prompt.write_text(" the" * prompt)
        command = [self.program, "-m", self.path, "--prompt_file", self.prompt, "--format", "completion", "-n", str(engine.THREADS), "-t", "0",
                   "-l", str(prompt + tokens + 16), "--max_new_tokens", str(tokens + 1), "--hide_banner"]
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode(errors="replace")
        timings = [(float(ms), int(n)) for ms, n in re.findall(r"timings: +(?:prompt )?eval time = +([\d.]+) ms / +(\d+) tokens", out)]
        if len(timings) != 2 or timings[1][1] != tokens:
            raise SystemExit(f"chatllm.cpp did not decode {tokens} tokens:\n{out}")
        return [1000 * n / ms for ms, n in timings]


def speed_by_chatllm(options, work):
    peer, n = Chatllm(options.chatllm, options.peer, work), options.tokens
    prefill = lambda: peer.run(engine.PROMPT, 0)[0], lambda: engine.ours(options.ours, engine.PROMPT, 0, 1)
    generate = lambda: peer.run(1, n)[1], lambda: engine.ours(options.ours, 0, n, 1)
    yield f"prompt of {engine.PROMPT}", *engine.medians(options, prefill)
    yield "1 stream", *engine.medians(options, generate)


def bytes_per_token(path, loops):
    """Weights that a token reads: of the embedding next to nothing."""
    tensors = gguf.GGUFReader(path).tensors
    size = lambda *names: sum(int(t.n_bytes) for t in tensors if t.name.startswith(names))
    layers, embedding = size("blk.", "model.layers."), size("token_embd.", "model.embed_tokens.")
    return size("") + (loops - 1) * layers - embedding


def memory(options, work, loops):
    """GB/s: what memory gives, and what one stream of rrt reads"""
    program = work / "read-memory"
    subprocess.run(["gcc", "-O2", "-mavx2", "-fopenmp", HERE / "read-memory.c", "-o", program], check=True)
    read = lambda: float(subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout.split()[0])
    size = bytes_per_token(options.ours, loops) / 1e9
    return engine.medians(options, (read, lambda: size * engine.ours(options.ours, 0, options.tokens, 1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=[*LLAMA_SHAPES, "ouro"])
    parser.add_argument("type", help="q4_0, q8_0; nanbeige: q4_k_m too")
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--chatllm", help="chatllm.cpp's program main")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,8,32", help="streams against llama.cpp")
    parser.add_argument("--tokens", type=int, default=64, help="decoded by each stream")
    parser.add_argument("--wait", type=float, default=0, help="seconds")
    parser.add_argument("--json", type=pathlib.Path, help="put the rows into this file too")
    options = parser.parse_args()
    by_llama = options.shape in LLAMA_SHAPES
    if not by_llama and not options.chatllm:
        parser.error("ouro needs --chatllm")
    options.ours = str(options.models / f"{options.shape}-{options.type}.gguf")
    options.peer = options.ours if by_llama else str(options.models / f"ouro-chatllm-{options.type}.bin")
    info = json.loads(subprocess.run([engine.RRT, "inspect", options.ours, "--json"], stdout=subprocess.PIPE, check=True).stdout)
    peer = "llama_cpp" if by_llama else "chatllm_cpp"
    name = f"{options.shape} {options.type}"
    print(f"{name}, {info['loops']} x {info['layers_per_block']} layers, {info['file_bytes'] / 1e6:.0f} MB\n")
    print(f"| | {peer.replace('_', '.')} | rrt | ratio | others |\n| --- | --- | --- | --- | --- |")
    rows = {}

    def row(case, theirs, mine, by=peer):
        rows[case] = {by: theirs, "rrt": mine, "others": engine.OTHERS.share()}
        print(f"| {case} | {theirs:.4g} | {mine:.4g} | {mine / theirs:.2f} | {rows[case]['others']:.0%} |", flush=True)
        engine.OTHERS.begin()

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        batches = [int(batch) for batch in options.batches.split(",") if batch]
        engine.OTHERS.begin()
        for case, theirs, mine in engine.speed(options, batches) if by_llama else speed_by_chatllm(options, work):
            row(f"{case}, tokens/s", theirs, mine)
        row("`read-memory`; weights read by one stream, GB/s", *memory(options, work, info["loops"]), by="read_memory")
    if options.json:
        engine.keep(options.json, name, {"processor": engine.processor(), "kernels": engine.kernels(), "threads": engine.THREADS,
                                         "rounds": options.rounds, "rows": rows})


main()
