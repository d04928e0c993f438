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


def told(callback, curve=CURVE, optimizer=None) -> tuple[int, list[float], np.ndarray]:
    """Drive a callback of Keras along a curve: last epoch, learning rates, weight that is kept.

    The model is one weight, which is the epoch.
    """
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
    model.build((None, 1))
    model.compile(optimizer or keras.optimizers.SGD(1.0), "mse")
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
    trap = """The wrong line copies 5. And the two do not watch the same: scikit-learn takes a tenth
    of your rows away for validation, and watches a score there, not a loss."""

    def keras():
        callback = keras.callbacks.EarlyStopping(patience=5)
        last, _, _ = told(callback, [1.0] * 50)
        return last

    def torch():
        best = best_epoch = float("inf")
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
        last, _, _ = told(callback, [0.1 * loss for loss in CURVE])
        return [last, callback.best_epoch + 1]

    def torch():
        best = best_epoch = float("inf")
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
        _, _, kept = told(callback)
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
    *more* than `patience` were: 3 there is 2 here. Keras' `min_delta` is absolute, PyTorch's
    `threshold` a share of the best unless `threshold_mode="abs"`. Compared are the learning rates
    of all epochs."""

    short = {
        "keras": "ReduceLROnPlateau(factor=0.5, patience=3, min_delta=1e-4)",
        "torch": 'ReduceLROnPlateau(opt, factor=0.5, patience=2, threshold_mode="abs")',
        "sklearn": None,
    }
    lacks = {
        "sklearn": """No equivalent: `learning_rate="adaptive"` divides by five, by the training
        loss, and ends the training when it has done so often enough."""
    }
    trap = "The wrong line copies the patience, and every cut comes an epoch later."

    def missing():
        return "factor" not in settings()

    def keras():
        callback = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3, min_delta=1e-4)
        _, rates, _ = told(callback)
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
    """The same two schedules with a threshold of 0.05, absolute in both, on losses a tenth as
    large. A share of a small loss is small, so PyTorch's default mode sees progress where Keras
    sees none."""

    short = {
        "keras": "ReduceLROnPlateau(patience=3, min_delta=0.05)",
        "torch": 'ReduceLROnPlateau(opt, patience=2, threshold=0.05, threshold_mode="abs")',
        "sklearn": None,
    }
    lacks = {
        "sklearn": """No equal: `tol` of `learning_rate="adaptive"` is absolute too, but on the
        training loss."""
    }
    trap = "The wrong line leaves `threshold_mode` at its default."

    def missing():
        return "threshold_mode" not in settings()

    def keras():
        callback = keras.callbacks.ReduceLROnPlateau(patience=3, min_delta=0.05)
        _, rates, _ = told(callback, [0.1 * loss for loss in CURVE])
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
