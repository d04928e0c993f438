"""The data sets: where each comes from, and `load`, which turns one into a `Task`."""

import difflib
import inspect
import random
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor

from coursekit.datasets.tasks import HELD_OUT_SEED as SPLIT_SEED
from coursekit.datasets.tasks import (
    Arrays,
    Deal,
    Reader,
    Task,
    expect,
    pick_device,
    seed_word,
    seeds,
    stream,
)
from coursekit.datasets.values import choose, number

# A notebook needs one import for its data: the names of `tasks` are at hand here too.
__all__ = ["Arrays", "Deal", "Reader", "Task", "load", "names", "pick_device", "seeds"]

MNIST1D_TRAIN, MNIST1D_TEST = 4000, 1000  # sizes of the published set


def _split(x: np.ndarray, y: np.ndarray, n_test: int, n_classes: int | None) -> dict:
    rows, strata = np.arange(len(y)), y if n_classes else None
    pool, test = train_test_split(rows, test_size=n_test, random_state=SPLIT_SEED, stratify=strata)
    parts = {"x": x[pool], "y": y[pool], "x_test": x[test], "y_test": y[test]}
    return parts | {"n_classes": n_classes}


def _table(read: Callable, n_test: int, n_classes: int | None) -> Callable[[int], dict]:
    def build(seed: int) -> dict:
        parts = _split(*read(return_X_y=True), n_test, n_classes)
        mean, sd = parts["x"].mean(0), parts["x"].std(0)  # of the pool: the test set stays unseen
        return parts | {key: (parts[key] - mean) / sd for key in ("x", "x_test")}

    return build


def _digits(seed: int) -> dict:
    x, y = datasets.load_digits(return_X_y=True)
    return _split(x.reshape(-1, 1, 8, 8) / 16, y, n_test=900, n_classes=10)


def _canvas_digits(seed: int, *, size: int = 12, of: str = "digits") -> dict:
    size = number("size of the canvas", size, "[8, inf)", "size=12", whole=True)
    choose("digits to paste", of, ("digits", "optdigits"))
    parts = _digits(seed) if of == "digits" else _optdigits(seed)
    return parts | {key: _paste(parts[key], size, stream(seed, key)) for key in ("x", "x_test")}


def _paste(x: np.ndarray, size: int, draws: torch.Generator) -> Tensor:
    top, left = torch.randint(size - 7, (2, len(x), 1), generator=draws)
    rows, columns = top + torch.arange(8), left + torch.arange(8)  # (N, 8)
    canvas = torch.zeros(len(x), 1, size, size, dtype=torch.float64)
    index = torch.arange(len(x))[:, None, None], 0, rows[:, :, None], columns[:, None, :]
    canvas[index] = torch.from_numpy(x[:, 0])
    return canvas


@lru_cache(maxsize=4)
def _signals(n: int, seed: int, train_split: float) -> dict:
    from mnist1d.data import get_dataset_args, make_dataset  # imports pyplot: a second

    args = get_dataset_args()
    args.num_samples, args.seed, args.train_split = n, seed, train_split
    # The package seeds both global streams.
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        return make_dataset(args)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


def _mnist1d(seed: int, *, n_samples: int = MNIST1D_TRAIN) -> dict:
    least, advice = f"[{MNIST1D_TRAIN}, inf)", "n_train for a smaller set"
    more = number("n_samples", n_samples, least, advice, whole=True) - MNIST1D_TRAIN
    published = _signals(MNIST1D_TRAIN + MNIST1D_TEST, 42, 0.8)
    parts = {key: published[key].copy() for key in ("x", "y", "x_test", "y_test")}
    if more:  # at seed 42 a longer set would repeat the test signals
        extra = _signals(10 * -(-more // 10), 1_000_000 + seed, 1.0)
        parts |= {key: np.concatenate([parts[key], extra[key][:more]]) for key in ("x", "y")}
    parts |= {key: parts[key][:, None, :] for key in ("x", "x_test")}
    return parts | {"n_classes": 10}


def _linear(
    seed: int,
    *,
    n_features: int = 20,
    n_informative: int = 5,
    noise: float = 1.0,
    rho: float = 0.0,
    effect: float = 1.0,
    n_pool: int = 4000,
    n_test: int = 2000,
) -> dict:
    # y = x @ truth + noise; features are normal with correlation rho^|i - j| (Toeplitz), so rho
    # moves the whole range from independent to nearly equal neighbors. An informative coefficient
    # is effect times a random sign times a size in [0.5, 1.5]: none is too small to be found.
    n_features = number("n_features", n_features, "[1, inf)", "n_features=20", whole=True)
    most = f"[0, {n_features}]"
    n_informative = number("n_informative", n_informative, most, "n_informative=5", whole=True)
    number("rho", rho, "(-1, 1)", "rho=0")
    number("noise", noise, "[0, inf)", "noise=1")
    number("effect", effect, advice="effect=1")
    n_pool, n_test = _sizes(n_pool, n_test)
    draws = stream(seed, "truth")
    size = torch.rand(n_features, generator=draws, dtype=torch.float64) + 0.5
    sign = 2 * torch.randint(2, (n_features,), generator=draws) - 1
    silent = torch.randperm(n_features, generator=draws)[n_informative:]
    truth = (effect * size * sign).index_fill(0, silent, 0)
    lag = (torch.arange(n_features)[:, None] - torch.arange(n_features)).abs()
    mix = torch.linalg.cholesky(torch.tensor(rho, dtype=torch.float64) ** lag)
    parts = {}
    for key, n in (("", n_pool), ("_test", n_test)):
        draws = stream(seed, f"linear{key}")
        normal = torch.randn(n, n_features + 1, generator=draws, dtype=torch.float64)
        parts[f"x{key}"] = x = normal[:, 1:] @ mix.T
        parts[f"y{key}"] = x @ truth + noise * normal[:, 0]
    return parts | {"truth": truth}


def _moons(seed: int, *, noise: float = 0.2, n_pool: int = 2000, n_test: int = 2000) -> dict:
    number("noise", noise, "[0, inf)", "noise=0.2")
    n_pool, n_test = _sizes(n_pool, n_test)
    parts = {"n_classes": 2}
    for key, n in (("", n_pool), ("_test", n_test)):
        state = stream(seed, f"moons{key}").initial_seed()
        draw = datasets.make_moons(n, noise=noise, random_state=state)
        parts[f"x{key}"], parts[f"y{key}"] = draw
    return parts


def _imbalanced(
    seed: int, *, positives: float = 0.05, n_pool: int = 4000, n_test: int = 4000
) -> dict:
    # Two clusters per class in 5 of 20 dimensions. One draw for both parts: another one would
    # move the clusters. No flipped labels, so that the share of positives is exact.
    number("share of positives", positives, "(0, 1)", "positives=0.05")
    n_pool, n_test = _sizes(n_pool, n_test)
    x, y = datasets.make_classification(
        n_pool + n_test,
        n_features=20,
        n_informative=5,
        weights=[1 - positives],
        flip_y=0,
        random_state=stream(seed, "imbalanced").initial_seed(),
    )
    return _split(x, y, n_test, n_classes=2)


def _sizes(*sizes: int) -> list[int]:
    return [number("n_pool and n_test", n, "[1, inf)", "n_pool=2000", whole=True) for n in sizes]


def _fashion_mnist(seed: int, *, mirror: str | None = None, registry: dict | None = None) -> dict:
    from coursekit.datasets import download

    files = download.fetch("fashion_mnist", mirror=mirror, registry=registry)
    x, y, x_test, y_test = (download.read_idx(path) for path in files)
    return _photos(x[:, None], y, x_test[:, None], y_test)


def _optdigits(seed: int, *, mirror: str | None = None) -> dict:
    from coursekit.datasets import download

    (path,) = download.fetch("optdigits", mirror=mirror)
    x, y = download.read_optdigits(path)
    return _split(x[:, None] / 16, y.astype(np.int64), n_test=1900, n_classes=10)


def _mnist(seed: int, *, mirror: str | None = None, registry: dict | None = None) -> dict:
    from coursekit.datasets import download

    x, y = map(download.read_idx, download.fetch("mnist", mirror=mirror, registry=registry))
    return _split(x[:, None] / np.float32(255), y.astype(np.int64), n_test=5000, n_classes=10)


def _cifar10(seed: int, *, mirror: str | None = None, registry: dict | None = None) -> dict:
    from coursekit.datasets import download

    (archive,) = download.fetch("cifar10", mirror=mirror, registry=registry)
    return _photos(*download.read_cifar(archive))


def _photos(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> dict:
    shades = np.float32(255)  # a float64 copy of CIFAR-10 would take 1.5 GB
    parts = {"x": x / shades, "x_test": x_test / shades}
    # A copy of the labels: the parsers' arrays are read-only, which torch warns about.
    return parts | {"y": y.astype(np.int64), "y_test": y_test.astype(np.int64), "n_classes": 10}


class _Known(NamedTuple):
    build: Callable[..., dict]  # (seed, **options) -> fields of a Task
    n_train: int
    n_val: int
    note: str


_read_diabetes = partial(datasets.load_diabetes, scaled=False)
_KNOWN = {
    "digits": _Known(_digits, 200, 300, "1,797 handwritten 8x8 digits (scikit-learn)"),
    "canvas_digits": _Known(_canvas_digits, 200, 300, "digits, each pasted at a random place"),
    "mnist1d": _Known(_mnist1d, 3000, 1000, "MNIST-1D: ten shapes as noisy signals (generated)"),
    "diabetes": _Known(_table(_read_diabetes, 142, None), 100, 100, "442 patients (scikit-learn)"),
    "breast_cancer": _Known(
        _table(datasets.load_breast_cancer, 169, 2), 100, 200, "569 tumors (scikit-learn)"
    ),
    "wine": _Known(_table(datasets.load_wine, 60, 3), 50, 60, "178 wines (scikit-learn)"),
    "linear": _Known(_linear, 100, 500, "y = x @ truth + noise, normal features (generated)"),
    "moons": _Known(_moons, 100, 500, "two interleaved half circles (generated)"),
    "imbalanced": _Known(_imbalanced, 500, 1000, "two classes, 5 % positives (generated)"),
    "fashion_mnist": _Known(_fashion_mnist, 50_000, 10_000, "70,000 clothes (30 MB download)"),
    "optdigits": _Known(_optdigits, 200, 300, "3,823 digits by 30 others (0.6 MB download)"),
    "mnist": _Known(_mnist, 200, 300, "10,000 digits, 28x28 (MNIST's test part, 1.7 MB download)"),
    "cifar10": _Known(_cifar10, 45_000, 5_000, "60,000 color photos (170 MB download)"),
}


def names() -> dict[str, str]:
    """The data sets that `load` knows, each with one line on what it is and where it is from."""
    return {name: known.note for name, known in _KNOWN.items()}


def load(
    name: str,
    *,
    n_train: int | None = None,
    n_val: int | None = None,
    label_noise: float = 0.0,
    seed: int = 0,
    device: str | torch.device | None = None,
    **options,
) -> Task:
    """Load a data set as a task.

    Parameters
    ----------
    name : str
        One of `names()`.
    n_train, n_val : int, optional
        Rows that a seed gets from the pool. Default: a size that suits the data set.
    label_noise : float in [0, 1]
        Chance that a training label is replaced by a uniformly random class (maybe the true one).
    seed : int
        Decides what is generated, never the split: the test set of real data is fixed.
    device : str or torch.device, optional
        See `pick_device`.
    **options
        Of one data set, such as `size=16` for canvas_digits; data/README.md lists them.

    Raises
    ------
    ValueError
        For an unknown name or option, or numbers that do not fit the data.
    coursekit.datasets.download.DownloadError
        If a downloaded set can be found neither in the cache nor in the network.
    """
    if not isinstance(name, str) or name not in _KNOWN:
        close = difflib.get_close_matches(str(name), _KNOWN, 1, cutoff=0)[0]
        raise ValueError(f"expected one of {', '.join(_KNOWN)}, got {name!r}; try {close!r}")
    known = _KNOWN[name]
    allowed = [option for option in inspect.signature(known.build).parameters if option != "seed"]
    unknown = [option for option in options if option not in allowed]
    expect(not unknown, f"options of {name} among {allowed}", unknown, "leaving them out")
    seed_word(
        seed, "check"
    )  # a seed of another kind would be taken by some sets, and not by others
    device = pick_device(device)
    fields = known.build(seed, **options)
    target = torch.int64 if fields.get("n_classes") else torch.float32
    for key in fields.keys() - {"n_classes"}:
        dtype = target if key.startswith("y") else torch.float32
        fields[key] = torch.as_tensor(fields[key], dtype=dtype).to(device)
    n_train = known.n_train if n_train is None else n_train
    n_val = known.n_val if n_val is None else n_val
    return Task(
        name, n_train=n_train, n_val=n_val, label_noise=label_noise, note=known.note, **fields
    )
