#!/usr/bin/env python3
"""The engine against llama.cpp: bench/engine-against-llama.py FILE.gguf [OURS.gguf] [--rounds 5] [--batches 1,8,32] [--tokens 128]

Both run FILE.gguf, or rrt a file of its own packing, OURS.gguf. 2 threads each, in turns; medians and their ratio.

Speed: a prompt of 512 tokens, then so many streams that decode 128 tokens each. llama.cpp through llama-cpp-python, with flash attention
and one cache for all streams or not: what is fastest in a first, shorter run counts. rrt by `rrt bench`, in a new process each time.

Memory and loading, where there is a llama-bench (--llama-bench, or in $LLAMA_CPP_LIB_PATH; target llama-bench of llama.cpp's build):
each in a new process, `llama-bench -pg 512,64` and `rrt generate` of a prompt of 512 tokens and 64 more. Memory is the most that was
resident (VmHWM): pages of the mapped file, keys and values, the program. Loading is from the start of the process to its end after
one token, with the file in the page cache.

"others" is the part of the processors that other programs took meanwhile: a program of two threads that wait for each other, as both are
here, can lose far more than that, so that a row is worth something only where it is small. --wait N waits up to N seconds before each run
until nobody else computes.
"""
import argparse
import ctypes
import json
import os
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RRT = os.environ.get("RRT") or str(ROOT / "build/rrt")
THREADS, PROMPT = 2, 512


class Others:
    """What other programs compute."""

    def __init__(self):
        self.begin()

    @staticmethod
    def seconds():
        fields = [int(n) for n in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        busy = sum(fields) - fields[3] - fields[4]  # but idle, and waiting for a disk
        return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])

    def begin(self):
        self.at, self.since = time.perf_counter(), self.seconds()

    def share(self):
        return max(0, self.seconds() - self.since) / (time.perf_counter() - self.at) / os.cpu_count()

    def wait(self, most):
        """Until there is next to nothing in half a second."""
        end = time.perf_counter() + most
        while time.perf_counter() < end:
            probe = Others()
            time.sleep(0.5)
            if probe.share() < 0.05:
                break


OTHERS = Others()


class Peer:
    """llama.cpp as llama-bench and llama-batched-bench run it: any tokens, no sampling."""

    def __init__(self, path):
        import llama_cpp
        self.lib = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.quiet, ctypes.c_void_p(0))
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp does not open {path}")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(PROMPT, 0, 1)

    def open(self, streams, positions, flash, unified):
        params = self.lib.llama_context_default_params()
        # A cache of its own for each stream is cut from n_ctx, in pieces of 256.
        params.n_ctx, params.n_batch, params.n_ubatch = -(-positions // 256) * 256 * streams, PROMPT, PROMPT
        params.n_seq_max, params.n_threads, params.n_threads_batch = streams, THREADS, THREADS
        params.flash_attn_type, params.kv_unified = int(flash), unified
        context = self.lib.llama_init_from_model(self.model, params)
        if not context:
            raise SystemExit("llama.cpp opens no context")
        return context

    def decode(self, context, rows):
        """rows: (token, position, sequence, whether logits are wanted)"""
        for i, (token, position, sequence, wanted) in enumerate(rows):
            self.batch.token[i], self.batch.pos[i], self.batch.n_seq_id[i] = token % self.vocab, position, 1
            self.batch.seq_id[i][0], self.batch.logits[i] = sequence, wanted
        self.batch.n_tokens = len(rows)
        if self.lib.llama_decode(context, self.batch):
            raise RuntimeError("llama_decode failed")

    def clear(self, context):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(context), True)

    def prefill(self, context):
        self.clear(context)
        start = time.perf_counter()
        self.decode(context, [(1000 + i, i, 0, i == PROMPT - 1) for i in range(PROMPT)])
        return PROMPT / (time.perf_counter() - start)

    def generate(self, context, streams, tokens):
        self.clear(context)
        start = time.perf_counter()
        for at in range(tokens):
            self.decode(context, [(1000 + at + s, at, s, True) for s in range(streams)])
        return tokens * streams / (time.perf_counter() - start)

    def fastest(self, streams, positions, ways, run):
        """A context of that way (flash, unified) in which run is fastest. It has been used then: its memory is there. There is never more
        than one: with many loops and streams, keys and values are larger than the weights."""
        speeds = []
        for way in [*ways, None]:
            context = self.open(streams, positions, *(way or ways[speeds.index(max(speeds))]))
            speeds.append(run(context))
            if not way:
                return context
            self.lib.llama_free(context)


def medians(options, pair):
    """Of both, in turns."""
    rounds = []
    for _ in range(options.rounds):
        OTHERS.wait(options.wait)
        rounds.append([run() for run in pair])
    return [statistics.median(side) for side in zip(*rounds)]


def ours(path, prompt, tokens, batch):
    command = [RRT, "bench", "-m", path, "-p", str(prompt), "-n", str(tokens), "-b", str(batch), "-r", "1", "-t", str(THREADS), "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["rows"][0]["tokens_per_s_mean"]


def speed(options, batches):
    """Rows of (case, llama.cpp, rrt); the file is in llama.cpp's memory once."""
    peer, n = Peer(options.peer), options.tokens
    ways = [(flash, unified) for flash in (False, True) for unified in (False, True)]
    context = peer.fastest(1, PROMPT, ways[::2], peer.prefill)
    yield f"prompt of {PROMPT}", *medians(options, (lambda: peer.prefill(context), lambda: ours(options.ours, PROMPT, 0, 1)))
    peer.lib.llama_free(context)
    for b in batches:
        context = peer.fastest(b, n, ways if b > 1 else ways[::2], lambda context: peer.generate(context, b, max(1, n // 4)))
        pair = lambda: peer.generate(context, b, n), lambda: ours(options.ours, 0, n, b)
        yield f"{b} stream{'s' * (b > 1)}", *medians(options, pair)
        peer.lib.llama_free(context)


def measure(command):
    """Seconds, and the most memory resident in MB, of a process. Its peak does not count what this one has: exec begins anew."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while True:
        done, status = os.waitpid(child.pid, os.WNOHANG)
        if done:
            break
        try:
            lines = pathlib.Path(f"/proc/{child.pid}/status").read_text().split("\n")
            peak = max([peak] + [int(line.split()[1]) for line in lines if line.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.002)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    return seconds, peak * 1024 / 1e6


def whole_process(options):
    """Rows of (what, llama.cpp, rrt)"""
    theirs = [options.llama_bench, "-m", options.peer, "-t", str(THREADS), "-r", "1", "--no-warmup", "-p", "0"]
    mine = [RRT, "generate", "-m", options.ours, "-t", str(THREADS), "--ignore-eos"]
    prompt = " the" * PROMPT  # a token each
    long = (theirs + ["-n", "0", "-pg", f"{PROMPT},64"], mine + ["-p", prompt, "-n", "64"])
    short = (theirs + ["-n", "1"], mine + ["-p", " the", "-n", "1"])
    for command in short:
        measure(command)  # the file is in the page cache from here on
    for name, pair, at in (("peak memory, MB", long, 1), ("start to first token, s", short, 0)):
        yield name, *medians(options, [lambda command=command: measure(command)[at] for command in pair])


def processor():
    line = next(line for line in open("/proc/cpuinfo") if line.startswith("model name"))
    return line.split(":")[1].strip()


def kernels():
    out = subprocess.run([RRT, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return out.split("kernels: ")[1].split(")")[0]


def keep(path, name, results):
    """Beside what the file has of other models."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(kept | {name: results}, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", metavar="FILE.gguf", type=os.path.abspath)
    parser.add_argument("ours", metavar="OURS.gguf", nargs="?", type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,8,32", help="empty: none")
    parser.add_argument("--tokens", type=int, default=128, help="decoded by each stream")
    parser.add_argument("--wait", type=float, default=0, help="seconds")
    parser.add_argument("--json", type=pathlib.Path, help="put the rows into this file too, which tools/make-figures reads")
    parser.add_argument("--llama-bench", default=os.path.join(os.environ.get("LLAMA_CPP_LIB_PATH", ""), "llama-bench"))
    options = parser.parse_args()
    options.ours = options.ours or options.peer
    info = json.loads(subprocess.run([RRT, "inspect", options.ours, "--json"], stdout=subprocess.PIPE, check=True).stdout)
    print(f"{os.path.basename(options.peer)}, {os.path.getsize(options.peer) / 1e6:.0f} MB"
          + (f"; rrt: {os.path.basename(options.ours)}, {info['file_bytes'] / 1e6:.0f} MB" if options.ours != options.peer else ""))
    print("| | llama.cpp | rrt | ratio | others |\n| --- | --- | --- | --- | --- |")

    rows = {}

    def row(name, theirs, mine):
        rows[name] = {"llama_cpp": theirs, "rrt": mine, "others": OTHERS.share()}
        print(f"| {name} | {theirs:.4g} | {mine:.4g} | {mine / theirs:.2f} | {rows[name]['others']:.0%} |", flush=True)

    # Before llama.cpp has the file in this process's memory.
    for found in whole_process(options) if os.path.exists(options.llama_bench) else ():
        row(*found)
        OTHERS.begin()
    for name, theirs, mine in speed(options, [int(batch) for batch in options.batches.split(",") if batch]):
        row(f"{name}, tokens/s", theirs, mine)
        if name.startswith("prompt"):
            operations = 2e-12 * info["params"]["body"]  # the head runs once a prompt
            row("the same, TOP/s", theirs * operations, mine * operations)
        OTHERS.begin()
    if options.json:
        keep(options.json, os.path.basename(options.peer), {
            "processor": processor(), "kernels": kernels(), "threads": THREADS, "rounds": options.rounds, "rows": rows})


if __name__ == "__main__":
    main()
