"""Logits of rrt, transformers and llama.cpp on the same tokens, and llama.cpp's converter."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import torch

from tiny_models import VOCAB

ROOT = pathlib.Path(__file__).resolve().parent.parent
LLAMA_CPP = os.environ.get("LLAMA_CPP")


def rrt(*arguments):
    done = subprocess.run([os.environ.get("RRT") or ROOT / "build/rrt", *map(str, arguments)], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else RuntimeError(done.stderr.strip().split("\n")[0])


def ours(path, ids, vocab=VOCAB):
    out = rrt("logits", "-m", path, "--tokens", ",".join(map(str, ids)), "--top", 1 << 20, "--kv-type", "f32", "--json")
    if isinstance(out, Exception):
        return out
    row = torch.zeros(vocab, dtype=torch.float64)
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

    def close(self):
        self.api.llama_model_free(self.model)

    def rows(self, ids):
        """Logits after every token, [tokens, vocabulary] in f32."""
        api, params = self.api, self.api.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = max(len(ids), 16)
        params.type_k = params.type_v = 0
        params.flash_attn_type = 0
        params.n_threads = params.n_threads_batch = 2
        context = api.llama_init_from_model(self.model, params)
        batch = api.llama_batch_init(len(ids), 0, 1)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, True
        batch.n_tokens = len(ids)
        if api.llama_decode(context, batch) != 0:
            raise RuntimeError("llama.cpp does not decode")
        vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        out = np.ctypeslib.as_array(api.llama_get_logits(context), (len(ids), vocab)).copy()
        api.llama_batch_free(batch)
        api.llama_free(context)
        return out

    def logits(self, ids):
        return torch.tensor(self.rows(ids)[-1, :VOCAB], dtype=torch.float64)


def import_llama():
    try:
        import llama_cpp
    except ImportError:
        return None
    global silent
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    return llama_cpp


def ids_of(length):
    return [(i * i * 7 + i * 13 + 5) % VOCAB for i in range(length)]


def as_published(folder):
    """A copy of the folder with what the converter looks for in published ones: a vocabulary's size, old keys."""
    copy = pathlib.Path(str(folder) + "-published")
    shutil.copytree(folder, copy)
    vocabulary = {f"t{i}": i for i in range(VOCAB)}
    (copy / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": []}))
    config = json.loads((copy / "config.json").read_text())
    if config["model_type"] == "gpt_neox":
        config["rotary_pct"] = config["rope_parameters"]["partial_rotary_factor"]
        (copy / "config.json").write_text(json.dumps(config))
    return copy


def convert_to_gguf(folder, path):
    """By llama.cpp's converter, as it is but for the vocabulary: the models have none."""
    folder = as_published(folder)
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
import conversion, json, os
hparams = base.ModelBase.load_hparams
def with_old_keys(folder, *a, **k):  # newer versions of transformers drop them
    raw = json.load(open(os.path.join(str(folder), "config.json")))
    return raw | hparams(folder, *a, **k)
base.ModelBase.load_hparams = staticmethod(with_old_keys)
load = conversion.get_model_class if hasattr(conversion, "get_model_class") else base.get_model_class
def patched(*a, **k):
    cls = load(*a, **k); everywhere(base.TextModel); return cls
for module in (conversion, base, convert_hf_to_gguf):
    if hasattr(module, "get_model_class"): module.get_model_class = patched
convert_hf_to_gguf.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return None if path.exists() else "converter: " + (done.stderr.strip().split("\n") or ["?"])[-1]
