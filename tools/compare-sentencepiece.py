#!/usr/bin/env python3
"""Compares rrt's ids and texts on folders that have a tokenizer.model and no tokenizer.json with those of SentencePiece, of
transformers and, on the GGUF files that convert_hf_to_gguf.py makes of the folders, of llama.cpp.

    tools/compare-sentencepiece.py [--texts 2000] [--only NAME] [--show]
    LLAMA_CPP=PATH tools/compare-sentencepiece.py      # the source of llama.cpp: the GGUF part

Trains a tiny BPE model for each row of SETTINGS. rrt has to agree with the column that the row names (docs/FORMATS.md says why),
and, where the row says so, with llama.cpp; a cell is the number of strings that differ. transformers 4 has two tokenizers for such
a folder, transformers 5 one; run it with either. Needs: pip install sentencepiece protobuf transformers tokenizers
"""

import argparse
import importlib.util
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import sentencepiece

import tokenizer_reference as reference

TOOLS = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("compare_tokenizer", TOOLS / "compare-tokenizer.py")
compare_tokenizer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare_tokenizer)

ENDINGS = ["café naïve", "    x = 1", "!!!", "...", "========", "aaaaaaa", "ababab", "\t\tif", "你好,世界。谢谢你", "こんにちは世界", "<think>no</think>",
           "        return x", "          y", "1234 5678", "über  Größe"]
TRAINING = dict(model_type="bpe", vocab_size=600, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.98, minloglevel=2)


def token(content, special=True, **flags):
    return dict(dict(content=content, lstrip=False, normalized=False, rstrip=False, single_word=False, special=special), **flags)


def config(count, **changes):
    """A tokenizer_config.json as Nanbeige's kind has it: the added tokens follow the pieces, and some are not special."""
    added = {"0": token("<unk>", normalized=True), "1": token("<s>", normalized=True), "2": token("</s>", normalized=True)}
    for i, content in enumerate(("<|im_start|>", "<|im_end|>", "<|endoftext|>")):
        added[str(count + i)] = token(content)
    for i, content in enumerate(("<think>", "</think>")):
        added[str(count + 3 + i)] = token(content, special=False)
    made = dict(tokenizer_class="LlamaTokenizer", bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<unk>", pad_token="<unk>",
                add_bos_token=True, add_eos_token=False, clean_up_tokenization_spaces=False, added_tokens_decoder=added, legacy=True,
                model_max_length=1000000000000000019884624838656)
    made.update(changes)
    return {key: value for key, value in made.items() if value is not None}


# Training settings, changes of the config, who is right, whether llama.cpp gives the same.
SETTINGS = {
    "plain": ({}, {}, "sentencepiece", True),
    "legacy absent": ({}, dict(legacy=None), "sentencepiece", True),
    "add_prefix_space false": ({}, dict(add_prefix_space=False), "no prefix", True),
    "no dummy prefix": (dict(add_dummy_prefix=False), dict(add_prefix_space=False), "sentencepiece", True),
    "no dummy prefix, not said": (dict(add_dummy_prefix=False), {}, "sentencepiece", False),
    "extra spaces removed": (dict(remove_extra_whitespaces=True), {}, "sentencepiece", False),
    "extra spaces, no prefix": (dict(remove_extra_whitespaces=True, add_dummy_prefix=False), {}, "sentencepiece", False),
    "user-defined": (dict(user_defined_symbols=["<sep>", "foo", "food", "▁▁▁", "a.b*c"]), {}, "sentencepiece", False),
    "user-defined, no prefix": (dict(user_defined_symbols=["<sep>", "foo", "food", "▁▁▁", "a.b*c"], add_dummy_prefix=False),
                                {}, "sentencepiece", False),
    "user-defined, extra spaces": (dict(user_defined_symbols=["<sep>", "foo"], remove_extra_whitespaces=True), {}, "sentencepiece", False),
    "no byte fallback": (dict(byte_fallback=False), {}, "sentencepiece", False),
    "legacy false": ({}, dict(legacy=False), "transformers", False),
    "legacy false, user-defined": (dict(user_defined_symbols=["<sep>"]), dict(legacy=False), None, False),
    "all characters": (dict(character_coverage=1.0, vocab_size=900, split_by_whitespace=False), {}, "sentencepiece", True),
}


def train(folder, settings):
    rng = random.Random(8)
    with open(folder / "corpus.txt", "w") as out:
        for _ in range(1500):
            text = rng.choice(["", "  ", "    "]) + " ".join(rng.choices(reference.WORDS, k=20)) + rng.choice(reference.CODE + ENDINGS)
            out.write(text.replace("\n", " ") + "\n")
    sentencepiece.SentencePieceTrainer.train(input=str(folder / "corpus.txt"), model_prefix=str(folder / "tokenizer"), **TRAINING | settings)
    os.remove(folder / "corpus.txt")
    os.remove(folder / "tokenizer.vocab")


def write_folder(folder, settings, changes):
    """A folder of Nanbeige's kind without weights; returns SentencePiece's model and the config."""
    train(folder, settings)
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    made = config(model.get_piece_size(), **changes)
    (folder / "tokenizer_config.json").write_text(json.dumps(made, indent=1) + "\n")
    shape = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64,
                 rms_norm_eps=1e-5, num_loops=2, vocab_size=model.get_piece_size() + 16)
    (folder / "config.json").write_text(json.dumps({"model_type": "nanbeige", "architectures": ["NanbeigeForCausalLM"]} | shape) + "\n")
    return model, made


class SentencePiece:
    """SentencePiece between the added tokens, which are cut out of the text as it is written."""

    def __init__(self, model, config, prefix=True):
        self.model, self.prefix = model, prefix
        self.ids = {t["content"]: int(i) for i, t in config["added_tokens_decoder"].items()}
        self.ids |= {model.id_to_piece(i): i for i in range(model.get_piece_size()) if model.is_control(i) or model.is_unknown(i)}
        plain = [t["content"] for t in config["added_tokens_decoder"].values() if not t["special"]]
        self.patterns = [self.pattern(plain), self.pattern(self.ids)]

    @staticmethod
    def pattern(texts):
        return re.compile("(" + "|".join(re.escape(t) for t in sorted(texts, key=len, reverse=True)) + ")")

    def encode(self, text, special):
        ids = []
        for i, part in enumerate(self.patterns[special].split(text)):
            ids += [self.ids[part]] if i % 2 else self.part(part)
        return ids

    def part(self, text):
        if self.prefix or not text:
            return self.model.encode(text)
        # Behind a line break, which is a token of its own, there is no prefix.
        ids = self.model.encode("\n" + text)
        return ids[ids.index(self.model.piece_to_id("<0x0A>")) + 1:]


def from_transformers(folder):
    """The tokenizers of transformers by name: (ids, text of ids)."""
    import transformers
    transformers.logging.set_verbosity_error()
    kinds = {"fast": {}} | ({"slow": dict(use_fast=False)} if transformers.__version__.startswith("4") else {})
    made = {}
    for name, options in kinds.items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        made[name] = (lambda text, t=tokenizer: t.encode(text, add_special_tokens=False),
                      lambda ids, t=tokenizer: t.decode(ids, skip_special_tokens=False, spaces_between_special_tokens=False))
    return made


def texts(count, seed):
    rng = random.Random(seed)
    special = ["<think>", "</think>", "<think>\n\n</think>\n\n", "<|im_start|>", "<|im_end|>\n", "<|im_start|>assistant\n", "<unk>", "<s>", "<sep>",
               "foo", "food", "▁", "▁▁▁", "a.b*c", " " * 3, "=" * 7, "a" * 9, "ab" * 5, "你好世界", "こんにちは"]
    fixed = ["", " ", "  ", " hello", "  the  of ", "the\n\n the", "<think>the</think> the", "<think> the", "x<|im_start|>user\n the", "▁the", "the▁ of▁", "\n"]
    return fixed + ["".join(rng.choice([lambda: reference.random_string(rng, 3), lambda: rng.choice(special),
                                        lambda: rng.choice([" ", ""]) + rng.choice(reference.WORDS)])() for _ in range(rng.randint(1, 8)))
                    for _ in range(count)]


def differing(strings, first, second, special):
    return [text for text in strings if "\0" not in text and first(text, special) != second(text, special)]


def convert(folder, file, llama_cpp):
    """The vocabulary alone: there are no weights."""
    subprocess.run([sys.executable, f"{llama_cpp}/convert_hf_to_gguf.py", str(folder), "--vocab-only", "--outfile", str(file)], check=True,
                   capture_output=True)


def compare(name, options, strings):
    settings, changes, right, llama_agrees = SETTINGS[name]
    cells, wrong = {}, False
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model, made = write_folder(folder, settings, changes)
        rrt = compare_tokenizer.Rrt(options.library, str(folder))
        pieces = SentencePiece(model, made, prefix=right != "no prefix")
        cells["pieces"] = [t for special in (False, True) for t in differing(strings, rrt.encode, pieces.encode, special)]
        for kind, (encode, decode) in from_transformers(folder).items():
            cells[kind] = differing(strings, rrt.encode, lambda text, _: encode(text), True)
            if kind == "fast":
                prefix = rrt.lib.rrt_tokenizer_adds_space(rrt.handle)
                ours = lambda ids: re.sub("^ ", "", t) if (t := rrt.decode(ids).decode(errors="replace")) and prefix else t
                cells["text"] = [t for t in strings if ours(ids := encode(t)) != decode(ids)]
        if options.sweep and settings.get("byte_fallback", True):  # llama.cpp aborts without
            file = folder / "m.gguf"
            convert(folder, file, options.llama_cpp)
            ours, theirs = compare_tokenizer.Rrt(options.library, str(file)), options.sweep.LlamaCpp(file)
            cells["folder, gguf"] = [t for special in (False, True) for t in differing(strings, rrt.encode, ours.encode, special)]
            cells["gguf, llama.cpp"] = [t for special in (False, True) for t in differing(strings, ours.encode, theirs.encode, special)]
            wrong |= llama_agrees and bool(cells["folder, gguf"] or cells["gguf, llama.cpp"])
    wrong |= bool(cells["pieces"]) if right in ("sentencepiece", "no prefix") else bool(cells["fast"]) if right else False
    print(f"{name:28}" + "".join(f"{key}: {len(found):<8}" for key, found in cells.items()) + ("WRONG" if wrong else ""), flush=True)
    if options.show:
        for key, found in cells.items():
            for text in found[:options.show]:
                print(f"   {key}: {text!r}\n      {[model.id_to_piece(i) if i < model.get_piece_size() else i for i in rrt.encode(text, True)]}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default=str(TOOLS.parent / "build/librrt.so"))
    parser.add_argument("--llama-cpp", default=os.environ.get("LLAMA_CPP"), help="the source of llama.cpp")
    parser.add_argument("--only", default="", help="a row of SETTINGS")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="strings that differ, of each cell")
    options = parser.parse_args()
    options.sweep = None
    if options.llama_cpp:
        spec = importlib.util.spec_from_file_location("sweep_tokenizers", TOOLS / "sweep-tokenizers.py")
        options.sweep = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(options.sweep)
    strings = texts(options.texts, options.seed)
    return sum([compare(name, options, strings) for name in ([options.only] if options.only else SETTINGS)]) > 0


if __name__ == "__main__":
    sys.exit(main())
