"""Stochastic depth: does skipping blocks regularize a deep residual network, and by which rule?

Axes: S seeds, A arms, N examples.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from coursekit.datasets.tasks import Task
from coursekit.ledger.evidence import Exact, chosen, correct, crossed, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.experiments.dropout import LABEL_NOISE, MOMENTS, step_time
from coursekit.regularizers.depth import Residual, expected_depth, residual, survivals
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit

BLOCKS, WIDTH, LASTS = 24, 64, (0.8, 0.5, 0.2)  # 0.5 is what the paper recommends
RECIPE = Recipe(epochs=40, batch_size=50, lr=1e-3)
SHALLOW = replace(RECIPE, epochs=60, lr=3e-3)  # as in lesson 04
# An epoch has four steps: with PyTorch's 0.1, running statistics would lag behind the weights, and
# early stopping would see that rather than the network.
norm = partial(nn.BatchNorm1d, momentum=0.5)


def kept_by(rule: str, last: float) -> list[float]:
    """Survival of each block: linear in depth, or with the same expected depth by another rule."""
    linear = survivals(BLOCKS, last)
    even = [expected_depth(linear) / BLOCKS] * BLOCKS
    return {"linear": linear, "uniform": even, "turned round": linear[::-1]}[rule]


def deep(task: Task, last: float, rule: str):
    """Make residual networks of 24 blocks; a branch is batch norm, ReLU and a linear layer."""

    def make() -> nn.Module:
        blocks = []
        for kept in kept_by(rule, last):
            branch = norm(WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH, bias=False)
            blocks.append(Residual(nn.Sequential(*branch), kept))
        stem = nn.Flatten(), nn.Linear(task.x[0].numel(), WIDTH, bias=False)
        head = norm(WIDTH), nn.ReLU(), nn.Linear(WIDTH, task.n_outputs)
        return nn.Sequential(*stem, *blocks, *head)

    return make


def _on(seeds: Sequence[int], recipe: Recipe) -> Recipe:
    return replace(recipe, first_seed=seeds[0], n_seeds=len(seeds))


@experiment("C83", "C83b", "C83t", recipe=RECIPE)
def regularizes(seeds, world):
    """24 blocks, plain, with stochastic depth of three strengths, and by three rules; an MLP."""
    arms = [("linear", 1.0), *(("linear", last) for last in LASTS)]
    arms += [("uniform", 0.5), ("turned round", 0.5)]
    c83, shallow = {}, {}
    for name, noise in LABEL_NOISE.items():
        task = world.digits(label_noise=noise)
        grid = [{"rule": rule, "last": last} for rule, last in arms]
        runs = sweep(deep, task, _on(seeds, RECIPE), grid, record=()).runs
        mlp = fit(world.net(task), task, _on(seeds, SHALLOW), record=())
        for when, weights in MOMENTS.items():
            test = np.array([correct(r, task, weights=weights) for r in runs])
            val = np.array([evaluate(r, task, "val", weights=weights).acc for r in runs])
            without, tuned = crossed(test[0]), crossed(chosen(val[1:4], test[1:4]))
            c83[f"{name}, {when}, against all blocks"] = without, tuned
            rules = {rule: crossed(test[i]) for i, (rule, _) in enumerate(arms) if i != 1}
            half = crossed(test[arms.index(("linear", 0.5))])
            for rule in ("uniform", "turned round"):
                c83[f"{name}, {when}, against {rule}"] = rules[rule], half
            flat = crossed(correct(mlp, task, weights=weights))
            shallow[f"{name}, {when}, all blocks"] = flat, without
            shallow[f"{name}, {when}, with stochastic depth"] = flat, tuned
    nets = [deep(task, last, "linear") for last in (1.0, 0.5)]
    percent = [step_time(*nets, task, seed) for seed in seeds]
    time = {"24 blocks, last survival 0.5": (plain(100.0, len(seeds)), plain(percent))}
    return {"C83": c83, "C83b": shallow, "C83t": time}


@experiment("S23")
def intact():
    """One block over its two coins, in double precision: what is skipped, what is right at test.

    The branch is nonlinear and the same in all parts. "Intact" is the unscaled block, as the claim
    has it.
    """
    draws = torch.Generator().manual_seed(0)
    h, weight = (torch.randn(4, 4, generator=draws, dtype=torch.float64) for _ in range(2))
    survival, computed = 0.6, []

    def branch(h: torch.Tensor) -> torch.Tensor:
        computed.append(len(h))
        return torch.tanh(h @ weight)

    skipped = residual(h, branch, 0.0, training=True)  # survival 0: the coin always says skip
    free = skipped is h and not computed
    kept = residual(h, branch, 1.0, training=True)
    mean = survival * kept + (1 - survival) * skipped
    found = {"intact": h + branch(h), "scaled": residual(h, branch, survival, training=False)}
    off = {name: float((mean - at_test).abs().max()) for name, at_test in found.items()}
    used = _used_at_test()
    told = {
        name: f"largest difference from the mean of training {o:.1g}" for name, o in off.items()
    }
    return {
        "S23": {
            "a dropped block is the identity, and is not computed": Exact(
                free, "the very same tensor comes out, and the branch was never called"
            ),
            "at test each block is used": Exact(
                used == [*range(6)], f"blocks used, of six that survive with 0.1: {len(used)}"
            ),
            "at test the block intact is the mean of training": Exact(
                off["intact"] < 1e-12, told["intact"]
            ),
            "at test the block scaled by its survival is": Exact(
                off["scaled"] < 1e-12, told["scaled"]
            ),
        }
    }


def _used_at_test() -> list[int]:
    """The blocks that a network of six computes in evaluation mode, in order."""
    used, h = [], torch.zeros(1, 1)

    def noted(h: torch.Tensor, block: int) -> torch.Tensor:
        used.append(block)
        return h

    for block in range(6):
        h = residual(h, partial(noted, block=block), 0.1, training=False)
    return used
