"""What the tests of `rrt serve` share: a server with a tiny recursive model, and requests to it. Standard library only."""
import atexit
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

RRT, DATA = sys.argv[1], os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CHATML += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{% if refuses %}{{ raise_exception('as asked') }}{% endif %}"
CONTEXT = 512
LONG = 200_000  # tokens: minutes, even for a tiny model


def make_model(folder, context):
    """A llama of 2 loops x 2 layers with random weights, a ChatML tokenizer, and room for so many tokens."""
    source = os.path.join(folder, "source")
    shutil.copytree(os.path.join(DATA, "models/llama"), source)
    config = json.load(open(os.path.join(source, "config.json")))
    config["max_position_embeddings"] = context
    json.dump(config, open(os.path.join(source, "config.json"), "w"))
    model = os.path.join(folder, "tiny")
    subprocess.run([RRT, "convert", source, model, "--loops", "2"], check=True, capture_output=True)
    tokenizer = json.load(open(os.path.join(source, "tokenizer.json")))
    for i, text in enumerate(("<|im_start|>", "<|im_end|>")):
        tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 94 + i, "content": text})
    json.dump(tokenizer, open(os.path.join(model, "tokenizer.json"), "w"))
    json.dump({"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "add_bos_token": False, "chat_template": CHATML},
              open(os.path.join(model, "tokenizer_config.json"), "w"))
    return model


def write_safetensors(path, tensors):
    """tensors: name -> (shape, values)."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        block = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(block)]}
        data += block
    head = json.dumps(header).encode()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(head)) + head + data)


def make_thinking_model(folder):
    """A folder with a tokenizer.model and no tokenizer.json. Its layers add nothing: the next token hangs on the last one, and
    after a line break the model says <think> the</think> and ends."""
    source, model = os.path.join(DATA, "tokenizer-sentencepiece"), os.path.join(folder, "thinking")
    shutil.copytree(source, model, ignore=shutil.ignore_patterns("*.jsonl"))
    shutil.copy(os.path.join(DATA, "thinking.jinja"), os.path.join(model, "chat_template.jinja"))
    line, the, end, think, ends, vocab, hidden = 13, 264, 401, 403, 404, 405, 32
    config = json.load(open(os.path.join(DATA, "models/llama/config.json")))
    config |= {"vocab_size": vocab, "num_hidden_layers": 1, "bos_token_id": 400, "eos_token_id": end, "max_position_embeddings": 512}
    json.dump(config, open(os.path.join(model, "config.json"), "w"))
    kinds = {line: 1, think: 2, the: 3, ends: 4}  # of the last token
    says = {1: think, 2: the, 3: ends, 4: end}
    inside = {"self_attn.q_proj": (32, 32), "self_attn.k_proj": (16, 32), "self_attn.v_proj": (16, 32), "self_attn.o_proj": (32, 32),
              "mlp.gate_proj": (40, 32), "mlp.up_proj": (40, 32), "mlp.down_proj": (32, 40)}
    tensors = {f"model.layers.0.{name}.weight": (shape, [0.0] * (shape[0] * shape[1])) for name, shape in inside.items()}
    for name in ("model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm"):
        tensors[name + ".weight"] = ((hidden,), [1.0] * hidden)
    rows = [[float(i == kinds.get(token, 0)) for i in range(hidden)] for token in range(vocab)]
    heads = [[float(says.get(i) == token) for i in range(hidden)] for token in range(vocab)]
    tensors["model.embed_tokens.weight"] = ((vocab, hidden), sum(rows, []))
    tensors["lm_head.weight"] = ((vocab, hidden), sum(heads, []))
    write_safetensors(os.path.join(model, "model.safetensors"), tensors)
    return model


class Server:
    def __init__(self, model, *options, env=None):
        self.log = []
        self.process = subprocess.Popen([RRT, "serve", "-m", model, "--port", "0", "-t", "1", *options], stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, **(env or {})})
        atexit.register(self.process.kill)  # after a test that failed
        line = self.process.stderr.readline()
        assert line.startswith("listening at http://127.0.0.1:"), line
        self.port = int(line.rsplit(":", 1)[1])
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def wait_ready(self):
        until(lambda: self.get("/health")[0] == 200, 60)
        return self

    def connect(self, source="127.0.0.1"):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60, source_address=(source, 0))

    def memory_mb(self, name="VmRSS"):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024 / 1e6
        raise AssertionError(name)

    def keeps_memory(self):
        """AddressSanitizer and ThreadSanitizer do not give back what was freed."""
        binary = open(RRT, "rb").read()
        return b"__asan_init" in binary or b"__tsan_init" in binary

    def bound_mb(self):
        """What it says that all may take."""
        until(lambda: any("memory at most" in line for line in self.log), 5)
        return int(next(re.search(r"memory at most (\d+) MB", line) for line in self.log if "memory at most" in line)[1])

    def ask(self, method, path, body=None, headers=None, source="127.0.0.1"):
        """(status, headers, parsed JSON or text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(source, 0))
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        is_json = (reply.headers["Content-Type"] or "").startswith("application/json")
        return reply.status, reply.headers, json.loads(text) if is_json and text else text.decode()

    def get(self, path, **headers):
        status, _, body = self.ask("GET", path, None, headers)
        return status, body

    def post(self, path, body):
        status, _, reply = self.ask("POST", path, body)
        return status, reply

    def complete(self, **body):
        status, reply = self.post("/v1/completions", body)
        assert status == 200, (status, reply)
        return reply

    def events(self, path="/v1/completions", **body):
        """The events of a streamed reply, [DONE] not among them."""
        status, _, text = self.ask("POST", path, {**body, "stream": True})
        assert status == 200, text
        return parse_events(text)

    def begin(self, **body):
        """A connection on which a long reply is to come."""
        s = self.connect()
        s.sendall(raw_post("/v1/completions", {"prompt": "a", "ignore_eos": True, "max_tokens": LONG, **body}))
        return s

    def metric(self, name):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name + "{") or line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(name + " is not among the metrics")

    def stop(self, expected=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.reader.join(10)
        assert code == expected, (code, "".join(self.log))


def raw_post(path, body, extra=""):
    data = json.dumps(body).encode() if not isinstance(body, bytes) else body
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{extra}Content-Length: {len(data)}\r\n\r\n").encode() + data


def read_all(s):
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := s.recv(1 << 20):
            data += piece
    s.close()
    return data


def parse_events(text):
    blocks = text.split("\n\n")
    assert blocks[-1] == "" and blocks[-2] == "data: [DONE]", blocks[-3:]
    assert all(b.startswith("data: ") for b in blocks[:-1]), blocks
    return [json.loads(b[6:]) for b in blocks[:-2]]


def until(condition, seconds):
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ConnectionError):
            if condition():
                return
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def run(tests, context=CONTEXT):
    """Runs every function with a model in a temporary folder; prints what fails."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(folder, context)
        for test in tests:
            start = time.monotonic()
            test(model)
            print(f"{test.__name__}: {time.monotonic() - start:.2f} s", flush=True)
