"""Stochastic depth: does skipping blocks regularize a deep residual network, and by which rule?"""

from dataclasses import replace
from functools import partial

import torch

from coursekit import data, judge, models
from coursekit.claims.experiments import exact, experiment
from coursekit.regularizers.depth import expected_depth, residual, survivals
from coursekit.train import Recipe, evaluate, fit

BLOCKS, LAST = 24, 0.5  # the survival of the last block that the paper recommends
RECIPE = Recipe(epochs=40, batch_size=50, lr=1e-3)
WEIGHTS = {"last epoch": "final", "early stopped": "best"}


@experiment("C83", n_seeds=32, recipe=RECIPE)
def regularizes(seeds):
    """A residual network of 24 blocks without and with stochastic depth, last block at 0.5.

    On clean and noisy digits, at the last epoch and early stopped. And, because the claim makes
    the rate a function of depth, the linear rule against the uniform one at equal expected depth.
    Supported where the whole interval is above one point of test accuracy.
    """
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    clean = data.load("digits")
    even = expected_depth(survivals(BLOCKS, LAST)) / BLOCKS
    evidence, rule = {}, {}
    for name, task in (("clean", clean), ("noisy", replace(clean, label_noise=0.4))):
        net = partial(models.resnet, task, BLOCKS)
        plain, linear, uniform = (
            fit(make, task, recipe, record=())
            for make in (net(), net(survival=LAST), net(survival=even, rule="uniform"))
        )
        for when, weights in WEIGHTS.items():
            control, treated, other = (
                evaluate(runs, task, "test", weights=weights).acc
                for runs in (plain, linear, uniform)
            )
            evidence[f"{name} digits, {when}"] = judge.raises(
                "stochastic depth raises the accuracy", control, treated, "accuracy"
            )
            if weights == "best":
                rule[f"{name} digits, linear against uniform"] = judge.raises(
                    "the linear rule raises the accuracy", other, treated, "accuracy"
                )
    return {"C83": evidence | rule}


@exact("S23")
def intact():
    """One block over its two coins, in double precision: what is skipped, what is right at test.

    The branch is nonlinear and the same in all parts. "Intact" is the unscaled block, as the claim
    has it; its output must equal the mean of training to 12 digits. So must the scaled one's.
    """
    draws = torch.Generator().manual_seed(0)
    h, weight = (torch.randn(4, 4, generator=draws, dtype=torch.float64) for _ in range(2))
    survival, computed = 0.6, []

    def branch(h):
        computed.append(len(h))
        return torch.tanh(h @ weight)

    skipped = residual(h, branch, 0.0, training=True)  # survival 0: the coin always says skip
    free = skipped is h and not computed
    kept = residual(h, branch, 1.0, training=True)
    mean = survival * kept + (1 - survival) * skipped
    close = partial(torch.allclose, mean, rtol=0, atol=1e-12)
    return {
        "S23": {
            "a dropped block is the identity, and is not computed": free,
            "at test each block is used": _all_used(),
            "at test the block intact is the mean of training": close(h + branch(h)),
            "at test the block scaled by its survival is": close(
                residual(h, branch, survival, training=False)
            ),
        }
    }


def _all_used(n_blocks: int = 6) -> bool:
    """Whether a network in evaluation mode computes each of its blocks, once and in order."""
    used, h = [], torch.zeros(1, 1)
    for block in [*range(n_blocks)] * 20:
        h = residual(h, partial(_noted, used, block), 0.1, training=False)
    return used == [*range(n_blocks)] * 20


def _noted(used: list[int], block: int, h: torch.Tensor) -> torch.Tensor:
    used.append(block)
    return h
