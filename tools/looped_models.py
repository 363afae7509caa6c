"""Nanbeige and Ouro in PyTorch, written from their published structures: references for models that transformers
lacks. One text at a time, whole, without a cache; or token after token, with what LastLoop keeps.

    model = Looped(config)              config: a dict, as in config.json
    states = model.states(ids)          [loops] of [tokens, hidden]: after each loop, through the final norm
    model.head(states[n])               [tokens, vocab]: the exit after loop n + 1
    model.gate(states[n])               [tokens, 1]: Ouro; its sigmoid is the chance to leave here, once here
"""
import torch
from torch import nn


def rotate(x, base, start=0):
    """Rotates the pairs (i, i + d/2) of x [heads, tokens, d] by position."""
    tokens, size = x.shape[-2:]
    frequencies = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.outer(torch.arange(start, start + tokens, dtype=torch.float64), frequencies)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., : size // 2], x[..., size // 2:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Norm(nn.Module):
    def __init__(self, width, epsilon):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x):
        return self.weight * x / (x.pow(2).mean(-1, keepdim=True) + self.epsilon).sqrt()


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.size, self.base = config["head_dim"], config["rope_theta"]
        hidden = config["hidden_size"]
        self.q_proj = nn.Linear(hidden, self.heads * self.size, bias=False)
        self.k_proj = nn.Linear(hidden, self.kv_heads * self.size, bias=False)
        self.v_proj = nn.Linear(hidden, self.kv_heads * self.size, bias=False)
        self.o_proj = nn.Linear(self.heads * self.size, hidden, bias=False)

    def forward(self, x, past=()):
        """past: (k, v) [kv_heads, 1, d] of each token before, where x is one token; `kept` is then its own."""
        tokens, groups = x.shape[0], self.heads // self.kv_heads
        q = self.q_proj(x).view(tokens, self.heads, self.size).transpose(0, 1)
        k, v = (p(x).view(tokens, self.kv_heads, self.size).transpose(0, 1) for p in (self.k_proj, self.v_proj))
        q, k = rotate(q, self.base, len(past)), rotate(k, self.base, len(past))
        self.kept = k, v
        k, v = (torch.cat([p[i] for p in past] + [self.kept[i]], 1) for i in (0, 1))
        k, v = (y.repeat_interleave(groups, 0) for y in (k, v))
        scores = q @ k.transpose(1, 2) / self.size**0.5
        later = torch.ones(tokens, k.shape[1], dtype=torch.bool).triu(1 + len(past))
        out = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
        return self.o_proj(out.transpose(0, 1).reshape(tokens, -1))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj, self.up_proj = nn.Linear(hidden, inner, bias=False), nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Norms before attention and MLP; Ouro's also after both."""

    def __init__(self, config):
        super().__init__()
        def norm():
            return Norm(config["hidden_size"], config["rms_norm_eps"])
        self.self_attn, self.mlp = Attention(config), Mlp(config)
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        self.is_sandwich = config["model_type"] == "ouro"
        if self.is_sandwich:
            self.input_layernorm_2, self.post_attention_layernorm_2 = norm(), norm()

    def forward(self, x, past=()):
        attended = self.self_attn(self.input_layernorm(x), past)
        x = x + (self.input_layernorm_2(attended) if self.is_sandwich else attended)
        out = self.mlp(self.post_attention_layernorm(x))
        return x + (self.post_attention_layernorm_2(out) if self.is_sandwich else out)


class Body(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = Norm(config["hidden_size"], config["rms_norm_eps"])
        if config["model_type"] == "ouro":
            self.early_exit_gate = nn.Linear(config["hidden_size"], 1)


class Looped(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.loops = config["total_ut_steps"] if config["model_type"] == "ouro" else config["num_loops"]
        self.norms_loops = not config.get("skip_loop_final_norm", False)
        self.model = Body(config)
        self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        if config["tie_word_embeddings"]:
            self.lm_head.weight = self.model.embed_tokens.weight

    def states(self, ids, loops=None):
        x, normed = self.model.embed_tokens(ids), []
        for _ in range(loops or self.loops):
            for layer in self.model.layers:
                x = layer(x)
            normed.append(self.model.norm(x))
            if self.norms_loops:
                x = normed[-1]
        return normed

    def head(self, state):
        return self.lm_head(state)

    def gate(self, state):
        return self.model.early_exit_gate(state)


class LastLoop:
    """A text, token after token, where keys and values of all loops are kept for a block of `window` tokens (1: the
    token alone); all loops read the last loop's of older blocks. A token that leaves early has those of the loop that
    it left after in place of the later ones."""

    def __init__(self, model, window):
        self.model, self.window, self.tokens = model, window, []  # of each token: [loops][layers] of (k, v)

    def append(self, token, leaves=lambda depth, state: False):
        """→ the last state [1, hidden] that the token reached, and after how many loops"""
        body, block = self.model.model, len(self.tokens) // self.window * self.window
        x, kept = body.embed_tokens(torch.tensor([token])), []
        for loop in range(self.model.loops):
            kept.append([])
            for i, layer in enumerate(body.layers):
                past = [t[-1 if at < block else loop][i] for at, t in enumerate(self.tokens)]
                x = layer(x, past)
                kept[-1].append(layer.self_attn.kept)
            state = body.norm(x)
            if self.model.norms_loops:
                x = state
            if leaves(loop + 1, state):
                break
        self.tokens.append(kept + [kept[-1]] * (self.model.loops - len(kept)))
        return state, len(kept)


def exit_probabilities(chances):
    """chances [loops - 1, tokens]: to leave after each loop, once there. → [loops, tokens]: to leave after it at all."""
    stay, out = torch.ones_like(chances[0]), []
    for chance in chances:
        out.append(chance * stay)
        stay = stay * (1 - chance)
    return torch.stack(out + [stay])
