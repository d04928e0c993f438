"""What a training leaves behind: S networks, their curves, and how to ask them questions."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.datasets.tasks import Members, Task, choose
from coursekit.engine.devices import fetch, named, widest
from coursekit.engine.stack import Snapshot, Stack, State, forward
from coursekit.stopping import Monitor

PARTS = ("train", "val", "test")
Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, repr=False)
class Runs:
    """What `fit` returns: S trained networks and their curves.

    Curves are attributes of shape (S, T), measured after each epoch in evaluation mode, without
    penalties, over all rows: `train_loss`, `train_acc`, `val_loss`, `val_acc`, and `test_loss`,
    `test_acc` where the test set was asked for. `logged_loss` is what most training loops print:
    the mean over the epoch of the loss that is optimized, noise and penalties included. After a
    network has stopped, its curves are NaN.

    Attributes
    ----------
    recipe : Recipe
    task : str
        Name of the task.
    seeds : (S,) int array
    curves : dict of str to (S, T) float array
    final, best : dict of str to (S, ...) tensor
        Parameters and buffers when a network stopped, and at its lowest validation loss: real
        copies, on the CPU wherever they were trained. Where the validation loss never was finite,
        `best` is `final`.
    best_epoch, last_epoch : (S,) int array
        Counted from 1; `best_epoch` is 0 where the validation loss never was finite.
    diverged : (S,) int array
        First epoch whose loss was not finite; 0 for none.
    seconds : float
        Wall-clock time of the training.
    net : nn.Module
        The structure. Its own weights mean nothing.
    device : str
        Where it was trained, as in "cpu" or "cuda:0 (NVIDIA H100)".
    """

    recipe: Any
    task: str
    seeds: np.ndarray
    curves: dict[str, np.ndarray]
    final: State
    best: State
    best_epoch: np.ndarray
    last_epoch: np.ndarray
    diverged: np.ndarray
    seconds: float
    net: nn.Module
    device: str = "cpu"

    def __getattr__(self, name: str) -> np.ndarray:
        curves = self.__dict__.get("curves", {})
        if name in curves:
            return curves[name]
        hint = '; pass record=("train", "val", "test") to fit' if name.startswith("test_") else ""
        raise AttributeError(f"no curve {name!r}; recorded were {', '.join(curves)}{hint}")

    def to(self, device: torch.device | str) -> "Runs":
        """The same runs with their weights on a device: to compute with them beside its tensors.

        `evaluate` and `outputs` do so by themselves.
        """
        moved = {
            kind: {name: value.to(device) for name, value in getattr(self, kind).items()}
            for kind in ("final", "best")
        }
        return replace(self, **moved)

    def __repr__(self) -> str:
        bad = int((self.diverged > 0).sum())
        n_epochs = int(self.last_epoch.max())
        return (
            f"Runs({len(self.seeds)} seeds of {self.task}, {n_epochs} epochs, "
            f"{self.seconds:.1f} s{f', {bad} diverged' if bad else ''})"
        )


class Scores(NamedTuple):
    """Mean loss and, for classes, accuracy of S networks: (S,) float arrays."""

    loss: np.ndarray
    acc: np.ndarray | None


class History:
    """Collects the curves of S networks while they train, and stops those out of patience.

    As a context manager with `partial` it turns Ctrl-C into a warning once an epoch is finished.
    """

    def __init__(self, recipe: Any, seeds: Sequence[int], stack: Stack, *, partial: bool = False):
        self.recipe, self.seeds, self.stack, self.partial = recipe, np.array(seeds), stack, partial
        self.monitor = Monitor(len(seeds), recipe.patience)
        self.curves: list[dict[str, np.ndarray]] = []
        self.best, self.final = Snapshot(stack), Snapshot(stack)
        self.started = time.perf_counter()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> bool:
        interrupted = self.partial and kind is KeyboardInterrupt and bool(self.curves)
        if interrupted:
            warnings.warn(f"interrupted: kept {len(self.curves)} finished epochs", stacklevel=3)
        return interrupted

    def add(self, scores: Mapping[str, Tensor]) -> bool:
        """Take the scores (S,) of one epoch; return True when every network has stopped."""
        row = fetch(scores)
        was_running = self.monitor.running.copy()
        improved = self.monitor.update(row["val_loss"])
        self.best.keep(self.stack, improved)
        self.final.keep(self.stack, was_running & ~self.monitor.running)
        self.curves.append({name: np.where(was_running, v, np.nan) for name, v in row.items()})
        return not self.monitor.running.any()

    def runs(self, task: Task) -> Runs:
        """Close the books."""
        self.final.keep(self.stack, self.monitor.running)
        self.best.keep(self.final, self.monitor.best == 0)
        curves = {
            name: np.stack([row[name] for row in self.curves], axis=1) for name in self.curves[0]
        }
        recorded = np.arange(len(self.curves)) < self.monitor.last[:, None]  # (S, T)
        broken = ~np.isfinite(np.stack([c for n, c in curves.items() if n.endswith("loss")])).all(0)
        broken &= recorded
        diverged = np.where(broken.any(1), broken.argmax(1) + 1, 0)
        final, best = (
            {name: value.cpu().contiguous() for name, value in kept.state.items()}
            for kept in (self.final, self.best)
        )
        return Runs(
            self.recipe, task.name, self.seeds, curves, final, best,
            self.monitor.best, self.monitor.last, diverged,
            time.perf_counter() - self.started, self.stack.net, named(self.stack.device),
        )  # fmt: skip


def warn_of_divergence(runs: Runs) -> None:
    """Warn if the loss of a network stopped being finite."""
    bad = runs.diverged > 0
    if bad.any():
        warnings.warn(
            f"the loss of seeds {runs.seeds[bad].tolist()} stopped being finite at epochs "
            f"{runs.diverged[bad].tolist()}; try a smaller lr",
            stacklevel=3,
        )


def take(runs: Runs, members: slice) -> Runs:
    """Some of the networks; `seconds` is their share."""
    part = {
        name: getattr(runs, name)[members]
        for name in ("seeds", "best_epoch", "last_epoch", "diverged")
    }
    state = {
        kind: {name: value[members] for name, value in getattr(runs, kind).items()}
        for kind in ("final", "best")
    }
    curves = {name: curve[members] for name, curve in runs.curves.items()}
    share = len(part["seeds"]) / len(runs.seeds)
    return replace(runs, curves=curves, seconds=runs.seconds * share, **part, **state)


def join(parts: Sequence[Runs]) -> Runs:
    """Networks that were trained apart, as one; shorter curves are filled up with NaN."""
    if len(parts) == 1:
        return parts[0]
    longest = max(next(iter(part.curves.values())).shape[1] for part in parts)

    def filled(curve: np.ndarray) -> np.ndarray:
        missing = longest - curve.shape[1]
        return np.pad(curve, ((0, 0), (0, missing)), constant_values=np.nan)

    whole = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("seeds", "best_epoch", "last_epoch", "diverged")
    }
    state = {
        kind: {name: torch.cat([getattr(p, kind)[name] for p in parts]) for name in parts[0].final}
        for kind in ("final", "best")
    }
    curves = {
        name: np.concatenate([filled(part.curves[name]) for part in parts])
        for name in parts[0].curves
    }
    seconds = sum(part.seconds for part in parts)
    device = ", ".join(dict.fromkeys(part.device for part in parts))
    return replace(parts[0], curves=curves, seconds=seconds, device=device, **whole, **state)


def score_of(task: Task) -> Score:
    """The recorded loss of a task: (outputs (..., C), targets (...)) to losses (...)."""
    return squared_error if task.n_classes is None else cross_entropy


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats: logits (S, N, C), targets (S, N) classes or (S, N, C) shares."""
    if len(logits) == 1:
        return F.cross_entropy(logits.squeeze(0), targets.squeeze(0), reduction="none")[None]
    # With the classes first, a row of N is one vector: ten times faster for few classes.
    scores = logits.mT.contiguous()  # (S, C, N)
    return F.cross_entropy(scores, targets.mT if targets.ndim == 3 else targets, reduction="none")


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared difference: (..., 1), (...) to (...)."""
    return (outputs.squeeze(-1) - targets).square()


def grade(
    net: nn.Module, state: State, task: Task, members: Members, part: str
) -> dict[str, Tensor]:
    """Loss and, for classes, accuracy of S networks on a part, each of shape (S,)."""
    if part == "test":
        outputs, y = _on_shared(net, state, task.x_test), task.y_test
        y = y.expand(len(outputs), -1)
    else:
        rows = members.val_rows if part == "val" else members.train_rows
        y = task.y[rows] if part == "val" else members.y_train
        outputs = forward(
            net, state, lambda nets, part: task.inputs(rows[nets, part]), rows.shape[1]
        )
    scores = {f"{part}_loss": score_of(task)(outputs, y).mean(1)}
    if task.n_classes is not None:
        scores[f"{part}_acc"] = (outputs.argmax(-1) == y).to(widest(y.device)).mean(1)
    return scores


def _on_shared(net: nn.Module, state: State, x: Tensor) -> Tensor:
    n = len(next(iter(state.values())))

    def inputs(nets: slice, rows: slice) -> Tensor:
        return x[rows].expand(len(range(n)[nets]), *x[rows].shape)

    return forward(net, state, inputs, len(x))


def outputs(runs: Runs, x: Tensor, *, weights: str = "best") -> Tensor:
    """Outputs of all trained networks, in evaluation mode.

    Parameters
    ----------
    runs : Runs
    x : (N, ...) tensor
        The same inputs for every network.
    weights : {"best", "final"}
        Those at the lowest validation loss, or those at the end of training.

    Returns
    -------
    (S, N, C) tensor
        Logits, or predictions with C = 1, on the inputs' device.

    Raises
    ------
    ValueError
        If `weights` is unknown.
    """
    return _on_shared(runs.net, _weights(runs, weights, x.device), x)


def evaluate(runs: Runs, task: Task, part: str = "test", *, weights: str = "best") -> Scores:
    """Loss and accuracy of all trained networks on one part of the data.

    Opening the test set is one call that can be searched for: do it once, at the end.

    Parameters
    ----------
    runs : Runs
    task : Task
        May be another task of the same shape than the one trained on (a shifted test set, say).
    part : {"train", "val", "test"}
    weights : {"best", "final"}
        Those at the lowest validation loss, or those at the end of training.

    Returns
    -------
    Scores

    Raises
    ------
    ValueError
        If `part` or `weights` is unknown.
    """
    choose("part", part, PARTS)
    members = task.members(runs.seeds.tolist())
    scores = fetch(grade(runs.net, _weights(runs, weights, task.device), task, members, part))
    return Scores(scores[f"{part}_loss"], scores.get(f"{part}_acc"))


def _weights(runs: Runs, name: str, device: torch.device) -> State:
    choose("weights", name, ("best", "final"))
    return {n: value.to(device) for n, value in getattr(runs, name).items()}
