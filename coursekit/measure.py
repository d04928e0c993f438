"""Numbers that describe predictions: accuracy, losses, calibration, bias and variance.

Axes: S seeds, N examples, C classes, R training sets. What takes (S, N, C) also takes (N, C), and
then returns a number instead of (S,).

A network's outputs are logits. Probabilities are told from them by their rows, which sum to 1, and
are refused by default: made into probabilities once more, they would give numbers that look right.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

from coursekit.datasets.values import array, expect, floats, number

SUM_ERROR = 0.01  # of a row of probabilities, in half precision


def accuracy(logits, labels) -> np.ndarray:
    """Fraction of examples whose largest logit is the label.

    Parameters
    ----------
    logits : (..., N, C) array or tensor
        Probabilities will do as well.
    labels : (N,) int array or tensor

    Returns
    -------
    (...) float array

    Raises
    ------
    ValueError
        If the shapes do not match, there are fewer than two classes, or a value is not finite.

    Examples
    --------
    >>> from coursekit import measure
    >>> logits = [[[2.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 0.0]]]  # two networks, two examples
    >>> measure.accuracy(logits, [0, 1])
    array([1. , 0.5])
    """
    logits, labels = _checked(logits, labels)
    return (logits.argmax(-1) == labels).mean(-1)


def nll(logits, labels, *, probs: bool | None = None) -> np.ndarray:
    """Mean negative log-likelihood in nats: the cross-entropy.

    Parameters
    ----------
    logits, labels
        As in `accuracy`.
    probs : bool, optional
        True: `logits` are probabilities. False: they are logits, even if each row sums to 1. By
        default they are logits, and rows that sum to 1 (or to 100 percent) are refused.

    Returns
    -------
    (...) float array, at least 0
        Infinite where a label has probability 0.

    Raises
    ------
    ValueError
        As `accuracy`, and if probabilities come where logits are expected, or the other way round.

    Examples
    --------
    >>> from coursekit import measure
    >>> round(float(measure.nll([[0.0, 0.0]], [1])), 4)  # the logarithm of 2
    0.6931
    >>> round(float(measure.nll([[0.5, 0.5]], [1], probs=True)), 4)
    0.6931
    """
    logits, labels = _checked(logits, labels)
    if _are_probs(logits, probs):
        with np.errstate(divide="ignore"):
            log_p = np.log(logits)
    else:
        log_p = log_softmax(logits, axis=-1)
    index = np.broadcast_to(labels, logits.shape[:-1])[..., None]
    return -np.take_along_axis(log_p, index, axis=-1)[..., 0].mean(-1)


def brier(logits, labels, *, probs: bool | None = None) -> np.ndarray:
    """Mean squared distance between probabilities and the one-hot label, in [0, 2].

    Parameters as in `nll`.

    Returns
    -------
    (...) float array in [0, 2]

    Raises
    ------
    ValueError
        As `nll`.

    References
    ----------
    Brier, "Verification of forecasts expressed in terms of probability", 1950.

    Examples
    --------
    >>> from coursekit import measure
    >>> float(measure.brier([[0.0, 0.0]], [1]))
    0.5
    """
    logits, labels = _checked(logits, labels)
    one_hot = np.eye(logits.shape[-1])[labels]
    p = logits if _are_probs(logits, probs) else softmax(logits, axis=-1)
    return ((p - one_hot) ** 2).sum(-1).mean(-1)


def ece(logits, labels, *, bins: int = 15, probs: bool | None = None) -> np.ndarray:
    """Expected calibration error: how far confidence and accuracy are apart, in [0, 1].

    Examples are put into `bins` intervals of equal width by the probability of the predicted
    class, closed on the right. Per interval, |accuracy - mean confidence|; then the mean over
    intervals, weighted by their number of examples.

    Parameters
    ----------
    logits, labels, probs
        As in `nll`.
    bins : int
        At least 1. The value depends on it, and is biased upward when examples are few.

    Returns
    -------
    (...) float array

    Raises
    ------
    ValueError
        As `nll`, and if `bins` is no whole number above 0.

    References
    ----------
    Guo et al., "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from coursekit import measure
    >>> logits = [[9.0, 0.0], [9.0, 0.0]]  # sure of class 0, and right half of the time
    >>> round(float(measure.ece(logits, [0, 1])), 2)
    0.5
    """
    bins = number("bins", bins, "[1, inf)", "bins=15", whole=True)
    logits, labels = _checked(logits, labels)
    p = logits if _are_probs(logits, probs) else softmax(logits, axis=-1)
    confidence, right = p.max(-1), p.argmax(-1) == labels
    which = np.searchsorted(np.arange(1, bins) / bins, confidence)  # "left": edge goes below
    gaps = [np.abs(((right - confidence) * (which == b)).sum(-1)) for b in range(bins)]
    return np.sum(gaps, axis=0) / labels.size


@dataclass(frozen=True)
class Decomposition:
    """Expected squared error of a learner, split: `error = bias2 + variance` exactly.

    Attributes
    ----------
    bias2 : float
        Squared distance between the mean prediction and the truth.
    variance : float
        Mean squared distance of one prediction from the mean prediction.
    error : float
        Mean squared distance of one prediction from the truth.
    """

    bias2: float
    variance: float
    error: float


def bias_variance(predictions, truth) -> Decomposition:
    """Split the squared error of a learner over many training sets.

    Parameters
    ----------
    predictions : (R, N) or (R, N, C) array
        Predictions at the same N inputs after training on R training sets.
    truth : (N,) or (N, C) array
        The *noise-free* target. With noisy targets, the noise would be counted as bias.

    Returns
    -------
    Decomposition
        Means over inputs, sums over classes. `variance` divides by R, which makes the identity
        exact; it is too small by the factor (R - 1) / R, and `bias2` too large by the same amount.

    Raises
    ------
    ValueError
        If there are fewer than two training sets, or shapes do not match.

    References
    ----------
    Geman, Bienenstock and Doursat, "Neural networks and the bias/variance dilemma", 1992.

    Examples
    --------
    >>> from coursekit import measure
    >>> measure.bias_variance([[1.0, 2.0], [3.0, 2.0]], truth=[1.0, 1.0])
    Decomposition(bias2=1.0, variance=0.5, error=1.5)
    """
    predictions, truth = floats("predictions", predictions), floats("truth", truth)
    fits = predictions.ndim in (2, 3) and predictions.shape[1:] == truth.shape
    if not fits or len(predictions) < 2:
        raise ValueError(
            "expected predictions (R, N) or (R, N, C) with R of at least 2 and a truth of shape "
            f"(N,) or (N, C), got {predictions.shape} and {truth.shape}; try np.stack(predictions)"
        )
    finite = bool(np.isfinite(predictions).all() and np.isfinite(truth).all() and truth.size)
    advice = "leaving out those that diverged"
    expect(finite, "finite predictions and truth", "NaN, infinity or none", advice)
    mean = predictions.mean(0)
    per_input = 1 if truth.ndim == 1 else truth.shape[1]  # sum over classes, mean over inputs
    return Decomposition(
        bias2=float(((mean - truth) ** 2).mean() * per_input),
        variance=float(((predictions - mean) ** 2).mean() * per_input),
        error=float(((predictions - truth) ** 2).mean() * per_input),
    )


def _checked(logits, labels) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = floats("logits", logits), array("labels", labels)
    if labels.ndim != 1 or logits.ndim < 2 or logits.shape[-2] != labels.size or not labels.size:
        advice = "labels.argmax(-1) for one-hot labels" if labels.ndim == 2 else "logits[None]"
        got = f"{logits.shape} and {labels.shape}"
        raise ValueError(f"expected logits (..., N, C) and labels (N,), got {got}; try {advice}")
    n_classes = logits.shape[-1]
    advice = "np.stack([0 * z, z], -1) for one logit z per example"
    expect(n_classes > 1, "logits of two classes or more", f"shape {logits.shape}", advice)
    if not np.isfinite(logits).all():
        raise ValueError(
            "expected finite logits, got NaN or infinity; did a network diverge? try runs.diverged"
        )
    integer = np.issubdtype(labels.dtype, np.integer)
    got = f"dtype {labels.dtype}" if not integer else labels.min()
    advice = "labels.astype(int)" if not integer else "numbers from 0"
    expect(integer and labels.min() >= 0, "integer labels from 0", got, advice)
    advice = "labels - 1 if they count from 1"
    expect(labels.max() < n_classes, f"labels below {n_classes}", labels.max(), advice)
    return logits, labels


def _are_probs(values: np.ndarray, probs: bool | None) -> bool:
    """Whether the values are probabilities, as `probs` says; ValueError where they look otherwise.

    Rows of logits that sum to 1 by chance are told by probs=False.
    """
    if probs is False:
        return False
    sums, least = values.sum(-1), values.min()
    ones = least >= 0 and bool((abs(sums - 1) <= SUM_ERROR).all())
    if probs:
        got = f"values from {least:.4g} and sums from {sums.min():.4g} to {sums.max():.4g}"
        what = "probabilities in [0, 1] whose rows sum to 1"
        expect(ones, what, got, "probs=False for logits, or values / 100 for percent")
        return True
    percent = least >= 0 and bool((abs(sums - 100) <= 100 * SUM_ERROR).all())
    got = "rows that sum to 1, as probabilities do" if ones else "rows that sum to 100, as percent"
    advice = "probs=True for probabilities (percent / 100), or probs=False if they are logits"
    expect(not (ones or percent), "logits", got, advice)
    return False
