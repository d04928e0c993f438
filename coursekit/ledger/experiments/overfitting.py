"""Overfitting: curves, memory, gaps, strengths, and which loss is which (lesson 01).

Axes: S seeds, A settings, N test examples, T epochs.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from coursekit import models
from coursekit.datasets.tasks import Task, stream
from coursekit.ledger import worlds
from coursekit.ledger.evidence import Exact, Side, chosen, correct, crossed, losses, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.worlds import World
from coursekit.regularizers import augmentation, penalties
from coursekit.results.runs import Runs
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit, initial_net, outputs

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3)
LONG = replace(RECIPE, epochs=100)


def _of(recipe: Recipe, seeds: Sequence[int], **changes) -> Recipe:
    return replace(recipe, first_seed=seeds[0], n_seeds=len(seeds), **changes)


def replaced(y: torch.Tensor, share: float, purpose: str) -> torch.Tensor:
    """Labels of which a share is replaced at random: the same ones for every seed."""
    draws = stream(0, purpose)
    hit = torch.rand(len(y), generator=draws) < share
    other = torch.randint(10, y.shape, generator=draws)
    return torch.where(hit.to(y.device), other.to(y.device), y)


def _noisy(world: World) -> dict[str, Task]:
    return {
        "clean digits": world.digits(),
        "noisy digits": world.digits(label_noise=0.4),
        "noisy validation labels": world.digits(pool_noise=0.4),
    }


@experiment("C01", recipe=LONG)
def longer(seeds, world):
    """A long training: its best epoch by validation, and its last one.

    Judged by accuracy, the best epoch is that of the highest validation accuracy.
    """
    tasks = _noisy(world) | ({"canvas digits": world.canvas()} if world.has_canvas else {})
    c01 = {}
    for name, task in tasks.items():
        by_loss, by_accuracy = (
            fit(world.net(task), task, _of(LONG, seeds, monitor=monitor), record=())
            for monitor in ("loss", "accuracy")
        )
        when = ("best", "final")
        c01[f"{name}, accuracy"] = tuple(
            crossed(correct(by_accuracy, task, weights=w)) for w in when
        )
        c01[f"{name}, loss"] = tuple(crossed(losses(by_loss, task, weights=w)) for w in when)
        c01[f"{name}, training loss"] = tuple(
            plain(np.log(evaluate(by_loss, task, "train", weights=w).loss)) for w in when
        )
    return {"C01": c01}


LIMIT = 200  # epochs


def _epochs_to_fit(runs: Runs, limit: int = LIMIT) -> np.ndarray:
    """Epochs (S,) until 99 % of the training labels are right.

    A network that never gets there counts twice the limit, and 1 % of the limit more for each
    percent that it falls short: so those that fail do not all have one score.
    """
    acc = runs.train_acc
    reached = acc >= 0.99
    never = limit * (2 + 0.99 - acc.max(1))
    return np.where(reached.any(1), reached.argmax(1) + 1, never)


@experiment("C05", recipe=replace(RECIPE, epochs=LIMIT))
def memory(seeds, world):
    """Random labels, learned by heart with and without regularizers."""
    task = world.digits(label_noise=1.0, n_val=60)
    arms = {
        "no regularization": (task, 0.0, 0.0),
        "weight decay 1e-3": (task, 0.0, 1e-3),
        "dropout 0.2": (task, 0.2, 0.0),
    }
    if world.network == "mlp":  # with convolutions, this would take as long as all else
        arms["550 labels"] = (replace(task, n_train=550), 0.0, 0.0)
    c05 = {}
    for name, (labels, rate, decay) in arms.items():
        recipe = _of(RECIPE, seeds, epochs=LIMIT, weight_decay=decay)
        runs = fit(world.net(labels, dropout=rate), labels, recipe, record=("train",))
        c05[name] = plain(LIMIT, len(seeds)), plain(_epochs_to_fit(runs))
    return {"C05": c05}


EPOCHS = 160


def _length(state: dict[str, torch.Tensor]) -> np.ndarray:
    """Euclidean length (S,) of all weight matrices and kernels."""
    weights = [w.flatten(1) for w in state.values() if w.ndim >= 3]
    return torch.cat(weights, dim=1).norm(dim=1).cpu().numpy()


def _initial_length(make_net, seeds: Sequence[int]) -> np.ndarray:
    nets = (initial_net(make_net, seed) for seed in seeds)
    each = [[p.detach().flatten() for p in net.parameters() if p.ndim >= 2] for net in nets]
    return np.array([float(torch.cat(weights).norm()) for weights in each])


def _grown(make_net, task: Task, seeds: Sequence[int]) -> Side:
    """Length after training as a share of the length before it."""
    runs = fit(make_net, task, _of(RECIPE, seeds, epochs=EPOCHS), record=())
    return plain(_length(runs.final) / _initial_length(make_net, seeds))


@experiment("C06", recipe=replace(RECIPE, epochs=EPOCHS))
def length(seeds, world):
    """How long weights grow on clean, half random and random labels, and with batch norm."""
    tasks = [world.digits(label_noise=noise, n_val=60) for noise in (0.0, 0.5, 1.0)]
    nets = [world.net(task) for task in tasks]
    clean, half, random = (_grown(n, t, seeds) for n, t in zip(nets, tasks, strict=True))
    c06 = {"50 % random labels": (clean, half), "100 % random labels": (clean, random)}
    c06["100 % random labels, batch norm"] = tuple(
        _grown(world.net(t, batch_norm=True), t, seeds) for t in (tasks[0], tasks[2])
    )
    return {"C06": c06}


@experiment("C06b", recipe=replace(RECIPE, epochs=EPOCHS))
def shortened():
    """One network that knows random labels; its layers are shrunk, and no answer changes.

    With all weights times c and the bias of layer l times c^l, the outputs of three ReLU layers are
    c^3 times as large, and the largest one stays the largest.
    """
    task = worlds.find("digits").digits(label_noise=1.0, n_val=60)
    right = replace(task, label_noise=0.0)
    make_net = worlds.find("digits").net(task)
    recipe = _of(RECIPE, [0], epochs=EPOCHS)
    memorized, clean = (fit(make_net, t, recipe, record=()) for t in (task, right))
    before = _length(memorized.final)[0]
    shrunk = {}
    for i, (name, w) in enumerate(memorized.final.items()):
        shrunk[name] = w / 8 ** (1 if w.ndim >= 3 else i // 2 + 1)  # exact: powers of two
    knows = evaluate(replace(memorized, final=shrunk), task, "train", weights="final").acc[0]
    after, other = _length(shrunk)[0], _length(clean.final)[0]
    shown = (
        f"length {before:.1f}, shrunk to {after:.1f} ({other:.1f} after clean labels): "
        f"still right on {knows:.0%} of random labels"
    )
    return {
        "C06b": {"a network that is shrunk": Exact(not (knows >= 0.99 and after < other), shown)}
    }


N_EACH = 15  # settings without regularization, and as many with it


def _plain_settings() -> list[dict[str, float]]:
    rates = np.geomspace(10**-3.5, 10**-1.5, N_EACH)
    return [{"dropout": 0.0, "weight_decay": 0.0, "lr": float(lr), "epochs": 60} for lr in rates]


def _regularized_settings() -> list[dict[str, float]]:
    draws = np.random.default_rng(3)
    return [
        {
            "dropout": float(draws.uniform(0.05, 0.8)),
            "weight_decay": float(10 ** draws.uniform(-5, -1)),
            "lr": float(10 ** draws.uniform(-3.5, -1.5)),
            "epochs": int(draws.choice((10, 20, 40, 60))),
        }
        for _ in range(N_EACH)
    ]


class _Bank:
    """All settings, trained on one task and examined on another that has the same rows."""

    def __init__(self, world: World, task: Task, seeds: Sequence[int], batch_size: int = 50):
        self.task = task
        recipe = _of(RECIPE, seeds, batch_size=batch_size)
        settings = _plain_settings() + _regularized_settings()
        net = partial(world.net, hidden=(64,))
        self.runs = sweep(net, task, recipe, settings, record=()).runs
        self.train = self._accuracy(task, "train")

    def _accuracy(self, task: Task, part: str) -> np.ndarray:
        return np.array([evaluate(r, task, part, weights="final").acc for r in self.runs])

    def examined(self, task: Task | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Validation accuracy (A, S) and test correctness (A, S, N)."""
        task = task or self.task
        right = np.array([correct(r, task, weights="final") for r in self.runs])
        return self._accuracy(task, "val"), right


@experiment("C02", "C03", recipe=RECIPE)
def gaps(seeds, world):
    """Thirty settings: chosen by validation or by the gap; and what a gap says of its cause."""
    banks = {name: _Bank(world, task, seeds) for name, task in _noisy(world).items()}
    examined = {name: bank.examined() for name, bank in banks.items()}
    c02 = {}
    for name, (val, test) in examined.items():
        gap, by_val = abs(banks[name].train - val), crossed(chosen(val, test))
        learned = np.where(val >= val.max(0) - 0.1, -gap, -np.inf)
        c02[f"{name}, all settings"] = by_val, crossed(chosen(-gap, test))
        c02[f"{name}, settings that learned"] = by_val, crossed(chosen(learned, test))
    clean = banks["clean digits"].task
    exam = replace(clean, y=replaced(clean.y, 0.3, "key of the pool"))
    exam = replace(exam, y_test=replaced(clean.y_test, 0.3, "key of the test"))
    few = _Bank(world, world.digits(n_train=30), seeds, batch_size=8)  # 4 steps each epoch, too
    wrong = examined["noisy validation labels"]
    causes = {
        "wrong key": (banks["clean digits"], banks["clean digits"].examined(exam)),
        "wrong training labels": (banks["noisy validation labels"], wrong),
        "30 digits to learn from": (few, few.examined()),
    }
    c03 = {}
    for name, (bank, (val, test)) in causes.items():
        train = bank.train[:N_EACH]
        # Only a network that knows its training labels shows the gap.
        fitted = np.where(train >= 0.95, val[:N_EACH], -1.0)
        if (fitted.max(0) < 0).any():
            raise ValueError(f"expected networks that know their labels of {name}, got none")
        best = fitted.argmax(0), np.arange(len(seeds))
        c03[f"{name}, the gap"] = plain(val[best]), plain(train[best])
        c03[f"{name}, what regularization gains"] = (
            crossed(chosen(fitted, test[:N_EACH])),
            crossed(chosen(val[N_EACH:], test[N_EACH:])),
        )
    return {"C02": c02, "C03": c03}


STRENGTHS = {
    "weight decay": {"weight_decay": (1e-5, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)},
    "dropout": {"dropout": (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)},
}


@experiment("C13", recipe=RECIPE)
def strengths(seeds, world):
    """Seven strengths; validation chooses one of the five between the weakest and the strongest."""
    c13 = {}
    for name, task in _noisy(world).items():
        for kind, grid in STRENGTHS.items():
            net = partial(world.net, hidden=(64,))
            runs = sweep(net, task, _of(RECIPE, seeds), grid, record=()).runs
            val = np.array([evaluate(r, task, "val", weights="final").acc for r in runs])
            test = np.array([correct(r, task, weights="final") for r in runs])
            tuned = crossed(chosen(val[1:-1], test[1:-1]))
            c13[f"{name}, {kind}, too weak"] = tuned, crossed(test[0])
            c13[f"{name}, {kind}, too strong"] = tuned, crossed(test[-1])
    return {"C13": c13}


def _shifted(x: torch.Tensor) -> torch.Tensor:
    return augmentation.random_shift(x, 1)


@experiment("C15", recipe=RECIPE)
def logged(seeds, world):
    """The loss that a training loop prints, that of its network, and that on validation."""
    task = world.digits()
    arms = {
        "no regularization": (0.0, {}),
        "dropout 0.5": (0.5, {}),
        "dropout 0.8": (0.8, {}),
        "penalty in the loss": (0.0, {"penalty": partial(penalties.l2, strength=1e-3)}),
        "shifted pictures": (0.0, {"augment": _shifted}),
    }
    moments = [(name, "last epoch", -1) for name in arms]
    moments.append(("no regularization", "third epoch", 2))
    runs = {
        name: fit(world.net(task, dropout=rate), task, _of(RECIPE, seeds), **hooks)
        for name, (rate, hooks) in arms.items()
    }
    c15 = {}
    for name, when, epoch in moments:
        curves = runs[name].logged_loss, runs[name].train_loss, runs[name].val_loss
        printed, measured, val = (plain(curve[:, epoch]) for curve in curves)
        c15[f"{name}, {when}, the same loss"] = measured, printed
        c15[f"{name}, {when}, printed"] = val, printed
        c15[f"{name}, {when}, measured"] = val, measured
    return {"C15": c15}


def _noise_on_noise() -> Task:
    """Inputs and targets that have nothing to do with each other."""
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(10_000, 10, generator=draws), torch.randn(10_000, generator=draws)
    parts = {"x": x[:8000], "y": y[:8000], "x_test": x[8000:], "y_test": y[8000:]}
    return Task(name="noise on noise", n_train=100, n_val=100, **parts)


@experiment("C17", recipe=Recipe(epochs=200, batch_size=100, lr=0.01))
def demonstration(seeds):
    """An article's demonstration of overfitting, with the remedies that it recommends.

    Squared errors are counted in that of a constant, which always answers 0.
    """
    task = _noise_on_noise()
    recipe = _of(Recipe(epochs=200, batch_size=100, lr=0.01), seeds)
    scale = task.y_test.square().mean()
    constant = crossed((task.y_test.square() / scale).expand(len(seeds), -1))

    def errors(*, weights: str = "final", rate: float = 0.0, **how) -> Side:
        hooks = {"penalty": how.pop("penalty")} if "penalty" in how else {}
        net = models.mlp(task, (100, 100), dropout=rate)
        runs = fit(net, task, replace(recipe, **how), record=(), **hooks)
        off = outputs(runs, task.x_test, weights=weights)[..., 0] - task.y_test
        return crossed(off.square() / scale)

    without = errors()
    return {
        "C17": {
            "without any": (constant, without),
            "weight decay 1e-4": (without, errors(weight_decay=1e-4)),
            "L1 penalty 0.001": (without, errors(penalty=partial(penalties.l1, strength=1e-3))),
            "dropout 0.5": (without, errors(rate=0.5)),
            "early stopping, patience 10": (without, errors(weights="best", patience=10)),
        }
    }


@experiment("S02", recipe=replace(RECIPE, epochs=30))
def symptoms(seeds, world):
    """Four causes of a high training loss; dropout is removed, or raised, or the cause mended."""
    usual = _of(RECIPE, seeds, epochs=30)
    slow = replace(usual, lr=1e-4)
    clean, noisy = world.digits(), world.digits(label_noise=0.4)

    def right(task: Task, rate: float, recipe: Recipe, hidden=(128, 128)) -> Side:
        runs = fit(world.net(task, hidden, dropout=rate), task, recipe, record=())
        return crossed(correct(runs, task, weights="final"))

    slowly, unslowed = right(clean, 0.2, slow), right(clean, 0.0, slow)
    narrow, undropped = right(clean, 0.2, usual, (4,)), right(clean, 0.0, usual, (4,))
    return {
        "S02": {
            "dropout 0.9": (right(clean, 0.9, usual), right(clean, 0.0, usual)),
            "learning rate too low": (slowly, unslowed),
            "too few units": (narrow, undropped),
            "wrong labels": (right(noisy, 0.5, usual), right(noisy, 0.0, usual)),
            "learning rate too low, the better cure": (right(clean, 0.2, usual), unslowed),
            "too few units, the better cure": (right(clean, 0.2, usual, (128,)), undropped),
            "learning rate too low, more dropout": (slowly, right(clean, 0.5, slow)),
            "too few units, more dropout": (narrow, right(clean, 0.5, usual, (4,))),
        }
    }
