#!/usr/bin/env python3
"""Writes what tests/test_tokenizer.c and tests/fuzz/fuzz_tokenizer.c start from, with Hugging Face's tokenizers as
the reference:

    tests/data/smollm2-tokenizer.golden.jsonl   strings and their ids for the real SmolLM2 tokenizer
    tests/data/tokenizer-smollm/                a tiny tokenizer of SmolLM's kind and its golden.jsonl
    tests/data/tokenizer-neox/                  the same of GPT-NeoX's kind: NFC, added tokens that are not special
    tests/fuzz/corpus/tokenizer/                seeds

    tools/make-tokenizer-golden.py models/smollm2-135m.gguf

A line of a golden file is {"text": …, "plain": ids, "special": ids with special tokens parsed, if they differ}.
Needs: pip install tokenizers gguf
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import tokenizer_reference as reference

TESTS = pathlib.Path(__file__).parent.parent / "tests"
FIXED = ["", " ", "\0", "a\0b", "Hello, world!", "  leading and trailing  ", "<|endoftext|>", "<|im_start|>user\nhi<|im_end|>",
         "<|im_start|", "x<|endoftext|><|endoftext|>y", "tab\tand\x85next\u00a0nbsp\u3000wide\u200bzero", "e\u0301 \u00e9",
         "a\u0323\u0301b a\u0301\u0323b", "\uac00\u1100\u1161 \u212b \u2126 \uf900", "cafe\u0301 caf\u00e9", "1234567890 ١٢٣ ½Ⅷ",
         "\x04\x06\x13\x14\x16\x1d", "\U000f0000\U0010ffff", "I'll don't WE'VE 'tis ’s", "    \n\n\t\t  \r\n x", "\u180e\u2028\ufeff"]


def write_golden(path, tokenizer, strings):
    with open(path, "w") as out:
        for text in strings:
            plain, special = (reference.encode(tokenizer, text, parse) for parse in (False, True))
            line = {"text": text, "plain": plain} | ({"special": special} if special != plain else {})
            out.write(json.dumps(line, separators=(",", ":")) + "\n")


def train(specials, normalizer, steps, added):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = steps
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=448, special_tokens=specials, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    rng = random.Random(7)
    text = [" ".join(rng.choices(reference.WORDS, k=20)) + rng.choice(reference.CODE + reference.CONTRACTIONS) +
            rng.choice(["café naïve", "über  Größe", "    x", "!!!", "..."]) for _ in range(300)]
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.add_tokens(added)
    return tokenizer


def train_pieces(prefix):
    """A small SentencePiece vocabulary: specials, the 256 bytes, characters and what training joins."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    rng = random.Random(8)
    text = [" ".join(rng.choices(reference.WORDS, k=20)) + rng.choice(["café naïve", "    x", "!!!", "..."]) for _ in range(200)]
    trained.train_from_iterator(text, trainers.BpeTrainer(vocab_size=160, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list(model["vocab"])
    return reference.sentencepiece({p: i for i, p in enumerate(pieces)}, [tuple(m) for m in model["merges"]], prefix)


def with_specials(tokenizer, added=()):
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in added])
    return tokenizer


def metaspace(scheme, split):
    """Llama 2's as newer files write it: the pre-tokenizer marks the spaces."""
    tokenizer = train_pieces(True)
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    return with_specials(tokenizer)


def qwen_steps():
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
               r"\s+(?!\S)|\s+")
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def write_tiny(folder, tokenizer, config):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_golden(folder / "golden.jsonl", tokenizer, FIXED + reference.random_strings(150, 3))


def write_seeds(folder):
    folder.mkdir(parents=True, exist_ok=True)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+"},
             "behavior": "Isolated", "invert": False}
    removed = {"type": "Split", "pattern": {"String": "-"}, "behavior": "Removed", "invert": False}
    digits = {"type": "Digits", "individual_digits": True}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}}]}
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4}, "merges": ["a b", "Ġ ab"]}
    pairs = model | {"merges": [["a", "b"], ["Ġ", "ab"]], "ignore_merges": True, "unk_token": "a"}
    special = {"id": 5, "content": "<s>", "special": True, "normalized": False}
    plain = {"id": 6, "content": "e\u0301  ", "special": False, "normalized": True}
    seeds = {
        "gpt2": {"model": model, "pre_tokenizer": byte_level | {"use_regex": True}, "added_tokens": [special]},
        "split": {"model": pairs, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
                  "added_tokens": [special], "post_processor": template},
        "neox": {"model": model, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [removed, digits, byte_level]},
                 "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}, "added_tokens": [special, plain]},
    }
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    pieces = {"<unk>": 0, "<0x0A>": 1, "▁": 2, "a": 3, "▁a": 4}
    seeds["llama2"] = {"model": {"type": "BPE", "vocab": pieces, "merges": ["▁ a"], "unk_token": "<unk>", "fuse_unk": True,
                                 "byte_fallback": True},
                       "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]},
                       "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}}
    for name, seed in seeds.items():
        document = json.dumps(seed | ({} if "decoder" in seed else {"decoder": {"type": "ByteLevel"}}), ensure_ascii=False)
        (folder / f"{name}.json").write_text(document)
    (folder / "text").write_text("ab  ab <s> e\u0301\u0323 e\u0301  \u1100\u1161\u11a8 12-34 it's\u00a0\u3000\n\n  x")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_golden(TESTS / "data/smollm2-tokenizer.golden.jsonl", reference.from_gguf(sys.argv[1]),
                 FIXED + reference.random_strings(400, 2))
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]
    write_tiny(TESTS / "data/tokenizer-smollm", train(specials, None, reference.smollm_steps(), []),
               {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
                "unk_token": "<|endoftext|>", "add_bos_token": False, "chat_template": "{{ messages }}"})
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    added = [AddedToken(" " * n, normalized=True) for n in (8, 4, 3, 2)] + [AddedToken("cafe\u0301", normalized=True)]
    end = {"__type": "AddedToken", "content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False,
           "single_word": False}
    write_tiny(TESTS / "data/tokenizer-neox", train(["<|endoftext|>", "<|padding|>"], normalizers.NFC(), byte_level, added),
               {"tokenizer_class": "GPTNeoXTokenizer", "bos_token": end, "eos_token": end, "add_prefix_space": False})
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write_tiny(TESTS / "data/tokenizer-gemma", with_specials(train_pieces(False), ["\n", "\n\n", "  ", "   "]), named)
    write_tiny(TESTS / "data/tokenizer-llama2", with_specials(train_pieces(True)), named)
    write_tiny(TESTS / "data/tokenizer-llama2-first", metaspace("first", False), named)
    write_tiny(TESTS / "data/tokenizer-metaspace", metaspace("always", True), named)
    write_tiny(TESTS / "data/tokenizer-qwen",
               train(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC(), qwen_steps(), []),
               {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"})
    write_seeds(TESTS / "fuzz/corpus/tokenizer")


if __name__ == "__main__":
    main()
