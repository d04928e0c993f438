"""Numbers that describe predictions: accuracy, losses, calibration, bias and variance.

Axes: S seeds, N examples, C classes, R training sets. What takes (S, N, C) also takes (N, C), and
then returns a number instead of (S,).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax


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
        If the shapes do not match or a value is not finite.

    Examples
    --------
    >>> from coursekit import measure
    >>> logits = [[[2.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 0.0]]]  # two networks, two examples
    >>> measure.accuracy(logits, [0, 1])
    array([1. , 0.5])
    """
    logits, labels = _checked(logits, labels)
    return (logits.argmax(-1) == labels).mean(-1)


def nll(logits, labels) -> np.ndarray:
    """Mean negative log-likelihood in nats: the cross-entropy. Parameters as in `accuracy`.

    Returns
    -------
    (...) float array, at least 0

    Raises
    ------
    ValueError
        If the shapes do not match or a value is not finite.

    Examples
    --------
    >>> from coursekit import measure
    >>> round(float(measure.nll([[0.0, 0.0]], [1])), 4)  # the logarithm of 2
    0.6931
    """
    logits, labels = _checked(logits, labels)
    log_p = log_softmax(logits, axis=-1)
    index = np.broadcast_to(labels, logits.shape[:-1])[..., None]
    return -np.take_along_axis(log_p, index, axis=-1)[..., 0].mean(-1)


def brier(logits, labels) -> np.ndarray:
    """Mean squared distance between probabilities and the one-hot label, in [0, 2].

    Parameters as in `accuracy`.

    Returns
    -------
    (...) float array in [0, 2]

    Raises
    ------
    ValueError
        If the shapes do not match or a value is not finite.

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
    return ((softmax(logits, axis=-1) - one_hot) ** 2).sum(-1).mean(-1)


def ece(logits, labels, *, bins: int = 15) -> np.ndarray:
    """Expected calibration error: how far confidence and accuracy are apart, in [0, 1].

    Examples are put into `bins` intervals of equal width by the probability of the predicted
    class, closed on the right. Per interval, |accuracy - mean confidence|; then the mean over
    intervals, weighted by their number of examples.

    Parameters
    ----------
    logits, labels
        As in `accuracy`.
    bins : int
        At least 1. The value depends on it, and is biased upward when examples are few.

    Returns
    -------
    (...) float array

    Raises
    ------
    ValueError
        If the shapes do not match, a value is not finite, or `bins` is below 1.

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
    if bins < 1:
        raise ValueError(f"expected at least 1 bin, got {bins}")
    logits, labels = _checked(logits, labels)
    p = softmax(logits, axis=-1)
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
    predictions, truth = np.asarray(predictions, float), np.asarray(truth, float)
    fits = predictions.ndim in (2, 3) and predictions.shape[1:] == truth.shape
    if not fits or len(predictions) < 2:
        raise ValueError(
            "expected predictions (R, N) or (R, N, C) with R of at least 2 and a truth of shape "
            f"(N,) or (N, C), got {predictions.shape} and {truth.shape}"
        )
    if not (np.isfinite(predictions).all() and np.isfinite(truth).all()):
        raise ValueError("expected finite predictions and truth, got NaN or infinity")
    mean = predictions.mean(0)
    per_input = 1 if truth.ndim == 1 else truth.shape[1]  # sum over classes, mean over inputs
    return Decomposition(
        bias2=float(((mean - truth) ** 2).mean() * per_input),
        variance=float(((predictions - mean) ** 2).mean() * per_input),
        error=float(((predictions - truth) ** 2).mean() * per_input),
    )


def _checked(logits, labels) -> tuple[np.ndarray, np.ndarray]:
    # A tensor may sit on a GPU or carry gradients, where numpy cannot read it.
    logits, labels = (a.detach().cpu() if hasattr(a, "detach") else a for a in (logits, labels))
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if labels.ndim != 1 or logits.ndim < 2 or logits.shape[-2] != labels.size or not labels.size:
        raise ValueError(
            f"expected logits (..., N, C) and labels (N,), got {logits.shape} and {labels.shape}"
        )
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits, got NaN or infinity; did a network diverge?")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(f"expected integer labels from 0, got dtype {labels.dtype}")
    if labels.max() >= logits.shape[-1]:
        raise ValueError(f"expected labels below {logits.shape[-1]}, got {labels.max()}")
    return logits, labels
