"""What make-tokenizer-golden.py and compare-tokenizer.py share: random strings, and reference tokenizers."""

import random

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

WORDS = """the of and to in is you that it he was for on are as with his they I at be this have from or one had by
word but not what all were we when your can said there use an each which she do how their if will up other about out
many then them these so some her would make like him into time has look two more write go see number no way could
people my than first water been call who oil its now find long down day did get come made may part""".split()
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "’s", "'", "''", "'x", "don't", "I'll", "we've"]
SPECIAL = ["<start_of_turn>", "<end_of_turn>\n", "<bos>", "</s>", "<0x41>", "▁▁", "<table>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<|im_start|>user\n", "<|im_end", "|>", "<|"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\r", "\v", "\f", "\u0085", "\u00a0", "\u1680", "\u180e",
          "\u2000", "\u2003", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff"]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "❤️", "☎", "🧑‍🚀", "🫠", "#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
CODE = ["def f(x):\n    return x**2\n", "for (int i = 0; i < n; i++) {", "};\n\n", "#include <stdio.h>\n", "a[i]->b.c()",
        "x != y && !z", "/* ... */", "\t\tif x == 0:\n", "https://example.com/a?b=c&d=%20", "0x1F", "1e-5", "--flag=1"]
DIGITS = list("0123456789") + list("٠١٢३४५๓๔０９²³¹¼½⅓Ⅷⅳ①⑳㊿〇一二𝟘𝟙𝟵௧૨") + ["12345", "2024-11-24", "3.14159"]
COMBINING = [chr(c) for c in range(0x300, 0x370)] + list("\u0e31\u0e34\u0e47\u093f\u094d\u05b0\u064b\u20dd\u3099\u1ab0")
# Where letters, marks and symbols of many scripts lie, unassigned places included.
RANGES = [(0x21, 0x7e), (0xa1, 0x17f), (0x180, 0x24f), (0x250, 0x2ff), (0x370, 0x3ff), (0x400, 0x52f), (0x530, 0x5ff),
          (0x600, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x10a0, 0x10ff), (0x1100, 0x11ff), (0x1200, 0x137f),
          (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x218f), (0x2190, 0x2bff), (0x3000, 0x30ff), (0x3400, 0x9fff),
          (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfb00, 0xfdff), (0xfe00, 0xffff), (0x10000, 0x1074f), (0x1d400, 0x1d7ff),
          (0x1f300, 0x1faff), (0x20000, 0x2ffff), (0x40000, 0x10ffff), (0, 0x20), (0x7f, 0xa0)]


def random_piece(rng):
    kind = rng.randrange(14)
    if kind < 3:
        return rng.choice([" ", "", " "]) + rng.choice(WORDS)
    if kind < 9:
        pool = [CONTRACTIONS, SPECIAL, SPACES, EMOJI, CODE, DIGITS][kind - 3]
        return rng.choice(pool)
    if kind == 9:
        return rng.choice(SPACES) * rng.randint(1, 12)
    if kind == 10:
        return rng.choice("aeionAE가か") + "".join(rng.choices(COMBINING, k=rng.randint(1, 4)))
    if kind == 11:
        return rng.choice("!?.,;:-_=+*/\\()[]{}<>@#$%^&~`|\"") * rng.randint(1, 6)
    low, high = rng.choice(RANGES)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6)))


def random_string(rng, most_pieces=14):
    return "".join(random_piece(rng) for _ in range(rng.randint(1, most_pieces)))


def random_strings(count, seed):
    rng = random.Random(seed)
    return [random_string(rng) for _ in range(count)]


def smollm_steps():
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])


def merges_of_scores(scores):
    """The merges that a SentencePiece vocabulary stands for, as Hugging Face's converters make them."""
    ids = {piece: i for i, piece in enumerate(scores)}
    merges = []
    for piece, score in scores.items():
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in scores and piece[i:] in scores]
        merges += [(score, cut) for cut in sorted(cuts, key=lambda cut: (ids[cut[0]], ids[cut[1]]))]
    return [cut for _, cut in sorted(merges, key=lambda merge: -merge[0])]


def sentencepiece(vocab, merges, prefix, unknown="<unk>"):
    """A tokenizer of Llama 2's kind (prefix: a space is put in front) or Gemma's."""
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prefix else replace
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if prefix else []))
    return tokenizer


def from_gguf(path):
    """The Hugging Face tokenizer that a GGUF file of SmolLM's or of SentencePiece's kind describes."""
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    vocab = {t: i for i, t in enumerate(tokens)}
    if fields["tokenizer.ggml.model"].contents() == "llama":
        scores = fields["tokenizer.ggml.scores"].contents()
        merges = merges_of_scores({t: s for t, s, k in zip(tokens, scores, types) if k == 1})
        prefix = fields.get("tokenizer.ggml.add_space_prefix")
        tokenizer = sentencepiece(vocab, merges, prefix.contents() if prefix else True)
    else:
        merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
        tokenizer = Tokenizer(models.BPE(vocab, merges))
        tokenizer.pre_tokenizer = smollm_steps()
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k in (2, 3)])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k == 4])
    return tokenizer


def encode(tokenizer, text, parse_special):
    tokenizer.encode_special_tokens = not parse_special
    return tokenizer.encode(text, add_special_tokens=False).ids
