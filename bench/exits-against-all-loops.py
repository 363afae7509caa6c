#!/usr/bin/env python3
"""What early exits save: bench/exits-against-all-loops.py MODEL.gguf TRACE [--streams 1,2,8,32] [--kv propagate,last] [--rounds 5]

`rrt bench --batching … --exit-trace TRACE`, one process a run, in turns; medians. Requests have the lengths of the trace's lines (make them
equal: bench/make-trace.py --equal) and one token of prompt. Columns: tokens/s by all four ways of batching; depth over sequence, beside the
bound by the weights that tokens are multiplied with; depth over static, beside what full steps would give; depth over sequence-exit; what a
step of so many rows costs over one of one row; the share of depth's time by part. Above: the loops after which tokens left.
"""
import argparse
import importlib
import json
import pathlib
import statistics
import subprocess

engine = importlib.import_module("engine-against-llama")
MODES = "depth", "sequence-exit", "sequence", "static"
PARTS = "prelude", "loops", "boundary", "head", "kv", "rest"


def run(options, mode, streams, kv):
    policy = ["--kv", kv] if kv else []
    command = [engine.RRT, "bench", "-m", options.model, "--batching", mode, "--exit-trace", options.trace, "-b", str(streams), "-r", "1",
               "--requests", str(max(streams, 2) * options.turns), "-p", "1", "-t", str(engine.THREADS), "--json", *policy]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["rows"][0]


def full_step_ms(row):
    """Of the largest steps: with one token of prompt, a row for each stream."""
    return max(row["step_ms"], key=lambda pair: pair[0])[1]


def measure(options, streams, kv):
    runs = {mode: [] for mode in MODES}
    for _ in range(options.rounds):
        for mode in MODES:
            runs[mode].append(run(options, mode, streams, kv))
    median = lambda mode, key: statistics.median(row[key] for row in runs[mode])
    rates = {mode: median(mode, "tokens_per_s_mean") for mode in MODES}
    seconds = runs["depth"][-1]["seconds"]
    return {"streams": streams, "kv": kv, "tokens_per_s": rates, "bound": runs["depth"][0]["bound"],
            "gain": rates["depth"] / rates["sequence"], "over_static": rates["depth"] / rates["static"],
            "limit_over_static": rates["depth"] / median("depth", "occupancy") / rates["static"],
            "over_sequence_exit": rates["depth"] / rates["sequence-exit"],
            "step_ms": statistics.median(full_step_ms(row) for row in runs["sequence"]),
            "exits": runs["depth"][0]["exits"], "share": {part: seconds[part] / sum(seconds.values()) for part in PARTS}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("trace", type=pathlib.Path)
    parser.add_argument("--streams", default="1,2,8,32")
    parser.add_argument("--kv", default="propagate,last")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=1, help="requests of each stream")
    parser.add_argument("--json", type=pathlib.Path, help="put the rows into this file too")
    options = parser.parse_args()
    print("| streams, K/V | depth | sequence-exit | sequence | static | gain (bound) | over static (limit) | over sequence-exit | "
          "step / one row | prelude, loops, boundary, head, K/V, rest % | others |\n|" + " --- |" * 11)
    rows, one = [], float("nan")
    for kv in options.kv.split(","):
        for streams in map(int, options.streams.split(",")):
            engine.OTHERS.begin()
            row = measure(options, streams, kv)
            if streams == 1:
                one = row["step_ms"]
            rates = " | ".join(f"{row['tokens_per_s'][mode]:.3g}" for mode in MODES)
            print(f"| {streams}, {kv} | {rates} | {row['gain']:.2f} ({row['bound']:.2f}) | {row['over_static']:.2f} "
                  f"({row['limit_over_static']:.2f}) | {row['over_sequence_exit']:.2f} | {row['step_ms'] / one:.2f} | "
                  + ", ".join(f"{100 * row['share'][part]:.1f}" for part in PARTS) + f" | {engine.OTHERS.share():.0%} |", flush=True)
            rows.append(row)
    left = rows[0]["exits"]
    print(f"\nleft after 1, 2 … loops: {', '.join(f'{n / sum(left):.0%}' for n in left)}")
    if options.json:
        engine.keep(options.json, pathlib.Path(options.model).stem, {"processor": engine.processor(), "kernels": engine.kernels(),
                                                                     "threads": engine.THREADS, "rounds": options.rounds, "rows": rows})


main()
