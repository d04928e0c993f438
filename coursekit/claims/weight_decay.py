"""Weight decay inside optimizers: what it is, what its number means, how much, and where.

All networks are the default MLP on 200 digits; benches and recipes are fixed here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from coursekit import data, judge, models
from coursekit.claims.experiments import exact, experiment
from coursekit.datasets.tasks import Task
from coursekit.judge import Verdict
from coursekit.regularizers.decay import adam_step, no_moments, sgd_step
from coursekit.results.runs import Runs, evaluate
from coursekit.sweep import sweep
from coursekit.train import Recipe

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3, n_seeds=16)
OPTIMIZERS = {
    "SGD": replace(RECIPE, optimizer="sgd", lr=0.1, momentum=0.9),
    "Adam": RECIPE,
    "AdamW": replace(RECIPE, optimizer="adamw"),
}
DECAYS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 1.0, 3.0)
USUAL = (1e-5, 1e-4, 1e-3)
MOMENTS = {"last epoch": "final", "early stopped": "best"}

Optimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def benches() -> dict[str, Task]:
    """The three regimes: nothing to win, wrong labels to memorize, digits in random places."""
    return {
        "clean digits": data.load("digits"),
        "noisy digits": data.load("digits", label_noise=0.4),
        "canvas digits": data.load("canvas_digits"),
    }


@exact("C35")
def decay_and_penalty() -> dict[str, dict[str, bool]]:
    """Is `weight_decay` the L2 penalty, and does it shrink like a decay?

    Two facts for each optimizer of PyTorch. *Penalty*: 30 steps with `weight_decay` equal 30 steps
    on a loss with `weight_decay / 2 * ||w||^2` added, to 1e-9. *Decay*: of weights whose gradients
    only shake around 0, the same share is left (to 0.01) where gradients are 1000 times larger.
    The claim holds for an optimizer of which both are true.
    """
    kinds = {
        "SGD": lambda w, decay: torch.optim.SGD(w, 1e-3, weight_decay=decay),
        "SGD with momentum": lambda w, d: torch.optim.SGD(w, 1e-3, 0.9, weight_decay=d),
        "Adam": lambda w, decay: torch.optim.Adam(w, 1e-3, weight_decay=decay),
        "AdamW": lambda w, decay: torch.optim.AdamW(w, 1e-3, weight_decay=decay),
    }
    evidence = {}
    for name, kind in kinds.items():
        by_option, by_loss = descend(kind, 0.5, 0.0), descend(kind, 0.0, 0.5)
        evidence[f"{name}: it is the penalty"] = torch.allclose(by_option, by_loss, 1e-9, 1e-9)
        small, large = shares_left(lambda w, kind=kind: kind(w, 0.5), (0.01, 10.0), 1000)
        evidence[f"{name}: it is a decay"] = abs(small - large) < 0.01
    return {"C35": evidence}


def descend(kind: Callable, option: float, penalty: float, steps: int = 30) -> Tensor:
    """Weights after some steps on a loss with slopes from 0.01 to 10, with decay or penalty."""
    w = nn.Parameter(torch.linspace(-2, 2, 8, dtype=torch.float64))
    scale = torch.logspace(-2, 1, 8, dtype=torch.float64)
    optimizer = kind([w], option)
    for _ in range(steps):
        optimizer.zero_grad()
        ((scale * w.cos()).sum() + penalty / 2 * w.square().sum()).backward()
        optimizer.step()
    return w.detach()


def shares_left(make: Optimizer, sizes: Sequence[float], steps: int) -> list[float]:
    """Share left of weights of 1 whose gradients are plus and minus `size` in turn.

    For each size, the mean of two weights with opposite signs: what the shaking itself does to a
    weight cancels.
    """
    size = torch.tensor(sizes, dtype=torch.float64).repeat_interleave(2)
    size[1::2] *= -1
    w = nn.Parameter(torch.ones_like(size))
    optimizer = make([w])
    for step in range(steps):
        w.grad = (-1) ** step * size
        optimizer.step()
    return w.detach().reshape(-1, 2).mean(1).tolist()


@exact("C36")
def one_number() -> dict[str, dict[str, bool]]:
    """Does 1e-4 give the same weights, to 1e-9, whatever it is written in?

    20 steps with each documented meaning of the number, by optimizer; the claim holds for an
    optimizer if all of its meanings agree. Keras is not run here: its `L2` is written as the loss
    term that its documentation gives, differentiated by autograd, and the `weight_decay` of its
    optimizers as the documented `w - w * weight_decay * lr`.
    """
    meanings = one_number_many_meanings(1e-4)
    agree = {
        name: all(torch.allclose(w, others[0], 0, 1e-9) for w in others)
        for name, others in ((name, list(by.values())) for name, by in meanings.items())
    }
    return {"C36": agree}


def one_number_many_meanings(number: float, steps: int = 20) -> dict[str, dict[str, Tensor]]:
    """Weights after some steps at lr 0.1: {optimizer: {where the number is written: (3,)}}."""
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
        return lambda w, g, state: sgd_step(w, g, state, lr=0.1, weight_decay=decay)

    def adam(decay=0.0, *, decoupled=False):
        how = {"lr": 0.1, "weight_decay": decay, "decoupled": decoupled}
        return lambda w, g, state: adam_step(w, g, state, **how)

    def published(w, g, state):
        # Loshchilov and Hutter subtract number * w: not times the learning rate.
        return adam_step(w, g, state, lr=0.1, weight_decay=number / 0.1, decoupled=True)

    none = no_moments(start)
    return {
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
            "PyTorch AdamW(weight_decay)": go(adam(number, decoupled=True), none),
            "Keras AdamW(weight_decay)": go(adam(number, decoupled=True), none),
            "AdamW as published": go(published, none),
        },
    }


@experiment("C37", n_seeds=32, recipe=RECIPE)
def usual_range(seeds: Sequence[int]) -> dict[str, dict[str, Verdict]]:
    """Is the best weight decay between 1e-5 and 1e-3?

    Three optimizers on three benches. Each seed chooses by its validation accuracy among 1e-5,
    1e-4 and 1e-3, and again among all other decays, 0 to 3, none included; the two choices meet
    on the test set. Supported where the usual range wins by more than a point, at the last epoch
    or with early-stopped weights; no difference where nothing outside of it is needed, and nothing
    in it either.
    """
    evidence = {}
    for where, task in benches().items():
        for name, recipe in OPTIMIZERS.items():
            how = replace(recipe, first_seed=seeds[0], n_seeds=len(seeds))
            runs = sweep(models.mlp, task, how, {"weight_decay": DECAYS}, record=()).runs
            usual = [r for r, decay in zip(runs, DECAYS, strict=True) if decay in USUAL]
            others = [r for r, decay in zip(runs, DECAYS, strict=True) if decay not in USUAL]
            for moment, weights in MOMENTS.items():
                control, treated = (tuned(arms, task, weights) for arms in (others, usual))
                evidence[f"{where}, {name}, {moment}"] = judge.raises(
                    "a decay of 1e-5 to 1e-3 beats all others", control, treated, "accuracy"
                )
    return {"C37": evidence}


@experiment("S09", n_seeds=48, recipe=RECIPE)
def all_layers_or_one(seeds: Sequence[int]) -> dict[str, dict[str, Verdict]]:
    """Does one strength for all layers beat one large strength for a single layer?

    Both sides try 12 penalties: all three layers at 12 strengths from 1e-4 to 0.1, or one of the
    three layers at 4 from 0.03 to 1. Each seed chooses by validation accuracy on either side; the
    two choices meet on the test set, at the last epoch and with early-stopped weights.
    """
    everywhere = [dict.fromkeys(LAYERS, strength) for strength in np.geomspace(1e-4, 0.1, 12)]
    nowhere = dict.fromkeys(LAYERS, 0.0)
    single = [nowhere | {layer: s} for layer in LAYERS for s in (0.03, 0.1, 0.3, 1.0)]
    how = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    evidence = {}
    for where, task in benches().items():
        study = sweep(models.mlp, task, how, [*everywhere, *single], penalty=by_layer, record=())
        for moment, weights in MOMENTS.items():
            halves = study.runs[: len(everywhere)], study.runs[len(everywhere) :]
            treated, control = (tuned(half, task, weights) for half in halves)
            evidence[f"{where}, {moment}"] = judge.raises(
                "small penalties everywhere beat a large one", control, treated, "accuracy"
            )
    return {"S09": evidence}


LAYERS = ("first", "middle", "last")


def by_layer(params: Mapping[str, Tensor], first, middle, last) -> Tensor:
    """The L2 penalty with a strength for each of three layers."""
    matrices = [w for w in params.values() if w.ndim == 2]
    strengths = zip((first, middle, last), matrices, strict=True)
    return sum(strength / 2 * w.square().sum() for strength, w in strengths)


def tuned(arms: Iterable[Runs], task: Task, weights: str) -> np.ndarray:
    """Test accuracy (S,) of the arm that each seed chooses by its validation accuracy."""
    arms = list(arms)
    val, test = (
        np.array([evaluate(runs, task, part, weights=weights).acc for runs in arms])
        for part in ("val", "test")
    )  # (A, S) each
    return test[val.argmax(0), np.arange(val.shape[1])]
