"""Tasks: whole tensors on one device, and how to deal their rows and wrong labels to a seed.

There is no `DataLoader`: every set fits in memory, and a seed's training set is a list of rows.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Arrays",
    "Members",
    "Task",
    "choose",
    "expect",
    "pick_device",
    "seed_word",
    "seeds",
    "stream",
]


def seeds(n: int, first: int | None = None) -> range:
    """Return the n consecutive seeds of a study.

    `first` defaults to the environment's `COURSEKIT_FIRST_SEED` (else 0), so that a whole notebook
    can run again on other seeds: no verdict should depend on them.

    Raises
    ------
    ValueError
        If n < 1, or the first seed is not an integer >= 0.
    """
    if first is None:
        first = os.environ.get("COURSEKIT_FIRST_SEED", "0")
    try:
        count, start = int(str(n)), int(str(first))  # through str: 2.5 is an error, not 2
    except ValueError:
        count = start = -1
    advice = "seeds(16), or another value of the environment's COURSEKIT_FIRST_SEED"
    whole = count >= 1 and start >= 0
    expect(whole, "integers n >= 1 and first >= 0", f"{n!r} and {first!r}", advice)
    return range(start, start + count)


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """Return the named device; by default an NVIDIA GPU where there is one, and else the CPU.

    Apple's GPUs ("mps") are taken only when named: the networks of the course are too small to gain
    from them, and they have no float64.

    Raises
    ------
    ValueError
        If the named device is unknown or not available here.
    """
    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["cpu"]
    found += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(found[0] if name is None else name)
    except (RuntimeError, TypeError):
        device = None
    here = device is not None and device.type in found and _has_index(device)
    expect(here, f"a device among {', '.join(found)}", repr(name), "device=None for the best one")
    return device


def _has_index(device: torch.device) -> bool:
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    return (device.index or 0) < count


def stream(seed: int, purpose: str) -> torch.Generator:
    """Return a random stream of its own for each seed and purpose.

    So no draw can shift another one: a seed's rows stay what they are when its labels get noise.
    The same arguments always start the same stream. It draws on the CPU, whose numbers are the same
    on every machine.

    Raises
    ------
    ValueError
        If the seed is not an integer >= 0.

    References
    ----------
    O'Neill, "Developing a seed_seq alternative", pcg-random.org, 2015: numpy's `SeedSequence`.
    """
    return torch.Generator().manual_seed(seed_word(seed, purpose, np.uint32))


def seed_word(seed: int, purpose: str, kind: type = np.uint64) -> int:
    """Where the stream of a seed and purpose starts: a random whole number. Raises as `stream`."""
    expect(_is_seed(seed), "a seed that is an integer >= 0", repr(seed), "seed=0")
    return int(np.random.SeedSequence([seed, *purpose.encode()]).generate_state(1, kind)[0])


def _is_seed(seed: object) -> bool:
    return isinstance(seed, int | np.integer) and seed >= 0


class Arrays(NamedTuple):
    """One seed's data for scikit-learn: features float64 (N, D), targets int64 or float64 (N,)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True, eq=False)
class Members:
    """What differs between the S seeds of a task. Rows index `task.x`; row s belongs to seed s."""

    train_rows: Tensor  # (S, n_train) int64
    val_rows: Tensor  # (S, n_val) int64
    y_train: Tensor  # (S, n_train), that seed's wrong labels included
    flipped: Tensor  # (S, n_train) bool: the label is not the true one


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A pool of rows to train and validate on, a fixed test set, and how to deal them to a seed.

    Images are (N, C, H, W) in [0, 1], signals (N, 1, L), tables (N, D). `dataclasses.replace`
    makes a noisy or smaller arm that shares its rows with this one.

    Raises
    ------
    ValueError
        If shapes, types, classes or sizes do not fit together, or a number is not finite.
    """

    name: str
    x: Tensor  # (M, ...) float32
    y: Tensor  # (M,) int64 classes, or float32 targets
    x_test: Tensor  # (N, ...) float32
    y_test: Tensor  # (N,)
    n_train: int
    n_val: int
    n_classes: int | None = None  # None: regression
    label_noise: float = 0.0  # chance that a training label is replaced by a uniformly random class
    truth: Tensor | None = None  # (D,) true coefficients of a synthetic linear task
    note: str = ""  # where the data comes from

    def __post_init__(self):
        parts = {"pool": (self.x, self.y), "test": (self.x_test, self.y_test)}
        for part, (x, y) in parts.items():
            self._check_part(part, x, y)
        sizes, got = (self.n_train, self.n_val), f"{self.n_train} and {self.n_val}"
        whole = all(isinstance(n, int | np.integer) and n >= 1 for n in sizes)
        expect(whole, "integers n_train >= 1 and n_val >= 1", got)
        expect(sum(sizes) <= len(self.x), f"n_train + n_val <= {len(self.x)}", got, "smaller ones")
        most = 0 if self.n_classes is None else 1  # wrong classes are no noise for a regression
        expect(0 <= self.label_noise <= most, f"label_noise in [0, {most}]", self.label_noise)
        fits = self.truth is None or self.truth.shape == self.x.shape[1:]
        expect(fits, "one true coefficient per feature", getattr(self.truth, "shape", None))

    def _check_part(self, part: str, x: Tensor, y: Tensor) -> None:
        kind = torch.float32 if self.n_classes is None else torch.int64
        got = f"{part} x {tuple(x.shape)} {x.dtype}, y {tuple(y.shape)} {y.dtype}"
        expect(x.dtype == torch.float32 and y.dtype == kind, f"x in float32, y in {kind}", got)
        fits = x.ndim in (2, 3, 4) and x.shape[1:] == self.x.shape[1:] and y.shape == x.shape[:1]
        expect(fits and len(x) > 0, "x (N, D), (N, 1, L) or (N, C, H, W) and y (N,)", got)
        finite = bool(x.isfinite().all() and y.isfinite().all())
        expect(finite, f"finite numbers in the {part}", "nan or inf", "leaving those rows out")
        if x.ndim == 4:
            low, high = x.min().item(), x.max().item()
            expect(low >= 0 and high <= 1, "pixels in [0, 1]", f"{low} to {high}", "x / 255")
        if self.n_classes is not None:
            low, high, last = y.min().item(), y.max().item(), self.n_classes - 1
            expect(low >= 0 and high <= last, f"classes 0 to {last}", f"{low} to {high}")

    @property
    def device(self) -> torch.device:
        """Where all its tensors are."""
        return self.x.device

    def members(self, seeds: Iterable[int]) -> Members:
        """Deal rows and labels to seeds.

        What a seed gets depends on that seed alone, not on the other seeds or on global random
        state. Its rows do not depend on `label_noise` (so clean and noisy arms are paired), nor its
        validation rows on `n_train`. More training rows, or more noise, keep what fewer had.

        Parameters
        ----------
        seeds : iterable of S different int >= 0

        Raises
        ------
        ValueError
            If there is no seed, a negative one, or one twice (it would narrow every interval).
        """
        seeds = list(seeds)
        whole = all(map(_is_seed, seeds))
        distinct = len(seeds) == len(set(seeds)) > 0
        expect(whole and distinct, "different integers >= 0", seeds, "seeds(16)")
        y = self.y.cpu()
        rows = torch.stack([self._rows(seed) for seed in seeds])  # (S, n_val + n_train)
        val_rows, train_rows = rows[:, : self.n_val].clone(), rows[:, self.n_val :].clone()
        y_train = y[train_rows]
        if self.label_noise:
            noisy = (self._noisy(y, seed) for seed in seeds)
            y_train = torch.stack([y_s[row] for y_s, row in zip(noisy, train_rows, strict=True)])
        flipped = y_train != y[train_rows]
        return Members(*(t.to(self.device) for t in (train_rows, val_rows, y_train, flipped)))

    def _rows(self, seed: int) -> Tensor:
        order = torch.randperm(len(self.x), generator=stream(seed, "rows"))
        return order[: self.n_val + self.n_train].clone()  # the whole order would stay in memory

    def _noisy(self, y: Tensor, seed: int) -> Tensor:
        # Drawn for the whole pool: a row's fate must not depend on which other rows were dealt.
        draws = stream(seed, "labels")
        hit = torch.rand(len(y), generator=draws) < self.label_noise
        return torch.where(hit, torch.randint(self.n_classes, y.shape, generator=draws), y)

    def arrays(self, seed: int) -> Arrays:
        """One seed's train, validation and test set as numpy arrays, features flattened to 2-D."""
        member = self.members([seed])
        train, val = member.train_rows[0], member.val_rows[0]
        parts = (
            *(self.x[train], member.y_train[0]),
            *(self.x[val], self.y[val]),
            *(self.x_test, self.y_test),
        )
        flat = (t.cpu().flatten(1) if t.ndim > 1 else t.cpu() for t in parts)
        return Arrays(*((t if t.dtype == torch.int64 else t.double()).numpy() for t in flat))

    def inputs(self, rows: Tensor) -> Tensor:
        """Examples of the pool by row, (...) int64 to (..., D) or (..., C, H, W)."""
        # Several times faster than `self.x[rows]`, and the same.
        return self.x.index_select(0, rows.flatten()).unflatten(0, rows.shape)

    def __repr__(self) -> str:
        kind = "regression" if self.n_classes is None else f"{self.n_classes} classes"
        noise = f", label noise {self.label_noise:g}" if self.label_noise else ""
        return (
            f"Task {self.name}: {kind}, rows {tuple(self.x.shape[1:])}, {self.n_train} train + "
            f"{self.n_val} val of {len(self.x)}, {len(self.x_test)} test{noise}, on {self.device}"
        )

    def describe(self) -> str:
        """The sizes of the task, and below them where its data comes from."""
        return f"{self!r}\n{self.note}"


def expect(
    holds: bool, expected: str, got: object, advice: str = "help(coursekit.data.Task)"
) -> None:
    """Raise ValueError with what was expected, what came and what to try, unless it `holds`."""
    if not holds:
        raise ValueError(f"expected {expected}, got {got}; try {advice}")


def choose(what: str, value: str, known) -> None:
    """Raise ValueError if `value` is not among `known`."""
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; expected one of {', '.join(known)}")
