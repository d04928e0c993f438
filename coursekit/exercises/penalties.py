"""Exercises to lesson 02: L1, L2 and the elastic net."""

import numpy as np
import torch
from torch import nn

from coursekit import linear
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.exercises.penalties_filter import ridge
from coursekit.exercises.penalties_kink import soft_threshold
from coursekit.exercises.penalties_lasso import lasso_ista
from coursekit.exercises.penalties_strengths import alpha_from_lambda
from coursekit.exercises.questions import Question
from coursekit.regularizers import penalties as ours

__all__ = [
    "alpha_from_lambda", "elastic_penalty", "lasso_ista", "ridge", "soft_threshold",
    "weights_that_grow",
]  # fmt: skip

# --- a penalty on a network ------------------------------------------------------------------


def _penalty_probes(rng: np.random.Generator) -> list[Probe]:
    def probe(name: str, l1: float, l2: float) -> Probe:
        arrays = {
            "kernel": rng.normal(size=(3, 1, 2, 2)).astype(np.float32),
            "matrix": 2 * rng.normal(size=(4, 12)).astype(np.float32),
            "head": 3 * rng.normal(size=(2, 4)).astype(np.float32),
        }
        return Probe(name, arrays | {"l1": float(l1), "l2": float(l2)})

    return [
        probe("both strengths above 0", *rng.uniform(0.1, 2.0, 2)),
        probe("l2 alone", 0, rng.uniform(0.1, 2.0)),
        probe("l1 alone", rng.uniform(0.1, 2.0), 0),
        probe("both strengths 0", 0, 0),
    ]


def _penalized(answer, kernel, matrix, head, l1, l2) -> dict[str, object]:
    inner = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4))
    net = nn.Sequential(nn.Conv2d(1, 3, 2), inner, nn.Linear(4, 2)).to(kernel.dtype)
    with torch.no_grad():
        for i, vector in enumerate(p for p in net.parameters() if p.ndim == 1):
            vector.copy_(torch.linspace(-1.0, 1.5 + i, len(vector)))
        net[0].weight.copy_(kernel)
        inner[2].weight.copy_(matrix)
        net[2].weight.copy_(head)
    before = [p.detach().clone() for p in net.parameters()]
    found = {"the penalty": (penalty := answer(net, l1, l2))}
    unchanged = [p.equal(old) for p, old in zip(net.parameters(), before, strict=True)]
    found["the network afterwards"] = all(unchanged)
    if isinstance(penalty, torch.Tensor) and penalty.ndim == 0:
        found["the gradient"] = None
        if penalty.requires_grad:
            penalty.backward()
            slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
            found["the gradient"] = torch.cat([slope.flatten() for slope in slopes])
    return found


def _both(net: nn.Module, l1: float, l2: float) -> torch.Tensor:
    return ours.elastic_net(dict(net.named_parameters()), l1, l2)


elastic_penalty = Exercise(
    name="elastic_penalty",
    lesson="02",
    points=3,
    signature="(net, l1, l2)",
    task="""
The penalty of a network, to be added to its loss:
`l1 * (sum of absolute weights) + l2 / 2 * (sum of squared weights)`. `net` is an `nn.Module` with
convolutions, batch norm and linear layers; its *weights* are the parameters with two axes or more,
so biases and batch norm stay out. `l1` and `l2` are numbers of at least 0. Return a tensor of shape
(), with its gradient, also when one or both strengths are 0.

The code below seems to work, until somebody switches on L2 alone: training then runs exactly as
without a penalty. A course once published a relative of it (`NeuromatchAcademy/course-content-dl`,
pull request 425, repairs it).
""",
    probes=_penalty_probes,
    reference=_both,
    driver=_penalized,
    bug="skipped_without_l1",
    hints=(
        "Test a penalty with an absurd strength. What does `l1=0, l2=1e6` return?",
        "Which lines run when `l1` is 0?",
        "Each part depends on its own strength only, and with strength 0 it is 0 by itself.",
    ),
    why="""\
A sum needs no cases: a strength of 0 makes its own part vanish. Every `if` around a penalty is a
chance to skip it in silence, because a network without a penalty trains just as smoothly. One test
catches this whole family: an absurd strength must change something.""",
    variants=(
        Variant(
            "There is no half in front of the squares: "
            "`l1 * (sum of absolute weights) + l2 * (sum of squared weights)`, as in Keras.",
            "plain(net, l1, 2 * l2)",
        ),
    ),
)


@elastic_penalty.right
def adding_up(net, l1, l2):
    total = torch.zeros(())
    for p in net.parameters():
        if p.ndim >= 2:
            total = total + l1 * p.abs().sum() + l2 / 2 * (p**2).sum()
    return total


@elastic_penalty.right
def one_long_vector(net, l1, l2):
    weights = torch.cat([p.flatten() for p in net.parameters() if p.dim() > 1])
    return l1 * weights.norm(p=1) + 0.5 * l2 * weights.dot(weights)


@elastic_penalty.right
def by_layers(net, l1, l2):
    def both(layer):
        return l1 * layer.weight.abs().sum() + l2 * layer.weight.square().sum() / 2

    return sum(both(layer) for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear))


@elastic_penalty.wrong("With l1=0, the penalty is 0 whatever l2 is; with both above 0 it is right.")
def skipped_without_l1(net, l1, l2):
    total = torch.zeros(())
    if l1 > 0:
        for p in net.parameters():
            if p.ndim >= 2:
                total = total + l1 * p.abs().sum()
                if l2 > 0:
                    total = total + l2 / 2 * p.square().sum()
    return total


@elastic_penalty.wrong(
    "You penalized all parameters, as article 003 does: biases and batch norm (vectors) stay out."
)
def all_parameters(net, l1, l2):
    return sum(l1 * p.abs().sum() + l2 / 2 * p.square().sum() for p in net.parameters())


@elastic_penalty.wrong(
    "You left out what is called bias; the scale of a batch norm is called weight and still in. Go "
    "by the number of axes."
)
def by_name(net, l1, l2):
    kept = [p for name, p in net.named_parameters() if "bias" not in name]
    return sum(l1 * p.abs().sum() + l2 / 2 * p.square().sum() for p in kept)


@elastic_penalty.wrong("You left out the kernels of convolutions: they are weights too.")
def linear_only(net, l1, l2):
    kept = [layer.weight for layer in net.modules() if isinstance(layer, nn.Linear)]
    return sum(l1 * p.abs().sum() + l2 / 2 * p.square().sum() for p in kept)


@elastic_penalty.wrong(
    "You looked at direct children only; layers may sit deeper: go through net.parameters(), or "
    "net.modules()."
)
def children_only(net, l1, l2):
    layers = [layer for layer in net.children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return sum(
        l1 * m.weight.abs().sum() + l2 / 2 * m.weight.square().sum() for m in layers
    ) + torch.zeros(())


@elastic_penalty.wrong("You took means over weights; the penalty has sums.")
def means(net, l1, l2):
    kept = [p for p in net.parameters() if p.ndim >= 2]
    return sum(l1 * p.abs().mean() + l2 / 2 * p.square().mean() for p in kept)


@elastic_penalty.wrong("Your part for L2 is twice as large as asked: look for the half.")
def twice(net, l1, l2):
    kept = [p for p in net.parameters() if p.ndim >= 2]
    return sum(l1 * p.abs().sum() + l2 * p.square().sum() for p in kept)


@elastic_penalty.wrong(
    "You took the length of the weights (`norm`); the penalty has its square, the sum of squares."
)
def length(net, l1, l2):
    kept = [p for p in net.parameters() if p.ndim >= 2]
    return sum(l1 * p.abs().sum() + l2 / 2 * p.norm() for p in kept)


@elastic_penalty.wrong(
    "You overwrote the sum in each round, so the last layer alone is penalized: add up."
)
def last_layer(net, l1, l2):
    total = torch.zeros(())
    for p in net.parameters():
        if p.ndim >= 2:
            total = l1 * p.abs().sum() + l2 / 2 * p.square().sum()
    return total


@elastic_penalty.wrong(
    "You forgot the absolute value: negative weights lower the penalty without end."
)
def without_abs(net, l1, l2):
    kept = [p for p in net.parameters() if p.ndim >= 2]
    return sum(l1 * p.sum() + l2 / 2 * p.square().sum() for p in kept)


@elastic_penalty.wrong("The two strengths are exchanged.")
def exchanged(net, l1, l2):
    kept = [p for p in net.parameters() if p.ndim >= 2]
    return sum(l2 * p.abs().sum() + l1 / 2 * p.square().sum() for p in kept)


@elastic_penalty.wrong(
    "The penalty is cut off from the weights, so training cannot feel it: compute with the "
    "parameters themselves, without data, detach or item."
)
def cut_off(net, l1, l2):
    kept = [p.data for p in net.parameters() if p.ndim >= 2]
    return sum(l1 * p.abs().sum() + l2 / 2 * p.square().sum() for p in kept)


@elastic_penalty.wrong(
    "With `elif`, L2 is left out as soon as L1 is on; the elastic net is their sum."
)
def one_or_the_other(net, l1, l2):
    kept = [p for p in net.parameters() if p.ndim >= 2]
    total = torch.zeros(())
    if l1:
        total = l1 * sum(p.abs().sum() for p in kept)
    elif l2:
        total = l2 / 2 * sum(p.square().sum() for p in kept)
    return total


# --- predict and explain ---------------------------------------------------------------------


def _along_the_path() -> str:
    from sklearn import datasets, preprocessing

    x, y = datasets.load_diabetes(return_X_y=True)
    path = linear.ridge_path(preprocessing.scale(x), y, np.geomspace(1e-3, 1e6, 300))
    if (np.sign(path) != np.sign(path[0])).any():
        return "some change their sign"
    grows = (np.diff(np.abs(path), axis=0) > 0).any()
    return "some grow, none changes its sign" if grows else "all shrink, all the way"


weights_that_grow = Question(
    name="weights_that_grow",
    lesson="02",
    points=3,
    prompt="""
"Ridge shrinks every weight." Fit the diabetes data of the lesson (ten features on one scale) with
ever larger `alpha`, from 0.001 to 1,000,000. What do the ten weights do on the way to zero?""",
    options=(
        "all shrink, all the way",
        "some grow, none changes its sign",
        "some change their sign",
    ),
    measure=_along_the_path,
    guide="""\
A good explanation separates directions from weights: ridge shrinks each *principal direction* by
s^2 / (s^2 + alpha), weak ones first, and a weight is a mix of directions. Features that go together
(here the blood values) can have large weights of opposite signs in least squares, held up by a
weak direction; when that goes, what is left is shared along the strong one, and a weight may
grow or cross zero. It says what does shrink: the length of the whole vector, always. Very good: a
crossing passes through zero at a single alpha, which is the accident that the lesson speaks of, and
the sign of a weight among look-alikes is not a finding.""",
)
