"""Data of the memorization wall: what networks answer on each training digit, epoch by epoch.

Of 200 digits, four in ten have a label that was replaced at random, so about 72 are wrong. After
each epoch a network answers each of them again, and it is written down whether with the given
label, the true digit, or something else. `film` is the experiment, and the lesson uses it, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
import torch
import torch.nn.functional as F

from coursekit import data, models
from coursekit.datasets.tasks import Deal, Task
from coursekit.engine import side_by_side
from coursekit.engine.devices import kept_pages
from coursekit.engine.hooks import Arm, Hooks
from coursekit.engine.networks import initial_net, private_rng
from coursekit.engine.scores import on_shared
from coursekit.engine.stack import Stack
from coursekit.explorers import STATES
from coursekit.train import Recipe

STOPS = list(STATES["wall"]["epoch"])
SHOWN = len(STATES["wall"]["network"])  # networks whose digits can be looked at
N_SEEDS, BLOCK = 96, 24  # seeds of the curves, and how many are trained side by side
RECIPE = Recipe(epochs=STOPS[-1], batch_size=32, n_seeds=BLOCK, first_seed=0)
SYMBOLS = "0123456789abcdefg"  # gray levels of a digit, 0 to 16


def task() -> Task:
    """200 digits to learn, 40 % of their labels replaced; 60 right ones to validate."""
    return data.load("digits", label_noise=0.4, n_val=60)


@dataclass(frozen=True)
class Film:
    """What S networks answer after 0, 1, ..., T epochs.

    Attributes
    ----------
    answers : (T + 1, S, N) int8 array
        The class that a network names for each of its own N training digits.
    given, truth : (S, N) int8 array
        The label it was told, and the true one.
    train_loss, val_loss, val_acc : (T + 1, S) array
        Training loss by the given labels; validation by the true ones.
    wrong_val_loss, wrong_val_acc : (T + 1, S) array
        Validation by labels of which as many were replaced as in training.
    new_acc, new_loss : (T + 1, S) array
        By the true labels of all other rows of the pool, which are neither learned nor validated
        on: many digits for a look at a mechanism, and the test set stays closed.
    confidence : (T + 1, S) array
        Probability that a network gives to its own answers on the same rows, on average.
    cool_loss : (T + 1, S) array
        The loss on these rows after each network's outputs were divided by one number (a
        temperature), chosen on its validation rows: what is left if confidence is set right.
    test_loss : (T + 1, S) array
    test_right : (T + 1, S, N_test) array of bool
        Which test digits are read rightly.
    """

    answers: np.ndarray
    given: np.ndarray
    truth: np.ndarray
    train_loss: np.ndarray
    val_loss: np.ndarray
    val_acc: np.ndarray
    wrong_val_loss: np.ndarray
    wrong_val_acc: np.ndarray
    new_acc: np.ndarray
    new_loss: np.ndarray
    confidence: np.ndarray
    cool_loss: np.ndarray
    test_loss: np.ndarray
    test_right: np.ndarray

    @property
    def test_acc(self) -> np.ndarray:
        """Share of the test digits that are read rightly, (T + 1, S)."""
        return self.test_right.mean(-1)

    def right_at(self, epochs: np.ndarray | int) -> np.ndarray:
        """Which test digits each network reads rightly after its own epoch, (S, N_test)."""
        return self.test_right[epochs, range(self.test_right.shape[1])]

    @property
    def wrong(self) -> np.ndarray:
        """Which training labels are wrong, (S, N) of bool."""
        return self.given != self.truth


def film(task: Task, recipe: Recipe = RECIPE, make_net=None) -> Film:
    """Train one network per seed exactly as `fit` does, and ask each after every epoch.

    Parameters
    ----------
    task : Task
        A classification with validation rows and a test set.
    recipe : Recipe
    make_net : callable, optional
        By default `models.mlp(task)`.

    Returns
    -------
    Film
    """
    make_net = make_net or models.mlp(task)
    runners, seeds = [(Arm(make_net, recipe), seed) for seed in recipe.seeds], list(recipe.seeds)
    stack = Stack([initial_net(make_net, seed) for seed in seeds], task.device)
    dealt, told, rows = task.deal(seeds), wrong_labels(task, seeds), []
    new_rows = _others(task, dealt)

    def ask():
        pool = on_shared(stack.net, stack.state, task.x)  # (S, pool, C)
        train, val = (_rows(pool, which) for which in (dealt.train_rows, dealt.val_rows))
        new, test = _rows(pool, new_rows), on_shared(stack.net, stack.state, task.x_test)
        y, y_new = task.y[dealt.val_rows], task.y[new_rows]
        y_test = task.y_test.expand(len(seeds), -1)
        rows.append(
            {
                "answers": train.argmax(-1).to(torch.int8),
                "train_loss": _loss(train, dealt.y_train),
                "val_loss": _loss(val, y),
                "val_acc": _mean(val.argmax(-1) == y),
                "wrong_val_loss": _loss(val, told),
                "wrong_val_acc": _mean(val.argmax(-1) == told),
                "new_acc": _mean(new.argmax(-1) == y_new),
                "new_loss": _loss(new, y_new),
                "confidence": _mean(new.softmax(-1).amax(-1)),
                "cool_loss": _loss(new / _temperature(val, y)[:, None, None], y_new),
                "test_loss": _loss(test, y_test),
                "test_right": test.argmax(-1) == y_test,
            }
        )

    # Beside the validation loss, which the loop records anyway, nothing is scored twice.
    with kept_pages(), private_rng(seeds[0]), torch.no_grad():
        ask()
        with torch.enable_grad():
            for _ in side_by_side.epochs(runners, stack, task, Hooks(record=())):
                with torch.no_grad():
                    ask()
    curves = {name: torch.stack([row[name] for row in rows]).cpu().numpy() for name in rows[0]}
    labels = dealt.y_train, task.y[dealt.train_rows]
    given, truth = (y.to(torch.int8).cpu().numpy() for y in labels)
    return Film(given=given, truth=truth, **curves)


def wrong_labels(task: Task, seeds) -> torch.Tensor:
    """Labels of the validation rows (S, n_val), as many of them replaced as in training."""
    y, rows = task.y.cpu(), task.deal(seeds).val_rows.cpu()
    noisy = [task._noisy(y, seed)[row] for seed, row in zip(seeds, rows, strict=True)]
    return torch.stack(noisy).to(task.device)


def _others(task: Task, dealt: Deal) -> torch.Tensor:
    """Rows of the pool that a seed neither learns from nor validates on, (S, rest)."""
    used = torch.cat([dealt.train_rows, dealt.val_rows], 1)
    free = torch.ones(len(used), len(task.x), dtype=torch.bool, device=task.device)
    return free.scatter(1, used, False).nonzero()[:, 1].reshape(len(used), -1)


def _temperature(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of 60 divisors between 0.1 and 10, the one with the lowest loss for each network, (S,)."""
    tries = torch.logspace(-1, 1, 60)
    best = tries[torch.stack([_loss(logits / t, y) for t in tries]).argmin(0)]
    return best.to(logits.device)


def _rows(pool, which):
    return pool.gather(1, which[..., None].expand(-1, -1, pool.shape[-1]))


def _loss(logits, y):
    return _mean(F.cross_entropy(logits.mT, y, reduction="none"))


def _mean(values):
    return values.cpu().double().mean(1)  # mps has no double precision


def measure() -> dict:
    """Train everything: what `wall.js` reads. Takes about a minute on one core."""
    own, recipe = task(), RECIPE
    starts = range(0, N_SEEDS, BLOCK)
    films = [film(own, replace(recipe, first_seed=first)) for first in starts]
    digits = (own.x.cpu() * 16).round().long().flatten(1)  # (pool, 64)
    rows = own.deal(range(SHOWN)).train_rows.cpu()
    return {
        "stops": STOPS,
        "networks": [_network(films[0], digits[rows[s]].numpy(), s) for s in range(SHOWN)],
        "n_seeds": N_SEEDS,
        "n_test": len(own.y_test),
        "n_val": own.n_val,
        **_curves(films),
        "recipe": (
            "200 handwritten digits of 8 x 8 pixels for each network; four in ten of their labels "
            "were replaced by a random one, which now and then was the right one again; a network "
            f"of two times 128 hidden units, Adam with a learning rate of {recipe.lr}, batches of "
            f"{recipe.batch_size}; {N_SEEDS} seeds, each with digits, wrong labels and {own.n_val} "
            "validation digits of its own, whose labels are right"
        ),
    }


def _network(film: Film, pixels: np.ndarray, s: int) -> dict:
    """One network's digits, the rightly labeled first, and its answers at the stops."""
    order = np.lexsort((film.truth[s], film.wrong[s]))
    signs = np.array(list(SYMBOLS))
    return {
        "pixels": "".join(signs[pixels[order]].ravel()),
        "given": _digits(film.given[s, order]),
        "truth": _digits(film.truth[s, order]),
        "answers": [_digits(film.answers[e, s, order]) for e in STOPS],
        "val_acc": _short(100 * film.val_acc[STOPS, s]),
        "val_loss": _short(film.val_loss[STOPS, s], 3),
    }


def _curves(films: Sequence[Film]) -> dict:
    """Means over all networks at the stops with half widths of 95 % intervals, [mean, half]."""
    shares = [np.stack(answered(f)) for f in films]  # (3, T + 1, S)
    right, true, wrong = np.concatenate(shares, -1)[:, STOPS, :]
    acc, loss = (
        np.concatenate([getattr(f, name) for f in films], -1) for name in ("val_acc", "val_loss")
    )
    hits = np.concatenate([f.test_right for f in films], 1)  # (T + 1, S, N)
    first = loss[1:].argmin(0) + 1  # epoch of each network's own lowest loss, (S,)
    own = hits[first, range(len(first))]  # (S, N)
    low, middle, high = np.quantile(first, [0.1, 0.5, 0.9])
    return {
        "right": _pairs(100 * right),
        "true": _pairs(100 * true),
        "wrong": _pairs(100 * wrong),
        "val_acc": _pairs(100 * acc[STOPS, :]),
        "val_loss": _pairs(loss[STOPS, :], 3),
        "test": _short(100 * hits[STOPS].mean((1, 2)), 1),
        "worth": [_worth(hits[e], hits[-1]) for e in STOPS],
        "lowest": {
            "worth": _worth(own, hits[-1]),
            "epochs": [int(q) for q in (low, middle, high)],
        },
    }


def answered(film: Film) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares (T + 1, S): of the right labels, those answered; of the wrongly labeled digits, those
    answered with the true digit, and with the wrong label.
    """
    wrong = film.wrong
    as_told, truly = film.answers == film.given, film.answers == film.truth
    n_wrong = wrong.sum(1)
    right = (as_told & ~wrong).sum(2) / (~wrong).sum(1)
    return right, (truly & wrong).sum(2) / n_wrong, (as_told & wrong).sum(2) / n_wrong


def gain(stopped: np.ndarray, end: np.ndarray) -> tuple[float, float, float]:
    """Points that one choice of epochs gains over another on the test digits, with its interval.

    Parameters
    ----------
    stopped, end : (S, N) array of bool
        Which test digits each network reads rightly.

    Returns
    -------
    mean, low, high : float
        The 95 % interval is one for other networks and other test digits: both chances are added.
    """
    d = 100 * (stopped.astype(float) - end)
    by_seed, by_digit = d.mean(1), d.mean(0)
    error = math.hypot(*(v.std(ddof=1) / len(v) ** 0.5 for v in (by_seed, by_digit)))
    mean, half = float(d.mean()), float(scipy.stats.t.isf(0.025, len(d) - 1) * error)
    return mean, mean - half, mean + half


def _worth(stopped: np.ndarray, end: np.ndarray) -> list[float]:
    mean, low, _ = gain(stopped, end)
    return _short([mean, mean - low])


def _pairs(values: np.ndarray, digits: int = 2) -> list:
    """(stops, S) to a mean and a half width for each."""
    n = values.shape[1]
    half = scipy.stats.t.isf(0.025, n - 1) * values.std(1, ddof=1) / n**0.5
    return [_short(pair, digits) for pair in zip(values.mean(1), half, strict=True)]


def _digits(classes: np.ndarray) -> str:
    return "".join(map(str, classes))


def _short(values, digits: int = 2) -> list[float]:
    return [round(float(v), digits) for v in values]
