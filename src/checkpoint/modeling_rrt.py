"""Opens a folder that rrt wrote in transformers:

    AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)

The modules that hold weights are those of the file: every shared layer once (model.layers.<slot>), and what a depth has of
its own (rrt.depths.<depth>: LoRA, norms, biases). What runs is a layer per depth, made of both, of the family's own class.
"""
import copy
import functools

import transformers
from torch import nn
from torch.nn import functional

MATRICES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
            "mlp.down_proj")  # in the order of lora_ranks


class DepthLinear(nn.Module):
    """y = W'x + B·A·x: W' is the slot's, the LoRA (and the bias, where norms are not tied) the depth's."""

    def __init__(self, shared, own):
        super().__init__()
        self.parts = (shared, own)  # a tuple, so that neither is registered a second time

    def forward(self, x):
        shared, own = self.parts
        y = functional.linear(x, shared.weight, own.bias if "bias" in own._parameters else shared.bias)
        return y + own.lora_B(own.lora_A(x)) if "lora_A" in own._modules else y


class Slots(nn.ModuleList):
    """Holds the slots, and gives the depths to whoever runs it."""

    depths = ()

    def __iter__(self):
        return iter(self.depths)

    def __len__(self):
        return len(self.depths)

    def __getitem__(self, index):
        return self.depths[index]


def put(root, path, module):
    *folders, name = path.split(".")
    for folder in folders:
        if folder not in root._modules:
            root.add_module(folder, nn.Module())
        root = root._modules[folder]
    root.add_module(name, module)


def parts_of_depth(layer, ranks, owns_vectors):
    """What a depth has of its own, under the names of the layer."""
    own = nn.Module()
    for path, rank in zip(MATRICES, ranks):
        linear, part = layer.get_submodule(path), nn.Module()
        if rank:
            part.lora_A = nn.Linear(linear.in_features, rank, bias=False)
            part.lora_B = nn.Linear(rank, linear.out_features, bias=False)
        if owns_vectors and linear.bias is not None:
            part.bias = linear.bias
        if part._modules or part._parameters:
            put(own, path, part)
    for path, module in layer.named_modules():
        if owns_vectors and path.endswith("norm"):
            put(own, path, module)
    return own


def assemble(layer, slot, own):
    """Puts the slot's modules into a depth's layer, or the depth's where it has its own."""
    for name, module in list(layer._modules.items()):
        shared, mine = slot._modules[name], own._modules.get(name) if own else None
        if module._modules:
            assemble(module, shared, mine)
        elif mine is None:
            layer._modules[name] = shared
        else:
            layer._modules[name] = DepthLinear(shared, mine) if isinstance(shared, nn.Linear) else mine


def drop_vectors(slot):
    """What depths own, slots have not."""
    for module in slot.modules():
        if isinstance(module, nn.Linear):
            module.bias = None
        for name in [name for name in module._modules if name.endswith("norm")]:
            del module._modules[name]


@functools.cache
def recursive(base):
    """The recursive model of a family's class, which has a layer per depth."""

    class Recursive(base):
        _keys_to_ignore_on_load_unexpected = [r"^rrt\.gates\."]  # of early exits

        def __init__(self, config):
            super().__init__(config)
            plan, owns_vectors = config.rrt["plan"], config.rrt["norms"] != "tied"
            ranks = config.rrt["lora_ranks"]
            layers = list(self.model.layers)
            slots = Slots(copy.deepcopy(layers[plan.index(slot)]) for slot in range(max(plan) + 1))
            parts = [parts_of_depth(*depth, owns_vectors) for depth in zip(layers, ranks)]
            self.rrt = nn.Module()
            self.rrt.depths = nn.ModuleDict({str(d): own for d, own in enumerate(parts) if own._modules})
            for layer, slot, own in zip(layers, plan, parts):
                assemble(layer, slots._modules[str(slot)], own)
            for slot in slots._modules.values() if owns_vectors else ():
                drop_vectors(slot)
            slots.depths = layers
            self.model.layers = slots
            if config.rrt.get("loop_norm"):  # the final norm of what a loop has left enters the next
                first, size = config.rrt["prelude"], max(plan) + 1 - config.rrt["prelude"] - config.rrt["coda"]
                for loop in range(1, config.rrt["loops"]):
                    layers[first + loop * size].register_forward_pre_hook(self.enter_loop)

        def enter_loop(self, layer, arguments):
            return self.model.norm(arguments[0]), *arguments[1:]

    Recursive.__name__ = Recursive.__qualname__ = "Recursive" + base.__name__
    return Recursive


def __getattr__(name):
    """RecursiveLlamaForCausalLM and its like: config.json names the one that it needs."""
    if name.startswith("Recursive"):
        return recursive(getattr(transformers, name.removeprefix("Recursive")))
    raise AttributeError(name)
