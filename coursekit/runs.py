"""What a training leaves behind: S networks, their curves, and how to ask them questions."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.stacked import State, forward, keep
from coursekit.stopping import Monitor
from coursekit.tasks import Members, Task

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
        copies. Where the validation loss never was finite, `best` is `final`.
    best_epoch, last_epoch : (S,) int array
        Counted from 1; `best_epoch` is 0 where the validation loss never was finite.
    diverged : (S,) int array
        First epoch whose loss was not finite; 0 for none.
    seconds : float
        Wall-clock time of the training.
    net : nn.Module
        The structure. Its own weights mean nothing.
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

    def __getattr__(self, name: str) -> np.ndarray:
        curves = self.__dict__.get("curves", {})
        if name in curves:
            return curves[name]
        hint = '; pass record=("train", "val", "test") to fit' if name.startswith("test_") else ""
        raise AttributeError(f"no curve {name!r}; recorded were {', '.join(curves)}{hint}")

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

    As a context manager it turns Ctrl-C into a warning once an epoch is finished.
    """

    def __init__(self, recipe: Any, state: State):
        self.recipe, self.state = recipe, state
        self.monitor = Monitor(recipe.n_seeds, recipe.patience)
        self.curves: list[dict[str, np.ndarray]] = []
        self.best = {name: value.detach().clone() for name, value in state.items()}
        self.final = {name: value.detach().clone() for name, value in state.items()}
        self.started = time.perf_counter()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> bool:
        interrupted = kind is KeyboardInterrupt and bool(self.curves)
        if interrupted:
            warnings.warn(f"interrupted: kept {len(self.curves)} finished epochs", stacklevel=3)
        return interrupted

    def add(self, scores: Mapping[str, Tensor]) -> bool:
        """Take the scores (S,) of one epoch; return True when every network has stopped."""
        row = {name: value.double().cpu().numpy() for name, value in scores.items()}
        was_running = self.monitor.running.copy()
        improved = self.monitor.update(row["val_loss"])
        keep(self.best, self.state, self._mask(improved))
        keep(self.final, self.state, self._mask(was_running & ~self.monitor.running))
        self.curves.append({name: np.where(was_running, v, np.nan) for name, v in row.items()})
        return not self.monitor.running.any()

    def runs(self, task: Task, net: nn.Module) -> Runs:
        """Close the books."""
        keep(self.final, self.state, self._mask(self.monitor.running))
        never = self.monitor.best == 0
        keep(self.best, self.final, self._mask(never))
        curves = {
            name: np.stack([row[name] for row in self.curves], axis=1) for name in self.curves[0]
        }
        recorded = np.arange(len(self.curves)) < self.monitor.last[:, None]  # (S, T)
        broken = ~np.isfinite(np.stack([c for n, c in curves.items() if n.endswith("loss")])).all(0)
        broken &= recorded
        diverged = np.where(broken.any(1), broken.argmax(1) + 1, 0)
        seeds = np.array(self.recipe.seeds)
        if diverged.any():
            warnings.warn(
                f"the loss of seeds {seeds[diverged > 0].tolist()} stopped being finite at epochs "
                f"{diverged[diverged > 0].tolist()}; try a smaller lr",
                stacklevel=3,
            )
        return Runs(
            self.recipe, task.name, seeds, curves, self.final, self.best,
            self.monitor.best, self.monitor.last, diverged,
            time.perf_counter() - self.started, net,
        )  # fmt: skip

    def _mask(self, which: np.ndarray) -> Tensor:
        return torch.as_tensor(which, device=next(iter(self.state.values())).device)


def score_of(task: Task) -> Score:
    """The recorded loss of a task: (outputs (..., C), targets (...)) to losses (...)."""
    return squared_error if task.n_classes is None else cross_entropy


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-probability of the true class, in nats: (..., C), (...) to (...)."""
    return -F.log_softmax(logits, dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared difference: (..., 1), (...) to (...)."""
    return (outputs.squeeze(-1) - targets).square()


def part_of(task: Task, members: Members, part: str) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a part: (S, N, ...), (S, N); for the test set (N, ...), (N,)."""
    if part == "test":
        return task.x_test, task.y_test
    if part == "val":
        return task.x[members.val_rows], task.y[members.val_rows]
    return task.x[members.train_rows], members.y_train


def grade(
    net: nn.Module, state: State, task: Task, members: Members, part: str
) -> dict[str, Tensor]:
    """Loss and, for classes, accuracy of S networks on a part, each of shape (S,)."""
    x, y = part_of(task, members, part)
    outputs = forward(net, state, x, shared=part == "test")  # (S, N, C)
    y = y.expand(outputs.shape[:2])
    scores = {f"{part}_loss": score_of(task)(outputs, y).mean(1)}
    if task.n_classes is not None:
        scores[f"{part}_acc"] = (outputs.argmax(-1) == y).double().mean(1)
    return scores


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
        Logits, or predictions with C = 1.

    Raises
    ------
    ValueError
        If `weights` is unknown.
    """
    return forward(runs.net, _weights(runs, weights), x, shared=True)


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
    scores = grade(runs.net, _weights(runs, weights), task, members, part)
    scores = {name: value.double().cpu().numpy() for name, value in scores.items()}
    return Scores(scores[f"{part}_loss"], scores.get(f"{part}_acc"))


def choose(what: str, value: str, known) -> None:
    """Raise ValueError if `value` is not among `known`."""
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; expected one of {', '.join(known)}")


def _weights(runs: Runs, name: str) -> State:
    choose("weights", name, ("best", "final"))
    return runs.best if name == "best" else runs.final
