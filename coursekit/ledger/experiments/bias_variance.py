"""Bias and variance, more data, more parameters (lesson 01).

Each seed stands for two networks, trained on training sets of their own. With f the truth and p, q
the two predictions, (p - f)(q - f) is an estimate of bias² without bias, and (p - q)² / 2 one of
the variance; they add up to the mean squared error of the two. So no seed depends on another one.

Axes: S seeds, 2S networks, N test examples, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from coursekit import linear, models
from coursekit.datasets.tasks import Task
from coursekit.ledger.evidence import Exact, chosen, correct, crossed, losses, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.experiments.overfitting import replaced
from coursekit.regularizers import augmentation
from coursekit.results.runs import Runs
from coursekit.train import Recipe, evaluate, fit, outputs

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3)
LONG = replace(RECIPE, epochs=100)


def _pairs(recipe: Recipe, seeds: Sequence[int], **changes) -> Recipe:
    return replace(recipe, first_seed=2 * seeds[0], n_seeds=2 * len(seeds), **changes)


def _halved(values: np.ndarray) -> np.ndarray:
    """Mean of the two networks of each seed: (2S, ...) to (S, ...)."""
    return values.reshape(len(values) // 2, 2, *values.shape[1:]).mean(1)


def _parts(runs: Runs, task: Task) -> dict[str, np.ndarray]:
    """Estimates (S, N) of bias², of variance and of their sum, of predicted probabilities."""
    p = outputs(runs, task.x_test, weights="final").double().softmax(-1).cpu().numpy()
    off = p - np.eye(10)[task.y_test.cpu()]
    a, b = off[::2], off[1::2]
    bias2, variance = (a * b).sum(-1), ((a - b) ** 2).sum(-1) / 2
    return {"bias²": bias2, "variance": variance, "error": bias2 + variance}


def _right(runs: Runs, task: Task) -> np.ndarray:
    return _halved(correct(runs, task, weights="final"))


def _gaps(runs: Runs, task: Task) -> dict[str, np.ndarray]:
    """Gaps (S, N) between training and each test example: in accuracy, and in nats.

    The labels of the exam are as bad as those of the training set: else there would be a gap
    without any overfitting.
    """
    train = evaluate(runs, task, "train", weights="final")
    task = replace(task, y_test=replaced(task.y_test, task.label_noise, "key of the test"))
    return {
        "gap in points": _halved(train.acc)[:, None] - _right(runs, task),
        "gap in nats": _halved(losses(runs, task, weights="final") - train.loss[:, None]),
    }


def _ridge_parts(
    seed: int, n: int, alphas: np.ndarray, d: int = 20, sigma: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Exact bias² and variance (A,) per training input, in units of the noise's variance."""
    draws = np.random.default_rng(seed)
    x, beta = draws.normal(size=(n, d)), draws.normal(size=d)
    _, s, vt = np.linalg.svd(x, full_matrices=False)
    kept = s**2 / (s**2 + alphas[:, None])
    bias2 = (((1 - kept) * s * (vt @ beta)) ** 2).sum(1) / (n * sigma**2)
    return bias2, (kept**2).sum(1) / n


ALPHAS = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 200)])


FEATURES = (50, 200, 4000)  # a quarter of the 200 examples, as many, twenty times as many
RIDGE = 0.05


def _random_features(task: Task, seed: int) -> np.ndarray:
    """Correctness (2, 3, N) of least squares on random features: penalties, widths."""
    seen = task.arrays(seed)
    n_inputs = seen.x_train.shape[1]
    layer = np.random.default_rng(seed).normal(size=(n_inputs, FEATURES[-1])) / n_inputs**0.5
    train, test = (np.maximum(x @ layer, 0) for x in (seen.x_train, seen.x_test))
    found = []
    for width in FEATURES:
        gram = train[:, :width] @ train[:, :width].T
        for ridge in (1e-9, RIDGE * width):  # features that are scaled by 1 / sqrt(width)
            dual = np.linalg.solve(gram + ridge * np.eye(len(gram)), np.eye(10)[seen.y_train])
            scores = test[:, :width] @ (train[:, :width].T @ dual)
            found.append(scores.argmax(1) == seen.y_test)
    return np.array(found, dtype=float).reshape(3, 2, -1).swapaxes(0, 1)


WIDTHS = (4, 16, 64, 512)


@experiment("C04", "C07", recipe=LONG)
def sizes(seeds, world):
    """Random features and networks that grow: errors, bias, variance, and the gap."""
    task = world.digits(label_noise=0.2)
    few, equal, many = np.array([_random_features(task, seed) for seed in seeds]).transpose(
        2, 1, 0, 3
    )  # (penalties, S, N) each
    c04 = {}
    for i, name in enumerate(("no penalty", "ridge")):
        c04[f"random features, {name}, 50 to 200"] = crossed(few[i]), crossed(equal[i])
        c04[f"random features, {name}, 50 to 4000"] = crossed(few[i]), crossed(many[i])
    c07 = {}
    for name, noise in (("clean digits", 0.0), ("noisy digits", 0.4)):
        task = world.digits(label_noise=noise)
        runs = [
            fit(world.net(task, (width,)), task, _pairs(LONG, seeds), record=()) for width in WIDTHS
        ]
        c04[f"networks, {name}, 16 to 512 units"] = tuple(
            crossed(_right(runs[i], task)) for i in (1, 3)
        )
        told = [_parts(r, task) | _gaps(r, task) for r in runs]
        for i, (narrow, wide) in enumerate(pairwise(WIDTHS)):
            for what in ("bias²", "variance", "gap in points", "gap in nats"):
                pair = crossed(told[i][what]), crossed(told[i + 1][what])
                c07[f"{name}, {narrow} to {wide} units, {what}"] = pair
    return {"C04": c04, "C07": c07}


def _shifted(x: torch.Tensor) -> torch.Tensor:
    return augmentation.random_shift(x, 1)


@experiment("C08", "C09", recipe=RECIPE)
def trades(seeds, world):
    """What regularizers, shifted pictures and convolutions do to bias and variance."""
    c08, c09 = {}, {}

    def trained(task: Task, make_net: Callable, recipe: Recipe = RECIPE, **hooks) -> dict:
        runs = fit(make_net, task, _pairs(recipe, seeds), record=(), **hooks)
        return _parts(runs, task)

    for name, noise in (("noisy digits", 0.4), ("clean digits", 0.0)):
        task = world.digits(label_noise=noise)
        without = trained(task, world.net(task))
        ways = {
            "dropout 0.5": trained(task, world.net(task, dropout=0.5)),
            "weight decay 0.01": trained(task, world.net(task), replace(RECIPE, weight_decay=1e-2)),
        }
        for way, parts in ways.items():
            for what, values in parts.items():
                c08[f"{name}, {way}, {what}"] = crossed(without[what]), crossed(values)
    canvas = world.canvas()
    fixed = trained(canvas, world.net(canvas), LONG)
    ways = {
        "shifted pictures": trained(canvas, world.net(canvas), LONG, augment=_shifted),
        "convolutions": trained(canvas, models.cnn(canvas, (8, 16)), LONG),
    }
    for way, parts in ways.items():
        for what in ("bias²", "variance"):
            c09[f"canvas digits, {way}, {what}"] = crossed(fixed[what]), crossed(parts[what])
    return {"C08": c08, "C09": c09}


@experiment("C08b")
def ridge_path():
    """Bias², variance and their sum along ridge's penalty, for one set of inputs."""
    bias2, variance = _ridge_parts(0, 30, ALPHAS)
    error = bias2 + variance
    rises, falls = bool((np.diff(bias2) > 0).all()), bool((np.diff(variance) < 0).all())
    shown = "each term kept = s²/(s² + alpha) falls with alpha, at all 201 of a path"
    least = f"{error.min():.3f} at alpha {ALPHAS[error.argmin()]:.3g}, {error[0]:.3f} at 0"
    return {
        "C08b": {
            "bias² rises": Exact(rises, shown),
            "variance falls": Exact(falls, shown),
            "some penalty lowers the sum": Exact(bool(error.argmin() > 0), least),
        }
    }


STEPS = 240
PENALTIES = np.geomspace(1e-4, 1e4, 17)


def _log_errors(seed: int, n: int, d: int = 50) -> tuple[float, float]:
    """Log of the squared error on new data, whose noise has variance 1, of fits to n rows of d
    features: of the minimum-norm fit, and of ridge, whose penalty 200 other rows choose.
    """
    draws = np.random.default_rng([seed, n])
    beta, x = draws.normal(size=d) / d**0.5, draws.normal(size=(n, d))
    y = x @ beta + draws.normal(size=n)
    val, new = draws.normal(size=(200, d)), draws.normal(size=(500, d))
    y_val = val @ beta + draws.normal(size=200)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    path = (s / (s**2 + PENALTIES[:, None]) * (u.T @ y)) @ vt  # (A, d)
    tuned = path[((path @ val.T - y_val) ** 2).mean(1).argmin()]
    least = linear.least_squares(x, y, intercept=False).coef
    return tuple(float(np.log(1 + ((new @ (c - beta)) ** 2).mean())) for c in (least, tuned))


@experiment("C10", recipe=RECIPE)
def more_data(seeds, world):
    """Training sets that grow, for networks of equal steps and for fits of 50 features."""
    c10 = {}
    benches: dict[str, Callable[..., Task]] = {
        "clean digits": world.digits,
        "noisy digits": lambda **sizes: world.digits(label_noise=0.4, **sizes),
        "canvas digits": world.canvas,
    }
    ns = (25, 100, 400)
    for name, make in benches.items():
        right, variance = [], []
        for n in ns:
            task = make(n_train=n, n_val=60)
            epochs = STEPS // -(-n // RECIPE.batch_size)
            runs = fit(world.net(task), task, _pairs(RECIPE, seeds, epochs=epochs), record=())
            right.append(crossed(_right(runs, task)))
            variance.append(crossed(_parts(runs, task)["variance"]))
        for i in (0, 1):
            steps = f"{ns[i]} to {ns[i + 1]}"
            c10[f"{name}, {steps}, accuracy"] = right[i], right[i + 1]
            c10[f"{name}, {steps}, variance"] = variance[i], variance[i + 1]
    if world.is_first:
        found = [[_log_errors(seed, n)[1] for n in ns] for seed in seeds]
        few, more, many = (plain(column) for column in np.transpose(found))
        c10["50 features, tuned penalty, 25 to 100 rows"] = few, more
        c10["50 features, tuned penalty, 100 to 400 rows"] = more, many
    return {"C10": c10}


@experiment("C10b")
def almost_as_many(seeds):
    """Fits without a penalty, to few rows and to almost as many as features."""
    found = [[_log_errors(seed, n)[0] for n in (10, 48)] for seed in seeds]
    ten, fifty = (plain(column) for column in np.transpose(found))
    return {"C10b": {"50 features, 10 to 48 rows": (ten, fifty)}}


CHOICES = (16, 64, 256, 1024)


@experiment("S01", recipe=replace(RECIPE, epochs=400, patience=40))
def simplest(seeds, world):
    """Networks of four widths, each trained until it no longer improves on validation."""
    benches = {
        "clean digits": (world.digits(), 0.0, "loss"),
        "noisy digits": (world.digits(label_noise=0.4), 0.0, "loss"),
        "noisy digits, dropout 0.5": (world.digits(label_noise=0.4), 0.5, "loss"),
        "noisy digits, stopped by accuracy": (world.digits(label_noise=0.4), 0.0, "accuracy"),
        "canvas digits, stopped by accuracy": (world.canvas(), 0.0, "accuracy"),
    }
    s01 = {}
    for name, (task, rate, monitor) in benches.items():
        recipe = replace(
            RECIPE,
            epochs=400,
            patience=40,
            monitor=monitor,
            first_seed=seeds[0],
            n_seeds=len(seeds),
        )
        tried = [
            fit(world.net(task, (width,), dropout=rate), task, recipe, record=())
            for width in CHOICES
        ]
        val = np.array([evaluate(r, task, "val").acc for r in tried])
        test = np.array([correct(r, task) for r in tried])
        s01[name] = crossed(chosen(val[1:], test[1:])), crossed(test[0])
    return {"S01": s01}
