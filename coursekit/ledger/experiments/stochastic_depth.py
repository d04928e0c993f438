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
from coursekit.ledger.evidence import Exact, Side, chosen, correct, crossed, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.experiments.dropout import LABEL_NOISE, MOMENTS, step_time
from coursekit.regularizers.depth import Residual, expected_depth, residual, survivals
from coursekit.results.runs import Runs
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate

BLOCKS, WIDTH, LASTS = 24, 64, (0.8, 0.5, 0.2)  # 0.5 is what the paper recommends
# The best of three is better than one by luck alone, so what has no survival to tune chooses among
# three widths, which draw other initial weights.
NEAR = (-1, 0, 1)
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


def deep(task: Task, last: float, rule: str, width: int = WIDTH):
    """Make residual networks of 24 blocks; a branch is batch norm, ReLU and a linear layer."""

    def make() -> nn.Module:
        blocks = []
        for kept in kept_by(rule, last):
            branch = norm(width), nn.ReLU(), nn.Linear(width, width, bias=False)
            blocks.append(Residual(nn.Sequential(*branch), kept))
        stem = nn.Flatten(), nn.Linear(task.x[0].numel(), width, bias=False)
        head = norm(width), nn.ReLU(), nn.Linear(width, task.n_outputs)
        return nn.Sequential(*stem, *blocks, *head)

    return make


def _on(seeds: Sequence[int], recipe: Recipe) -> Recipe:
    return replace(recipe, first_seed=seeds[0], n_seeds=len(seeds))


def _best(runs: Sequence[Runs], task: Task, weights: str) -> Side:
    """Test scores of the network that each seed's validation accuracy prefers."""
    test = np.array([correct(r, task, weights=weights) for r in runs])
    val = np.array([evaluate(r, task, "val", weights=weights).acc for r in runs])
    return crossed(chosen(val, test))


@experiment("C83", "C83b", "C83t", recipe=RECIPE)
def regularizes(seeds, world):
    """24 blocks, plain, with stochastic depth of three strengths, and by three rules; an MLP."""
    arms = [("linear", 1.0, WIDTH + near) for near in NEAR]
    arms += [("linear", last, WIDTH) for last in LASTS]
    arms += [("uniform", 0.5, WIDTH), ("turned round", 0.5, WIDTH)]
    grid = [dict(zip(("rule", "last", "width"), arm, strict=True)) for arm in arms]
    flat_grid = [{"hidden": (128 + near, 128 + near)} for near in NEAR]
    half = arms.index(("linear", 0.5, WIDTH))
    c83, shallow = {}, {}
    for name, noise in LABEL_NOISE.items():
        task = world.digits(label_noise=noise)
        runs = sweep(deep, task, _on(seeds, RECIPE), grid, record=()).runs
        flat_runs = sweep(world.net, task, _on(seeds, SHALLOW), flat_grid, record=()).runs
        for when, weights in MOMENTS.items():
            without, tuned = (_best(runs[i : i + 3], task, weights) for i in (0, 3))
            c83[f"{name}, {when}, against all blocks"] = without, tuned
            later, uniform, turned = (
                crossed(correct(runs[i], task, weights=weights)) for i in (half, -2, -1)
            )
            c83[f"{name}, {when}, against uniform"] = uniform, later
            c83[f"{name}, {when}, against turned round"] = turned, later
            flat = _best(flat_runs, task, weights)
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
    off = float((mean - (h + branch(h))).abs().max())
    used = _used_at_test()
    return {
        "S23": {
            "a dropped block is the identity, and is not computed": Exact(
                free, "the very same tensor comes out, and the branch was never called"
            ),
            "at test each block is used": Exact(
                used == [*range(6)], f"blocks used, of six that survive with 0.1: {len(used)}"
            ),
            "at test the block intact is the mean of training": Exact(
                off < 1e-12, f"largest difference from the mean of training {off:.1g}"
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
