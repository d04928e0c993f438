"""Rows on what an optimizer does beside following the slope: decay, limits, clipping, averages."""

import torch
import torch.nn.functional as F
from sklearn.linear_model import SGDRegressor
from sklearn.neural_network import MLPRegressor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from coursekit.rosetta.row import row
from coursekit.rosetta.shared import (
    X,
    Y,
    b,
    fit_keras,
    fit_sklearn,
    fit_torch,
    keras,
    linear,
    numbers,
    w,
    x,
    y,
)

GROUP = "Decay, limits and averages in the optimizer"


def settings() -> set[str]:
    """All that can be set in scikit-learn's networks and its linear models trained by steps."""
    return {*MLPRegressor().get_params(), *SGDRegressor().get_params()}


@row(GROUP, "Decoupled decay: AdamW")
class Decoupled:
    """Each step first takes lr · `weight_decay` off every weight and then follows the slope of the
    loss alone. Keras means this by `weight_decay` in *every* optimizer; in PyTorch it is the W in
    AdamW."""

    short = {
        "keras": "Adam(lr, weight_decay=d)  # or AdamW",
        "torch": "AdamW(lr, weight_decay=d)",
        "sklearn": None,
    }
    lacks = {
        "sklearn": "No equivalent: its only solver of this kind, adam, puts alpha in the loss."
    }
    trap = """PyTorch's `Adam(weight_decay=d)` has the same name and the same argument and is L2 in
    the loss. The defaults differ too: AdamW decays by 0.004 in Keras and by 0.01 in PyTorch."""

    def missing():
        return not {name for name in settings() if "decay" in name}

    def keras(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.01, weight_decay=0.5), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.AdamW(net.parameters(), 0.01, weight_decay=0.5)
        return fit_torch(net, optimizer, steps)

    def wrong(steps):
        net = linear()
        optimizer = torch.optim.Adam(net.parameters(), 0.01, weight_decay=0.5)
        return fit_torch(net, optimizer, steps)


@row(GROUP, "L2 under Adam")
class Coupled:
    """L2 in the loss, followed by Adam: PyTorch's `Adam(weight_decay=2c)`, Keras' kernel
    regularizer and scikit-learn's alpha = rows · c, whose halved loss Adam does not notice."""

    short = {
        "keras": "Adam(lr) and kernel_regularizer=L2(c)",
        "torch": "Adam(lr, weight_decay=2 * c)  # on kernels",
        "sklearn": 'MLPRegressor(solver="adam", alpha=rows * c)',
    }
    trap = """Adam divides the penalty's slope by its own size as it does with every slope, so a
    strength means something else for each weight (lesson 03). The wrong line is Keras'
    `weight_decay`, which does not."""

    def keras(steps):
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.25))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.Adam(0.01), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 2 * 0.25}
        optimizer = torch.optim.Adam([kernels, {"params": [net.bias]}], lr=0.01)
        return fit_torch(net, optimizer, steps)

    def sklearn(steps):
        model = MLPRegressor(solver="adam", alpha=64 * 0.25, learning_rate_init=0.01)
        return fit_sklearn(model, steps)

    def wrong(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.01, weight_decay=2 * 0.25), "mse")
        return fit_keras(model, steps)


@row(GROUP, "Decay under momentum")
class Momentum:
    """Under momentum the two kinds of decay part as they do under Adam. Keras' SGD decays beside
    the step; PyTorch has no SGD that does, but one line in front of the step."""

    short = {
        "keras": "SGD(lr, momentum=0.9, weight_decay=d)",
        "torch": "p.mul_(1 - lr * d)  # in front of step()",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: alpha is part of the loss there, under momentum too."}
    trap = "PyTorch's `SGD(momentum=0.9, weight_decay=d)` lets the decay gather momentum as well."

    def missing():
        return not {name for name in settings() if "decay" in name}

    def keras(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.02, momentum=0.9, weight_decay=0.5), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

        def shrink(*_):
            with torch.no_grad():
                for p in net.parameters():
                    p.mul_(1 - 0.02 * 0.5)

        optimizer.register_step_pre_hook(shrink)
        return fit_torch(net, optimizer, steps)

    def wrong(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=0.5)
        return fit_torch(net, optimizer, steps)


@row(GROUP, "Which weights decay")
class Excluded:
    """Keras excludes variables by a part of their name, PyTorch by groups of parameters. Both decay
    everything, biases too, unless they are told."""

    short = {
        "keras": 'optimizer.exclude_from_weight_decay(var_names=["bias"])',
        "torch": 'AdamW([{"params": [net.weight]}, {"params": [net.bias], "weight_decay": 0}])',
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: nothing decays there; alpha never touches an intercept."}
    trap = """In Keras the call has to come before the first step, and a part of a name that fits
    nothing is no error. The wrong line decays all."""

    def missing():
        return not {name for name in settings() if "decay" in name}

    def keras(steps):
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(optimizer, "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        biases = {"params": [net.bias], "weight_decay": 0}
        optimizer = torch.optim.AdamW([{"params": [net.weight]}, biases], 0.01, weight_decay=0.5)
        return fit_torch(net, optimizer, steps)

    def wrong(steps):
        net = linear()
        optimizer = torch.optim.AdamW(net.parameters(), 0.01, weight_decay=0.5)
        return fit_torch(net, optimizer, steps)


@row(GROUP, "A limit on each unit's weights")
class MaxNorm:
    """After each step, a unit whose incoming weights are longer than the limit is shortened to it.
    Keras calls this a constraint; in PyTorch it is `renorm` along the axis of units, and a line
    behind the step."""

    short = {
        "keras": "kernel_constraint=MaxNorm(0.5, axis=0)",
        "torch": "weight.renorm(p=2, dim=0, maxnorm=0.5)  # behind step()",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: nothing can be done there between two steps of `fit`."}
    trap = """`axis` is what is summed over, `dim` is what is kept, and kernels are transposed: both
    are 0, by two mistakes that cancel. For convolutions Keras needs axis [0, 1, 2]. The wrong line
    limits each input instead of each unit."""

    def missing():
        return not {name for name in settings() if "constraint" in name or "norm" in name}

    def keras(steps):
        limit = keras.constraints.MaxNorm(0.5, axis=0)
        model = keras.Sequential([keras.layers.Dense(3, kernel_constraint=limit)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return fit_keras(model, steps, y.expand(64, 3))

    def torch(steps):
        net = linear(3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def limit():
            with torch.no_grad():
                net.weight.copy_(net.weight.renorm(p=2, dim=0, maxnorm=0.5))

        return fit_torch(net, optimizer, steps, lambda: F.mse_loss(net(x), y.expand(64, 3)), limit)

    def wrong(steps):
        limit = keras.constraints.MaxNorm(0.5, axis=1)
        model = keras.Sequential([keras.layers.Dense(3, kernel_constraint=limit)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return fit_keras(model, steps, y.expand(64, 3))


@row(GROUP, "Clipping the whole slope")
class ClipNorm:
    """If the slope of all weights together is longer than the limit, it is shortened to it: Keras'
    `global_clipnorm`, PyTorch's `clip_grad_norm_` between `backward()` and `step()`."""

    short = {
        "keras": "SGD(lr, global_clipnorm=1.0)",
        "torch": "clip_grad_norm_(net.parameters(), 1.0)",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: its networks have no limit on slopes."}
    trap = """Keras' `clipnorm` looks at each variable for itself, so kernel and bias may each be as
    long as the limit, and the direction changes."""

    def missing():
        return not {name for name in settings() if "clip" in name}

    def keras(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.02, global_clipnorm=1.0), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02)

        def clip(*_):
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)

        optimizer.register_step_pre_hook(clip)
        return fit_torch(net, optimizer, steps)

    def wrong(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.02, clipnorm=1.0), "mse")
        return fit_keras(model, steps)


@row(GROUP, "Clipping each number")
class ClipValue:
    """Each number of the slope is cut at plus and minus the limit: `clipvalue`,
    `clip_grad_value_`."""

    short = {
        "keras": "SGD(lr, clipvalue=0.5)",
        "torch": "clip_grad_value_(net.parameters(), 0.5)",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: its networks have no limit on slopes."}
    trap = "The wrong line takes the limit of one number for the limit of the whole slope."

    def missing():
        return not {name for name in settings() if "clip" in name}

    def keras(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.02, clipvalue=0.5), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02)

        def clip(*_):
            torch.nn.utils.clip_grad_value_(net.parameters(), 0.5)

        optimizer.register_step_pre_hook(clip)
        return fit_torch(net, optimizer, steps)

    def wrong(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.02, global_clipnorm=0.5), "mse")
        return fit_keras(model, steps)


@row(GROUP, "Average of the weights, moving")
class MovingAverage:
    """Beside the weights runs their average, old · 0.9 + new · 0.1, which starts as the weights
    after the first step. Keras puts it in the place of the weights when `fit` ends; PyTorch keeps
    it in a second model."""

    short = {
        "keras": "SGD(lr, use_ema=True, ema_momentum=0.9)",
        "torch": "AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))",
        "sklearn": None,
    }
    lacks = {
        "sklearn": "No equivalent: `SGDRegressor(average=True)` takes the plain mean of all steps."
    }
    trap = """In Keras the average replaces the weights at the end of each `fit` and not before, so
    `val_loss` is that of the weights, and what you keep is the average. The wrong line keeps the
    weights."""

    def missing():
        return not {name for name in settings() if "ema" in name}

    def keras(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        fit_torch(net, optimizer, steps, after=lambda: averaged.update_parameters(net))
        return {"kernel": averaged.module.weight, "bias": averaged.module.bias}

    def wrong(steps):
        net = linear()
        return fit_torch(net, torch.optim.SGD(net.parameters(), lr=0.05), steps)


@row(GROUP, "Average of the weights, plain")
class PlainAverage:
    """The mean of the weights over all steps: `SGDRegressor(average=True)`, and `AveragedModel` as
    it is. (One row per step, half the squared error, a constant learning rate.)"""

    short = {
        "keras": None,
        "torch": "AveragedModel(net)",
        "sklearn": "SGDRegressor(average=True)",
    }
    lacks = {"keras": "No equivalent: `use_ema` forgets; `SWA` has to be written as a callback."}
    trap = "An average over all steps remembers the start. The wrong line keeps the last weights."

    def missing():
        return not hasattr(keras.callbacks, "SWA") and not hasattr(keras.optimizers, "SWA")

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, weight_decay=0.0)
        averaged, rows = AveragedModel(net), iter(zip(x, y, strict=True))

        def half():
            row, target = next(rows)
            return F.mse_loss(net(row), target) / 2

        fit_torch(net, optimizer, steps, half, lambda: averaged.update_parameters(net))
        return {"kernel": averaged.module.weight, "bias": averaged.module.bias}

    def sklearn(steps):
        constant = {"learning_rate": "constant", "eta0": 0.02, "shuffle": False, "tol": None}
        model = SGDRegressor(alpha=0.0, max_iter=1, average=True, **constant)
        first = {"coef_init": numbers(w).ravel(), "intercept_init": numbers(b)}
        model.fit(X[:steps], Y[:steps], **first)
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong(steps):
        constant = {"learning_rate": "constant", "eta0": 0.02, "shuffle": False, "tol": None}
        model = SGDRegressor(alpha=0.0, max_iter=1, **constant)
        first = {"coef_init": numbers(w).ravel(), "intercept_init": numbers(b)}
        model.fit(X[:steps], Y[:steps], **first)
        return {"kernel": model.coef_, "bias": model.intercept_}
