#!/usr/bin/env python3
"""Compares rrt's token ids with Hugging Face's tokenizers on many generated tokenizers, and with llama.cpp's on GGUF files of
every pre-tokenizer name that rrt knows. Prints a table; exits with 1 if a cell is wrong.

    tools/sweep-tokenizers.py [--pipelines 200] [--texts 200] [--seed 1] [--library build/librrt.so]
    LLAMA_CPP=PATH tools/sweep-tokenizers.py        # the source of llama.cpp, for convert_hf_to_gguf.py: the GGUF part

Folders are written by save_pretrained, files by convert_hf_to_gguf.py, whose guess at the name (by a hash of some ids, which
no small tokenizer can have) is replaced by the name under test. Texts hold characters that this Python's Unicode has assigned:
each of the libraries brings tables of another version. Needs: pip install tokenizers transformers torch gguf llama-cpp-python
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
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import tokenizer_reference as reference

TOOLS = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("compare_tokenizer", TOOLS / "compare-tokenizer.py")
compare_tokenizer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare_tokenizer)

BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASES = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
         r"\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = [r"\s+", r"\d{1,3}", r"\p{L}+", r"[^\s\p{L}\p{N}]", r"\w+", r"\w+|[^\w\s]+", r"(?=(\d{3})+(?!\d))", r"\b", r"[.!?]\s", r"$", r"^.",
            r"\p{Lu}", r"(?<=\s)\S", SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST, r"[a-z]++", r"x{0,3}"]


def texts(count, seed):
    """Random strings without characters that are not assigned."""
    clean = lambda text: "".join(c for c in text if unicodedata.category(c) not in ("Cn", "Cs"))
    return ["", " ", "  Hello", "Hello  World ", "a\0b"] + [clean(t) for t in reference.random_strings(count, seed)]


def training_text(rng):
    return [" ".join(rng.choices(reference.WORDS, k=20)) + rng.choice(reference.CODE + reference.CONTRACTIONS) +
            rng.choice(["café naïve", "über  Größe", "    x", "!!!", "...", "ΑΒΓ αβγ", "12345", "\n\n"]) for _ in range(200)]


# --- generated pipelines


def random_normalizer(rng):
    plain = [normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD, normalizers.Lowercase, normalizers.StripAccents,
             normalizers.Nmt]
    kind = rng.randrange(11)
    if kind < 7:
        return plain[kind]()
    if kind == 7:
        return normalizers.Strip(left=rng.random() < .5, right=rng.random() < .5)
    if kind == 8:
        return normalizers.Prepend(rng.choice(["▁", " ", "ab"]))
    pattern = rng.choice([" ", "\n", "e", Regex(r"\s+"), Regex(r"\d"), Regex("[’‘]")])
    return normalizers.Replace(pattern, rng.choice(["▁", "_", "'", "", "xyz"]))


def random_step(rng):
    kind = rng.randrange(9)
    if kind < 4:
        pattern = rng.choice([Regex(p) for p in PATTERNS] + [" ", "e", "\n"])
        return pre_tokenizers.Split(pattern, rng.choice(BEHAVIORS), invert=rng.random() < .3)
    return [pre_tokenizers.Digits(individual_digits=rng.random() < .5), pre_tokenizers.Punctuation(rng.choice(BEHAVIORS)),
            pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.CharDelimiterSplit(rng.choice("-e "))][kind - 4]


def random_steps(rng, alphabet):
    steps = [random_step(rng) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
    if alphabet == "bytes":
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=rng.random() < .3, use_regex=rng.random() < .6))
        steps += [random_step(rng) for _ in range(rng.choice([0, 0, 0, 1]))]
    elif rng.random() < .7:
        steps.append(pre_tokenizers.Metaspace(prepend_scheme=rng.choice(["always", "never", "first"]), split=rng.random() < .6))
    return pre_tokenizers.Sequence(steps) if len(steps) != 1 else steps[0]


def random_added(rng):
    """In all orders, of all kinds; white space that tokens take along and tokens of white space meet."""
    made = []
    for text in rng.sample(["<|im_start|>", "<|im_end|>", "</s>", "the", "cafe\u0301", "  ", "\n\n", "   \t", "<table>", "'s", "E", "ß"],
                           rng.randint(0, 7)):
        special = text[0] == "<"
        # (A token of which the normalizer leaves nothing makes the reference take all memory.)
        made.append(AddedToken(text, special=special, normalized=rng.random() < .4 and bool(text.strip()), lstrip=rng.random() < .3,
                               rstrip=rng.random() < .3, single_word=rng.random() < .25))
    return made


def random_tokenizer(rng, vocab=420):
    alphabet = rng.choice(["bytes", "bytes", "characters", "fallback"])
    model = dict(unk_token="<unk>", fuse_unk=rng.random() < .5) if alphabet != "bytes" or rng.random() < .2 else {}
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = random_steps(rng, alphabet)
    if rng.random() < .7:
        steps = [random_normalizer(rng) for _ in range(rng.randint(0, 3))]
        # What is first is a matter of the text before: rrt refuses that behind a normalizer, and no known tokenizer has it.
        is_odd = '"first"' in tokenizer.to_str()
        if not is_odd:
            tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = (decoders.ByteLevel() if alphabet == "bytes" else
                         decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]))
    initial = pre_tokenizers.ByteLevel.alphabet() if alphabet == "bytes" and rng.random() < .9 else []
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=["<unk>"] if model else [], show_progress=False, initial_alphabet=initial)
    tokenizer.train_from_iterator(training_text(rng), trainer)
    state = json.loads(tokenizer.to_str())
    if alphabet == "fallback":
        vocab = state["model"]["vocab"]
        for byte in range(256):
            vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
        state["model"]["byte_fallback"] = True
    state["model"]["ignore_merges"] = rng.random() < .3
    tokenizer = Tokenizer.from_str(json.dumps(state))
    for token in random_added(rng):
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    return tokenizer


def describe(tokenizer):
    state = json.loads(tokenizer.to_str())
    return json.dumps({k: state[k] for k in ("normalizer", "pre_tokenizer")} | {"added": state["added_tokens"]} |
                      {k: v for k, v in state["model"].items() if k not in ("vocab", "merges")}, ensure_ascii=False)


def save(tokenizer, folder, **named):
    """As a model's folder has it; what transformers wrote, read again."""
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    return Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))


def differing(first, second, strings):
    """second is a reference, which may panic on what it cannot do itself: then there is nothing to compare."""
    found = []
    for text in strings:
        for special in (False, True):
            try:
                expected = second(text, special)
            except BaseException as error:
                if type(error).__name__ != "PanicException":
                    raise
                continue
            if first(text, special) != expected:
                found.append((text, special))
    return found


def show(kind, bad, first, second):
    for text, special in bad[:2]:
        print(f"  {kind}: {text!r} special={special}\n    {first(text, special)}\n    {second(text, special)}")


def sweep_pipelines(options, strings):
    wrong = refused = 0
    for index in range(options.pipelines):
        rng = random.Random(f"{options.seed} {index}")
        with tempfile.TemporaryDirectory() as folder:
            hf = save(random_tokenizer(rng), folder)
            try:
                rrt = compare_tokenizer.Rrt(options.library, folder)
            except RuntimeError as error:
                refused += 1
                print(f"pipeline {index}: refused: {error}\n  {describe(hf)}")
                continue
            reference_ids = lambda text, special: reference.encode(hf, text, special)
            bad = differing(rrt.encode, reference_ids, strings)
            if bad:
                wrong += 1
                print(f"pipeline {index}: {len(bad)} of {2 * len(strings)} differ\n  {describe(hf)}")
                show("rrt, hf", bad, rrt.encode, reference_ids)
    print(f"pipelines: {options.pipelines}, {len(strings)} texts each, twice: {wrong} wrong, {refused} refused")
    return wrong + refused


# --- GGUF


def split(*patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]


def words(digits):
    return split(SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + REST)


def byte_level(regex):
    return [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)]


DIGITS = [pre_tokenizers.Digits(individual_digits=True)]
# What the published tokenizers of a name do; for the names that are not here, llama.cpp alone is asked.
PUBLISHED = {
    "gpt-2 phi-2 gigachat exaone4 jais trillion granite-docling mellum": (byte_level(True), False, False),
    "olmo mpt": (byte_level(True), True, False),
    "smollm starcoder refact codeshell exaone minerva-7b": (DIGITS + byte_level(True), False, False),
    "command-r": (DIGITS + byte_level(True), True, False),
    "llama-bpe llama3 llama-v3 falcon3 pixtral lfm2": (words(r"\p{N}{1,3}") + byte_level(False), False, True),
    "dbrx smaug-bpe chatglm-bpe": (words(r"\p{N}{1,3}") + byte_level(False), False, False),
    "glm4": (words(r"\p{N}{1,3}") + byte_level(False), False, True),
    "qwen2 deepseek-r1-qwen megrez stablelm2": (words(r"\p{N}") + byte_level(False), True, False),
    "qwen35": (split(SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+") +
               byte_level(False), True, False),
    "tekken": (split(CASES % ("", "", r"\p{N}")) + byte_level(False), False, True),
    "gpt-4o llama4": (split(CASES % (SHORT + "?", SHORT + "?", r"\p{N}{1,3}")) + byte_level(False), False, False),
    "deepseek-v3": (split(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", r"[!" + '"' + r"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?"
                          r"[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+") + byte_level(False), False, False),
    "bloom": (split(" ?[^(\\s|.,!?…。，、।۔،)]+") + byte_level(False), False, False),
    "bailingmoe": (split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+") +
                   byte_level(False), False, False),
}


def gguf_names():
    """All that rrt's table has."""
    table = (TOOLS.parent / "src/tokenizer/gguf_pre.c").read_text()
    rows = re.findall(r'^    \{((?:\s*"[a-z][^"]*")+),', table, re.MULTILINE)
    return [name for row in rows for name in "".join(re.findall(r'"([^"]*)"', row)).split()]


def published(name):
    for names, row in PUBLISHED.items():
        if name in names.split():
            return row
    return None


def gguf_tokenizer(name, rng):
    row = published(name) or (byte_level(True), False, False)
    steps, nfc, ignores_merges = row
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.train_from_iterator(training_text(rng), trainers.BpeTrainer(vocab_size=440, show_progress=False,
                                                                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    state = json.loads(tokenizer.to_str())
    state["model"]["ignore_merges"] = ignores_merges
    if ignores_merges:  # pieces that no merge leads to: only then does it matter
        for piece in ("Ġquestion", "zebra", "123", "Ġ1"):
            state["model"]["vocab"].setdefault(piece, len(state["model"]["vocab"]))
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ("<|im_start|>", "<|im_end|>", "<|endoftext|>")])
    return tokenizer


class LlamaCpp:
    def __init__(self, path):
        from llama_cpp import Llama, llama_cpp
        self.model, self.api = Llama(str(path), vocab_only=True, verbose=False), llama_cpp

    def encode(self, text, special):
        return self.model.tokenize(text.encode(), add_bos=False, special=special)

    def ends(self, count):
        vocab = self.api.llama_model_get_vocab(self.model.model)
        return [i for i in range(count) if self.api.llama_vocab_is_eog(vocab, i)]

    def adds_bos(self):
        return bool(self.api.llama_vocab_get_add_bos(self.api.llama_model_get_vocab(self.model.model)))


def converter(source):
    """convert_hf_to_gguf.py as a function of folder, file and pre-tokenizer name."""
    sys.path[:0] = [source, source + "/gguf-py"]
    import convert_hf_to_gguf
    from conversion.base import TextModel

    def convert(folder, file, name):
        TextModel.get_vocab_base_pre = lambda self, tokenizer: name
        arguments, sys.argv = sys.argv, ["convert", str(folder), "--outfile", str(file), "--outtype", "f32"]
        try:
            convert_hf_to_gguf.main()
        finally:
            sys.argv = arguments
    return convert


def sentencepiece_tokenizer(prefix, rng):
    """Of Llama 2's kind (a space is put in front) or Gemma's; convert_hf_to_gguf.py knows both by byte_fallback."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(training_text(rng), trainers.BpeTrainer(vocab_size=160, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list(model["vocab"])
    tokenizer = reference.sentencepiece({p: i for i, p in enumerate(pieces)}, [tuple(m) for m in model["merges"]], prefix)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    return tokenizer


SENTENCEPIECE = {"llama (SentencePiece)": True, "llama, no space": False}


def save_model(name, folder, rng):
    """A folder with weights, and whether the published tokenizer of this name is known."""
    if name in SENTENCEPIECE:
        tokenizer, named = sentencepiece_tokenizer(SENTENCEPIECE[name], rng), dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                                                                       add_prefix_space=SENTENCEPIECE[name])
    else:
        tokenizer, named = gguf_tokenizer(name, rng), dict(bos_token="<|im_start|>", eos_token="<|endoftext|>")
    hf = save(tokenizer, folder, **named)
    ids = {key.replace("_token", "_token_id"): hf.token_to_id(token) for key, token in named.items() if key in ("bos_token", "eos_token")}
    LlamaForCausalLM(LlamaConfig(vocab_size=hf.get_vocab_size(), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                 intermediate_size=32, **ids)).save_pretrained(folder)
    return hf, name in SENTENCEPIECE or published(name) is not None


def exported(options, folder, strings, expected, ends, count):
    """How many strings llama.cpp reads otherwise in what rrt exports of the folder."""
    file = pathlib.Path(folder) / "exported.gguf"
    done = subprocess.run([options.rrt, "export", folder, str(file), "--to", "gguf"], capture_output=True, text=True)
    if done.returncode:
        return "refused"
    back = LlamaCpp(file)
    return len(differing(back.encode, expected, strings)) + (back.ends(count) != ends)


def exported_to_hf(options, file, strings, expected):
    """How many strings the tokenizer.json that rrt makes of a GGUF file gives other ids for."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([options.rrt, "export", str(file), folder + "/out", "--to", "hf"], capture_output=True, check=True)
        tokenizer = Tokenizer.from_file(folder + "/out/tokenizer.json")
        return len(differing(expected, lambda text, special: reference.encode(tokenizer, text, special), strings))


def sweep_gguf(options, strings):
    import logging
    convert, wrong = converter(options.llama_cpp), 0
    logging.disable(logging.WARNING)
    print(f"{'pre':24}{'rrt ≠ hf':>10}{'rrt ≠ llama.cpp':>18}{'hf ≠ llama.cpp':>17}{'ends, bos':>11}{'to gguf':>9}{'to hf':>7}  of {2 * len(strings)}")
    for name in options.only.split(";") if options.only else list(SENTENCEPIECE) + gguf_names():
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "model.gguf"
            rng = random.Random(f"{options.seed} {name}")
            hf, known = save_model(name, folder, rng)
            convert(folder, file, name)
            rrt, llama = compare_tokenizer.Rrt(options.library, str(file)), LlamaCpp(file)
            reference_ids = lambda text, special: reference.encode(hf, text, special)
            first = differing(rrt.encode, reference_ids, strings) if known else []
            second = differing(rrt.encode, llama.encode, strings)
            third = differing(reference_ids, llama.encode, strings) if known else []
            same = rrt.ends(hf.get_vocab_size()) == llama.ends(hf.get_vocab_size()) and rrt.adds_bos() == llama.adds_bos()
            # What has to be exported is what the folder has: for a name whose tokenizer is not known that is another one.
            # (The converter writes no scores where there is only a tokenizer.json, so that llama.cpp has other ids of its file.)
            expected = reference_ids if name in SENTENCEPIECE else llama.encode
            back = exported(options, folder, strings, expected, llama.ends(hf.get_vocab_size()),
                            hf.get_vocab_size()) if known else "-"
            there = exported_to_hf(options, file, strings, rrt.encode)
            # Where the published tokenizer is known, it counts; else llama.cpp does.
            failed = bool(first if known else second) or not same or back not in (0, "-") or there
            wrong += failed
            print(f"{name:24}{len(first) if known else '-':>10}{len(second):>18}{len(third) if known else '-':>17}"
                  f"{'same' if same else 'DIFFER':>11}{back:>9}{there:>7}{'  WRONG' if failed else ''}", flush=True)
            if options.show and failed:
                show("rrt, hf", first, rrt.encode, reference_ids)
            if options.show:
                show("rrt, llama.cpp", second, rrt.encode, llama.encode)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", type=int, default=200)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", default=str(TOOLS.parent / "build/librrt.so"))
    parser.add_argument("--rrt", default=str(TOOLS.parent / "build/rrt"))
    parser.add_argument("--llama-cpp", default=os.environ.get("LLAMA_CPP"), help="the source of llama.cpp")
    parser.add_argument("--only", default="", help="names of pre-tokenizers, apart by semicolons")
    parser.add_argument("--show", action="store_true", help="strings on which a GGUF's ids differ")
    options = parser.parse_args()
    strings = texts(options.texts, options.seed)
    wrong = sweep_gguf(options, strings) if options.llama_cpp else 0
    return wrong + sweep_pipelines(options, strings) > 0


if __name__ == "__main__":
    sys.exit(main())
