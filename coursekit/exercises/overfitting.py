"""Exercises to lesson 01: overfitting, bias and variance."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit import linear
from coursekit.datasets.tasks import seeds
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.exercises.overfitting_bias import bias_variance
from coursekit.exercises.overfitting_fits import shortest_fit
from coursekit.exercises.overfitting_noise import best_accuracy, choose_config
from coursekit.exercises.questions import Question

__all__ = [
    "best_accuracy", "bias_variance", "choose_config", "junk_features", "shortest_fit", "true_loss",
]  # fmt: skip

# --- the training loss of the finished network -----------------------------------------------

MODES = ("in training", "in evaluation mode", "in training but for a frozen batch norm")


def _loss_probes(rng: np.random.Generator) -> list[Probe]:
    probes = []
    for mode in MODES:
        arrays = {
            "first": rng.normal(size=(6, 4)),
            "second": 2 * rng.normal(size=(3, 6)),
            "x": rng.normal(0.5, 1.5, size=(9, 4)),
        }
        inputs = {name: array.astype(np.float32) for name, array in arrays.items()}
        inputs |= {"y": rng.integers(3, size=9), "mode": mode}
        probes.append(Probe(f"a network {mode}", inputs, seed=int(rng.integers(2**31))))
    return probes


def _measured(answer, first, second, x, y, mode) -> dict[str, object]:
    hidden = len(first)
    net = nn.Sequential(
        nn.Linear(4, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(hidden, 3, bias=False),
    ).to(x.dtype)
    with torch.no_grad():
        net[0].weight.copy_(first)
        net[4].weight.copy_(second)
        net[1].running_mean.copy_(first.mean(1))  # unlike the statistics of the batch
        net[1].running_var.copy_(1 + first.square().mean(1))
    net.train(mode != MODES[1])
    if mode == MODES[2]:
        net[1].eval()
    for parameter in net.parameters():  # as between two batches whose gradients add up
        parameter.grad = torch.ones_like(parameter)
    given = {"x": x, "y": y, "the state of the network": _numbers(net)}
    before = {name: value.clone() for name, value in given.items()}
    with torch.enable_grad():
        loss = answer(net, x, y)
        recording = torch.is_grad_enabled()
    given["the state of the network"] = _numbers(net)
    gradients = [p.grad is not None and bool((p.grad == 1).all()) for p in net.parameters()]
    modes = ["train" if layer.training else "eval" for layer in (net, *net)]
    return {
        "the loss": loss,
        "the mode after the call (of the network, then of its five layers)": " ".join(modes),
        "the dropout rate after the call": net[3].p,
        "the momentum of the batch norm after the call": net[1].momentum,
        "parameters that are trained after the call": sum(
            p.requires_grad for p in net.parameters()
        ),
        "torch.is_grad_enabled() after the call": recording,
        "the gradient of the network afterwards": all(gradients),
    } | {f"{name} afterwards": value.equal(before[name]) for name, value in given.items()}


def _numbers(net: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().double() for tensor in net.state_dict().values()])


def _of_a_copy(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return F.cross_entropy(copy.deepcopy(net).eval()(x), y).item()


true_loss = Exercise(
    name="true_loss",
    lesson="01",
    points=3,
    signature="(net, x, y)",
    task="""
The training loss, measured and not logged. `net` is an `nn.Module` with dropout and batch norm,
maybe in the middle of its training; `x` and `y` (class numbers) are training data. Return a number:
the mean cross-entropy of the logits `net(x)` in **evaluation mode**, without any penalty. Measuring
must not disturb: afterwards, **every** module of `net.modules()` is in the mode in which it came
(somebody may have frozen a batch norm), and nothing else has changed either.

The code below returns the right number, and training went well until somebody called it after each
epoch. Since then, the network overfits as if it had no dropout.
""",
    probes=_loss_probes,
    reference=_of_a_copy,
    driver=_measured,
    bug="stays_in_evaluation",
    hints=(
        "Print `net.training` before and after the call.",
        "`net.train(was)` sets all parts alike. What of a part that was in another mode?",
        "Remember `module.training` of each of `net.modules()`, or measure on a "
        "`copy.deepcopy(net)`.",
    ),
    why="""\
`eval()` and `train()` set a flag in every part of the network, and it stays until somebody sets it
back. A function that only measures restores what it found: then nobody has to know whether it was
called, and a batch norm that was frozen on purpose stays frozen.""",
)


@true_loss.right
def restoring_each(net, x, y):
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    with torch.no_grad():
        loss = F.cross_entropy(net(x), y).item()
    for module, mode in modes:
        module.training = mode
    return loss


@true_loss.right
def on_a_copy(net, x, y):
    import copy

    twin = copy.deepcopy(net)
    twin.eval()
    return nn.CrossEntropyLoss()(twin(x), y).item()


@true_loss.right
def with_a_context(net, x, y):
    from contextlib import contextmanager

    @contextmanager
    def evaluating(model):
        trained = {name for name, part in model.named_modules() if part.training}
        try:
            yield model.eval()
        finally:
            for name, part in model.named_modules():
                part.training = name in trained

    with torch.inference_mode(), evaluating(net) as fixed:
        log_p = fixed(x).log_softmax(1)
        return -log_p[torch.arange(len(y)), y].mean().item()


@true_loss.wrong(
    "The number is right, but the call leaves its mark: whoever trains on trains without dropout, "
    "and with frozen statistics in the batch norm."
)
def stays_in_evaluation(net, x, y):
    net.eval()
    with torch.no_grad():
        return F.cross_entropy(net(x), y).item()


@true_loss.wrong(
    "You measured in training mode: units are dropped, and the batch norm uses and updates batch "
    "statistics. `no_grad` does not change that; `net.eval()` does."
)
def in_training_mode(net, x, y):
    with torch.no_grad():
        return F.cross_entropy(net(x), y).item()


@true_loss.wrong(
    "You restored the mode of the network as a whole, which wakes up parts that were frozen: "
    "restore each module of net.modules()."
)
def restores_the_whole(net, x, y):
    was = net.training
    net.eval()
    with torch.no_grad():
        loss = F.cross_entropy(net(x), y).item()
    net.train(was)
    return loss


@true_loss.wrong(
    "You always switch to training mode at the end; the network may have come in evaluation mode, "
    "as a whole or in parts: restore what you found."
)
def always_back_to_training(net, x, y):
    net.eval()
    with torch.no_grad():
        loss = F.cross_entropy(net(x), y).item()
    net.train()
    return loss


@true_loss.wrong(
    "You switched off dropout only; the batch norm still uses, and updates by, this batch."
)
def dropout_only(net, x, y):
    modes = [(module, module.training) for module in net.modules()]
    for module, _ in modes:
        if isinstance(module, nn.Dropout):
            module.eval()
    loss = F.cross_entropy(net(x), y).item()
    for module, mode in modes:
        module.training = mode
    return loss


@true_loss.wrong("You set the dropout rate itself, and it stays so: use the mode, not the rate.")
def rate_set_to_zero(net, x, y):
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    for module, _ in modes:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    loss = F.cross_entropy(net(x), y).item()
    for module, mode in modes:
        module.training = mode
    return loss


@true_loss.wrong("You returned the sum over examples; asked is their mean.")
def a_sum(net, x, y):
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    loss = F.cross_entropy(net(x), y, reduction="sum").item()
    for module, mode in modes:
        module.training = mode
    return loss


@true_loss.wrong(
    "You took a softmax before the cross-entropy, which takes one itself: pass the logits."
)
def softmax_first(net, x, y):
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    loss = F.cross_entropy(net(x).softmax(1), y).item()
    for module, mode in modes:
        module.training = mode
    return loss


@true_loss.wrong(
    "Calling backward leaves gradients in the network, and the next step of training adds its own "
    "to them: measuring needs no gradient."
)
def leaves_gradients(net, x, y):
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    for module, mode in modes:
        module.training = mode
    return loss.item()


# --- predict and explain ---------------------------------------------------------------------


def _with_junk() -> str:
    change = []
    for seed in seeds(24):
        rng = np.random.default_rng(seed)
        beta, x, new = (rng.normal(size=shape) for shape in (48, (50, 48), (500, 48)))
        beta /= np.sqrt(48)
        y = x @ beta + rng.normal(size=50)
        junk, new_junk = rng.normal(size=(50, 1000)) / 5, rng.normal(size=(500, 1000)) / 5
        both = ((x, new), (np.hstack([x, junk]), np.hstack([new, new_junk])))
        fits = [linear.least_squares(a, y, intercept=False).predict(b) for a, b in both]
        without, with_junk = (np.mean((fit - new @ beta) ** 2) for fit in fits)
        change.append(np.log(with_junk / without))
    low, high = np.quantile(change, [0.1, 0.9])
    return "higher" if low > 0.1 else "lower" if high < -0.1 else "about the same"


junk_features = Question(
    name="junk_features",
    lesson="01",
    points=3,
    prompt="""
Least squares without a penalty on 50 rows and 48 features that all matter. Now somebody appends
1,000 columns of pure random numbers (standard deviation 0.2), to the training data and to the new
data, and takes the shortest perfect fit. What happens to the error on new data?""",
    options=("higher", "about the same", "lower"),
    measure=_with_junk,
    guide="""\
A good explanation starts from where 48 features for 50 rows stand: at the peak, where the fit is
just possible and its variance is enormous. With the junk, the shortest fit spreads the noise over a
thousand columns, each with a tiny weight, and the real features need not bend to it. Very good: the
junk adds about 1000 * 0.2^2 = 40 to the diagonal of the Gram matrix of the examples, which is what
ridge with alpha = 40 does; on new rows the junk cancels nearly to nothing. It does not conclude
that junk is good: ridge does the same without it, and a better strength can be chosen.""",
)
