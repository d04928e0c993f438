"""Experiments of lesson 04: what dropout costs, where it helps, and what it averages.

Axes: S seeds, G rates, N examples, H hidden, C classes. C40 to C43 and C49 stand in the cells of
the lesson.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit import data, judge, measure, models
from coursekit.claims.experiments import experiment
from coursekit.datasets.tasks import Task
from coursekit.engine.layers import side_by_side
from coursekit.engine.random import Streams
from coursekit.judge import Verdict
from coursekit.regularizers import dropout as ours
from coursekit.regularizers.ensemble import enumerate_masks
from coursekit.results.runs import Runs
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3, n_seeds=16)
SLOWLY = replace(RECIPE, epochs=120, lr=1e-3)  # so that one epoch is a small step
CONVOLUTIONS = replace(RECIPE, lr=1e-2)
RATES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
LABEL_NOISE = {"clean": 0.0, "noisy": 0.4}
WEIGHTS = {"last epoch": "final", "early-stopped": "best"}


def _on(seeds: Sequence[int], recipe: Recipe = RECIPE) -> Recipe:
    return replace(recipe, first_seed=seeds[0], n_seeds=len(seeds))


def _digits() -> dict[str, Task]:
    return {f"{n} digits": data.load("digits", label_noise=p) for n, p in LABEL_NOISE.items()}


def _two(task: Task, seeds: Sequence[int], rate: float = 0.5) -> tuple[Runs, Runs]:
    """Networks of two hidden layers without dropout, and with it."""
    return tuple(fit(models.mlp(task, dropout=r), task, _on(seeds), record=()) for r in (0.0, rate))


def epochs_to(reached: np.ndarray) -> np.ndarray:
    """First epoch, counted from 1, in which (S, T) is True: (S,); the last one if none is."""
    return np.where(reached.any(1), reached.argmax(1) + 1, reached.shape[1])


@experiment("C39", n_seeds=32, recipe=SLOWLY)
def time_to_target(seeds):
    """Epochs to a target with dropout against without, in percent; below -10 % is "shorter".

    Three targets, all measured in evaluation mode. Clean digits: training loss 0.1, and validation
    accuracy 0.9. Noisy digits: the lowest validation loss, where early stopping would stop. A
    network that never gets there is counted as if it did in the last epoch, in favor of dropout.
    """
    evidence = {}
    for name, task in _digits().items():
        runs = [fit(models.mlp(task, dropout=r), task, _on(seeds, SLOWLY)) for r in (0, 0.2, 0.5)]
        if name == "clean digits":
            targets = {
                "training loss 0.1": [epochs_to(r.train_loss <= 0.1) for r in runs],
                "validation accuracy 0.9": [epochs_to(r.val_acc >= 0.9) for r in runs],
            }
        else:
            targets = {"lowest validation loss": [r.best_epoch for r in runs]}
        for target, (plain, *dropped) in targets.items():
            for rate, epochs in zip((0.2, 0.5), dropped, strict=True):
                percent = 100 * (epochs / plain - 1)
                evidence[f"{name}, {target}, rate {rate}"] = judge.lowers(
                    "dropout needs fewer epochs", 0.0, percent, smallest=10, unit="percent"
                )
    return {"C39": evidence}


def _scores(task: Task, recipe: Recipe, hidden: Sequence[int]) -> dict[str, tuple]:
    """Validation and test accuracy (G, S) of all rates, for the last and for the best weights."""
    study = sweep(partial(models.mlp, hidden=hidden), task, recipe, {"dropout": RATES}, record=())
    return {
        name: tuple(
            np.array([evaluate(runs, task, part, weights=weights).acc for runs in study.runs])
            for part in ("val", "test")
        )
        for name, weights in WEIGHTS.items()
    }


def _choice(scores: tuple, wanted: Sequence[float]) -> np.ndarray:
    """Test accuracy (S,) of the rate that each seed's validation set chooses among the wanted."""
    val, test = (table[[RATES.index(rate) for rate in wanted]] for table in scores)
    return np.take_along_axis(test, val.argmax(0)[None], 0)[0]


@experiment("C44", "C45", n_seeds=48, recipe=RECIPE)
def rates(seeds):
    """Test accuracy of seven rates on three benches; each seed's validation set chooses the rate.

    C44: two layers of 128 units, the best rate above 0 against none, at the last epoch and with the
    weights of the lowest validation loss (both arms). C45: the same and two layers of 16 units;
    the best of 0.2, 0.35, 0.5 against the best of 0, 0.1, 0.65, 0.8. One point matters.
    """
    c44, c45 = {}, {}
    middle, outside = (0.2, 0.35, 0.5), (0.0, 0.1, 0.65, 0.8)
    for name, task in (_digits() | {"canvas digits": data.load("canvas_digits")}).items():
        for width in (128, 16):
            for when, scores in _scores(task, _on(seeds), (width, width)).items():
                regime = f"{name}, {when}"
                if width == 128:
                    plain, dropped = _choice(scores, [0.0]), _choice(scores, RATES[1:])
                    c44[regime] = judge.raises("dropout raises", plain, dropped, "accuracy")
                pair = _choice(scores, outside), _choice(scores, middle)
                c45[f"{regime}, {width} units"] = judge.raises("0.2 to 0.5", *pair, "accuracy")
    return {"C44": c44, "C45": c45}


def _weakest(regime: str, *parts: Verdict) -> dict[str, Verdict]:
    """The verdict on all parts together, with the name of the part that decides it."""
    weakest = judge.both(*parts)
    return {f"{regime}, weakest part ({weakest.prediction})": weakest}


def convolutional(task: Task, conv: float, dense: float):
    """Two convolutions, each behind it spatial dropout; a dense layer, and behind it dropout."""

    def make() -> nn.Module:
        stages: list[nn.Module] = []
        for n_in, n_out in ((1, 8), (8, 16)):
            stages += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            stages.append(ours.SpatialDropout(conv))
        head = [nn.Linear(144, 64), nn.ReLU(), ours.Dropout(dense), nn.Linear(64, 10)]
        return nn.Sequential(*stages, nn.Flatten(), *head)

    return make


@experiment("C46", n_seeds=48, recipe=CONVOLUTIONS)
def places(seeds):
    """All combinations of four rates behind convolutions and three behind a dense layer.

    Canvas digits, test accuracy in points at the last epoch and early-stopped. Each comparison is
    between means over all rates at the other place. The advice holds if 0.1 to 0.2 beats both none
    and 0.5 behind convolutions, and 0.5 beats both none and 0.2 behind the dense layer: one verdict
    per moment, that of the weakest of these four parts.
    """
    task, conv, dense = data.load("canvas_digits"), (0.0, 0.1, 0.2, 0.5), (0.0, 0.2, 0.5)
    recipe, grid = _on(seeds, CONVOLUTIONS), {"conv": conv, "dense": dense}
    study = sweep(convolutional, task, recipe, grid, record=())
    evidence = {}
    for when, weights in WEIGHTS.items():
        acc = np.array([evaluate(runs, task, weights=weights).acc for runs in study.runs])
        acc = acc.reshape(len(conv), len(dense), -1)  # (4, 3, S)
        none, low, lower, high = acc.mean(1)
        at_0, at_2, at_5 = acc.mean(0)
        mild = (low + lower) / 2
        parts = {
            "convolutions, 0.1 to 0.2 against none": (none, mild),
            "convolutions, 0.1 to 0.2 against 0.5": (high, mild),
            "dense, 0.5 against none": (at_0, at_5),
            "dense, 0.5 against 0.2": (at_2, at_5),
        }
        evidence |= _weakest(when, *(judge.raises(n, *p, "accuracy") for n, p in parts.items()))
    return {"C46": evidence}


def sampled(runs: Runs, x: Tensor, n_samples: int) -> tuple[Tensor, Tensor]:
    """Probabilities (S, N, C) of one random sub-network, and the mean of `n_samples` of them."""
    streams = Streams([1_000_000 + int(seed) for seed in runs.seeds], x.device)
    call, inputs = side_by_side(runs.net), x.expand(len(runs.seeds), *x.shape)
    with ours.only_dropout(runs.net), torch.no_grad():
        state = runs.to(x.device).final
        one = total = call(state, inputs, streams).softmax(-1)
        for _ in range(n_samples - 1):
            total = total + call(state, inputs, streams).softmax(-1)
    return one, total / n_samples


@experiment("C47", n_seeds=16, recipe=RECIPE)
def ensemble(seeds):
    """The whole network against its sub-networks: exact for one layer, 50 samples for a deep one.

    One softmax layer with 10 inputs, rate 0.5: all 1,024 masks, equal to 1e-12. Two hidden layers,
    rate 0.5, digits: the whole network is "the same" as the mean of 50 sampled sub-networks if its
    test accuracy is less than 1 point away, and its NLL less than 0.02 nats, the whole intervals
    included (counted from 1.1 margins, and more than a tenth of one is asked for): one verdict per
    bench, that of the weaker part.
    """
    g = torch.Generator().manual_seed(0)
    weight, bias, x = (
        torch.randn(n, generator=g, dtype=torch.double) for n in ((3, 10), (3,), (20, 10))
    )
    every, whole = enumerate_masks(weight, bias, x, 0.5), F.linear(x, weight, bias).softmax(1)
    means = {"geometric": every.geometric_mean(), "arithmetic": every.arithmetic_mean()}
    evidence = {
        f"one softmax layer, {name} mean of all masks": torch.allclose(whole, mean, 0, 1e-12)
        for name, mean in means.items()
    }
    for name, task in _digits().items():
        runs, y = _two(task, seeds)[1], task.y_test
        _, mean = sampled(runs, task.x_test, 50)
        at_once = evaluate(runs, task, weights="final")
        apart = 100 * abs(at_once.acc - measure.accuracy(mean, y))
        nats = abs(at_once.loss - measure.nll(mean.log(), y))
        evidence |= _weakest(
            f"two hidden layers, {name}",
            judge.lowers("NLL", 1.1 * 0.02, nats, smallest=0.002, unit="nats beyond 0.022"),
            judge.lowers("accuracy", 1.1, apart, smallest=0.1, unit="points beyond 1.1"),
        )
    return {"C47": evidence}


def layers_of(state: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
    """Activations of each layer of S networks, the logits last: (S, N, H) or (S, N, C) each."""
    matrices, vectors = ([v.to(x.device) for v in state.values() if v.ndim == n] for n in (3, 2))
    h, found = x.flatten(1), []
    for weight, bias in zip(matrices[:-1], vectors[:-1], strict=True):
        h = (h @ weight.mT + bias[:, None]).relu()
        found.append(h)
    return [*found, h @ matrices[-1].mT + vectors[-1][:, None]]


@experiment("C48", n_seeds=48, recipe=RECIPE)
def sparsity(seeds):
    """Activations on the test inputs with rate 0.5 against none, in evaluation mode, last epoch.

    Per hidden layer: the share of activations above 0 (5 points matter), and on clean digits also
    their mean (10 % matters).
    """
    evidence = {}
    for name, task in _digits().items():
        plain, dropped = (layers_of(r.final, task.x_test)[:2] for r in _two(task, seeds))
        for layer, pair in enumerate(zip(plain, dropped, strict=True), 1):
            share = [100 * (h > 0).cpu().double().mean((1, 2)).numpy() for h in pair]
            evidence[f"{name}, layer {layer}: share of active units"] = judge.lowers(
                "fewer are active", *share, smallest=5, unit="points"
            )
            if name == "clean digits":
                before, after = (h.cpu().double().mean((1, 2)).numpy() for h in pair)
                evidence[f"{name}, layer {layer}: mean activation"] = judge.lowers(
                    "they are smaller", 0.0, 100 * (after / before - 1), smallest=10, unit="percent"
                )
    return {"C48": evidence}


def without_the_worst(runs: Runs, task: Task) -> np.ndarray:
    """Test accuracy (S,) without that one unit of the last hidden layer that costs most."""
    *_, h, logits = layers_of(runs.best, task.x_test)
    out = [v for v in runs.best.values() if v.ndim == 3][-1].to(h.device)  # (S, C, H)
    each = [logits - h[..., j, None] * out[:, None, :, j] for j in range(h.shape[-1])]
    return np.min([measure.accuracy(less, task.y_test) for less in each], 0)


@experiment("S10", n_seeds=96, recipe=RECIPE)
def indispensable(seeds):
    """Loss of test accuracy without the unit that costs most: rate 0.5 against none, early-stopped.

    It is that one unit of the last hidden layer whose removal costs most on the test set, found for
    each network. One point matters. (Removing many at random is what dropout itself trains for.)
    """
    evidence = {}
    for name, task in _digits().items():
        lost = [
            evaluate(runs, task).acc - without_the_worst(runs, task) for runs in _two(task, seeds)
        ]
        evidence[f"{name}, the worst single unit"] = judge.lowers("loses less", *lost, "accuracy")
    return {"S10": evidence}


@experiment("S14", n_seeds=64, recipe=RECIPE)
def lighting(seeds):
    """Test images under another light: 40 % as bright, or on a background at 0.4 instead of 0.

    Clean digits, last epoch. The claim holds if the network without dropout loses accuracy, and
    the one with rate 0.5 loses less: one verdict per light, that of the weaker part. One point
    matters.
    """
    task = data.load("digits")
    two = _two(task, seeds)
    usual = [evaluate(runs, task, weights="final").acc for runs in two]
    lights = {"dimmed": 0.4 * task.x_test, "bright background": 0.4 + 0.6 * task.x_test}
    evidence = {}
    for name, x in lights.items():
        moved = replace(task, x_test=x)
        now = [evaluate(runs, moved, weights="final").acc for runs in two]
        plain, dropped = (after - before for before, after in zip(usual, now, strict=True))
        less = judge.raises("dropout loses less", plain, dropped, "accuracy")
        falls = judge.lowers("without it accuracy falls", 0.0, plain, "accuracy")
        evidence |= _weakest(name, less, falls)
    return {"S14": evidence}
