#!/usr/bin/env python3
"""Agreement promised and agreement kept: bench/exit-promises.py MODEL CALIBRATION.txt OTHER.txt [--max-tokens N] [--ctx 256]

For each rule, K/V policy and type: `rrt eval exits` calibrates on the first text; the threshold that it found for 90, 95 and 99 % runs on the
other text, decoded with the same keys and values.
"""
import argparse
import importlib
import json
import subprocess

engine = importlib.import_module("engine-against-llama")


def evaluate(options, text, rule, kv, kv_type):
    command = [engine.RRT, "eval", "exits", "-m", options.model, "-f", text, "--exit", rule, "--kv", kv, "--kv-type", kv_type, "-c", options.ctx,
               "--max-tokens", options.max_tokens, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("calibration")
    parser.add_argument("other")
    parser.add_argument("--rules", default="margin:0.5,confidence:0.5")
    parser.add_argument("--kv", default="propagate,copy,recompute,last:32")
    parser.add_argument("--types", default="f16,q8_0")
    parser.add_argument("--promises", default="0.9,0.95,0.99")
    parser.add_argument("--max-tokens", default="16384")
    parser.add_argument("--ctx", default="256")
    options = parser.parse_args()
    print("| rule, K/V | promise | threshold | calibrated: agreement (bound) | made freely | loops | other text: agreement (tokens) | kept |\n"
          "|" + " --- |" * 8)
    for rule in options.rules.split(","):
        for kv in options.kv.split(","):
            for kv_type in options.types.split(","):
                for promise in evaluate(options, options.calibration, rule, kv, kv_type)["calibrated"]:
                    if f"{promise['wanted']:g}" not in options.promises.split(","):
                        continue
                    name = f"| {rule.split(':')[0]}, {kv} {kv_type} | {promise['wanted']:.0%}"
                    if promise["threshold"] is None:
                        print(f"{name} | none | | | | | |", flush=True)
                        continue
                    other = evaluate(options, options.other, f"{rule.split(':')[0]}:{promise['threshold']:.17g}", kv, kv_type)
                    print(f"{name} | {promise['threshold']:.4g} | {promise['agreement']:.2%} ({promise['agreement_bound']:.2%}) | "
                          f"{promise['free_agreement']:.2%} | {other['mean_loops']:.2f} | {other['agreement']:.2%} ({other['tokens']}) | "
                          f"{'yes' if other['agreement'] >= promise['wanted'] else 'NO'} |", flush=True)


main()
