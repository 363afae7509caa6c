#!/usr/bin/env python3
"""Uptrains a model on a GPU with PyTorch, by the losses and optimizers of rrt train, for budgets that a CPU cannot give.

    tools/train-with-pytorch.py STUDENT TEACHER OUT TEXT… --tokens 12M

STUDENT is a folder of rrt convert, TEACHER one of `rrt export --to hf`, OUT becomes a folder that rrt opens. Forward KL
from the teacher; --exits C adds every earlier exit's loss, times C. bfloat16 products, f32 weights; a run that is broken
off begins anew. --test FILE measures at the end what rrt eval kl --max-tokens 32768 does. Needs: pip install torch
transformers safetensors tokenizers.
"""
import argparse
import itertools
import json
import math
import pathlib
import shutil
import sys
import time

import torch
from tokenizers import Tokenizer
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM

END = "<|endoftext|>\n"
ROWS = 4096  # whose logits exist at a time
TEST_TOKENS, TEST_WINDOW = 32768, 512


def count(text):
    return int(float(text[:-1]) * {"k": 1e3, "M": 1e6}[text[-1]]) if text[-1] in "kM" else int(text)


def read_sequences(folder, paths, ctx, eos):
    """All texts as ids [sequences, ctx], EOS behind every document."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    documents = [document for path in paths for document in path.read_text().split(END)]
    ids = [encoding.ids + [eos] for encoding in tokenizer.encode_batch_fast(documents, add_special_tokens=False)]
    flat = torch.tensor(list(itertools.chain.from_iterable(ids)), dtype=torch.int32)
    return flat[:len(flat) // ctx * ctx].view(-1, ctx)


def batches(sequences, batch, seed):
    """Endless, in an order that is shuffled anew each epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(sequences), generator=generator).split(batch):
            if len(rows) == batch:
                yield sequences[rows].long()


class Exits:
    """Hidden states before the head of every exit: after each loop but the last, coda and final norm run once more."""

    def __init__(self, model, early):
        self.inner, self.seen = model.model, {}
        layers, plan = list(model.model.layers), model.config.rrt if early else {"loops": 1, "prelude": 0, "coda": 0}
        first, end = plan["prelude"], len(layers) - plan["coda"]
        self.coda = layers[end:]
        block = (end - first) // plan["loops"]
        self.boundaries = [layers[first + n * block] for n in range(1, plan["loops"])]
        for layer in layers:
            layer.register_forward_pre_hook(self.remember, with_kwargs=True)

    def remember(self, layer, inputs, named):
        self.seen[layer] = (inputs[0], named)

    def __call__(self, ids):
        last = self.inner(input_ids=ids, use_cache=False).last_hidden_state
        states = [self.seen[layer][0] for layer in self.boundaries]
        for layer in self.coda:
            states = [layer(state, **self.seen[layer][1]) for state in states]
        return [self.inner.norm(state) for state in states] + [last]


def divergence(hidden, head, teacher, teacher_head):
    student = torch.log_softmax((hidden @ head.T).float(), -1)
    teacher = torch.log_softmax((teacher @ teacher_head.T).float(), -1)
    return (teacher.exp() * (teacher - student)).sum()


def mean_divergence(hidden, head, teacher, teacher_head):
    """Mean KL(teacher | student) of a token; logits are made again in the backward pass."""
    parts = zip(hidden.flatten(0, 1).split(ROWS), teacher.flatten(0, 1).split(ROWS))
    total = sum(checkpoint(divergence, h, head, t, teacher_head, use_reentrant=False) for h, t in parts)
    return total / (hidden.shape[0] * hidden.shape[1])


@torch.no_grad()
def measure(student, teacher, windows, device):
    """Perplexity and mean KL to the teacher, f32, on windows [n, tokens] of which the first token is given."""
    sums = torch.zeros(2, dtype=torch.float64)
    for row in windows.long().to(device).split(1):
        ours, theirs = (torch.log_softmax(model(input_ids=row).logits[0, :-1].double(), -1) for model in (student, teacher))
        sums[0] -= ours.gather(1, row[0, 1:, None]).sum().item()
        sums[1] += (theirs.exp() * (theirs - ours)).sum().item()
    loss, kl = sums / windows[:, 1:].numel()
    return {"ppl": round(loss.exp().item(), 4), "kl": round(kl.item(), 5)}


def make_optimizers(model, kind, rate):
    vectors = [p for p in model.parameters() if p.ndim == 1]
    embeddings = {id(p): p for part in (model.get_input_embeddings(), model.get_output_embeddings()) for p in part.parameters()}
    matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embeddings]
    adamw = [{"params": vectors, "weight_decay": 0.0}, {"params": list(embeddings.values())}]
    if kind == "adamw":
        adamw.append({"params": matrices})
    made = [torch.optim.AdamW(adamw, lr=rate, betas=(0.9, 0.95), weight_decay=0.1, fused=next(model.parameters()).is_cuda)]
    if kind == "muon":
        made.append(torch.optim.Muon(matrices, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"))
    return made


def schedule(progress, warmup):
    if progress < warmup:
        return progress / warmup
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def train(student, teacher, sequences, options, device):
    exits, optimizers = Exits(student, options.exits > 0), make_optimizers(student, options.optimizer, options.lr)
    weights = [options.exits] * len(exits.boundaries) + [1]
    head, teacher_head = student.get_output_embeddings().weight, teacher.get_output_embeddings().weight
    per_step = options.batch * options.ctx
    steps, start = math.ceil(options.tokens / per_step), time.time()
    for step, ids in enumerate(itertools.islice(batches(sequences, options.batch, options.seed), steps)):
        ids = ids.to(device)
        with torch.autocast(device, torch.bfloat16, enabled=not options.f32):
            with torch.no_grad():
                target = teacher.model(input_ids=ids, use_cache=False).last_hidden_state
            losses = [mean_divergence(state, head, target, teacher_head) for state in exits(ids)]
        sum(weight * loss for weight, loss in zip(weights, losses)).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = options.lr * schedule((step + 1) / steps, options.warmup)
            optimizer.step()
            optimizer.zero_grad()
        if step % 20 == 0 or step == steps - 1:
            seconds, done = time.time() - start, (step + 1) * per_step
            print(json.dumps({"step": step + 1, "tokens": done, "tokens_per_s": round(done / seconds),
                              "divergence": [round(loss.item(), 4) for loss in losses]}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=pathlib.Path)
    parser.add_argument("teacher", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path, nargs="+")
    parser.add_argument("--tokens", type=count, default=12_000_000)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="muon")
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--warmup", type=float, default=0.05)
    parser.add_argument("--exits", type=float, default=0, metavar="C")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--test", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--f32", action="store_true", help="no bfloat16")
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"{options.out} exists already: name another folder")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    models = [AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).to(device)
              for folder in (options.student, options.teacher)]
    if options.exits and getattr(models[0].config, "rrt", {}).get("sharing") != "cycle":
        sys.exit(f"{options.student}: only a cycle has exits (leave --exits out)")
    sequences = read_sequences(options.student, options.text, options.ctx, models[0].config.eos_token_id)
    if len(sequences) < options.batch:
        sys.exit(f"the text makes {len(sequences)} sequences of {options.ctx} tokens, a step takes {options.batch}: more text, or a smaller --batch")
    if options.test:
        windows = read_sequences(options.student, [options.test], TEST_WINDOW, 0)[:TEST_TOKENS // TEST_WINDOW]
        if len(windows) == 0:
            sys.exit(f"{options.test}: fewer than {TEST_WINDOW} tokens: a longer text is needed to measure on")
    train(*models, sequences, options, device)
    models[0].save_pretrained(options.out)
    for name in ("config.json", "modeling_rrt.py", "tokenizer.json", "tokenizer_config.json"):
        if (options.student / name).exists():
            shutil.copy(options.student / name, options.out / name)
    if options.test:
        print(json.dumps(measure(*models, windows, device)), flush=True)


main()
