#!/usr/bin/env python3
"""Uses `rrt serve` through clients that know nothing of it: the stock openai package, and lm-evaluation-harness.

    tools/compare-server.py MODEL --data DIR [--limit 40] [--tasks piqa,lambada_openai]

openai: completions, chats, streams, log probabilities and errors. lm-eval: local-completions with the server's own tokenizer
over rrt's task files, compared with `rrt eval tasks` sample by sample, with the bars of tools/compare-tasks.py. Exits with 1 if
something differs.

Needs: pip install openai "lm-eval[api]" torch transformers gguf.
"""
import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

os.environ.setdefault("HF_HUB_OFFLINE", "1")
KEY = "a key"


def load_tasks():
    spec = importlib.util.spec_from_file_location("compare_tasks", pathlib.Path(__file__).with_name("compare-tasks.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(model):
    """The server's process and its address, once the model is loaded."""
    process = subprocess.Popen(["build/rrt", "serve", "-m", model, "--port", "0", "--alias", "model", "--kv-type", "f32"], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "RRT_API_KEY": KEY})
    address = process.stderr.readline().split()[-1]
    for _ in range(600):
        try:
            urllib.request.urlopen(address + "/health")
            return process, address
        except urllib.error.HTTPError:
            time.sleep(0.1)
    raise SystemExit("the model does not get loaded")


def expect(name, condition):
    print(f"openai: {name}: {'well' if condition else 'WRONG'}")
    return condition


def raises(kind, call):
    try:
        call()
    except kind:
        return True
    return False


def check_completions(client):
    options = {"model": "model", "prompt": "The capital of France is", "max_tokens": 12, "temperature": 0}
    whole = client.completions.create(**options, logprobs=2)
    pieces = list(client.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    text = "".join(p.choices[0].text for p in pieces if p.choices)
    ids = client.completions.create(**{**options, "prompt": [[1, 2, 3], [4]]})
    stopped = client.completions.create(**options, stop=text[4:7])
    echo = client.completions.create(**{**options, "max_tokens": 1}, echo=True, logprobs=1).choices[0]
    return [expect("completion", whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 12),
            expect("log probabilities", len(whole.choices[0].logprobs.tokens) == 12),
            expect("streamed completion", text == whole.choices[0].text and pieces[-1].usage == whole.usage),
            expect("token ids", [c.index for c in ids.choices] == [0, 1]),
            expect("stop", stopped.choices[0].text == text[:text.index(text[4:7])] and stopped.choices[0].finish_reason == "stop"),
            expect("echo", echo.text.startswith(options["prompt"]) and echo.logprobs.token_logprobs[0] is None)]


def check_chat(client):
    options = {"model": "model", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**options, logprobs=True, top_logprobs=2)
    pieces = list(client.chat.completions.create(**options, stream=True))
    text = "".join(p.choices[0].delta.content or "" for p in pieces)
    early = client.chat.completions.create(**options, extra_body={"rrt": {"max_loops": 1}})
    return [expect("chat", whole.choices[0].message.role == "assistant" and whole.choices[0].message.content == text),
            expect("log probabilities of a chat", len(whole.choices[0].logprobs.content) == whole.usage.completion_tokens),
            expect("finish of a stream", pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason),
            expect("rrt in request and reply", len(early.rrt["exit_depths"]) == early.usage.completion_tokens)]


def check_errors(client, openai):
    def ask(**more):
        return lambda: client.completions.create(**{"model": "model", "prompt": "a", "max_tokens": 1, **more})
    stranger = openai.OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0)
    return [expect("models", [m.id for m in client.models.list()] == ["model"]),
            expect("wrong key", raises(openai.AuthenticationError, lambda: stranger.models.list())),
            expect("unknown model", raises(openai.NotFoundError, ask(model="other"))),
            expect("bad value", raises(openai.BadRequestError, ask(temperature=-1))),
            expect("n", raises(openai.BadRequestError, ask(n=2))),
            expect("too long", raises(openai.BadRequestError, ask(max_tokens=10_000_000)))]


def check_openai(address):
    import openai
    client = openai.OpenAI(base_url=address + "/v1", api_key=KEY, max_retries=0)
    return all(check_completions(client) + check_chat(client) + check_errors(client, openai))


def check_harness(address, args):
    tasks = load_tasks()
    names = args.tasks.split(",")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HF_DATASETS_CACHE"] = cache
        os.environ["OPENAI_API_KEY"] = KEY
        from lm_eval.models.openai_completions import LocalCompletionsAPI
        lm = LocalCompletionsAPI(model="model", base_url=address + "/v1/completions", tokenizer_backend="remote", num_concurrent=4,
                                 batch_size=4, auth_token=KEY)
        theirs = tasks.evaluate(lm, args.data, names, args.limit)
    ours = tasks.rrt(args.model, args.data, names, args.limit)
    print("figures: rrt eval tasks' (lm-eval's over HTTP)")
    found = [tasks.compare(t, ours[t], theirs[t]) for t in names]
    print(f"largest difference of a log-likelihood {max(f[0] for f in found):.2e}; {sum(f[1] for f in found)} decisions differ")
    return all(f[2] for f in found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--tasks", default="lambada_openai,hellaswag,piqa,winogrande,arc_easy,arc_challenge,openbookqa")
    args = parser.parse_args()
    process, address = serve(args.model)
    try:
        well = check_openai(address)
        well = check_harness(address, args) and well
    finally:
        process.terminate()
        process.wait()
    return not well


if __name__ == "__main__":
    sys.exit(main())
