"""Rows on penalties that are part of the loss."""

import torch
import torch.nn.functional as F
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    Ridge,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor

from coursekit.rosetta.row import row
from coursekit.rosetta.shared import (
    X,
    Y,
    b,
    fit_keras,
    fit_sklearn,
    fit_torch,
    keras,
    labels,
    linear,
    numbers,
    w,
    x,
    y,
)

GROUP = "Penalties in the loss"


@row(GROUP, "L2, plain gradient descent")
class L2:
    """Keras adds c · Σw² to the loss; PyTorch adds `weight_decay` · w to the slope, and the slope
    of c · w² is 2c · w. scikit-learn halves both squared error and penalty, so it needs twice the
    learning rate, and divides alpha by the rows of the batch: its alpha is rows · c."""

    short = {
        "keras": "kernel_regularizer=L2(c)",
        "torch": "SGD(weight_decay=2 * c)  # on kernels",
        "sklearn": "MLPRegressor(alpha=rows * c)",
    }
    trap = """The same number is not the same strength: copied as it stands, it is half as strong in
    PyTorch, and this is what the wrong line below does."""

    def keras(steps):
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 2 * 0.1}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=0.1)
        return fit_torch(net, optimizer, steps)

    def sklearn(steps):
        # half the squared error, so twice the learning rate; alpha is divided by 64 rows
        model = MLPRegressor(solver="sgd", momentum=0, alpha=64 * 0.1, learning_rate_init=2 * 0.1)
        return fit_sklearn(model, steps)

    def wrong(steps):
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 0.1}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=0.1)
        return fit_torch(net, optimizer, steps)


@row(GROUP, "L2 in a classifier")
class Classifier:
    """The mean cross-entropy is the same in all three, so nothing is halved but the penalties:
    `weight_decay` = 2c, and alpha = 2c times the rows of a batch."""

    short = {
        "keras": "kernel_regularizer=L2(c)",
        "torch": "SGD(weight_decay=2 * c)  # on kernels",
        "sklearn": "MLPClassifier(alpha=2 * c * rows)",
    }
    trap = """The default alpha of 0.0001 in batches of 200 rows is a `weight_decay` of 0.0000005,
    which is nearly nothing. The wrong line copies `weight_decay` as alpha."""

    def keras(steps):
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.5), keras.losses.BinaryCrossentropy(from_logits=True))
        return fit_keras(model, steps, labels[:, None].float())

    def torch(steps):
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 2 * 0.1}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=0.5)

        def loss():
            return F.binary_cross_entropy_with_logits(net(x)[:, 0], labels.float())

        return fit_torch(net, optimizer, steps, loss)

    def sklearn(steps):
        plain = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.5}
        model = MLPClassifier(alpha=2 * 0.1 * 64, **plain)
        return fit_sklearn(model, steps, labels.numpy())

    def wrong(steps):
        plain = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.5}
        model = MLPClassifier(alpha=2 * 0.1, **plain)
        return fit_sklearn(model, steps, labels.numpy())


@row(GROUP, "Ridge, at the minimum")
class RidgeMinimum:
    """`Ridge` minimizes the *sum* of squared errors plus alpha · Σw², so its alpha is the number of
    rows times the c of a mean squared error. The intercept is free in all three."""

    short = {
        "keras": "kernel_regularizer=L2(alpha / n)",
        "torch": "SGD(weight_decay=2 * alpha / n)",
        "sklearn": "Ridge(alpha=alpha)",
    }
    trap = """With more rows the same alpha is weaker. A network's penalty stands beside a mean and
    does not know how many rows there are."""

    def keras():
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(6.4 / 64))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.2), "mse")
        return fit_keras(model, 100)

    def torch():
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 2 * 6.4 / 64}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=0.2)
        return fit_torch(net, optimizer, 100)

    def sklearn():
        model = Ridge(alpha=6.4).fit(X, Y)
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong():
        model = Ridge(alpha=0.1).fit(X, Y)
        return {"kernel": model.coef_, "bias": model.intercept_}


@row(GROUP, "L2, one row per step")
class L2ByRow:
    """`SGDRegressor` halves the squared error and adds alpha/2 · Σw² for each single row. So its
    alpha is PyTorch's `weight_decay` when the loss is halved there too; in Keras both halves are
    made good by half the learning rate, and c is alpha."""

    short = {
        "keras": "kernel_regularizer=L2(alpha)  # half the lr",
        "torch": "SGD(weight_decay=alpha)  # half the loss",
        "sklearn": "SGDRegressor(alpha=alpha)",
    }
    trap = """`SGDRegressor` and `MLPRegressor` call the same letter alpha, and only the second one
    divides it by the rows of a batch. They agree when a batch is one row."""

    def keras(steps):
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.02 / 2), "mse")
        return fit_keras(model, 1, y[:steps], x[:steps], batch_size=1)

    def torch(steps):
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 0.1}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=0.02)
        rows = iter(zip(x, y, strict=True))

        def half():
            row, target = next(rows)
            return F.mse_loss(net(row), target) / 2

        return fit_torch(net, optimizer, steps, half)

    def sklearn(steps):
        constant = {"learning_rate": "constant", "eta0": 0.02, "shuffle": False, "tol": None}
        model = SGDRegressor(alpha=0.1, max_iter=1, **constant)
        first = {"coef_init": numbers(w).ravel(), "intercept_init": numbers(b)}
        model.fit(X[:steps], Y[:steps], **first)
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong(steps):
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 0.1 / 64}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=0.02)
        rows = iter(zip(x, y, strict=True))

        def half():
            row, target = next(rows)
            return F.mse_loss(net(row), target) / 2

        return fit_torch(net, optimizer, steps, half)


@row(GROUP, "L2 in logistic regression")
class Logistic:
    """`LogisticRegression` minimizes C · (sum of losses) + ½ Σw². Divide by C times the rows, and
    you have the mean loss with c = 1 / (2 · C · n), or `weight_decay` = 1 / (C · n)."""

    short = {
        "keras": "kernel_regularizer=L2(1 / (2 * C * n))",
        "torch": "SGD(weight_decay=1 / (C * n))",
        "sklearn": "LogisticRegression(C=C)",
    }
    also = ("C",)
    trap = """C is a strength upside down: large means free. And it is on by default: whoever asks
    scikit-learn for a logistic regression gets C = 1, and not the maximum of the likelihood."""

    def keras():
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1 / (2 * 0.1 * 64)))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(2.0), keras.losses.BinaryCrossentropy(from_logits=True))
        return fit_keras(model, 150, labels[:, None].float())

    def torch():
        net = linear()
        kernels = {"params": [net.weight], "weight_decay": 1 / (0.1 * 64)}
        optimizer = torch.optim.SGD([kernels, {"params": [net.bias]}], lr=2.0)

        def loss():
            return F.binary_cross_entropy_with_logits(net(x)[:, 0], labels.float())

        return fit_torch(net, optimizer, 150, loss)

    def sklearn():
        model = LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-9).fit(X, labels.numpy())
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong():
        model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-9).fit(X, labels.numpy())
        return {"kernel": model.coef_, "bias": model.intercept_}


@row(GROUP, "L1")
class L1:
    """Keras adds c · Σ|w| to the loss. No optimizer of PyTorch has a setting for it, so it is
    written into the loss. At the minimum, `Lasso` is the same with alpha = c/2, because its squared
    error is halved; it gets there by another way, which is why its steps are not compared."""

    short = {
        "keras": "kernel_regularizer=L1(c)",
        "torch": "loss + c * w.abs().sum()",
        "sklearn": "Lasso(alpha=c / 2)",
    }
    trap = """Gradient steps do not reach zero, they jump around it (see the next row). The
    strength here is so small that none should be zero; the wrong line forgets the half."""

    def keras():
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L1(0.02))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.2), "mse")
        return fit_keras(model, 100)

    def torch():
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.2)

        def loss():
            return F.mse_loss(net(x), y) + 0.02 * net.weight.abs().sum()

        return fit_torch(net, optimizer, 100, loss)

    def sklearn():
        model = Lasso(alpha=0.02 / 2, tol=1e-12).fit(X, Y)
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong():
        model = Lasso(alpha=0.02, tol=1e-12).fit(X, Y)
        return {"kernel": model.coef_, "bias": model.intercept_}


@row(GROUP, "L1 with exact zeros")
class Zeros:
    """`Lasso` sets weights to exactly zero. Gradient steps can do the same if the penalty leaves
    the loss, and each step is followed by a soft threshold of lr · c. PyTorch has it as
    `softshrink`; in Keras it fits into a kernel constraint, which is any function of the kernel
    that is called behind each step. Compared are the weights and the number of zeros."""

    short = {
        "keras": "kernel_constraint=shrink  # soft_shrink(kernel, lr * c)",
        "torch": "softshrink(w, lr * c)  # behind step()",
        "sklearn": "Lasso(alpha=c / 2)",
    }
    trap = """The wrong line has the penalty in the loss. A step along the slope then jumps around
    zero and lands on it by accident only, so `(w == 0).sum()` finds nothing to select."""

    def keras():
        def shrink(kernel):
            return keras.ops.soft_shrink(kernel, 0.2 * 1.0)

        model = keras.Sequential([keras.layers.Dense(1, kernel_constraint=shrink)])
        model.compile(keras.optimizers.SGD(0.2), "mse")
        found = fit_keras(model, 100)
        return found | {"zeros": (found["kernel"] == 0).sum()}

    def torch():
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.2)

        def shrink():
            with torch.no_grad():
                net.weight.copy_(F.softshrink(net.weight, 0.2 * 1.0))

        found = fit_torch(net, optimizer, 100, after=shrink)
        return found | {"zeros": (found["kernel"] == 0).sum()}

    def sklearn():
        model = Lasso(alpha=1.0 / 2, tol=1e-12).fit(X, Y)
        return {"kernel": model.coef_, "bias": model.intercept_, "zeros": (model.coef_ == 0).sum()}

    def wrong():
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L1(1.0))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.2), "mse")
        found = fit_keras(model, 100)
        return found | {"zeros": (found["kernel"] == 0).sum()}


@row(GROUP, "L1 and L2 together")
class Elastic:
    """`L1L2(l1, l2)` is `ElasticNet(alpha, l1_ratio)` with l1 = 2 · alpha · l1_ratio and l2 =
    alpha · (1 − l1_ratio): the squared error is halved there, and so is its L2 part, but not its
    L1 part."""

    short = {
        "keras": "L1L2(l1=2 * alpha * ratio, l2=alpha * (1 - ratio))",
        "torch": "loss + l1 * w.abs().sum() + l2 * w.square().sum()",
        "sklearn": "ElasticNet(alpha=alpha, l1_ratio=ratio)",
    }
    trap = """`l1_ratio` does not share the strength evenly. With l1_ratio 0.5, l1 is twice l2; the
    wrong line takes it for an even share."""

    def keras():
        both = keras.regularizers.L1L2(l1=2 * 0.1 * 0.2, l2=0.1 * 0.8)
        model = keras.Sequential([keras.layers.Dense(1, kernel_regularizer=both)])
        model.compile(keras.optimizers.SGD(0.2), "mse")
        return fit_keras(model, 100)

    def torch():
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.2)

        def loss():
            size = net.weight.abs().sum(), net.weight.square().sum()
            return F.mse_loss(net(x), y) + 2 * 0.1 * 0.2 * size[0] + 0.1 * 0.8 * size[1]

        return fit_torch(net, optimizer, 100, loss)

    def sklearn():
        model = ElasticNet(alpha=0.1, l1_ratio=0.2, tol=1e-12).fit(X, Y)
        return {"kernel": model.coef_, "bias": model.intercept_}

    def wrong():
        both = keras.regularizers.L1L2(l1=0.1 * 0.2, l2=0.1 * 0.8)
        model = keras.Sequential([keras.layers.Dense(1, kernel_regularizer=both)])
        model.compile(keras.optimizers.SGD(0.2), "mse")
        return fit_keras(model, 100)


@row(GROUP, "Biases")
class Biases:
    """`kernel_regularizer` leaves the bias alone and `bias_regularizer` punishes it. PyTorch's
    `weight_decay` takes all that it is given, so `net.parameters()` is both together."""

    short = {
        "keras": "kernel_regularizer=L2(c), bias_regularizer=L2(c)",
        "torch": "SGD(net.parameters(), weight_decay=2 * c)",
        "sklearn": None,
    }
    lacks = {
        "sklearn": """No equal: `Ridge`, `Lasso` and its networks never punish the intercept. Models
        of liblinear do, and take no such steps."""
    }
    trap = """The usual line `SGD(net.parameters(), weight_decay=...)` punishes biases and the
    scales of normalization too, which the usual line of Keras does not."""

    def missing():
        names = {*MLPRegressor().get_params(), *Ridge().get_params(), *Lasso().get_params()}
        return not [name for name in names if "bias" in name or "intercept_pen" in name]

    def keras(steps):
        both = {"kernel_regularizer": "l2", "bias_regularizer": "l2"}  # a word means 0.01
        model = keras.Sequential([keras.layers.Dense(1, **both)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=2 * 0.01)
        return fit_torch(net, optimizer, steps)

    def wrong(steps):
        model = keras.Sequential([keras.layers.Dense(1, kernel_regularizer="l2")])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return fit_keras(model, steps)


@row(GROUP, "L1 of everything")
class L1Biases:
    """A sum over `net.parameters()`, as it stands in many guides, punishes biases too. In Keras
    that is a kernel regularizer and a bias regularizer, in each layer."""

    short = {
        "keras": "kernel_regularizer=L1(c), bias_regularizer=L1(c)",
        "torch": "loss + c * sum(p.abs().sum() for p in net.parameters())",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: `Lasso` leaves the intercept alone, always."}
    trap = """A bias does not choose a column, so there is nothing to gain from a zero there. The
    wrong line takes the kernels only, which is what was meant."""

    def missing():
        return not [name for name in Lasso().get_params() if "bias" in name]

    def keras(steps):
        penalty = keras.regularizers.L1(0.1)
        layer = keras.layers.Dense(1, kernel_regularizer=penalty, bias_regularizer=penalty)
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def loss():
            return F.mse_loss(net(x), y) + 0.1 * sum(p.abs().sum() for p in net.parameters())

        return fit_torch(net, optimizer, steps, loss)

    def wrong(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def loss():
            return F.mse_loss(net(x), y) + 0.1 * net.weight.abs().sum()

        return fit_torch(net, optimizer, steps, loss)


@row(GROUP, "Activities")
class Activities:
    """`activity_regularizer` punishes what a layer says, summed over its units and *divided by the
    rows of the batch* since Keras 3.14 (3.13 and the older ones that we tried do not divide); a
    penalty on weights is not divided. In PyTorch it is one term more in the
    loss."""

    short = {
        "keras": "activity_regularizer=L2(c)",
        "torch": "loss + c * h.square().sum() / len(h)",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: `MLPRegressor` has no setting for its activities."}
    trap = "Forget the division, and the penalty is as many times too strong as a batch has rows."

    def missing():
        return not [name for name in MLPRegressor().get_params() if "regulariz" in name]

    def keras(steps):
        layer = keras.layers.Dense(1, activity_regularizer=keras.regularizers.L2(0.01))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return fit_keras(model, steps)

    def torch(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def loss():
            h = net(x)
            return F.mse_loss(h, y) + 0.01 * h.square().sum() / len(h)

        return fit_torch(net, optimizer, steps, loss)

    def wrong(steps):
        net = linear()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def loss():
            h = net(x)
            return F.mse_loss(h, y) + 0.01 * h.square().sum()

        return fit_torch(net, optimizer, steps, loss)


@row(GROUP, "The printed loss")
class PrintedLoss:
    """What `evaluate` and `val_loss` say in Keras contains the penalty. PyTorch's `weight_decay`
    works on the slope and appears in no loss, and scikit-learn's `score` and `mean_squared_error`
    know nothing of it."""

    short = {
        "keras": "model.evaluate(x, y)",
        "torch": "mse_loss(net(x), y) + c * w.square().sum()",
        "sklearn": None,
    }
    also = ("val_loss", "metrics")
    lacks = {
        "sklearn": """No equivalent: `MLPRegressor.loss_` contains the penalty, but for training
        rows only; what it says of other rows is a score without one."""
    }
    trap = """`val_loss` in Keras is not the loss on validation rows. It falls when weights shrink,
    whatever becomes of the errors, so stopping early by it and comparing strengths by it
    mean something else than in PyTorch."""

    def missing():
        return not hasattr(MLPRegressor, "evaluate")

    def keras():
        layer = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        fit_keras(model, 1)
        return model.evaluate(x, y, batch_size=64, verbose=0)

    def torch():
        net = linear()
        return F.mse_loss(net(x), y) + 0.1 * net.weight.square().sum()

    def wrong():
        net = linear()
        return F.mse_loss(net(x), y)


@row(GROUP, "Right angles between units")
class Orthogonal:
    """`OrthogonalRegularizer` looks at the angles between units: c times the absolute cosines of
    all pairs, halved for counting each twice and divided by the number of pairs. PyTorch has no
    setting for it (`parametrizations.orthogonal` forces right angles, and is no penalty)."""

    short = {
        "keras": 'OrthogonalRegularizer(c, mode="columns")',
        "torch": "c * normalize(w) @ normalize(w).T  # off the diagonal",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: a penalty of one's own cannot be given."}
    trap = """The kernel of Keras is the transpose of PyTorch's weight, so units are columns there
    and rows here. The default, "rows", compares inputs and not units."""

    def missing():
        return not [name for name in MLPRegressor().get_params() if "regulariz" in name]

    def keras():
        penalty = keras.regularizers.OrthogonalRegularizer(0.1, mode="columns")
        return penalty(linear(3).weight.detach().T + torch.eye(5, 3))

    def torch():
        weight = linear(3).weight.detach() + torch.eye(3, 5)
        rows = F.normalize(weight, dim=1)
        cosines = (rows @ rows.T)[~torch.eye(3, dtype=bool)]
        return 0.1 * 0.5 * cosines.abs().sum() / 3  # 3 pairs of 3 units

    def wrong():
        penalty = keras.regularizers.OrthogonalRegularizer(0.1, mode="rows")
        return penalty(linear(3).weight.detach().T + torch.eye(5, 3))
