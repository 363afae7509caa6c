#!/usr/bin/env python3
"""Writes what tests/test_pipelines.c compares with: tokenizers of generated pipelines, and GGUF files, with the ids that Hugging
Face's tokenizers give, and the files that transformers writes about special tokens.

    tests/data/pipelines/pipelines.jsonl      a tokenizer.json as save_pretrained writes it, and texts with their ids
    tests/data/pipelines/NAME.gguf, .jsonl    the vocabulary that convert_hf_to_gguf.py made, and the same of its source
    tests/data/pipelines/folder/              tokenizer, configuration and generation settings, no weights
    tests/fuzz/corpus/tokenizer/pipeline-*    seeds

    tools/make-pipeline-golden.py PATH        # the source of llama.cpp

Needs: pip install tokenizers transformers torch gguf
"""

import importlib.util
import json
import pathlib
import random
import sys
import tempfile


from transformers import GenerationConfig, LlamaConfig

import tokenizer_reference as reference

TOOLS = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("sweep_tokenizers", TOOLS / "sweep-tokenizers.py")
sweep = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sweep)

OUT = TOOLS.parent / "tests/data/pipelines"
SEEDS = TOOLS.parent / "tests/fuzz/corpus/tokenizer"
PIPELINES, GGUFS = 20, ["llama-bpe", "qwen2", "tekken"]


def write_line(out, value):
    out.write(json.dumps(value, separators=(",", ":")) + "\n")


def golden(tokenizer, texts):
    """[text, ids, ids with special tokens parsed], without those on which the reference panics."""
    rows = []
    for text in texts:
        try:
            rows.append([text, *(reference.encode(tokenizer, text, special) for special in (False, True))])
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
    return rows


def write_pipelines():
    texts = ["  Hello  World \n"] + sweep.texts(14, 5)[5:]
    with open(OUT / "pipelines.jsonl", "w") as out:
        for index in range(PIPELINES):
            with tempfile.TemporaryDirectory() as folder:
                tokenizer = sweep.save(sweep.random_tokenizer(random.Random(f"golden {index}"), vocab=300), folder)
                text = (pathlib.Path(folder) / "tokenizer.json").read_text()
            write_line(out, {"tokenizer": json.loads(text), "texts": golden(tokenizer, texts)})
            if index < 12:
                seed = json.loads(text)
                tokens = sorted(seed["model"]["vocab"].items(), key=lambda item: item[1])[:40]
                seed["model"] |= {"vocab": dict(tokens), "merges": []}
                seed["added_tokens"] = [token | {"id": 40 + i} for i, token in
                                        enumerate(t for t in seed["added_tokens"] if t["content"] not in dict(tokens))]
                (SEEDS / f"pipeline-{index}.json").write_text(json.dumps(seed, ensure_ascii=False))


def write_gguf(convert, name):
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = sweep.save(sweep.gguf_tokenizer(name, random.Random(name)), folder, bos_token="<|im_start|>",
                               eos_token="<|endoftext|>")
        LlamaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=32, architectures=["LlamaForCausalLM"]).save_pretrained(folder)
        convert(folder, OUT / f"{name}.gguf", name)
    with open(OUT / f"{name}.jsonl", "w") as out:
        write_line(out, {"texts": golden(tokenizer, sweep.texts(30, 6))})


def write_folder():
    folder = OUT / "folder"
    tokenizer = sweep.gguf_tokenizer("llama-bpe", random.Random(1))
    sweep.save(tokenizer, folder, bos_token="<|im_start|>", eos_token="<|endoftext|>")
    count = tokenizer.get_vocab_size()
    LlamaConfig(vocab_size=count, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                architectures=["LlamaForCausalLM"], bos_token_id=count - 3, pad_token_id=7,
                eos_token_id=[count - 1, 5]).save_pretrained(folder)
    GenerationConfig(bos_token_id=count - 3, eos_token_id=[count - 1, 5], pad_token_id=7, temperature=0.6, top_p=0.95,
                     do_sample=True).save_pretrained(folder)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    OUT.mkdir(parents=True, exist_ok=True)
    write_pipelines()
    convert = sweep.converter(sys.argv[1])
    for name in GGUFS:
        write_gguf(convert, name)
    write_folder()


if __name__ == "__main__":
    main()
