"""What clients of `rrt serve` get: test_serve_api.py RRT."""
import json
import math
import os
import re
import subprocess

from serve import CONTEXT, DATA, RRT, Server, make_thinking_model, raw_post, run, until

SERVER = None


def error_of(status, reply, kind, param=None):
    error = reply["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert error["type"] == kind and error["param"] == param and error["message"], error
    return status


def refuse(path, body, status, kind="invalid_request_error", param=None):
    got, reply = SERVER.post(path, body)
    assert got == status, (body, got, reply)
    error_of(got, reply, kind, param)


def test_small_endpoints(_):
    assert SERVER.get("/health") == (200, {"status": "ok"})
    status, models = SERVER.get("/v1/models")
    model = models["data"][0]
    assert status == 200 and models["object"] == "list" and model["id"] == "tiny" and model["object"] == "model"
    assert model["max_model_len"] == CONTEXT and model["rrt"]["loops"] == 2 and model["rrt"]["chat"] is True
    status, text = SERVER.get("/")
    assert status == 200 and "<html" in text
    status, headers, _ = SERVER.ask("GET", "/health", None, {"X-Request-Id": "mine"})
    assert headers["X-Request-Id"] == "mine"
    assert SERVER.ask("HEAD", "/health")[0] == 200


def test_tokenizer(_):
    status, info = SERVER.get("/tokenizer_info")
    assert status == 200 and info["eos_token"] == "<|im_end|>" and info["bos_token"] and "im_start" in info["chat_template"]
    for name in ("prompt", "content"):
        status, reply = SERVER.post("/tokenize", {name: "the loops", "add_special_tokens": False})
        assert status == 200 and reply["count"] == len(reply["tokens"]) > 0
        status, back = SERVER.post("/detokenize", {"tokens": reply["tokens"]})
        assert back["prompt"] == back["content"] == "the loops"
    assert SERVER.post("/tokenize", {"prompt": "<|im_end|>"})[1]["tokens"] == [95]
    assert len(SERVER.post("/tokenize", {"prompt": "<|im_end|>", "parse_special": False})[1]["tokens"]) != 1
    assert SERVER.post("/detokenize", {"tokens": []})[1]["prompt"] == ""
    odd = {"id": 10**30, "score": float("nan"), "limit": -float("inf")}  # as Python writes them, where nobody reads them
    assert SERVER.post("/tokenize", {"prompt": "the loops"} | odd)[0] == 200
    refuse("/v1/completions", {"prompt": "a", "temperature": float("inf")}, 400, param="temperature")
    refuse("/v1/completions", {"prompt": "a", "max_tokens": 10**30}, 400, param="max_tokens")
    refuse("/tokenize", {"prompt": 3}, 400)
    refuse("/detokenize", {"tokens": [97]}, 400)
    refuse("/detokenize", {"tokens": "a"}, 400)


def test_prompts(_):
    ids = SERVER.post("/tokenize", {"prompt": "the cat"})[1]["tokens"]
    options = {"temperature": 0, "max_tokens": 6, "ignore_eos": True}
    text = SERVER.complete(prompt="the cat", **options)["choices"][0]["text"]
    assert SERVER.complete(prompt=ids, **options)["choices"][0]["text"] == text
    for prompts in (["the cat", "a loop"], [ids, [5, 6]], [ids, "a loop"]):
        reply = SERVER.complete(prompt=prompts, **options)
        assert sorted(c["index"] for c in reply["choices"]) == [0, 1]
        assert reply["choices"][0]["text"] == text
    assert SERVER.complete(prompt=ids, **options)["usage"] == usage_of(len(ids), 6)


def usage_of(prompt, made, cached=0):
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made,
            "prompt_tokens_details": {"cached_tokens": cached}}


def test_cached_tokens(_):
    """Whole pages of 16, but never the last token of the prompt."""
    options = {"prompt": [3, 1, 4, 1, 5] * 10, "max_tokens": 5, "ignore_eos": True}
    for cached in (0, 48):
        reply = SERVER.complete(**options)
        assert reply["usage"] == usage_of(50, 5, cached)
        assert reply["timings"]["cache_n"] == cached and reply["timings"]["prompt_n"] == 50 - cached
    assert SERVER.events(**options, stream_options={"include_usage": True})[-1]["usage"] == usage_of(50, 5, 48)
    two = SERVER.complete(**{**options, "prompt": [options["prompt"], options["prompt"][:33]]})
    assert two["usage"] == usage_of(83, 10, 48 + 32)
    assert SERVER.complete(**{**options, "max_tokens": 0})["usage"] == usage_of(50, 0, 48)
    assert SERVER.complete(**options, echo=True, logprobs=0)["usage"] == usage_of(50, 5)  # all of the prompt is wanted


def check_echo(reply, prompts):
    for choice, ids in zip(sorted(reply["choices"], key=lambda c: c["index"]), prompts, strict=True):
        logprobs = choice["logprobs"]
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            assert len(logprobs[name]) == len(ids) + 1, name
        assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
        for token, own, top in list(zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"]))[1:]:
            assert top[token] == own and own <= max(top.values()) and math.isfinite(own) and 1 <= len(top) <= 2
        assert logprobs["token_logprobs"][-1] == max(logprobs["top_logprobs"][-1].values())  # it was made greedily


def test_echo(_):
    """As lm-eval asks, and what it reads."""
    prompts = [list(range(1, 40)), [7], [3, 9, 27] * 20]
    asked = {"temperature": 0, "logprobs": 1, "seed": 1234, "echo": True, "prompt": prompts}
    check_echo(SERVER.complete(max_tokens=1, **asked), prompts)
    none = SERVER.complete(max_tokens=0, **asked)
    assert [len(c["logprobs"]["tokens"]) for c in none["choices"]] == [len(p) for p in prompts]
    assert none["usage"]["completion_tokens"] == 0
    # The last token is there even if it ends the text. Make that the likeliest by choosing the prompt for it.
    for start in range(94):
        reply = SERVER.complete(prompt=[start], max_tokens=300, temperature=0, echo=True, logprobs=1)
        if reply["choices"][0]["finish_reason"] == "stop":
            made = reply["usage"]["completion_tokens"]
            assert reply["choices"][0]["logprobs"]["tokens"][-1] in ("<|im_end|>", "<|endoftext|>")
            assert len(reply["choices"][0]["logprobs"]["tokens"]) == made + 1
            assert not reply["choices"][0]["text"].endswith(("<|im_end|>", "<|endoftext|>"))
            break
    else:
        raise AssertionError("no prompt leads to an end token")
    echo = SERVER.complete(prompt="the cat", echo=True, max_tokens=4, logprobs=0, temperature=0)["choices"][0]
    assert echo["text"].startswith("the cat") and all(len(t) == 1 for t in echo["logprobs"]["top_logprobs"][1:])
    assert echo["text"] == "".join(echo["logprobs"]["tokens"])
    for token, offset in zip(echo["logprobs"]["tokens"], echo["logprobs"]["text_offset"]):
        assert echo["text"][offset:].startswith(token)
    streamed = SERVER.events(prompt="the cat", echo=True, max_tokens=4, logprobs=0, temperature=0)
    assert "".join(e["choices"][0]["text"] for e in streamed) == echo["text"]
    assert sum((e["choices"][0]["logprobs"]["tokens"] for e in streamed if e["choices"][0]["logprobs"]), []) == \
        echo["logprobs"]["tokens"]


def test_sampling(_):
    options = {"prompt": "the", "max_tokens": 20, "ignore_eos": True}
    first = SERVER.complete(seed=1, **options)["choices"][0]["text"]
    assert SERVER.complete(seed=1, **options)["choices"][0]["text"] == first
    assert SERVER.complete(seed=2, **options)["choices"][0]["text"] != first
    assert len({SERVER.complete(**options)["choices"][0]["text"] for _ in range(3)}) == 3  # no seed: another each time
    greedy = SERVER.complete(temperature=0, **options)["choices"][0]["text"]
    assert SERVER.complete(top_k=1, seed=3, **options)["choices"][0]["text"] == greedy
    assert SERVER.complete(top_p=1e-9, seed=3, **options)["choices"][0]["text"] == greedy
    assert SERVER.complete(min_p=1, seed=3, **options)["choices"][0]["text"] == greedy


def test_stream_equals_whole(_):
    for options in ({"seed": 5}, {"temperature": 0}, {"seed": 6, "logprobs": 3}, {"seed": 7, "rrt": {"exit": "confidence:0.02"}}):
        options = {"prompt": "a cat", "max_tokens": 40, "ignore_eos": True, **options}
        whole = SERVER.complete(**options)
        events = SERVER.events(**options, stream_options={"include_usage": True})
        assert events[-1]["choices"] == [] and events[-1]["usage"] == whole["usage"]
        events = events[:-1]
        assert all(e["id"] == events[0]["id"] and e["object"] == "text_completion" and e["model"] == "tiny" for e in events)
        assert "".join(e["choices"][0]["text"] for e in events) == whole["choices"][0]["text"]
        assert [e["choices"][0]["finish_reason"] for e in events] == [None] * (len(events) - 1) + ["length"]
        assert sum((e["rrt"]["exit_depths"] for e in events), []) == whole["rrt"]["exit_depths"]
        if "logprobs" in options:
            parts = [e["choices"][0]["logprobs"] for e in events if e["choices"][0]["logprobs"]]
            for name, values in whole["choices"][0]["logprobs"].items():
                assert sum((p[name] for p in parts), []) == values


def test_several_streams_in_one(_):
    options = {"prompt": ["a", "the", "cat"], "max_tokens": 12, "temperature": 0, "ignore_eos": True}
    whole = SERVER.complete(**options)
    events = SERVER.events(**options)
    for choice in whole["choices"]:
        mine = [e["choices"][0] for e in events if e["choices"][0]["index"] == choice["index"]]
        assert "".join(c["text"] for c in mine) == choice["text"] and mine[-1]["finish_reason"] == choice["finish_reason"]


def test_stop(_):
    options = {"prompt": "the loops", "max_tokens": 60, "seed": 11, "ignore_eos": True}
    full = SERVER.complete(**options)["choices"][0]["text"]
    for stop in (full[5:9], [full[20:22], full[8:13], "not there"], full[-3:]):
        words = [stop] if isinstance(stop, str) else stop
        end = min(full.index(w) for w in words if w in full)
        choice = SERVER.complete(**options, stop=stop)["choices"][0]
        assert choice["text"] == full[:end] and choice["finish_reason"] == "stop", (full, stop, choice)
        events = SERVER.events(**options, stop=stop)
        shown = ""
        for event in events:
            shown += event["choices"][0]["text"]
            assert full[:end].startswith(shown)  # nothing of a stop string ever shows
        assert shown == full[:end]
    refuse("/v1/completions", {"prompt": "a", "stop": ["a"] * 5}, 400, param="stop")
    refuse("/v1/completions", {"prompt": "a", "stop": ""}, 400, param="stop")


def test_chat(_):
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": [{"type": "text", "text": "the cat"}]}]
    options = {"messages": messages, "temperature": 0, "max_tokens": 12, "ignore_eos": True}
    status, reply = SERVER.post("/v1/chat/completions", {**options, "logprobs": True, "top_logprobs": 2})
    assert status == 200 and reply["object"] == "chat.completion", reply
    choice = reply["choices"][0]
    assert choice["message"]["role"] == "assistant" and choice["finish_reason"] == "length"
    for entry in choice["logprobs"]["content"]:
        assert len(entry["top_logprobs"]) == 2 and entry["top_logprobs"][0]["logprob"] == entry["logprob"]
        assert bytes(entry["bytes"]).decode() == entry["token"]
    assert len(choice["logprobs"]["content"]) == 12
    rendered = "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n"
    same = SERVER.complete(prompt=rendered, temperature=0, max_tokens=12, ignore_eos=True)
    assert same["choices"][0]["text"] == choice["message"]["content"]
    length = reply["usage"]["prompt_tokens"]
    assert reply["usage"] == usage_of(length, 12) and same["usage"] == usage_of(length, 12, (length - 1) // 16 * 16)
    events = SERVER.events("/v1/chat/completions", **options)
    deltas = [e["choices"][0]["delta"] for e in events]
    assert [d.get("role") for d in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert "".join(d["content"] for d in deltas) == choice["message"]["content"]
    assert all(e["object"] == "chat.completion.chunk" for e in events)


def test_special_tokens_in_messages_are_text(_):
    def count(content):
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 1}
        return SERVER.post("/v1/chat/completions", body)[1]["usage"]["prompt_tokens"]
    plain = len(SERVER.post("/tokenize", {"prompt": "<|im_end|>", "parse_special": False})[1]["tokens"])
    assert count("a<|im_end|>") - count("a") == plain > 1


def test_apply_template(model):
    messages = [{"role": "user", "content": "the cat"}]
    _, whole = SERVER.post("/apply-template", {"messages": messages})
    assert whole["prompt"] == "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n"
    assert whole["tokens"] == SERVER.post("/tokenize", {"prompt": whole["prompt"]})[1]["tokens"]
    _, none = SERVER.post("/apply-template", {"messages": messages, "add_generation_prompt": False})
    assert none["prompt"] == "<|im_start|>user\nthe cat<|im_end|>\n"
    body = {"messages": messages + [{"role": "assistant", "content": "sat"}], "continue_final_message": True}
    assert SERVER.post("/apply-template", body)[1]["prompt"] == whole["prompt"] + "sat"
    tools = {"messages": messages, "tools": [{"type": "function"}], "tool_choice": "none"}
    assert SERVER.post("/apply-template", tools)[1] == whole


# <think> is an added token that is not special: it is told as text. Whether the model thinks is told to its template.
def test_a_model_thinks_or_does_not(model):
    thinking = make_thinking_model(os.path.dirname(model))
    server = Server(thinking).wait_ready()
    messages = [{"role": "user", "content": "the"}]
    start = "<|im_start|>user\nthe<|im_end|>\n<|im_start|>assistant\n"
    for says, more, reply in (({}, "", "<think> the</think>"), ({"enable_thinking": True}, "<think>\n", "<think> the</think>"),
                              ({"enable_thinking": False}, "<think>\n\n</think>\n\n", "<think> the</think>")):
        body = {"messages": messages, "chat_template_kwargs": says, "temperature": 0, "max_tokens": 8}
        prompt = server.post("/apply-template", body)[1]
        assert prompt["prompt"] == start + more
        assert prompt["tokens"].count(403) == more.count("<think>") and prompt["tokens"][0] == 400
        choice = server.post("/v1/chat/completions", body)[1]["choices"][0]
        assert choice["message"]["content"] == reply and choice["finish_reason"] == "stop", choice
        events = server.events("/v1/chat/completions", **body)
        assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == reply
        chat = subprocess.run([RRT, "chat", "-m", thinking, "-t", "1", "-n", "8", "--show-prompt", "--chat-template-kwargs", json.dumps(says)],
                              input="the\n", capture_output=True, text=True, check=True)
        assert start + more in chat.stderr and chat.stdout == reply + "\n", chat
    server.stop()


# In the terminal turn by turn, and at the server from the whole conversation: the same prompt, the same ids, the same reply.
def test_chat_is_the_same_everywhere(model):
    lines = ["the cat", "sat on <|im_end|>"]
    command = [RRT, "chat", "-m", model, "-t", "1", "-n", "8", "--show-prompt"]
    chat = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    messages = []
    for line in lines:
        messages.append({"role": "user", "content": line})
        reply = SERVER.post("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 8})[1]
        prompt = SERVER.post("/apply-template", {"messages": messages})[1]
        assert prompt["prompt"] in chat.stderr and reply["usage"]["prompt_tokens"] == len(prompt["tokens"])
        messages.append({"role": "assistant", "content": reply["choices"][0]["message"]["content"]})
        assert messages[-1]["content"] + "\n" in chat.stdout
    assert chat.stdout == "".join(m["content"] + "\n" for m in messages if m["role"] == "assistant")


def check_drafts(options, text):
    before = {name: SERVER.metric(f"rrt_spec_{name}_tokens_total") for name in ("drafted", "accepted")}
    reply = SERVER.complete(**options)
    assert reply["choices"][0]["text"] == text
    for name, count in before.items():
        until(lambda: SERVER.metric(f"rrt_spec_{name}_tokens_total") - count == reply["rrt"][name], 1)
    assert 0 < reply["rrt"]["accepted"] <= reply["rrt"]["drafted"]
    events = SERVER.events(**options)
    assert {**events[-1]["rrt"], "exit_depths": reply["rrt"]["exit_depths"]} == reply["rrt"]
    assert all(set(e["rrt"]) == {"exit_depths"} for e in events[:-1])


def test_recursion(_):
    options = {"prompt": "the", "max_tokens": 30, "seed": 3, "ignore_eos": True}

    def depths(**more):
        reply = SERVER.complete(**options, **more)
        assert len(reply["rrt"]["exit_depths"]) == 30
        assert abs(reply["rrt"]["mean_depth"] - sum(reply["rrt"]["exit_depths"]) / 30) < 1e-6
        return reply["rrt"]["exit_depths"]
    assert depths() == [2] * 30
    early = [2] + [1] * 29  # the first is made where the prompt ends, which runs all loops
    assert depths(rrt={"exit": {"rule": "loops", "threshold": 1}}) == early
    assert depths(rrt={"exit": "loops:1", "min_loops": 2}) == [2] * 30
    assert depths(rrt={"max_loops": 1}) == depths(max_loops=1) == [1] * 30
    assert depths(exit_threshold=0) == early and depths(exit_threshold=1) == [2] * 30  # of confidence: no gate
    for kv in ("propagate", "copy", "recompute"):
        assert 1 in depths(rrt={"exit": "confidence:0.02", "kv_policy": kv})
    whole = SERVER.complete(**{**options, "temperature": 0})["choices"][0]["text"]
    check_drafts({**options, "temperature": 0, "rrt": {"draft_loops": 1, "draft_tokens": 3}}, whole)
    refuse("/v1/completions", {"prompt": "a", "rrt": {"exit": "confidense:0.5"}}, 400)
    refuse("/v1/completions", {"prompt": "a", "rrt": {"exit": "gate:0.5"}, "stream": True}, 400, "not_supported_error")
    refuse("/v1/completions", {"prompt": "a", "rrt": {"max_loops": 3}}, 400)
    refuse("/v1/completions", {"prompt": "a", "rrt": {"loop": 1}}, 400, param="rrt.loop")
    refuse("/v1/completions", {"prompt": "a", "rrt": {"kv_policy": "none"}}, 400)


def test_bad_values(_):
    for name, value in {"temperature": -1, "top_p": 2, "max_tokens": -1, "seed": "x", "stream": 1, "logprobs": 21, "echo": "yes",
                        "top_k": 1.5, "stop": 3, "rrt": [], "min_loops": 0}.items():
        refuse("/v1/completions", {"prompt": "a", name: value}, 400, param=name)
    for name, value in {"n": 2, "tools": [{}], "documents": [{}], "response_format": {"type": "json_object"}, "logit_bias": {"5": 1}, "suffix": "x",
                        "frequency_penalty": 0.5, "best_of": 3}.items():
        refuse("/v1/completions", {"prompt": "a", name: value}, 400, "not_supported_error", name)
    SERVER.complete(prompt="a", n=1, tools=None, response_format={"type": "text"}, logit_bias={}, user="me", unknown=[1], max_tokens=1)
    for prompt in (None, 3, [], [[]], "", [None], [97], [1, "a"], [1.5], {"a": 1}):
        refuse("/v1/completions", {"prompt": prompt}, 400, param="prompt")
    for messages in (None, [], [{}], [{"content": "a"}], [{"role": 1}], "a", [{"role": "user", "content": 5}], [5]):
        refuse("/v1/chat/completions", {"messages": messages}, 400, param="messages")
        refuse("/apply-template", {"messages": messages}, 400, param="messages")
    for name, value in {"tools": {}, "chat_template_kwargs": [], "add_generation_prompt": "yes", "continue_final_message": 1,
                        "documents": 3}.items():
        refuse("/apply-template", {"messages": [{"role": "user", "content": "a"}], name: value}, 400, param=name)
    refuse("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "tools": [{}], "tool_choice": "required"}, 400,
           "not_supported_error", "tool_choice")
    refuse("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"refuses": True}},
                     400, param="messages")
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}]
    refuse("/v1/chat/completions", {"messages": image}, 400, "not_supported_error", "messages")
    refuse("/v1/completions", {"prompt": [5] * (CONTEXT - 5), "max_tokens": 6}, 400, "exceed_context_size_error", "prompt")
    refuse("/v1/completions", {"prompt": [5] * CONTEXT}, 400, "exceed_context_size_error", "prompt")
    refuse("/v1/completions", {"prompt": "a", "model": "gpt"}, 404, "not_found_error", "model")
    SERVER.complete(prompt=[5] * (CONTEXT - 6), max_tokens=6, model="tiny")


def test_bad_requests(_):
    for body in ("", "{", "[]", "null", '{"prompt": "\xff"}'.encode("latin-1"), '{"prompt": "\\ud800"}', '{"a":1,"a":2}',
                 "[" * 100000, '{"prompt":"a"} x', "\0"):
        refuse("/v1/completions", body, 400)
    error_of(404, SERVER.get("/nothing")[1], "not_found_error")
    assert SERVER.get("/nothing")[0] == 404 and SERVER.get("/v1/completions")[0] == 405
    assert SERVER.ask("DELETE", "/v1/models")[0] == 405
    assert SERVER.ask("POST", "/v1/completions", b"x" * 17_000_000)[0] == 413
    assert SERVER.get("/health?x=1")[0] == 200


def test_http(_):
    s = SERVER.connect()
    one = raw_post("/v1/completions", {"prompt": "a", "max_tokens": 1})
    s.sendall(one + one + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")  # pipelined
    text = b""
    while piece := s.recv(65536):
        text += piece
    assert text.count(b"HTTP/1.1 200 OK") == 3 and text.count(b'"finish_reason"') == 2, text
    s = SERVER.connect()
    for byte in one:  # one at a time
        s.sendall(bytes([byte]))
    assert b"200 OK" in s.recv(65536)
    s = SERVER.connect()
    data = b'{"prompt":"a","max_tokens":1}'
    s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(data), 7):
        piece = data[at:at + 7]
        s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    s.sendall(b"0\r\n\r\n")
    assert b"200 OK" in s.recv(65536)
    s = SERVER.connect()
    s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
    assert s.recv(65536).startswith((b"HTTP/1.1 431", b"HTTP/1.1 413", b"HTTP/1.1 400"))
    s = SERVER.connect()
    s.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in s.recv(65536)
    s = SERVER.connect()
    s.sendall(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert s.recv(65536).startswith(b"HTTP/1.1 413")


def test_metrics(_):
    status, text = SERVER.get("/metrics")
    assert status == 200
    for line in text.splitlines():
        assert line.startswith("# ") or 'model_name="tiny"' in line, line
    for name in ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds",
                 "request_queue_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds", "exit_depth"):
        buckets = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"rrt_{name}_bucket")]
        assert buckets == sorted(buckets) and buckets[-1] == SERVER.metric(f"rrt_{name}_count") > 0, name
    until(lambda: SERVER.metric("rrt_num_requests_running") == SERVER.metric("rrt_num_requests_waiting") == 0, 1)
    before = {n: SERVER.metric(n) for n in ("rrt_prompt_tokens_total", "rrt_generation_tokens_total", "rrt_exit_depth_sum",
                                            "rrt_exit_depth_count")}
    SERVER.complete(prompt=[5, 6, 7], max_tokens=9, ignore_eos=True, rrt={"exit": "loops:1"})
    until(lambda: [SERVER.metric(n) - before[n] for n in before] == [3, 9, 10, 9], 1)  # counted once a step is over
    for name in ("request_success_total", "kv_cache_usage_perc", "kv_bytes_per_token", "prefix_cache_queries_total", "prefix_cache_hits_total",
                 "loop_steps_total", "batch_occupancy", "refills_total", "spec_drafted_tokens_total", "spec_accepted_tokens_total",
                 "kv_fill_tokens_total"):
        SERVER.metric("rrt_" + name)
    board = open(os.path.join(DATA, "../../packaging/grafana.json")).read()
    for name in set(re.findall(r"rrt_\w+", board)):
        assert f"\n{name}{{" in text, f"the board shows {name}, which is not there"


def all_with_one_server(model):
    global SERVER
    SERVER = Server(model).wait_ready()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            print(" ", name, flush=True)
            test(model)
    SERVER.stop()


if __name__ == "__main__":
    run([all_with_one_server])
