"""Exercise to lesson 06: batch norms that stay frozen."""

import numpy as np
import torch
from torch import nn

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import normalization as ours


def _freeze_probes(rng: np.random.Generator) -> list[Probe]:
    seed = int(rng.integers(2**31))
    x = rng.normal(1.0, 2.0, (5, 2, 4, 4)).astype(np.float32)
    return [
        Probe(f"a network in {mode} mode", {"x": x, "seed": seed, "mode": mode})
        for mode in ("training", "evaluation")
    ]


def _network(seed: int, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(seed)
    boxes = nn.Sequential(nn.Unflatten(1, (2, 1, 1, 2)), nn.BatchNorm3d(2), nn.Flatten())
    deep = nn.Sequential(nn.Linear(27, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), boxes)
    # Of rate 0, so that outputs can be compared; its mode is what counts.
    parts = nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), deep, nn.Dropout(0.0)
    net = nn.Sequential(*parts, nn.Linear(4, 2))
    for norm in (net[1], deep[1], boxes[1]):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return net.to(dtype)  # last, since draws depend on the type


def _fine_tune(answer, x, seed, mode):
    net = _network(seed, x.dtype).train(mode == "training")
    norms = net[1], net[3][1], net[3][3][1]
    returned = answer(net)
    found = {"what it returns": "net" if returned is net else type(returned).__name__}
    modes = ["training" if layer.training else "evaluation" for layer in (net, net[3], net[4])]
    found["the modes of the network, of its deeper part and of dropout"] = ", ".join(modes)
    if mode == "evaluation":
        net.train()
    for when in ("in a training step", "in one after net.eval() and net.train()"):
        found[f"the output {when}"] = net(x)
        found[f"the running means {when}"] = _together(n.running_mean for n in norms)
        found[f"the running variances {when}"] = _together(n.running_var for n in norms)
        net.eval()
        net.train()
    found["dropout in training mode"] = str(net[4].training)
    trained = [name for name, p in net.named_parameters() if p.requires_grad]
    found["the parameters that are trained"] = ", ".join(trained)
    return found


def _together(statistics):
    return torch.cat([torch.empty(0) if s is None else s.detach().clone() for s in statistics])


freeze_batch_norm = Exercise(
    name="freeze_batch_norm",
    lesson="06",
    points=3,
    signature="(net)",
    task="""
A trained network is to be trained on a little, on new data. Freeze all its batch norms
(`BatchNorm1d`, `2d`, `3d`, at any depth) for good: from now on, and **also after every later
call of `net.train()`**, they normalize by their running statistics as they are now and do not
move them, and their scale and shift get no gradient. Nothing else changes: `net.train()` still
switches dropout on, and all other parameters are trained. Change `net` itself and return it.

The function below does what `trainable = False` seems to say in Keras. No scale and no shift moves
any more, and yet the answers of the network drift: repair it.
""",
    probes=_freeze_probes,
    reference=ours.freeze,
    driver=_fine_tune,
    bug="no_gradient",
    hints=(
        "Which of these decides by what a batch norm normalizes: `requires_grad`, or its mode?",
        "`layer.eval()` is right until somebody calls `net.train()`, which calls `train` of every "
        "layer. What if the layer's own `train` did nothing?",
        "An attribute of the instance hides the method of the class: "
        "`layer.train = lambda mode=True: layer`, after `layer.eval()`.",
    ),
    why="""\
In PyTorch, requires_grad concerns scale and shift only; the mode decides about statistics, and
every `net.train()` sets the mode anew. In Keras, `trainable = False` does both, and so this is
lost in translation. A layer whose own `train` does nothing stays frozen.""",
)


@freeze_batch_norm.right
def by_deaf_layers(net):
    def deaf(layer):
        layer.eval().requires_grad_(False)
        layer.train = lambda mode=True: layer

    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            deaf(layer)
    return net


@freeze_batch_norm.right
def by_hook(net):
    kinds = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
    for layer in filter(lambda m: isinstance(m, kinds), net.modules()):
        for p in layer.parameters():
            p.requires_grad = False
        layer.register_forward_pre_hook(lambda module, inputs: module.train(False) and None)
    return net


@freeze_batch_norm.right
def by_subclass(net):
    for layer in net.children():
        by_subclass(layer)
    if "BatchNorm" in type(net).__name__:

        class Frozen(type(net)):
            def train(self, mode=True):
                return super().train(False)

        net.__class__ = Frozen
        net.eval()
        net.weight.requires_grad_(False)
        net.bias.requires_grad_(False)
    return net


@freeze_batch_norm.right
def by_wrapping_train(net):
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def train(mode=True):
        type(net).train(net, mode)
        for norm in norms:
            norm.eval()
        return net

    for norm in norms:
        norm.requires_grad_(False)
    net.train = train
    return net.train(net.training)


@freeze_batch_norm.wrong(
    "In training mode the layers still normalize by the batch, and their running statistics move."
)
def no_gradient(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            for p in layer.parameters():
                p.requires_grad = False
    return net


@freeze_batch_norm.wrong(
    "You called eval() once: the next net.train() undoes it. Here it is to last."
)
def once(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval().requires_grad_(False)
    return net


@freeze_batch_norm.wrong("The mode is frozen, but scale and shift are still trained.")
def mode_only(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
            layer.train = lambda mode=True: None
    return net


@freeze_batch_norm.wrong("You froze direct children only; a batch norm may sit deeper.")
def children_only(net):
    for layer in net.children():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval().requires_grad_(False)
            layer.train = lambda mode=True: None
    return net


@freeze_batch_norm.wrong("You froze BatchNorm1d only; images have BatchNorm2d.")
def one_kind(net):
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.eval().requires_grad_(False)
            layer.train = lambda mode=True: None
    return net


@freeze_batch_norm.wrong(
    "net.train() does nothing any more, so dropout stays off too: only batch norms are to be deaf."
)
def whole_network(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.requires_grad_(False)
    net.eval()
    net.train = lambda mode=True: net
    return net


@freeze_batch_norm.wrong("All parameters are frozen; only those of the batch norms were meant.")
def all_parameters(net):
    for layer in net.modules():
        layer.requires_grad_(False)
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
            layer.train = lambda mode=True: None
    return net


@freeze_batch_norm.wrong(
    "With momentum 0 the running statistics stay, but in training mode the layer still normalizes "
    "by the batch."
)
def momentum_zero(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.requires_grad_(False)
            layer.momentum = 0.0
    return net


@freeze_batch_norm.wrong("You reset the running statistics; they were to stay as trained.")
def reset(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.eval().requires_grad_(False)
            layer.train = lambda mode=True: None
    return net


@freeze_batch_norm.wrong("The network is changed but not returned: is `return net` missing?")
def returns_nothing(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval().requires_grad_(False)
            layer.train = lambda mode=True: None


@freeze_batch_norm.wrong(
    "`net.train()` calls `layer.train(mode)` with an argument: what you put in its place has to "
    "take it, and `layer.eval` does not."
)
def eval_as_train(net):
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval().requires_grad_(False)
            layer.train = layer.eval
    return net
