#!/usr/bin/env python3
"""Writes tests/data/dtype.golden: for every storage type a few blocks and the values that gguf-py makes of them.

One line each: type, the bytes in hex, the f32 values (little endian) in hex.
Needs: pip install gguf numpy
"""
import pathlib

import gguf
import numpy as np

BLOCKS = 2
# Byte offsets of the f16 scales in a block; the rest may be any bytes.
SCALES = {"F32": None, "F16": None, "BF16": None, "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
          "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def make_blocks(name, kind, random):
    values, size = gguf.GGML_QUANT_SIZES[kind]
    if SCALES[name] is None:  # a plain type: powers of two from the smallest subnormal half on, and ordinary numbers
        numbers = np.concatenate([2.0 ** np.arange(-24, 15), -random.standard_normal(25)]).astype(np.float32)
        return gguf.quantize(numbers, kind).view(np.uint8).reshape(1, -1)
    blocks = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for at in SCALES[name]:
        scales = (random.standard_normal(BLOCKS) * 0.01).astype("<f2")
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(BLOCKS, 2)
    return blocks


def main():
    random = np.random.default_rng(1)
    path = pathlib.Path(__file__).parent.parent / "tests/data/dtype.golden"
    with open(path, "w") as out:
        for name in SCALES:
            kind = gguf.GGMLQuantizationType[name]
            for block in make_blocks(name, kind, random):
                values = gguf.dequantize(block, kind).astype("<f4")
                out.write(f"{name} {block.tobytes().hex()} {values.tobytes().hex()}\n")


if __name__ == "__main__":
    main()
