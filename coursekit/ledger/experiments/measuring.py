"""Measuring itself: worn validation sets, single runs, cross-validation (lessons 00 and 01).

Axes: S seeds, A settings, N examples, R runs of one seed.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from coursekit.datasets.tasks import Task, stream
from coursekit.ledger.evidence import correct, crossed, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.experiments.overfitting import replaced
from coursekit.ledger.worlds import World
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit

RECIPE = Recipe(epochs=20, batch_size=50, lr=3e-3)
ORDERS = 10  # in which each seed looks at the settings; their mean scatters less than one
LOOKS = {60: (3, 10, 30, 100), 300: (30, 100)}  # settings tried, by validation digits


def _settings(n: int) -> list[dict[str, float]]:
    """What a search might try: learning rate, weight decay and dropout at random."""
    draws = np.random.default_rng(12)
    return [
        {
            "lr": float(10 ** draws.uniform(-2.5, -2)),
            "weight_decay": float(10 ** draws.uniform(-5, -2)),
            "dropout": float(draws.uniform(0.05, 0.6)),
        }
        for _ in range(n)
    ]


class _Search:
    """Settings that were all trained, and the orders in which each seed looks at them."""

    def __init__(self, runs: Sequence, task: Task, seeds: Sequence[int]):
        self.runs = runs
        self.test = np.array([correct(r, task, weights="final") for r in runs])  # (A, S, N)
        draws = [stream(seed, "order of settings") for seed in seeds]
        self.orders = [  # ORDERS times (S, A)
            np.array([torch.randperm(len(runs), generator=d).numpy() for d in draws])
            for _ in range(ORDERS)
        ]

    def gains(self, task: Task, n_val: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain of the best of k settings over a blind choice: promised (S,), delivered (S, N)."""
        fewer = replace(task, n_val=n_val)  # the first of each seed's validation digits
        val = np.array([evaluate(r, fewer, "val", weights="final").acc for r in self.runs])
        each = np.arange(val.shape[1])
        promised, delivered = [], []
        for order in self.orders[: 1 if k == len(self.runs) else ORDERS]:
            looked_at = order[:, :k]
            best = looked_at[each, val[looked_at, each[:, None]].argmax(1)]
            promised.append(val[best, each])
            delivered.append(self.test[best, each])
        means = val.mean(0), self.test.mean(0)
        return np.mean(promised, axis=0) - means[0], np.mean(delivered, axis=0) - means[1]


@experiment("C12", recipe=RECIPE)
def looks(seeds, world):
    """A hundred random settings; the best on validation, and what the test set says of it."""
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    net = partial(world.net, hidden=(64,))
    n = 100 if world.network == "mlp" else 30  # convolutions take twenty times as long
    c12 = {}

    def tell(name: str, search: _Search, task: Task, n_val: int, k: int) -> None:
        promised, delivered = search.gains(task, n_val, k)
        c12[f"{name}, {n_val} to validate, best of {k}"] = crossed(delivered), plain(promised)

    for name, noise in (("clean digits", 0.0), ("noisy digits", 0.4)):
        task = world.digits(label_noise=noise)
        search = _Search(sweep(net, task, recipe, _settings(n), record=()).runs, task, seeds)
        for n_val, ks in LOOKS.items():
            for k in (k for k in ks if k <= n):
                tell(name, search, task, n_val, k)
        few, many = (_optimism(*search.gains(task, 60, k)) for k in (3, 30))
        c12[f"{name}, 60 to validate, from 3 to 30"] = crossed(few), crossed(many)
    # The same networks, and an answer key as bad as their training labels, on both exams.
    noisy = replace(task, y=replaced(task.y, 0.4, "key of the pool"))
    noisy = replace(noisy, y_test=replaced(task.y_test, 0.4, "key of the test"))
    search = _Search(search.runs, noisy, seeds)
    for n_val in LOOKS:
        for k in (k for k in (30, 100) if k <= n):
            tell("noisy validation labels", search, noisy, n_val, k)
    return {"C12": c12}


def _optimism(promised: np.ndarray, delivered: np.ndarray) -> np.ndarray:
    return promised[:, None] - delivered


RUNS = 16  # trainings of each method that a seed of the ledger stands for
TRUE_GAIN = 0.01


def _scatter(scores: np.ndarray) -> np.ndarray:
    """Deviations (S, R) from the mean of each group, which takes a part of the spread away."""
    n = scores.shape[1]
    return (scores - scores.mean(1, keepdims=True)) * (n / (n - 1)) ** 0.5


def _wrong_shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Share (S,) of runs in which the method that is truly better by a point comes out worse."""
    return (_scatter(b - a) + TRUE_GAIN < 0).mean(1)


def _wrong_unrelated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same for pairs of runs that have no seed in common."""
    half = a.shape[1] // 2
    pairs = ((a[:, :half], b[:, half:]), (a[:, half:], b[:, :half]))
    wrong = [
        (_scatter(y)[:, None, :] - _scatter(x)[:, :, None] + TRUE_GAIN < 0).mean((1, 2))
        for x, y in pairs
    ]
    return np.mean(wrong, axis=0)


@experiment("C16", recipe=replace(RECIPE, epochs=40))
def single_runs(seeds, world):
    """Sixteen runs with and without dropout per seed; how often one pair names the wrong winner."""
    recipe = replace(RECIPE, epochs=40, first_seed=RUNS * seeds[0], n_seeds=RUNS * len(seeds))
    c16 = {}
    for name, noise in (("noisy labels", 0.4), ("clean labels", 0.0)):
        task = world.digits(label_noise=noise)
        a, b = (
            evaluate(
                fit(world.net(task, (64,), dropout=rate), task, recipe, record=()),
                task,
                weights="final",
            ).acc.reshape(len(seeds), RUNS)
            for rate in (0.0, 0.5)
        )
        bar = plain(0.2, len(seeds))
        c16[f"{name}, unrelated runs"] = bar, plain(_wrong_unrelated(a, b))
        c16[f"{name}, shared seeds"] = bar, plain(_wrong_shared(a, b))
    return {"C16": c16}


SAMPLES = 20  # sets of 100 digits that a seed of the ledger stands for
ALPHAS = np.geomspace(1e-3, 1e3, 13)
ONE = 6  # the place of alpha = 1


def _accuracies(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Accuracy (A,) on `test` of ridge regression on one-hot labels of `train`, by penalty."""
    u, s, vt = np.linalg.svd(x[train], full_matrices=False)
    kept = s / (s**2 + ALPHAS[:, None])  # (A, r)
    guesses = (x[test] @ vt.T) @ (kept[:, :, None] * (u.T @ np.eye(10)[y[train]]))  # (A, N, C)
    return (guesses.argmax(-1) == y[test]).mean(1)


def _by_folds(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Accuracies (5, A) of five-fold cross-validation of some rows, one for each fold."""
    folds = rows.reshape(5, -1)
    return np.array([_accuracies(x, y, np.setdiff1d(rows, fold), fold) for fold in folds])


def _estimates(x: np.ndarray, y: np.ndarray, draws: np.random.Generator) -> list[np.ndarray]:
    """Truth, five-fold cross-validation and hold-out (A,) for a model of 100 digits.

    And cross-validation of the other 80, by which one who holds 20 digits out chooses.
    """
    rows = draws.permutation(len(y))
    few, rest = rows[:100], rows[100:]
    folds = _by_folds(x, y, few)
    inside = _by_folds(x, y, few[20:]).mean(0)
    return [_accuracies(x, y, few, rest), folds.mean(0), folds[0], inside]


def _of_one_seed(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Means over the samples: truth, estimate by cross-validation, and how far that and the
    hold-out are off; for one penalty and for the best of all, (2, 4).
    """
    draws, found = np.random.default_rng(seed), []
    for _ in range(SAMPLES):
        truth, folds, held_out, inside = _estimates(x, y, draws)
        rows = []
        for by_folds, by_part in ((ONE, ONE), (folds.argmax(), inside.argmax())):
            off = abs(folds[by_folds] - truth[by_folds]), abs(held_out[by_part] - truth[by_part])
            rows.append((truth[by_folds], folds[by_folds], *off))
        found.append(rows)
    return np.mean(found, axis=0)


@experiment("C11")
def estimates(seeds, world: World):
    """Twenty sets of 100 digits per seed: what two estimates say, and the truth on all others."""
    task = world.digits()
    x = torch.cat([task.x, task.x_test]).flatten(1).cpu().double().numpy()
    y = torch.cat([task.y, task.y_test]).cpu().numpy()
    found = np.array([_of_one_seed(seed, x, y) for seed in seeds])  # (S, 2, 4)
    c11 = {}
    for i, name in enumerate(("one penalty", "best of 13 penalties")):
        truth, folds, off_folds, off_part = found[:, i].T
        c11[f"{name}, estimate"] = plain(truth), plain(folds)
        c11[f"{name}, distance"] = plain(off_folds), plain(off_part)
    return {"C11": c11}
