#!/usr/bin/env python3
"""Tiny random models of the families that were trained with loops, and what looped_models.py computes for them: what
tests/test_looped.c compares with.

    tools/make-looped-golden.py       writes tests/data/models/NAME/{config.json, model.safetensors, golden.json,
                                      gradients.safetensors}, and NAME-calm/{config.json, model.safetensors, last-loop.json}

golden.json: logits of the last exit at every token; "loops": the logits of every exit; "gates": the chance to leave
after each loop; "greedy": texts continued by the most likely token, all of it computed again for every token, with
exits by the cumulative gate. gradients.safetensors: CE.NAME of the last exit's mean cross-entropy, GATES.NAME of the
gate's alone. last-loop.json: logits and texts where loops read the last loop's keys and values of older blocks of W
tokens, by W; that makes a text as deep as it is long, so that rounding grows too much in the other models. Needs torch and safetensors; computed in double from weights that are rounded to what is stored.
"""
import json
import math
import pathlib
import shutil

import torch
from safetensors.torch import save_file

from looped_models import LastLoop, Looped, exit_probabilities

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "models"
VOCAB, TOKENS, CONTINUED = 97, 12, 16
LONG, ROWS, THRESHOLD = 40, [0, 1, 15, 16, 17, 31, 32, 39], 0.27

# Keys as the published files have them.
NANBEIGE = dict(
    architectures=["NanbeigeForCausalLM"], model_type="nanbeige", attention_bias=False, attention_dropout=0.0,
    bos_token_id=1, eos_token_id=2, emb_neighbor_num=None, enable_depth_attention=False, enable_double_loop_split=False,
    enable_h_res_identity=False, enable_hyper_connection=False, enable_mhc=False, head_dim=16, hidden_act="silu",
    hidden_size=24, initializer_range=0.02, insert_ngram_layer_idx=[], intermediate_size=36, kv_channels=16,
    loop_loss_weights=[], loop_middle_layers=[], loop_share_kv=False, max_position_embeddings=256, mlp_bias=False,
    ngram_insert_all_layers=False, num_attention_heads=4, num_hidden_layers=3, num_key_value_heads=2, num_loops=2,
    pretraining_tp=1, qk_layernorm=False, rms_norm_eps=1e-5, rope_scaling=None, rope_theta=70000000.0,
    skip_loop_final_norm=False, tie_word_embeddings=False, torch_dtype="float32", use_cache=True, vocab_size=VOCAB)
OURO = dict(
    architectures=["OuroForCausalLM"], model_type="ouro", attention_dropout=0.0, bos_token_id=0, early_exit_threshold=1.0,
    eos_token_id=0, head_dim=8, hidden_act="silu", hidden_size=32, initializer_range=0.02, intermediate_size=40,
    layer_types=["full_attention"] * 2, max_position_embeddings=256, max_window_layers=2, num_attention_heads=4,
    num_hidden_layers=2, num_key_value_heads=4, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=1000000.0,
    sliding_window=None, tie_word_embeddings=False, torch_dtype="float32", total_ut_steps=4, use_cache=True,
    use_sliding_window=False, vocab_size=VOCAB)
MODELS = {
    "nanbeige": NANBEIGE,
    "nanbeige-plain": NANBEIGE | dict(skip_loop_final_norm=True, num_loops=3, num_hidden_layers=2, tie_word_embeddings=True),
    "ouro": OURO,
}


def randomise(model, generator, calm=False):
    """Gains far from 1, a gate's bias far from 0, attention far from even; or, calm, all less so."""
    gain, spread, size = (1, 0.2, 0.7) if calm else (1.3, 0.4, 1.4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "early_exit_gate" in name:
                value = noise * 0.4 if p.dim() == 2 else noise * 0.1 - 0.8
            elif p.dim() == 1:
                value = gain * torch.exp(noise * spread)
            else:
                value = noise * (0.5 if "embed" in name else size / math.sqrt(p.shape[1]))
            p.copy_(value.float())


def rounded(rows):
    return [[round(x, 6) for x in row] for row in rows.tolist()]


def greedy(model, prompt, threshold):
    ids, depths = list(prompt), []
    for _ in range(CONTINUED):
        states = model.states(torch.tensor(ids))
        chances = torch.stack([torch.sigmoid(model.gate(s[-1:]))[0] for s in states[:-1]])
        reached = exit_probabilities(chances)[:-1, 0].cumsum(0) >= threshold
        depth = reached.nonzero()[0].item() + 1 if reached.any() else model.loops
        ids.append(model.head(states[depth - 1][-1]).argmax().item())
        depths.append(depth)
    return dict(threshold=threshold, ids=ids[len(prompt):], depths=depths)


def last_loop(model, window, seed):
    """Logits at the tokens ROWS of a long prompt; a text after it, with exits at THRESHOLD by the gate if there is one."""
    text, rows, ids, depths = LastLoop(model, window or 1), [], [], []
    prompt = [(i * i * 3 + i * 5 + seed) % VOCAB for i in range(LONG)]
    for i, token in enumerate(prompt):
        state, depth = text.append(token)
        if i in ROWS:
            rows.append(model.head(state)[0])
    chances = []

    def leaves(depth, state):
        if not hasattr(model.model, "early_exit_gate") or depth == model.loops:
            return False
        chances.append(torch.sigmoid(model.gate(state))[0])
        return exit_probabilities(torch.stack(chances))[:-1].sum() >= THRESHOLD

    for _ in range(CONTINUED):
        ids.append(model.head(state)[0].argmax().item())
        chances.clear()
        state, depth = text.append(ids[-1], leaves)
        depths.append(depth)
    # A token's depth is that of the token before it, from whose state it was read.
    return dict(window=window, prompt=prompt, rows=ROWS, logits=rounded(torch.stack(rows)), ids=ids, depths=[model.loops] + depths[:-1])


def gradients(model, ids):
    states, targets = model.states(ids[:-1]), ids[1:]
    named = dict(model.named_parameters())
    loss = torch.nn.functional.cross_entropy(model.head(states[-1]), targets)
    trained = {n: p for n, p in named.items() if "early_exit_gate" not in n}
    found = {f"CE.{n}": g for n, g in zip(trained, torch.autograd.grad(loss, list(trained.values()), retain_graph=True))}
    golden = {"ce": loss.item()}
    if len(trained) < len(named):
        best = [model.head(s).argmax(-1) for s in states]
        goal = sum(torch.nn.functional.binary_cross_entropy_with_logits(model.gate(s.detach())[:, 0], (b == best[-1]).double())
                   for s, b in zip(states[:-1], best))
        gate = {n: p for n, p in named.items() if "early_exit_gate" in n}
        found |= {f"GATES.{n}": g for n, g in zip(gate, torch.autograd.grad(goal, list(gate.values())))}
        golden["gate_loss"] = goal.item() / (model.loops - 1)
    return golden, {n: g.float().contiguous() for n, g in found.items()}


def make(name, config, seed, calm=False):
    """A new folder with the model, which then computes in double."""
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = Looped(config)
    randomise(model, torch.Generator().manual_seed(40 + seed), calm)
    save_file({n: p.detach().contiguous() for n, p in model.named_parameters()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return folder, model.double()


for seed, (name, config) in enumerate(MODELS.items()):
    folder, model = make(name, config, seed)
    ids = torch.tensor([(i * i * 7 + i * 13 + seed) % VOCAB for i in range(TOKENS)])
    with torch.no_grad():
        states = model.states(ids)
        exits = [model.head(s) for s in states]
        golden = dict(ids=ids.tolist(), logits=rounded(exits[-1]), loops=[rounded(e) for e in exits])
        beyond = model.states(ids, model.loops + 1)
        golden["one_loop_more"] = rounded(model.head(beyond[-1]))
        if config["model_type"] == "ouro":
            golden["gates"] = rounded(torch.cat([torch.sigmoid(model.gate(s)) for s in states], 1))
            golden["greedy"] = [greedy(model, golden["ids"], q) for q in (0.3, 0.5, 0.6, 0.8)]
    more, found = gradients(model, ids)
    save_file(found, folder / "gradients.safetensors", metadata={"format": "pt"})
    (folder / "golden.json").write_text(json.dumps(golden | more, separators=(",", ":")) + "\n")
    if "greedy" in golden:
        print(name, [(g["threshold"], g["depths"]) for g in golden["greedy"]])
for name in ("nanbeige", "ouro"):
    folder, model = make(f"{name}-calm", MODELS[name], 60, calm=True)
    with torch.no_grad():
        last = [last_loop(model, window, 60) for window in (0, 16, 32, 64)]
    (folder / "last-loop.json").write_text(json.dumps(last, separators=(",", ":")) + "\n")
    print(folder.name, [(text["window"], text["depths"]) for text in last])
