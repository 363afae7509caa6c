#!/usr/bin/env python3
"""Writes what tests/test_sentencepiece.c starts from: folders with a tiny tokenizer.model and no tokenizer.json, and the ids that
SentencePiece, or transformers, gives.

    tests/data/tokenizer-sentencepiece/           of Nanbeige's kind; golden.jsonl is SentencePiece's between the added tokens,
                                                  newer.jsonl transformers' with "legacy": false
    tests/data/tokenizer-sentencepiece-symbols/   user-defined symbols, spaces removed; golden.jsonl
    tests/data/tokenizer-sentencepiece-unigram/   another kind, which is refused
    tests/fuzz/corpus/sentencepiece/              seeds

    tools/make-sentencepiece-golden.py

A line is {"text": …, "plain": ids, "special": ids with special tokens parsed, if they differ}; null: not known.
Needs: pip install sentencepiece protobuf transformers tokenizers
"""

import importlib.util
import json
import pathlib
import shutil
import tempfile

TOOLS = pathlib.Path(__file__).parent
TESTS = TOOLS.parent / "tests"
spec = importlib.util.spec_from_file_location("compare_sentencepiece", TOOLS / "compare-sentencepiece.py")
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)

SMALL = dict(vocab_size=400)
SYMBOLS = dict(user_defined_symbols=["<sep>", "foo", "food", "▁▁▁", "a.b*c"], remove_extra_whitespaces=True)


def write_golden(path, plain, special):
    with open(path, "w") as out:
        for text in compare.texts(180, 4):
            if "\0" in text:
                continue
            line = {"text": text, "plain": plain(text)}
            if (parsed := special(text)) != line["plain"]:
                line["special"] = parsed
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


def write_folder(name, settings):
    folder = TESTS / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    model, config = compare.write_folder(folder, SMALL | settings, {})
    (folder / "config.json").unlink()
    pieces = compare.SentencePiece(model, config)
    write_golden(folder / "golden.jsonl", lambda text: pieces.encode(text, False), lambda text: pieces.encode(text, True))
    return folder, config


def write_newer(folder, config):
    with tempfile.TemporaryDirectory() as other:
        shutil.copy(folder / "tokenizer.model", other)
        (pathlib.Path(other) / "tokenizer_config.json").write_text(json.dumps(config | {"legacy": False}))
        encode, _ = compare.from_transformers(other)["fast"]
        write_golden(folder / "newer.jsonl", lambda text: None, encode)


def main():
    folder, config = write_folder("tokenizer-sentencepiece", {})
    write_newer(folder, config)
    symbols, _ = write_folder("tokenizer-sentencepiece-symbols", SYMBOLS)
    unigram = TESTS / "data/tokenizer-sentencepiece-unigram"
    unigram.mkdir(exist_ok=True)
    compare.train(unigram, dict(model_type="unigram", vocab_size=330))
    seeds = TESTS / "fuzz/corpus/sentencepiece"
    seeds.mkdir(parents=True, exist_ok=True)
    for source in (folder, symbols, unigram):
        shutil.copy(source / "tokenizer.model", seeds / (source.name + ".model"))


if __name__ == "__main__":
    main()
