"""What is trained: one record per workload, and the same rows for everybody.

Nothing heavy is imported at the top: peers that do without torch read the records too.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

N_DEALT = 256  # seeds for which rows are dealt


@dataclass(frozen=True)
class Workload:
    """A data set, a network and a recipe. Accuracy on the validation rows is measured every epoch.

    Attributes
    ----------
    data : {"digits", "mnist1d"}
    network : {"mlp", "cnn", "resnet"}
    n_train, n_val : int
        Rows that a seed gets.
    epochs, batch_size, optimizer, lr, momentum, weight_decay
        As in `coursekit.Recipe`.
    width : int
        Hidden units of the "mlp".
    """

    title: str
    data: str
    network: str
    n_train: int
    n_val: int
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    width: int = 128


WORKLOADS = {
    "W1": Workload(
        "digits, MLP 64-128-128-10, SGD with momentum",
        "digits", "mlp", 512, 1285, 20, 32, "sgd", 0.05, momentum=0.9,
    ),
    "W2": Workload(
        "MNIST-1D, CNN with batch norm and dropout, AdamW",
        "mnist1d", "cnn", 1000, 500, 10, 100, "adamw", 0.01, weight_decay=0.01,
    ),
    "W3": Workload(
        "digits, 24 residual blocks with stochastic depth, SGD with momentum",
        "digits", "resnet", 300, 300, 10, 32, "sgd", 0.05, momentum=0.9,
    ),
}  # fmt: skip


def task_of(w: Workload, device: str = "cpu"):
    """The workload's coursekit task."""
    import torch
    from sklearn.datasets import load_digits

    from coursekit import data
    from coursekit.datasets.tasks import Task

    if w.network != "mlp":
        return data.load(w.data, n_train=w.n_train, n_val=w.n_val, device=device)
    pixels, classes = load_digits(return_X_y=True)  # all of them: nothing is held out here
    x = torch.tensor(pixels / 16, dtype=torch.float32, device=device)
    y = torch.tensor(classes, device=device)
    return Task("digits", x, y, x[:1], y[:1], w.n_train, w.n_val, 10)


def make_net_of(w: Workload, task):
    """The workload's network, as the function that coursekit wants."""
    from coursekit import models

    if w.network == "mlp":
        return models.mlp(task, hidden=(w.width, w.width))
    if w.network == "cnn":
        return models.cnn(task, batch_norm=True, dropout=0.2)
    return models.resnet(task, survival=0.5)


def recipe_of(w: Workload, n_seeds: int, **settings):
    """The workload's recipe for seeds 0 to n_seeds - 1."""
    from coursekit.recipe import Recipe

    names = ("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay")
    given = {name: getattr(w, name) for name in names}
    return Recipe(**given, **settings, n_seeds=n_seeds, first_seed=0)


def deal(w: Workload, folder: Path) -> Path:
    """Write what coursekit deals to seeds 0 to 255, so that a peer trains on the same rows."""
    path = folder / f"{hashlib.sha256(repr(asdict(w)).encode()).hexdigest()[:12]}.npz"
    if not path.exists():
        task = task_of(w)
        dealt = task.deal(range(N_DEALT))
        arrays = {"x": task.x, "y": task.y, "train": dealt.train_rows, "val": dealt.val_rows}
        np.savez(path, **{name: tensor.numpy() for name, tensor in arrays.items()})
    return path


class Rows:
    """The rows of each seed, as numpy arrays."""

    def __init__(self, path: str | Path):
        with np.load(path) as file:
            self.x, self.y, self.train, self.val = (file[k] for k in ("x", "y", "train", "val"))

    def __call__(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x_train, y_train, x_val, y_val of one seed: float32 inputs, int64 classes."""
        train, val = self.train[seed], self.val[seed]
        return self.x[train], self.y[train], self.x[val], self.y[val]
