"""Requests by which one client could take the server from the others, or have it say what is not so: test_serve_abuse.py RRT."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

from serve import LONG, RRT, Server, raw_post, read_all, run, until

ROOM = ("--kv-tokens", "1M")
OTHER = "127.0.0.2"  # another client


def running(server):
    return server.metric("rrt_num_requests_running"), server.metric("rrt_num_requests_waiting")


def running_of(server, headers):
    text = server.ask("GET", "/metrics", None, headers)[2]
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("rrt_num_requests_"))


def status_of(reply):
    return int(reply.split(b" ", 2)[1])


def test_memory_of_bodies(model):
    """What a request holds does not grow with what it does not say to us, and nothing of it is left afterwards."""
    server = Server(model, "--parallel", "8", *ROOM).wait_ready()
    before, bound = server.memory_mb(), server.bound_mb()
    unknown = b'{"prompt":"Once","max_tokens":100000,"ignore_eos":true,"x":[%s0]}'
    held = [server.connect() for _ in range(8)]
    for s in held:  # as many values as may be, in 0.4 MB, and they wait or run
        s.sendall(raw_post("/v1/completions", unknown % (b"{}," * 100_000)))
    until(lambda: running(server) == (8, 0), 30)
    until(lambda: server.keeps_memory() or server.memory_mb() < before + 40, 10)
    for s in held:
        s.close()
    for body, expected in ((unknown % (b"{}," * 1_000_000), 400), (unknown % (b"1," * 1_900_000), 400), (b"[" * 3_000_000, 400),
                           (b"{" + b" " * 5_000_000, 413), (b'{"prompt":[' + b'"a",' * 900_000 + b'"a"]}', 400),
                           (b'{"prompt":"' + b"\\u0061" * 600_000 + b'"}', 400)):
        assert status_of(read_all_of(server, body)) == expected
    assert server.keeps_memory() or server.memory_mb("VmHWM") < bound, (server.memory_mb("VmHWM"), bound)
    until(lambda: server.keeps_memory() or server.memory_mb() < before + 60, 10)
    server.stop()


def read_all_of(server, body, path="/v1/completions"):
    s = server.connect()
    s.sendall(raw_post(path, body, "Connection: close\r\n"))
    return read_all(s)


def test_memory_of_replies(model):
    """What would not fit is refused before it runs: for ever, or until others are done."""
    server = Server(model, "--max-held", "10M", *ROOM).wait_ready()
    body = {"prompt": ["a"] * 1000, "max_tokens": 100, "logprobs": 20, "ignore_eos": True}
    status, reply = server.post("/v1/completions", body)
    assert status == 413 and reply["error"]["code"] == "request_too_large", reply
    assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 100_000, "ignore_eos": True})[0] == 413
    streams = [server.begin(prompt="a", stream=True, max_tokens=80_000) for _ in range(3)]
    until(lambda: running(server) == (3, 0), 5)
    status, headers, reply = server.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 30_000})
    assert status == 429 and headers["Retry-After"] == "1" and reply["error"]["code"] == "no_room", reply
    server.complete(prompt="a", max_tokens=3)
    for s in streams:
        s.close()
    server.stop()


def test_too_long(model):
    """By its bytes alone, in the words of any prompt that is too long."""
    server = Server(model).wait_ready()
    for path, param, body in (
            ("/v1/completions", "prompt", {"prompt": " " * 3_000_000}), ("/v1/completions", "prompt", {"prompt": ["a", "a" * 3_000_000]}),
            ("/v1/chat/completions", "messages", {"messages": [{"role": "user", "content": "a" * 3_000_000}]}),
            ("/v1/chat/completions", "messages", {"messages": [{"role": "user", "content": "a"}] * 40_000}),
            ("/apply-template", "messages", {"messages": [{"role": "user", "content": "a" * 3_000_000}]})):
        status, reply = server.post(path, body)
        error = reply["error"]
        assert status == 400 and error["type"] == "exceed_context_size_error" and error["param"] == param, (path, reply)
        assert "bytes" in error["message"], reply
    assert server.post("/tokenize", {"prompt": "a" * 1_000_000})[1]["count"] > 100_000
    server.stop()


def test_many_prompts(model):
    """Other requests run between the prompts of one, of the same client too, and neither is refused."""
    server = Server(model, "--parallel", "2", "--queue", "4", *ROOM).wait_ready()
    alone = server.complete(prompt="the cat", max_tokens=8, temperature=0, ignore_eos=True)["choices"][0]["text"]
    crowd = server.begin(prompt=["a", "the"] * 2048, max_tokens=200)
    until(lambda: running(server)[1] > 3000, 20)
    for source in ("127.0.0.1", OTHER, "127.0.0.1"):
        status, _, reply = server.ask("POST", "/v1/completions", {"prompt": "the cat", "max_tokens": 8, "temperature": 0, "ignore_eos": True},
                                      source=source)
        assert status == 200 and reply["choices"][0]["text"] == alone
    assert running(server)[1] > 1000
    crowd.close()
    until(lambda: running(server) == (0, 0), 5)
    server.stop()


def test_places(model):
    """A client may not take all places for those that wait; by key where there are keys."""
    for options, mine, other in ((), {}, OTHER), (("--api-key", "one", "two"), {"Authorization": "Bearer one"}, "127.0.0.1"):
        server = Server(model, "--parallel", "1", "--queue", "17", *ROOM, *options)
        until(lambda: server.get("/health")[0] == 200, 60)
        extra = "".join(f"{k}: {v}\r\n" for k, v in mine.items())
        crowd = [server.connect() for _ in range(16)]
        body = {"prompt": "a", "ignore_eos": True, "max_tokens": 2000, "stream": True}
        for s in crowd:
            s.sendall(raw_post("/v1/completions", {**body, "max_tokens": LONG} if s is crowd[0] else body, extra))
        until(lambda: running_of(server, mine) == 16, 5)
        assert server.ask("POST", "/v1/completions", {"prompt": "a"}, mine)[0] == 429
        crowd[0].close()  # the place is the other's, who has none, before it is anyone's who waits
        status, _, _ = server.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1},
                                  {"Authorization": "Bearer two"} if mine else {}, source=other)
        assert status == 200
        for s in crowd:
            s.close()
        server.stop()


def test_half_closed(model):
    """Who says that no more will be sent gets the answer, whenever that is there."""
    server = Server(model, "--parallel", "1", *ROOM).wait_ready()
    requests = [raw_post("/v1/completions", {"prompt": "the cat", "max_tokens": 20, "ignore_eos": True, "stream": stream})
                for stream in (False, True)] + [b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", raw_post("/tokenize", {"prompt": "a" * 100_000})]
    for request in requests * 8:
        s = server.connect()
        s.sendall(request)
        s.shutdown(socket.SHUT_WR)
        reply = read_all(s)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n"), reply[:200]
        assert reply.endswith((b"}", b"\r\n0\r\n\r\n")), reply[-200:]
    long = server.begin()
    until(lambda: running(server) == (1, 0), 5)
    waiting = [server.connect() for _ in range(3)]
    for s, request in zip(waiting, requests * 2):
        s.sendall(request)
        s.shutdown(socket.SHUT_WR)
    waiting[2].close()
    until(lambda: running(server) == (1, 2), 5)
    time.sleep(2.5)  # it is asked several times whether it is there
    assert running(server) == (1, 2), running(server)
    long.close()
    for s in waiting[:2]:
        reply = read_all(s)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n") and reply.endswith((b"}", b"\r\n0\r\n\r\n")), reply
    server.stop()


def test_two_lengths(model):
    """A request whose end is not certain is refused, and what follows it is not read as another."""
    server = Server(model).wait_ready()
    body = b'{"prompt":"a"}'
    hidden = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    heads = [f"Content-Length: {len(body)}\r\nContent-Length: {len(body)}\r\n", f"Content-Length: {len(body)}\r\ncontent-length: 0\r\n",
             "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
             "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"]
    for head in heads:
        for path in ("/tokenize", "/health", "/nothing"):
            data = b"0\r\n\r\n" if "chunked" in head else body
            s = server.connect()
            s.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + data + hidden)
            reply = read_all(s)
            assert reply.startswith(b"HTTP/1.1 400 ") and reply.count(b"HTTP/1.1") == 1, (head, reply)
            assert b"application/json" in reply and b'"ambiguous_length"' in reply, (head, reply)
    server.stop()


def test_odd_heads(model):
    server = Server(model).wait_ready()
    for path in ("/health%00x", "/health%00", "/%00", "/v1/models%00/../health", "/health%2500"):
        assert server.get(path)[0] == 404, path
    assert server.get("/h%65alth")[0] == 200
    for given, comes_back in (("mine-1.2:3", True), ("a\x1b[31mb", False), ("a\x01", False), ("a\x7f", False), ("a b", False), ("\xe9", False),
                              ("a" * 128, True), ("a" * 129, False), ("", False)):
        _, headers, _ = server.ask("GET", "/health", None, {"X-Request-Id": given})
        assert (headers["X-Request-Id"] == given) == comes_back and headers["X-Request-Id"], repr(given)
    server.stop()


def test_warning(model):
    for host, options, expected in (("0.0.0.0", (), True), ("0.0.0.0", ("--api-key", "k"), False), ("127.0.0.1", (), False)):
        process = subprocess.Popen([RRT, "serve", "-m", model, "--port", "0", "-t", "1", "--host", host, *options], stderr=subprocess.PIPE,
                                   text=True)
        lines = []
        while not any("ready" in line for line in lines):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stderr.close()
        assert any("warning" in line and "--api-key" in line for line in lines) == expected, lines


def test_drain_ends(model):
    """Also where a reply is never finished, or never read."""
    server = Server(model, "--drain-timeout", "1", *ROOM).wait_ready()
    streams = [server.begin(stream=True, prompt=["a"] * 4), server.begin()]
    until(lambda: running(server) == (5, 0), 5)
    server.stop()
    assert b"unavailable_error" in read_all(streams[1])


if __name__ == "__main__":
    run([test_memory_of_bodies, test_memory_of_replies, test_too_long, test_many_prompts, test_places, test_half_closed, test_two_lengths,
         test_odd_heads, test_warning, test_drain_ends], LONG + 1000)
