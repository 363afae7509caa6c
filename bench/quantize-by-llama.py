#!/usr/bin/env python3
"""Files for llama.cpp to run: bench/quantize-by-llama.py IN.gguf OUT.gguf q4_0|q4_1|q8_0|f16"""
import ctypes
import sys

import llama_cpp

TYPES = {"f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7}


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in TYPES:
        sys.exit(__doc__)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = TYPES[sys.argv[3]], True, 2
    if llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(params)):
        sys.exit("llama.cpp failed")


main()
