"""The loop that everybody writes, in PyTorch, for one network; the measure of all others."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.workloads import Rows, Workload


class Residual(nn.Module):
    """A block that is skipped at random while training, and then costs nothing."""

    def __init__(self, width: int, survival: float):
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width, bias=False)
        )
        self.survival = survival

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h + self.survival * self.branch(h)
        return h + self.branch(h) if torch.rand(()).item() < self.survival else h


def net_of(w: Workload) -> nn.Module:
    """The workload's network, without coursekit."""
    if w.network == "mlp":
        return nn.Sequential(
            nn.Linear(64, w.width), nn.ReLU(),
            nn.Linear(w.width, w.width), nn.ReLU(),
            nn.Linear(w.width, 10),
        )  # fmt: skip
    if w.network == "cnn":
        return nn.Sequential(
            nn.Conv1d(1, 16, 3, padding=1, bias=False), nn.BatchNorm1d(16), nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 3, padding=1, bias=False), nn.BatchNorm1d(32), nn.ReLU(),
            nn.MaxPool1d(2),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 10),
        )  # fmt: skip
    blocks = [Residual(64, 1 - block / 24 * 0.5) for block in range(1, 25)]
    head = [nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False), *blocks, *head)


def optimizer_of(w: Workload, net: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's fastest on a processor: fused, where it can be."""
    if w.optimizer == "sgd":
        # The fused one fails where only some parameters have met a gradient: skipped blocks.
        kind = {"foreach": True} if w.network == "resnet" else {"fused": True}
        return torch.optim.SGD(net.parameters(), lr=w.lr, momentum=w.momentum, **kind)
    # As in coursekit, vectors (biases, scales and shifts) do not decay.
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": w.weight_decay},
        {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=w.lr, fused=True)


class Batches:
    """Batches of tensors that lie in memory: a data loader at no cost."""

    def __init__(self, x: Tensor, y: Tensor, size: int, *, shuffle: bool = True):
        self.x, self.y, self.size, self.shuffle = x, y, size, shuffle

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.x, self.y
        if self.shuffle:
            order = torch.randperm(len(x), device=x.device)
            x, y = x.index_select(0, order), y.index_select(0, order)
        return zip(x.split(self.size), y.split(self.size), strict=True)


def train(w: Workload, batches, x_val: Tensor, y_val: Tensor, seed: int) -> float:
    """Train one network, and return its validation accuracy after the last epoch."""
    torch.manual_seed(seed)
    net = net_of(w).to(x_val.device)
    optimizer = optimizer_of(w, net)
    accuracies = []
    for _ in range(w.epochs):
        net.train()
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            hits = net(x_val).argmax(1) == y_val
            accuracies.append(hits.double().mean().item())
    return accuracies[-1]


def tensors(rows: Rows, seed: int, device: str = "cpu") -> list[Tensor]:
    """x_train, y_train, x_val, y_val of one seed as tensors."""
    return [torch.from_numpy(array).to(device) for array in rows(seed)]


def plain(w: Workload, rows: Rows, device: str = "cpu") -> Callable:
    """The plain loop, one seed after the other."""

    def prepare(seeds):
        parts = [tensors(rows, seed, device) for seed in seeds]

        def job() -> list[float]:
            return [
                train(w, Batches(x, y, w.batch_size), x_val, y_val, seed)
                for seed, (x, y, x_val, y_val) in zip(seeds, parts, strict=True)
            ]

        return job

    return prepare


def loader(w: Workload, rows: Rows) -> Callable:
    """The same loop over a `DataLoader`, as tutorials have it."""
    from torch.utils.data import DataLoader, TensorDataset

    def prepare(seeds):
        parts = [tensors(rows, seed) for seed in seeds]

        def job() -> list[float]:
            accuracies = []
            for seed, (x, y, x_val, y_val) in zip(seeds, parts, strict=True):
                batches = DataLoader(TensorDataset(x, y), batch_size=w.batch_size, shuffle=True)
                accuracies.append(train(w, batches, x_val, y_val, seed))
            return accuracies

        return job

    return prepare
