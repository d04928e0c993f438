"""Tasks: data as tensors on one device, and how to deal rows and wrong labels to a seed.

There is no `DataLoader`: a set fits in memory, or a `Reader` reads it row by row, and a seed's
training set is a list of rows.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coursekit.datasets.values import choose, expect, number

__all__ = [
    "Arrays",
    "Deal",
    "Reader",
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
class Deal:
    """What differs between the S seeds of a task. Rows index `task.x`; row s belongs to seed s."""

    train_rows: Tensor  # (S, n_train) int64
    val_rows: Tensor  # (S, n_val) int64
    y_train: Tensor  # (S, n_train, ...), that seed's wrong labels included
    flipped: Tensor  # (S, n_train) bool: the label is not the true one


class Reader:
    """Examples that are read when they are needed, because they do not fit into memory.

    Parameters
    ----------
    source : sequence
        Has a length, and gives example i for `source[i]`, as a PyTorch data set does: an array, or
        a pair whose first part is one.
    device : str or torch.device, optional

    Raises
    ------
    ValueError
        If there is no example, or the first one is no array of numbers.
    """

    def __init__(self, source: Any, device: str | torch.device = "cpu"):
        _check_source(source)
        expect(len(source) > 0, "at least one example to read", "none", "another folder or filter")
        self.source, self.device = source, torch.device(device)
        first = self._example(0)
        self.shape, self.dtype = torch.Size((len(source), *first.shape)), first.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        return self.read(torch.arange(len(self))[rows])

    def read(self, rows: Tensor) -> Tensor:
        """Read the examples of these rows: (B,) int64 to (B, ...) on the device."""
        x = torch.stack([self._example(row) for row in rows.tolist()])
        finite = bool(x.isfinite().all())
        expect(finite, "examples of finite numbers", "nan or inf", "another filter")
        return x.to(self.device)

    def _example(self, row: int) -> Tensor:
        example = self.source[row]
        return as_inputs(example[0] if isinstance(example, tuple | list) else example)


def _check_source(source: Any) -> None:
    fits = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    what, got = "examples that have a length and numbers, x[i]", type(source).__name__
    expect(fits and not isinstance(source, str | bytes | Mapping), what, got, "a list or an array")


def read_rows(x: Tensor | Reader, rows: Tensor) -> Tensor:
    """Examples by row: (N, ...) and (B,) int64 to (B, ...)."""
    # Several times faster than `x[rows]`, and the same.
    return x.read(rows) if isinstance(x, Reader) else x.index_select(0, rows)


def as_inputs(x: Any) -> Tensor:
    """Numbers of any type as training takes them: float32, and whole numbers as int64.

    Bytes are taken for shades of gray or color: 0 to 255 become 0 to 1.
    """
    try:
        x = x if isinstance(x, Tensor) else torch.from_numpy(np.array(x, order="C"))
    except (TypeError, ValueError) as error:
        got = f"{type(x).__name__} of {getattr(np.asarray(x), 'dtype', '?')}"
        raise ValueError(
            f"expected x of numbers, got {got}; turn text and dates into numbers first, as with "
            "pandas.get_dummies"
        ) from error
    expect(not x.is_complex(), "real numbers", str(x.dtype), "x.real")
    if x.dtype == torch.uint8:
        return x.float() / 255
    x = x.detach().cpu()
    return x.float() if x.is_floating_point() or x.dtype == torch.bool else x.long()


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A pool of rows to train and validate on, a fixed test set, and how to deal them to a seed.

    `Task.from_arrays` makes one from your own data, `coursekit.data.load` from a named data set.
    Images are (N, C, H, W), signals (N, C, L), tables (N, D), token ids (N, L) int64.
    `dataclasses.replace` makes a noisy or smaller arm that shares its rows with this one.

    Attributes
    ----------
    x, x_test : (N, ...), (N_test, ...) float32 or int64 tensor, or Reader
        Inputs. `x_test` and `y_test` are None where there is no test set.
    y, y_test : (N,), (N_test,) int64 classes, or (N,), (N, K) float32 targets
    n_train, n_val : int
        Rows of the pool that each seed gets.
    n_classes : int or None
        None stands for a regression, or for several labels at once.
    label_noise : float in [0, 1]
        Chance that a training label is replaced by a uniformly random class.
    truth : (D,) tensor, optional
        True coefficients of a synthetic linear task.
    note : str
        Where the data comes from.
    multi_label : bool
        The K targets of a row are 0 or 1, and several may be 1.
    split : {"random", "grouped", "ordered", "fixed"}
        Which rows a seed gets: any; whole groups, so that no group is in both parts; the last
        `n_val` rows of the pool for validation, and those before to train (time); or the first
        `n_train` to train and the last `n_val` to validate, as somebody has split them. The last
        two are the same for every seed.
    groups : (N,) int64 tensor, optional
        For "grouped": the group (patient, author, day) of each row of the pool.

    Raises
    ------
    ValueError
        If shapes, types, classes or sizes do not fit together, or a number is not finite.
    """

    name: str
    x: Tensor | Reader
    y: Tensor
    x_test: Tensor | Reader | None
    y_test: Tensor | None
    n_train: int
    n_val: int
    n_classes: int | None = None
    label_noise: float = 0.0
    truth: Tensor | None = None
    note: str = ""
    multi_label: bool = False
    split: str = "random"
    groups: Tensor | None = None

    def __post_init__(self):
        given = [self.x, self.y] + ([] if self.x_test is None else [self.x_test, self.y_test])
        fits = all(isinstance(t, Tensor | Reader) for t in given if t is not None)
        got = [type(t).__name__ for t in given]
        expect(fits, "x and y as tensors", got, "Task.from_arrays(x, y), which converts")
        self._check_part("pool", self.x, self.y)
        if (self.x_test is None) != (self.y_test is None):
            raise ValueError("expected x_test and y_test, or none of both, got one of them")
        if self.x_test is not None:
            self._check_part("test", self.x_test, self.y_test)
        sizes, got = (self.n_train, self.n_val), f"{self.n_train} and {self.n_val}"
        whole = all(isinstance(n, int | np.integer) and n >= 1 for n in sizes)
        expect(whole, "integers n_train >= 1 and n_val >= 1", got, "n_train=200, n_val=100")
        expect(sum(sizes) <= len(self.x), f"n_train + n_val <= {len(self.x)}", got, "smaller ones")
        most = 0 if self.n_classes is None else 1  # wrong classes are no noise for a regression
        number("label_noise", self.label_noise, f"[0, {most}]", "label_noise=0")
        fits = self.truth is None or self.truth.shape == self.x.shape[1:]
        shape = getattr(self.truth, "shape", None)
        expect(fits, "one true coefficient per feature", shape, "truth=None")
        choose("split", self.split, SPLITS)
        grouped = self.split == "grouped"
        fits = grouped == (self.groups is not None) and (
            not grouped or len(self.groups) == len(self.y)
        )
        got = f"split={self.split!r} and {'no' if self.groups is None else len(self.groups)} groups"
        expect(fits, 'one group per row of the pool with split="grouped" only', got, "groups=")

    def _check_part(self, part: str, x: Tensor | Reader, y: Tensor) -> None:
        kind = torch.float32 if self.n_classes is None else torch.int64
        got = f"{part} x {tuple(x.shape)} {x.dtype}, y {tuple(y.shape)} {y.dtype}"
        fits = x.dtype in (torch.float32, torch.int64) and y.dtype == kind
        from_arrays = "Task.from_arrays(x, y), which converts"
        expect(fits, f"x in float32 (or int64 for tokens), y in {kind}", got, from_arrays)
        axes = (1,) if self.n_classes is not None else (2,) if self.multi_label else (1, 2)
        fits = x.ndim >= 2 and x.shape[1:] == self.x.shape[1:] and y.ndim in axes
        fits &= len(x) == len(y) > 0 and y.shape[1:] == self.y.shape[1:]
        shapes = "x (N, D), (N, C, L), (N, C, H, W) or so, and as many y, (N,) or (N, K)"
        expect(fits, shapes, got, "x[:, None] for one feature or channel")
        finite = bool(y.isfinite().all() and (isinstance(x, Reader) or x.isfinite().all()))
        advice = "leaving those rows out, or filling the gaps in"
        expect(finite, f"finite numbers in the {part}", "nan or inf", advice)
        if self.n_classes is not None:
            low, high, last = y.min().item(), y.max().item(), self.n_classes - 1
            fits = low >= 0 and high <= last
            expect(fits, f"classes 0 to {last}", f"{low} to {high}", from_arrays)
        if self.multi_label:
            known = bool(((y == 0) | (y == 1)).all())
            expect(known, "labels that are 0 or 1", "other numbers", "multi_label=False")

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        name: str = "own data",
        n_train: int | None = None,
        n_val: int | None = None,
        test: Any = 0.2,
        split: str | Mapping[str, Sequence[int]] = "random",
        groups: Any = None,
        multi_label: bool = False,
        standardize: bool = False,
        label_noise: float = 0.0,
        device: str | torch.device | None = None,
    ) -> "Task":
        """Make a task of your own data.

        Parameters
        ----------
        x : (N, ...) array
            NumPy, PyTorch or pandas, of any type: tables (N, D), signals (N, C, L), images
            (N, C, H, W), token ids (N, L). Bytes are scaled to [0, 1]. Or examples that are read
            when they are needed: anything that has a length and gives `x[i]`, such as a
            `torch.utils.data.Dataset`; then networks are trained one after another.
        y : (N,) or (N, K) array
            Text and whole numbers, by their type, are classes; fractions are the targets of a
            regression. (Write `y.astype(float)` for the regression of a count.)
        name : str
        n_train, n_val : int, optional
            Rows that each seed gets of what the test set leaves. By default a fifth of it is for
            validation, and the rest to train.
        test : float, pair of arrays, sequence of int, or None
            A share of the rows that is held out (the same for everyone; whole groups with
            `groups`; the last rows with "ordered"), `(x_test, y_test)`, the numbers of the rows, or
            no test set.
        split : {"random", "ordered"}, or mapping of {"train", "val"} to sequence of int
            Random rows for each seed; the last rows for validation, as for data in the order of
            time; or the rows as somebody has split them, where "test" may be given, too.
        groups : (N,) array, optional
            Who a row belongs to: nobody's rows are in two parts.
        multi_label : bool
            y (N, K) holds 0 or 1 for each of K labels, of which several may hold.
        standardize : bool
            Shift and scale every feature of a table to mean 0 and standard deviation 1, by the
            pool: the test set stays unseen.
        label_noise : float in [0, 1]
        device : str or torch.device, optional
            See `pick_device`.

        Returns
        -------
        Task

        Raises
        ------
        ValueError
            If shapes, types, classes or sizes do not fit together, or a number is not finite.

        Examples
        --------
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(90, 4))
        >>> y = np.where(x[:, 0] > 0, "yes", "no")
        >>> Task.from_arrays(x, y, name="toy", device="cpu")
        Task toy: 2 classes, rows (4,), 58 train + 14 val of 72, 18 test, on cpu
        """
        device = pick_device(device)
        fixed = isinstance(split, Mapping)
        pair = isinstance(test, tuple) and len(test) == 2 and not isinstance(test[0], int)
        lazy = not hasattr(x, "__array__") and not isinstance(x, Tensor | list | tuple)
        _check_source(x)
        _check_source(y)
        if multi_label or not lazy:
            expect(len(x) == len(y), "as many y as x", f"{len(y)} and {len(x)}", "the same rows")
        targets, known = as_targets(y, multi_label=multi_label)
        rows = np.arange(len(targets))
        expect(len(rows) > 4, "five rows or more", len(rows), "all of your data")
        if groups is not None:
            _, groups = np.unique(np.asarray(groups).astype(str), return_inverse=True)
            expect(groups.shape == rows.shape, "one group per row", len(groups), "groups=ids")
            advice = "one of them: whole groups in the order of time need a split of your own"
            expect(split != "ordered", 'groups or split="ordered"', "both", advice)
        if fixed:
            split, pool, held, n_train, n_val = _as_split(split, len(rows))
            given = not pair and np.ndim(test) == 1
            twice = given or (pair and held is not None)
            expect(not twice, "one test set", "two", 'split={..., "test": rows} alone')
        else:
            expect(split in ("random", "ordered"), "a known split", split, 'split="random"')
            held = None if pair or test is None else _held_out(test, targets, groups, split)
            pool = rows if held is None else np.setdiff1d(rows, held)
        if groups is not None:
            parts = [pool] if held is None else [pool, held]
            parts = [pool[:n_train], pool[n_train:], *parts[1:]] if fixed else parts
            who = [set(groups[part].tolist()) for part in parts]
            shared = sum(map(len, who)) - len(set().union(*who))
            expect(not shared, "parts that share no group", f"{shared} in two", "test=0.2")
        inputs = Reader(x, device) if lazy else as_inputs(x)
        if standardize:
            expect(not lazy and inputs.ndim == 2, "a table to standardize", "something else",
                   "standardize=False")  # fmt: skip
            center, scale = inputs[pool].double().mean(0), inputs[pool].double().std(0)
            change = lambda t: ((t - center) / scale.where(scale > 0, 1)).float()  # noqa: E731
        else:
            change = lambda t: t  # noqa: E731
        if lazy:
            part = lambda which: Reader(_Some(x, which), device)  # noqa: E731
        else:
            part = lambda which: change(inputs[which]).to(device)  # noqa: E731
        x_test = y_test = None
        if pair:
            given = Reader(test[0], device) if lazy else as_inputs(test[0]).clone()
            x_test = given if lazy else change(given).to(device)
            y_test = as_targets(test[1], multi_label=multi_label, known=known)[0]
        elif held is not None:
            x_test, y_test = part(held), targets[held]
        n_val = max(1, len(pool) // 5) if n_val is None else n_val
        # What is left of the last group for validation is used for nothing.
        lost = 0 if groups is None or fixed else np.bincount(groups[pool]).max() - 1
        return cls(
            name,
            part(pool),
            targets[pool].to(device),
            x_test,
            None if y_test is None else y_test.to(device),
            n_train=max(1, len(pool) - n_val - int(lost)) if n_train is None else n_train,
            n_val=n_val,
            n_classes=None if known is None else len(known),
            label_noise=label_noise,
            note=_note(inputs, targets, known),
            multi_label=multi_label,
            split="grouped" if groups is not None and not fixed else split,
            groups=None if groups is None or fixed else torch.from_numpy(groups[pool]),
        )

    @property
    def device(self) -> torch.device:
        """Where all its tensors are."""
        return self.x.device

    @property
    def n_outputs(self) -> int:
        """Numbers that a network has to return per row: one per class, target or label."""
        if self.n_classes is not None:
            return self.n_classes
        return 1 if self.y.ndim == 1 else self.y.shape[1]

    def deal(self, seeds: Iterable[int]) -> Deal:
        """Deal rows and labels to seeds.

        What a seed gets depends on that seed alone, not on the other seeds or on global random
        state. Its rows do not depend on `label_noise` (so clean and noisy arms are paired), nor its
        validation rows on `n_train`. More training rows, or more noise, keep what fewer had.

        Parameters
        ----------
        seeds : iterable of S different int >= 0

        Returns
        -------
        Deal

        Raises
        ------
        ValueError
            If there is no seed, a negative one, or one twice (it would narrow every interval); or
            the groups do not leave enough rows.
        """
        expect(isinstance(seeds, Iterable), "several seeds to deal to", seeds, "deal([0])")
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
        flipped = flipped if flipped.ndim == 2 else flipped.any(-1)
        return Deal(*(t.to(self.device) for t in (train_rows, val_rows, y_train, flipped)))

    def _rows(self, seed: int) -> Tensor:
        """The rows of one seed: those for validation first."""
        n, draws = len(self.x), stream(seed, "rows")
        if self.split == "grouped":
            return self._grouped_rows(draws)
        if self.split == "random":
            order = torch.randperm(n, generator=draws)
            return order[: self.n_val + self.n_train].clone()  # the whole order would stay
        last = torch.arange(n - self.n_val, n)
        start = n - self.n_val - self.n_train if self.split == "ordered" else 0
        return torch.cat([last, torch.arange(start, start + self.n_train)])

    def _grouped_rows(self, draws: torch.Generator) -> Tensor:
        order = torch.randperm(int(self.groups.max()) + 1, generator=draws)
        sizes = self.groups.bincount()[order]
        # Whole groups until validation has enough rows; the rest of the last one is left out.
        n_groups = int((sizes.cumsum(0) < self.n_val).sum()) + 1
        shuffled = torch.randperm(len(self.groups), generator=draws)
        for_val = torch.isin(self.groups[shuffled], order[:n_groups])
        val, train = shuffled[for_val][: self.n_val], shuffled[~for_val][: self.n_train]
        left = f"{len(val)} and {len(train)} rows of whole groups"
        enough = len(val) == self.n_val and len(train) == self.n_train
        expect(enough, f"{self.n_val} rows to validate and {self.n_train} to train", left,
               "a smaller n_train or n_val")  # fmt: skip
        return torch.cat([val, train])

    def _noisy(self, y: Tensor, seed: int) -> Tensor:
        # Drawn for the whole pool: a row's fate must not depend on which other rows were dealt.
        draws = stream(seed, "labels")
        hit = torch.rand(len(y), generator=draws) < self.label_noise
        return torch.where(hit, torch.randint(self.n_classes, y.shape, generator=draws), y)

    def arrays(self, seed: int) -> Arrays:
        """One seed's train, validation and test set as numpy arrays, features flattened to 2-D."""
        deal = self.deal([seed])
        train, val = deal.train_rows[0], deal.val_rows[0]
        test = (self.x[:0], self.y[:0]) if self.x_test is None else (self.x_test[:], self.y_test)
        parts = self.inputs(train), deal.y_train[0], self.inputs(val), self.y[val], *test
        flat = (t.cpu().flatten(1) if i % 2 == 0 else t.cpu() for i, t in enumerate(parts))
        return Arrays(*((t if t.dtype == torch.int64 else t.double()).numpy() for t in flat))

    def inputs(self, rows: Tensor) -> Tensor:
        """Examples of the pool by row, (...) int64 to (..., D) or (..., C, H, W)."""
        if rows.ndim == 1:
            return read_rows(self.x, rows)
        return read_rows(self.x, rows.flatten()).unflatten(0, rows.shape)

    def __repr__(self) -> str:
        if self.n_classes is not None:
            kind = f"{self.n_classes} classes"
        elif self.multi_label:
            kind = f"{self.n_outputs} labels"
        else:
            kind = "regression" + (f" of {self.n_outputs} numbers" if self.n_outputs > 1 else "")
        noise = f", label noise {self.label_noise:g}" if self.label_noise else ""
        test = "no test" if self.x_test is None else f"{len(self.x_test)} test"
        split = "" if self.split == "random" else f" ({self.split})"
        return (
            f"Task {self.name}: {kind}, rows {tuple(self.x.shape[1:])}, {self.n_train} train + "
            f"{self.n_val} val of {len(self.x)}{split}, {test}{noise}, on {self.device}"
        )

    def describe(self) -> str:
        """The sizes of the task, and below them where its data comes from."""
        return f"{self!r}\n{self.note}"


SPLITS = ("random", "grouped", "ordered", "fixed")
HELD_OUT_SEED = 2026  # the held-out test part is the same for everyone


class _Some:
    """Some rows of a sequence, under numbers of their own."""

    def __init__(self, source: Any, rows: np.ndarray):
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        return self.source[int(self.rows[row])]


def as_targets(
    y: Any, *, multi_label: bool = False, known: np.ndarray | None = None
) -> tuple[Tensor, np.ndarray | None]:
    """Targets as training takes them, and the names of their classes: None for numbers.

    Classes are numbered in the order of `known`, by default that of their names.
    """
    y = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    expect(y.dtype.kind != "c", "real targets or classes", y.dtype, "y.real")
    if y.dtype.kind == "f" or multi_label:
        return torch.from_numpy(y.astype(np.float32)), None
    expect(y.ndim == 1, "one class per row, y (N,)", f"y {y.shape}",
           "multi_label=True for labels that are 0 or 1, y.argmax(1) for one-hot rows, or "
           "y.astype(float) for a regression")  # fmt: skip
    expect(len(y) > 0, "some targets", "none", "all of your data")
    if y.dtype == object:  # NaN is not equal to itself, and pandas' NA is neither true nor false
        missing = sum(v is None or v != v or type(v).__name__ == "NAType" for v in y.tolist())
        expect(not missing, "a class for every row", f"{missing} without", "leaving those rows out")
    names, codes = np.unique(y.astype(str) if y.dtype == object else y, return_inverse=True)
    if known is not None:
        new = sorted(map(str, set(names.tolist()) - set(known.tolist())))
        expect(not new, "test classes that the pool has, too", f"also {', '.join(new)}", "test=0.2")
        return torch.from_numpy(np.searchsorted(known, names)[codes]), known
    few = len(names) <= max(20, len(y) // 2)
    got = f"{len(names)} different ones in {len(y)} rows"
    expect(few, "classes that come several times each", got, "y.astype(float) for a regression")
    expect(len(names) > 1, "two classes or more", repr(names.tolist()), "other rows")
    return torch.from_numpy(codes), names


def _held_out(test: Any, y: Tensor, groups: np.ndarray | None, split: str) -> np.ndarray:
    from sklearn.model_selection import GroupShuffleSplit, train_test_split  # a second

    rows, n = np.arange(len(y)), len(y)
    if np.ndim(test) == 1:
        held = np.unique(rows[np.asarray(test)])
        expect(0 < len(held) < n, "some rows to test on", len(held), "test=0.2")
        return held
    share = isinstance(test, float) and 0 < test < 1
    expect(share, "test as a share in (0, 1), a pair, rows or None", repr(test), "test=0.2")
    n_test = max(1, round(test * n))
    if groups is not None:
        splitter = GroupShuffleSplit(1, test_size=test, random_state=HELD_OUT_SEED)
        return next(splitter.split(rows, groups=groups))[1]
    if split == "ordered":
        return rows[n - n_test :]
    by_class = y.numpy() if y.dtype == torch.int64 and y.bincount().min() > 1 else None
    by_class = None if by_class is None or n_test < len(np.unique(by_class)) else by_class
    return np.sort(
        train_test_split(rows, test_size=n_test, random_state=HELD_OUT_SEED, stratify=by_class)[1]
    )


def _as_split(split: Mapping[str, Sequence[int]], n: int):
    expect(set(split) - {"test"} == {"train", "val"}, 'rows for "train" and "val"', sorted(split),
           'split={"train": rows, "val": other_rows}')  # fmt: skip
    parts = {part: np.arange(n)[np.asarray(rows, dtype=int)] for part, rows in split.items()}
    used = np.concatenate(list(parts.values()))
    distinct = len(np.unique(used)) == len(used) and all(len(part) for part in parts.values())
    expect(distinct, "parts that share no row", f"sizes {[len(p) for p in parts.values()]}",
           "np.setdiff1d(rows, other_rows)")  # fmt: skip
    pool = np.concatenate([parts["train"], parts["val"]])
    return "fixed", pool, parts.get("test"), len(parts["train"]), len(parts["val"])


def _note(x: Tensor | Reader, y: Tensor, known: np.ndarray | None) -> str:
    notes = []
    if known is None and y.ndim == 1 and len(y.unique()) <= 20 and bool((y == y.round()).all()):
        notes.append("a regression of numbers; y.astype(int) makes classes of them")
    if known is not None:
        names = [str(name) for name in known[:12]] + ["..."] * (len(known) > 12)
        notes.append(f"classes in this order: {', '.join(names)}")
    if isinstance(x, Tensor) and x.ndim == 4 and x.is_floating_point():
        low, high = x.min().item(), x.max().item()
        if low < 0 or high > 1:
            notes.append(
                f"pixels from {low:.3g} to {high:.3g}; what the course fills in or clips takes "
                "black for 0 and white for 1"
            )
    return "; ".join(notes)
