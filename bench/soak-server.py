#!/usr/bin/env python3
"""The server under concurrent load for minutes: bench/soak-server.py MODEL.gguf MINUTES

More clients than places: readers (streams and whole replies, completions and chats), some that go while they wait or half way, slow
readers, one that stops reading, and bad requests. Reported: the server's memory after the first minute and at the end, what is in use
once all have gone, what was answered, and how long a place stayed taken whose client had closed its connection. Exits with 1 if
memory grew by 5 %, a place was taken for a second, anything stayed in use, or a reply was wrong: the same request has to get the
same reply beside whatever runs, which a quantised model promises. MODEL's vocabulary has 20,000 ids at least, and it chats.
"""
import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

PLACES, READERS, GOERS, SLOW = 8, 16, 2, 2
PAUSE = 3  # seconds between samples
Sample = collections.namedtuple("Sample", "files resident run wait pages")  # resident: MB; pages: part in use
LINE = "{:>6} s: {} files open, {:.0f} MB resident, {:.0f} run, {:.0f} wait, {:.0%} of pages in use"
BAD = [("POST", "/v1/completions", body, 400) for body in
       ("{", "[]", '{"prompt": []}', '{"prompt": [1000000000]}', '{"prompt": "a", "temperature": -1}', '{"prompt": "a", "n": 2}',
        '{"prompt": "a", "max_tokens": 1000000}', '{"prompt": "a", "rrt": {"exit": "soon:1"}}')] + [
      ("POST", "/v1/chat/completions", '{"messages": [{"content": "a"}]}', 400),
      ("POST", "/v1/completions", '{"prompt": "a", "model": "other"}', 404), ("GET", "/nothing", None, 404), ("DELETE", "/v1/models", None, 405)]


class Clock:
    """Seconds, but for those in which this process itself was stopped."""

    def __init__(self):
        self.stopped = 0
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while True:
            begin = time.monotonic()
            time.sleep(0.05)
            if (gap := time.monotonic() - begin) > 0.5:
                self.stopped += gap

    def now(self):
        return time.monotonic() - self.stopped


CLOCK = Clock()


class Server:
    def __init__(self, model):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        # One thread: the crowd needs a core too.
        self.process = subprocess.Popen(["build/rrt", "serve", "-m", model, "--port", str(self.port), "--parallel", str(PLACES), "-t", "1"],
                                        stderr=subprocess.DEVNULL)
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health")
                return
            time.sleep(0.1)
        raise SystemExit("the server does not start")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request(method, path, body)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, text

    def begin(self, body, receive_buffer=1 << 16):
        """A connection on which a completion is to come."""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(300)
        s.connect(("127.0.0.1", self.port))
        data = json.dumps({"ignore_eos": True, **body}).encode()
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        return s

    def metric(self, name, label=""):
        lines = self.ask("GET", "/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"rrt_{name}{{") and label in line)

    def fill(self):
        """Touches all pages of keys and values, which have room for 1,024 tokens of each request."""
        prompts = [ids(random.Random(i), 1008) for i in range(PLACES)]
        self.ask("POST", "/v1/completions", json.dumps({"prompt": prompts, "max_tokens": 17, "ignore_eos": True}))

    def sample(self):
        process = f"/proc/{self.process.pid}"
        files, pages = len(os.listdir(process + "/fd")), int(open(process + "/statm").read().split()[1])
        return Sample(files, pages * os.sysconf("SC_PAGESIZE") / 1e6, self.metric("num_requests_running"),
                      self.metric("num_requests_waiting"), self.metric("kv_cache_usage_perc"))


def ids(chance, count):
    return [chance.randrange(100, 20_000) for _ in range(count)]


def make_requests(chance):
    """(path, body) of requests that get the same reply each time; half of the prompts begin alike."""
    begin = ids(chance, 70)
    out = [("/v1/completions", {"prompt": begin * (i % 2) + ids(chance, chance.randint(1, 100)), "max_tokens": chance.randint(1, 96),
                                "temperature": i % 3 / 2, "seed": i, "ignore_eos": True, **({"echo": True, "logprobs": 1} if i % 8 == 0 else {})})
           for i in range(56)]
    return out + [("/v1/chat/completions", {"messages": [{"role": "user", "content": f"Tell me {i} facts."}], "max_tokens": 48, "temperature": 0})
                  for i in range(8)]


def text_of(reply, streams):
    """None if it has no end."""
    parts = [p[6:] for p in reply.split("\n\n") if p.startswith("data: {")] if streams else [reply]
    choices = [json.loads(p)["choices"][0] for p in parts]
    if choices[-1]["finish_reason"] not in ("stop", "length"):
        return None
    return "".join(c["text"] if "text" in c else c["delta" if streams else "message"]["content"] for c in choices)


class Crowd:
    def __init__(self, server):
        self.server, self.requests = server, make_requests(random.Random(1))
        self.replies, self.wrong, self.counts = {}, [], collections.Counter()
        self.freed = {"waited": [], "ran": []}  # (seconds, steps)
        self.lock, self.over = threading.Lock(), threading.Event()
        self.aborting = threading.Lock()  # one at a time, so that it is known whose place fell free
        clients = [self.read] * READERS + [self.go] * GOERS + [self.dawdle] * SLOW + [self.stare, self.err]
        self.threads = [threading.Thread(target=self.repeat, args=(c, random.Random(i))) for i, c in enumerate(clients)]
        for thread in self.threads:  # one after the other: prompts that come at once make a long step
            thread.start()
            time.sleep(0.5)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, client, chance):
        while not self.over.is_set():
            try:
                client(chance)
            except Exception as error:  # a connection that broke is a finding, not the end
                self.wrong.append(f"{client.__name__}: {error!r}")
                time.sleep(1)

    def count(self, what, is_well, found):
        with self.lock:
            self.counts[what] += 1
            if not is_well:
                self.wrong.append(f"{what}: {found}")

    def read(self, chance):
        i, streams = chance.randrange(len(self.requests)), chance.random() < 0.7
        path, body = self.requests[i]
        status, reply = self.server.ask("POST", path, json.dumps({**body, "stream": streams}))
        text = text_of(reply, streams) if status == 200 else None
        self.count("streamed" if streams else "whole", text is not None and self.replies.setdefault(i, text) == text, reply[-300:])

    def wait_aborted(self, count, most):
        """Seconds, and steps of the engine, until so many have been aborted."""
        begin, steps = CLOCK.now(), self.server.metric("engine_steps_total")
        while self.server.metric("request_success_total", '"abort"') < count:
            if CLOCK.now() - begin > most:
                raise TimeoutError("the place is not free")
            time.sleep(0.01)
        end, steps = time.monotonic(), self.server.metric("engine_steps_total") - steps
        time.sleep(0.1)  # until the clock knows whether we were stopped
        return end - CLOCK.stopped - begin, steps

    def go(self, chance):
        hurries, got = chance.random() < 0.5, b""
        with self.aborting:
            aborted = self.server.metric("request_success_total", '"abort"')
            s = self.server.begin({"prompt": ids(chance, 50), "max_tokens": 900, "stream": not hurries or chance.random() < 0.5})
            s.settimeout(chance.uniform(0.01, 0.3) if hurries else 300)
            with contextlib.suppress(TimeoutError):
                while b"data: {" not in got:
                    got += s.recv(1 << 16)
            if not hurries:
                time.sleep(chance.uniform(0, 1))
            s.close()
            found = self.wait_aborted(aborted + 1, 30)
        self.freed["ran" if b"data: {" in got else "waited"].append(found)
        time.sleep(0.1)

    def dawdle(self, chance):
        s, end = self.server.begin({"prompt": ids(chance, 50), "max_tokens": 150, "stream": True, "logprobs": 5}, 4096), b""
        while piece := s.recv(512):
            end = (end + piece)[-40:]
            time.sleep(0.1)
        s.close()
        self.count("slow", b"data: [DONE]" in end, end)

    def stare(self, chance):
        """Reads nothing, and is dropped once a megabyte waits for it."""
        with self.aborting:
            aborted = self.server.metric("request_success_total", '"abort"')
            s = self.server.begin({"prompt": [ids(chance, 20) for _ in range(4)], "max_tokens": 900, "stream": True, "logprobs": 20}, 4096)
            self.wait_aborted(aborted + 4, 120)
            s.close()
        self.count("dropped", True, "")
        self.over.wait(60)

    def err(self, chance):
        method, path, body, expected = chance.choice(BAD)
        status, reply = self.server.ask(method, path, body)
        self.count("refused", status == expected, (body, reply))
        time.sleep(0.1)


def watch(server, seconds):
    begin, samples = CLOCK.now(), []
    while CLOCK.now() < begin + seconds:
        time.sleep(PAUSE)
        samples.append(server.sample())
        if len(samples) % 10 == 1:
            print(LINE.format(round(CLOCK.now() - begin), *samples[-1]), flush=True)
    return samples


def wait_idle(server):
    for _ in range(100):
        now = server.sample()
        if now.run == now.wait == 0:
            break
        time.sleep(0.1)
    time.sleep(1)  # connections are closed, too
    return server.sample()


def judge(server, crowd, before, samples, idle):
    """Prints what was found; whether all is well."""
    warm, most = samples[min(60 // PAUSE, len(samples) // 2)].resident, max(s.resident for s in samples)
    made, cached, steps = (server.metric(n + "_total") for n in ("generation_tokens", "prefix_cache_hits", "engine_steps"))
    print(f"MB resident: {before.resident:.0f} with all pages touched, {warm:.0f} after the first minute, {samples[-1].resident:.0f} at the end, "
          f"{most:.0f} at most, {idle.resident:.0f} idle; files open: {before.files}, {samples[-1].files}, idle {idle.files}")
    print(f"idle: {idle.run:.0f} run, {idle.wait:.0f} wait, {idle.pages:.0%} of pages in use")
    print(f"{made:.0f} tokens made in {steps:.0f} steps, {cached:.0f} cached; answered:",
          ", ".join(f"{n} {what}" for what, n in sorted(crowd.counts.items())))
    for what, found in crowd.freed.items():
        seconds, steps = max(found)
        print(f"{len(found)} clients gone that {what}: their places were free after {sorted(found)[len(found) // 2][0]:.2f} s (median), "
              f"{seconds:.2f} s ({steps:.0f} steps) at most")
    print(f"{len(crowd.wrong)} wrong", *crowd.wrong[:10], sep="\n  ")
    slowest = max(seconds for found in crowd.freed.values() for seconds, _ in found)
    is_clean = (idle.run, idle.wait, idle.pages) == (0, 0, 0) and idle.files <= before.files
    return is_clean and not crowd.wrong and slowest < 1 and most < 1.05 * warm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("minutes", type=float)
    args = parser.parse_args()
    server = Server(args.model)
    try:
        server.fill()
        before = wait_idle(server)
        crowd = Crowd(server)
        samples = watch(server, args.minutes * 60)
        crowd.stop()
        is_well = judge(server, crowd, before, samples, wait_idle(server))
    finally:
        server.process.terminate()
        code = server.process.wait(60)
    return code != 0 or not is_well


if __name__ == "__main__":
    sys.exit(main())
