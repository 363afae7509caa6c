#!/usr/bin/env python3
"""Every family and rope scaling that rrt reads, as tiny random models that others write: logits of the Hugging Face
folder against transformers, of the GGUF file (llama.cpp's own converter) against llama.cpp, and of what rrt exports
and converts against both.

    tools/compare-families.py [--only TEXT]      prints a table; exit code 1 if a cell is wrong

Needs torch, transformers, and llama.cpp: LLAMA_CPP names its source (convert_hf_to_gguf.py), and llama_cpp is to be
imported (llama-cpp-python; its library may be elsewhere: LLAMA_CPP_LIB_PATH). Without it the GGUF columns stay empty.
"""
import argparse
import pathlib
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM

from references import LLAMA_CPP, Llama, convert_to_gguf, ids_of, import_llama, ours, rrt, theirs
from tiny_models import CONFIGS, randomise

LENGTHS = (1, 7, 60, 300)
# f32 on both sides: what is wrong is off by far more. llama.cpp's GELU is a table in f16.
BAR, BAR_GELU = 3e-4, 2e-2


def difference(path, reference, lengths=LENGTHS):
    """The largest difference to reference(ids), or what rrt says."""
    worst = 0.0
    for length in lengths:
        mine = ours(path, ids_of(length))
        if isinstance(mine, Exception):
            return str(mine)
        worst = max(worst, (mine - reference(ids_of(length))).abs().max().item())
    return worst


def compare(name, work, llama):
    config = CONFIGS[name]()
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    randomise(model, torch.Generator().manual_seed(len(name)))
    folder, gguf = work / name, work / f"{name}.gguf"
    model.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64).eval()
    truth = lambda ids: theirs(model, ids)
    row = {"HF": difference(folder, truth)}
    # rrt's own ways on, read back by the others
    plain, back, again = work / f"{name}-hf", work / f"{name}-back.gguf", work / f"{name}-looped"
    made = rrt("export", folder, plain, "--to", "hf")
    row["HF export"] = str(made) if isinstance(made, Exception) else reopened(plain, truth)
    made = rrt("convert", folder, again, "--loops", 2, "--rank", 2, "--force")
    if isinstance(made, Exception):
        row["converted"] = str(made)
    else:
        merged = work / f"{name}-merged"
        made = rrt("export", again, merged, "--to", "hf")
        row["converted"] = str(made) if isinstance(made, Exception) else difference(
            again, lambda ids, m=load(merged): theirs(m, ids))
    if not llama:
        return row
    failed = convert_to_gguf(folder, gguf)
    row["GGUF"] = failed or against_llama(gguf, config)
    made = rrt("export", folder, back, "--to", "gguf")
    row["GGUF export"] = str(made) if isinstance(made, Exception) else against_llama(back, config)
    return row


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64).eval()


def reopened(folder, truth):
    model = load(folder)
    return max((theirs(model, ids_of(n)) - truth(ids_of(n))).abs().max().item() for n in LENGTHS)


def against_llama(path, config):
    other = Llama(path)
    most = config.max_position_embeddings
    if config.model_type in ("mistral", "phi3"):  # of which llama.cpp takes no notice of the window
        most = config.sliding_window or most
    lengths = [n for n in LENGTHS if n <= most]
    return difference(path, other.logits, lengths) if other.is_open else "llama.cpp does not open it"


def verdict(cell, name, column):
    """Text of a cell, and whether it is wrong. A refusal names what is not supported."""
    if isinstance(cell, float):
        bar = BAR_GELU if "gemma" in name or "neox" in name else BAR
        return f"{cell:.0e}" + ("" if cell < bar else " WRONG"), not cell < bar
    if cell.startswith("llama.cpp does not open it") and column == "GGUF":
        return "not opened by llama.cpp either", False
    if cell.startswith("converter: "):
        return f"not made ({cell[:80]})", False
    refused = any(word in cell for word in ("not supported", "no way to say", "have no head"))
    return ("refused" if refused else "FAILED") + f" ({cell[-110:]})", not refused


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    llama = import_llama() if LLAMA_CPP else None
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        for name in CONFIGS:
            if args.only not in name:
                continue
            cells = []
            for column, cell in compare(name, pathlib.Path(work), llama).items():
                text, wrong = verdict(cell, name, column)
                bad += wrong
                cells.append(f"{column} {text}")
            print(f"{name:24s} " + " | ".join(cells), flush=True)
    print(f"{bad} wrong")
    return bad > 0


sys.exit(main())
