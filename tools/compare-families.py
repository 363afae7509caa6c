#!/usr/bin/env python3
"""Every family and rope scaling that rrt reads, as tiny random models that others write: logits of the Hugging Face
folder against transformers, of the GGUF file (llama.cpp's own converter) against llama.cpp, and of what rrt exports
and converts against both.

    tools/compare-families.py [--only TEXT]      prints a table; exit code 1 if a cell is wrong

Needs torch, transformers, and llama.cpp: LLAMA_CPP names its source (convert_hf_to_gguf.py), and llama_cpp is to be
imported (llama-cpp-python; its library may be elsewhere: LLAMA_CPP_LIB_PATH). Without it the GGUF columns stay empty.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM

from tiny_models import CONFIGS, randomise

ROOT = pathlib.Path(__file__).resolve().parent.parent
LLAMA_CPP = os.environ.get("LLAMA_CPP")
LENGTHS = (1, 7, 60, 300)
# f32 on both sides: what is wrong is off by far more. llama.cpp's GELU is a table in f16.
BAR, BAR_GELU = 3e-4, 2e-2


def rrt(*arguments):
    done = subprocess.run([ROOT / "build/rrt", *map(str, arguments)], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else RuntimeError(done.stderr.strip().split("\n")[0])


def ours(path, ids):
    out = rrt("logits", "-m", path, "--tokens", ",".join(map(str, ids)), "--top", 1 << 20, "--json")
    if isinstance(out, Exception):
        return out
    row = torch.zeros(CONFIGS_VOCAB, dtype=torch.float64)
    for item in json.loads(out)["top"]:
        row[item["id"]] = item["logit"]
    return row


def theirs(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1].double()


class Llama:
    """A GGUF file in llama.cpp, with keys and values in f32."""

    def __init__(self, path):
        import llama_cpp
        self.api = llama_cpp
        llama_cpp.llama_log_set(silent, None)
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        self.is_open = bool(self.model)

    def logits(self, ids):
        api, params = self.api, self.api.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(len(ids), 16)
        params.type_k = params.type_v = 0
        params.flash_attn_type = 0
        params.n_threads = params.n_threads_batch = 2
        context = api.llama_init_from_model(self.model, params)
        tokens = (api.llama_token * len(ids))(*ids)  # the batch only points to them
        if api.llama_decode(context, api.llama_batch_get_one(tokens, len(ids))) != 0:
            raise RuntimeError("llama.cpp does not decode")
        row = api.llama_get_logits_ith(context, -1)
        out = torch.tensor([row[i] for i in range(CONFIGS_VOCAB)], dtype=torch.float64)
        api.llama_free(context)
        return out


def import_llama():
    try:
        import llama_cpp
    except ImportError:
        return None
    global silent
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    return llama_cpp


def ids_of(length):
    return [(i * i * 7 + i * 13 + 5) % CONFIGS_VOCAB for i in range(length)]


def difference(path, reference, lengths=LENGTHS):
    """The largest difference to reference(ids), or what rrt says."""
    worst = 0.0
    for length in lengths:
        mine = ours(path, ids_of(length))
        if isinstance(mine, Exception):
            return str(mine)
        worst = max(worst, (mine - reference(ids_of(length))).abs().max().item())
    return worst


def convert_to_gguf(folder, path):
    """By llama.cpp's converter, as it is but for the vocabulary: the models have none."""
    program = f"""
import sys
sys.path.insert(0, {LLAMA_CPP!r}); sys.path.insert(0, {LLAMA_CPP + "/gguf-py"!r})
sys.argv = ["convert_hf_to_gguf.py", {str(folder)!r}, "--outfile", {str(path)!r}, "--outtype", "f32"]
import convert_hf_to_gguf, conversion.base as base
def none(self):
    self._set_vocab_none()
    self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])
def everywhere(cls):
    cls.set_vocab = none
    for sub in cls.__subclasses__(): everywhere(sub)
from gguf import GGUFWriter
add = GGUFWriter.add_vocab_size
GGUFWriter.add_vocab_size = lambda self, size: None if any("vocab_size" in kv for kv in self.kv_data[0]) else add(self, size)
import conversion
load = conversion.get_model_class if hasattr(conversion, "get_model_class") else base.get_model_class
def patched(*a, **k):
    cls = load(*a, **k); everywhere(base.TextModel); return cls
for module in (conversion, base, convert_hf_to_gguf):
    if hasattr(module, "get_model_class"): module.get_model_class = patched
convert_hf_to_gguf.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return None if path.exists() else "converter: " + (done.stderr.strip().split("\n") or ["?"])[-1]


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


CONFIGS_VOCAB = 97
sys.exit(main())
