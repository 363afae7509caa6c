"""Hostile HTTP: broken and random requests, a thousand clients. The server goes on, answers others meanwhile, and (in the
build for that) AddressSanitizer has nothing to say: test_serve_hostile.py RRT."""
import json
import os
import random
import resource
import socket
import time

from serve import Server, raw_post, run, until

SEED = int(os.environ.get("RRT_SEED", "1"))
BODIES = [
    {"prompt": "the cat", "max_tokens": 3, "stop": ["a", "\n"], "seed": 1, "temperature": 0.5},
    {"prompt": [[1, 2, 3], "a"], "echo": True, "logprobs": 2, "max_tokens": 0, "stream": True},
    {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2, "logprobs": True, "top_logprobs": 1, "stream": True},
    {"prompt": "a", "max_tokens": 4, "rrt": {"exit": {"rule": "confidence", "threshold": 0.1}, "kv_policy": "copy", "max_loops": 2}},
    {"prompt": "a", "rrt": {"draft_loops": 1, "draft_tokens": 2}, "temperature": 0, "max_tokens": 5, "ignore_eos": True},
    {"tokens": [1, 2, 3]},
]
PATHS = ["/v1/completions", "/v1/chat/completions", "/apply-template", "/tokenize", "/detokenize", "/v1/models", "/metrics", "/", "/health", "/x/../y"]
VALUES = [None, True, -1, 0, 1e308, -1e308, 2**63 - 1, -2**63, 1.5, "", "a" * 3000, "\u20ac\U0001f600", "\u0000", [], {}, [[]], [None],
          [0] * 600, [96, 97], [-1], ["a"] * 9, {"rule": 1}, {"type": "text"}, "confidence:nan", "loops:-1", "gate:1"]
SPICE = [b"\xff\xfe", b"\0", b"\r\n\r\n", b"{" * 50, b"[" * 3000, b"\\ud800", b'"', b"%s%n", b"\xc3", b"-", b"9" * 400, b"1e999"]


def mangle_values(chance, body):
    """Some value within becomes another."""
    body = json.loads(json.dumps(body))
    at = body
    while True:
        key = chance.choice(list(at)) if isinstance(at, dict) else chance.randrange(len(at))
        if isinstance(at[key], (dict, list)) and at[key] and chance.random() < 0.6:
            at = at[key]
            continue
        at[key] = chance.choice(VALUES)
        return body


def mangle_bytes(chance, data):
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(4)
        if how == 0:
            data[at:at] = chance.choice(SPICE)
        elif how == 1:
            del data[at:at + chance.randint(1, 20)]
        elif how == 2 and at < len(data):
            data[at] = chance.randrange(256)
        else:
            del data[at:]
    return bytes(data)


def make_request(chance):
    body = chance.choice(BODIES)
    if chance.random() < 0.6:
        body = mangle_values(chance, body)
    data = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode()
    if chance.random() < 0.3:
        data = mangle_bytes(chance, data)
    request = raw_post(chance.choice(PATHS[:4] if chance.random() < 0.8 else PATHS), data)
    if chance.random() < 0.3:
        request = mangle_bytes(chance, request)
    return request


def send(server, request):
    """Sends and reads what comes, or goes away. A server that is well never answers with 500."""
    s = server.connect()
    s.settimeout(0.02)
    try:
        s.sendall(request)
        reply = s.recv(65536)
        assert not reply.startswith(b"HTTP/1.1 500"), (request, reply)
    except OSError:
        pass
    s.close()


def test_random_requests(model):
    chance = random.Random(SEED)
    server = Server(model, "--timeout", "2").wait_ready()
    end = time.monotonic() + 4
    count = 0
    while time.monotonic() < end:
        for _ in range(20):
            send(server, make_request(chance))
        count += 20
        start = time.monotonic()
        assert server.get("/health")[0] == 200
        assert time.monotonic() - start < 2, "others had to wait"
    print(f"  {count} requests", flush=True)
    until(lambda: server.metric("rrt_num_requests_running") == server.metric("rrt_num_requests_waiting") == 0, 5)
    server.complete(prompt="a", max_tokens=2)
    server.stop()


def test_many_clients(model):
    """A thousand at a time: some silent, some in the middle of a request, some waiting for a reply, some not reading it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limit[1]), limit[1]))
    server = Server(model, "--parallel", "4", "--queue", "2000", "--timeout", "3").wait_ready()
    request = raw_post("/v1/completions", {"prompt": "the cat", "max_tokens": 5, "ignore_eos": True})
    stream = raw_post("/v1/completions", {"prompt": "the cat", "max_tokens": 5, "ignore_eos": True, "stream": True})
    beginnings = [b"", request[:20], request[:-3], request, stream]
    clients = []
    for i in range(1000):
        clients.append(server.connect())
        clients[i].sendall(beginnings[i % 5])
    start = time.monotonic()
    server.complete(prompt="a", max_tokens=2)
    assert time.monotonic() - start < 10
    for i, client in enumerate(clients):
        if i % 5 >= 3:
            assert client.recv(65536).startswith(b"HTTP/1.1 200"), i
    # Those that never finish their request are cut off.
    for i, client in enumerate(clients):
        client.settimeout(10)
        if i % 5 < 3:
            try:
                assert client.recv(1000) == b"" or i % 5
            except ConnectionError:
                pass
        client.close()
    server.stop()


def test_out_of_connections(model):
    """More clients than are let in: those that are there are served."""
    server = Server(model, "--connections", "10", "--timeout", "2").wait_ready()
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
    clients[0].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in clients[0].recv(1000)
    for client in clients:
        client.close()
    until(lambda: server.get("/health")[0] == 200, 5)
    server.stop()


if __name__ == "__main__":
    run([test_random_requests, test_many_clients, test_out_of_connections])
