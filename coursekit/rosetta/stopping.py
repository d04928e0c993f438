"""Rows on when to stop, what to keep, and when to take smaller steps."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import mean_squared_error
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from coursekit import stopping
from coursekit.rosetta.row import row
from coursekit.rosetta.shared import X, Y, b, keras, linear, numbers, w, x, y

GROUP = "When to stop and when to slow down"
CURVE = (1.0, 0.7, 0.9, 0.65, 0.6495, 0.6494, 0.8, 0.7, 0.6, 0.9, 0.9, 0.9, 0.9)  # validation loss


def settings() -> set[str]:
    return {*MLPClassifier().get_params(), *MLPRegressor().get_params()}


def drive(callback, curve=CURVE, lr: float = 1.0) -> tuple[int, list[float], np.ndarray]:
    """Drive a callback of Keras along a curve: last epoch, learning rates, weight that is kept.

    The model is one weight, which is the epoch, counted from 1. A rate is read at the end of its
    epoch, behind the callback: it is the one with which the next epoch would train.
    """
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
    model.build((None, 1))
    model.compile(keras.optimizers.SGD(lr), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(curve):
        model.set_weights([np.array([[epoch + 1.0]])])
        callback.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(model.optimizer.learning_rate.value))
        if model.stop_training:
            break
    callback.on_train_end()
    return epoch + 1, rates, numbers(model.weights[0])


class Epoch(nn.Module):
    """A model of one weight, which is the epoch."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def set(self, epoch: float) -> None:
        with torch.no_grad():
            self.weight.fill_(epoch)


@row(GROUP, "Patience")
class Patience:
    """Training ends when the monitored value has not been beaten for `patience` epochs in a row.
    Compared is the epoch at which it ends, where nothing improves any more after the first epoch.
    scikit-learn waits one epoch longer: its patience is `n_iter_no_change` + 1."""

    short = {
        "keras": "EarlyStopping(patience=5)",
        "torch": "if epoch - best_epoch >= 5: break",
        "sklearn": "MLPRegressor(early_stopping=True, n_iter_no_change=4)",
    }
    also = ("tol",)
    trap = """The wrong line copies 5. And the two do not watch the same: scikit-learn takes a tenth
    of your rows away for validation, and watches a score there, not a loss."""

    def keras():
        callback = keras.callbacks.EarlyStopping(patience=5)
        last, _, _ = drive(callback, [1.0] * 50)
        return last

    def torch():
        best, best_epoch = float("inf"), 1
        for epoch, loss in enumerate([1.0] * 50, start=1):
            if loss < best:
                best, best_epoch = loss, epoch
            elif epoch - best_epoch >= 5:
                break
        return epoch

    def sklearn():
        how = {"early_stopping": True, "tol": 1e-12, "learning_rate_init": 1e-30}
        return MLPRegressor(n_iter_no_change=4, random_state=0, **how).fit(X, Y).n_iter_

    def wrong():
        how = {"early_stopping": True, "tol": 1e-12, "learning_rate_init": 1e-30}
        return MLPRegressor(n_iter_no_change=5, random_state=0, **how).fit(X, Y).n_iter_


@row(GROUP, "A loss that is not a number")
class NotANumber:
    """Keras takes the first value for the best, whatever it is, and nothing is smaller than NaN:
    with patience 5 it ends at epoch 6. By hand that is a best epoch of 1 to begin with. Compared is
    the epoch at which training ends when all losses are NaN. (`TerminateOnNaN` of Keras is made for
    this.)"""

    short = {
        "keras": "EarlyStopping(patience=5)",
        "torch": 'best, best_epoch = float("inf"), 1',
        "sklearn": None,
    }
    also = ("TerminateOnNaN", "nan")
    lacks = {"sklearn": "No equal: its networks end with an error when a weight is not finite."}
    trap = """No comparison with NaN is true. With a best epoch of infinity, as in the wrong line,
    the waiting never ends."""

    def missing():
        model = MLPRegressor(solver="sgd", learning_rate_init=1e30, max_iter=9)
        try:
            model.fit(X, Y)
        except ValueError:
            return True
        return False

    def keras():
        callback = keras.callbacks.EarlyStopping(patience=5)
        last, _, _ = drive(callback, [float("nan")] * 50)
        return last

    def torch():
        best, best_epoch = float("inf"), 1
        for epoch, loss in enumerate([float("nan")] * 50, start=1):
            if loss < best:
                best, best_epoch = loss, epoch
            elif epoch - best_epoch >= 5:
                break
        return epoch

    def wrong():
        best = best_epoch = float("inf")
        for epoch, loss in enumerate([float("nan")] * 50, start=1):
            if loss < best:
                best, best_epoch = loss, epoch
            elif epoch - best_epoch >= 5:
                break
        return epoch


@row(GROUP, "The first epochs do not count")
class StartFrom:
    """Keras counts epochs from 0, so `start_from_epoch=2` passes over two of them. A loop that
    counts from 1 looks at nothing while `epoch <= 2`. Compared are the epoch at which training ends
    and the one whose weights are kept, on a curve whose second loss is low by chance."""

    short = {
        "keras": "EarlyStopping(patience=3, start_from_epoch=2)",
        "torch": "if epoch <= 2: continue",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: its early stopping looks at all epochs from the first."}
    trap = """"From epoch 2" sounds like `epoch < 2: continue`, which is the wrong line. It looks at
    the second epoch, takes its loss for the best, and stops."""

    def missing():
        return not {name for name in settings() if "start_from" in name}

    def keras():
        how = {"patience": 3, "restore_best_weights": True, "start_from_epoch": 2}
        last, _, kept = drive(keras.callbacks.EarlyStopping(**how), [1.0, 0.1, *CURVE])
        return [last, float(kept[0, 0])]

    def torch():
        best, best_epoch = float("inf"), 3
        for epoch, loss in enumerate([1.0, 0.1, *CURVE], start=1):
            if epoch <= 2:
                continue
            if loss < best:
                best, best_epoch = loss, epoch
            elif epoch - best_epoch >= 3:
                break
        return [epoch, best_epoch]

    def wrong():
        best, best_epoch = float("inf"), 2
        for epoch, loss in enumerate([1.0, 0.1, *CURVE], start=1):
            if epoch < 2:
                continue
            if loss < best:
                best, best_epoch = loss, epoch
            elif epoch - best_epoch >= 3:
                break
        return [epoch, best_epoch]


@row(GROUP, "How much is an improvement")
class MinDelta:
    """`min_delta` in Keras is absolute: a loss has to fall by more than 0.01, whatever it is.
    The course's own `EarlyStopping` (and skorch's `threshold`) takes a *share* of the best value.
    Compared is the best epoch on one curve; `best − 0.01` by hand is Keras' rule."""

    short = {
        "keras": "EarlyStopping(min_delta=0.01)",
        "torch": "if loss < best - 0.01: ...",
        "sklearn": None,
    }
    also = ("threshold", "tol")
    lacks = {
        "sklearn": """No equal: `tol` is absolute as well, but counted on a score (accuracy or R²),
        and the best weights are kept by any improvement, however small."""
    }
    trap = """0.01 is a hundredth of a loss of 1 and a tenth of a loss of 0.1, so the same number
    becomes stricter as training goes on. The wrong line takes it as a share, and stops
    elsewhere."""

    def missing():
        return "min_delta" not in settings()

    def keras():
        callback = keras.callbacks.EarlyStopping(
            patience=3, min_delta=0.01, restore_best_weights=True
        )
        last, _, _ = drive(callback, [0.1 * loss for loss in CURVE])
        return [last, callback.best_epoch + 1]

    def torch():
        best, best_epoch = float("inf"), 1
        for epoch, loss in enumerate([0.1 * loss for loss in CURVE], start=1):
            if loss < best - 0.01:
                best, best_epoch = loss, epoch
            elif epoch - best_epoch >= 3:
                break
        return [epoch, best_epoch]

    def wrong():
        with stopping.EarlyStopping(nn.Linear(1, 1), patience=3, min_delta=0.01) as stopper:
            for loss in CURVE:
                if stopper.update(0.1 * loss):
                    break
        return [stopper.epoch, stopper.best_epoch]


@row(GROUP, "The loss on validation rows")
class ValidationLoss:
    """Keras weighs each batch by its rows, so `val_loss` is the mean over all rows (of penalties
    see above). By hand, add up sums and divide once. Compared on 64 rows in batches of 60 and 4."""

    short = {
        "keras": "model.evaluate(x, y, batch_size=60)",
        "torch": 'sum(mse_loss(net(a), t, reduction="sum")) / rows',
        "sklearn": "mean_squared_error(y, model.predict(x))",
    }
    also = ("val_loss",)
    trap = """A mean of the batches' means, which is the usual loop, gives each row of a small last
    batch more weight: here fifteen times as much. It stood in the article whose copy of the best
    weights was none (see the next row)."""

    def keras():
        model = keras.Sequential([keras.layers.Dense(1)])
        model.build((None, 5))
        model.set_weights([w.numpy(), b.numpy()])
        model.compile(loss="mse")
        return model.evaluate(x, y, batch_size=60, verbose=0)

    def torch():
        net, total = linear(), 0.0
        for a, t in zip(x.split(60), y.split(60), strict=True):
            total += F.mse_loss(net(a), t, reduction="sum").item()
        return total / len(x)

    def sklearn():
        predicted = X @ numbers(w).ravel() + numbers(b)
        return mean_squared_error(Y, predicted)

    def wrong():
        net, total = linear(), 0.0
        for a, t in zip(x.split(60), y.split(60), strict=True):
            total += F.mse_loss(net(a), t).item()
        return total / 2


@row(GROUP, "Which weights are left")
class BestWeights:
    """Keras leaves the *last* weights unless `restore_best_weights=True`. In PyTorch they are
    copied when they are best, and put back. scikit-learn's networks keep the best by themselves,
    but only with `early_stopping=True`. Compared is the epoch whose weights are left."""

    short = {
        "keras": "EarlyStopping(patience=3, restore_best_weights=True)",
        "torch": "kept = copy.deepcopy(net.state_dict())",
        "sklearn": None,
    }
    lacks = {
        "sklearn": """No equal: it keeps the best by itself, by a score on rows that it takes away
        from training; the rows cannot be given."""
    }
    trap = """`state_dict().copy()` copies the names and not the numbers: a new dictionary with the
    very tensors that training goes on changing. So the wrong line, which stood in an article,
    restores the last weights with great care."""

    def missing():
        return not {name for name in settings() if "restore" in name or "X_val" in name}

    def keras():
        callback = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
        _, _, kept = drive(callback)
        return kept

    def torch():
        net, best, wait = Epoch(), float("inf"), 0
        for epoch, loss in enumerate(CURVE, start=1):
            net.set(epoch)
            if loss < best:
                best, wait, kept = loss, 0, copy.deepcopy(net.state_dict())
            elif (wait := wait + 1) >= 3:
                break
        net.load_state_dict(kept)
        return net.weight

    def wrong():
        net, best, wait = Epoch(), float("inf"), 0
        for epoch, loss in enumerate(CURVE, start=1):
            net.set(epoch)
            if loss < best:
                best, wait, kept = loss, 0, net.state_dict().copy()
            elif (wait := wait + 1) >= 3:
                break
        net.load_state_dict(kept)
        return net.weight


@row(GROUP, "Smaller steps on a plateau")
class Plateau:
    """The same name in both libraries. Keras acts when `patience` epochs were bad, PyTorch when
    *more* were: Keras' 3 is PyTorch's 2, and `cooldown` has a row of its own below.
    Keras' `min_delta` is absolute, PyTorch's `threshold` a share of the best unless
    `threshold_mode="abs"`. Compared are the learning rates behind all epochs. (With momentum, see
    *Momentum when the rate changes*.)"""

    short = {
        "keras": "ReduceLROnPlateau(factor=0.5, patience=3, min_delta=1e-4)",
        "torch": 'ReduceLROnPlateau(opt, factor=0.5, patience=2, threshold_mode="abs")',
        "sklearn": None,
    }
    lacks = {
        "sklearn": """No equivalent: `learning_rate="adaptive"` watches the training loss (with
        `early_stopping`, a score), divides by five, and stops at 1e-6."""
    }
    trap = "The wrong line copies the patience: a cut comes later, or not at all."

    def missing():
        return "factor" not in settings()

    def keras():
        callback = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3, min_delta=1e-4)
        _, rates, _ = drive(callback)
        return rates

    def torch():
        optimizer = torch.optim.SGD(Epoch().parameters(), lr=1.0)
        slower = ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold_mode="abs")
        rates = []
        for loss in CURVE:
            slower.step(loss)
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    def wrong():
        optimizer = torch.optim.SGD(Epoch().parameters(), lr=1.0)
        slower = ReduceLROnPlateau(optimizer, factor=0.5, patience=3, threshold_mode="abs")
        rates = []
        for loss in CURVE:
            slower.step(loss)
            rates.append(optimizer.param_groups[0]["lr"])
        return rates


@row(GROUP, "What counts as better on a plateau")
class Threshold:
    """Both schedules, with factor 0.1 and an absolute threshold of 0.05, on losses a tenth as
    large. A share of a small loss is small, so PyTorch's default mode sees progress where Keras
    sees none."""

    short = {
        "keras": "ReduceLROnPlateau(patience=3, min_delta=0.05)",
        "torch": 'ReduceLROnPlateau(opt, patience=2, threshold=0.05, threshold_mode="abs")',
        "sklearn": None,
    }
    lacks = {
        "sklearn": """No equal: `tol` of `learning_rate="adaptive"` is absolute too, but on the
        training loss or a score."""
    }
    trap = "The wrong line leaves `threshold_mode` at its default."

    def missing():
        return "threshold_mode" not in settings()

    def keras():
        callback = keras.callbacks.ReduceLROnPlateau(patience=3, min_delta=0.05)
        _, rates, _ = drive(callback, [0.1 * loss for loss in CURVE])
        return rates

    def torch():
        optimizer = torch.optim.SGD(Epoch().parameters(), lr=1.0)
        absolute = {"threshold": 0.05, "threshold_mode": "abs"}
        slower = ReduceLROnPlateau(optimizer, patience=2, **absolute)
        rates = []
        for loss in CURVE:
            slower.step(0.1 * loss)
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    def wrong():
        optimizer = torch.optim.SGD(Epoch().parameters(), lr=1.0)
        slower = ReduceLROnPlateau(optimizer, patience=2, threshold=0.05)
        rates = []
        for loss in CURVE:
            slower.step(0.1 * loss)
            rates.append(optimizer.param_groups[0]["lr"])
        return rates


@row(GROUP, "A rest after each cut")
class Cooldown:
    """For `cooldown` epochs after a cut, bad epochs are not counted. Keras counts the last of them
    already, PyTorch does not: `cooldown=k` there is `cooldown=k - 1` here, and Keras' 1 is the same
    as its 0. Compared are the rates for k = 1, 2 and 3, where nothing improves."""

    short = {
        "keras": "ReduceLROnPlateau(factor=0.5, patience=3, cooldown=k)",
        "torch": "ReduceLROnPlateau(opt, factor=0.5, patience=2, cooldown=k - 1)",
        "sklearn": None,
    }
    lacks = {"sklearn": """No equivalent: `learning_rate="adaptive"` goes on counting at once."""}
    trap = """The wrong line translates the patience and copies `cooldown`: the second cut comes an
    epoch late, the third two."""

    def missing():
        return "cooldown" not in settings()

    def keras():
        rates = []
        for k in (1, 2, 3):
            how = {"factor": 0.5, "patience": 3, "cooldown": k}
            rates += drive(keras.callbacks.ReduceLROnPlateau(**how), [1.0] * 20)[1]
        return rates

    def torch():
        rates = []
        for k in (1, 2, 3):
            opt = torch.optim.SGD(Epoch().parameters(), lr=1.0)
            slower = ReduceLROnPlateau(opt, factor=0.5, patience=2, cooldown=k - 1)
            for loss in [1.0] * 20:
                slower.step(loss)
                rates.append(opt.param_groups[0]["lr"])
        return rates

    def wrong():
        rates = []
        for k in (1, 2, 3):
            opt = torch.optim.SGD(Epoch().parameters(), lr=1.0)
            slower = ReduceLROnPlateau(opt, factor=0.5, patience=2, cooldown=k)
            for loss in [1.0] * 20:
                slower.step(loss)
                rates.append(opt.param_groups[0]["lr"])
        return rates


@row(GROUP, "The smallest rate")
class SmallestRate:
    """`min_lr` is the same in both: a cut stops at it, and a rate that is below it from the start,
    as that of a group of pretrained weights may be, stays where it is. Compared from a rate of 1
    and from one of 0.01."""

    short = {
        "keras": "ReduceLROnPlateau(patience=3, min_lr=0.03)",
        "torch": "ReduceLROnPlateau(opt, patience=2, min_lr=0.03)",
        "sklearn": None,
    }
    lacks = {"sklearn": "No equivalent: it ends the training where a rate falls below 0.000001."}
    trap = """A floor of one's own behind `step()` is the same for the first rate only: it *raises*
    the second, as in the wrong line. And `eps` in PyTorch is no floor and not what Keras once
    called `epsilon`: it leaves out cuts that change the rate by less."""

    def missing():
        return not {name for name in settings() if "min_l" in name}

    def keras():
        rates = []
        for lr in (1.0, 0.01):
            callback = keras.callbacks.ReduceLROnPlateau(patience=3, min_lr=0.03)
            rates += drive(callback, [1.0] * 20, lr)[1]
        return rates

    def torch():
        rates = []
        for lr in (1.0, 0.01):
            opt = torch.optim.SGD(Epoch().parameters(), lr=lr)
            slower = ReduceLROnPlateau(opt, patience=2, min_lr=0.03)
            for loss in [1.0] * 20:
                slower.step(loss)
                rates.append(opt.param_groups[0]["lr"])
        return rates

    def wrong():
        rates = []
        for lr in (1.0, 0.01):
            opt = torch.optim.SGD(Epoch().parameters(), lr=lr)
            slower = ReduceLROnPlateau(opt, patience=2)
            for loss in [1.0] * 20:
                slower.step(loss)
                opt.param_groups[0]["lr"] = max(opt.param_groups[0]["lr"], 0.03)
                rates.append(opt.param_groups[0]["lr"])
        return rates
