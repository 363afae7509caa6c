#!/usr/bin/env python3
"""Files of GGUF's types, made by llama.cpp's quantiser: bench/quantize-by-llama.py IN.gguf OUT.gguf TYPE

TYPE is f32, bf16, f16, q8_0, q6_k, q5_0, q5_1, q5_k_m, q4_0, q4_1 or q4_k_m. As llama-quantize does, a mixture (k_m) gives some
matrices more bits than others, and a matrix whose rows are no multiple of 256 falls back to blocks of 32 (q4_k to q5_0, q6_k to q8_0).
"""
import ctypes
import sys

import llama_cpp

TYPES = {"f32": 0, "bf16": 32, "f16": 1, "q8_0": 7, "q6_k": 18, "q5_0": 8, "q5_1": 9, "q5_k_m": 17, "q4_0": 2, "q4_1": 3, "q4_k_m": 15}


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in TYPES:
        sys.exit(__doc__)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = TYPES[sys.argv[3]], True, 2
    if llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(params)):
        sys.exit("llama.cpp failed")


main()
