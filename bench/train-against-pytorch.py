#!/usr/bin/env python3
"""A training step of SmolLM2-135M, 4 x 512 tokens: rrt against PyTorch eager (f32, sdpa, fused AdamW) and against itself.

    bench/train-against-pytorch.py MODEL [--rounds 5] [--steps 1] [--work FOLDER] [--only ENDING]

MODEL is the original (SmolLM2 as GGUF). Every round runs each case once, in turns, each in a process of its own: a warm
step, then the mean of the timed ones. Prints medians of tokens/s and of peak memory, and the ratios that targets are
about. The recursive students (2 x 15 layers, plain and with a LoRA of rank 64) are made in FOLDER. Needs torch and
transformers.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

BATCH, CONTEXT = 4, 512


def torch_step(with_teacher, steps):
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.set_num_threads(2)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                         num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
                         tie_word_embeddings=True, attn_implementation="sdpa", use_cache=False)
    student = AutoModelForCausalLM.from_config(config)
    teacher = AutoModelForCausalLM.from_config(config).eval() if with_teacher else None
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.randint(0, 49152, (BATCH, CONTEXT + 1))

    def step():
        logits = student(ids[:, :-1]).logits
        if teacher is None:
            loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 49152), ids[:, 1:].reshape(-1))
        else:
            with torch.no_grad():
                goal = torch.log_softmax(teacher(ids[:, :-1]).logits, -1)
            loss = torch.nn.functional.kl_div(torch.log_softmax(logits, -1), goal, log_target=True, reduction="none")
            loss = loss.sum(-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    rate = steps * BATCH * CONTEXT / (time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"tokens_per_s": rate, "peak_rss_bytes": peak}))


def run_torch(model, steps, teacher):
    command = [sys.executable, __file__, model, "--torch", str(steps)] + ["--teacher"] * teacher
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    row = json.loads(found.stdout.splitlines()[-1])
    return row["tokens_per_s"], row["peak_rss_bytes"]


def run_rrt(model, steps, *options):
    command = ["build/rrt", "bench", "-m", model, "--train", "-r", str(steps), "-t", "2", "--json", *options]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    row = json.loads(found.stdout)["rows"][0]
    return row["tokens_per_s_mean"], row["peak_rss_bytes"]


def make_student(original, folder, *options):
    subprocess.run(["build/rrt", "convert", original, folder, "--loops", "2", "--init", "average", *options, "--force"],
                   check=True, capture_output=True)
    return folder


def cases_of(model, work, steps):
    plain = make_student(model, f"{work}/bench-plain")
    relaxed = make_student(model, f"{work}/bench-relaxed", "--rank", "64")
    return {
        "PyTorch, cross-entropy": lambda: run_torch(model, steps, False),
        "rrt, cross-entropy": lambda: run_rrt(model, steps),
        "rrt, cross-entropy, --recompute": lambda: run_rrt(model, steps, "--recompute"),
        "PyTorch, online teacher": lambda: run_torch(model, steps, True),
        "rrt, online teacher": lambda: run_rrt(model, steps, "--teacher", model),
        "rrt, hidden-state distillation": lambda: run_rrt(model, steps, "--teacher", model, "--match"),
        "rrt, recursive 2 x 15": lambda: run_rrt(plain, steps),
        "rrt, recursive 2 x 15, rank 64": lambda: run_rrt(relaxed, steps),
    }


RATIOS = [
    ("rrt, cross-entropy", "PyTorch, cross-entropy"),
    ("rrt, cross-entropy, --recompute", "PyTorch, cross-entropy"),
    ("rrt, online teacher", "PyTorch, online teacher"),
    ("rrt, hidden-state distillation", "rrt, online teacher"),
    ("rrt, recursive 2 x 15, rank 64", "rrt, recursive 2 x 15"),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--work", default="models")
    parser.add_argument("--only", default="", help="the cases whose name ends so, e.g. cross-entropy")
    parser.add_argument("--json", help="put the medians into this file too, which tools/make-figures reads")
    parser.add_argument("--teacher", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--torch", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.torch:
        torch_step(arguments.teacher, arguments.torch)
        return
    cases = {name: run for name, run in cases_of(arguments.model, arguments.work, arguments.steps).items()
             if name.endswith(arguments.only)}
    results = {name: [] for name in cases}
    for number in range(arguments.rounds):
        for name, run in cases.items():
            results[name].append(run())
            print(f"round {number + 1}: {name}: {results[name][-1][0]:.1f} tokens/s", file=sys.stderr, flush=True)
    print(f"{'case':34} {'tokens/s':>9} {'memory':>9}")
    for name, rows in results.items():
        rate, peak = (statistics.median(row[i] for row in rows) for i in (0, 1))
        print(f"{name:34} {rate:9.1f} {peak / 1e9:6.2f} GB")
    if arguments.json:
        medians = {name: {"tokens_per_s": statistics.median(row[0] for row in rows), "peak_bytes": statistics.median(row[1] for row in rows)}
                   for name, rows in results.items()}
        with open(arguments.json, "w") as file:
            json.dump({"rounds": arguments.rounds, "cases": medians}, file, indent=1)
    for ours, theirs in (pair for pair in RATIOS if cases.keys() >= set(pair)):
        rate, peak = (statistics.median(a[i] / b[i] for a, b in zip(results[ours], results[theirs])) for i in (0, 1))
        print(f"{ours} / {theirs}: {rate:.2f} x tokens/s, {peak:.2f} x memory")


main()
