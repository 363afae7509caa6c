#!/usr/bin/env python3
"""Compares greedy tokens of a recursive model in rrt with those of its exports: transformers (hf, and our folder with its
modeling_rrt.py), PEFT, llama.cpp.

    tools/compare-export.py                 tiny models made here, with norms that are tied and per depth: seconds
    tools/compare-export.py runs/c3         a folder that rrt convert or rrt train wrote

Needs: pip install torch transformers peft tokenizers, llama-cpp-python (left out where it is not there).
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

try:
    from llama_cpp import Llama
except ImportError:
    Llama = None

PROMPTS = ["The capital of France is", "Once upon a time", "def fibonacci(n):", "Water boils at 100", "In 1969, the first",
           "The best way to learn is", "She opened the door and", "Dear Sir or Madam,\n\n", "1, 2, 3,", "A recursive model"]
ROOT = pathlib.Path(__file__).resolve().parent.parent


def rrt(*arguments):
    done = subprocess.run([ROOT / "build/rrt", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"rrt {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def make_tiny(folder, norms):
    """A random Llama over a tokenizer of the tests, converted."""
    torch.manual_seed(1)
    config = LlamaConfig(hidden_size=48, intermediate_size=96, num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=2,
                         vocab_size=448, max_position_embeddings=256, initializer_range=0.2, bos_token_id=1,
                         eos_token_id=2)  # as the tokenizer has them
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, 1, 0.2)
    model.save_pretrained(folder / "plain")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(ROOT / "tests/data/tokenizer-smollm" / name, folder / "plain")
    made = folder / f"tiny-{norms}"
    rrt("convert", folder / "plain", made, "--loops", 3, "--prelude", 1, "--coda", 1, "--rank", 3, "--norms", norms, "--force")
    return made


def greedy(model, ids, count):
    ids = torch.tensor([ids])
    with torch.no_grad():
        made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False,
                              pad_token_id=0)
    return made[0, ids.shape[1]:].tolist()


def greedy_llama(model, ids, count, ends):
    model.reset()
    made = []
    while len(made) < count and not (made and made[-1] in ends):
        model.eval(made[-1:] or ids)
        made.append(int(model.scores[model.n_tokens - 1].argmax()))
    return made


def compare(model, work, count):
    exports = {kind: work / f"{model.name}{end}" for kind, end in {"hf": "-hf", "peft": "-peft", "gguf": ".gguf"}.items()}
    for kind, path in exports.items():
        result = json.loads(rrt("export", model, path, "--to", kind, "--force", "--json"))
        print(f"{model.name}: {kind}: opened again by rrt, logits differ by {result['max_logit_diff']:.1e}")
    ends = json.loads((exports["hf"] / "generation_config.json").read_text()).get("eos_token_id", [])
    ends = ends if isinstance(ends, list) else [ends]
    load = lambda cls, path, **more: cls.from_pretrained(str(path), dtype=torch.float32, **more).eval()
    models = {"transformers": load(AutoModelForCausalLM, exports["hf"]),
              "our folder in transformers": load(AutoModelForCausalLM, model, trust_remote_code=True),
              "PEFT": load(AutoPeftModelForCausalLM, exports["peft"])}
    runs = {name: lambda ids, m=m: greedy(m, ids, count) for name, m in models.items()}
    if Llama:  # f32 keys and values, as everybody else has them
        llama = Llama(str(exports["gguf"]), n_ctx=256, logits_all=True, verbose=False, type_k=0, type_v=0)
        runs["llama.cpp"] = lambda ids: greedy_llama(llama, ids, count, ends)
    else:
        print("llama-cpp-python is not installed: llama.cpp is left out")
    tokenizer = AutoTokenizer.from_pretrained(str(exports["hf"]))
    same, bad = dict.fromkeys(runs, 0), []
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"]
        if Llama and llama.tokenize(prompt.encode(), add_bos=True, special=True) != ids:
            bad.append(f"llama.cpp has other ids for {prompt!r}")
        ours = json.loads(rrt("generate", "-m", model, "-p", prompt, "-n", count, "--temp", 0, "--kv-type", "f32", "--json"))["ids"]
        strip = lambda made: [i for i in made if i not in ends]
        for name, run in runs.items():
            theirs = run(ids)
            if strip(theirs) == strip(ours):
                same[name] += 1
            else:
                bad.append(f"{name}, {prompt!r}: {theirs}, and rrt {ours}")
    for name, number in same.items():
        print(f"{model.name}: {name}: {number} of {len(PROMPTS)} prompts give the same {count} greedy tokens")
    for line in bad:
        print(line)
    return not bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        models = [args.model] if args.model else [make_tiny(work, norms) for norms in ("tied", "per-depth", "folded")]
        return 0 if all([compare(model, work, args.tokens) for model in models]) else 1


sys.exit(main())
