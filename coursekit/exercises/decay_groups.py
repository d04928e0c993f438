"""Exercise to lesson 03: which parameters decay."""

import numpy as np
import torch
from torch import nn

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import decay as ours


def _group_probes(rng: np.random.Generator) -> list[Probe]:
    names = {
        "many": "a network with many kinds of layers",
        "tied": "a network whose embedding is its output layer too",
        "frozen": "a network with a frozen first layer",
    }
    strength = float(rng.uniform(0.01, 0.2))
    return [Probe(names[k], {"kind": k, "weight_decay": strength}) for k in names]


class PreNorm(nn.Module):
    """Named after a norm, and none itself: what it holds is sorted by who owns it."""

    def __init__(self, size: int):
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(size), nn.Linear(size, size, bias=False)


def _network(kind: str) -> nn.Module:
    if kind == "many":
        net = nn.Module()
        net.embed, net.conv = nn.Embedding(5, 4), nn.Conv1d(4, 4, 3)
        # Names that mislead, as in public code: a list of names meets only some of them.
        net.LayerNorm, net.ln_f = nn.LayerNorm((2, 4)), nn.LayerNorm(4)
        net.norm1, net.gain = nn.BatchNorm1d(4), nn.Parameter(torch.ones(4))
        net.temperature = nn.Parameter(torch.ones(()))
        deep = nn.Sequential(nn.GroupNorm(1, 3), nn.LayerNorm((2, 3)))
        net.blocks = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), deep, PreNorm(3))
        return net
    if kind == "frozen":
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        net[0].requires_grad_(False)
        return net
    net = nn.Sequential(nn.Embedding(6, 3), nn.Linear(3, 6))
    net[1].weight = net[0].weight
    return net


def _read_groups(answer, kind, weight_decay):
    net = _network(kind)
    groups = answer(net, weight_decay)
    keys = {"params", "weight_decay"}
    if (
        not isinstance(groups, list | tuple)
        or len(groups) != 2
        or not all(isinstance(group, dict) and keys <= set(group) for group in groups)
    ):
        raise TypeError("expected a list of two dicts with the keys 'params' and 'weight_decay'")
    names = {id(p): name for name, p in net.named_parameters()}
    found = {}
    for which, group in zip(("with decay", "without decay"), groups, strict=True):
        # An optimizer refuses a set: it would train in another order each time.
        unordered = isinstance(group["params"], set | frozenset)
        found[f"what is given as the parameters {which}"] = "a set" if unordered else "a list"
        given = sorted(names.get(id(p), f"a {type(p).__name__}") for p in group["params"])
        found[f"parameters {which}"] = ", ".join(given)
        found[f"the strength of the group {which}"] = group["weight_decay"]
    return found


param_groups = Exercise(
    name="param_groups",
    lesson="03",
    points=3,
    signature="(net, weight_decay)",
    task="""
Sort the parameters of `net` into two groups for an optimizer of PyTorch: return a list of two
dicts with the keys `"params"` (a list) and `"weight_decay"`. The first group decays by
`weight_decay`, the second by 0. Without decay are all parameters with fewer than two axes, and
**all** that belong to a normalization layer (`LayerNorm`, `GroupNorm` or one of the batch
norms), whatever their shape and name. Everything else decays, embeddings and frozen parameters
included. Each parameter is in exactly one group, once; the order within a group does not matter.

The function below sorts by a list of names, as public training scripts do
(`huggingface/transformers#16908`). Training runs, and nothing warns: repair it.
""",
    probes=_group_probes,
    reference=ours.param_groups,
    driver=_read_groups,
    bug="by_name",
    hints=(
        "What does the name of a parameter tell about the layer that owns it? Try `nn.Sequential`.",
        "`net.modules()` yields every layer, at any depth, and `isinstance` asks for its kind. "
        "`layer.parameters(recurse=False)` are those that it owns itself.",
        "First collect the ids of all parameters of normalization layers. Then go once through "
        "`net.parameters()`, which yields shared ones once, and ask for `p.ndim` and the ids.",
    ),
    why="""\
Names are free: the scale of a norm is called `2.weight` in a Sequential and `ln_f.weight` in a
language model, so a list of names silently decays it. The kind of the owner and the number of axes
are facts. Going once through `net.parameters()` puts shared parameters in once; a parameter that is
in no group would never be trained.""",
)


@param_groups.right
def by_owner(net, weight_decay):
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    owned = set()
    for layer in net.modules():
        if isinstance(layer, norms):
            owned |= {id(p) for p in layer.parameters(recurse=False)}
    decay, spare = [], []
    for p in net.parameters():
        (spare if p.ndim < 2 or id(p) in owned else decay).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.right
def by_kind_name(net, weight_decay):
    spare = {
        p
        for layer in net.modules()
        for p in layer.parameters(recurse=False)
        if p.ndim < 2 or "Norm" in type(layer).__name__
    }
    return [
        {"params": [p for p in net.parameters() if p not in spare], "weight_decay": weight_decay},
        {"params": [p for p in net.parameters() if p in spare], "weight_decay": 0.0},
    ]


@param_groups.right
def by_recursion(net, weight_decay):
    groups = [{"params": [], "weight_decay": weight_decay}, {"params": [], "weight_decay": 0.0}]
    seen = set()

    def visit(layer):
        kinds = nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
        for p in layer._parameters.values():
            if p is not None and id(p) not in seen:
                seen.add(id(p))
                groups[isinstance(layer, kinds) or p.ndim < 2]["params"].append(p)
        for child in layer.children():
            visit(child)

    visit(net)
    return groups


@param_groups.wrong(
    "Scales of normalization layers decay here, and so does every vector that the list of names "
    "does not know."
)
def by_name(net, weight_decay):
    no_decay = ["bias", "LayerNorm.weight"]
    decay, spare = [], []
    for name, p in net.named_parameters():
        (spare if any(word in name for word in no_decay) else decay).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.wrong(
    "You spare what is called bias only; the scales of normalization layers are not to decay "
    "either."
)
def biases_only(net, weight_decay):
    named = list(net.named_parameters())
    spare = [p for name, p in named if name.endswith("bias")]
    decay = [p for name, p in named if not name.endswith("bias")]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.wrong(
    "You look for the word norm in names; a layer that is called ln_f is a norm all the same."
)
def by_the_word_norm(net, weight_decay):
    decay, spare = [], []
    for name, p in net.named_parameters():
        (spare if "bias" in name or "norm" in name.lower() else decay).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.wrong(
    "You look at the number of axes only; a LayerNorm over two axes owns matrices, which must not "
    "decay."
)
def by_axes(net, weight_decay):
    decay = [p for p in net.parameters() if p.ndim >= 2]
    spare = [p for p in net.parameters() if p.ndim < 2]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.wrong(
    "You spare biases and norms, but a vector that belongs to no layer, such as `gain`, decays."
)
def forgets_vectors(net, weight_decay):
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    spare = {p for m in net.modules() if isinstance(m, norms) for p in m.parameters()}
    spare |= {p for name, p in net.named_parameters() if name.endswith("bias")}
    decay = [p for p in net.parameters() if p not in spare]
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": list(spare), "weight_decay": 0.0},
    ]


@param_groups.wrong(
    "You look for norms among the direct children only; they may sit deeper: use net.modules()."
)
def children_only(net, weight_decay):
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    owned = {p for m in net.children() if isinstance(m, norms) for p in m.parameters()}
    spare = [p for p in net.parameters() if p.ndim < 2 or p in owned]
    decay = [p for p in net.parameters() if p.ndim > 1 and p not in owned]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.wrong("The groups are swapped: the first one is the one that decays.")
def swapped(net, weight_decay):
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    owned = {p for m in net.modules() if isinstance(m, norms) for p in m.parameters()}
    spare = [p for p in net.parameters() if p.ndim < 2 or p in owned]
    decay = [p for p in net.parameters() if p.ndim > 1 and p not in owned]
    return [{"params": spare, "weight_decay": 0.0}, {"params": decay, "weight_decay": weight_decay}]


@param_groups.wrong(
    "Embeddings are spared, but here only vectors and what a normalization layer owns are."
)
def spares_embeddings(net, weight_decay):
    kinds = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.Embedding)
    owned = {p for m in net.modules() if isinstance(m, kinds) for p in m.parameters()}
    spare = [p for p in net.parameters() if p.ndim < 2 or p in owned]
    decay = [p for p in net.parameters() if p.ndim > 1 and p not in owned]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.wrong(
    "A parameter that two layers share is put in twice, and would be refused by the optimizer."
)
def shared_twice(net, weight_decay):
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    decay, spare = [], []
    for layer in net.modules():
        for p in layer.parameters(recurse=False):
            (spare if p.ndim < 2 or isinstance(layer, norms) else decay).append(p)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]


@param_groups.wrong(
    "Frozen parameters are in no group; once they are thawed, nobody would train them."
)
def loses_frozen(net, weight_decay):
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    owned = {p for m in net.modules() if isinstance(m, norms) for p in m.parameters()}
    free = [p for p in net.parameters() if p.requires_grad]
    spare = [p for p in free if p.ndim < 2 or p in owned]
    decay = [p for p in free if p.ndim > 1 and p not in owned]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": spare, "weight_decay": 0.0}]
