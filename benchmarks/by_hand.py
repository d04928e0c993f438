"""W1 by hand: S networks trained side by side in eager PyTorch, every formula written out.

No autograd, no modules, no optimizer object: what an expert would write for these three layers and
nothing else. It is what PyTorch can reach here without a compiler, and the engine is held to it.
Axes: S networks, B rows, D inputs, H outputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.plain import net_of, tensors
from benchmarks.workloads import Rows, Workload


def train(w: Workload, parts: list[list[Tensor]], seeds: list[int]) -> list[float]:
    """Train all seeds at once; return the validation accuracies after the last epoch."""
    x, y, x_val, y_val = (torch.stack(column) for column in zip(*parts, strict=True))
    n_networks, orders, nets = len(seeds), [], []
    for seed in seeds:
        torch.manual_seed(seed)
        nets.append([p.detach() for p in net_of(w).parameters()])
        orders.append(torch.stack([torch.randperm(w.n_train) for _ in range(w.epochs)]))
    params = [torch.stack(column) for column in zip(*nets, strict=True)]  # (S, H, D), (S, H)
    momenta = [torch.zeros_like(p) for p in params]
    weights, biases = params[::2], params[1::2]
    which = torch.arange(n_networks)[:, None]

    def forward(h: Tensor) -> list[Tensor]:
        """Inputs (S, B, D) of each layer, and the logits."""
        found = [h]
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            h = torch.baddbmm(bias[:, None], h, weight.mT)
            found.append(h.relu_() if i < len(weights) - 1 else h)
        return found

    for order in torch.stack(orders, 1):
        x_epoch, y_epoch = x[which, order], y[which, order]
        for batch, targets in zip(
            x_epoch.split(w.batch_size, 1), y_epoch.split(w.batch_size, 1), strict=True
        ):
            *inputs, logits = forward(batch)
            # The gradient of the mean cross-entropy: probabilities minus the truth.
            delta = logits.softmax(-1)
            delta.scatter_add_(2, targets[..., None], -torch.ones_like(delta[..., :1]))
            delta /= batch.shape[1]
            grads: list[Tensor] = []
            for i in reversed(range(len(weights))):
                grads[:0] = [delta.mT @ inputs[i], delta.sum(1)]
                if i:
                    delta = torch.bmm(delta, weights[i]).mul_(inputs[i] > 0)
            torch._foreach_mul_(momenta, w.momentum)
            torch._foreach_add_(momenta, grads)
            torch._foreach_add_(params, momenta, alpha=-w.lr)
        # One network after the other: its rows fit the cache.
        accuracies = []
        for s in range(n_networks):
            h = x_val[s]
            for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                h = torch.addmm(bias[s], h, weight[s].T)
                h = h.relu_() if i < len(weights) - 1 else h
            accuracies.append((h.argmax(1) == y_val[s]).double().mean().item())
    return accuracies


def by_hand(w: Workload, rows: Rows) -> Callable:
    """All seeds side by side."""
    if w.network != "mlp":
        raise ValueError(f"expected a workload with an MLP, got {w.network}")

    def prepare(seeds):
        parts = [tensors(rows, seed) for seed in seeds]
        return lambda: train(w, parts, list(seeds))

    return prepare
