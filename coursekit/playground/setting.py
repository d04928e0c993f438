"""What one trains in the playground: a question, and the strength of every regularizer.

A `Setting` knows the functions of the course that it stands for, as hooks of the training loop and
as the lines of code that give the same numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from coursekit import data, models
from coursekit.datasets.tasks import Task
from coursekit.datasets.values import choose, number
from coursekit.engine.hooks import Hooks
from coursekit.recipe import Recipe
from coursekit.regularizers import augmentation, mixing, penalties
from coursekit.regularizers.depth import survivals


class Pool(NamedTuple):
    """A data set in the playground: sizes of training sets, the usual one first, and models."""

    words: str
    n_train: tuple[int, ...]
    n_val: int
    models: tuple[str, ...]
    images: bool = False


POOLS = {
    "digits": Pool("digits", (200, 50, 100, 300), 500, ("mlp", "cnn", "resnet", "linear"), True),
    "canvas_digits": Pool(
        "digits on a canvas",
        (200, 50, 100, 300),
        500,
        ("mlp", "cnn", "resnet", "linear"),
        True,
    ),
    "mnist1d": Pool(
        "MNIST-1D signals",
        (500, 200, 1000),
        1000,
        ("mlp", "cnn", "resnet", "linear"),
    ),
    "moons": Pool("two moons", (50, 20, 100), 500, ("mlp", "resnet", "linear")),
    "wine": Pool("wines", (50, 20), 60, ("mlp", "resnet", "linear")),
    "breast_cancer": Pool("tumors", (100, 30), 200, ("mlp", "resnet", "linear")),
}
MODELS = {
    "mlp": "MLP, 2 × 128",
    "cnn": "small CNN",
    "resnet": "ResNet, 12 blocks",
    "linear": "linear",
}
NOISE = (0.2, 0.0, 0.1, 0.4)


class Strength(NamedTuple):
    """A regularizer: its name for readers, where its slider stops, and what it must lie in."""

    words: str
    stops: tuple[float, ...]  # the first one is off
    interval: str
    told: str  # as in "dropout 0.5"
    live: bool = True  # whether it can be changed while it trains
    whole: bool = False


STRENGTHS = {
    "l1": Strength("L1 penalty", (0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2), "[0, inf)", "L1"),
    "l2": Strength("L2 penalty", (0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), "[0, inf)", "L2"),
    "weight_decay": Strength(
        "Weight decay (AdamW)", (0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10), "[0, inf)", "weight decay"
    ),
    "dropout": Strength(
        "Dropout", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), "[0, 1)", "dropout"
    ),
    "survival": Strength(
        "Stochastic depth", (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2), "(0, 1]", "survival"
    ),
    "shift": Strength("Shift, in pixels", (0, 1, 2, 3), "[0, 8]", "shift", whole=True),
    "noise": Strength("Noise on inputs", (0, 0.05, 0.1, 0.2, 0.3, 0.5, 1), "[0, inf)", "noise"),
    "mixup": Strength("Mixup, alpha", (0, 0.1, 0.2, 0.5, 1, 2), "[0, inf)", "mixup"),
    "smoothing": Strength(
        "Label smoothing", (0, 0.05, 0.1, 0.2, 0.3, 0.5), "[0, 1)", "label smoothing"
    ),
    "batch_norm": Strength(
        "Batch normalization", (0, 1), "[0, 1]", "batch norm", live=False, whole=True
    ),
}
OFF = {name: strength.stops[0] for name, strength in STRENGTHS.items()}
N_BLOCKS, BATCH = 12, 50


@dataclass(frozen=True)
class Setting:
    """A question (data, model, how long), and the strength of every regularizer: all off.

    Attributes
    ----------
    data : str
        A key of `POOLS`.
    n_train : int or None
        Rows that each seed trains on; None is the usual number of the data.
    label_noise : float in [0, 1]
        Chance that a training label is replaced by a random one.
    model : {"mlp", "cnn", "resnet", "linear"}
    epochs, n_seeds, first_seed : int
        At least two seeds, because an interval takes two.
    lr : float
        Of AdamW, in batches of 50.
    l1, l2, weight_decay, noise, mixup : float, at least 0
        Strength of the penalties and of decoupled decay; standard deviation of noise on inputs;
        mixup's alpha.
    dropout, smoothing : float in [0, 1)
        Rate of dropped units; share of a label that is spread over all classes.
    survival : float in (0, 1]
        Of the last residual block: 1 is no stochastic depth.
    shift : int
        Pixels by which images are moved at random.
    batch_norm : bool

    Raises
    ------
    ValueError
        If a name is unknown, a number is out of range, or a regularizer does not go with the data
        or the model.

    Examples
    --------
    >>> from coursekit.playground import Setting
    >>> Setting(dropout=0.5, shift=1)
    Setting(dropout=0.5, shift=1)
    >>> Setting(dropout=0.5, shift=1).words
    'dropout 0.5, shift 1'
    """

    data: str = "digits"
    n_train: int | None = None
    label_noise: float = 0.2
    model: str = "mlp"
    epochs: int = 60
    n_seeds: int = 8
    first_seed: int = 0
    lr: float = 3e-3
    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    dropout: float = 0.0
    survival: float = 1.0
    shift: int = 0
    noise: float = 0.0
    mixup: float = 0.0
    smoothing: float = 0.0
    batch_norm: bool = False

    def __post_init__(self):
        choose("data", self.data, tuple(POOLS))
        pool = POOLS[self.data]
        choose(f"model for {self.data}", self.model, pool.models)
        if self.n_train is None:
            object.__setattr__(self, "n_train", pool.n_train[0])
        for name, interval, advice in (
            ("n_train", "[2, inf)", pool.n_train[0]),
            ("epochs", "[1, 10000]", 60),
            ("n_seeds", "[2, 1000]", 8),
            ("first_seed", "[0, inf)", 0),
        ):
            value = number(name, getattr(self, name), interval, f"{name}={advice}", whole=True)
            object.__setattr__(self, name, value)
        number("label_noise", self.label_noise, "[0, 1]", "label_noise=0.2")
        number("lr", self.lr, "(0, inf)", "lr=0.003")
        for name, strength in STRENGTHS.items():
            value, advice = getattr(self, name), f"{name}={strength.stops[1]:g}"
            value = number(name, value, strength.interval, advice, whole=strength.whole)
            kind = bool if name == "batch_norm" else int if strength.whole else float
            object.__setattr__(self, name, kind(value))
        normalized = self.batch_norm or self.model == "resnet"
        if normalized and self.n_train % BATCH == 1:
            raise ValueError(
                f"expected two rows or more in the last batch for batch norm, got one: "
                f"{self.n_train} rows in batches of {BATCH}; try n_train={self.n_train - 1}"
            )
        wrong = unavailable(self.data, self.model)
        for name in self.on:
            if name in wrong:
                off = "False" if name == "batch_norm" else f"{OFF[name]:g}"
                raise ValueError(
                    f"expected {name}={off}, got {getattr(self, name)}: {wrong[name]}; "
                    f"{ADVICE.get(name, 'switch it off')}"
                )

    def __repr__(self) -> str:
        usual = {f.name: f.default for f in self.__dataclass_fields__.values()}
        usual["n_train"] = POOLS[self.data].n_train[0]
        given = (f"{k}={v!r}" for k, v in vars(self).items() if v != usual[k])
        return f"Setting({', '.join(given)})"

    @property
    def on(self) -> dict[str, float]:
        """Regularizers that are switched on, with their strengths."""
        return {name: getattr(self, name) for name in STRENGTHS if getattr(self, name) != OFF[name]}

    @property
    def words(self) -> str:
        """What is switched on, in words."""
        return ", ".join(told(name, value) for name, value in self.on.items()) or "nothing"

    @property
    def question(self) -> tuple:
        """What a result is about, whatever is switched on: data, model, and how long."""
        return self.data, self.n_train, self.label_noise, self.model, self.epochs, self.lr

    @property
    def plain(self) -> "Setting":
        """The same question with every regularizer off."""
        return replace(self, **OFF)

    def task(self) -> Task:
        """The data; drawn once, as every setting on them shares it."""
        return _load(self.data, self.n_train, self.label_noise)

    def recipe(self) -> Recipe:
        return Recipe(
            epochs=self.epochs,
            batch_size=BATCH,
            optimizer="adamw",
            lr=self.lr,
            weight_decay=self.weight_decay,
            n_seeds=self.n_seeds,
            first_seed=self.first_seed,
        )

    def builder(self, *, live: bool = False) -> Callable:
        """The function that makes a network.

        `live`: with layers of dropout even where the rate is 0, so that it can be turned up.
        """
        task, rate = self.task(), self.dropout
        if self.model == "resnet":
            return models.resnet(task, N_BLOCKS, survival=self.survival)
        if self.model == "linear":
            return models.linear(task)
        build = models.mlp if self.model == "mlp" else models.cnn
        rate = rate or (0.5 if live else 0.0)
        return build(task, dropout=rate, batch_norm=self.batch_norm)

    def buffers(self) -> dict[str, list[float]]:
        """Values of the buffers that hold a strength, by the ending of their names, in order."""
        if self.model == "resnet":
            return {"survival": survivals(N_BLOCKS, self.survival)}
        return {} if self.model == "linear" else {"rate": [self.dropout]}

    def hooks(self) -> Hooks:
        """What the regularizers add to the loop: exactly what `code` writes down."""
        penalty = augment = mix = objective = None
        l1, l2, shift, noise = self.l1, self.l2, self.shift, self.noise
        if l1 and l2:

            def penalty(params):
                return penalties.l1(params, l1) + penalties.l2(params, l2)

        elif l1 or l2:
            penalty = partial(penalties.l1 if l1 else penalties.l2, strength=l1 or l2)
        if shift and noise:

            def augment(x: Tensor) -> Tensor:
                return augmentation.random_noise(augmentation.random_shift(x, shift), noise)

        elif shift:
            augment = partial(augmentation.random_shift, pixels=shift)
        elif noise:
            augment = partial(augmentation.random_noise, sigma=noise)
        if self.mixup:
            n_classes = self.task().n_classes
            mix = partial(mixing.random_mixup, alpha=self.mixup, n_classes=n_classes)
        if self.smoothing:
            objective = partial(F.cross_entropy, reduction="none", label_smoothing=self.smoothing)
        return Hooks(objective, penalty, augment, mix)

    def code(self, changes: Mapping[int, Mapping[str, float]] = {}) -> str:
        """Lines of Python that train the plain networks and these, and compare them.

        Parameters
        ----------
        changes : mapping of int to mapping of str to float
            Strengths that were changed while it trained, by the first epoch (from 1) of each.
        """
        treated = self._changed(changes) if changes else self._fit()
        body = "\n".join([
            f'task = data.load("{self.data}", n_train={self.n_train}, '
            f"n_val={POOLS[self.data].n_val}, label_noise={self.label_noise:g})",
            "recipe = Recipe(",
            f'    epochs={self.epochs}, batch_size={BATCH}, optimizer="adamw", lr={self.lr:g},',
            f"    n_seeds={self.n_seeds}, first_seed={self.first_seed},",
            ")",
            f"plain = fit({self.plain._network()}, task, recipe)",
            treated,
            "",
            "# Paired by seed, at the end, on validation data: the test set stays closed.",
            "before, after = (100 * runs.val_acc[:, -1] for runs in (plain, treated))",
            "effect = intervals.paired_interval(before, after)",
            "plots.effects(",
            f'    {{"{self.words}{", changed on the way" if changes else ""}": effect}},',
            '    title="With minus without", smallest=1, unit="points",',
            ")",
        ])  # fmt: skip
        return f"{_imports(body)}\n\n{body}\n"

    def _fit(self) -> str:
        recipe = "recipe"
        if self.weight_decay:
            recipe = f"replace(recipe, weight_decay={self.weight_decay:g})"
        before, parts = "", [self._network(), "task", recipe]
        if self.l1 and self.l2:
            both = f"penalties.l1(params, {self.l1:g}) + penalties.l2(params, {self.l2:g})"
            parts.append(f"penalty=lambda params: {both}")
        elif self.l1 or self.l2:
            name = "l1" if self.l1 else "l2"
            parts.append(f"penalty=partial(penalties.{name}, strength={self.l1 or self.l2:g})")
        if self.shift and self.noise:
            before = (
                "\n\ndef augment(x):\n"
                f"    x = augmentation.random_shift(x, pixels={self.shift})\n"
                f"    return augmentation.random_noise(x, sigma={self.noise:g})\n\n\n"
            )
            parts.append("augment=augment")
        elif self.shift:
            parts.append(f"augment=partial(augmentation.random_shift, pixels={self.shift})")
        elif self.noise:
            parts.append(f"augment=partial(augmentation.random_noise, sigma={self.noise:g})")
        if self.mixup:
            drawn = f"mixing.random_mixup, alpha={self.mixup:g}, n_classes=task.n_classes"
            parts.append(f"mix=partial({drawn})")
        if self.smoothing:
            loss = f'F.cross_entropy, reduction="none", label_smoothing={self.smoothing:g}'
            parts.append(f"objective=partial({loss})")
        lines = "".join(f"\n    {part}," for part in parts)
        return f"{before}treated = fit({lines}\n)"

    def _changed(self, changes: Mapping[int, Mapping[str, float]]) -> str:
        told = ", ".join(f"{epoch}: {dict(values)}" for epoch, values in sorted(changes.items()))
        setting = repr(self).replace("Setting(", "playground.Setting(", 1)
        return (
            "# Strengths that were changed while it trained, by their first epoch.\n"
            f"treated = playground.train(\n    {setting},\n    changes={{{told}}},\n)"
        )

    def _network(self) -> str:
        given = []
        if self.model == "resnet":
            given.append(f"n_blocks={N_BLOCKS}")
            given += [f"survival={self.survival:g}"] if self.survival != 1 else []
        given += [f"dropout={self.dropout:g}"] if self.dropout else []
        given += ["batch_norm=True"] if self.batch_norm else []
        return f"models.{self.model}({', '.join(['task', *given])})"


ADVICE = {
    "survival": 'try model="resnet"',
    "shift": 'try data="digits"',
    "dropout": 'try model="mlp"',
    "batch_norm": 'try model="mlp"',
}


def unavailable(data: str, model: str) -> dict[str, str]:
    """Regularizers that do not go with the data or the model, and why."""
    why = {}
    if not POOLS[data].images:
        why["shift"] = "only images can be moved by pixels"
    if model == "resnet":
        why["dropout"] = "the residual network has no layer of dropout"
        why["batch_norm"] = "the residual network always has it"
    else:
        why["survival"] = "only residual blocks can be skipped"
    if model == "linear":
        why["dropout"] = why["batch_norm"] = "there is no hidden layer"
    return why


def told(name: str, value: float) -> str:
    """A strength in words."""
    words = STRENGTHS[name].told
    if name == "batch_norm":
        return words if value else f"no {words}"
    return f"{words} {value:g}"


@lru_cache(maxsize=8)
def _load(name: str, n_train: int, label_noise: float) -> Task:
    n_val = POOLS[name].n_val
    return data.load(name, n_train=n_train, n_val=n_val, label_noise=label_noise)


def _imports(body: str) -> str:
    """The import lines that a text of code needs."""
    names = {
        "coursekit": ("data", "intervals", "models", "playground", "plots"),
        "coursekit.regularizers": ("augmentation", "mixing", "penalties"),
        "coursekit.train": ("Recipe", "fit"),
    }
    own = []
    for module, given in names.items():
        used = [n for n in given if f"{n}." in body or f"{n}(" in body]
        own += [f"from {module} import {', '.join(used)}"] if used else []
    outside = ["from dataclasses import replace"] if "replace(" in body else []
    outside += ["from functools import partial"] if "partial(" in body else []
    torch = ["import torch.nn.functional as F", ""] if "F.cross" in body else []
    return "\n".join([*outside, *([""] if outside else []), *torch, *own])
