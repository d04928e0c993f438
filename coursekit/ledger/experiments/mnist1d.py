"""The reference check: published accuracies on MNIST-1D, with the published networks and settings.

Greydanus and Kobak, "Scaling down deep learning with MNIST-1D", ICML 2024: 32 % for logistic
regression, 68 % for an MLP, 94 % for a CNN. Networks and settings are those of the authors'
repository (greydanus/mnist1d: Adam at 0.01, batches of 100, 6,000 steps, test set after the last).
Three differences remain: one of the 4,000 signals is our validation set (a task needs one), batches
are dealt anew in every epoch, and each figure is a mean over seeds, where the authors ran one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from coursekit import data, models
from coursekit.datasets.tasks import Task
from coursekit.ledger.evidence import Side, plain
from coursekit.ledger.experiments import experiment
from coursekit.regularizers.depth import Residual
from coursekit.train import Recipe, evaluate, fit

RECIPE = Recipe(epochs=150, batch_size=100, lr=1e-2, evaluate_every=150)  # 40 steps per epoch


def mlp() -> nn.Module:
    """The authors' MLP: two hidden layers of 100 units, the second one around a skip."""
    second = nn.Sequential(nn.Linear(100, 100), nn.ReLU())
    first = (nn.Flatten(), nn.Linear(40, 100), nn.ReLU())
    return nn.Sequential(*first, Residual(second), nn.Linear(100, 10))


def cnn() -> nn.Module:
    """The authors' CNN: three convolutions of 25 channels with stride 2, 5,210 parameters."""
    layers: list[nn.Module] = []
    for channels, size in ((1, 5), (25, 3), (25, 3)):
        layers += [nn.Conv1d(channels, 25, size, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(125, 10))


def published_signals() -> Task:
    """The published signals: all but one to train on, and the published test set."""
    return data.load("mnist1d", n_train=3999, n_val=1)


def _reached(make_net: Callable, seeds: Sequence[int], published: float) -> tuple[Side, Side]:
    """The published accuracy, and ours after the last step: no weights are chosen.

    The test set is the authors' own, so its examples are no source of chance here.
    """
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    task = published_signals()
    scores = evaluate(fit(make_net, task, recipe, record=()), task, weights="final").acc
    return plain(published, len(seeds)), plain(scores)


@experiment("W01", recipe=RECIPE)
def logistic(seeds):
    """Logistic regression on the published set."""
    return {"W01": {"MNIST-1D": _reached(models.linear(published_signals()), seeds, 0.32)}}


@experiment("W02", recipe=RECIPE)
def perceptron(seeds):
    """The MLP on the published set."""
    return {"W02": {"MNIST-1D": _reached(mlp, seeds, 0.68)}}


@experiment("W03", recipe=RECIPE)
def convolutions(seeds):
    """The CNN on the published set."""
    return {"W03": {"MNIST-1D": _reached(cnn, seeds, 0.94)}}
