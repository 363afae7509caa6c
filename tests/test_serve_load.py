"""`rrt serve` with more than it can do, clients that go, stopping, and who may ask: test_serve_load.py RRT."""
import signal
import socket
import subprocess
import time

from serve import LONG, RRT, Server, raw_post, run, until

ROOM = ("--kv-tokens", "1M")


def running(server):
    return server.metric("rrt_num_requests_running"), server.metric("rrt_num_requests_waiting")


def test_full(model):
    server = Server(model, "--parallel", "1", "--queue", "1", *ROOM).wait_ready()
    first = server.begin()
    until(lambda: running(server) == (1, 0), 5)
    second = server.begin()
    until(lambda: running(server) == (1, 1), 5)
    status, headers, reply = server.ask("POST", "/v1/completions", {"prompt": "a"})
    assert status == 429 and headers["Retry-After"] == "1" and reply["error"]["type"] == "rate_limit_error"
    assert server.metric("rrt_requests_refused_total") == 1
    # Who goes leaves the place to others within a second, whether the request waits or runs.
    second.close()
    until(lambda: running(server) == (1, 0), 1)
    third = server.begin(max_tokens=3)
    until(lambda: running(server) == (1, 1), 5)
    first.close()
    assert b"200 OK" in third.recv(65536)
    until(lambda: running(server) == (0, 0), 1)
    text = server.get("/metrics")[1]
    assert 'finished_reason="abort"} 2' in text and 'finished_reason="length"} 1' in text
    assert server.metric("rrt_kv_cache_usage_perc") <= 3e-4, "pages of requests that are gone"  # one is kept for prompts alike
    server.stop()


def test_many_prompts_gone(model):
    server = Server(model, "--parallel", "2", *ROOM).wait_ready()
    s = server.begin(prompt=["a", "the", "cat", "loop"])
    until(lambda: running(server) == (2, 2), 5)
    s.close()
    until(lambda: running(server) == (0, 0), 1)
    server.stop()


def test_streaming_client_goes(model):
    server = Server(model, *ROOM).wait_ready()
    s = server.begin(stream=True)
    assert b"data: " in s.recv(65536) + s.recv(65536)
    s.close()
    until(lambda: running(server) == (0, 0), 1)
    server.stop()


def test_slow_reader(model):
    """It is dropped, and others do not notice."""
    server = Server(model, *ROOM).wait_ready()
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", server.port))
    slow.sendall(raw_post("/v1/completions", {"prompt": ["a"] * 8, "ignore_eos": True, "max_tokens": 20_000, "stream": True,
                                              "logprobs": 20}))
    until(lambda: running(server)[0] > 0, 5)
    start = time.monotonic()
    server.complete(prompt="a", max_tokens=20)
    assert time.monotonic() - start < 2
    until(lambda: running(server) == (0, 0), 30)
    assert 'finished_reason="abort"} 8' in server.get("/metrics")[1]
    server.stop()


def test_drain(model):
    server = Server(model, "--parallel", "1", *ROOM).wait_ready()
    s = server.begin(stream=True, max_tokens=1500)
    waiting = server.begin(max_tokens=5)
    until(lambda: running(server) == (1, 1), 5)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.get("/health") == (503, {"status": "draining"}), 1)
    status, headers, reply = server.ask("POST", "/v1/completions", {"prompt": "a"})
    assert status == 503 and headers["Retry-After"] and reply["error"]["type"] == "unavailable_error"
    text = b""
    while not text.endswith(b"0\r\n\r\n"):
        piece = s.recv(1 << 20)
        assert piece, text[-100:]
        text = text[-100:] + piece
    assert b"data: [DONE]" in text
    assert b'"finish_reason":"length"' in waiting.recv(65536)
    server.stop()


def test_second_signal(model):
    server = Server(model, "--parallel", "1", *ROOM).wait_ready()
    whole = server.begin()
    until(lambda: running(server) == (1, 0), 5)
    stream = server.begin(stream=True)
    until(lambda: running(server) == (1, 1), 5)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.get("/health")[0] == 503, 1)
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert b"HTTP/1.1 503" in whole.recv(65536)
    text = b""
    while piece := stream.recv(65536):
        text += piece
    assert text.startswith(b"HTTP/1.1 503") and b'"type":"unavailable_error"' in text, text  # it had not begun
    server.stop()
    assert time.monotonic() - start < 2


def test_keys(model):
    server = Server(model, "--api-key", "one", "two")
    until(lambda: server.get("/health")[0] == 200, 60)
    for key, expected in ((None, 401), ("Bearer on", 401), ("Bearer onee", 401), ("one", 401), ("Basic one", 401), ("Bearer one", 200),
                          ("Bearer two", 200), ("bearer two", 200)):
        status, headers, reply = server.ask("GET", "/v1/models", None, {"Authorization": key} if key else {})
        assert status == expected, key
        if status == 401:
            assert reply["error"]["type"] == "authentication_error" and headers["WWW-Authenticate"] == "Bearer"
    assert server.get("/metrics")[0] == 401 and server.get("/")[0] == 200 and server.get("/nothing")[0] == 401
    server.stop()
    server = Server(model, env={"RRT_API_KEY": "secret", "RRT_ALIAS": "mine", "RRT_LOG_PROMPTS": "0"})
    until(lambda: server.get("/health")[0] == 200, 60)
    assert server.get("/v1/models")[0] == 401
    assert server.get("/v1/models", Authorization="Bearer secret")[1]["data"][0]["id"] == "mine"
    server.stop()


def test_hosts_and_origins(model):
    server = Server(model, "--allow-host", "api.example", "--allow-origin", "https://page.example").wait_ready()
    for host, expected in (("localhost", 200), ("localhost:99", 200), ("127.0.0.1:1", 200), ("[::1]:8080", 200), ("10.1.2.3", 200),
                           ("api.example", 200), ("API.example:80", 200), ("evil.example", 403), ("localhost.evil.example", 403),
                           ("127.0.0.1.evil.example", 403), ("", 403), ("api.example.evil", 403)):
        assert server.get("/health", Host=host)[0] == expected, host
    for origin, expected in (("http://localhost:5", 200), ("http://localhost:6", 403), ("null", 403), ("https://evil.example", 403),
                             ("https://page.example", 200)):
        status, headers, _ = server.ask("GET", "/health", None, {"Host": "localhost:5", "Origin": origin})
        assert status == expected, origin
        assert (headers["Access-Control-Allow-Origin"] == origin) == (origin == "https://page.example")
    status, headers, _ = server.ask("OPTIONS", "/v1/completions", None, {"Origin": "https://page.example"})
    assert status == 204 and headers["Access-Control-Allow-Origin"] and headers["Access-Control-Allow-Methods"]
    assert server.ask("OPTIONS", "/v1/completions", None, {"Origin": "https://evil.example"})[0] == 403
    server.stop()


def test_log(model):
    for options, expected in (((), False), (("--log-prompts",), True)):
        server = Server(model, *options).wait_ready()
        server.complete(prompt="the fat cat", max_tokens=1)
        server.stop()
        assert ("the fat cat" in "".join(server.log)) == expected


def test_wrong_usage(model):
    def fails(code, what, *arguments):
        done = subprocess.run([RRT, "serve", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == code and what in done.stderr and done.stdout == "", done
    fails(2, "-m MODEL is missing")
    fails(2, "--port", "-m", model, "--port", "99999")
    fails(1, "/nowhere", "-m", "/nowhere", "--port", "0")
    fails(1, "no such address", "-m", model, "--host", "no.such.name.invalid")
    fails(2, "nothing", "-m", model, "--port", "0", "--chat-template", "nothing")
    fails(1, "rrt train MODEL --gates", "-m", model, "--port", "0", "--exit", "gate:0.5")
    fails(1, "none is stored", "-m", model, "--port", "0", "--exit", "agreement:95%")
    fails(1, "--kv shared", "-m", model, "--port", "0", "--kv", "shared")
    fails(1, "the tag 'include'", "-m", model, "--port", "0", "--chat-template", "{% include 'x' %}")
    server = Server(model).wait_ready()
    fails(1, f"port {server.port}", "-m", model, "--port", str(server.port))
    server.stop()


if __name__ == "__main__":
    run([t for name, t in list(globals().items()) if name.startswith("test_")], context=2 * LONG)
