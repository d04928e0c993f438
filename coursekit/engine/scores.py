"""What is recorded of a network: losses and accuracies, for S networks in one call.

Axes: S networks, N examples, C classes, K outputs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.datasets.tasks import Deal, Reader, Task, read_rows
from coursekit.engine.devices import matmul_precision, widest
from coursekit.engine.stack import EVAL_ROWS, State, forward, rows_in_memory

PARTS = ("train", "val", "test")
Loss = Callable[[Tensor, Tensor], Tensor]


def recorded_loss(task: Task) -> Loss:
    """The loss that a task is scored by: (outputs (S, N, ...), targets (S, N, ...)) to (S, N)."""
    if task.n_classes is not None:
        return cross_entropy
    return label_entropy if task.multi_label else squared_error


def mean_loss(task: Task) -> Loss:
    """The same for one network and batch, averaged: (B, ...), (B, ...) to a scalar."""
    if task.n_classes is not None:
        return F.cross_entropy
    if task.multi_label:
        return F.binary_cross_entropy_with_logits
    return lambda outputs, targets: squared_error(outputs, targets).mean()


def checked_outputs(outputs: Tensor, n_rows: int, task: Task) -> Tensor:
    """Outputs (B, K) as a network has to return them for a task; ValueError otherwise."""
    wanted = (n_rows, task.n_outputs)
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if shape != wanted:
        what = f"{task.n_classes} classes" if task.n_classes else f"{task.n_outputs} outputs"
        raise ValueError(
            f"expected a network that returns a tensor of shape {wanted}, one row per example for "
            f"{what}, got {shape}; try nn.Linear(..., {task.n_outputs}) at its end, and return "
            "nothing beside it"
        )
    return outputs


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats: logits (S, N, C), targets (S, N) classes or (S, N, C) shares."""
    if len(logits) == 1:
        return F.cross_entropy(logits.squeeze(0), targets.squeeze(0), reduction="none")[None]
    # With the classes first, a row of N is one vector: ten times faster for few classes.
    scores = logits.mT.contiguous()  # (S, C, N)
    return F.cross_entropy(scores, targets.mT if targets.ndim == 3 else targets, reduction="none")


def label_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy in nats, the mean of K labels: (S, N, K), (S, N, K) to (S, N)."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(-1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared difference: (..., N, 1), (..., N) to (..., N); the mean of K outputs if there are."""
    if targets.ndim == outputs.ndim:
        return (outputs - targets).square().mean(-1)
    return (outputs.squeeze(-1) - targets).square()


def hits(outputs: Tensor, targets: Tensor, task: Task) -> Tensor | None:
    """Which predictions are right, (..., N): classes, or the share of right labels; else None."""
    if task.n_classes is not None:
        return (outputs.argmax(-1) == targets).to(widest(targets.device))
    if task.multi_label:
        return ((outputs > 0) == (targets > 0.5)).to(widest(targets.device)).mean(-1)
    return None


def _by_name(part: str, loss: Tensor, right: Tensor | None) -> dict[str, Tensor]:
    """Mean losses (S,) of a part and, where there are hits (S, N), the accuracies."""
    scores = {f"{part}_loss": loss}
    return scores if right is None else scores | {f"{part}_acc": right.mean(1)}


def score_stack(
    net: nn.Module, state: State, task: Task, deal: Deal, part: str
) -> dict[str, Tensor]:
    """Scores of S networks of one structure, computed side by side: (S,) each."""
    if part == "test":
        outputs = on_shared(net, state, task.x_test)
        targets = task.y_test.expand(len(outputs), *task.y_test.shape)
    else:
        rows = deal.val_rows if part == "val" else deal.train_rows
        outputs = forward(
            net, state, lambda nets, part: task.inputs(rows[nets, part]), rows.shape[1]
        )
        targets = deal.y_train if part == "train" else task.y[rows]
    loss = recorded_loss(task)(outputs, targets).mean(1)
    return _by_name(part, loss, hits(outputs, targets, task))


def score_one(net: nn.Module, task: Task, deal: Deal, part: str, s: int = 0) -> dict[str, Tensor]:
    """Scores of one network on what the seed at position `s` was dealt: (1,) each."""
    if part == "test":
        outputs, targets = outputs_of_one(net, task.x_test), task.y_test
    else:
        rows = (deal.val_rows if part == "val" else deal.train_rows)[s]
        outputs = outputs_of_one(net, task.x, rows)
        targets = deal.y_train[s] if part == "train" else task.y.index_select(0, rows)
    right = hits(outputs, targets, task)
    loss = mean_loss(task)(outputs, targets).view(1)
    return _by_name(part, loss, None if right is None else right[None])


@torch.no_grad()
@matmul_precision("float32")
def outputs_of_one(net: nn.Module, x: Tensor | Reader, rows: Tensor | None = None) -> Tensor:
    """Outputs (N, ...) of one network in evaluation mode for rows of `x`, by default all."""
    was_training, n = net.training, len(x) if rows is None else len(rows)
    net.eval()

    def read(part: slice) -> Tensor:  # a copy: a network may change its input in place
        return x[part].clone() if rows is None else read_rows(x, rows[part])

    blocks = []
    try:
        most = EVAL_ROWS
        if n > 1 and next(net.parameters()).device.type != "cpu":
            most = min(most, rows_in_memory(net, read(slice(0, 1)), net))
        for start in range(0, n, most):
            blocks.append(net(read(slice(start, start + most))))
    finally:
        net.train(was_training)
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)


def on_shared(net: nn.Module, state: State, x: Tensor) -> Tensor:
    """Outputs of S networks on the same inputs: (N, ...) to (S, N, C)."""
    n = len(next(iter(state.values())))

    def inputs(nets: slice, rows: slice) -> Tensor:
        block = x[rows].clone()  # a network may change its input in place
        return block.expand(len(range(n)[nets]), *block.shape)

    return forward(net, state, inputs, len(x))
