"""One loop that trains S networks side by side.

Axes: S seeds (networks), N examples, B batch, T epochs, C classes. All parameters carry a leading
S axis, so one forward pass, one backward pass and one optimizer step move all S networks. They
stay independent: the sum of the S losses has the gradient of loss s for network s alone, and the
optimizers work entry by entry.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, pi

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm.auto import tqdm

from coursekit.runs import PARTS, History, Runs, choose, evaluate, grade, outputs, score_of
from coursekit.stacked import private_rng, stack
from coursekit.tasks import Task, seeds, stream

__all__ = ["Recipe", "Runs", "batch_order", "evaluate", "fit", "outputs"]

Params = Mapping[str, Tensor]
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
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum belongs to 'sgd'; {self.optimizer!r} has its own")

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.n_seeds)


def fit(
    make_net: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    *,
    objective: Callable[[Tensor, Tensor], Tensor] | None = None,
    penalty: Callable[[Params], Tensor] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    constrain: Callable[[Params], Params] | None = None,
    record: Sequence[str] = ("train", "val"),
) -> Runs:
    """Train one network per seed, all at once.

    Seed s decides the training and validation rows, the flipped labels, the initial weights and
    the order of the batches of network s, whoever is trained beside it. Only what draws random
    numbers while training (dropout, augmentation) depends on the company.

    The hooks are written for *one* network; the loop maps them over all.

    Parameters
    ----------
    make_net : callable
        Makes one network; called once per seed.
    task : Task
    recipe : Recipe
    objective : callable, optional
        (outputs (B, C), targets (B,)) to losses (B,): what is optimized. By default the recorded
        loss: cross-entropy for classes, squared error for numbers.
    penalty : callable, optional
        Parameters of one network to a scalar that is added to the optimized loss.
    augment : callable, optional
        Inputs (B, ...) to inputs (B, ...), on training batches only.
    constrain : callable, optional
        Parameters of one network to new ones, after every step (a proximal step, a max-norm).
    record : sequence of {"train", "val", "test"}
        Parts to evaluate after every epoch; "val" always is, to find the best weights.

    Returns
    -------
    Runs

    Raises
    ------
    ValueError
        If a part is unknown.

    Warns
    -----
    UserWarning
        If the loss of a network stopped being finite, or the training was interrupted; the
        epochs that were finished are returned.
    """
    for part in record:
        choose("part", part, PARTS)
    parts = [part for part in PARTS if part in record or part == "val"]
    objective, penalty = objective or score_of(task), penalty or (lambda params: 0.0)
    augment = augment or (lambda x: x)
    members = task.members(recipe.seeds)
    net, params, buffers = stack(make_net, recipe.seeds, task.x.device)
    optimizer = _optimizer(params, recipe)
    orders = [batch_order(seed, task.n_train) for seed in recipe.seeds]
    history = History(recipe, params | buffers)

    def optimized_loss(params: Params, buffers: Params, x: Tensor, y: Tensor) -> Tensor:
        outputs = functional_call(net, (params, buffers), (augment(x),))  # (B, C)
        return objective(outputs, y).mean() + penalty(params)

    optimized_losses = vmap(optimized_loss, randomness="different")
    with private_rng(recipe.first_seed), history:
        for epoch in tqdm(range(recipe.epochs), delay=1, leave=False, disable=_silent()):
            net.train()
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * SCHEDULES[recipe.schedule](epoch / recipe.epochs)
            permuted = torch.stack([next(order) for order in orders]).to(task.x.device)  # (S, N)
            logged = torch.zeros(recipe.n_seeds, device=task.x.device)
            for batch in permuted.split(recipe.batch_size, dim=1):  # (S, B)
                x = task.x[members.train_rows.gather(1, batch)]  # (S, B, ...)
                y = members.y_train.gather(1, batch)
                losses = optimized_losses(params, buffers, x, y)  # (S,)
                optimizer.zero_grad()
                losses.sum().backward()
                optimizer.step()
                if constrain:
                    _replace(params, vmap(constrain, randomness="different")(params))
                # Weighted by size: a mean of batch means would count a short last batch too much.
                logged += losses.detach() * (batch.shape[1] / task.n_train)
            scores = {"logged_loss": logged}
            for part in parts:
                scores |= grade(net, params | buffers, task, members, part)
            if history.add(scores):
                break
    return history.runs(task, net)


def batch_order(seed: int, n: int) -> Iterator[Tensor]:
    """Yield one permutation of the `n` training rows per epoch, (N,) int64, for ever."""
    # A stream of its own, so that the order depends on nothing else that draws from this seed.
    draws = stream(seed, "order")
    while True:
        yield torch.randperm(n, generator=draws)


def _optimizer(params: dict[str, Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    # The stack adds an axis: a bias (H,) of one network is (S, H) here.
    matrices = [p for p in params.values() if p.ndim >= 3]
    vectors = [p for p in params.values() if p.ndim < 3]
    spared = recipe.weight_decay if recipe.decay_biases else 0.0
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": spared},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr, fused=True)


@torch.no_grad()
def _replace(params: dict[str, Tensor], new: Mapping[str, Tensor]) -> None:
    for name, p in params.items():
        p.copy_(new[name])


def _silent() -> bool:
    # A bar belongs to a person who waits, not to a log or to the stored output of a notebook.
    return bool(os.environ.get("COURSEKIT_STATIC")) or not (
        "ipykernel" in sys.modules or sys.stderr.isatty()
    )
