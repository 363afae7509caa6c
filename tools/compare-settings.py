#!/usr/bin/env python3
"""Every setting, left out or changed: rrt says what the reference says, or refuses. No silent difference.

    tools/compare-settings.py hf [--only TEXT]     keys of config.json, against transformers on the same folder
    tools/compare-settings.py gguf [--only TEXT]   keys and tensors of GGUF files, against llama.cpp on the same file

Prints a line for each family and what differs; exit code 1 if anything differs without a word. Needs what
compare-families.py needs.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

import references
from references import Llama, convert_to_gguf, ids_of, ours, theirs
from tiny_models import CONFIGS, LINEAR, LLAMA3, LONG, YARN, randomise

FAMILIES = ["llama", "llama-biases", "mistral-window", "qwen2", "qwen2-window", "qwen3", "smollm3", "olmo2", "phi3",
            "phi3-longrope", "granite", "gemma", "gemma2", "gemma3", "gemma3-linear", "neox", "neox-serial"]
IDS = ids_of(90)
BAR = {"hf": 3e-4, "gguf": 2e-2}

# Keys of config.json with values that one class or another takes notice of; each family gets all of them.
VALUES = {
    "attention_bias": [True, False], "mlp_bias": [True, False], "use_parallel_residual": [True, False],
    "tie_word_embeddings": [True, False, None], "hidden_act": ["silu", "gelu", "gelu_pytorch_tanh", "relu"],
    "hidden_activation": ["gelu_pytorch_tanh", "gelu"], "rms_norm_eps": [1e-6, 1e-2], "layer_norm_eps": [1e-2],
    "head_dim": [8, 16, None], "num_key_value_heads": [1, 2, 6, None], "rope_theta": [100.0, 500000.0],
    "rotary_emb_base": [100.0], "rotary_pct": [0.5, 1.0], "partial_rotary_factor": [0.5, 0.75, 1.0],
    "rope_scaling": [None, {}, {"type": "linear", "factor": 2.0}, {"rope_type": "linear"}, {"rope_type": "dynamic", "factor": 2.0},
                     {k: v for k, v in LLAMA3.items() if k != "rope_theta"}, {k: v for k, v in YARN.items() if k != "rope_theta"},
                     {k: v for k, v in LONG.items() if k != "rope_theta"}, {"type": "su", "short_factor": [1.0] * 3,
                                                                            "long_factor": [2.0] * 3}],
    "rope_parameters": [None, {"rope_type": "default", "rope_theta": 77.0}, {"rope_theta": 77.0}, LINEAR, LLAMA3, YARN,
                        {"full_attention": {"rope_type": "default", "rope_theta": 77.0}},
                        {"sliding_attention": {"rope_type": "default", "rope_theta": 77.0}},
                        {"rope_type": "default", "partial_rotary_factor": 0.5}],
    "rope_local_base_freq": [55.0], "original_max_position_embeddings": [32],
    "max_position_embeddings": [128, 4096], "sliding_window": [None, 7, 1000], "use_sliding_window": [True, False],
    "sliding_window_pattern": [1, 3], "max_window_layers": [0, 1, 100],
    "layer_types": [None, ["full_attention"] * 4, ["sliding_attention"] * 4,
                    ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]],
    "no_rope_layers": [None, [1, 1, 1, 1], [0, 1, 0, 1]], "no_rope_layer_interval": [1, 2],
    "query_pre_attn_scalar": [4, 256], "attn_logit_softcapping": [None, 3.0], "final_logit_softcapping": [None, 3.0],
    "use_bidirectional_attention": [True, False, None], "embedding_multiplier": [2.0], "residual_multiplier": [0.5],
    "attention_multiplier": [0.3], "logits_scaling": [4.0], "attention_dropout": [0.1], "pretraining_tp": [2],
    "quantization_config": [{"quant_method": "gptq", "bits": 4}], "is_causal": [False], "use_cache": [False],
    "model_max_length": [10**40], "attention_chunk_size": [8], "clip_qkv": [1.0], "scale_attn_weights": [False],
    "num_experts": [4], "unheard_of": [1],
}

# Keys of GGUF files, without the architecture's name.
KEYS = {
    "attention.causal": [False, True], "attention.sliding_window": [0, 7, 1000], "attention.sliding_window_pattern": [3],
    "attention.scale": [0.3], "attention.key_length": [8], "attention.value_length": [8], "attention.head_count_kv": [1, 6],
    "attention.layer_norm_rms_epsilon": [1e-2], "attention.layer_norm_epsilon": [1e-2], "attention.clamp_kqv": [1.0],
    "attention.max_alibi_bias": [8.0], "attn_logit_softcapping": [3.0], "final_logit_softcapping": [3.0],
    "expert_count": [4], "logit_scale": [4.0], "residual_scale": [0.5], "embedding_scale": [2.0],
    "use_parallel_residual": [True, False], "rope.dimension_count": [4, 6], "rope.freq_base": [100.0],
    "rope.freq_base_swa": [100.0], "rope.scale_linear": [2.0], "rope.scaling.factor": [2.0],
    "rope.scaling.type": ["none", "linear", "yarn", "longrope"], "rope.scaling.attn_factor": [1.3],
    "rope.scaling.original_context_length": [32], "rope.scaling.yarn_beta_fast": [16.0],
    "rope.scaling.yarn_log_multiplier": [0.5], "rope.scaling.yarn_attn_factor": [1.7], "context_length": [64, 4096],
    "block_count": [2, 3], "vocab_size": [50], "unheard_of": [1],
}
PAIRS = [{"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}, {"rope.scaling.type": "none", "rope.scaling.factor": 4.0},
         {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0, "rope.scaling.attn_factor": 1.2}]


def tally(name, results):
    """results: (what, rrt's, the reference's); each logits or a text why not."""
    same = refused = more = 0
    wrong = []
    for what, mine, reference in results:
        if isinstance(mine, Exception):
            refused += 1
        elif isinstance(reference, str) or reference.isnan().any():
            more += 1  # what the reference does not open
        elif (mine - reference).abs().max().item() < BAR[args.kind]:
            same += 1
        else:
            wrong.append(f"    {what}: off by {(mine - reference).abs().max().item():.1e}")
    print(f"{name:18s} {same:4d} equal {refused:4d} refused {more:4d} opened by rrt only {len(wrong):4d} different", flush=True)
    for line in wrong:
        print(line)
    return len(wrong)


# --- config.json

def changes(saved):
    yield "as saved", saved
    for key in saved:
        yield f"without {key}", {k: v for k, v in saved.items() if k != key}
    for key, values in VALUES.items():
        for value in values:
            yield f"{key} = {json.dumps(value)[:70]}", saved | {key: value}
    old = {k: v for k, v in saved.items() if k not in ("rope_parameters", "layer_types", "no_rope_layers")}
    for value in VALUES["rope_scaling"]:
        yield f"old style, rope_scaling = {json.dumps(value)[:70]}", old | {"rope_theta": 300.0, "rope_scaling": value}


def transformers_logits(folder):
    try:
        model, info = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64,
                                                           output_loading_info=True)
        if info["missing_keys"] or info["mismatched_keys"]:
            return "weights are missing"
        return theirs(model.eval(), IDS)
    except Exception as e:
        return f"{type(e).__name__}: {e}"


def sweep_hf(name, work):
    model = AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    randomise(model, torch.Generator().manual_seed(3))
    folder = work / name
    model.save_pretrained(folder)
    path = folder / "config.json"
    saved = json.loads(path.read_text())
    for what, config in changes(saved):
        path.write_text(json.dumps(config))
        yield what, ours(folder, IDS), transformers_logits(folder)


# --- GGUF

def rewrite(source, target, keys=(), without=(), tensors=(), without_tensors=()):
    """The file with keys set or left out, and tensors added or left out."""
    import gguf
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, arch)
    keys = {(k if k.startswith(("general.", "split.")) else f"{arch}.{k}"): v for k, v in dict(keys).items()}
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture" or field.name in keys or field.name in without:
            continue
        kind, sub = field.types[0], field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=sub)
    for key, value in keys.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
               list: writer.add_array}[type(value)]
        add(key, value)
    for tensor in reader.tensors:
        if tensor.name not in without_tensors:
            writer.add_tensor(tensor.name, np.array(tensor.data).reshape([int(n) for n in reversed(tensor.shape)]))
    for tensor_name, data in dict(tensors).items():
        writer.add_tensor(tensor_name, data.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return arch


def variants(base):
    import gguf
    reader = gguf.GGUFReader(base)
    arch = reader.fields["general.architecture"].contents()
    shapes = {t.name: [int(n) for n in reversed(t.shape)] for t in reader.tensors}
    random = np.random.default_rng(5)
    yield "as converted", {}
    for field in reader.fields:
        if field.startswith(arch + "."):
            yield f"without {field}", dict(without=[field])
    for key, values in KEYS.items():
        for value in values:
            # The one difference that is meant: rrt sees no further than a file of these says, llama.cpp warns.
            if key != "attention.sliding_window" or arch not in ("llama", "phi3") or value > len(IDS):
                yield f"{key} = {value}", dict(keys={key: value})
    for pair in PAIRS:
        yield str(pair), dict(keys=pair)
    for key, value in {"attention.head_count": [6] * 4, "attention.head_count_kv": [2, 2, 1, 2], "feed_forward_length": [64] * 4,
                       "attention.sliding_window_pattern": [True, False, False, True]}.items():
        yield f"{key} = {value}", dict(keys={key: value})
    for key, value in {"general.type": "adapter", "general.alignment": 64, "split.count": 2}.items():
        yield f"{key} = {value}", dict(keys={key: value})
    for tensor in sorted({t for t in shapes if not t.startswith("blk.") or t.startswith("blk.1.")}):
        yield f"without tensor {tensor}", dict(without_tensors=[tensor])
    hidden, pairs = shapes["token_embd.weight"][1], 4
    for tensor, shape in {"rope_freqs.weight": [pairs], "blk.0.unheard_of.weight": [hidden], "blk.9.attn_norm.weight": [hidden],
                          "output.weight": shapes["token_embd.weight"], "output.bias": [97],
                          "rope_factors_long.weight": [pairs], "blk.0.attn_q_norm.weight": [8]}.items():
        if tensor not in shapes:
            yield f"with tensor {tensor}", dict(tensors={tensor: 1 + random.random(shape)})
    for matrix, rows in (("attn_q", 48), ("attn_k", 16), ("attn_v", 16), ("attn_output", hidden), ("ffn_gate", 64), ("ffn_up", 64),
                         ("ffn_down", hidden)):
        added = {f"blk.{i}.{matrix}.bias": random.random(rows) - 0.5 for i in range(4)}
        if not set(added) & set(shapes):
            yield f"with {matrix}.bias everywhere", dict(tensors=added)
            yield f"with {matrix}.bias in one block", dict(tensors={f"blk.0.{matrix}.bias": added[f"blk.0.{matrix}.bias"]})


def llama_child(path, pipe):
    os.environ["GGML_NO_BACKTRACE"] = "1"
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    other = Llama(path)
    pipe.send(other.logits(IDS).numpy() if other.is_open else None)


def llama_logits(path):
    """In a process of its own: llama.cpp aborts on much that it does not expect."""
    mine, child = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=llama_child, args=(path, child))
    process.start()
    child.close()
    try:
        row = mine.recv() if mine.poll(60) else None
    except EOFError:
        row = None
    process.join(5)
    process.kill()
    return "llama.cpp does not open it" if row is None else torch.tensor(row)


def sweep_gguf(name, work):
    model = AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    randomise(model, torch.Generator().manual_seed(3))
    folder, base, variant = work / name, work / f"{name}.gguf", work / "variant.gguf"
    model.save_pretrained(folder)
    failed = convert_to_gguf(folder, base)
    if failed:
        print(f"{name}: {failed}")
        return
    for what, change in variants(base):
        variant.unlink(missing_ok=True)
        rewrite(base, variant, **change)
        yield what, ours(variant, IDS), llama_logits(variant)


parser = argparse.ArgumentParser()
parser.add_argument("kind", choices=("hf", "gguf"))
parser.add_argument("--only", default="")
args = parser.parse_args()
transformers.logging.set_verbosity(50)
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
if args.kind == "gguf" and not references.import_llama():
    sys.exit("llama_cpp cannot be imported: see compare-families.py")
with tempfile.TemporaryDirectory() as folder:
    sweep = sweep_hf if args.kind == "hf" else sweep_gguf
    bad = sum(tally(name, sweep(name, pathlib.Path(folder))) for name in FAMILIES if args.only in name)
sys.exit(bad > 0)
