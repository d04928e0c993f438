"""The competitors. One function each: `peer(workload, rows)` returns `prepare(seeds)`, which lays
out the data and returns `job()`, and only the job is timed: from fresh initial weights to the last
epoch's accuracies, one per seed.

Each is set up as its documentation advises for speed: no log, no checkpoint, no progress bar, data
in memory, no worker processes, accuracy measured once per epoch in one batch.
"""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmarks.workloads import Rows, Workload, make_net_of, recipe_of, task_of


@dataclass(frozen=True)
class Peer:
    """A competitor.

    Attributes
    ----------
    label : str
    make : str
        "module:function", imported in the competitor's own process.
    needs : tuple of str
        Distributions that must be installed; their versions are recorded.
    env : dict
        Set before anything is imported.
    stacks : bool
        Whether it trains several networks side by side.
    """

    label: str
    make: str
    needs: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    stacks: bool = False

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if version(name) is None]


def version(name: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


KERAS = "benchmarks.peers:keras"
PEERS = {
    "plain": Peer("plain PyTorch loop", "benchmarks.plain:plain", ("torch",)),
    "coursekit": Peer("coursekit", "benchmarks.peers:coursekit", ("torch",), stacks=True),
    "by_hand": Peer("written out by hand", "benchmarks.by_hand:by_hand", ("torch",), stacks=True),
    "jax": Peer("JAX jit(vmap(scan))", "benchmarks.peers_jax:jitted", ("jax",), stacks=True),
    "dataloader": Peer("PyTorch loop, DataLoader", "benchmarks.plain:loader", ("torch",)),
    "sklearn": Peer("scikit-learn MLPClassifier", "benchmarks.peers:sklearn", ("scikit-learn",)),
    "skorch": Peer("skorch", "benchmarks.peers:skorch", ("skorch", "torch")),
    "keras-jax": Peer("Keras on JAX", KERAS, ("keras", "jax"), {"KERAS_BACKEND": "jax"}),
    "keras-torch": Peer("Keras on PyTorch", KERAS, ("keras", "torch"), {"KERAS_BACKEND": "torch"}),
    "lightning": Peer("Lightning", "benchmarks.peers:lightning", ("lightning", "torch")),
}


def coursekit(w: Workload, rows: Rows, device: str = "cpu", **settings) -> Callable:
    """All seeds side by side; the clock also sees it deal rows and keep the best weights."""
    from coursekit.train import fit

    task = task_of(w, device)
    make_net = make_net_of(w, task)

    def prepare(seeds):
        recipe = recipe_of(w, len(seeds), **settings)
        recipe = replace(recipe, first_seed=seeds[0])
        return lambda: fit(make_net, task, recipe, record=()).val_acc[:, -1].tolist()

    return prepare


def sklearn(w: Workload, rows: Rows) -> Callable:
    """`partial_fit` is one epoch; the initial distribution is scikit-learn's own (Glorot)."""
    import warnings

    import numpy as np
    from sklearn.neural_network import MLPClassifier

    classes = np.arange(10)

    def one(seed: int, x, y, x_val, y_val) -> float:
        net = MLPClassifier(
            (w.width, w.width), solver="sgd", alpha=0.0, batch_size=w.batch_size,
            learning_rate_init=w.lr, momentum=w.momentum, nesterovs_momentum=False,
            random_state=seed,
        )  # fmt: skip
        accuracies = []
        for _ in range(w.epochs):
            net.partial_fit(x, y, classes=classes)
            accuracies.append((net.predict(x_val) == y_val).mean())
        return float(accuracies[-1])

    def prepare(seeds):
        parts = [rows(seed) for seed in seeds]

        def job() -> list[float]:
            with warnings.catch_warnings(action="ignore"):
                return [one(seed, *part) for seed, part in zip(seeds, parts, strict=True)]

        return job

    return prepare


def skorch(w: Workload, rows: Rows) -> Callable:
    """Only the callback that measures validation accuracy is left; batches as in the plain loop."""
    import torch
    from skorch import NeuralNetClassifier
    from skorch.helper import predefined_split
    from torch.utils.data import TensorDataset

    from benchmarks.plain import Batches, net_of, tensors

    def batches(dataset, batch_size: int, shuffle: bool = False):
        x, y = dataset.tensors
        return Batches(x, y, batch_size if shuffle else len(x), shuffle=shuffle)

    silent = ("print_log", "epoch_timer", "train_loss", "valid_loss")

    def one(seed: int, x, y, x_val, y_val) -> float:
        torch.manual_seed(seed)
        net = NeuralNetClassifier(
            net_of(w), criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.SGD,
            optimizer__momentum=w.momentum, optimizer__fused=True, lr=w.lr,
            max_epochs=w.epochs, batch_size=w.batch_size, verbose=0,
            iterator_train=batches, iterator_train__shuffle=True, iterator_valid=batches,
            train_split=predefined_split(TensorDataset(x_val, y_val)),
            **{f"callbacks__{name}": None for name in silent},
        )  # fmt: skip
        net.fit(TensorDataset(x, y), None)
        return net.history[-1, "valid_acc"]

    def prepare(seeds):
        parts = [tensors(rows, seed) for seed in seeds]
        return lambda: [one(seed, *part) for seed, part in zip(seeds, parts, strict=True)]

    return prepare


def lightning(w: Workload, rows: Rows) -> Callable:
    """`barebones=True`, its setting for measuring overhead; batches as in the plain loop."""
    import logging
    import warnings

    import torch
    import torch.nn.functional as F
    from lightning.pytorch import LightningModule, Trainer

    from benchmarks.plain import Batches, net_of, optimizer_of, tensors

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")

    class Classifier(LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.accuracies = net_of(w), []

        def configure_optimizers(self):
            return optimizer_of(w, self.net)

        def training_step(self, batch, batch_index):
            x, y = batch
            return F.cross_entropy(self.net(x), y)

        def validation_step(self, batch, batch_index):
            x, y = batch
            self.accuracies.append((self.net(x).argmax(1) == y).double().mean().item())

    def one(seed: int, x, y, x_val, y_val) -> float:
        torch.manual_seed(seed)
        model = Classifier()
        trainer = Trainer(barebones=True, accelerator="cpu", devices=1, max_epochs=w.epochs)
        whole = Batches(x_val, y_val, len(x_val), shuffle=False)
        trainer.fit(model, Batches(x, y, w.batch_size), whole)
        assert len(model.accuracies) == w.epochs
        return model.accuracies[-1]

    def prepare(seeds):
        parts = [tensors(rows, seed) for seed in seeds]
        return lambda: [one(seed, *part) for seed, part in zip(seeds, parts, strict=True)]

    return prepare


def keras(w: Workload, rows: Rows) -> Callable:
    """The compiled model is kept from seed to seed; its weights and momenta are drawn anew."""
    import os

    import keras
    from keras.initializers import RandomUniform, VarianceScaling

    on_jax = os.environ["KERAS_BACKEND"] == "jax"

    def dense(n_in: int, n_out: int, activation: str | None):
        edge = n_in**-0.5  # PyTorch's default distribution
        return keras.layers.Dense(
            n_out, activation,
            kernel_initializer=VarianceScaling(1 / 3, "fan_in", "uniform"),
            bias_initializer=RandomUniform(-edge, edge),
        )  # fmt: skip

    model = keras.Sequential(
        [
            keras.Input((64,)),
            dense(64, w.width, "relu"),
            dense(w.width, w.width, "relu"),
            dense(w.width, 10, None),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(w.lr, momentum=w.momentum),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[], metrics=["accuracy"],
        jit_compile=on_jax,  # Keras' own choice too: on PyTorch it is off
        steps_per_execution=w.n_train // w.batch_size if on_jax else 1,
    )  # fmt: skip

    def one(seed: int, x, y, x_val, y_val) -> float:
        keras.utils.set_random_seed(seed)
        for layer in model.layers:
            for variable, initializer in (
                (layer.kernel, layer.kernel_initializer),
                (layer.bias, layer.bias_initializer),
            ):
                fresh = initializer.clone()  # a used one would draw the same numbers again
                variable.assign(fresh(variable.shape))
        for variable in model.optimizer.variables[2:]:  # after the step count and the rate
            variable.assign(keras.ops.zeros(variable.shape))
        log = model.fit(
            x, y, batch_size=w.batch_size, epochs=w.epochs, verbose=0, shuffle=True,
            validation_data=(x_val, y_val), validation_batch_size=len(x_val),
        )  # fmt: skip
        return log.history["val_accuracy"][-1]

    def prepare(seeds):
        parts = [rows(seed) for seed in seeds]
        return lambda: [one(seed, *part) for seed, part in zip(seeds, parts, strict=True)]

    return prepare
