"""The loop of `train.py` for S networks at once: equal to it, and faster where calls cost most.

Every parameter carries a leading S axis, so one forward pass, one backward pass and one optimizer
step move all S networks. They stay independent: each loss belongs to one network, and the
optimizers work entry by entry. Axes: S networks, B batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, groupby

import torch
from torch import Tensor, nn

from coursekit.datasets.tasks import Deal, Reader, Task, stream
from coursekit.engine.devices import half, matmul_precision, random_states, recorded, send
from coursekit.engine.hooks import Arm, Hooks, overwrite, per_network
from coursekit.engine.layers import as_in_company
from coursekit.engine.networks import alike, initial_net, private_rng, structure
from coursekit.engine.random import Streams
from coursekit.engine.scores import checked_outputs, recorded_loss, score_stack
from coursekit.engine.stack import VECTORS, Stack, forward
from coursekit.recipe import Recipe, make_optimizer, param_groups, set_rates, torch_optimizer

Runners = Sequence[tuple[Arm, int]]
# Optimizers that work entry by entry, and so can move all networks at once.
ENTRYWISE = (
    "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD",
    "Rprop",
)  # fmt: skip


def epochs(runners: Runners, stack: Stack, task: Task, hooks: Hooks) -> Iterator[dict[str, Tensor]]:
    """Train a stack, and yield its scores (S,) after every epoch."""
    arms, seeds = zip(*runners, strict=True)
    recipe, device = arms[0].recipe, task.device
    streams = Streams(seeds, device, ahead=not recipe.graph, compiled=recipe.compile)
    deal, orders = deal_to(task, seeds), _orders(seeds, task.n_train, device)
    optimizer = optimizer_of(stack, [arm.recipe for arm in arms])
    losses_of = optimized_losses(stack, streams, task, hooks, arms)
    constrain = per_network(hooks.constrain, "constrain", streams, arms, device)

    def step(rows: Tensor, y: Tensor) -> Tensor:  # (S, B), (S, B, ...) to (S,)
        losses = losses_of(task.inputs(rows), y)
        stack.backward(losses)
        optimizer.step()
        if constrain:
            overwrite(stack.params, constrain(stack.params))
        return losses.detach()

    if recipe.compile:
        stack.compile()
    if recipe.graph:
        step = recorded(step, device)
    order = next(orders)
    for epoch in range(recipe.epochs):
        stack.net.train()
        set_rates(optimizer, recipe, epoch)
        logged = torch.zeros(len(seeds), device=device)
        shuffled = deal.train_rows.gather(1, order), _shuffled(deal.y_train, order)
        for rows, y in zip(*(t.split(recipe.batch_size, 1) for t in shuffled), strict=True):
            # Weighted by size: a mean of batch means would count a short last batch too much.
            logged += step(rows, y) * (rows.shape[1] / task.n_train)
        order = next(orders)  # of the next epoch, while a GPU computes the last steps
        scores = {"logged_loss": logged}
        if is_evaluated(recipe, epoch):
            for part in hooks.parts:
                scores |= score_stack(stack.net, stack.state, task, deal, part)
        yield scores


def is_evaluated(recipe: Recipe, epoch: int) -> bool:
    """Whether an epoch, counted from 0, ends with an evaluation: the last one always does."""
    return (epoch + 1) % recipe.evaluate_every == 0 or epoch + 1 == recipe.epochs


def optimized_losses(
    stack: Stack, streams: Streams, task: Task, hooks: Hooks, arms: Sequence[Arm]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The function from a batch (S, B, ...), (S, B, ...) to the losses (S,) that are optimized."""
    device, precision = task.device, arms[0].recipe.precision
    objective, augment, mix, penalty = (
        per_network(getattr(hooks, name), name, streams, arms, device)
        for name in ("objective", "augment", "mix", "penalty")
    )
    objective = objective or recorded_loss(task)

    def losses_of(x: Tensor, y: Tensor) -> Tensor:
        if augment:
            x = augment(x)
        if mix:
            x, y = mix(x, y)
        with half(precision, device):
            outputs = stack(x, streams)
        losses = objective(outputs.float(), y).mean(1)
        return losses + penalty(stack.params) if penalty else losses

    return losses_of


def optimizer_of(stack: Stack, recipes: Sequence[Recipe]) -> torch.optim.Optimizer:
    """Make one PyTorch optimizer for S networks; recipe s may have numbers of its own.

    Networks that stand together and share a recipe share a parameter group: a block of rows.
    """
    first, start, groups = recipes[0], 0, []
    for recipe, same in groupby(recipes):
        stop = start + len(list(same))
        blocks: dict[float, list[Tensor]] = {}  # by their decay
        for kind in stack.rows:
            decay = recipe.vector_decay if kind == VECTORS else recipe.weight_decay
            blocks.setdefault(decay, []).extend(stack.block(kind, start, stop))
        lr = torch.tensor(recipe.lr, device=stack.device) if first.graph else None
        groups += param_groups(blocks, recipe, lr)
        start = stop
    return torch_optimizer(groups, first)


@dataclass(frozen=True)
class Trial:
    """What one step tells: whether networks can be trained side by side, and their size."""

    bytes: int = 0  # memory that one more network takes while it trains
    obstacle: str = ""  # why they are trained one after another; empty if they are not
    surprising: bool = False  # whether whoever wrote the network should hear of it


def try_out(runner: tuple[Arm, int], nets: Sequence[nn.Module], task: Task, hooks: Hooks) -> Trial:
    """Try one step of one network: first by itself, then as a stack would train it.

    What a network cannot do by itself is an error, and raised as it is. `nets` stay as they are.
    """
    (arm, seed), device = runner, task.device
    if hooks.step:
        return Trial(obstacle="`step` moves one network at a time")
    if isinstance(task.x, Reader):
        return Trial(obstacle="the examples are read one by one")
    alone, other = (initial_net(arm.make_net, seed).to(device) for _ in range(2))
    optimizer = make_optimizer(alone, arm.recipe)
    if type(optimizer) not in [getattr(torch.optim, name) for name in ENTRYWISE]:
        reason = f"{type(optimizer).__name__} may look at a whole network to move one weight"
        return Trial(obstacle=reason)
    if not alike(nets):
        reason = "the networks differ in more than their weights and buffers"
        return Trial(obstacle=reason, surprising=True)
    deal, n = deal_to(task, [seed]), arm.recipe.batch_size
    rows, y = deal.train_rows[:, :n], deal.y_train[:, :n]
    saved: dict[int, int] = {}  # by address: what the backward pass needs, each once

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with private_rng(seed):
        before = random_states()
        maps, reason = _watch(alone, task, task.inputs(rows[0]))
        if reason:
            return Trial(obstacle=reason, surprising=True)
        # Convolutions of many networks do not fit the cache together, and gain nothing then:
        # benchmarks/shapes.py.
        if device.type == "cpu" and maps > LARGEST_MAP:
            return Trial(obstacle="its feature maps fill a processor's cache")
        stated = torch.get_rng_state()
        try:
            stack = Stack([other], device)
            streams = Streams([seed], device, ahead=False)  # a block ahead is shared by all
            losses_of = optimized_losses(stack, streams, task, hooks, [arm])
            stack.net.train()
            hooked = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
            with hooked, as_in_company():
                losses = losses_of(task.inputs(rows), y)
            stack.backward(losses)
            drawn = not torch.equal(stated, torch.get_rng_state())
            forward(stack.net, stack.state, lambda nets, part: task.inputs(rows[:, part]), 1)
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            reason = str(error).strip().split("\n")[0][:120]
            reason = f"{type(other).__name__} cannot be mapped over seeds ({reason})"
            return Trial(obstacle=reason, surprising=True)
        if drawn or random_states() != before:
            who = "PyTorch in a way that" if drawn else "NumPy or by Python, which"
            reason = f"random numbers are drawn by {who} cannot be shared out among networks"
            return Trial(obstacle=reason, surprising=True)
    return Trial(_bytes(arm.recipe, stack, task, deal, sum(saved.values()) + streams.bytes))


def n_at_once(each: int, budget: float) -> int:
    """How many networks of so many bytes fit into a budget; ValueError if not even one does."""
    if not each <= budget:  # NaN too
        raise ValueError(
            f"expected memory for one network, {each / 1e6:.1f} MB, got {budget / 1e6:.1f} MB;"
            " try a smaller batch_size or more memory"
        )
    return int(budget // each)


def _watch(net: nn.Module, task: Task, x: Tensor) -> tuple[int, str]:
    """Compute a batch in training mode and one in evaluation mode.

    Returns the size of the largest output of a convolution in two dimensions, and what the network
    changes in itself in a way that would be lost side by side, or nothing.
    """
    maps = [0]
    handles = [
        layer.register_forward_hook(lambda layer, args, output: maps.append(output.numel()))
        for layer in net.modules()
        if isinstance(layer, nn.Conv2d | nn.Conv3d)
    ]

    def places() -> dict[str, tuple]:
        tensors = chain(net.named_parameters(), net.named_buffers())
        return {name: (id(t), t.data_ptr()) for name, t in tensors}

    own, held = places(), structure(net)
    for training in (True, False):
        net.train(training)
        given = x.clone()
        before = given._version
        here = nullcontext() if training else matmul_precision("float32")
        with torch.no_grad(), here:
            checked_outputs(net(given), len(x), task)
        if given._version != before:
            return 0, f"{type(net).__name__} changes its input in place"
    for handle in handles:
        handle.remove()
    now = places()
    lost = [name for name in (now | own) if now.get(name) != own.get(name)]
    if lost:
        return 0, f"{lost[0]!r} is replaced by another tensor instead of changed in place"
    if structure(net) != held:
        return 0, f"{type(net).__name__} keeps something in itself that is no parameter or buffer"
    return max(maps), ""


# Numbers in the output of a two-dimensional convolution, for one network and batch.
LARGEST_MAP = 150_000


def _bytes(recipe: Recipe, stack: Stack, task: Task, deal: Deal, saved: int) -> int:
    parameters = 4 * sum(rows.numel() for rows in stack.rows.values())
    # Weights, two gradients (of this step, and of the last one or laid out), best and final with a
    # copy each: 7. Adam keeps two moments, SGD one.
    copies = 7 + (1 if recipe.optimizer == "sgd" else 2)
    rows = deal.train_rows.numel() + deal.val_rows.numel()
    # A recorded step has a memory pool of its own, beside that of the last, smaller batches.
    pools = 4 if recipe.graph else 2
    return copies * parameters + pools * saved + 8 * rows * (4 + task.n_outputs)


def deal_to(task: Task, seeds: Sequence[int]) -> Deal:
    """Deal rows to seeds, of which one may stand in several arms: it gets the same in each."""
    known = list(dict.fromkeys(seeds))
    which = torch.tensor([known.index(seed) for seed in seeds], device=task.device)
    deal = task.deal(known)
    fields = (deal.train_rows, deal.val_rows, deal.y_train, deal.flipped)
    return Deal(*(tensor[which] for tensor in fields))


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


def _shuffled(y: Tensor, order: Tensor) -> Tensor:
    if y.ndim == 2:
        return y.gather(1, order)
    return y.gather(1, order.unsqueeze(-1).expand(-1, -1, y.shape[-1]))
