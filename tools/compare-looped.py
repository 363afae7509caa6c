#!/usr/bin/env python3
"""The families that were trained with loops, as random models of several shapes: logits of rrt after every loop, its
gates, its GGUF and Hugging Face exports, quantised and dialled to other numbers of loops, against PyTorch
(looped_models.py) and llama.cpp.

    tools/compare-looped.py [--only TEXT]        prints a table; exit code 1 if a cell is wrong

Needs torch and safetensors; with LLAMA_CPP and llama_cpp (see compare-families.py) also compares llama.cpp on its
converter's files and on ours.
"""
import argparse
import importlib.util
import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import save_file

from looped_models import Looped
from references import LLAMA_CPP, ROOT, Llama, convert_to_gguf, ids_of, import_llama, rrt

LENGTHS = (1, 9, 70)
BAR = 1e-3  # tenfold beyond the trained loops: with these norms, rounding grows from loop to loop


def load_golden_maker():
    """Its configurations and its way to draw weights, without writing its files."""
    source = (ROOT / "tools" / "make-looped-golden.py").read_text().split("\nfor seed, (name, config)")[0]
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("golden", None))
    module.__file__ = str(ROOT / "tools" / "make-looped-golden.py")
    exec(source, module.__dict__)
    return module


golden = load_golden_maker()
LLAMA = dict(architectures=["LlamaForCausalLM"], model_type="llama", num_loops=1)
CONFIGS = {
    "nanbeige": golden.NANBEIGE,
    "nanbeige-wide": golden.NANBEIGE | dict(hidden_size=64, num_hidden_layers=4, num_loops=3, head_dim=32, rope_theta=1e7),
    "nanbeige-plain": golden.MODELS["nanbeige-plain"],
    "ouro": golden.OURO,
    "ouro-deep": golden.OURO | dict(num_hidden_layers=4, layer_types=["full_attention"] * 4, hidden_size=64, head_dim=16),
}


def make(name, folder, seed):
    config = CONFIGS[name]
    model = Looped(config)
    golden.randomise(model, torch.Generator().manual_seed(seed))
    folder.mkdir()
    save_file({n: p.detach().contiguous() for n, p in model.named_parameters()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return model.double()


def run(path, ids, *more):
    out = rrt("logits", "-m", path, "--tokens", ",".join(map(str, ids)), "--top", 1 << 20, "--kv-type", "f32", "--json", *more)
    if isinstance(out, Exception):
        raise out
    out = json.loads(out)
    row = torch.zeros(golden.VOCAB, dtype=torch.float64)
    for item in out["top"]:
        row[item["id"]] = item["logit"]
    return row, out.get("gates")


def against_pytorch(path, model, loops):
    worst = gates = 0.0
    with torch.no_grad():
        for ids in map(ids_of, LENGTHS):
            states = model.states(torch.tensor(ids), max(loops, model.loops))
            row, found = run(path, ids, "--loops", loops)
            worst = max(worst, (row - model.head(states[loops - 1][-1])).abs().max().item())
            for n, chance in enumerate((found or [])[:model.loops]):
                gates = max(gates, abs(chance - torch.sigmoid(model.gate(states[n][-1])).item()))
    if gates > 1e-4:
        raise ValueError(f"gates are off by {gates:.1e}")
    return worst / (10 if loops > model.loops else 1)


def against_llama(path):
    other = Llama(path)
    if not other.is_open:
        return "llama.cpp does not open it"
    return max((run(path, ids)[0] - other.logits(ids)).abs().max().item() for ids in map(ids_of, LENGTHS))


def made(*arguments):
    out = rrt(*arguments)
    if isinstance(out, Exception):
        raise out


def compare(name, work, llama, seed):
    folder = work / name
    model = make(name, folder, seed)
    for loops in range(1, model.loops + 2):
        yield f"{loops} loops", lambda n=loops: against_pytorch(folder, model, n)
    back, gguf, written = work / f"{name}-hf", work / f"{name}.gguf", work / f"{name}-by-llama.gguf"
    yield "HF export", lambda: (made("export", folder, back, "--to", "hf"), against_pytorch(back, model, model.loops))[1]
    yield "GGUF export", lambda: (made("export", folder, gguf, "--to", "gguf"), against_pytorch(gguf, model, model.loops))[1]
    if not llama or not name.startswith("nanbeige"):
        return
    yield "ours in llama.cpp", lambda: against_llama(gguf)
    yield "llama.cpp's", lambda: convert_to_gguf(folder, written) or against_llama(written)
    yield "llama.cpp's, PyTorch", lambda: against_pytorch(written, model, model.loops)


def compare_converted(work, llama):
    """A Llama that we made a cycle, with and without the norm between its loops, as llama.cpp's nanbeige."""
    import transformers
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM
    from tiny_models import CONFIGS as FAMILIES, randomise
    transformers.utils.logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_config(FAMILIES["llama"](), attn_implementation="eager")
    randomise(model, torch.Generator().manual_seed(5))
    model.save_pretrained(work / "llama")
    for more in ([], ["--loop-norm"]):
        name = "cycle" + "".join(more)
        cycle, gguf, hf = work / name, work / f"{name}.gguf", work / f"{name}-hf"
        made("convert", work / "llama", cycle, "--loops", 2, "--init", "stepwise", *more)
        made("export", cycle, gguf, "--to", "gguf", "--looped")
        made("export", cycle, hf, "--to", "hf", "--looped")
        config = json.loads((hf / "config.json").read_text())
        reference = Looped(config)
        reference.load_state_dict(load_file(hf / "model.safetensors"))
        yield f"{name}, PyTorch", lambda: against_pytorch(cycle, reference.double(), 2)
        if llama:
            yield f"{name} in llama.cpp", lambda: against_llama(gguf)


def compare_stacks(work, llama):
    """HRM-Text of transformers, causal."""
    import transformers
    from transformers import HrmTextConfig, HrmTextForCausalLM
    from references import ours, theirs
    from tiny_models import randomise
    transformers.utils.logging.disable_progress_bar()
    for name, more in {"hrm": {}, "hrm-wide": dict(hidden_size=64, head_dim=24, num_hidden_layers=3, H_cycles=3, L_cycles=2)}.items():
        config = HrmTextConfig(**(dict(vocab_size=golden.VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
                                       num_attention_heads=4, head_dim=8, max_position_embeddings=256, embedding_scale=3.0) | more))
        model = HrmTextForCausalLM(config).eval()
        randomise(model, torch.Generator().manual_seed(8))
        folder, back, gguf, written = (work / f"{name}{end}" for end in ("", "-hf", ".gguf", "-by-llama.gguf"))
        model.save_pretrained(folder)
        model.double()
        truth = lambda path, m=model: max((ours(path, ids) - theirs(m, ids)).abs().max().item() for ids in map(ids_of, LENGTHS))
        yield f"{name}", lambda: truth(folder)
        yield "HF export", lambda: (made("export", folder, back, "--to", "hf"), truth(back))[1]
        yield "in transformers", lambda: max((theirs(HrmTextForCausalLM.from_pretrained(back, dtype=torch.float64), ids) -
                                              theirs(model, ids)).abs().max().item() for ids in map(ids_of, LENGTHS))
        yield "GGUF export", lambda: (made("export", folder, gguf, "--to", "gguf"), truth(gguf))[1]
        if llama:
            yield "ours in llama.cpp", lambda: against_llama(gguf)
            yield "llama.cpp's", lambda: convert_to_gguf(folder, written) or against_llama(written)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    llama = import_llama() if LLAMA_CPP else None
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        rows = [(name, compare(name, pathlib.Path(work), llama, seed)) for seed, name in enumerate(CONFIGS)]
        for name, row in rows + [("converted", compare_converted(pathlib.Path(work), llama)),
                                 ("stacks", compare_stacks(pathlib.Path(work), llama))]:
            if args.only not in name:
                continue
            cells = []
            for column, check in row:
                try:
                    found = check()
                except Exception as error:
                    found = str(error)
                wrong = not (isinstance(found, float) and found < BAR)
                bad += wrong
                cells.append(f"{column} {found if isinstance(found, str) else f'{found:.0e}'}" + (" WRONG" if wrong else ""))
            print(f"{name:16s} " + " | ".join(cells), flush=True)
    print(f"{bad} wrong")
    return bad > 0


sys.exit(main())
