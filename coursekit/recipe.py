"""How to train: one frozen record of settings, and the optimizer it stands for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, pi

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.datasets.tasks import choose, seeds

OPTIMIZERS = ("adam", "adamw", "sgd")
MONITORS = ("loss", "accuracy")
PRECISIONS = ("float32", "tf32", "bfloat16")
# Factor on the learning rate, given the fraction of the epochs that is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + cos(pi * done)),
    "step": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
}
MakeOptimizer = Callable[[list[dict]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Recipe:
    """How to train. `dataclasses.replace` makes the next arm of an experiment.

    Attributes
    ----------
    epochs, batch_size : int
        Passes over the training rows, and rows per step (the last batch may be smaller).
    optimizer : {"adam", "adamw", "sgd"} or callable
        `weight_decay` is an L2 gradient in "sgd" and "adam", and decoupled from it in "adamw". A
        callable takes PyTorch's parameter groups, in which `lr` and `weight_decay` are set, and
        returns an optimizer: `functools.partial(torch.optim.Adam, betas=(0.5, 0.999))`.
    lr, momentum, weight_decay : float
        As in PyTorch; `momentum` is for "sgd".
    decay_biases : bool
        False spares all vectors (biases, scale and shift of normalization layers) from decay.
    schedule : {"constant", "cosine", "step"} or callable
        Learning rate over the run; "step" divides by 10 at half and at three quarters. A callable
        turns an epoch, counted from 0, into the factor on `lr`: `schedules.warmup(5)`.
    patience : int or None
        Stop a network after this many epochs without a better validation score. None: never.
    monitor : {"loss", "accuracy"}
        Which validation score decides what the best weights are, and what patience waits for: the
        lowest loss, or the highest accuracy (of a classification; of equals the first).
    evaluate_every : int
        Epochs from one evaluation to the next; the last epoch always is evaluated. In between, all
        curves but `logged_loss` are NaN.
    precision : {"float32", "tf32", "bfloat16"}
        Of the training steps; evaluation is always in float32. "tf32" rounds the factors of
        products on recent NVIDIA GPUs, "bfloat16" computes whole layers in half the bits.
    compile : bool
        Translate the networks with `torch.compile`: pays off from minutes of training upwards.
    graph : bool
        Record the training step as a CUDA graph and replay it; needs an NVIDIA GPU. Pays off where
        steps are short, as launching their kernels then takes longer than running them. Only what
        the GPU computes is recorded: a hook must neither look at values (`if x.max() > 1`) nor
        change from call to call by itself. Random draws of PyTorch are drawn anew each time; those
        from Python's or NumPy's state are refused; a NumPy generator of your own, or a counter of
        Python, stays what it was in the recorded step, without a word.
    n_seeds, first_seed : int
        One network for each of the seeds `first_seed .. first_seed + n_seeds - 1`.

    Raises
    ------
    ValueError
        If a number is out of range or not whole, or a name is unknown.

    Examples
    --------
    >>> from dataclasses import replace
    >>> plain = Recipe(epochs=60, n_seeds=8, first_seed=0)
    >>> decayed = replace(plain, optimizer="adamw", weight_decay=0.01)
    >>> list(decayed.seeds) == list(plain.seeds)
    True
    """

    epochs: int = 100
    batch_size: int = 32
    optimizer: str | MakeOptimizer = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    decay_biases: bool = False
    schedule: str | Callable[[int], float] = "constant"
    patience: int | None = None
    monitor: str = "loss"
    evaluate_every: int = 1
    precision: str = "float32"
    compile: bool = False
    graph: bool = False
    n_seeds: int = 12
    first_seed: int = field(default_factory=lambda: seeds(1)[0])

    def __post_init__(self):
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # JSON knows no numbers of NumPy
                object.__setattr__(self, name, value.item())
        for name in ("epochs", "batch_size", "n_seeds", "evaluate_every"):
            self._check_whole(name, getattr(self, name))
        for name in ("lr", "momentum", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"expected a finite {name} >= 0, got {getattr(self, name)}")
        if self.patience is not None:
            self._check_whole("patience", self.patience)
        if not callable(self.optimizer):
            choose("optimizer", self.optimizer, OPTIMIZERS)
        if not callable(self.schedule):
            choose("schedule", self.schedule, SCHEDULES)
        choose("monitor", self.monitor, MONITORS)
        choose("precision", self.precision, PRECISIONS)
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum belongs to 'sgd'; {self.optimizer!r} has its own")

    def _check_whole(self, name: str, value: object) -> None:
        # An integer of NumPy will do, too; 2.0 might have been 2.5.
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            hint = f"; try {name}={max(1, int(value))}" if isinstance(value, float) else ""
            raise ValueError(f"expected {name} of at least 1, a whole number, got {value!r}{hint}")

    @property
    def vector_decay(self) -> float:
        """Weight decay of biases, scales and shifts."""
        return self.weight_decay if self.decay_biases else 0.0

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.n_seeds)


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimizer of one network; vectors (biases, scales, shifts) may be spared decay."""
    blocks: dict[float, list[Tensor]] = {}  # by their decay
    for p in net.parameters():
        if p.requires_grad:
            decay = recipe.weight_decay if p.ndim >= 2 else recipe.vector_decay
            blocks.setdefault(decay, []).append(p)
    return torch_optimizer(param_groups(blocks, recipe), recipe)


def param_groups(
    blocks: Mapping[float, list[Tensor]], recipe: Recipe, lr: float | Tensor | None = None
) -> list[dict]:
    """PyTorch's parameter groups for parameters by their decay, with the recipe's numbers.

    `base_lr` is what schedules multiply; `lr` may be a tensor that a recorded step reads.
    """
    numbers: dict = {"lr": recipe.lr if lr is None else lr, "base_lr": recipe.lr}
    if recipe.optimizer == "sgd":
        numbers["momentum"] = recipe.momentum
    return [numbers | {"params": own, "weight_decay": decay} for decay, own in blocks.items()]


def torch_optimizer(groups: list[dict], recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimizer that a recipe names, with parameter groups that have a `base_lr`."""
    if callable(recipe.optimizer):
        optimizer = recipe.optimizer(groups)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ValueError(
                f"expected a function from parameter groups to an optimizer, got one that returned "
                f"{type(optimizer).__name__}; try functools.partial(torch.optim.RMSprop, alpha=0.9)"
            )
        return optimizer
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr, fused=True, capturable=recipe.graph)


def set_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    """Set the learning rates for an epoch, counted from 0."""
    if callable(recipe.schedule):
        factor = float(recipe.schedule(epoch))
    else:
        factor = SCHEDULES[recipe.schedule](epoch / recipe.epochs)
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # a recorded step reads its rate from memory
            group["lr"].fill_(group["base_lr"] * factor)
        else:
            group["lr"] = group["base_lr"] * factor
