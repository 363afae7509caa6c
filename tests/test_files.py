#!/usr/bin/env python3
"""Every verb that writes, while calls fail, the disk is full and the process is killed: the old result or the new one under its name, nothing
left over, the same bytes in the end.

    tests/test_files.py RRT FAIL_NTH.so [--kills N] [--calls N]     (make faults: 40 kills of each, every call)
"""
import argparse, ctypes, hashlib, os, pathlib, random, resource, shutil, signal, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("rrt", type=lambda p: str(pathlib.Path(p).resolve()))
parser.add_argument("shim", type=lambda p: str(pathlib.Path(p).resolve()))
parser.add_argument("--kills", type=int, default=3, help="of each verb, at random moments")
parser.add_argument("--calls", type=int, default=2, help="of each kind and verb that fail, spread over all")
parser.add_argument("--only", help="one verb")
args = parser.parse_args()
here = pathlib.Path(__file__).resolve().parent
failures = []
kinds = ["open", "fsync", "rename", "unlink", "mkdir"]


def check(condition, *what):
    if not condition:
        failures.append(" ".join(map(str, what)))
        print("FAILED:", *what, flush=True)


def run(words, limit=None, **environment):
    """(exit code, stderr); limit: most bytes of a file."""
    def prepare():
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    preload = {"LD_PRELOAD": args.shim} if environment else {}
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | preload | {k: str(v) for k, v in environment.items()}
    done = subprocess.run([args.rrt, *map(str, words)], capture_output=True, text=True, env=env, preexec_fn=prepare, timeout=120)
    return done.returncode, done.stderr.strip()


def content(path):
    """Names and bytes, but for what a clock writes."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    timed = ("log.jsonl", "log.csv", "state.json", "checksums.json", "run.lock")
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name not in timed}


class Verb:
    def __init__(self, name, words, folder):
        self.name, self.words, self.folder = name, words, folder
        self.out = folder / ("out.gguf" if name == "quantize" else "out")
        self.reset()
        self.plain = self.finish("at first")
        start = time.monotonic()
        self.reset()
        self.finish("again")
        self.seconds = time.monotonic() - start

    def reset(self, old=None):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        if old and old.is_dir(): shutil.copytree(old, self.out)
        elif old: shutil.copy(old, self.out)

    def finish(self, when, *more):
        code, said = run([*self.words, *more])
        check(code == 0, self.name, when, "does not finish:", said)
        left = [p.name for p in self.folder.iterdir() if p != self.out]
        check(not left, self.name, when, "leaves", left)
        return content(self.out) if self.out.exists() else {}

    def keep(self, aside):
        shutil.rmtree(aside, ignore_errors=True)
        (shutil.copytree if self.out.is_dir() else shutil.copy)(self.out, aside)
        return aside

    def force(self):
        return [w for w in self.words if w not in ("--resume", "auto")] + ["--force"]

    def call_counts(self, old, kind):
        self.reset(old)
        count = self.folder.parent / "count"
        count.unlink(missing_ok=True)
        run(self.force(), KIND=kind, COUNT=count)
        calls = int(count.read_text())
        check(calls or kind in ("mkdir", "unlink"), self.name, "makes no call of", kind)
        return calls

    def check_stands(self, old, when):
        """What is under the name after a failure: the old one, the new one, or a run that has begun."""
        if not self.out.exists(): return check(False, self.name, when, "leaves nothing under its name")
        if content(self.out) in (old, self.plain): return
        check((self.out / "run.lock").exists(), self.name, when, "leaves something else")

    def finish_after(self, when):
        """A run goes on, all else starts again."""
        resumes = "--resume" in self.words and (self.out / "run.lock").exists()
        words = self.words if resumes else self.force()
        code, said = run(words)
        check(code == 0, self.name, when, "does not go on:", said)
        left = [p.name for p in self.folder.rglob("*") if ".tmp-" in p.name or ".old-" in p.name]
        check(not left, self.name, when, "leaves", left)
        check(content(self.out) == self.plain, self.name, when, "ends with other bytes")


def spread(count, wanted):
    return sorted({1 + i * count // wanted for i in range(wanted)}) if count > wanted else range(1, count + 1)


def test_calls(verb, old, kind, **more):
    for n in spread(verb.call_counts(old, kind), args.calls):
        for kill in ({}, {"KILL": 1}):
            when = f"{kind} {n} {'kills' if kill else 'fails'} {' '.join(more)}"
            verb.reset(old)
            code, said = run(verb.force(), KIND=kind, N=n, **kill, **more)
            check(code in (0, 1) or kill, verb.name, when, "ends by", code, said)
            check(code == 0 or said or kill, verb.name, when, "says nothing")
            if not (kill and more): verb.check_stands(content(old), when)
            verb.finish_after(when)


def test_memory(verb, old):
    for n in spread(verb.call_counts(old, "malloc"), 4 * args.calls):
        verb.reset(old)
        code, said = run(verb.force(), KIND="malloc", N=n)
        check(code >= 0, verb.name, f"malloc {n} fails", "ends by", code, said)
        verb.check_stands(content(old), f"malloc {n} fails")
        verb.finish_after(f"malloc {n} fails")


def test_full_disk(verb, old):
    most = max(p.stat().st_size for p in ([old] if old.is_file() else old.rglob("*")) if p.is_file())
    for limit in sorted({0, 1, 100, *(most * i // args.calls for i in range(args.calls)), most - 1}):
        verb.reset(old)
        code, said = run(verb.force(), limit=limit)
        check(code == 1 and "cannot" in said, verb.name, f"with files of {limit} bytes", "ends by", code, said)
        verb.check_stands(content(old), f"with files of {limit} bytes")
        verb.finish_after(f"with files of {limit} bytes")


def may_mount():
    """Whether this process may mount: it then does so where nobody else sees it."""
    clone_newns, ms_rec, ms_private = 0x20000, 1 << 14, 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.unshare(clone_newns) == 0 and libc.mount(None, b"/", None, ctypes.c_ulong(ms_rec | ms_private), None) == 0


def fill(folder, room):
    """Leaves so many bytes free on its file system."""
    with open(folder / "ballast", "wb") as file:
        free = lambda: os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        while (rest := free() - room) > 0:
            file.write(bytes(rest))
            file.flush()


def test_no_room(verb, old):
    """On a file system of its own that is full, or nearly: over an old result with --force, and over nothing."""
    verb.reset(old)
    free = lambda: os.statvfs(verb.folder).f_bavail
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", verb.folder], check=True)
    try:
        before = free()
        (shutil.copytree if old.is_dir() else shutil.copy)(old, verb.out)
        page, most = os.statvfs(verb.folder).f_frsize, before - free()
        for pages in sorted({0, 1, 2, *(most * i // args.calls for i in range(args.calls)), most - 1}):
            for there in (old, None):
                shutil.rmtree(verb.out, ignore_errors=True) if verb.out.is_dir() else verb.out.unlink(missing_ok=True)
                if there: (shutil.copytree if old.is_dir() else shutil.copy)(old, verb.out)
                fill(verb.folder, pages * page)
                when = f"with room for {pages} of {most} pages, over {'an old result' if there else 'nothing'}"
                code, said = run(verb.force())
                fits = verb.name == "train" and there and content(verb.out) == verb.plain  # a run that has begun frees the old one's room
                check(code == 1 or fits, verb.name, when, "ends by", code, said)
                check(code == 0 or "No space left on device" in said and str(verb.out) in said, verb.name, when, "says", said)
                begun = (verb.out / "run.lock").exists() and not (there and content(verb.out) == content(old))
                if begun: check(verb.name == "train", verb.name, when, "leaves a run")
                elif there: check(verb.out.exists() and content(verb.out) == content(old), verb.name, when, "does not leave the old result")
                left = [str(p) for p in verb.folder.rglob("*") if ".tmp-" in p.name or ".old-" in p.name]
                left += [p.name for p in verb.folder.iterdir() if p.name != "ballast" and not (p == verb.out and (there or begun))]
                check(not left, verb.name, when, "leaves", left)
                (verb.folder / "ballast").unlink()
                verb.finish_after(when)
    finally:
        subprocess.run(["umount", verb.folder], check=True)


def test_kills(verb):
    """Of the same command, again and again, until it is done."""
    verb.reset()
    for i in range(args.kills):
        if verb.out.exists() and "--resume" not in verb.words: verb.reset()
        process = subprocess.Popen([args.rrt, *map(str, verb.words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * verb.seconds)
        number = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)[i % 3]
        process.send_signal(number)
        process.wait()
    verb.finish_after("after kills")


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="rrt-files-"))
    text = work / "text.txt"
    text.write_text("".join(f"the cat sat on the mat, the rat ate {i % 7} oats; one loop and on we go.\n" for i in range(200)))
    golden, model, out = here / "data/models/llama", work / "model", work / "place/out"
    code, said = run(["convert", golden, model, "--loops", 2, "--rank", 2])
    check(code == 0, "convert", said)
    verbs = {
        "convert": ["convert", golden, out, "--loops", 2, "-t", 1], "quantize": ["quantize", model, f"{out}.gguf", "q8_0", "-t", 1],
        "export": ["export", model, out, "--to", "peft", "-t", 1],
        "teach": ["teach", "-m", model, "--data", text, "-o", out, "--top", 4, "-c", 16, "-t", 1],
        "train": ["train", model, "-o", out, "--data", text, "--tokens", 6400, "--batch", 2, "--ctx", 16, "-t", 1, "--checkpoint-steps", 9, "--resume", "auto"]}
    mounts = may_mount()
    if not mounts: print("full file systems: skipped, only root may mount one")
    try:
        for name, words in verbs.items():
            if args.only and name != args.only: continue
            verb = Verb(name, words, work / "place")
            old = verb.keep(work / f"old-{name}")
            for kind in kinds: test_calls(verb, old, kind)
            test_calls(verb, old, "rename", NO_EXCHANGE=1)
            test_memory(verb, old)
            test_full_disk(verb, old)
            if mounts: test_no_room(verb, old)
            test_kills(verb)
            print(name, "done", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
