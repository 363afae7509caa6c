#!/usr/bin/env python3
"""Compares rrt's token ids with Hugging Face's tokenizers (and llama.cpp's with --llama) on random strings.

    tools/compare-tokenizer.py models/smollm2-135m.gguf [--count 10000] [--library build/librrt.so]
    tools/compare-tokenizer.py folder-with-tokenizer.json

Lists every string on which rrt and Hugging Face differ, with and without special tokens parsed; exits with 1 if
there is one. With --llama also those on which the two references differ from each other.
"""

import argparse
import ctypes
import sys

import tokenizer_reference as reference


class Options(ctypes.Structure):
    _fields_ = [("add_bos", ctypes.c_int), ("parse_special", ctypes.c_int)]


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("where", ctypes.c_char * 512), ("message", ctypes.c_char * 512),
                ("hint", ctypes.c_char * 256)]


class Rrt:
    def __init__(self, library, path):
        self.lib = ctypes.CDLL(library)
        self.lib.rrt_token_bytes.restype = ctypes.POINTER(ctypes.c_char)
        self.handle, self.err = ctypes.c_void_p(), Error()
        self.check(self.lib.rrt_tokenizer_open(ctypes.byref(self.handle), path.encode(), ctypes.byref(self.err)))

    def check(self, status):
        if status:
            raise RuntimeError(f"{self.err.where.decode()}: {self.err.message.decode()}")

    def encode(self, text, parse_special):
        data = text.encode()
        ids, count = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        self.check(self.lib.rrt_encode(self.handle, data, ctypes.c_size_t(len(data)),
                                       ctypes.byref(Options(0, parse_special)), ctypes.byref(ids),
                                       ctypes.byref(count), ctypes.byref(self.err)))
        result = ids[:count.value]
        self.lib.rrt_ids_free(ids)
        return result

    def ends(self, count):
        return [i for i in range(count) if self.lib.rrt_tokenizer_ends(self.handle, i)]

    def adds_bos(self):
        return bool(self.lib.rrt_tokenizer_adds_bos(self.handle))

    def __del__(self):
        if getattr(self, "handle", None):
            self.lib.rrt_tokenizer_close(self.handle)

    def decode(self, ids):
        length, out = ctypes.c_size_t(), b""
        for i in ids:
            piece = self.lib.rrt_token_bytes(self.handle, i, ctypes.byref(length))
            out += piece[:length.value]
        return out


def open_llama(path):
    from llama_cpp import Llama
    model = Llama(path, vocab_only=True, verbose=False)
    return lambda text, special: model.tokenize(text.encode(), add_bos=False, special=special)


def compare(strings, first, second, names):
    differing = 0
    for text in strings:
        for special in (False, True):
            a, b = first(text, special), second(text, special)
            if a != b:
                differing += 1
                print(f"{text!r} special={special}\n  {names[0]}: {a}\n  {names[1]}: {b}")
                break
    print(f"{names[0]} and {names[1]}: {differing} of {len(strings)} strings differ")
    return differing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="a .gguf file, or a folder with tokenizer.json")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default="build/librrt.so")
    parser.add_argument("--llama", action="store_true", help="llama.cpp as a second opinion (needs llama_cpp, a .gguf)")
    options = parser.parse_args()

    is_gguf = options.path.endswith(".gguf")
    hf = (reference.from_gguf(options.path) if is_gguf
          else reference.Tokenizer.from_file(options.path + "/tokenizer.json"))
    rrt = Rrt(options.library, options.path)
    strings = reference.random_strings(options.count, options.seed)
    differing = compare(strings, rrt.encode, lambda t, s: reference.encode(hf, t, s), ("rrt", "hf"))
    if options.llama:
        compare(strings, lambda t, s: reference.encode(hf, t, s), open_llama(options.path), ("hf", "llama.cpp"))
    return differing > 0


if __name__ == "__main__":
    sys.exit(main())
