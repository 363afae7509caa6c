#!/usr/bin/env python3
"""Compares what rrt makes of conversations with what transformers' apply_chat_template makes of them, template by template:
the text, and with a model's tokenizer the ids.

    tools/compare-chat.py [--templates DIR | FILE.cpp]... [MODEL.gguf]... [--library build/librrt.so]

DIR holds *.jinja, as models/templates of llama.cpp's source does (the llama-cpp-python sdist has it); FILE.cpp is its
tests/test-chat-template.cpp, which has more of them. For each template a line: how many conversations are equal, how many
both refuse, what rrt refuses by name, what differs. Needs: pip install transformers jinja2, for a model tokenizers and gguf
too. Exits with 1 if one differs or fewer than 90 % of the templates are equal.
"""
import argparse
import ast
import ctypes
import importlib
import json
import pathlib
import re
import sys

from transformers.utils import chat_template_utils as theirs

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "Tells the weather. <b>\"now\"</b> — é",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "where"}, "days": {"type": "integer", "default": 1},
        "unit": {"type": "string", "enum": ["C", "F"]}}, "required": ["city"]}}},
         {"type": "function", "function": {"name": "noop", "description": "Nothing.",
                                           "parameters": {"type": "object", "properties": {}}}}]
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}]}
REPLY = {"role": "tool", "tool_call_id": "call12345", "name": "get_weather", "content": "{\"t\": 21.5}"}


def said(role, content, **more):
    return {"role": role, "content": content, **more}


HELLO, DAY, AGAIN = said("user", "Hello, world!"), said("assistant", "Good day."), said("user", "And 1234?")
SYSTEM = said("system", "Be brief.")
DOCUMENTS = [{"title": "A", "text": "first"}, {"title": "B", "text": "second"}]
# name, messages, other arguments of apply_chat_template
CONVERSATIONS = [
    ("user", [HELLO], dict(add_generation_prompt=True)),
    ("system", [SYSTEM, HELLO], dict(add_generation_prompt=True)),
    ("turns", [SYSTEM, HELLO, DAY, AGAIN], dict(add_generation_prompt=True)),
    ("whole", [HELLO, DAY, AGAIN, said("assistant", "ok")], {}),
    ("space", [said("system", "  Be\n brief. \n"), said("user", "\n two\t lines\n\n "), said("assistant", " ok\n"),
               said("user", " 👩‍👩‍👧‍👦 naïve\u00a0“x”  ")], dict(add_generation_prompt=True)),
    ("tools", [SYSTEM, HELLO], dict(tools=TOOLS, add_generation_prompt=True)),
    ("tool reply", [HELLO, CALL, REPLY], dict(tools=TOOLS, add_generation_prompt=True)),
    ("tool turns", [SYSTEM, HELLO, CALL, REPLY, said("assistant", "21 degrees."), AGAIN],
     dict(tools=TOOLS, add_generation_prompt=True)),
    ("thinking", [HELLO, said("assistant", "Good day.", reasoning_content="Be\npolite."), AGAIN],
     dict(add_generation_prompt=True, enable_thinking=True)),
    ("tags", [HELLO, said("assistant", "<think>\nBe polite.\n</think>\n\nGood day."), AGAIN],
     dict(add_generation_prompt=True, enable_thinking=False)),
    ("documents", [HELLO], dict(documents=DOCUMENTS, add_generation_prompt=True)),
    ("continue", [HELLO, said("assistant", "Good d")], dict(continue_final_message=True)),
    ("developer", [said("developer", "Be brief."), HELLO], dict(add_generation_prompt=True)),
    ("parts", [said("user", [{"type": "text", "text": "Hello"}, {"type": "text", "text": "world"}])],
     dict(add_generation_prompt=True)),
    ("odd", [DAY, DAY, said("user", "")], dict(add_generation_prompt=True)),
]
SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("where", ctypes.c_char * 512), ("message", ctypes.c_char * 512),
                ("hint", ctypes.c_char * 256)]


class Options(ctypes.Structure):
    _fields_ = [("tools", ctypes.c_char_p), ("documents", ctypes.c_char_p), ("arguments", ctypes.c_char_p),
                ("add_generation_prompt", ctypes.c_int), ("continue_final_message", ctypes.c_int),
                ("now", ctypes.c_longlong)]


class Prompt(ctypes.Structure):
    _fields_ = [("text", ctypes.POINTER(ctypes.c_char)), ("length", ctypes.c_size_t),
                ("ids", ctypes.POINTER(ctypes.c_int32)), ("n_ids", ctypes.c_size_t),
                ("replies", ctypes.POINTER(ctypes.c_ubyte)), ("has_bos", ctypes.c_int)]


UNSUPPORTED = 4


class Refused(Exception):
    def __init__(self, err):
        super().__init__(f"{err.where.decode()}: {err.message.decode()}")
        self.is_ours = err.status == UNSUPPORTED


class Chat:
    """A template in librrt. tokenizer: a handle, or None."""

    def __init__(self, lib, tokenizer, text):
        self.lib, self.handle, self.err = lib, ctypes.c_void_p(), Error()
        if lib.rrt_chat_open(ctypes.byref(self.handle), tokenizer, text.encode() if text else None,
                             ctypes.byref(self.err)):
            raise Refused(self.err)

    def render(self, messages, tools=None, documents=None, add_generation_prompt=False, continue_final_message=False,
               **arguments):
        text = lambda value: None if value is None else json.dumps(value).encode()
        options = Options(text(tools), text(documents), text(arguments), add_generation_prompt, continue_final_message, 0)
        prompt = Prompt()
        if self.lib.rrt_chat_render(self.handle, text(messages), ctypes.byref(options), ctypes.byref(prompt),
                                    ctypes.byref(self.err)):
            raise Refused(self.err)
        result = prompt.text[:prompt.length].decode(), prompt.ids[:prompt.n_ids] if prompt.ids else []
        self.replies = prompt.replies[:prompt.n_ids] if prompt.replies else None
        self.lib.rrt_chat_prompt_free(ctypes.byref(prompt))
        return result

    def close(self):
        self.lib.rrt_chat_close(self.handle)


def reference(template, messages, options):
    messages = theirs._normalize_chat_messages(messages)
    return theirs.render_jinja_template([messages], chat_template=template, **options)[0][0]


def first_difference(a, b):
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"at {at}: rrt {a[max(0, at - 30):at + 40]!r}, jinja {b[max(0, at - 30):at + 40]!r}"


def compare(name, template, make, specials, encode=None):
    """Counts of (equal, both refuse, refused by name, different), and what to say of each difference."""
    counts, notes = [0, 0, 0, 0], []
    try:
        chat = make(template)
    except Refused as refusal:
        return [0, 0, len(CONVERSATIONS), 0], [f"refused: {refusal}"]
    for title, messages, options in CONVERSATIONS:
        try:
            expected = reference(template, messages, {**specials, **options})
        except Exception as failure:
            expected = failure
        try:
            text, ids = chat.render(messages, **specials, **options)
        except Refused as refusal:
            if isinstance(expected, Exception) and not refusal.is_ours:
                counts[1] += 1
            elif refusal.is_ours:
                counts[2] += 1
                notes.append(f"{title}: refused: {refusal}")
            else:
                counts[3] += 1
                notes.append(f"{title}: DIFFERENT: rrt fails: {refusal}")
            continue
        if isinstance(expected, Exception):
            counts[3] += 1
            notes.append(f"{title}: DIFFERENT: jinja fails: {expected!r}")
        elif text != expected:
            counts[3] += 1
            notes.append(f"{title}: DIFFERENT: {first_difference(text, expected)}")
        elif encode and ids != encode(text):
            counts[3] += 1
            notes.append(f"{title}: DIFFERENT ids")
        else:
            counts[0] += 1
    chat.close()
    return counts, notes


def compare_replies(name, template, make, specials, hf):
    """Which tokens are the assistant's, against the characters that transformers gives and where tokens stand. Differences."""
    chat, compared, differing = make(template), 0, 0
    for title, messages, options in CONVERSATIONS:
        if options.get("continue_final_message"):
            continue
        try:
            text, ids = chat.render(messages, **specials, **options)
            normal = theirs._normalize_chat_messages(messages)
            ranges = theirs.render_jinja_template([normal], chat_template=template, return_assistant_tokens_mask=True,
                                                  **{**specials, **options})[1][0]
        except Exception:
            continue
        encoding = hf.encode(text, add_special_tokens=False)
        if encoding.ids != ids[len(ids) - len(encoding.ids):]:
            continue  # that is compared elsewhere
        compared += 1
        mask = [int(any(a < end and b > start for start, end in ranges)) for a, b in encoding.offsets]
        if mask != chat.replies[len(ids) - len(mask):]:
            differing += 1
            print(f"{name}: {title}: DIFFERENT tokens are the assistant's")
    chat.close()
    print(f"{name}: the assistant's tokens, {differing} of {compared} conversations differ")
    return differing


def load(path):
    lib = ctypes.CDLL(path)
    for function in ("rrt_chat_close", "rrt_chat_prompt_free"):
        getattr(lib, function).restype = None
    return lib


def of_source(text):
    """(name, template) of the string literals of llama.cpp's test."""
    literal = re.compile(r'\s*(?:(?:u8)?R"(\w*)\((.*?)\)\1"|"((?:[^"\\]|\\.)*)")', re.S)
    for start in re.finditer(r'/\*\s*\.name=\s*\*/\s*"([^"]*)",\s*/\*\s*\.template_str=\s*\*/', text):
        at, template = start.end(), ""
        while piece := literal.match(text, at):
            template += piece[2] if piece[2] is not None else ast.literal_eval('"' + piece[3] + '"')
            at = piece.end()
        if template:
            yield start[1], template


def of_templates(path):
    path = pathlib.Path(path)
    if path.suffix == ".cpp":
        return list(of_source(path.read_text()))
    return [(file.stem, file.read_text()) for file in sorted(path.glob("*.jinja"))]


def of_models(paths, library):
    """(name, template, make, specials, encode, tokenizer) of each model that has a template."""
    reference_tokenizers = importlib.import_module("tokenizer_reference")
    rrt_class = importlib.import_module("compare-tokenizer").Rrt
    from gguf import GGUFReader
    for path in paths:
        fields = GGUFReader(path).fields
        if "tokenizer.chat_template" not in fields:
            print(f"{pathlib.Path(path).name}: no chat template inside")
            continue
        rrt, hf = rrt_class(library, path), reference_tokenizers.from_gguf(path)
        named = {name + "_token": hf.id_to_token(fields[f"tokenizer.ggml.{key}_token_id"].contents())
                 for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
                 if f"tokenizer.ggml.{key}_token_id" in fields}
        lib = load(library)
        make = lambda text, lib=lib, rrt=rrt: Chat(lib, rrt.handle, text)
        encode = lambda text, hf=hf: reference_tokenizers.encode(hf, text, True)
        yield pathlib.Path(path).name, fields["tokenizer.chat_template"].contents(), make, named, encode, hf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=".gguf files")
    parser.add_argument("--templates", action="append", default=[], help="a folder of *.jinja, or llama.cpp's test")
    parser.add_argument("--library", default="build/librrt.so")
    parser.add_argument("--quiet", action="store_true", help="only what is not equal, and the sum")
    options = parser.parse_args()
    lib = load(options.library)
    work = [(name, template, lambda text: Chat(lib, None, text), SPECIALS, None, None)
            for path in options.templates for name, template in of_templates(path)]
    work += of_models(options.models, options.library) if options.models else []
    total, equal, refused, different = [0, 0, 0, 0], 0, 0, 0
    print(f"{'template':<54} equal  both refuse  refused by name  different")
    for name, template, make, specials, encode, hf in work:
        counts, notes = compare(name, template, make, specials, encode)
        total = [a + b for a, b in zip(total, counts)]
        different += counts[3] > 0
        refused += counts[3] == 0 and counts[2] > 0
        equal += counts[2] == counts[3] == 0
        if not options.quiet or notes:
            print(f"{name[:54]:<54} {counts[0]:5}  {counts[1]:11}  {counts[2]:15}  {counts[3]:9}")
        for note in notes:
            print(f"    {note}")
    print(f"{len(work)} templates x {len(CONVERSATIONS)} conversations: {total[0]} equal, {total[1]} refused by both, "
          f"{total[2]} refused by name, {total[3]} different")
    # Templates with {% generation %}, by the tokenizer of a model.
    for _, _, make, specials, _, hf in [one for one in work if one[5]][:1]:
        for name, template, *_ in work:
            if re.search(r"\{%-?\s*generation", template):
                different += compare_replies(name, template, make, specials, hf)
    print(f"templates: {equal} equal, {refused} refused in part or whole, {different} different")
    return different > 0 or equal < 0.9 * len(work)


sys.exit(main())
