#!/usr/bin/env python3
"""The server against llama-server: bench/server-against-llama.py LLAMA_SERVER PEER.gguf OURS.gguf [--clients 64] [--rounds 3]

Both get the same requests from as many streaming clients at once: prompts of 32 to 96 tokens (given as ids), 64 tokens each, greedy,
two requests a client. In turns, each time with a fresh server; medians of: output tokens/s, time to the first token (p50, p95), time
between tokens (p95), seconds until the server is ready, most memory resident. A token is timed when its event arrives.

llama-server comes with llama.cpp; the sdist of llama-cpp-python has its source:

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python && tar xzf llama_cpp_python-*.tar.gz
    cmake -S llama_cpp_python-*/vendor/llama.cpp -B OUT -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF && cmake --build OUT --target llama-server
"""
import argparse
import json
import random
import selectors
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request

THREADS, TOKENS, REQUESTS = 2, 64, 2


def start(name, args):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    common = ["--host", "127.0.0.1", "--port", str(port), "-t", str(THREADS), "--parallel", str(args.clients)]
    room = str(args.clients * 256)
    command = {"rrt": ["build/rrt", "serve", "-m", args.ours, "--kv-tokens", room],
               "llama-server": [args.llama_server, "-m", args.peer, "-c", room, "--no-webui"]}[name] + common
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(6000):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
            return process, port, time.perf_counter() - begin
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    raise SystemExit(f"{name} does not start")


def peak_memory(process):
    """MB"""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) / 1000 for line in status if line.startswith("VmHWM"))


class Client:
    """A connection that streams one completion after the other."""

    def __init__(self, port, requests):
        self.port, self.requests = port, requests
        self.first, self.between, self.tokens = [], [], 0
        self.begin()

    def begin(self):
        body = json.dumps({"prompt": self.requests.pop(0), "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "stream": True,
                           "cache_prompt": False}).encode()
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
                            b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.rest, self.last, self.sent = b"", None, time.perf_counter()

    def read(self):
        """False once all is done."""
        piece = self.socket.recv(1 << 16)
        now = time.perf_counter()
        *events, self.rest = (self.rest + piece).split(b"\n\n")
        for event in events:
            at = event.find(b"data: {")
            if at < 0:
                continue
            choice = json.loads(event[at + 6:])["choices"]
            if not choice or choice[0]["finish_reason"] and not choice[0]["text"]:
                continue
            if self.last is None:
                self.first.append(now - self.sent)
            else:
                self.between.append(now - self.last)
            self.last, self.tokens = now, self.tokens + 1
        if piece:
            return True
        self.socket.close()
        if not self.requests:
            return False
        self.begin()
        return None


def measure(name, args):
    process, port, ready = start(name, args)
    chance = random.Random(1)
    prompts = [[[chance.randrange(100, 20000) for _ in range(chance.randint(32, 96))] for _ in range(REQUESTS)] for _ in range(args.clients)]
    begin = time.perf_counter()
    selector = selectors.DefaultSelector()
    clients = [Client(port, list(p)) for p in prompts]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    while selector.get_map():
        for key, _ in selector.select():
            going = key.data.read()
            if not going:
                selector.unregister(key.fileobj)
            if going is None:
                selector.register(key.data.socket, selectors.EVENT_READ, key.data)
    seconds = time.perf_counter() - begin
    memory = peak_memory(process)
    process.terminate()
    process.wait()
    first = statistics.quantiles((t for c in clients for t in c.first), n=100)
    between = statistics.quantiles((t for c in clients for t in c.between), n=100)
    # Tokens that show no text have no event: what was asked for is what was made.
    return {"tokens/s": args.clients * REQUESTS * TOKENS / seconds, "first p50": first[49], "first p95": first[94], "between p95": between[94],
            "ready": ready, "MB": memory, "events": sum(c.tokens for c in clients)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llama_server")
    parser.add_argument("peer")
    parser.add_argument("ours")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    found = {"llama-server": [], "rrt": []}
    for _ in range(args.rounds):
        for name, runs in found.items():
            runs.append(measure(name, args))
            print(name, {k: round(v, 3) for k, v in runs[-1].items()}, flush=True)
    medians = {name: {k: statistics.median(r[k] for r in runs) for k in runs[0]} for name, runs in found.items()}
    columns = {"tokens/s": "tokens/s", "first p50": "first token p50, s", "first p95": "p95", "between p95": "between tokens p95, s",
               "ready": "ready, s", "MB": "peak MB"}
    print(f"\n| {args.clients} clients | " + " | ".join(columns.values()) + " |\n| --- " + "| --- " * len(columns) + "|")
    for name, m in medians.items():
        print(f"| {name} | " + " | ".join(f"{m[k]:.{1 if m[k] > 50 else 3}f}" for k in columns) + " |")
    print("| ratio | " + " | ".join(f"{medians['rrt'][k] / medians['llama-server'][k]:.2f}" for k in columns) + " |")


if __name__ == "__main__":
    main()
