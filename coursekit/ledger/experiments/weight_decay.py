"""Weight decay inside optimizers: what it is, what its number means, how much, and where.

Axes: S seeds, A settings, N examples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.datasets.tasks import Task
from coursekit.ledger.evidence import Exact, Side, chosen, correct, crossed
from coursekit.ledger.experiments import experiment
from coursekit.ledger.worlds import World
from coursekit.regularizers.decay import adam_step, no_moments, sgd_step
from coursekit.results.runs import Runs
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3)
OPTIMIZERS = {
    "SGD": replace(RECIPE, optimizer="sgd", lr=0.1, momentum=0.9),
    "Adam": RECIPE,
    "AdamW": replace(RECIPE, optimizer="adamw"),
}
USUAL = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
# As many outside of the range: none, which stands for all below it, and four around the best one of
# each optimizer. AdamW's is 300 times larger; 0.01 is its default.
COUPLED = (0.0, 3e-3, 1e-2, 3e-2, 0.1)
OTHERS = {"SGD": COUPLED, "Adam": COUPLED, "AdamW": (0.0, 0.01, 1.0, 3.0, 10.0)}
DECAY = 0.5  # for the exact facts: strong enough to be seen at once


def _benches(world: World) -> dict[str, tuple[Task, str]]:
    """Each task, and what its early stopping monitors: on the canvas, the lowest loss comes long
    before the best accuracy.
    """
    clean, noisy = world.digits(), world.digits(label_noise=0.4)
    found = {"clean digits": (clean, "loss"), "noisy digits": (noisy, "loss")}
    return found | ({"canvas digits": (world.canvas(), "accuracy")} if world.has_canvas else {})


def _moments(monitor: str) -> dict[str, str]:
    by = " by accuracy" if monitor == "accuracy" else ""
    return {"last epoch": "final", f"early-stopped{by}": "best"}


def _tuned(runs: Sequence[Runs], task: Task, weights: str) -> Side:
    """The setting that each seed's validation accuracy prefers; the first of equals."""
    val = np.array([evaluate(r, task, "val", weights=weights).acc for r in runs])
    return crossed(chosen(val, np.array([correct(r, task, weights=weights) for r in runs])))


@experiment("C35")
def decay_and_penalty():
    """Is `weight_decay` of PyTorch's optimizers the L2 penalty, and does it shrink all alike?

    *Penalty*: 30 steps with `weight_decay` against 30 on a loss with half of it times the squared
    weights. *Decay*: the share left of weights whose gradients only shake around 0, where these
    are small and where they are 1000 times larger.
    """
    kinds = {
        "SGD": lambda w, decay: torch.optim.SGD(w, 1e-3, weight_decay=decay),
        "SGD with momentum": lambda w, decay: torch.optim.SGD(w, 1e-3, 0.9, weight_decay=decay),
        "Adam": lambda w, decay: torch.optim.Adam(w, 1e-3, weight_decay=decay),
        "AdamW": lambda w, decay: torch.optim.AdamW(w, 1e-3, weight_decay=decay),
    }
    found = {}
    for name, kind in kinds.items():
        apart = (_descend(kind, DECAY, 0.0) - _descend(kind, 0.0, DECAY)).abs().max().item()
        small, large = _shares_left(kind, (0.01, 10.0), 1000)
        found |= {
            f"{name}, the penalty": Exact(apart < 1e-9, f"largest difference {apart:.1g}"),
            f"{name}, one decay for all": Exact(
                abs(small - large) < 0.01,
                f"{small:.3f} left where gradients are small, {large:.3f} where they are large",
            ),
        }
    return {"C35": found}


def _descend(kind: Callable, option: float, penalty: float, steps: int = 30) -> Tensor:
    """Weights after some steps on a loss with slopes from 0.01 to 10, with decay or penalty."""
    w = nn.Parameter(torch.linspace(-2, 2, 8, dtype=torch.float64))
    scale = torch.logspace(-2, 1, 8, dtype=torch.float64)
    optimizer = kind([w], option)
    for _ in range(steps):
        optimizer.zero_grad()
        ((scale * w.cos()).sum() + penalty / 2 * w.square().sum()).backward()
        optimizer.step()
    return w.detach()


def _shares_left(kind: Callable, sizes: Sequence[float], steps: int) -> list[float]:
    """Share left of weights of 1 whose gradients are plus and minus `size` in turn.

    For each size, the mean of two weights with opposite signs: what the shaking itself does to a
    weight cancels.
    """
    size = torch.tensor(sizes, dtype=torch.float64).repeat_interleave(2)
    size[1::2] *= -1
    w = nn.Parameter(torch.ones_like(size))
    optimizer = kind([w], DECAY)
    for step in range(steps):
        w.grad = (-1) ** step * size
        optimizer.step()
    return w.detach().reshape(-1, 2).mean(1).tolist()


@experiment("C36")
def one_number():
    """How far does a strength of 1e-4 move the weights in 20 steps, whatever it is written in?

    Each documented meaning of the number against the first; "the same" allows for one percent.
    """
    found = {}
    for name, moved in _movements(1e-4).items():
        far = {written: w.norm().item() for written, w in moved.items()}
        first, *others = far
        told = (f"{other} moves weights {far[other] / far[first]:.3g} times" for other in others)
        same = max(far.values()) < 1.01 * min(far.values())
        found[name] = Exact(same, f"{', '.join(told)} as far as {first}")
    return {"C36": found}


LR = 0.01  # small enough that no weight runs past its goal


def _movements(number: float, steps: int = 20) -> dict[str, dict[str, Tensor]]:
    """What a strength adds to the path of three weights: {optimizer: {where written: (3,)}}."""
    start = torch.ones(3, dtype=torch.float64)
    toward = torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)

    def go(step: Callable, state, penalty: float = 0.0) -> Tensor:
        w = start
        for _ in range(steps):
            w = w.clone().requires_grad_()
            # Keras: `L2(number)` adds number * sum(w ** 2) to the loss.
            loss = (toward * (w - 0.5).square()).sum() + penalty * w.square().sum()
            [slope] = torch.autograd.grad(loss, w)
            w, state = step(w.detach(), slope, state)
        return w

    def sgd(decay=0.0):
        return lambda w, g, state: sgd_step(w, g, state, lr=LR, weight_decay=decay)

    def adam(decay=0.0, *, decoupled=False):
        how = {"lr": LR, "weight_decay": decay, "decoupled": decoupled}
        return lambda w, g, state: adam_step(w, g, state, **how)

    def torch_adamw(decay=0.0):
        w = nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([w], LR, weight_decay=decay)

        def step(now, g, state):
            w.grad = g
            optimizer.step()
            return w.detach().clone(), state

        return step

    none = no_moments(start)
    free = {"SGD": go(sgd(), None), "Adam": go(adam(), none), "AdamW": go(adam(), none)}
    written = {
        "SGD": {
            "PyTorch SGD(weight_decay)": go(sgd(number), None),
            "Keras L2": go(sgd(), None, number),
        },
        "Adam": {
            "PyTorch Adam(weight_decay)": go(adam(number), none),
            "Keras L2": go(adam(), none, number),
            "Keras Adam(weight_decay)": go(adam(number, decoupled=True), none),
        },
        "AdamW": {
            "PyTorch AdamW(weight_decay)": go(torch_adamw(number), None),
            "Keras AdamW(weight_decay)": go(adam(number, decoupled=True), none),
        },
    }
    return {n: {k: w - free[n] for k, w in by.items()} for n, by in written.items()}


@experiment("C37", "C37b", recipe=RECIPE)
def usual_range(seeds, world):
    """Five decays of the usual range, five outside of it, for three optimizers.

    Of the range, 1e-3 alone is compared with none: two trainings, and nothing to choose from.
    """
    # A small convolutional network takes 7 times as long, and SGD shows nothing that Adam does not.
    names = ("Adam", "AdamW") if world.headline else tuple(OPTIMIZERS)
    c37, c37b = {}, {}
    for where, (task, monitor) in _benches(world).items():
        for name in names:
            how = replace(OPTIMIZERS[name], first_seed=seeds[0], n_seeds=len(seeds))
            others, usual = OTHERS[name], USUAL
            if where == "clean digits":  # where no decay helps, none of them is too small
                others, usual = others[:1], usual[-1:]
            decays = {"weight_decay": (*others, *usual)}
            how = replace(how, monitor=monitor)
            runs = sweep(world.net, task, how, decays, record=()).runs
            for moment, weights in _moments(monitor).items():
                known = f"{where}, {name}, {moment}"
                c37b[known] = tuple(
                    crossed(correct(some, task, weights=weights)) for some in (runs[0], runs[-1])
                )
                if len(usual) > 1:
                    n = len(others)
                    c37[known] = tuple(_tuned(some, task, weights) for some in (runs[:n], runs[n:]))
    return {"C37": c37, "C37b": c37b}


LAYERS = ("first", "middle", "last")
EVERYWHERE = [dict.fromkeys(LAYERS, float(s)) for s in np.geomspace(3e-4, 0.04, 9)]
# The farther back a layer, the more it bears.
STRONG = {"first": (0.01, 0.05, 0.25), "middle": (0.01, 0.1, 1.0), "last": (0.1, 0.5, 2.5)}
SINGLE = [dict.fromkeys(LAYERS, 0.0) | {name: s} for name in LAYERS for s in STRONG[name]]


@experiment("S09", recipe=RECIPE)
def all_layers_or_one(seeds, world):
    """Nine strengths for all three layers, against three for each single one."""
    how, grid = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds)), EVERYWHERE + SINGLE
    s09 = {}
    for where, (task, monitor) in _benches(world).items():
        how = replace(how, monitor=monitor)
        runs = sweep(world.net, task, how, grid, penalty=by_layer, record=()).runs
        halves = runs[len(EVERYWHERE) :], runs[: len(EVERYWHERE)]
        for moment, weights in _moments(monitor).items():
            single, everywhere = (_tuned(half, task, weights) for half in halves)
            s09[f"{where}, {moment}"] = single, everywhere
    return {"S09": s09}


def by_layer(params: Mapping[str, Tensor], first, middle, last) -> Tensor:
    """The L2 penalty with a strength for each of three layers."""
    matrices = [w for w in params.values() if w.ndim == 2]
    strengths = zip((first, middle, last), matrices, strict=True)
    return sum(strength / 2 * w.square().sum() for strength, w in strengths)
