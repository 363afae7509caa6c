#!/usr/bin/env python3
"""Compares `rrt eval tasks` with lm-evaluation-harness on the same weights, sample by sample.

    tools/compare-tasks.py models/smollm2-135m.gguf --data DIR [--limit 300] [--tasks piqa,…] [--saved FILE.json]

lm-eval runs its own HFLM, requests, metrics and aggregation over rrt's task files; only where a task's fields come
from is told here. --saved keeps what it found, and a later call compares with that: the run takes long (six samples of
the seven tasks a minute on a core). Exits with 1 if a log-likelihood is further apart than BAR, a decision differs that
so little cannot turn, or a figure does not follow from the decisions. PyTorch's log_softmax in f32 is 1e-5 off per token.

Needs: pip install torch transformers gguf lm-eval (tools/oracle.py).
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # all is here; before the imports that read it

import tokenizer_reference
from oracle import load

CHOICE = {"output_type": "multiple_choice", "doc_to_text": "context", "doc_to_target": "gold", "doc_to_choice": "choices",
          "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
SHAPES = {"lambada_openai": {"output_type": "loglikelihood", "doc_to_text": "context", "doc_to_target": "{{' ' + target}}",
                             "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}]},
          "winogrande": {"output_type": "multiple_choice", "doc_to_text": "gold", "doc_to_target": "target",
                         "doc_to_choice": "contexts", "metric_list": [{"metric": "acc"}]}}
BAR = 5e-3
FIGURES = {"acc": "acc", "stderr": "acc_stderr", "acc_norm": "acc_norm", "acc_norm_stderr": "acc_norm_stderr",
           "perplexity": "perplexity"}  # rrt's name: lm-eval's
TASKS = ("lambada_openai", "hellaswag", "piqa", "winogrande", "arc_easy", "arc_challenge", "openbookqa")


def evaluate(lm, data, tasks, limit):
    """{task: {"results": aggregated, "samples": [{"loglikelihoods", metrics…}]}} as lm-eval finds them."""
    from lm_eval import simple_evaluate
    configs = [{"task": task, "dataset_path": "json", "test_split": "test", **SHAPES.get(task, CHOICE),
                "dataset_kwargs": {"data_files": {"test": os.path.join(data, task + ".jsonl")}}} for task in tasks]
    found = simple_evaluate(lm, tasks=configs, limit=limit, log_samples=True, bootstrap_iters=10)
    out = {}
    for task in tasks:
        samples = sorted(found["samples"][task], key=lambda s: s["doc_id"])
        out[task] = {"results": {k.removesuffix(",none"): v for k, v in found["results"][task].items()},
                     "samples": [{"loglikelihoods": [r[0] for r in s["filtered_resps"]],
                                  **{m: s[m] for m in ("acc", "acc_norm") if m in s}} for s in samples]}
    return out


def harness(path, data, tasks, limit):
    """The same with PyTorch."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HF_DATASETS_CACHE"] = cache
        from lm_eval.models.huggingface import HFLM
        from transformers import PreTrainedTokenizerFast
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer_reference.from_gguf(path), eos_token="<|endoftext|>",
                                            bos_token="<|endoftext|>")
        return evaluate(HFLM(pretrained=load(path), tokenizer=tokenizer, batch_size=4), data, tasks, limit)


def rrt(path, data, tasks, limit):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "samples.jsonl")
        command = ["build/rrt", "eval", "tasks", "-m", path, "--data", data, "--tasks", ",".join(tasks), "--limit",
                   str(limit), "--samples", file, "--kv-type", "f32", "--json"]
        results = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["tasks"]
        samples = [json.loads(line) for line in open(file)]
    return {t: {"results": results[t], "samples": [s for s in samples if s["task"] == t]} for t in tasks}


def margin(sample, decision):
    """How far apart a decision's two best answers are in log-likelihood: what noise has to overcome to turn it."""
    scores = sample["loglikelihoods"]
    if len(scores) == 1:
        return 0  # greedy or not: two logits that are as close as that
    if decision == "acc_norm":
        scores = [s / n for s, n in zip(scores, sample["characters"])]
    best = sorted(scores)[-2:]
    return (best[1] - best[0]) * (max(sample["characters"]) if decision == "acc_norm" else 1)


def compare(task, ours, theirs):
    """Prints a line; returns the largest difference of a log-likelihood, the decisions that differ, and if all is well."""
    pairs = list(zip(ours["samples"], theirs["samples"], strict=True))
    worst = max(abs(x - y) for a, b in pairs for x, y in zip(a["loglikelihoods"], b["loglikelihoods"], strict=True))
    differing, well = 0, worst <= BAR
    for i, (a, b) in enumerate(pairs):
        for decision in ("acc", "acc_norm"):
            if decision in b and a[decision] != b[decision]:
                differing += 1
                well = well and margin(a, decision) <= BAR
                print(f"  {task} {i}: {decision} {a[decision]}, lm-eval {b[decision]}, margin {margin(a, decision):.2e}")
    figures = [(k, ours["results"][k], theirs["results"][t]) for k, t in FIGURES.items() if t in theirs["results"]]
    well = well and (differing > 0 or all(abs(a / b - 1) < 1e-3 if b else a == b for _, a, b in figures))
    print(f"{task}: {len(pairs)} samples, log-likelihoods apart at most {worst:.2e}, {differing} decisions differ\n  "
          + ", ".join(f"{k} {a:.6g} ({b:.6g})" for k, a, b in figures))
    return worst, differing, well


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--saved", help="lm-eval's findings: read where the file exists, else written")
    args = parser.parse_args()
    tasks = args.tasks.split(",")
    if args.saved and os.path.exists(args.saved):
        theirs = json.load(open(args.saved))
    else:
        theirs = harness(args.model, args.data, tasks, args.limit)
        if args.saved:
            json.dump(theirs, open(args.saved, "w"))
    ours = rrt(args.model, args.data, tasks, args.limit)
    print("figures: rrt's (lm-eval's)")
    found = [compare(t, ours[t], theirs[t]) for t in tasks]
    print(f"largest difference of a log-likelihood {max(f[0] for f in found):.2e} (bar: {BAR:g}); "
          f"{sum(f[1] for f in found)} decisions differ")
    return not all(f[2] for f in found)


if __name__ == "__main__":
    sys.exit(main())
