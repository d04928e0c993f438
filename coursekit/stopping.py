"""When to stop: rules as pure functions of recorded curves, and a stopper for a loop of one's own.

A rule sees a whole validation curve and says where it would have stopped, so one training answers
for every rule and every patience. `train.fit` uses the same functions while it runs. The filter
functions at the end say what stopping does to a linear model, exactly.

Axes: S seeds, T epochs. Epochs are counted from 1.
"""

import copy
from typing import NamedTuple

import numpy as np


class Stop(NamedTuple):
    """Where a rule stopped and what it kept, per seed.

    Attributes
    ----------
    best : (S,) int array
        Epoch whose weights are kept; 0 if no loss was finite.
    last : (S,) int array
        Last epoch that was trained.
    """

    best: np.ndarray
    last: np.ndarray


class Monitor:
    """Follow S validation losses epoch by epoch, by the rule of `patience`.

    Parameters
    ----------
    n_seeds : int
        S.
    patience, min_delta
        As in `patience`.

    Attributes
    ----------
    best, last : (S,) int array
        As in `Stop`, up to now.
    running : (S,) bool array
        Seeds whose patience has not run out.

    Raises
    ------
    ValueError
        If `patience` or `min_delta` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from coursekit import stopping
    >>> monitor = stopping.Monitor(n_seeds=2, patience=1)
    >>> for loss in ([1.0, 1.0], [0.5, 2.0], [0.4, 0.1]):  # each epoch, one loss per seed
    ...     _ = monitor.update(np.array(loss))
    ...
    >>> monitor.best, monitor.running
    (array([3, 1]), array([ True, False]))
    """

    def __init__(self, n_seeds: int, patience: int | None, min_delta: float = 0.0):
        if patience is not None and patience < 1:
            raise ValueError(f"expected patience of at least 1 or None, got {patience}")
        if not 0 <= min_delta < 1:
            raise ValueError(f"expected min_delta as a fraction in [0, 1), got {min_delta}")
        self.patience, self.min_delta = patience, min_delta
        self.best = np.zeros(n_seeds, dtype=int)
        self.last = np.zeros(n_seeds, dtype=int)
        self.running = np.ones(n_seeds, dtype=bool)
        self._record = np.full(n_seeds, np.inf)
        self._epoch = 0

    def update(self, loss: np.ndarray, *, measured: bool = True) -> np.ndarray:
        """Take the next epoch's losses (S,); return which seeds improved, (S,) bool.

        An epoch that was not `measured` stops nobody, however long it is since the best one.
        """
        self._epoch += 1
        self.last[self.running] = self._epoch
        # Before the first finite loss the record is inf, and inf minus a fraction of inf is NaN.
        margin = self.min_delta * np.abs(np.where(np.isinf(self._record), 0.0, self._record))
        # NaN compares as False, so a diverged epoch never becomes the best one.
        improved = self.running & np.isfinite(loss) & (loss < self._record - margin)
        self._record[improved] = loss[improved]
        self.best[improved] = self._epoch
        if self.patience is not None and measured:
            self.running &= self._epoch - self.best < self.patience
        return improved


def patience(loss: np.ndarray, patience: int | None, *, min_delta: float = 0.0) -> Stop:
    """Stop after `patience` epochs in a row without an improvement; keep the best epoch.

    A loss that is not finite is no improvement. The threshold is relative, because an absolute one
    means something else for every loss: below it, nothing ever counts as an improvement.

    Parameters
    ----------
    loss : (S, T) float array
        Validation loss after each epoch; lower is better.
    patience : int or None
        At least 1. None never stops.
    min_delta : float in [0, 1)
        An improvement has to lower the best loss by more than this fraction of it.

    Returns
    -------
    Stop

    Raises
    ------
    ValueError
        If the shape or a setting is out of range.

    References
    ----------
    Prechelt, "Early stopping: but when?", in Neural Networks: Tricks of the Trade, 1998.

    Examples
    --------
    >>> from coursekit import stopping
    >>> loss = [[1.0, 0.6, 0.7, 0.8, 0.5], [1.0, 0.9, 0.8, 0.7, 0.6]]  # two seeds, five epochs
    >>> stop = stopping.patience(loss, patience=2)
    >>> stop.best, stop.last
    (array([2, 5]), array([4, 5]))
    """
    loss = _curves(loss)
    monitor = Monitor(loss.shape[0], patience, min_delta)
    for now in loss.T:
        monitor.update(now)
    return Stop(monitor.best, monitor.last)


def lowest(loss: np.ndarray) -> np.ndarray:
    """Return the epoch of the lowest finite loss per seed, (S,) int; 0 if there is none.

    Raises
    ------
    ValueError
        If the curves are not (S, T).

    Examples
    --------
    >>> from coursekit import stopping
    >>> stopping.lowest([[1.0, 0.6, 0.7, 0.8, 0.5], [1.0, 0.9, 0.8, 0.7, 0.7]])
    array([5, 4])
    """
    return patience(loss, None).best


def first_rise(loss: np.ndarray) -> np.ndarray:
    """Return the epoch before the loss first rises, (S,) int: the rule that noise defeats.

    Turning NaN counts as a rise; a loss that never rises is kept at its last epoch.

    Raises
    ------
    ValueError
        If the curves are not (S, T).

    Examples
    --------
    >>> from coursekit import stopping
    >>> stopping.first_rise([[1.0, 0.6, 0.7, 0.8, 0.5], [1.0, 0.9, 0.8, 0.7, 0.7]])
    array([2, 5])
    """
    loss = _curves(loss)
    rises = ~(loss[:, 1:] <= loss[:, :-1])  # (S, T - 1), True for NaN
    rises = np.pad(rises, ((0, 0), (0, 1)), constant_values=True)  # the end stops everyone
    return rises.argmax(1) + 1


def at(curve: np.ndarray, epochs: np.ndarray | int) -> np.ndarray:
    """Read a recorded curve at one epoch per seed.

    Parameters
    ----------
    curve : (S, T) float array
    epochs : (S,) int array or int
        Counted from 1; negative ones from the end.

    Returns
    -------
    (S,) float array

    Raises
    ------
    ValueError
        If the curves are not (S, T), or an epoch was not recorded.

    Examples
    --------
    >>> from coursekit import stopping
    >>> accuracy = [[0.5, 0.8, 0.7], [0.4, 0.6, 0.9]]
    >>> stopping.at(accuracy, [2, 3])
    array([0.8, 0.9])
    >>> stopping.at(accuracy, -1)
    array([0.7, 0.9])
    """
    curve = _curves(curve)
    n_seeds, n_epochs = curve.shape
    epochs = np.broadcast_to(np.asarray(epochs, dtype=int), (n_seeds,))
    epochs = np.where(epochs < 0, n_epochs + 1 + epochs, epochs)
    if (epochs < 1).any() or (epochs > n_epochs).any():
        raise ValueError(
            f"expected epochs from 1 to {n_epochs}, got {epochs.min()} to {epochs.max()}; "
            "0 marks a seed without any finite loss"
        )
    return curve[np.arange(n_seeds), epochs - 1]


def _curves(loss: np.ndarray) -> np.ndarray:
    loss = np.asarray(loss, dtype=float)
    if loss.ndim != 2 or loss.shape[1] == 0:
        raise ValueError(f"expected curves of shape (seeds, epochs), got {loss.shape}")
    return loss


class EarlyStopping:
    """Stop a training loop of one's own, and give back the weights of its best epoch.

    ::

        with EarlyStopping(net, patience=10) as stopper:
            for epoch in range(200):
                train_one_epoch(net)
                if stopper.update(validation_loss(net)):
                    break
        print(stopper)  # best epoch 17 of 27, value 0.412

    Leaving the block restores the best weights, whether patience ran out, the epochs did, or
    somebody pressed Ctrl-C. When to stop and what to keep are decided in one place.

    Parameters
    ----------
    model : nn.Module
        Or anything else with `state_dict` and `load_state_dict`.
    patience : int or None
        Stop after so many epochs in a row without an improvement. None never stops.
    mode : {"min", "max"}
        Whether lower values are better (a loss) or higher ones (an accuracy).
    min_delta : float in [0, 1)
        An improvement has to beat the best value by more than this fraction of it.

    Attributes
    ----------
    best_epoch, epoch : int
        Best epoch and last one, counted from 1; `best_epoch` is 0 before the first finite value.
    best_value : float
        NaN before the first finite value.

    Raises
    ------
    ValueError
        If a setting is out of range.

    References
    ----------
    Prechelt, "Early stopping: but when?", in Neural Networks: Tricks of the Trade, 1998.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.stopping import EarlyStopping
    >>> with EarlyStopping(nn.Linear(2, 1), patience=2) as stopper:
    ...     for loss in (1.0, 0.5, 0.6, 0.7, 0.1):  # measured after each epoch
    ...         if stopper.update(loss):
    ...             break
    ...
    >>> stopper
    best epoch 2 of 4, value 0.5
    """

    def __init__(
        self, model, patience: int | None = 10, *, mode: str = "min", min_delta: float = 0.0
    ):
        if mode not in ("min", "max"):
            raise ValueError(f"expected mode 'min' or 'max', got {mode!r}")
        self.model, self._sign = model, 1.0 if mode == "min" else -1.0
        self._monitor = Monitor(1, patience, min_delta)
        self._state = None
        self.best_value = float("nan")

    @property
    def best_epoch(self) -> int:
        return int(self._monitor.best[0])

    @property
    def epoch(self) -> int:
        return int(self._monitor.last[0])

    def update(self, value: float) -> bool:
        """Take the value of the epoch that just ended; return whether to stop now."""
        value = float(value)
        if self._monitor.update(np.array([self._sign * value]))[0]:
            self.best_value = value
            # Deep: `state_dict().copy()` is a new dictionary of the very tensors that training
            # goes on changing, buffers included.
            self._state = copy.deepcopy(self.model.state_dict())
        return not self._monitor.running[0]

    def restore(self) -> None:
        """Put the best weights back; the weights stay as they are if no value was finite."""
        if self._state is not None:
            self.model.load_state_dict(self._state)

    def __enter__(self) -> "EarlyStopping":
        return self

    def __exit__(self, *error) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"best epoch {self.best_epoch} of {self.epoch}, value {self.best_value:.4g}"


def gd_filter(s2: np.ndarray, lr: float, t: int) -> np.ndarray:
    """Return the share 1 - (1 - lr s^2)^t of each least-squares coefficient that t steps reach.

    By gradient descent on |X w - y|^2 / 2 from 0, in the basis of X's right singular vectors.

    Parameters
    ----------
    s2 : (D,) array of squared singular values of X, >= 0
    lr : float
        Between 0 and 2 / max(s2); above that the steps diverge.
    t : int >= 0
        Steps.

    Returns
    -------
    (D,) float array

    Raises
    ------
    ValueError
        If `lr` would diverge, `t` is negative, or `s2` is empty, negative or not finite.

    References
    ----------
    Bishop, "Regularization and complexity control in feed-forward networks", ICANN 1995.

    Examples
    --------
    >>> from coursekit import stopping
    >>> stopping.gd_filter([4.0, 0.04], lr=0.25, t=10).round(3)  # the steep one arrives first
    array([1.   , 0.096])
    """
    s2 = _spectrum(s2)
    limit = 2 / s2.max() if s2.max() > 0 else np.inf
    if not 0 < lr < limit:
        raise ValueError(f"expected lr in (0, 2 / max(s2) = {limit:.4g}), got {lr}")
    if t < 0:
        raise ValueError(f"expected t >= 0 steps, got {t}")
    return 1 - (1 - lr * s2) ** t


def ridge_filter(s2: np.ndarray, strength: float) -> np.ndarray:
    """Return which share of each least-squares coefficient ridge keeps: s^2 / (s^2 + strength).

    For the loss |X w - y|^2 / 2 + strength |w|^2 / 2. Shapes as in `gd_filter`.

    Raises
    ------
    ValueError
        If the strength is not positive, or `s2` is empty, negative or not finite.

    References
    ----------
    Hoerl and Kennard, "Ridge regression", Technometrics 12, 1970.

    Examples
    --------
    >>> from coursekit import stopping
    >>> stopping.ridge_filter([4.0, 0.04], stopping.matching_strength(lr=0.25, t=10)).round(3)
    array([0.909, 0.091])
    """
    s2 = _spectrum(s2)
    if not 0 < strength < np.inf:
        raise ValueError(f"expected a finite strength > 0, got {strength}")
    return s2 / (s2 + strength)


def matching_strength(lr: float, t: int) -> float:
    """Return the ridge strength 1 / (lr t) that resembles `t` steps of gradient descent.

    Where lr t s^2 is small, both filters are lr t s^2 to first order; where it is large, both are
    near 1. Between, ridge keeps less: by at most 0.20 in the limit of small steps.

    Raises
    ------
    ValueError
        If `lr` is not positive, or `t` is below 1.

    References
    ----------
    Ali, Kolter and Tibshirani, "A continuous-time view of early stopping for least squares
    regression", AISTATS 2019.

    Examples
    --------
    >>> from coursekit import stopping
    >>> stopping.matching_strength(lr=0.25, t=10)
    0.4
    """
    if not (0 < lr < np.inf and t >= 1):
        raise ValueError(f"expected a finite lr > 0 and t >= 1 steps, got {lr} and {t}")
    return 1 / (lr * t)


def _spectrum(s2: np.ndarray) -> np.ndarray:
    s2 = np.asarray(s2, dtype=float)
    if s2.size == 0 or not (np.isfinite(s2) & (s2 >= 0)).all():
        raise ValueError(f"expected finite squared singular values >= 0, got {s2}")
    return s2
