#!/usr/bin/env python3
"""Gradients and a loss curve that PyTorch computes for tiny recursive models: what tests/test_gradients.c compares
with.

    tools/make-gradient-golden.py     writes tests/data/gradients/FAMILY-PLAN/ and FAMILY/ (the teacher)

A student is a folder of ours (config.json with its rrt object, model.safetensors); gradients.safetensors holds the
gradient of every stored tensor under LOSS.NAME, for the loss that golden.json gives. The model that is differentiated
is transformers' own, unrolled: its weights are W + B·A of leaf tensors. Everything is computed in double.

Needs torch, transformers and safetensors.
"""
import json
import math
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from torch.func import functional_call
from transformers import (AutoModelForCausalLM, Gemma2Config, Gemma3TextConfig, GemmaConfig, GPTNeoXConfig, GraniteConfig,
                          LlamaConfig, MistralConfig, Olmo2Config, Phi3Config, Qwen2Config, Qwen3Config, SmolLM3Config)

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "gradients"
VOCAB, HIDDEN, FFN, HEADS, HEAD_DIM, DEPTHS, RANK = 29, 12, 16, 3, 4, 4, 2
SEQUENCES, CONTEXT = 2, 9
TEMPERATURE, KD_WEIGHT = 1.7, 0.7
STEPS, RATE, WARMUP, LEAST, DECAY, CLIP, BETAS, EPSILON = 20, 2e-2, 0.2, 0.1, 0.1, 1.0, (0.9, 0.95), 1e-8

# name: sharing, loops, layers_per_block, prelude, coda, depth → slot, norms
PLANS = {
    "cycle": ("cycle", 2, 2, 0, 0, [0, 1, 0, 1], "tied"),
    "sequence": ("sequence", 2, 2, 0, 0, [0, 0, 1, 1], "per-depth"),
    "ends": ("cycle", 2, 1, 1, 1, [0, 1, 1, 2], "tied"),
    "loops": ("cycle", 3, 1, 0, 1, [0, 0, 0, 1], "per-depth"),
    "normed": ("cycle", 2, 2, 0, 0, [0, 1, 0, 1], "tied"),
}
NORMED = "normed"  # the final norm stands between the loops of this plan
# Losses of exits: the main loss, the weights of the exits after loop 1, 2 …, whether they learn from the last one.
EXITS = {
    "weighted": ("ce", lambda loops: [2 * n / (loops * (loops + 1)) for n in range(1, loops + 1)], False),
    "aggressive": ("fkl", lambda loops: [0.3] * (loops - 1) + [1.0], False),
    "exit-kd": ("rkl", lambda loops: [0.3] * (loops - 1) + [1.0], True),
}


def llama():
    return LlamaConfig(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=DEPTHS,
                       num_attention_heads=HEADS, num_key_value_heads=1, head_dim=HEAD_DIM, max_position_embeddings=32,
                       rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
                       rope_parameters={"rope_type": "default", "rope_theta": 1000.0})


def neox():
    return GPTNeoXConfig(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=DEPTHS,
                         num_attention_heads=HEADS, max_position_embeddings=32, bos_token_id=0, eos_token_id=0,
                         use_parallel_residual=True, tie_word_embeddings=False,
                         rope_parameters={"rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": 0.5})


def like_llama(make, **more):
    """A family whose tensors are called as Llama's; rope None: one base for all."""
    rope = more.pop("rope", {"rope_type": "default", "rope_theta": 1000.0})
    stacked = more.pop("stacked", {})
    settings = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=DEPTHS,
                    num_attention_heads=HEADS, num_key_value_heads=1, head_dim=HEAD_DIM, max_position_embeddings=32,
                    rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=None,
                    rope_parameters=rope)
    return dict(config=lambda: make(**(settings | more)), layers="model.layers.", matrices=LLAMA_MATRICES, fused=None,
                stacked=stacked)


LLAMA_MATRICES = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
                  "mlp.up_proj", "mlp.down_proj"]
PHI_ROWS = dict(zip(LLAMA_MATRICES, [HEADS * HEAD_DIM, HEAD_DIM, HEAD_DIM, HIDDEN, FFN, FFN, HIDDEN]))
LOCAL, GLOBAL = "sliding_attention", "full_attention"
ROPES = {LOCAL: {"rope_type": "default", "rope_theta": 10.0}, GLOBAL: {"rope_type": "default", "rope_theta": 1000.0}}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8}
LONG = {"rope_type": "longrope", "rope_theta": 1000.0, "partial_rotary_factor": 0.5, "short_factor": [1.5], "long_factor": [2.5]}
PHI_STACKS = {"self_attn.qkv_proj": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
              "mlp.gate_up_proj": ["mlp.gate_proj", "mlp.up_proj"]}
# The rest of the families, each with one plan and cross-entropy. Layers of other kinds are tied, too.
MORE = {
    "gemma": like_llama(GemmaConfig),
    "gemma2": like_llama(Gemma2Config, query_pre_attn_scalar=9, sliding_window=3, attn_logit_softcapping=2.0,
                         final_logit_softcapping=3.0),
    "gemma3": like_llama(Gemma3TextConfig, query_pre_attn_scalar=9, sliding_window=3, rope=ROPES,
                         layer_types=[LOCAL, GLOBAL, GLOBAL, LOCAL]),
    "qwen2": like_llama(Qwen2Config),
    "qwen3": like_llama(Qwen3Config),
    "smollm3": like_llama(SmolLM3Config, no_rope_layers=[0, 1, 1, 0]),
    "biases": like_llama(LlamaConfig, attention_bias=True, mlp_bias=True, rope=LLAMA3),
    "mistral": like_llama(MistralConfig, sliding_window=4),
    "olmo2": like_llama(Olmo2Config),
    # a text of 9 is beyond the original context: the long factors
    "phi3": like_llama(Phi3Config, rope=LONG, original_max_position_embeddings=5, stacked=PHI_STACKS),
    "granite": like_llama(GraniteConfig, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.7,
                          logits_scaling=2.0),
}
FAMILIES = {
    "llama": dict(config=llama, layers="model.layers.", matrices=LLAMA_MATRICES, fused=None),
    "neox": dict(config=neox, layers="gpt_neox.layers.",
                 matrices=["attention.query", "attention.key", "attention.value", "attention.dense",
                           "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"], fused="attention.query_key_value"),
}


def noise_of(name, shape, generator, gain=1):
    noise = torch.randn(shape, generator=generator, dtype=torch.float64).float().double()
    if name.endswith("bias"):
        return noise * 0.3
    if len(shape) == 1:
        return gain + noise * 0.25
    return noise * (0.5 if "embed" in name else 1.2 / math.sqrt(shape[1]))


def file_name(name):
    return name.replace("lm_head", "embed_out") if name == "lm_head.weight" else name


def is_vector(name):
    return "norm" in name or name.endswith("bias")


class Student:
    """Leaf tensors under the names of our files, and the unrolled model that they make."""

    def __init__(self, family, plan, generator):
        self.family, self.plan, self.norms_loops = (FAMILIES | MORE)[family], PLANS[plan], plan == NORMED
        self.model = AutoModelForCausalLM.from_config(self.family["config"](), attn_implementation="eager").double().eval()
        self.leaves, self.shorter = {}, {}
        gain = 0 if "gemma" in family else 1  # Gemma's files hold gains less 1
        for name, p in self.model.named_parameters():
            self.leaves.setdefault(self.stored(name), noise_of(name, p.shape, generator, gain))
        for depth in range(DEPTHS):
            for matrix in self.family["matrices"]:
                out, inner = self.shape(matrix)
                a, b = self.lora(depth, matrix)
                self.leaves[a] = noise_of(a, (RANK, inner), generator)
                self.leaves[b] = noise_of(b, (out, RANK), generator) * 0.5
        for leaf in self.leaves.values():
            leaf.requires_grad_()

    def lora(self, depth, matrix):
        return [f"rrt.depths.{depth}.{matrix}.lora_{x}.weight" for x in "AB"]

    def shape(self, matrix):
        if self.family["fused"] and matrix in self.family["matrices"][:3]:
            return HIDDEN, HIDDEN
        if matrix in PHI_ROWS and self.family.get("stacked") and not matrix.endswith(("o_proj", "down_proj")):
            return PHI_ROWS[matrix], HIDDEN
        weight = self.model.get_submodule(self.family["layers"] + "0." + matrix).weight
        return tuple(weight.shape)

    def split(self, name):
        depth, rest = name[len(self.family["layers"]):].split(".", 1)
        return int(depth), rest

    def stored(self, name):
        """The name in our file of what stands under a name of the unrolled model."""
        if not name.startswith(self.family["layers"]):
            return file_name(name) if self.family["fused"] else name
        depth, rest = self.split(name)
        if self.plan[6] == "per-depth" and is_vector(rest):
            # A fused bias is three of ours.
            return f"rrt.depths.{depth}.{rest}"
        return f"{self.family['layers']}{self.plan[5][depth]}.{rest}"

    def weight(self, name):
        leaf = self.leaves[self.stored(name)]
        if not name.startswith(self.family["layers"]) or not name.endswith(".weight") or "norm" in name:
            return leaf
        depth, rest = self.split(name)
        matrix = rest[: -len(".weight")]
        if matrix in self.family.get("stacked", {}):
            pairs = [self.lora(depth, m) for m in self.family["stacked"][matrix]]
            return leaf + torch.cat([self.leaves[b] @ self.leaves[a] for a, b in pairs])
        if matrix != self.family["fused"]:
            a, b = (self.leaves[n] for n in self.lora(depth, matrix))
            return leaf + b @ a
        parts = []
        for m in self.family["matrices"][:3]:
            a, b = (self.leaves[n] for n in self.lora(depth, m))
            parts.append((b @ a).view(HEADS, 1, HEAD_DIM, HIDDEN))
        return leaf + torch.cat(parts, 1).reshape(leaf.shape)

    def logits(self, ids, loops=None):
        """With fewer loops: a shorter model, whose layer i is depths[i] of this one."""
        _, all_loops, block, prelude, coda, _, _ = self.plan
        loops = loops or all_loops
        depths = [*range(prelude + loops * block), *range(DEPTHS - coda, DEPTHS)]
        if loops not in self.shorter:
            config = self.family["config"]()
            config.num_hidden_layers = len(depths)
            model = self.shorter[loops] = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double().eval()
            for loop in range(1, loops if self.norms_loops else 0):
                self.norm_before(model, prelude + loop * block)
        model, weights = self.shorter[loops], {}
        for name, _ in model.named_parameters():
            long = name
            if name.startswith(self.family["layers"]):
                layer, rest = self.split(name)
                long = f"{self.family['layers']}{depths[layer]}.{rest}"
            weights[name] = self.weight(long)
        return functional_call(model, weights, (ids,)).logits

    def norm_before(self, model, layer):
        norm = model.get_submodule("gpt_neox.final_layer_norm" if self.family["fused"] else "model.norm")
        layers = model.get_submodule(self.family["layers"].rstrip("."))
        layers[layer].register_forward_pre_hook(lambda module, arguments: (norm(arguments[0]), *arguments[1:]))

    def unfuse(self, tensors):
        """Biases of q, k and v of a depth stand one by one in our file."""
        out = {}
        for name, tensor in tensors.items():
            if name.startswith("rrt.depths.") and self.family["fused"] and name.endswith(self.family["fused"] + ".bias"):
                for i, matrix in enumerate(self.family["matrices"][:3]):
                    part = tensor.view(HEADS, 3, HEAD_DIM)[:, i].reshape(-1)
                    out[name.replace(self.family["fused"], matrix)] = part
            else:
                out[name] = tensor
        return {n: t.detach().float().contiguous() for n, t in out.items()}

    def config(self):
        config = self.family["config"]().to_dict()
        sharing, loops, block, prelude, coda, slots, norms = self.plan
        config["architectures"] = [type(self.model).__name__]
        config["rrt"] = dict(format_version=1, sharing=sharing, loops=loops, layers_per_block=block, prelude=prelude,
                             coda=coda, plan=slots, norms=norms, kv="per-depth")
        if self.norms_loops:
            config["rrt"]["loop_norm"] = True
        return config


def batch(salt):
    """SEQUENCES windows of CONTEXT inputs and their next tokens."""
    rows = [[(i * i * 5 + i * 7 + s * 11 + salt * 3) % VOCAB for i in range(CONTEXT + 1)] for s in range(SEQUENCES)]
    rows = torch.tensor(rows)
    return rows[:, :-1], rows[:, 1:]


def divergence(kind, student, teacher):
    log_q, log_p = (torch.log_softmax(x / TEMPERATURE, -1) for x in (student, teacher))
    q, p = log_q.exp(), log_p.exp()
    if kind == "fkl":
        rows = (p * (log_p - log_q)).sum(-1)
    elif kind == "rkl":
        rows = (q * (log_q - log_p)).sum(-1)
    elif kind == "jsd":
        log_m = ((p + q) / 2).log()
        rows = 0.5 * (p * (log_p - log_m)).sum(-1) + 0.5 * (q * (log_q - log_m)).sum(-1)
    else:
        rows = 0.5 * (p - q).abs().sum(-1)
    return rows.mean() * TEMPERATURE**2


def loss_of(kind, student, teacher, salt):
    ids, targets = batch(salt)
    return loss_of_logits(kind, student.logits(ids), ids, targets, teacher)


def loss_of_logits(kind, logits, ids, targets, teacher):
    ce = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), targets.reshape(-1))
    if kind == "ce":
        return ce
    with torch.no_grad():
        goal = teacher(ids).logits
    return (1 - KD_WEIGHT) * ce + KD_WEIGHT * divergence(kind, logits, goal)


def loss_of_exits(kind, student, teacher, salt):
    ids, targets = batch(salt)
    main, weights, learn_from_last = EXITS[kind]
    loops = student.plan[1]
    last = student.logits(ids).detach()
    loss = 0
    for n, weight in enumerate(weights(loops), 1):
        logits = student.logits(ids, n)
        if learn_from_last and n < loops:
            loss = loss + weight * divergence("fkl", logits, last)
        else:
            loss = loss + weight * loss_of_logits(main, logits, ids, targets, teacher)
    return loss


def schedule(progress):
    if progress < WARMUP:
        return progress / WARMUP
    return LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


def adamw(matrices, vectors):
    """Norms and biases are not decayed."""
    return [torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}],
                              betas=BETAS, eps=EPSILON)]


def muon(matrices, vectors):
    """Muon for the matrices of layers and LoRA, AdamW for the rest."""
    return [torch.optim.Muon(matrices[1:], weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"),
            *adamw(matrices[:1], vectors)]


def curve(student, teacher, make_optimizers):
    """The losses of STEPS steps."""
    vectors = [t for t in student.leaves.values() if t.dim() == 1]
    matrices = [t for t in student.leaves.values() if t.dim() == 2]  # the embedding first
    optimizers = make_optimizers(matrices, vectors)
    losses = []
    for step in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = loss_of("fkl", student, teacher, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.leaves.values(), CLIP)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = RATE * schedule((step + 1) / STEPS)
            optimizer.step()
        losses.append(loss.item())
    return losses


def make_teacher(family):
    folder = DATA / family
    folder.mkdir(parents=True)
    config = FAMILIES[family]["config"]()
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double().eval()
    generator = torch.Generator().manual_seed(77)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(noise_of(name, p.shape, generator))
    tensors = {n: p.detach().float().contiguous() for n, p in model.named_parameters()}
    if FAMILIES[family]["fused"]:
        tensors = {file_name(n): t for n, t in tensors.items()}
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return model


def make_student(family, plan, teacher, seed):
    folder = DATA / f"{family}-{plan}"
    folder.mkdir(parents=True)
    student = Student(family, plan, torch.Generator().manual_seed(seed))
    (folder / "config.json").write_text(json.dumps(student.config(), indent=1, default=str) + "\n")
    save_file(student.unfuse(student.leaves), folder / "model.safetensors", metadata={"format": "pt"})
    golden, gradients = {"losses": {}}, {}
    kinds = ["ce", "fkl", "rkl", "jsd", "tvd"] if plan != "loops" else []
    kinds += list(EXITS) if PLANS[plan][0] == "cycle" else []
    for kind in kinds if teacher else ["ce"]:
        loss = (loss_of_exits if kind in EXITS else loss_of)(kind, student, teacher, 0)
        found = torch.autograd.grad(loss, list(student.leaves.values()))
        golden["losses"][kind] = loss.item()
        named = student.unfuse(dict(zip(student.leaves, found)))
        gradients |= {f"{kind}.{n}": t for n, t in named.items()}
    save_file(gradients, folder / "gradients.safetensors", metadata={"format": "pt"})
    if plan != "loops" and teacher:
        golden["curve"] = curve(student, teacher, adamw)
    if plan != "loops" and family == "llama" and teacher:  # neox has q, k and v in one matrix, which Muon would take as one
        student = Student(family, plan, torch.Generator().manual_seed(seed))
        golden["muon_curve"] = curve(student, teacher, muon)
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")


torch.Tensor.bfloat16 = lambda self: self  # PyTorch's Muon rounds to it on its way: here everything is double
shutil.rmtree(DATA, ignore_errors=True)
for number, name in enumerate(FAMILIES):
    original = make_teacher(name)
    for index, plan in enumerate(PLANS):
        make_student(name, plan, original, 10 * number + index)
for number, name in enumerate(MORE):
    make_student(name, "sequence" if name == "gemma3" else "cycle", None, 100 + number)
