"""Data of the film strip: how well trained networks read when some of their blocks are gone.

Networks of 6, 12 and 24 residual blocks are trained with stochastic depth, the last block surviving
with 1 (plain), 0.9, ..., 0.2, by the linear rule, and by the uniform one at equal expected depth.
Then blocks are taken out, the same ones of every network and each equally often, and new digits
are read with what is left. Batch norm would notice that blocks are missing; so its means and
variances are taken anew, from the training digits, for each sub-network.

The rest of the explorer is arithmetic, in `filmstrip.js` and again here.

Axes: S seeds, N examples, L blocks, M training steps, D features, C classes.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from coursekit import data, models
from coursekit.explorers import STATES
from coursekit.explorers.masks import random
from coursekit.ledger.rule import standard_error
from coursekit.regularizers.depth import expected_depth, survivals
from coursekit.results.runs import Runs
from coursekit.sweep import sweep
from coursekit.train import Recipe

BLOCKS = tuple(sorted(STATES["filmstrip"]["blocks"]))
LASTS = STATES["filmstrip"]["survival"]  # of the last block by the linear rule, percent
RULES = ("linear", "uniform")
RECIPE = Recipe(epochs=40, batch_size=50, lr=1e-3, n_seeds=8)
STRIDE = {6: 1, 12: 1, 24: 2}  # depths that are measured, by number of blocks
LONGEST = 24  # coins of a step: the same ones however many blocks there are


def kept_by(rule: str, n_blocks: int, last: float) -> list[float]:
    """Survival of each block by the linear rule, or all alike with the same expected depth."""
    linear = survivals(n_blocks, last)
    return linear if rule == "linear" else [expected_depth(linear) / n_blocks] * n_blocks


def law(kept: Sequence[float]) -> np.ndarray:
    """Chance that a training step computes 0, 1, ..., L blocks, (L + 1,): Poisson binomial."""
    chance = np.ones(1)
    for p in kept:
        chance = np.convolve(chance, [1 - p, p])
    return chance


def steps(kept: Sequence[float], n: int) -> np.ndarray:
    """Blocks that survive in the first n training steps, (M, L) of bool."""
    coins = random(7)
    tossed = [list(islice(coins, LONGEST))[: len(kept)] for _ in range(n)]
    return np.array(tossed) < np.array(kept)


def paths(alive: Sequence[bool]) -> list[np.ndarray]:
    """Share of the paths that have passed 0, 1, ... branches, before each block and at the end."""
    shares = [np.ones(1)]
    for there in alive:
        before = np.append(shares[-1], 0.0)
        shares.append((before + np.roll(before, 1)) / 2 if there else before)
    return shares


def standard(x: Tensor, of: Tensor) -> Tensor:
    """Batch norm without scale and shift: mean and variance of features (S, N, D) `of` others."""
    return (x - of.mean(1, keepdim=True)) / (of.var(1, keepdim=True, correction=0) + 1e-5).sqrt()


def read(runs: Runs, x: Tensor, own: Tensor, factors: Sequence[float], weights: str) -> Tensor:
    """Logits (S, N, C) for x (N, ...), each branch times a factor, batch norm anew from `own`.

    `own` (S, N, ...) are digits of each network, from which its means and variances are taken.
    """
    state = {k: v.to(x.device) for k, v in getattr(runs, weights).items()}
    linear = [k for k, v in state.items() if v.ndim == 3]  # stem, branches, head
    norms = [k for k, v in state.items() if v.ndim == 2 and k.endswith("weight")]
    n = own.shape[1]

    def branch(h: Tensor, norm: str, weight: str) -> Tensor:
        scale, shift = (state[norm.replace("weight", part)][:, None] for part in ("weight", "bias"))
        return (standard(h, h[:, :n]) * scale + shift).relu() @ state[weight].mT

    both = torch.cat([own.flatten(2), x.flatten(1).expand(len(own), -1, -1)], 1)
    h = both @ state[linear[0]].mT
    for factor, norm, weight in zip(factors, norms[:-1], linear[1:-1], strict=True):
        if factor:
            h = h + factor * branch(h, norm, weight)
    bias = state[linear[-1].replace("weight", "bias")][:, None]
    return (branch(h, norms[-1], linear[-1]) + bias)[:, n:]


def subnetworks(n_blocks: int, depth: int) -> list[list[float]]:
    """Return which blocks are left, 1 or 0: as many of each, and every block equally often."""
    order = torch.randperm(n_blocks, generator=torch.Generator().manual_seed(n_blocks)).tolist()
    there = []
    for start in range(0, n_blocks, STRIDE[n_blocks]):
        left = {order[(start + i) % n_blocks] for i in range(depth)}
        there.append([float(block in left) for block in range(n_blocks)])
    return there


def measure() -> dict:
    """Train everything: what `filmstrip.js` reads. Takes about four minutes on one core."""
    task = data.load("digits")
    x, y = task.x_test[::2], task.y_test[::2].cpu().numpy()
    found = {}
    for n_blocks in BLOCKS:
        taken = [subnetworks(n_blocks, d) for d in range(0, n_blocks + 1, STRIDE[n_blocks])]
        for rule in RULES:
            lasts = [p for p in LASTS if rule == "linear" or p < 100]
            kept = [kept_by(rule, n_blocks, p / 100)[-1] for p in lasts]
            grid = {"survival": kept, "rule": [rule], "n_blocks": [n_blocks]}
            study = sweep(_resnet, task, RECIPE, grid, record=())
            for last, runs in zip(lasts, study.runs, strict=True):
                rows = task.deal(runs.seeds).train_rows
                own = task.x[rows]  # (S, N, ...)
                curve = []
                for which in taken:
                    right = [
                        (read(runs, x, own, f, "final").argmax(-1).cpu().numpy() == y)
                        for f in which
                    ]
                    curve.append(_interval(100 * np.mean(right, 0)))
                found[f"{n_blocks} {rule} {last}"] = np.round(curve, 1).tolist()
    return {
        "depths": {str(n): [*range(0, n + 1, STRIDE[n])] for n in BLOCKS},
        "curves": found,  # percent of new digits read correctly: mean, low, high of each depth
        "n_seeds": RECIPE.n_seeds,
        "n_test": len(y),
        "recipe": (
            f"{RECIPE.n_seeds} networks for each number of blocks, survival and rule; a linear "
            "layer, residual blocks of batch norm, ReLU and a linear layer of 64 units, and at the "
            "end batch norm, ReLU and a linear layer; trained on 200 handwritten digits of 8 x 8 "
            f"pixels with {RECIPE.epochs} epochs of Adam at {RECIPE.lr} and batches of "
            f"{RECIPE.batch_size}, one coin per block and batch; then, for each depth, "
            "all but so many blocks taken out, 6 to 12 times, in a random order in which every "
            "block is left equally often, the same ones in all networks; those that are left add "
            "all that they compute, not scaled by their survival; means and variances of batch "
            "norm taken anew from the training digits"
        ),
    }


def _resnet(task, survival: float, rule: str, n_blocks: int):
    return models.resnet(task, n_blocks, survival=survival, rule=rule)


def _interval(right: np.ndarray) -> tuple[float, float, float]:
    """Mean of (S, N) scores and its 95 % interval over networks and test digits."""
    by_seed, by_digit = right.mean(1), right.mean(0)
    error, df = standard_error(
        by_seed.std(ddof=1), len(by_seed), by_digit.std(ddof=1), right.shape[1]
    )
    half = student.isf(0.025, df) * error
    return by_seed.mean(), max(0.0, by_seed.mean() - half), min(100.0, by_seed.mean() + half)
