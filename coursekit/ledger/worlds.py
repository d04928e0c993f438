"""Worlds: the data and the network on which the experiments run.

An experiment that takes `world` asks it for digits and networks, and so runs on any of these:

    digits         scikit-learn's 1,797 digits by 13 writers, 8 x 8, and a fully connected network
    other writers  3,823 digits of the same set by 30 other people, never used before the rules
                   were fixed
    mnist          10,000 digits of 28 x 28 (MNIST's test part), and a convolutional network
    mnist1d        ten shapes as noisy signals (MNIST-1D), and a one-dimensional convolutional one

One without (tables, generated data, identities) runs in the first only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from coursekit import data, models
from coursekit.datasets.tasks import Task, stream
from coursekit.ledger.record import LOOKS
from coursekit.regularizers.dropout import Dropout


@dataclass(frozen=True)
class World:
    """Data and default network of a run of the ledger.

    Attributes
    ----------
    name, data : str
        `data` is the name for `coursekit.data.load`.
    network : str
        "mlp" or "cnn".
    note : str
        What a card says of its scope.
    headline : bool
        Whether only headline claims run here.
    looks : tuple of int
        Numbers of seeds, where a record does not ask for its own.
    scale : int
        How many times as many examples to learn from: 200 signals would teach next to nothing.
    """

    name: str
    data: str
    network: str
    note: str
    headline: bool = False
    looks: tuple[int, ...] = LOOKS
    scale: int = 1

    def digits(
        self,
        label_noise: float = 0.0,
        *,
        pool_noise: float = 0.0,
        n_train: int = 200,
        n_val: int = 300,
    ) -> Task:
        """The default task: a few examples to learn from, and clean test labels.

        `label_noise` replaces labels of the training examples only; `pool_noise` those of the
        validation examples as well, as a practitioner has them: the same ones for every seed.
        """
        sizes = {"n_train": n_train * self.scale, "n_val": n_val}
        task = data.load(self.data, label_noise=label_noise, **sizes)
        if not pool_noise:
            return task
        draws = stream(0, "labels of the pool")
        replaced = torch.rand(len(task.y), generator=draws) < pool_noise
        other = torch.randint(task.n_classes, task.y.shape, generator=draws)
        y = torch.where(replaced.to(task.y.device), other.to(task.y.device), task.y)
        return replace(task, y=y)

    def canvas(self, label_noise: float = 0.0, *, n_train: int = 200, n_val: int = 300) -> Task:
        """Digits of 8 x 8, each at a random place of a canvas of 12 x 12.

        Raises
        ------
        ValueError
            In a world whose pictures are not 8 x 8.
        """
        if not self.has_canvas:
            raise ValueError(f"expected a world of 8 x 8 digits for the canvas, got {self.name!r}")
        sizes = {"n_train": n_train, "n_val": n_val}
        return data.load("canvas_digits", of=self.data, label_noise=label_noise, **sizes)

    @property
    def has_canvas(self) -> bool:
        return self.data in ("digits", "optdigits")

    @property
    def is_first(self) -> bool:
        """Whether conditions that do not use digits (tables, generated data) belong here."""
        return self.name == "digits"

    def net(
        self,
        task: Task,
        hidden: Sequence[int] = (128, 128),
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> Callable[[], nn.Module]:
        """The world's network for a task: `models.mlp`, or two convolutions and a dense layer.

        The convolutional one has dropout behind its dense layer, and batch norm everywhere;
        `hidden` gives only the width of that layer.
        """
        if self.network == "mlp":
            return models.mlp(task, hidden, dropout=dropout, batch_norm=batch_norm)
        return _convolutional(task, hidden[-1], dropout, batch_norm)


def _convolutional(task: Task, width: int, dropout: float, batch_norm: bool):
    flat = task.x.ndim == 3
    conv, norm = (nn.Conv1d, nn.BatchNorm1d) if flat else (nn.Conv2d, nn.BatchNorm2d)
    channels, size = task.x.shape[1], task.x.shape[2:]
    n_in = 16 * (size[0] // 4 if flat else (size[0] // 4) * (size[1] // 4))

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in ((channels, 8), (8, 16)):
            # A stride in place of pooling: as accurate here, and faster on a processor.
            layers.append(conv(before, after, 3, stride=2, padding=1, bias=not batch_norm))
            layers += [norm(after)] * batch_norm + [nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(n_in, width, bias=not batch_norm)]
        layers += [nn.BatchNorm1d(width)] * batch_norm + [nn.ReLU()]
        layers += [Dropout(dropout)] * (dropout > 0) + [nn.Linear(width, task.n_outputs)]
        return nn.Sequential(*layers)

    return make


WORLDS = {
    world.name: world
    for world in (
        World("digits", "digits", "mlp", "scikit-learn's digits, 8 x 8, 13 writers"),
        World("other writers", "optdigits", "mlp", "optdigits, 8 x 8, 30 other writers"),
        World("mnist", "mnist", "cnn", "MNIST's test part, 28 x 28, a small CNN", True, (16,)),
        World(
            "mnist1d", "mnist1d", "cnn", "MNIST-1D signals, a small 1-D CNN", True, (16,), scale=3
        ),
    )
}


def find(name: str) -> World:
    """Return a world by its name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in WORLDS:
        raise ValueError(f"expected a world among {', '.join(WORLDS)}, got {name!r}")
    return WORLDS[name]
