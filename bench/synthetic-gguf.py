#!/usr/bin/env python3
"""A GGUF of a real model's shape with random weights in bf16: bench/synthetic-gguf.py SHAPE OUT.gguf --tokenizer FILE.gguf

SHAPE is 1b (TinyLlama 1.1B; 2.2 GB), 3b (Llama 3.2 3B; 6.4 GB), nanbeige (Nanbeige4.2-3B, 22 layers run twice; 8.3 GB) or
ouro-as-nanbeige (Ouro-1.4B's dimensions and 24 layers run four times, but without its norms after attention and MLP and its gate: what
llama.cpp can run of it; 2.9 GB). Every dimension is the real one, the vocabulary included: what the model computes and reads is what the
real one does. The vocabulary is that of FILE.gguf (a byte-level BPE, such as SmolLM2's), cut or lengthened by merges of what it has.
Weights are scaled so that states, attention and logits stay of the size that trained models have. A tensor is made of pieces of a pool of
random values; memory holds the greatest tensor, at most 1.2 GB.
"""
import argparse
import math

import gguf
import numpy

SHAPES = {
    "1b": dict(hidden=2048, layers=22, heads=32, kv=4, head=64, ffn=5632, vocab=32000, context=2048, theta=1e4, epsilon=1e-5, tied=False),
    "3b": dict(hidden=3072, layers=28, heads=24, kv=8, head=128, ffn=8192, vocab=128256, context=8192, theta=5e5, epsilon=1e-5, tied=True),
    "nanbeige": dict(hidden=3072, layers=22, heads=48, kv=8, head=128, ffn=10752, vocab=166144, context=262144, theta=7e7, epsilon=1e-5,
                     tied=False, loops=2),
    "ouro-as-nanbeige": dict(hidden=2048, layers=24, heads=16, kv=16, head=128, ffn=5632, vocab=49152, context=65536, theta=1e6,
                             epsilon=1e-6, tied=False, loops=4),
}
POOL_VALUES = 1 << 25
LOGIT_SPREAD = 2.5  # standard deviation of the logits


def tensors(s):
    """(name, shape, the standard deviation of its values; of a norm: how large its gains are)"""
    h, q, kv, f = s["hidden"], s["heads"] * s["head"], s["kv"] * s["head"], s["ffn"]
    head = LOGIT_SPREAD / math.sqrt(h)
    # What all layers add comes to as much as the state that they get: states that are made of layers alone let rounding grow from layer to
    # layer as trained models do not. A loop gets what the norm before it makes: values of about 1. The first gets the same.
    entry = 1 if "loops" in s else head
    added = entry / math.sqrt(2 * s["layers"])
    yield "token_embd.weight", (s["vocab"], h), entry
    for i in range(s["layers"]):
        p = f"blk.{i}."
        yield p + "attn_norm.weight", (h,), 1
        yield p + "attn_q.weight", (q, h), 2 / math.sqrt(h)  # attention is no mean of all tokens
        yield p + "attn_k.weight", (kv, h), 1 / math.sqrt(h)
        yield p + "attn_v.weight", (kv, h), 1 / math.sqrt(h)
        yield p + "attn_output.weight", (h, q), added / math.sqrt(q)
        yield p + "ffn_norm.weight", (h,), 1
        yield p + "ffn_gate.weight", (f, h), 1 / math.sqrt(h)
        yield p + "ffn_up.weight", (f, h), 1 / math.sqrt(h)
        yield p + "ffn_down.weight", (h, f), added / math.sqrt(0.36 * f)  # 0.36: silu(gate) * up, squared
    yield "output_norm.weight", (h,), 1
    if not s["tied"]:
        yield "output.weight", (s["vocab"], h), head


def vocabulary(path, size):
    """Tokens, their types and merges: the first of those in the file, and merges of two of them as long as there are too few."""
    fields = gguf.GGUFReader(path).fields
    read = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, types, merges = read("tokens")[:size], read("token_type")[:size], read("merges")
    known = set(tokens)
    merges = [merge for merge in merges if merge.replace(" ", "") in known]
    random = numpy.random.default_rng(2)
    parts = [token for token, kind in zip(tokens, types) if kind == gguf.TokenType.NORMAL]
    while len(tokens) < size:
        left, right = (parts[i] for i in random.integers(len(parts), size=2))
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
            types.append(int(gguf.TokenType.NORMAL))
            merges.append(f"{left} {right}")
    return tokens, types, merges, read("pre")


def describe(writer, s, shape, tokenizer):
    writer.add_name(f"random weights, {shape}")
    writer.add_block_count(s["layers"])
    writer.add_context_length(s["context"])
    writer.add_embedding_length(s["hidden"])
    writer.add_feed_forward_length(s["ffn"])
    writer.add_head_count(s["heads"])
    writer.add_head_count_kv(s["kv"])
    writer.add_key_length(s["head"])
    writer.add_value_length(s["head"])
    writer.add_rope_dimension_count(s["head"])
    writer.add_rope_freq_base(s["theta"])
    writer.add_layer_norm_rms_eps(s["epsilon"])
    if "loops" in s:
        writer.add_uint32("nanbeige.num_loops", s["loops"])
        writer.add_bool("nanbeige.skip_loop_final_norm", False)
    writer.add_vocab_size(s["vocab"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    tokens, types, merges, pre = vocabulary(tokenizer, s["vocab"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def rows_of(random, pool, count):
    """count values, cut out of the pool anywhere"""
    while count:
        at = int(random.integers(len(pool) // 2))
        piece = pool[at:at + count]
        yield piece
        count -= len(piece)


def bf16(values):
    bits = values.view(numpy.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)


def values_of(random, pool, shape, spread, is_signed):
    """A norm's gains in f32, or a matrix in bf16."""
    if len(shape) == 1:  # as uneven as trained ones are
        gains = numpy.exp(random.normal(0, 0.3, shape)) * spread
        if is_signed:
            gains *= random.choice([-1, 1], shape)
        return gains.astype(numpy.float32)
    values = numpy.empty(math.prod(shape), numpy.uint16)
    at = 0
    for piece in rows_of(random, pool, len(values)):
        values[at:at + len(piece)] = bf16(piece * numpy.float32(spread))
        at += len(piece)
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out")
    parser.add_argument("--tokenizer", required=True)
    options = parser.parse_args()
    s = SHAPES[options.shape]
    writer = gguf.GGUFWriter(options.out, "nanbeige" if "loops" in s else "llama")
    describe(writer, s, options.shape, options.tokenizer)
    for name, shape, _ in tensors(s):
        kind = gguf.GGMLQuantizationType.F32 if len(shape) == 1 else gguf.GGMLQuantizationType.BF16
        size = math.prod(shape) * (4 if len(shape) == 1 else 2)
        writer.add_tensor_info(name, shape, numpy.dtype(numpy.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = numpy.random.default_rng(1)
    pool = random.standard_normal(POOL_VALUES, dtype=numpy.float32)
    for name, shape, spread in tensors(s):
        # The last norm's gains have any sign, if it is not one between loops: else a tied head finds the token that was read in the state,
        # and says little else.
        writer.write_tensor_data(values_of(random, pool, shape, spread, "loops" not in s and name == "output_norm.weight"))
    writer.close()


if __name__ == "__main__":
    main()
