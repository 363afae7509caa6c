#!/usr/bin/env python3
"""Damaged copies of every kind of file that rrt reads, through the verbs that read it, under AddressSanitizer and
UndefinedBehaviorSanitizer: `make damage`.

    tests/damage.py RRT [--copies N] [--seed S] [--only KIND] [--copy I] [--keep FOLDER] [--jobs N]

Each copy is to end with exit code 0, or with 1 or 2, a message, and nothing written. All else is a fault, whose file is kept:
a signal, a sanitizer's report, a time-out, more than 2 GB, an error that says nothing or leaves something, and of what has checksums
another result than that of the undamaged file. A copy is made by seed, kind and number alone, so that --only KIND --copy I makes it
again. Standard library only."""
import argparse, collections, concurrent.futures, ctypes, json, math, os, pathlib, random, re, shutil, struct, subprocess, sys, tempfile

from serve import CHATML, DATA, make_model

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("rrt", type=lambda p: str(pathlib.Path(p).resolve()), help="built by the preset asan")
parser.add_argument("--copies", type=int, default=2000, help="in all, dealt out to the kinds")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--only", help="one kind")
parser.add_argument("--copy", type=int, help="this one only")
parser.add_argument("--keep", type=pathlib.Path, default="damaged", help="where the files of faults go")
parser.add_argument("--jobs", type=int, default=2)
parser.add_argument("--seconds", type=float, default=60, help="that a verb may take")
args = parser.parse_args()
REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error:|SUMMARY: |hard rss limit")
NOISE = re.compile(r"^==\d+==WARNING: AddressSanitizer failed to allocate.*\n?", re.M)  # what a refused allocation says
TIMES = re.compile(rb": \d+ tokens/s.*|time +[\d.]+ s")
CHECKED = ("store", "shard", "state")  # what has checksums, by the beginnings of the kinds' names
ENVIRONMENT = os.environ | {
    "ASAN_OPTIONS": "allocator_may_return_null=1:max_allocation_size_mb=1500:hard_rss_limit_mb=2000:exitcode=77",
    "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=77", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# --- damage ------------------------------------------------------------------------------------------------

HUGE = (0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
VALUES = ("0", "-1", "1", "2", "7", "1e9", "2147483648", "9007199254740993", "9223372036854775807", "18446744073709551616", "1e400", "-1e-400",
          "0.5", "true", "null", '"x"', "[]", "{}", '""', "[1,2,3]", '"\\u0000"', "[[[[[[[[1]]]]]]]]")


def place(data, chance):
    """Half of them where a header is."""
    return chance.randrange(min(len(data), 2000) if chance.random() < 0.5 else len(data))


def flip(data, chance):
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(data)


def cut(data, chance):
    return data[:place(data, chance)]


def overwrite(data, chance):
    at, size = place(data, chance), chance.choice((1, 4, 8, 64, 1000))
    other = place(data, chance)
    new = chance.choice((b"\0" * size, b"\xff" * size, chance.randbytes(size), data[other:other + size]))
    return data[:at] + new + data[at + len(new):]


def shift(data, chance):
    at, size = place(data, chance), chance.choice((1, 3, 8, 100))
    return data[:at] + (b"" if chance.random() < 0.5 else data[at:at + size] * 2) + data[at + size:]


def huge_size(data, chance):
    width = chance.choice((1, 2, 4, 8))
    at = place(data, chance) // width * width
    return data[:at] + (chance.choice(HUGE) % 2**(8 * width)).to_bytes(width, "little") + data[at + width:]


def other_value(text, chance):
    """Numbers and other values of JSON."""
    found = list(re.finditer(rb'-?\b\d[\d.eE+-]*|true|false|null|(?<=: )"[^"]*"', text))
    if not found: return text
    m = chance.choice(found)
    new = chance.choice(VALUES).encode() if chance.random() < 0.7 else chance.choice(found)[0]
    return text[:m.start()] + new + text[m.end():]


def repeated_key(text, chance):
    found = list(re.finditer(rb'"[^"]*"(?=\s*:)', text))
    if not found: return text
    a, b = chance.choice(found), chance.choice(found)
    return text[:a.start()] + b[0] + text[a.end():]


def lost_or_doubled(text, chance):
    """A key with its value, an element."""
    parts = text.split(b",")
    i = chance.randrange(len(parts))
    parts[i:i + 1] = [] if chance.random() < 0.5 else [parts[i]] * chance.choice((2, 2, 1000))
    return b",".join(parts)


BYTES = (flip, cut, overwrite, shift, huge_size)
JSON = (other_value, other_value, repeated_key, lost_or_doubled)


def damage(name, data, chance):
    if name.endswith(".zst"):
        plain = chance.random() < 0.5
        return compress(damage("x.jsonl", TEXTS["texts.jsonl"], chance)) if plain else chance.choice(BYTES)(data, chance)
    if name.endswith(".safetensors") and chance.random() < 0.5:  # the header, with its length put right
        end = 8 + int.from_bytes(data[:8], "little")
        header = chance.choice(JSON)(data[8:end], chance)
        return len(header).to_bytes(8, "little") + header + data[end:]
    return chance.choice(BYTES + JSON if name.endswith((".json", ".jsonl")) else BYTES)(data, chance)


# --- files -------------------------------------------------------------------------------------------------

CATS = "the cat sat on the mat, the rat ate {} oats; one loop and on we go."
TEXTS = {"texts.jsonl": "".join(json.dumps({"text": CATS.format(i % 7), "n": i}) + "\n" for i in range(60)).encode(),
         "talk.jsonl": "".join(json.dumps({"messages": [{"role": "user", "content": "the cat sat " * (i % 5 + 1)}, {"role": "assistant", "content": "on the mat"}]})
                               + "\n" for i in range(40)).encode(),
         "text.txt": "".join(CATS.format(i % 7) + ("\n<|endoftext|>\n" if i % 9 == 0 else "\n") for i in range(60)).encode()}


def compress(data):
    zstd = ctypes.CDLL("libzstd.so.1")
    zstd.ZSTD_compress.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(len(data) + 1000)
    size = zstd.ZSTD_compress(room, ctypes.c_size_t(len(room)), data, ctypes.c_size_t(len(data)), 3)
    return room.raw[:size]


def skip_value(data, at, kind):
    """The end of a value of GGUF's metadata."""
    if kind == 8: return at + 8 + struct.unpack_from("<Q", data, at)[0]
    if kind != 9: return at + {0: 1, 1: 1, 7: 1, 2: 2, 3: 2}.get(kind, 8 if kind >= 10 else 4)
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(count): at = skip_value(data, at, kind)
    return at


def q4_1(data):
    """A GGUF of F32 with its matrices as Q4_1, where their rows are of whole blocks."""
    tensors, pairs = struct.unpack_from("<QQ", data, 8)
    at = 24
    for _ in range(pairs):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at = skip_value(data, at + 4, struct.unpack_from("<I", data, at)[0])
    head, infos = data[:at], []
    for _ in range(tensors):
        size = struct.unpack_from("<Q", data, at)[0]
        name, at = data[at:at + 8 + size], at + 8 + size
        rank = struct.unpack_from("<I", data, at)[0]
        infos.append((name, struct.unpack_from(f"<{rank}Q", data, at + 4), *struct.unpack_from("<IQ", data, at + 4 + 8 * rank)))
        at += 16 + 8 * rank
    begin, body, table = -(-at // 32) * 32, b"", b""
    for name, shape, kind, offset in infos:
        values = memoryview(data)[begin + offset:begin + offset + 4 * math.prod(shape)].cast("f").tolist()
        packed = len(shape) == 2 and kind == 0 and shape[0] % 32 == 0
        raw = b"".join(block_q4_1(values[i:i + 32]) for i in range(0, len(values), 32)) if packed else struct.pack(f"<{len(values)}f", *values)
        table += name + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 3 if packed else kind, len(body))
        body += raw + b"\0" * (-len(raw) % 32)
    return head + table + b"\0" * (-len(head + table) % 32) + body


def block_q4_1(values):
    least, scale = min(values), (max(values) - min(values)) / 15
    codes = [round((v - least) / scale) if scale else 0 for v in values]
    return struct.pack("<ee16B", scale, least, *(codes[i] | codes[i + 16] << 4 for i in range(16)))


def rrt(*words):
    done = subprocess.run([args.rrt, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, (words, done.stderr)


Kind = collections.namedtuple("Kind", "name source file verbs")  # {} in a verb: the copy of source, OUT: an empty folder


TRAIN = ["train", "-b", "2", "-c", "16", "--tokens"]


def make_sources(work):
    """Every kind of file, in a folder of its own."""
    llama, relaxed, text = f"{DATA}/models/llama", work / "relaxed", work / "text.txt"
    for name in ("gguf", "quantised", "texts", "template", "tasks"): (work / name).mkdir()
    text.write_bytes(TEXTS["text.txt"])
    for name, data in TEXTS.items(): (work / "texts" / name).write_bytes(data)
    (work / "texts/texts.jsonl.zst").write_bytes(compress(TEXTS["texts.jsonl"]))
    rrt("convert", llama, relaxed, "--loops", 2, "--rank", 2)
    rrt("convert", llama, work / "sharded", "--loops", 2, "--rank", 2, "--max-shard-size", "20k")
    rrt("export", relaxed, work / "peft", "--to", "peft")
    rrt("export", llama, work / "f32.gguf", "--to", "gguf")
    (work / "gguf/m.gguf").write_bytes(q4_1((work / "f32.gguf").read_bytes()))
    rrt("quantize", relaxed, work / "quantised/m.gguf", "q4_0")
    rrt("teach", "-m", relaxed, "--data", text, "-o", work / "store", "--top", 4, "-c", 16)
    rrt(*TRAIN, 640, relaxed, "-o", work / "run", "--data", text)
    (work / "template/t.jinja").write_text(CHATML)
    tasks = {"lambada_openai.jsonl": {"context": "the cat sat on the", "target": "mat"},
             "piqa.jsonl": {"context": "the cat", "choices": ["sat", "ate oats"], "gold": 0},
             "winogrande.jsonl": {"contexts": ["the cat", "the rat"], "target": "sat", "gold": 1},
             "timings.json": {"cases": [{"name": "a", "loops": 2, "batch": 4, "step_ms": [[1, 1.5], [4, 2.5]], "exits": [0.5, 0.5]}]}}
    for name, value in tasks.items(): (work / "tasks" / name).write_text(json.dumps(value) + "\n")
    (work / "tasks/trace.txt").write_text("1 2 2\n2 1\n" * 5)


def make_kinds(work):
    """What is damaged, and what reads it."""
    make_sources(work)
    llama, relaxed, text, chat = f"{DATA}/models/llama", work / "relaxed", work / "text.txt", make_model(str(work), 512)

    def reads(m):
        return [["inspect", m, "--json"], ["logits", "-m", m, "--tokens", "1,2,3"], ["generate", "-m", m, "-p", "the", "-n", "4"],
                ["eval", "ppl", "-m", m, "-f", text, "-c", "16", "--max-tokens", "64", "--json"]]

    def teach(m, f):
        return ["teach", "-m", m, "--data", f, "-o", "OUT/store", "--top", "4", "-c", "16", "--max-tokens", "32"]

    def train(m, *words):
        return [*TRAIN, "64", m, "-o", "OUT/out", *words]

    def plain(m):
        return reads(m) + [["convert", m, "OUT/out", "--loops", "2"], ["quantize", m, "OUT/out.gguf", "q4_1"], teach(m, text)]

    def ours(m):
        return reads(m) + [["quantize", m, "OUT/out.gguf", "q8_0"], ["export", m, "OUT/out", "--to", "peft"], ["export", m, "OUT/exported.gguf", "--to", "gguf"],
                           train(m, "--data", text)]

    tokenize, says = ["tokenize", "-f", text, "-m"], ["chat", "-n", "2", "--show-prompt", "-m"]
    words = [["inspect", "{}"], [*tokenize, "{}"], reads("{}")[2]]
    goes_on = [*TRAIN, "1280", relaxed, "-o", "{}", "--data", text, "--resume", "auto"]
    adapted = reads("{}")[:3] + [v + ["--lora", "{}"] for v in reads(f"{work}/peft/base")[1:3]]
    simulate = [["simulate", "--timings", "{}/timings.json", "--trace", "{}/trace.txt", "--json"]]
    step = sorted(p.name for p in (work / "run/checkpoints").iterdir())[-1]
    kinds = [
        ("gguf", "gguf", "m.gguf", plain("{}/m.gguf") + [[*tokenize, "{}/m.gguf"]]),
        ("quantised", "quantised", "m.gguf", reads("{}/m.gguf") + [["export", "{}/m.gguf", "OUT/out", "--to", "hf"]]),
        ("hf-config", llama, "config.json", plain("{}")), ("hf-weights", llama, "model.safetensors", plain("{}")),
        ("tokenizer", llama, "tokenizer.json", words), ("sentencepiece", f"{DATA}/tokenizer-sentencepiece", "tokenizer.model", words[1:2]), ("tokenizer-config", chat, "tokenizer_config.json", [words[1], says + ["{}"]]),
        ("index", "sharded", "model.safetensors.index.json", reads("{}")),
        ("config", "relaxed", "config.json", ours("{}")), ("weights", "relaxed", "model.safetensors", ours("{}")),
        ("adapter-config", "peft", "adapter_config.json", adapted), ("adapter-weights", "peft", "adapter_model.safetensors", adapted),
        *((f"store-{f[:4]}", "store", f, [train(relaxed, "--teacher", "{}")]) for f in ("0000.tokens", "teacher.topk")),
        ("shard", "run", "data/0000.tokens", [goes_on]),
        *((f"state-{f}", "run", f"checkpoints/{step}/{f}", [goes_on]) for f in ("state.json", "checksums.json", "moments.safetensors", "model.safetensors")),
        ("log", "run", "log.jsonl", [["report", "{}", "-o", "OUT/page.html"], goes_on]),
        *((f"text-{f}", "texts", f, [train(chat, "--data", "{}/" + f), teach(chat, "{}/" + f)]) for f in (*TEXTS, "texts.jsonl.zst")),
        ("template", "template", "t.jinja", [says + [chat, "--chat-template-file", "{}/t.jinja"]]),
        *((f"task-{t}", "tasks", f"{t}.jsonl", [["eval", "tasks", "-m", relaxed, "--data", "{}", "--tasks", t]]) for t in ("lambada_openai", "piqa", "winogrande")),
        ("timings", "tasks", "timings.json", simulate), ("trace", "tasks", "trace.txt", simulate)]
    return [Kind(name, work / folder, file, verbs) for name, folder, file, verbs in kinds]


# --- trying ------------------------------------------------------------------------------------------------

def run_verb(verb, copy, out):
    """(exit code, None after the time; stdout; stderr)"""
    words = [str(w).replace("{}", str(copy)).replace("OUT", str(out), 1) for w in verb]
    try:
        done = subprocess.run([args.rrt, *words, "-t", "1"], input=b"the cat\n", capture_output=True, env=ENVIRONMENT, timeout=args.seconds, cwd=copy.parent)
    except subprocess.TimeoutExpired:
        return None, b"", ""
    return done.returncode, TIMES.sub(b"", done.stdout.replace(bytes(copy.parent), b"")), NOISE.sub("", done.stderr.decode(errors="replace")).replace(str(copy.parent), "")


def fault_of(code, said, out):
    if code is None: return f"still runs after {args.seconds:g} s"
    if REPORT.search(said): return "a sanitizer's report"
    if code not in (0, 1, 2): return f"ends by {code}"
    if code and not re.search(r"\w{3}", said): return f"ends by {code} and says nothing"
    left = [p.name for p in out.iterdir() if not (p / "run.lock").exists()]  # a run that has begun can go on
    return f"fails and leaves {left}" if code and left else None


def try_copy(kind, number, plain, work):
    """Of each verb: (what came of it, the fault or None)."""
    place, found = pathlib.Path(tempfile.mkdtemp(dir=work)), []
    chance = random.Random(f"{args.seed} {kind.name} {number}")
    data = (kind.source / kind.file).read_bytes()
    damaged = data
    while number is not None and damaged == data: damaged = damage(kind.file, data, chance)
    for verb, before in zip(kind.verbs, [printed for _, printed in plain or [(None, None)] * len(kind.verbs)]):
        copy, out = place / "copy", place / "out"
        for folder in (copy, out): shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kind.source, copy)
        (copy / kind.file).write_bytes(damaged)
        out.mkdir()
        code, printed, said = run_verb(verb, copy, out)
        fault = fault_of(code, said, out)
        if code == 0 and plain and printed != before and kind.name.startswith(CHECKED): fault = f"says {printed}, undamaged {before}"
        if fault:
            args.keep.mkdir(parents=True, exist_ok=True)
            kept = args.keep / f"{args.seed}-{kind.name}-{number}-{pathlib.Path(kind.file).name}"
            kept.write_bytes(damaged)
            print(f"FAULT --seed {args.seed} --only {kind.name} --copy {number}: {' '.join(map(str, verb))}: {fault}; {kept}\n{said[-3000:]}", flush=True)
        found.append((fault and "fault" or ("error" if code else "same" if printed == before else "other"), printed))
    shutil.rmtree(place)
    return found


def main():
    with tempfile.TemporaryDirectory(prefix="rrt-damage-") as folder, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        work = pathlib.Path(folder)
        kinds, total = make_kinds(work), collections.Counter()
        wanted = [k for k in kinds if args.only in (None, k.name)]
        for i, kind in enumerate(wanted):
            plain = try_copy(kind, None, None, work)
            assert all(what in ("same", "other") for what, _ in plain), (kind.name, plain)
            numbers = range(i, args.copies, len(wanted)) if args.copy is None else [args.copy]
            results = pool.map(lambda n: try_copy(kind, n, plain, work), numbers)
            count = collections.Counter(what for found in results for what, _ in found)
            print(f"{kind.name}: {len(numbers)} copies, {len(kind.verbs)} verbs: {count['error']} clean errors, "
                  f"{count['same']} as undamaged, {count['other']} other results, {count['fault']} faults", flush=True)
            total += count
    print(f"{args.copies if args.copy is None else 1} copies, {sum(total.values())} runs: {total['error']} clean errors, {total['same']} as undamaged, "
          f"{total['other']} other results, {total['fault']} faults")
    return 1 if total["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
