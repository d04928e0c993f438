"""When to stop: rules as pure functions of recorded curves.

A rule sees a whole validation curve and says where it would have stopped, so one training answers
for every rule and every patience. `train.fit` uses the same functions while it runs.

Axes: S seeds, T epochs. Epochs are counted from 1.
"""

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

    Attributes
    ----------
    best, last : (S,) int array
        As in `Stop`, up to now.
    running : (S,) bool array
        Seeds whose patience has not run out.
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

    def update(self, loss: np.ndarray) -> np.ndarray:
        """Take the next epoch's losses (S,); return which seeds improved, (S,) bool."""
        self._epoch += 1
        self.last[self.running] = self._epoch
        # Before the first finite loss the record is inf, and inf minus a fraction of inf is NaN.
        margin = self.min_delta * np.abs(np.where(np.isinf(self._record), 0.0, self._record))
        # NaN compares as False, so a diverged epoch never becomes the best one.
        improved = self.running & np.isfinite(loss) & (loss < self._record - margin)
        self._record[improved] = loss[improved]
        self.best[improved] = self._epoch
        if self.patience is not None:
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
    """
    loss = _curves(loss)
    monitor = Monitor(loss.shape[0], patience, min_delta)
    for now in loss.T:
        monitor.update(now)
    return Stop(monitor.best, monitor.last)


def lowest(loss: np.ndarray) -> np.ndarray:
    """Return the epoch of the lowest finite loss per seed, (S,) int; 0 if there is none."""
    return patience(loss, None).best


def first_rise(loss: np.ndarray) -> np.ndarray:
    """Return the epoch before the loss first rises, (S,) int: the rule that noise defeats.

    Turning NaN counts as a rise; a loss that never rises is kept at its last epoch.
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
        If an epoch was not recorded.
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
