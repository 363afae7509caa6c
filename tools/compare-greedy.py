#!/usr/bin/env python3
"""The same text however a model is run: tools/compare-greedy.py MODEL… [--tokens 24] [--kernels reference,avx2]

Greedy, twelve prompts of 1 to 300 tokens, given to `rrt serve` as ids. First one at a time, then all at once, so that their chunks lie
beside others' and are cut elsewhere; with room for 3 and for 32 at a time, by one and two threads, and by each set of kernels. Texts have to
be the same; log-probabilities too, to the last bit, except between sets of kernels, where the table says how far they are apart. Exit code 1 otherwise.

Prompts are cut out of a text, --text (WikiText-2 of RRT_DATA). Standard library only.
"""
import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

RRT = os.environ.get("RRT") or str(pathlib.Path(__file__).resolve().parent.parent / "build/rrt")
LENGTHS = (1, 2, 3, 7, 15, 16, 17, 40, 100, 129, 200, 300)


@contextlib.contextmanager
def server(model, kernels, threads, parallel):
    """Its address, once the model is loaded. OpenMP's threads wait asleep: nothing here is timed."""
    environment = {**os.environ, "RRT_KERNELS": kernels, "OMP_WAIT_POLICY": "passive"}
    command = [RRT, "serve", "-m", model, "--port", "0", "-t", str(threads), "--parallel", str(parallel), "--kv-tokens", "16384"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        address = process.stderr.readline().split()[-1]
        while True:
            try:
                urllib.request.urlopen(address + "/health")
                break
            except urllib.error.URLError:
                if process.poll() is not None:
                    sys.exit(f"rrt serve -m {model}: " + process.stderr.read())
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.communicate()


def complete(address, prompts, tokens):
    """[(text, log-probabilities)] of prompts that run together"""
    body = {"prompt": prompts, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "logprobs": 1}
    request = urllib.request.Request(address + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    choices = json.load(urllib.request.urlopen(request))["choices"]
    return [(c["text"], c["logprobs"]["token_logprobs"]) for c in sorted(choices, key=lambda c: c["index"])]


def prompts_of(model, text):
    out = subprocess.run([RRT, "tokenize", "-m", model, "-f", text, "--json"], stdout=subprocess.PIPE, check=True).stdout
    ids = json.loads(out)["ids"]
    return [ids[1000 * i:1000 * i + length] for i, length in enumerate(LENGTHS)]


def compare(model, prompts, options):
    """Ways to run it, and whether each says what the first says."""
    first = None
    bad = 0
    for kernels in options.kernels.split(","):
        own = None  # the first of these kernels
        for threads, parallel in ((2, 3), (1, 3), (2, 32)):
            with server(model, kernels, threads, parallel) as address:
                together = complete(address, prompts, options.tokens)
            with server(model, kernels, threads, parallel) as address:  # nothing is left of earlier prompts
                alone = [complete(address, [prompt], options.tokens)[0] for prompt in prompts]
            for way, said in (("alone", alone), ("together", together)):
                own, first = own or said, first or said
                texts = sum(a[0] == b[0] for a, b in zip(said, first))
                bits = sum(a[1] == b[1] for a, b in zip(said, own))
                pairs = [(x, y) for a, b in zip(said, first) if a[0] == b[0] for x, y in zip(a[1], b[1])]
                bad += texts < len(prompts) or bits < len(prompts)
                print(f"| {pathlib.Path(model).stem} | {kernels} | {threads} | {parallel} | {way} | {texts} of {len(prompts)} "
                      f"| {bits} of {len(prompts)} | {max((abs(x - y) for x, y in pairs), default=0):.1e} |", flush=True)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--kernels", default="reference,avx2")
    parser.add_argument("--text", default=os.environ.get("RRT_DATA", "data") + "/ppl/wikitext2.test.raw")
    options = parser.parse_args()
    print("| model | kernels | threads | at a time | prompts | same texts | same bits (these kernels) | log-probabilities apart |\n" + "| --- " * 8 + "|")
    return sum(compare(model, prompts_of(model, options.text), options) for model in options.models) > 0


sys.exit(main())
