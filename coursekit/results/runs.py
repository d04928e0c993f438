"""What a training leaves behind: S networks, their curves, and how to ask them questions."""

import copy
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.datasets.tasks import Task, choose, expect
from coursekit.engine.devices import fetch, named
from coursekit.engine.scores import PARTS, on_shared, outputs_of_one, score_one, score_stack
from coursekit.engine.stack import Stack, State, fixed, trained
from coursekit.recipe import Recipe
from coursekit.stopping import Monitor


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
        Parameters and buffers when a network stopped, and at its lowest validation loss (highest
        accuracy, if that is what the recipe monitors): real copies, on the CPU wherever they were
        trained. Where the validation loss never was finite, `best` is `final`.
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
    apart : str
        Why the networks were trained one after another; empty if side by side.
    nets : tuple of S nn.Module
        Of networks trained one after another: each with what it holds beside its weights.
    """

    recipe: Recipe
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
    apart: str = ""
    nets: tuple[nn.Module, ...] = ()

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

    def network(self, seed: int, *, weights: str = "best") -> nn.Module:
        """One trained network, in evaluation mode on the CPU: a module of PyTorch to use or save.

        Parameters
        ----------
        seed : int
            One of `seeds`.
        weights : {"best", "final"}
            Those at the lowest validation loss, or those at the end of training.

        Returns
        -------
        nn.Module
            A copy of its own: `torch.save(net.state_dict(), "net.pt")` stores it.

        Raises
        ------
        ValueError
            If no network has this seed, or `weights` is unknown.

        Examples
        --------
        >>> from coursekit import data, models
        >>> from coursekit.train import Recipe, fit
        >>> task = data.load("wine", device="cpu")
        >>> runs = fit(models.linear(task), task, Recipe(epochs=2, n_seeds=2, first_seed=0))
        >>> runs.network(1)(task.x_test).shape
        torch.Size([60, 3])
        """
        choose("weights", weights, ("best", "final"))
        known = self.seeds.tolist()
        expect(seed in known, f"a seed among {known}", seed, f"network({known[0]})")
        s = known.index(seed)
        net = copy.deepcopy(self.nets[s] if self.nets else self.net)
        write_state(net, getattr(self, weights), s)
        return net.eval()

    def networks(self, weights: str, device: torch.device | str) -> Iterator[nn.Module]:
        """The trained networks one by one, on a device."""
        for seed in self.seeds.tolist():
            yield self.network(seed, weights=weights).to(device)

    def __repr__(self) -> str:
        bad = int((self.diverged > 0).sum())
        n_epochs = int(self.last_epoch.max())
        apart = self.apart if len(self.seeds) > 1 else ""
        return (
            f"Runs({len(self.seeds)} seeds of {self.task}, {n_epochs} epochs, "
            f"{self.seconds:.1f} s{f', {bad} diverged' if bad else ''}"
            f"{f'; one after another: {apart}' if apart else ''})"
        )


class Scores(NamedTuple):
    """Mean loss and, for classes, accuracy of S networks: (S,) float arrays."""

    loss: np.ndarray
    acc: np.ndarray | None


class One:
    """One network in the form of a `Stack`, for those who ask for states (1, ...)."""

    def __init__(self, net: nn.Module):
        self.net = net

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @property
    def state(self) -> State:
        """Parameters and buffers as they are now: a buffer may have been replaced by another."""
        return {n: t.detach()[None] for n, t in chain(trained(self.net), fixed(self.net))}

    def snapshot(self) -> "Kept":
        return Kept(self)


class Kept:
    """A real copy of one network, with the methods of `engine.stack.Snapshot`."""

    def __init__(self, source: One):
        self.keep(source, np.array([True]))

    def keep(self, source: "One | Kept", which: np.ndarray) -> None:
        if which[0]:
            self.state = {name: value.clone() for name, value in source.state.items()}


@torch.no_grad()
def write_state(net: nn.Module, state: Mapping[str, Tensor], s: int) -> None:
    """Write the parameters and buffers of network s into a module of the same structure."""
    own = dict(chain(trained(net), fixed(net)))
    for name, values in state.items():
        tensor, value = own.get(name), values[s]
        if tensor is not None and (tensor.shape, tensor.dtype) == (value.shape, value.dtype):
            tensor.copy_(value)
        else:  # a buffer that training made, or replaced by one of another kind
            path, _, last = name.rpartition(".")
            net.get_submodule(path)._buffers[last] = value.clone()


class History:
    """Collects the curves of S networks while they train, and stops those out of patience.

    As a context manager with `partial` it turns Ctrl-C into a warning once an epoch is finished.
    """

    def __init__(
        self, recipe: Recipe, seeds: Sequence[int], source: Stack | One, *, partial: bool = False
    ):
        self.recipe, self.seeds, self.partial = recipe, np.array(seeds), partial
        self.stack = source
        self.monitor = Monitor(len(seeds), recipe.patience)
        self.curves: list[dict[str, np.ndarray]] = []
        self.best, self.final = source.snapshot(), source.snapshot()
        self.started = time.perf_counter()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> bool:
        interrupted = self.partial and kind is KeyboardInterrupt and bool(self.curves)
        if interrupted:
            n = len(self.curves)
            warnings.warn(
                f"interrupted: kept {n} finished epochs; `final` is from within the next one",
                stacklevel=3,
            )
        return interrupted

    def add(self, scores: Mapping[str, Tensor]) -> bool:
        """Take the scores (S,) of one epoch; return True when every network has stopped.

        An epoch without an evaluation has no "val_loss", and is never the best.
        """
        row = fetch(scores)
        was_running = self.monitor.running.copy()
        measured = "val_loss" in row
        score = row["val_loss"] if measured else np.full(len(self.seeds), np.nan)
        if measured and self.recipe.monitor == "accuracy":
            what = 'a classification for monitor="accuracy"'
            expect("val_acc" in row, what, "a regression", 'monitor="loss"')
            score = 1 - row["val_acc"]
        improved = self.monitor.update(score, measured=measured)
        self.best.keep(self.stack, improved)
        self.final.keep(self.stack, was_running & ~self.monitor.running)
        self.curves.append({name: np.where(was_running, v, np.nan) for name, v in row.items()})
        return not self.monitor.running.any()

    def runs(self, task: Task) -> Runs:
        """Close the books."""
        self.final.keep(self.stack, self.monitor.running)
        self.best.keep(self.final, self.monitor.best == 0)
        names = dict.fromkeys(name for row in self.curves for name in row)
        never = np.full(len(self.seeds), np.nan)
        curves = {name: np.stack([r.get(name, never) for r in self.curves], 1) for name in names}
        recorded = np.arange(len(self.curves)) < self.monitor.last[:, None]  # (S, T)
        losses = [[v for n, v in row.items() if n.endswith("loss")] for row in self.curves]
        broken = ~np.stack([np.isfinite(values).all(0) for values in losses], 1) & recorded
        diverged = np.where(broken.any(1), broken.argmax(1) + 1, 0)
        final, best = (
            {name: value.cpu().contiguous() for name, value in kept.state.items()}
            for kept in (self.final, self.best)
        )
        device, net = named(self.stack.device), self.stack.net.cpu()
        return Runs(
            self.recipe, task.name, self.seeds, curves, final, best,
            self.monitor.best, self.monitor.last, diverged,
            time.perf_counter() - self.started, net, device,
            nets=(net,) if isinstance(self.stack, One) else (),
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
    share, nets = len(part["seeds"]) / len(runs.seeds), runs.nets[members]
    return replace(runs, curves=curves, seconds=runs.seconds * share, nets=nets, **part, **state)


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
    every = all(part.nets for part in parts)
    nets = tuple(net for part in parts for net in part.nets) if every else ()
    return replace(
        parts[0], curves=curves, seconds=seconds, device=device, nets=nets, **whole, **state
    )


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
    (S, N, K) tensor
        Logits, or predictions, on the inputs' device; K = `task.n_outputs`.

    Raises
    ------
    ValueError
        If `weights` is unknown.
    """
    if runs.apart:
        every = runs.networks(weights, x.device)
        return torch.stack([outputs_of_one(net, x) for net in every])
    return on_shared(runs.net, _weights(runs, weights, x.device), x)


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
    require_part(task, part)
    deal = task.deal(runs.seeds.tolist())
    if runs.apart:
        every = enumerate(runs.networks(weights, task.device))
        parts = [score_one(net, task, deal, part, s) for s, net in every]
        scores = {name: torch.cat([own[name] for own in parts]) for name in parts[0]}
    else:
        scores = score_stack(runs.net, _weights(runs, weights, task.device), task, deal, part)
    found = fetch(scores)
    return Scores(found[f"{part}_loss"], found.get(f"{part}_acc"))


def require_part(task: Task, part: str) -> None:
    """Raise ValueError if a task has no test set, and somebody asks for it."""
    has = part != "test" or task.x_test is not None
    expect(has, "a task with a test set", "none", "Task.from_arrays(x, y, test=0.2)")


def _weights(runs: Runs, name: str, device: torch.device) -> State:
    choose("weights", name, ("best", "final"))
    return {n: value.to(device) for n, value in getattr(runs, name).items()}
