"""Learning-rate schedules: functions of the epoch, and one that watches the validation loss.

A schedule returns the *factor* on the first learning rate. Epochs are counted from 0: factor(e) is
in force while epoch e is trained, as in a loop that calls `scheduler.step()` at its end.
"""

from collections.abc import Callable, Sequence
from math import cos, inf, isfinite, pi

Schedule = Callable[[int], float]  # epoch, counted from 0, to the factor on the first rate


def constant() -> Schedule:
    """Keep the learning rate.

    Examples
    --------
    >>> from coursekit import schedules
    >>> [schedules.constant()(epoch) for epoch in range(3)]
    [1.0, 1.0, 1.0]
    """
    return lambda epoch: 1.0


def step(milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """Multiply by `gamma` at each milestone: `torch.optim.lr_scheduler.MultiStepLR`.

    Parameters
    ----------
    milestones : increasing sequence of int >= 0
        First epochs with a lower rate. A milestone that stands there twice counts twice.
    gamma : float > 0

    Raises
    ------
    ValueError
        If the milestones are not sorted, or a number is out of range.

    Examples
    --------
    >>> from coursekit import schedules
    >>> factor = schedules.step([2, 4], gamma=0.5)
    >>> [factor(epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    milestones = tuple(milestones)
    if list(milestones) != sorted(milestones) or any(m < 0 for m in milestones):
        raise ValueError(f"expected increasing milestones >= 0, got {milestones}")
    _positive("gamma", gamma)
    return lambda epoch: gamma ** sum(milestone <= epoch for milestone in milestones)


def cosine(epochs: int, lowest: float = 0.0) -> Schedule:
    """Fall from 1 to `lowest` along half a cosine: `CosineAnnealingLR` with T_max = `epochs`.

    The last epoch, `epochs` - 1, still has a factor above `lowest`; from epoch `epochs` on it is
    `lowest`. (PyTorch's rises again there.)

    Parameters
    ----------
    epochs : int >= 1
        Of the whole run: a run that is stopped early has not had the small rates.
    lowest : float in [0, 1]

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Examples
    --------
    >>> from coursekit import schedules
    >>> factor = schedules.cosine(epochs=4)
    >>> [round(factor(epoch), 3) for epoch in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if epochs < 1 or not 0 <= lowest <= 1:
        raise ValueError(f"expected epochs >= 1 and lowest in [0, 1], got {epochs} and {lowest}")
    return lambda epoch: lowest + (1 - lowest) * 0.5 * (1 + cos(pi * min(epoch / epochs, 1)))


def warmup(epochs: int, after: Schedule | None = None, start: float = 0.1) -> Schedule:
    """Rise from `start` to 1 in equal steps, then follow `after`: `LinearLR`, `SequentialLR`.

    Parameters
    ----------
    epochs : int >= 0
        With a smaller rate; epoch `epochs` is the first with the whole one.
    after : Schedule, optional
        Counts its own epochs from 0 when the warm-up is over. Constant by default.
    start : float in (0, 1]

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.

    Examples
    --------
    >>> from coursekit import schedules
    >>> factor = schedules.warmup(2, after=schedules.cosine(4), start=0.5)
    >>> [round(factor(epoch), 3) for epoch in range(6)]
    [0.5, 0.75, 1.0, 0.854, 0.5, 0.146]
    """
    if epochs < 0 or not 0 < start <= 1:
        raise ValueError(f"expected epochs >= 0 and start in (0, 1], got {epochs} and {start}")
    after = after or constant()

    def factor(epoch: int) -> float:
        return start + (1 - start) * epoch / epochs if epoch < epochs else after(epoch - epochs)

    return factor


class ReduceOnPlateau:
    """Multiply the learning rate by `factor` when the watched value stops improving.

    Value by value `torch.optim.lr_scheduler.ReduceLROnPlateau`, with two exceptions: there is no
    `eps` that ignores tiny changes of the rate, and the threshold of a negative value points the
    right way (a fraction of its size; PyTorch multiplies the value itself).

    PyTorch's `patience` counts the bad epochs that are *tolerated*: with patience 5 the rate falls
    after the sixth. A stopper with patience 5 stops after the fifth.

    Parameters
    ----------
    lr : float > 0
    factor : float in (0, 1)
    patience : int >= 0
    mode : {"min", "max"}
    threshold : float in [0, 1)
        An improvement has to beat the best value by more than this fraction of it.
    cooldown : int >= 0
        Epochs after a reduction during which no bad epoch is counted.
    min_lr : float >= 0

    Attributes
    ----------
    lr : float
        In force now.
    best : float

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> from coursekit import schedules
    >>> plateau = schedules.ReduceOnPlateau(lr=0.1, factor=0.5, patience=1)
    >>> [plateau.step(loss) for loss in (1.0, 0.8, 0.9, 0.9, 0.9)]
    [0.1, 0.1, 0.1, 0.05, 0.05]
    """

    def __init__(
        self,
        lr: float,
        factor: float = 0.1,
        patience: int = 10,
        *,
        mode: str = "min",
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        _positive("lr", lr)
        if not 0 < factor < 1:
            raise ValueError(f"expected factor in (0, 1), got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"expected mode 'min' or 'max', got {mode!r}")
        if not 0 <= threshold < 1:
            raise ValueError(f"expected threshold as a fraction in [0, 1), got {threshold}")
        counts = {"patience": patience, "cooldown": cooldown, "min_lr": min_lr}
        for name, value in counts.items():
            if not 0 <= value < inf:
                raise ValueError(f"expected a finite {name} >= 0, got {value}")
        self.lr, self.factor, self.patience = lr, factor, patience
        self.threshold, self.cooldown, self.min_lr = threshold, cooldown, min_lr
        self._sign = 1.0 if mode == "min" else -1.0
        self._record, self._bad, self._resting = inf, 0, 0

    @property
    def best(self) -> float:
        return self._sign * self._record

    def step(self, value: float) -> float:
        """Take the value of the epoch that just ended; return the rate for the next one."""
        signed = self._sign * float(value)
        margin = self.threshold * abs(self._record) if isfinite(self._record) else 0.0
        # NaN compares as False: a broken epoch is a bad one.
        if signed < self._record - margin:
            self._record, self._bad = signed, 0
        else:
            self._bad += 1
        if self._resting:
            self._resting, self._bad = self._resting - 1, 0
        if self._bad > self.patience:
            self.lr = min(self.lr, max(self.lr * self.factor, self.min_lr))
            self._resting, self._bad = self.cooldown, 0
        return self.lr


def _positive(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise ValueError(f"expected a finite {name} > 0, got {value}")
