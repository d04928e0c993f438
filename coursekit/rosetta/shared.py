"""What all snippets start from: one data set, one set of first weights, one loop per library."""

import warnings
from importlib import import_module

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "X",
    "Y",
    "b",
    "fit_keras",
    "fit_sklearn",
    "fit_torch",
    "images",
    "keras",
    "labels",
    "linear",
    "numbers",
    "w",
    "x",
    "y",
]


class Lazily:
    """A library that is imported when a snippet first asks for something in it."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, part: str):
        return getattr(import_module(self._name), part)


keras = Lazily("keras")

_draws = torch.Generator().manual_seed(0)
x = torch.randn(64, 5, generator=_draws)  # 64 rows of five columns
w = 0.5 * torch.randn(5, 1, generator=_draws)  # the first weights of every model
b = torch.tensor([0.3])
y = x @ torch.randn(5, 1, generator=_draws) + 1 + 0.5 * torch.randn(64, 1, generator=_draws)
labels = (y[:, 0] > 1).long()  # of two classes
X, Y = x.double().numpy(), y[:, 0].double().numpy()  # the same for scikit-learn
images = torch.randn(8, 6, 6, 3, generator=_draws)  # 8 images of 6 x 6 points, channels last


def numbers(value) -> np.ndarray:
    """Any library's numbers as an array of NumPy."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    elif not isinstance(value, (np.ndarray, float, int)) and hasattr(value, "value"):
        value = value.value.detach().cpu().numpy()  # a variable of Keras, on PyTorch
    return np.array(value, dtype=float)


def linear(outputs: int = 1) -> nn.Linear:
    """A linear layer of PyTorch with the first weights; PyTorch keeps them transposed."""
    net = nn.Linear(5, outputs)
    with torch.no_grad():
        net.weight.copy_(_first(outputs).T)
        net.bias.copy_(b.expand(outputs))
    return net


def _first(outputs: int) -> Tensor:
    return w * torch.linspace(1, -1, outputs) if outputs > 1 else w


def fit_keras(
    model, steps: int, target=y, inputs=x, batch_size: int = 64, **options
) -> dict[str, np.ndarray]:
    """Train a model with one dense layer on all rows at once; its weights after `steps` epochs."""
    model.build((None, 5))
    kernel, bias = (next(v for v in model.weights if v.name == part) for part in ("kernel", "bias"))
    kernel.assign(_first(kernel.shape[1]))
    bias.assign(b.expand(bias.shape))
    how = {"batch_size": batch_size, "epochs": steps, "shuffle": False, "verbose": 0}
    model.fit(inputs, target, **how | options)
    return {"kernel": numbers(kernel), "bias": numbers(bias)}


def fit_torch(net, optimizer, steps: int, loss=None, after=lambda: None) -> dict[str, np.ndarray]:
    """Train a linear layer, on all rows at once unless `loss` says else; its weights."""
    for _ in range(steps):
        optimizer.zero_grad()
        (loss() if loss else F.mse_loss(net(x), y)).backward()
        optimizer.step()
        after()
    return {"kernel": numbers(net.weight).T, "bias": numbers(net.bias)}


def fit_sklearn(model, steps: int, target=Y, inputs=X) -> dict[str, np.ndarray]:
    """Train a network of scikit-learn without a hidden layer on all rows at once; its weights."""
    rate = model.learning_rate_init
    one = {"max_iter": 1, "tol": 0, "n_iter_no_change": 9999, "learning_rate_init": 1e-30}
    model.set_params(hidden_layer_sizes=(), batch_size=64, shuffle=False, warm_start=True, **one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few steps do not converge
        model.fit(inputs, target)  # one step to nowhere builds it
        model.coefs_[0][:], model.intercepts_[0][:] = w.numpy(), b.numpy()
        model.set_params(learning_rate_init=rate, max_iter=steps).fit(inputs, target)
    return {"kernel": model.coefs_[0], "bias": model.intercepts_[0]}
