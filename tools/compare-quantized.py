#!/usr/bin/env python3
"""The way on of a GGUF that rrt exported: llama-quantize makes six types of it, and rrt and llama.cpp open each.

    tools/compare-quantized.py LLAMA_QUANTIZE      prints a table; exit code 1 if a file is not opened or read wrongly

Read wrongly: further from llama.cpp, which rounds activations to 8 bits, than 8 bits explain. Needs what
compare-families.py needs.
"""
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Phi3Config

from references import Llama, ids_of, import_llama, ours, rrt
from tiny_models import GLOBAL, LOCAL, LLAMA3, SMALL, randomise, rope

# K-quants come in blocks of 256.
WIDE = SMALL | dict(hidden_size=256, intermediate_size=512, num_attention_heads=8)
MODELS = {
    "llama": lambda: LlamaConfig(**WIDE, rope_parameters=LLAMA3),
    "phi3": lambda: Phi3Config(**WIDE, rope_parameters=rope()),
    "gemma3": lambda: Gemma3TextConfig(**WIDE, head_dim=32, query_pre_attn_scalar=32, sliding_window=20,
                                       rope_parameters={LOCAL: rope(), GLOBAL: rope(theta=1e6)}),
}
TYPES = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q4_1"]
MOST_APART = 0.12  # of the logits' standard deviation


def main():
    quantize = sys.argv[1]
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    import_llama()
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for name, config in MODELS.items():
            model = AutoModelForCausalLM.from_config(config()).eval()
            randomise(model, torch.Generator().manual_seed(2))
            model.save_pretrained(work / name)
            exported = work / f"{name}.gguf"
            made = rrt("export", work / name, exported, "--to", "gguf")
            assert not isinstance(made, Exception), made
            cells = []
            for kind in TYPES:
                path = work / f"{name}-{kind}.gguf"
                subprocess.run([quantize, exported, path, kind], check=True, capture_output=True)
                other, mine = Llama(path), ours(path, ids_of(40))
                if not other.is_open or isinstance(mine, Exception):
                    cells.append(f"{kind} NOT OPENED ({mine if isinstance(mine, Exception) else 'llama.cpp'})")
                    bad += 1
                    continue
                reference = other.logits(ids_of(40))
                apart = ((mine - reference).std() / reference.std()).item()
                cells.append(f"{kind} {apart:.1e}" + (" WRONG" if not apart < MOST_APART else ""))
                bad += not apart < MOST_APART
            print(f"{name:8s} " + " | ".join(cells), flush=True)
    return bad > 0


sys.exit(main())
