#!/usr/bin/env python3
"""Training step of SmolLM2-135M: rrt against PyTorch eager (f32, sdpa, fused AdamW), interleaved.

    bench/train-against-pytorch.py MODEL [--rounds 5] [--teacher] [--recompute] [--student FOLDER]

MODEL is an original (SmolLM2 as GGUF). Prints tokens/s and peak memory of both, medians over rounds, and the ratios.
Each run is a process of its own: two warm steps, then the mean of the timed ones. --teacher: forward KL from an online
teacher of the same size. --recompute: rrt recomputes activations, PyTorch does not. Needs torch and transformers.
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


def run_torch(arguments):
    command = [sys.executable, __file__, arguments.model, "--torch", str(arguments.steps)]
    found = subprocess.run(command + ["--teacher"] * arguments.teacher, check=True, capture_output=True, text=True)
    row = json.loads(found.stdout.splitlines()[-1])
    return row["tokens_per_s"], row["peak_rss_bytes"]


def run_rrt(arguments):
    command = ["build/rrt", "bench", "-m", arguments.student or arguments.model, "--train", "-r", str(arguments.steps),
               "-t", "2", "--json"]
    command += ["--teacher", arguments.model] if arguments.teacher else []
    command += ["--recompute"] if arguments.recompute else []
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    row = json.loads(found.stdout)["rows"][0]
    return row["tokens_per_s_mean"], row["peak_rss_bytes"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--teacher", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--student")
    parser.add_argument("--torch", type=int)
    arguments = parser.parse_args()
    if arguments.torch:
        torch_step(arguments.teacher, arguments.torch)
        return
    ours, theirs = [], []
    for number in range(arguments.rounds):
        ours.append(run_rrt(arguments))
        theirs.append(run_torch(arguments))
        print(f"round {number + 1}: rrt {ours[-1][0]:.0f} tokens/s, PyTorch {theirs[-1][0]:.0f}", file=sys.stderr)
    rate, peak = ([statistics.median(r[i] for r in rows) for rows in (ours, theirs)] for i in (0, 1))
    print(f"rrt     {rate[0]:6.1f} tokens/s  {peak[0] / 1e9:5.2f} GB")
    print(f"PyTorch {rate[1]:6.1f} tokens/s  {peak[1] / 1e9:5.2f} GB")
    print(f"ratio   {rate[0] / rate[1]:6.2f}           {peak[0] / peak[1]:5.2f}")


main()
