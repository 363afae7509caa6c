"""A storm over `rrt serve`: `make storm`. Half of the time 64 honest clients, then the same with attackers among them.

    tests/storm_server.py RRT [MODEL]            a tiny model with random weights if none is named
    STORM_SECONDS=600                            in all; 60 is a short run
    STORM_SEED=1, STORM_THREADS=1, STORM_OPTIONS="--max-body 16M"

Checked: every honest reply is the one that the same request gets alone; /health within 100 ms at the 99.9th percentile and never
above a second; the 99.9th percentile of the gaps between tokens of honest streams at most twice as long with the attackers as without;
memory below what the server says at its start. The honest are of one address, the attackers of three others."""
import collections
import contextlib
import http.client
import json
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import threading
import time

from serve import Server, make_model, raw_post

SECONDS = float(os.environ.get("STORM_SECONDS", "600"))
SEED = int(os.environ.get("STORM_SEED", "1"))
CLIENTS, ATTACKERS = 64, 8
HONEST, HOSTILE = "127.0.0.1", ("127.0.0.2", "127.0.0.3", "127.0.0.4")
FAILED = []


def failed(*what):
    FAILED.append(what)
    print("FAILED:", *what, flush=True)


# --- honest ------------------------------------------------------------------------------------------------

WORDS = "the cat loops over a fat mat and sat on one more loop of that".split()


def make_requests(chance, count):
    """(path, body): greedy or with a seed, so that each has one answer."""
    requests = []
    for i in range(count):
        text = " ".join(chance.choice(WORDS) for _ in range(chance.choice((2, 5, 20, 60))))
        body = {"max_tokens": chance.choice((1, 8, 24, 48)), "seed": i, "temperature": chance.choice((0, 0.8)), "ignore_eos": True}
        kind = chance.randrange(6)
        if kind == 0:
            requests.append(("/tokenize", {"prompt": text}))
        elif kind == 1:
            requests.append(("/v1/completions", {**body, "prompt": [text, text[:7]], "echo": True, "logprobs": 2}))
        elif kind == 2:
            requests.append(("/v1/completions", {**body, "prompt": text}))
        else:
            requests.append(("/v1/completions", {**body, "prompt": text, "stream": True}))
    return requests


def ask(server, path, body, source, gaps=None):
    """What the reply says, without what is never twice the same; None: refused for now."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300, source_address=(source, 0))
    try:
        connection.request("POST", path, json.dumps(body))
        reply = connection.getresponse()
        if reply.status in (429, 503):
            reply.read()
            return None
        if reply.status != 200:
            return reply.status, reply.read()
        if not body.get("stream"):
            return content_of(json.loads(reply.read()))
        text, last = "", None
        while line := reply.readline():
            if not line.startswith(b"data: {"):
                continue
            now, before = time.monotonic(), last
            last = now
            if before is not None and gaps is not None:
                gaps.append(now - before)
            text += json.loads(line[6:])["choices"][0]["text"]
        return text
    finally:
        connection.close()


def content_of(reply):
    return [{k: v for k, v in c.items() if k != "rrt"} for c in reply["choices"]] if "choices" in reply else reply


def honest(server, index, requests, alone, stop, found):
    chance = random.Random(SEED * 1000 + index)
    while not stop.is_set():
        i = chance.randrange(len(requests))
        try:
            got = ask(server, *requests[i], HONEST, found["gaps"])
        except (OSError, http.client.HTTPException) as error:
            failed("an honest client lost its reply:", repr(error), requests[i])
            continue
        found["honest"] += 1
        if got is None:
            found["refused"] += 1
            time.sleep(0.2)
        elif got != alone[i]:
            failed("another answer than alone:", requests[i], got, alone[i])


def health(server, stop, results):
    waits, wrong = [], []
    while not stop.is_set():
        start = time.monotonic()
        status = server.get("/health")[0]
        waits.append(time.monotonic() - start)
        if status != 200:
            wrong.append(status)
        time.sleep(0.05)
    results.put((waits, wrong))


def watch(server, stop, found):
    while not stop.is_set():
        found["memory"] = max(found["memory"], server.memory_mb())
        time.sleep(0.02)


# --- hostile -----------------------------------------------------------------------------------------------

def many_messages(chance, count):
    return {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * (count // 2) +
            [{"role": "user", "content": "a"}], "max_tokens": 1}


def hostile_bodies(chance):
    """(path, body as bytes), of about the size that the server takes, or more."""
    size = chance.choice((60_000, 1_000_000, 3_900_000, 15_000_000))
    unknown = b'{"prompt":"Once","max_tokens":64,"ignore_eos":true,"x":[%s0]}'
    pick = chance.randrange(12)
    if pick == 0:
        return "/v1/completions", json.dumps({"prompt": chance.choice((" ", "a", "\n", "é", "1 ", "<|im_end|>")) * (size // 10)}).encode()
    if pick == 1:
        return "/v1/chat/completions", json.dumps(many_messages(chance, size // 40)).encode()
    if pick == 2:
        return "/v1/completions", unknown % (chance.choice((b"{},", b"[],", b"1,", b'"",', b'{"a":[]},')) * (size // 9))
    if pick == 3:
        return "/v1/completions", json.dumps({"prompt": ["a"] * 4096, "max_tokens": chance.choice((1, 16))}).encode()
    if pick == 4:
        return "/v1/completions", json.dumps({"prompt": ["a", "the"] * 500, "max_tokens": 8, "logprobs": 20, "echo": True}).encode()
    if pick == 5:
        return "/tokenize", json.dumps({"prompt": chance.choice((" ", "a", "ab ")) * (size // 3)}).encode()
    if pick == 6:
        return "/detokenize", json.dumps({"tokens": [1] * (size // 8)}).encode()
    if pick == 7:
        return "/apply-template", json.dumps(many_messages(chance, size // 100)).encode()
    if pick == 8:
        return "/v1/completions", b"[" * size
    if pick == 9:
        return "/v1/completions", json.dumps({"prompt": "a", "stop": ["a" * 1000] * 4, "max_tokens": 64}).encode()
    if pick == 10:
        return "/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": "a" * (size // 2)}], "tools": [{}] * 1000}).encode()
    return "/v1/completions", json.dumps({"prompt": [1] * (size // 4), "max_tokens": 0, "echo": True, "logprobs": 20}).encode()


def hostile_request(chance):
    path, body = hostile_bodies(chance)
    how = chance.randrange(8)
    if how == 0:  # fuzzed
        body = bytearray(body)
        for _ in range(4):
            body[chance.randrange(len(body))] = chance.randrange(256)
        body = bytes(body)
    if how == 1:
        return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode() + body[:2000]
    if how == 2:
        return f"GET /health%00x HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: \x1b[2J\x01\r\n\r\n".encode()
    if how == 3:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[at:at + 9000] for at in range(0, len(body), 9000)))
        return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + pieces + b"0\r\n\r\n"
    return raw_post(path, body)


def hostile(server, index, stop, results):
    """Sends, and reads the reply, or leaves it, or closes half or all of the connection."""
    os.nice(19)  # an attacker's requests are not made at the server's cost
    chance, count = random.Random(SEED * 2000 + index), 0
    while not stop.is_set():
        with contextlib.suppress(OSError), socket.create_connection(
                ("127.0.0.1", server.port), timeout=20, source_address=(HOSTILE[index % len(HOSTILE)], 0)) as s:
            count += 1
            s.sendall(hostile_request(chance))
            end = chance.randrange(5)
            if end == 0:
                continue
            if end == 1:
                s.shutdown(socket.SHUT_WR)
            if end == 2:
                time.sleep(chance.random())
                continue
            s.settimeout(chance.choice((0.5, 5)))
            while s.recv(1 << 20):
                pass
    results.put(count)


# --- the storm ---------------------------------------------------------------------------------------------

def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))] if values else 0.


def blow(server, requests, alone, seconds, attackers):
    stop, found = multiprocessing.Event(), collections.defaultdict(float, gaps=[])
    counts, looks = multiprocessing.Queue(), multiprocessing.Queue()
    # Processes of their own, so that what they measure and make does not wait for another's turn in Python.
    others = [multiprocessing.Process(target=hostile, args=(server, i, stop, counts), daemon=True) for i in range(attackers)]
    others += [multiprocessing.Process(target=health, args=(server, stop, looks), daemon=True)]
    threads = [threading.Thread(target=honest, args=(server, i, requests, alone, stop, found), daemon=True) for i in range(CLIENTS - attackers)]
    threads += [threading.Thread(target=watch, args=(server, stop, found))]
    for t in others + threads:
        t.start()
    time.sleep(seconds)
    stop.set()
    found["hostile"] = sum(counts.get(timeout=300) for _ in range(attackers))
    found["health"], wrong = looks.get(timeout=300)
    if wrong:
        failed("/health:", wrong)
    for t in threads:
        t.join(300)
        if t.is_alive():
            failed("a client still waits for its reply")
    gaps, waits = [percentile(found["gaps"], p) * 1e3 for p in (0.5, 0.999, 1)], [percentile(found["health"], p) * 1e3 for p in (0.5, 0.999, 1)]
    print(f"{attackers} attackers: {found['honest']:.0f} honest requests ({found['refused']:.0f} refused), {found['hostile']:.0f} hostile; "
          "gaps {:.1f}, {:.1f}, {:.1f} ms; /health {:.1f}, {:.1f}, {:.1f} ms (median, 99.9 %, most)".format(*gaps, *waits) +
          f"; {found['memory']:.0f} MB", flush=True)
    return gaps[1], waits, found["memory"]


def storm(model):
    chance = random.Random(SEED)
    server = Server(model, "-t", os.environ.get("STORM_THREADS", "1"), *os.environ.get("STORM_OPTIONS", "").split()).wait_ready()
    requests = make_requests(chance, 60)
    alone = [ask(server, *request, HONEST) for request in requests]
    bound = server.bound_mb()
    quiet, _, _ = blow(server, requests, alone, SECONDS / 2, 0)
    loud, waits, memory = blow(server, requests, alone, SECONDS / 2, ATTACKERS)
    print(f"memory {memory:.0f} MB of at most {bound}; afterwards {server.memory_mb():.0f}", flush=True)
    if loud > 2 * quiet:
        failed(f"gaps of {loud * 1:.1f} ms, {quiet:.1f} without the attackers")
    if waits[1] > 100 or waits[2] > 1000:
        failed(f"/health took {waits[1]:.1f} ms, once {waits[2]:.1f}")
    if memory > bound:
        failed(f"{memory:.0f} MB, more than the {bound} that it says")
    server.stop()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        storm(sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as folder:
            storm(make_model(folder, 2048))
    sys.exit(bool(FAILED))
