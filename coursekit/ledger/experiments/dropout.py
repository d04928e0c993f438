"""Dropout: what it costs, where it helps, what it averages. Axes: S seeds, A rates, N examples."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from coursekit.datasets.tasks import Task
from coursekit.ledger.evidence import chosen, correct, crossed
from coursekit.ledger.experiments import experiment
from coursekit.ledger.worlds import World
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3)
RATES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
WEIGHTS = {"last epoch": "final", "early-stopped": "best"}


def _benches(world: World) -> dict[str, Task]:
    found = {"clean digits": world.digits(), "noisy digits": world.digits(label_noise=0.4)}
    return found | ({"canvas digits": world.canvas()} if world.has_canvas else {})


def _swept(world: World, task: Task, seeds: Sequence[int], hidden: Sequence[int]) -> dict:
    """Validation accuracy (A, S) and test correctness (A, S, N) of all rates, by moment."""
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    net = partial(world.net, hidden=hidden)
    runs = sweep(net, task, recipe, {"dropout": RATES}, record=()).runs
    return {
        when: (
            np.array([evaluate(r, task, "val", weights=weights).acc for r in runs]),
            np.array([correct(r, task, weights=weights) for r in runs]),
        )
        for when, weights in WEIGHTS.items()
    }


@experiment("C44", recipe=RECIPE)
def rates(seeds, world):
    """Seven rates; each seed's validation digits choose the best one above 0."""
    c44 = {}
    for name, task in _benches(world).items():
        for when, (val, test) in _swept(world, task, seeds, (128, 128)).items():
            tuned = crossed(chosen(val[1:], test[1:]))
            c44[f"{name}, {when}"] = crossed(test[0]), tuned
    return {"C44": c44}
