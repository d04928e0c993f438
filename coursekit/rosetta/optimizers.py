"""Rows on what an optimizer does beside following the slope: momentum, decay, limits, averages."""

from itertools import count

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

GROUP = "Momentum, decay, limits and averages in the optimizer"


def settings() -> set[str]:
    """All that can be set in scikit-learn's networks and its linear models trained by steps."""
    return {*MLPRegressor().get_params(), *SGDRegressor().get_params()}


@row(GROUP, "Decoupled decay: AdamW")
class Decoupled:
    """Each step first takes lr · `weight_decay` off every weight and then follows the slope of the
    loss alone. Keras means this by `weight_decay` in *every* optimizer; in PyTorch it is the W in
    AdamW. (What is left of a difference here: Keras rounds 0.999 to 32 bits. Where slopes are
    small, a larger one comes in, see *Adam's small number*.)"""

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
    regularizer and scikit-learn's alpha = rows · c, whose halved loss Adam does not notice.
    (*Adam's small number* has a row of its own.)"""

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


@row(GROUP, "Adam's small number")
class AdamEpsilon:
    """Adam divides by the size of the slope plus a small number: 1e-7 in Keras, 1e-8 in the two
    others. Keras and scikit-learn add it *before* the size is corrected for its start at zero,
    PyTorch *after*. So PyTorch's number is theirs divided by the correction, anew in each step,
    for Adam and AdamW alike. Compared on columns of size 0.00001, whose slopes are small."""

    short = {
        "keras": "Adam(lr)  # epsilon=1e-7",
        "torch": 'group["eps"] = 1e-7 / (1 - 0.999**t) ** 0.5  # in front of step t',
        "sklearn": 'MLPRegressor(solver="adam", epsilon=1e-7 / 2)  # its loss is halved',
    }
    also = ("AdamW", "beta_2", "betas", "eps")
    trap = """The wrong line copies 1e-7, which is thirty times too small in the first step. It
    matters where slopes are small, as here, and behind batch norm (*All together*), and less with
    each thousand steps. In the formula 0.999 is `beta_2`, and t counts from 1."""

    def keras(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.01, epsilon=1e-7), "mse")
        return fit_keras(model, steps, inputs=1e-5 * x)

    def torch(steps):
        net, t = linear(), count(1)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

        def small(*_):
            eps = 1e-7 / (1 - 0.999 ** next(t)) ** 0.5
            for group in optimizer.param_groups:
                group["eps"] = eps

        optimizer.register_step_pre_hook(small)
        return fit_torch(net, optimizer, steps, lambda: F.mse_loss(net(1e-5 * x), y))

    def sklearn(steps):
        # its squared error is halved, so the slopes are, and so has the small number to be
        model = MLPRegressor(solver="adam", alpha=0, epsilon=1e-7 / 2, learning_rate_init=0.01)
        return fit_sklearn(model, steps, inputs=1e-5 * X)

    def wrong(steps):
        net = linear()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-7)
        return fit_torch(net, optimizer, steps, lambda: F.mse_loss(net(1e-5 * x), y))


@row(GROUP, "Nesterov's momentum")
class Nesterov:
    """The same word and the same steps in all three, as plain momentum is; scikit-learn halves the
    squared error, so its learning rate is twice as large."""

    short = {
        "keras": "SGD(lr, momentum=0.9, nesterov=True)",
        "torch": "SGD(lr, momentum=0.9, nesterov=True)",
        "sklearn": 'MLPRegressor(solver="sgd", momentum=0.9, nesterovs_momentum=True)',
    }
    trap = """It is off by default in Keras and PyTorch and *on* in scikit-learn, with a momentum of
    0.9. So `MLPRegressor(solver="sgd")` is not the plain SGD of the others; the wrong line forgets
    the word."""

    def keras(steps):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True)
        return fit_torch(net, optimizer, steps)

    def sklearn(steps):
        how = {"momentum": 0.9, "nesterovs_momentum": True, "learning_rate_init": 2 * 0.02}
        return fit_sklearn(MLPRegressor(solver="sgd", alpha=0, **how), steps)

    def wrong(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
        return fit_torch(net, optimizer, steps)


@row(GROUP, "Momentum when the rate changes")
class ChangingRate:
    """At one learning rate momentum is the same in both. Keras gathers *steps*, which carry the
    rate of their own time; PyTorch gathers slopes and multiplies by the rate of today. So where
    the rate is divided by ten, as here after five steps, PyTorch's buffers have to grow tenfold to
    go on as Keras does."""

    short = {
        "keras": "SGD(schedule, momentum=0.9)",
        "torch": 'state["momentum_buffer"] *= 0.02 / 0.002  # where lr falls so',
        "sklearn": None,
    }
    also = ("PiecewiseConstantDecay", "ReduceLROnPlateau", "lr_scheduler", "nesterov")
    lacks = {
        "sklearn": """No equivalent: its schedules are "adaptive" and "invscaling", and a list of
        rates cannot be given."""
    }
    trap = """The wrong line changes the rate alone, as schedulers do. Keras' network then still
    walks with its old speed for some ten steps, PyTorch's slows down at once."""

    def missing():
        return not {name for name in settings() if "schedul" in name}

    def keras(steps):
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4], [0.02, 0.002])
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(schedule, momentum=0.9), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net, t = linear(), count(1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

        def slower(*_):
            if next(t) == 6:
                optimizer.param_groups[0]["lr"] = 0.002
                for state in optimizer.state.values():
                    state["momentum_buffer"] *= 0.02 / 0.002

        optimizer.register_step_pre_hook(slower)
        return fit_torch(net, optimizer, steps)

    def wrong(steps):
        net, t = linear(), count(1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

        def slower(*_):
            if next(t) == 6:
                optimizer.param_groups[0]["lr"] = 0.002

        optimizer.register_step_pre_hook(slower)
        return fit_torch(net, optimizer, steps)


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
    """Keras excludes variables by a part of their *own* name (kernel, bias, gamma, beta), PyTorch
    by groups of parameters. Both decay everything, biases and norms too, unless they are told."""

    short = {
        "keras": 'exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])',
        "torch": 'AdamW([{"params": kernels}, {"params": rest, "weight_decay": 0}])',
        "sklearn": None,
    }
    also = ("gamma", "var_list")
    lacks = {"sklearn": "No equivalent: nothing decays there; alpha never touches an intercept."}
    trap = """The name of a layer is not a part of it, and a name that fits nothing is no error: the
    wrong line excludes the norm by its layer's name, and its scales decay. The call has to come
    before the first step."""

    def missing():
        return not {name for name in settings() if "decay" in name}

    def keras(steps):
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        norm = keras.layers.LayerNormalization(epsilon=1e-5)
        model = keras.Sequential([norm, keras.layers.Dense(1)])
        model.compile(optimizer, "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net, norm = linear(), torch.nn.LayerNorm(5)
        kernels, rest = [net.weight], [net.bias, *norm.parameters()]
        groups = [{"params": kernels}, {"params": rest, "weight_decay": 0}]
        optimizer = torch.optim.AdamW(groups, 0.01, weight_decay=0.5)
        return fit_torch(net, optimizer, steps, lambda: F.mse_loss(net(norm(x)), y))

    def wrong(steps):
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias", "layer_normalization"])
        norm = keras.layers.LayerNormalization(epsilon=1e-5)
        model = keras.Sequential([norm, keras.layers.Dense(1)])
        model.compile(optimizer, "mse")
        return fit_keras(model, steps)


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
    also = ("max_value",)
    lacks = {"sklearn": "No equivalent: nothing can be done there between two steps of `fit`."}
    trap = """`axis` is what is summed over (0 by default), `dim` is what is kept, and kernels are
    transposed: two conventions that differ twice, so both are 0. For convolutions Keras needs axis
    [0, 1, 2]. The wrong line limits each input instead of each unit."""

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
    also = ("clipnorm",)
    lacks = {"sklearn": "No equivalent: its networks have no limit on slopes."}
    trap = """Keras' `clipnorm` looks at each variable for itself, so kernel and bias may each be as
    long as the limit, and the direction changes. In PyTorch that is
    `for p in net.parameters(): clip_grad_norm_([p], limit)`."""

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
