"""Intervals and probabilities for paired differences: one number per seed, one seed one draw.

Axes: S seeds, N test examples, M hypotheses.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are first used: `stats` takes a second

from coursekit.datasets.values import array, expect, floats, number


class Interval(NamedTuple):
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def paired_interval(control, treated, *, confidence: float = 0.95) -> Interval:
    """Student's t interval for the mean of `treated - control`, paired by seed.

    Parameters
    ----------
    control, treated : (S,) arrays
        One value per seed, in the same order; either may be a single number.
    confidence : float in (0, 1)

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If lengths differ, a value is not finite, there are fewer than two seeds, or `confidence` is
        outside (0, 1).

    References
    ----------
    Student, "The probable error of a mean", Biometrika 6, 1908.

    Examples
    --------
    >>> from coursekit import intervals
    >>> control, treated = [0.90, 0.92, 0.88, 0.91], [0.92, 0.93, 0.91, 0.92]  # four seeds
    >>> interval = intervals.paired_interval(control, treated)
    >>> print("{:.4f} [{:.4f}, {:.4f}]".format(*interval))
    0.0175 [0.0023, 0.0327]
    """
    return t_interval(differences(control, treated), confidence)


def crossed_interval(d, *, confidence: float = 0.95) -> Interval:
    """Interval for the mean of differences that cross seeds and test examples.

    Seeds and test examples are both drawn by chance: the variance of the mean is
    s_seeds^2 / S + s_examples^2 / N, with s_seeds the spread of the differences' means from seed
    to seed, s_examples that from example to example, and Satterthwaite's degrees of freedom.
    `paired_interval` counts the seeds only, and so speaks of these very test examples.

    Parameters
    ----------
    d : (S, N) array
        What seed s gains on test example n, or any score of it.
    confidence : float in (0, 1)

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If `d` is no such table, has fewer than two seeds or examples, or holds a value that is not
        finite, or if `confidence` is outside (0, 1).

    References
    ----------
    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics 2,
    1946.

    Examples
    --------
    >>> from coursekit import intervals
    >>> d = [[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]]  # 3 seeds, 4 digits
    >>> print("{:.2f} [{:.2f}, {:.2f}]".format(*intervals.crossed_interval(d)))
    0.67 [0.09, 1.25]
    """
    number("confidence", confidence, "(0, 1)", "confidence=0.95")
    d = floats("d", d)
    if d.ndim != 2 or min(d.shape) < 2:
        raise ValueError(
            f"expected a table (S, N) of at least 2 seeds and 2 test examples, got {d.shape}; "
            "for one value per seed try intervals.paired_interval"
        )
    if not np.isfinite(d).all():
        seeds = np.flatnonzero(~np.isfinite(d).all(1)).tolist()
        raise ValueError(
            f"expected finite values, got NaN or infinity for seeds at positions {seeds}; "
            "look at runs.diverged"
        )
    # The ledger's `rule.standard_error` for one difference. A test holds the two equal: the rule
    # stands under its own fingerprint and imports nothing from here.
    (n_seeds, n_examples), mean = d.shape, float(d.mean())
    a, b = d.mean(1).var(ddof=1) / n_seeds, d.mean(0).var(ddof=1) / n_examples
    parts = a**2 / (n_seeds - 1) + b**2 / (n_examples - 1)
    df = (a + b) ** 2 / parts if parts > 0 else n_seeds - 1
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, df) * np.sqrt(a + b))
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    control, treated, *, confidence: float = 0.95, resamples: int = 5000
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval: a check on `paired_interval`.

    It does not assume normal differences, but is too narrow with few seeds. Arguments as in
    `paired_interval`; the resampling is seeded.

    Raises
    ------
    ValueError
        As `paired_interval`, and if `resamples` is no whole number above 0.

    References
    ----------
    Efron, "Better bootstrap confidence intervals", JASA 82, 1987.

    Examples
    --------
    >>> from coursekit import intervals
    >>> control, treated = [0.90, 0.92, 0.88, 0.91], [0.92, 0.93, 0.91, 0.92]
    >>> interval = intervals.bootstrap_interval(control, treated)
    >>> bool(interval.low > 0)
    True
    """
    d = differences(control, treated)
    number("confidence", confidence, "(0, 1)", "confidence=0.95")
    resamples = number("resamples", resamples, "[1, inf)", "resamples=5000", whole=True)
    mean = float(d.mean())
    if np.ptp(d) == 0:
        return Interval(mean, mean, mean)
    found = scipy.stats.bootstrap(
        (d,), np.mean, confidence_level=confidence, n_resamples=resamples, rng=0
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def jackknife(statistic: Callable[[np.ndarray], float], samples: np.ndarray) -> np.ndarray:
    """Turn any statistic of S seeds into S values, so that it can be judged like a mean.

    Pseudo-value s is `S * statistic(all) - (S - 1) * statistic(all but s)`. For the mean it is
    sample s itself. For a standard deviation, or a bias and variance over training sets, the mean
    of the pseudo-values estimates the statistic (with less bias) and their spread its error.

    Parameters
    ----------
    statistic : callable
        (S, ...) array to a number.
    samples : (S, ...) array
        S of at least 3.

    Returns
    -------
    (S,) float array

    Raises
    ------
    ValueError
        If there are fewer than three samples, one is not finite, or the statistic gives no finite
        number.

    References
    ----------
    Tukey, "Bias and confidence in not quite large samples", Ann. Math. Stat. 29, 1958.

    Examples
    --------
    >>> import numpy as np
    >>> from coursekit import intervals
    >>> intervals.jackknife(np.std, [1.0, 2.0, 6.0]).round(2)  # judge these as if they were means
    array([2.48, 1.48, 5.48])
    """
    samples = array("samples", samples)
    n = len(samples) if samples.ndim else 0
    if n < 3:
        raise ValueError(f"expected at least 3 samples, got {n}; try more seeds")
    finite = bool(np.isfinite(samples).all())
    expect(finite, "finite samples", "NaN or infinity", "leaving out those that diverged")
    expect(callable(statistic), "a statistic to call", type(statistic).__name__, "np.std")
    whole = statistic(samples)
    without = np.array([statistic(np.delete(samples, s, axis=0)) for s in range(n)])
    fits = np.ndim(whole) == 0 and bool(
        np.isfinite(floats("the statistic", [whole, *without])).all()
    )
    what, advice = "a statistic that gives one finite number", "a mean over all axes at its end"
    expect(fits, what, f"shape {np.shape(whole)}, {whole}"[:80], advice)
    return n * whole - (n - 1) * without


def holm(p_values) -> np.ndarray:
    """Adjust p-values for testing several hypotheses at once, by Holm's step-down method.

    Parameters
    ----------
    p_values : (M,) array in [0, 1]

    Returns
    -------
    (M,) float array
        In the order given. Rejecting those at most 0.05 keeps the chance of any false rejection
        at 5 %, however the tests depend on each other.

    Raises
    ------
    ValueError
        If a p-value is outside [0, 1], or there is none.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 1979.

    Examples
    --------
    >>> from coursekit import intervals
    >>> intervals.holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = floats("p-values", p_values)
    if p.ndim != 1 or not p.size or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"expected a list of p-values in [0, 1], got {p_values}; try shares instead of percent"
        )
    order = p.argsort()
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped.clip(max=1)
    return adjusted


def p_wrong_sign(effect: float, sd: float, n_seeds: int = 1) -> float:
    """Probability that the mean of `n_seeds` normal differences has the wrong sign.

    Parameters
    ----------
    effect, sd : float
        True mean and standard deviation of one paired difference; `sd` above 0.
    n_seeds : int

    Returns
    -------
    float in [0, 0.5]

    Raises
    ------
    ValueError
        If `sd` is not positive, a number is not finite, or there is no seed.

    Examples
    --------
    >>> from coursekit import intervals
    >>> round(intervals.p_wrong_sign(effect=1.0, sd=2.0), 2)  # one seed
    0.31
    >>> round(intervals.p_wrong_sign(effect=1.0, sd=2.0, n_seeds=12), 2)
    0.04
    """
    number("effect", effect)
    number("sd", sd, "(0, inf)", "np.std(differences, ddof=1)")
    n_seeds = number("n_seeds", n_seeds, "[1, inf)", "n_seeds=16", whole=True)
    return float(scipy.stats.norm.cdf(-abs(effect) * np.sqrt(n_seeds) / sd))


def differences(control, treated) -> np.ndarray:
    """Return `treated - control` per seed, (S,). Parameters and errors as in `paired_interval`.

    Examples
    --------
    >>> from coursekit import intervals
    >>> intervals.differences([1.0, 2.0], [1.5, 2.0])
    array([0.5, 0. ])
    """
    control, treated = floats("control", control), floats("treated", treated)
    if max(control.ndim, treated.ndim) != 1 or (
        control.ndim == treated.ndim and control.shape != treated.shape
    ):
        raise ValueError(
            f"expected one value per seed in each arm, got {control.shape} and {treated.shape}; "
            "pick an epoch first, as in runs.val_loss[:, -1]"
        )
    d = treated - control
    if not np.isfinite(d).all():
        raise ValueError(
            f"expected finite values, got NaN or infinity at positions "
            f"{np.flatnonzero(~np.isfinite(d)).tolist()}; look at runs.diverged"
        )
    if d.size < 2:
        raise ValueError(
            f"expected at least 2 seeds, got {d.size}: one seed has no spread; try n_seeds=16"
        )
    return d


def t_interval(d: np.ndarray, confidence: float) -> Interval:
    """Student's interval for the mean of differences (S,).

    Raises
    ------
    ValueError
        If there are fewer than two differences, one is not finite, or `confidence` is outside
        (0, 1).

    References
    ----------
    Student, "The probable error of a mean", Biometrika 6, 1908.

    Examples
    --------
    >>> import numpy as np
    >>> from coursekit import intervals
    >>> interval = intervals.t_interval(np.array([1.0, 2.0, 3.0]), confidence=0.95)
    >>> print("{:.2f} [{:.2f}, {:.2f}]".format(*interval))
    2.00 [-0.48, 4.48]
    """
    number("confidence", confidence, "(0, 1)", "confidence=0.95")
    d = differences(0.0, d)
    mean = float(d.mean())
    half = scipy.stats.t.ppf((1 + confidence) / 2, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size)
    return Interval(mean, mean - float(half), mean + float(half))
