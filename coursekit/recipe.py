"""How to train: one frozen record of settings, and the optimizer it stands for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import cos, pi

import torch
from torch import Tensor

from coursekit.datasets.tasks import choose, seeds
from coursekit.engine.devices import PRECISIONS
from coursekit.engine.stack import Stack

OPTIMIZERS = ("adam", "adamw", "sgd")
# Factor on the learning rate, given the fraction of the epochs that is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + cos(pi * done)),
    "step": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
}


@dataclass(frozen=True)
class Recipe:
    """How to train. `dataclasses.replace` makes the next arm of an experiment.

    Attributes
    ----------
    epochs, batch_size : int
        Passes over the training rows, and rows per step (the last batch may be smaller).
    optimizer : {"adam", "adamw", "sgd"}
        `weight_decay` is an L2 gradient in "sgd" and "adam", and decoupled from it in "adamw".
    lr, momentum, weight_decay : float
        As in PyTorch; `momentum` is for "sgd".
    decay_biases : bool
        False spares all vectors (biases, scale and shift of normalization layers) from decay.
    schedule : {"constant", "cosine", "step"}
        Learning rate over the run; "step" divides by 10 at half and at three quarters.
    patience : int or None
        Stop a network after this many epochs without a lower validation loss. None: never.
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
    """

    epochs: int = 100
    batch_size: int = 32
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    decay_biases: bool = False
    schedule: str = "constant"
    patience: int | None = None
    precision: str = "float32"
    compile: bool = False
    graph: bool = False
    n_seeds: int = 12
    first_seed: int = field(default_factory=lambda: seeds(1)[0])

    def __post_init__(self):
        for name in ("epochs", "batch_size", "n_seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        for name in ("lr", "momentum", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"expected a finite {name} >= 0, got {getattr(self, name)}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"expected patience of at least 1 or None, got {self.patience}")
        choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("schedule", self.schedule, SCHEDULES)
        choose("precision", self.precision, PRECISIONS)
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum belongs to 'sgd'; {self.optimizer!r} has its own")

    @property
    def vector_decay(self) -> float:
        """Weight decay of biases, scales and shifts."""
        return self.weight_decay if self.decay_biases else 0.0

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.n_seeds)


def make_optimizer(stack: Stack, recipes: Sequence[Recipe]) -> torch.optim.Optimizer:
    """Make one PyTorch optimizer for S networks; recipe s may have numbers of its own.

    Networks that stand together and share a recipe share a parameter group: a block of rows.
    """
    first, start, groups = recipes[0], 0, []
    sgd = first.optimizer == "sgd"
    for recipe, same in groupby(recipes):
        stop = start + len(list(same))
        blocks: dict[float, list[Tensor]] = {}  # by their decay
        for kind in stack.rows:
            decay = recipe.vector_decay if kind == "vectors" else recipe.weight_decay
            blocks.setdefault(decay, []).extend(stack.block(kind, start, stop))
        lr = torch.tensor(recipe.lr, device=stack.device) if first.graph else recipe.lr
        for decay, params in blocks.items():
            group = {"params": params, "lr": lr, "base_lr": recipe.lr, "weight_decay": decay}
            groups.append(group | ({"momentum": recipe.momentum} if sgd else {}))
        start = stop
    return torch_optimizer(groups, first)


def torch_optimizer(groups: list[dict], recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimizer that a recipe names, with parameter groups that have a `base_lr`."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr, fused=True, capturable=recipe.graph)


def schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    """Set the learning rates for an epoch, counted from 0."""
    factor = SCHEDULES[recipe.schedule](epoch / recipe.epochs)
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # a recorded step reads its rate from memory
            group["lr"].fill_(group["base_lr"] * factor)
        else:
            group["lr"] = group["base_lr"] * factor
