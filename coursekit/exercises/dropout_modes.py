"""Exercise to lesson 04: a dropout that is on by accident."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import dropout as ours


def _mode_probes(rng: np.random.Generator) -> list[Probe]:
    low, high = rng.uniform(0.1, 0.4), rng.uniform(0.5, 0.9)
    return [Probe("15 networks", {"low": float(low), "high": float(high)})]


def _networks(low: float, high: float) -> dict[str, nn.Module]:
    """One network for each way to be mistaken, so that their replies tell the slips apart."""

    def net(*layers: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), *layers)

    inner = nn.Sequential(nn.Sequential(nn.Dropout(high)))
    sampled = net(nn.Dropout(low), nn.ReLU()).eval()
    sampled[1].train()
    silenced = net(nn.Dropout(low), nn.ReLU()).train()
    silenced[1].eval()
    last = net(nn.Dropout(low), nn.Dropout(high)).train()
    last[1].eval()
    first = net(nn.Dropout(low), nn.Dropout(high)).train()
    first[2].eval()
    return {
        "a network in training mode": net(nn.Dropout(low)).train(),
        "a network in training mode, under torch.no_grad()": net(nn.Dropout(low)).train(),
        "a network in evaluation mode": net(nn.Dropout(low)).eval(),
        "a network without dropout, in training mode": net(nn.ReLU()).train(),
        "a frozen network (requires_grad_(False)) in training mode": (
            net(nn.Dropout(high)).requires_grad_(False).train()
        ),
        "a network in evaluation mode, only its dropout in training mode": sampled,
        "a network in training mode, only its dropout in evaluation mode": silenced,
        "two dropout layers, only the first in training mode": first,
        "two dropout layers, only the second in training mode": last,
        "a dropout layer deep inside": net(inner).train(),
        "a dropout layer by itself": nn.Dropout(high).train(),
        "dropout of rate 0 in training mode": net(nn.Dropout(0.0)).train(),
        "Dropout2d in training mode": net(nn.Dropout2d(low)).train(),
        "Dropout1d in training mode": net(nn.Dropout1d(low)).train(),
        "Dropout3d in training mode": net(nn.Dropout3d(low)).train(),
    }


def _ask_all(answer, low, high):
    found = {}
    for name, net in _networks(low, high).items():
        before = _settings(net)
        with torch.set_grad_enabled("no_grad" not in name):
            value = answer(net)
        # Text, because a sentence with True and False reads better than one with 1 and 0.
        found[name] = str(value) if isinstance(value, bool | np.bool_) else type(value).__name__
        found[f"{name} afterwards"] = before == _settings(net)
    return found


def _settings(net: nn.Module) -> list[tuple]:
    return [(layer.training, getattr(layer, "p", None)) for layer in net.modules()]


is_dropout_active = Exercise(
    name="is_dropout_active",
    lesson="04",
    points=2,
    signature="(net)",
    task="""
Return True if a pass through `net` as it is now would drop something, else False. Dropout layers
are `nn.Dropout`, `nn.Dropout1d`, `nn.Dropout2d` and `nn.Dropout3d`, at any depth; their rate is
`layer.p`. One active layer is enough, and a layer of rate 0 drops nothing. Do not change the
network.

The function below asks the obvious question, and reports a network as silent while its dropout is
on: repair it.
""",
    probes=_mode_probes,
    reference=ours.is_dropout_active,
    driver=_ask_all,
    bug="mode_of_the_whole",
    hints=(
        "Whose flag does a dropout layer look at when it is called?",
        "`net.modules()` yields all layers at any depth; each has its own `training`.",
        "`any(... for layer in net.modules())`: of a kind that drops, in training mode, and with a "
        "rate above 0.",
    ),
    why="""\
Each layer obeys its own flag. `net.training` is the flag of the outermost module, and says nothing
about a layer that was switched alone, as Monte-Carlo dropout does. Freezing and no_grad concern
gradients, not units. No search for layers sees F.dropout: evaluate twice and compare, too.""",
)


@is_dropout_active.right
def by_any(net):
    kinds = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d
    return any(isinstance(m, kinds) and m.training and m.p > 0 for m in net.modules())


@is_dropout_active.right
def by_early_return(net):
    for layer in net.modules():
        if layer.__class__.__name__.startswith("Dropout") and layer.training and layer.p:
            return True
    return False


@is_dropout_active.right
def by_recursion(net):
    if isinstance(net, nn.modules.dropout._DropoutNd):
        return net.training and net.p != 0
    return any(by_recursion(child) for child in net.children())


@is_dropout_active.right
def by_trying(net):
    kinds = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d
    layers = [layer for layer in net.modules() if isinstance(layer, kinds)]
    ones = torch.ones(1000)
    passes = [F.dropout(ones, layer.p, layer.training) for layer in layers]
    return bool(sum((p == 0).sum() for p in passes) > 0)


@is_dropout_active.wrong(
    "A network in evaluation mode whose dropout layer is in training mode does drop units, and "
    "this does not see it."
)
def mode_of_the_whole(net):
    has_dropout = any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in net.modules())
    return has_dropout and net.training


@is_dropout_active.wrong(
    "You asked for requires_grad: freezing weights does not concern dropout, which has none."
)
def by_gradients(net):
    kinds = nn.modules.dropout._DropoutNd
    has_dropout = any(isinstance(m, kinds) and m.p > 0 and m.training for m in net.modules())
    return has_dropout and any(p.requires_grad for p in net.parameters())


@is_dropout_active.wrong(
    "You asked whether gradients are enabled: torch.no_grad() spares gradients, not units."
)
def by_no_grad(net):
    kinds = nn.modules.dropout._DropoutNd
    active = any(isinstance(m, kinds) and m.p > 0 and m.training for m in net.modules())
    return active and torch.is_grad_enabled()


@is_dropout_active.wrong(
    "You asked whether there is a dropout layer; it also has to be in training mode."
)
def has_one(net):
    return any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in net.modules())


@is_dropout_active.wrong(
    "You asked whether any layer is in training mode; it has to be a dropout layer."
)
def any_layer(net):
    return any(m.training for m in net.modules())


@is_dropout_active.wrong("A dropout layer of rate 0 drops nothing: ask for `p > 0` too.")
def forgets_the_rate(net):
    kinds = nn.modules.dropout._DropoutNd
    return any(isinstance(m, kinds) and m.training for m in net.modules())


@is_dropout_active.wrong(
    "You asked whether all dropout layers are active; one is enough to drop something."
)
def all_layers(net):
    layers = [m for m in net.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    return bool(layers) and all(m.training and m.p > 0 for m in layers)


@is_dropout_active.wrong("You looked at the first dropout layer only; go on if it is not active.")
def first_only(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            return layer.training and layer.p > 0
    return False


@is_dropout_active.wrong(
    "You looked at direct children only; a dropout layer may sit deeper: use net.modules()."
)
def children_only(net):
    kinds = nn.modules.dropout._DropoutNd
    return any(isinstance(m, kinds) and m.training and m.p > 0 for m in net.children())


@is_dropout_active.wrong(
    "You looked for nn.Dropout only; Dropout2d, which drops whole channels, is no subclass of it."
)
def one_kind(net):
    return any(isinstance(m, nn.Dropout) and m.training and m.p > 0 for m in net.modules())


@is_dropout_active.wrong("The answer is reversed: True means that something would be dropped.")
def reversed_answer(net):
    kinds = nn.modules.dropout._DropoutNd
    return not any(isinstance(m, kinds) and m.training and m.p > 0 for m in net.modules())
