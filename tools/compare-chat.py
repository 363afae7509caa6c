#!/usr/bin/env python3
"""Compares the ids that rrt makes of conversations with those of the model's own chat template, which Jinja renders and
Hugging Face's tokenizers reads.

    tools/compare-chat.py models/smollm2-135m.gguf [--library build/librrt.so]

Needs: pip install jinja2 tokenizers gguf. Exits with 1 if one differs.
"""
import argparse
import ctypes
import importlib
import sys

from gguf import GGUFReader
from jinja2.sandbox import ImmutableSandboxedEnvironment

import tokenizer_reference as reference

Rrt = importlib.import_module("compare-tokenizer").Rrt
TURNS = [("user", "Hello, world!"), ("assistant", "Good day."), ("user", "  two lines\nand 1234 "), ("assistant", "ok")]
CONVERSATIONS = [TURNS[:1], TURNS[:3], [("system", "Be brief.")] + TURNS[:1], [("system", "Be\nbrief.")] + TURNS[:3]]


class Message(ctypes.Structure):
    _fields_ = [("role", ctypes.c_char_p), ("content", ctypes.c_char_p)]


def ours(rrt, conversation):
    messages = (Message * len(conversation))(*[Message(r.encode(), c.encode()) for r, c in conversation])
    ids, count = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
    rrt.check(rrt.lib.rrt_chat_encode(rrt.handle, None, messages, ctypes.c_size_t(len(conversation)), 0, ctypes.byref(ids),
                                      ctypes.byref(count), ctypes.byref(rrt.err)))
    return ids[:count.value]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="a .gguf file with a chat template")
    parser.add_argument("--library", default="build/librrt.so")
    options = parser.parse_args()
    rrt, hf = Rrt(options.library, options.path), reference.from_gguf(options.path)
    fields = GGUFReader(options.path).fields
    named = {name + "_token": hf.id_to_token(fields[f"tokenizer.ggml.{name}_token_id"].contents())
             for name in ("bos", "eos") if f"tokenizer.ggml.{name}_token_id" in fields}
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string(fields["tokenizer.chat_template"].contents())
    differing = 0
    for conversation in CONVERSATIONS:
        messages = [{"role": r, "content": c} for r, c in conversation]
        text = template.render(messages=messages, add_generation_prompt=True, **named)
        theirs = reference.encode(hf, text, True)
        if ours(rrt, conversation) != theirs:
            differing += 1
            print(f"{text!r}\n  rrt: {ours(rrt, conversation)}\n  jinja: {theirs}")
    print(f"rrt and the template: {differing} of {len(CONVERSATIONS)} conversations differ")
    return differing > 0


sys.exit(main())
