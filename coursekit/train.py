"""One loop that trains S networks side by side.

Axes: S networks, N examples, B batch, T epochs, C classes. Every parameter carries a leading S
axis, so one forward pass, one backward pass and one optimizer step move all S networks. They stay
independent: each loss belongs to one network, and the optimizers work entry by entry.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from coursekit.datasets.tasks import Members as Dealt
from coursekit.datasets.tasks import Task, stream
from coursekit.engine.devices import free_memory, kept_pages, matmul_precision, recorded, send
from coursekit.engine.hooks import Arm, Hooks, Params, optimized_losses, per_network
from coursekit.engine.networks import initial_net, private_rng
from coursekit.engine.random import Streams
from coursekit.engine.stack import Stack
from coursekit.recipe import Recipe, make_optimizer, schedule
from coursekit.results.runs import (
    History,
    Runs,
    evaluate,
    grade,
    join,
    outputs,
    take,
    warn_of_divergence,
)

__all__ = ["Recipe", "Runs", "batch_order", "evaluate", "fit", "outputs"]

# Raise this when a seed may train to other numbers than before: stored chunks of a sweep are then
# trained again. 2: random draws became a hash of a counter.
ENGINE = 2

Members = Sequence[tuple[Arm, int]]


def fit(
    make_net: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    *,
    objective: Callable[[Tensor, Tensor], Tensor] | None = None,
    penalty: Callable[[Params], Tensor] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    constrain: Callable[[Params], Params] | None = None,
    record: Sequence[str] = ("train", "val"),
    memory: float | None = None,
) -> Runs:
    """Train one network per seed, all at once.

    Seed s decides everything about network s, whoever is trained beside it and on whatever device:
    its training and validation rows, flipped labels, initial weights, the order of its batches, and
    what it draws while training (dropout, augmentation). Devices only round differently, and so do
    two runs of a convolution on a GPU, whose library may add in another order each time. The hooks
    are written for *one* network; the loop maps them over all.

    The networks are trained where the task is: `data.load(..., device="cuda:1")`.

    Parameters
    ----------
    make_net : callable
        Makes one network; called once per seed. Any `nn.Module` will do that `torch.func.vmap` can
        map: one without control flow that depends on data, which changes its buffers in place.
    task : Task
    recipe : Recipe
    objective : callable, optional
        (outputs (B, C), targets (B,)) to losses (B,): what is optimized. By default the recorded
        loss: cross-entropy for classes, squared error for numbers.
    penalty : callable, optional
        Parameters of one network to a scalar that is added to the optimized loss.
    augment : callable, optional
        Inputs (B, ...) to inputs (B, ...), on training batches only.
    mix : callable, optional
        (inputs (B, ...), targets (B,)) to inputs and targets, on training batches only, after
        `augment`. Targets may become shares (B, C), as in mixup.
    constrain : callable, optional
        Parameters of one network to new ones, after every step (a proximal step, a max-norm).
    record : sequence of {"train", "val", "test"}
        Parts to evaluate after every epoch; "val" always is, to find the best weights.
    memory : float, optional
        Bytes to stay under: networks that do not fit are trained after the others, with the same
        result. By default half of what is free.

    Returns
    -------
    Runs

    Raises
    ------
    ValueError
        If a part is unknown, or not even one network fits into the memory.

    Warns
    -----
    UserWarning
        If the loss of a network stopped being finite, or the training was interrupted; the
        epochs that were finished are returned.
    """
    hooks = Hooks(objective, penalty, augment, mix, constrain, record)
    members = [(Arm(make_net, recipe), seed) for seed in recipe.seeds]
    runs = train(members, task, hooks, memory, watched=True)
    warn_of_divergence(runs)
    return runs


def train(
    members: Members,
    task: Task,
    hooks: Hooks,
    memory: float | None = None,
    *,
    watched: bool = False,
    n_processes: int = 1,
) -> Runs:
    """Train networks, each given by an arm and a seed, in as few chunks as the memory allows.

    The arms' recipes may differ in `lr`, `momentum` and `weight_decay` only. `watched` says that
    somebody waits: shows progress, and keeps finished epochs on Ctrl-C. Of `n_processes` that
    train here at once, each takes its share of the memory. Raises as `fit`.
    """
    first = initial_net(members[0][0].make_net, members[0][1])
    nets = [first, *(initial_net(arm.make_net, seed) for arm, seed in members[1:])]
    if watched and len(members) == 1:
        # By its own layers on a CPU only: they ask whether to skip a block, and a GPU would wait.
        solo = task.device.type == "cpu"
        return train_side_by_side(members, nets, task, hooks, solo=solo, bar=True, partial=True)
    each = bytes_per_network(members[0], first, task, hooks)
    free = free_memory(task.device) / n_processes
    budget = max(free, 2 * each) if memory is None else memory
    if not 2 * each <= budget:  # NaN too
        raise ValueError(
            f"expected memory for two networks, {2 * each / 1e6:.1f} MB, got {budget / 1e6:.1f} MB;"
            " try a smaller batch_size or more memory"
        )
    chunks = cut(len(members), int(budget // each))
    how = {"bar": watched, "partial": watched and len(chunks) == 1}
    runs = []
    for chunk in chunks:
        alone = chunk.stop - chunk.start == 1
        # Products of one pair of matrices round differently, so nobody is trained alone.
        twice = 2 if alone else 1
        both = train_side_by_side(members[chunk] * twice, nets[chunk] * twice, task, hooks, **how)
        runs.append(take(both, slice(0, 1)) if alone else both)
    return join(runs)


def cut(n: int, most: int) -> list[slice]:
    """Cut n networks into chunks of at most `most`, as equal as can be."""
    size = -(-n // -(-n // most))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def train_side_by_side(
    members: Members,
    nets: Sequence[nn.Module],
    task: Task,
    hooks: Hooks,
    *,
    solo: bool = False,
    bar: bool = False,
    partial: bool = False,
) -> Runs:
    """Train S networks at once. The one loop of the course.

    `solo` as in `Stack`; `bar` shows progress; `partial` keeps finished epochs on Ctrl-C.
    """
    arms, seeds = zip(*members, strict=True)
    recipe, device = arms[0].recipe, task.x.device
    stack = Stack(nets, device, solo=solo)
    streams = Streams(seeds, device, ahead=not recipe.graph, compiled=recipe.compile)
    dealt, orders = _deal(task, seeds), _orders(seeds, task.n_train, device)
    optimizer = make_optimizer(stack, [arm.recipe for arm in arms])
    losses_of = optimized_losses(stack, streams, task, hooks, arms)
    constrain = per_network(hooks.constrain, "constrain", streams, arms, device)

    def step(rows: Tensor, y: Tensor) -> Tensor:  # (S, B), (S, B) to (S,)
        losses = losses_of(task.inputs(rows), y)
        stack.backward(losses)
        optimizer.step()
        if constrain:
            _replace(stack.params, constrain(stack.params))
        return losses.detach()

    if recipe.compile:
        stack.compile()
    if recipe.graph:
        step = recorded(step, device)
    history, permuted = History(recipe, seeds, stack, partial=partial), next(orders)
    with private_rng(seeds[0]), kept_pages(), matmul_precision(recipe.precision), history:
        for epoch in tqdm(range(recipe.epochs), **progress(bar)):
            stack.net.train()
            schedule(optimizer, recipe, epoch)
            logged = torch.zeros(len(seeds), device=device)
            shuffled = dealt.train_rows.gather(1, permuted), dealt.y_train.gather(1, permuted)
            for rows, y in zip(*(t.split(recipe.batch_size, 1) for t in shuffled), strict=True):
                # Weighted by size: a mean of batch means would count a short last batch too much.
                logged += step(rows, y) * (rows.shape[1] / task.n_train)
            permuted = next(orders)  # of the next epoch, while a GPU computes the last steps
            scores = {"logged_loss": logged}
            for part in hooks.parts:
                scores |= grade(stack.net, stack.state, task, dealt, part)
            if history.add(scores):
                break
    return history.runs(task)


def batch_order(seed: int, n: int) -> Iterator[Tensor]:
    """Yield one permutation of the `n` training rows per epoch, (N,) int64, for ever."""
    # A stream of its own, so that the order depends on nothing else that draws from this seed.
    draws = stream(seed, "order")
    while True:
        yield torch.randperm(n, generator=draws)


def _orders(seeds: Sequence[int], n: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the batch orders of S networks, (S, N), epoch by epoch."""
    for orders in zip(*(batch_order(seed, n) for seed in seeds), strict=True):
        yield send(torch.stack(orders), device)


def bytes_per_network(member: tuple[Arm, int], net: nn.Module, task: Task, hooks: Hooks) -> int:
    """Memory that one more network takes while it trains, in bytes: one step is tried out."""
    (arm, seed), device = member, task.x.device
    stack, dealt = Stack([net], device), _deal(task, [seed])
    streams = Streams([seed], device, ahead=False)  # a block ahead is shared by all networks
    saved: dict[int, int] = {}  # by address: what the backward pass needs, each once

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    n = arm.recipe.batch_size
    losses_of = optimized_losses(stack, streams, task, hooks, [arm])
    stack.net.train()
    with (
        private_rng(seed),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        losses_of(task.inputs(dealt.train_rows[:, :n]), dealt.y_train[:, :n])
    parameters = 4 * sum(rows.numel() for rows in stack.rows.values())
    # Weights, two gradients (as computed, and laid out), optimizer, best and final with a copy.
    copies = 7 + (1 if arm.recipe.optimizer == "sgd" else 2)
    rows = dealt.train_rows.numel() + dealt.val_rows.numel()
    # A recorded step has a memory pool of its own, beside that of the last, smaller batches.
    pools = 4 if arm.recipe.graph else 2
    known = copies * parameters + pools * sum(saved.values()) + streams.bytes
    return known + 8 * rows * (4 + (task.n_classes or 1))


def _deal(task: Task, seeds: Sequence[int]) -> Dealt:
    # The same seed may stand in several arms, and gets the same rows in each.
    known = list(dict.fromkeys(seeds))
    which = torch.tensor([known.index(seed) for seed in seeds], device=task.x.device)
    dealt = task.members(known)
    fields = (dealt.train_rows, dealt.val_rows, dealt.y_train, dealt.flipped)
    return Dealt(*(tensor[which] for tensor in fields))


@torch.no_grad()
def _replace(params: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> None:
    for name, p in params.items():
        p.copy_(new[name])


def progress(wanted: bool = True) -> dict[str, object]:
    """Options of a progress bar: one belongs to a person who waits, not to a log."""
    person = "ipykernel" in sys.modules or sys.stderr.isatty()
    silent = not wanted or not person or bool(os.environ.get("COURSEKIT_STATIC"))
    return {"delay": 1, "leave": False, "disable": silent}
