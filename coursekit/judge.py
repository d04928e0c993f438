"""From paired runs to a verdict, by a rule that is fixed before the runs.

The two arms of a comparison share their seeds, so seed s gives one *difference*. The interval of
the mean difference is compared with the smallest effect that would matter, on the predicted side:

    supported       the whole interval lies beyond the smallest effect
    no difference   it lies within plus or minus the smallest effect
    contradicted    it ends short of the smallest effect, and reaches past it on the other side
    undecided       it contains the smallest effect: more seeds are needed, nothing is refuted
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats

OUTCOMES = ("supported", "contradicted", "no difference", "undecided")
ALPHA = 0.05  # chance of a wrong decision: of one verdict alone, and of a family together


class Metric(NamedTuple):
    """How to print a metric, and the smallest change of it that matters (in the printed unit)."""

    unit: str
    scale: float
    smallest: float


METRICS = {
    "accuracy": Metric("points", 100.0, 1.0),
    "nll": Metric("nats", 1.0, 0.02),
    "r2": Metric("of R2", 1.0, 0.01),
}


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
        If lengths differ, a value is not finite, or there are fewer than two seeds.

    References
    ----------
    Student, "The probable error of a mean", Biometrika 6, 1908.
    """
    return _t_interval(_differences(control, treated), confidence)


def bootstrap_interval(
    control, treated, *, confidence: float = 0.95, resamples: int = 5000
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval: a check on `paired_interval`.

    It does not assume normal differences, but is too narrow with few seeds. Arguments as in
    `paired_interval`; the resampling is seeded.

    References
    ----------
    Efron, "Better bootstrap confidence intervals", JASA 82, 1987.
    """
    d = _differences(control, treated)
    mean = float(d.mean())
    if np.ptp(d) == 0:
        return Interval(mean, mean, mean)
    found = stats.bootstrap(
        (d,), np.mean, confidence_level=confidence, n_resamples=resamples, rng=0
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


@dataclass(frozen=True)
class Verdict:
    """A prediction confronted with paired runs. Printing it gives the sentence for the notebook.

    Attributes
    ----------
    prediction : str
        What was predicted, as a sentence.
    differences : tuple of float
        treated - control per seed, in `unit`.
    direction : {+1, -1}
        Whether the prediction is that the treated arm is higher or lower.
    smallest : float
        The smallest effect that matters, in `unit`.
    unit : str
    confidence : float
        Level of this interval; above 0.95 where a family of verdicts shares the 5 %.
    family : int
        Number of verdicts that were corrected together.
    """

    prediction: str
    differences: tuple[float, ...]
    direction: int
    smallest: float
    unit: str = ""
    confidence: float = 0.95
    family: int = 1

    @property
    def interval(self) -> Interval:
        return _t_interval(np.array(self.differences), self.confidence)

    @property
    def effect(self) -> float:
        return float(np.mean(self.differences))

    @property
    def n_seeds(self) -> int:
        return len(self.differences)

    @property
    def outcome(self) -> str:
        _, low, high = self.interval
        if self.direction < 0:
            low, high = -high, -low
        if low > self.smallest:
            return "supported"
        if high >= self.smallest:
            return "undecided"
        return "no difference" if low > -self.smallest else "contradicted"

    @property
    def evidence(self) -> str:
        mean, low, high = self.interval
        # Two significant digits of the smallest effect are as much as the reader can use.
        digits = max(1, 1 - int(np.floor(np.log10(self.smallest))))
        effect, low, high = (f"{value:+.{digits}f}" for value in (mean, low, high))
        unit = f" {self.unit}" if self.unit else ""
        return f"{effect}{unit} [{low}, {high}], {self.n_seeds} seeds"

    def __str__(self) -> str:
        kind = "95 % interval" if self.family == 1 else f"corrected for {self.family}"
        text = self.evidence.replace(" [", f", {kind} [", 1)
        return f"{self.prediction}: {self.outcome} ({text})"

    __repr__ = __str__


def raises(
    prediction: str,
    control,
    treated,
    metric: str | None = None,
    *,
    smallest: float | None = None,
    unit: str = "",
) -> Verdict:
    """Judge the prediction that `treated` is higher than `control`.

    Parameters
    ----------
    prediction : str
        The sentence that is judged.
    control, treated : (S,) arrays
        One value per seed, paired; either may be a single number.
    metric : {"accuracy", "nll", "r2"}, optional
        Sets scale, unit and smallest effect.
    smallest : float, optional
        The smallest effect that matters, in the unit of the differences; needed without a metric.
    unit : str

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If the arms do not pair up, or no smallest effect above 0 is given.
    """
    return _judge(prediction, control, treated, +1, metric, smallest, unit)


def lowers(
    prediction: str,
    control,
    treated,
    metric: str | None = None,
    *,
    smallest: float | None = None,
    unit: str = "",
) -> Verdict:
    """Judge the prediction that `treated` is lower than `control`. Arguments as in `raises`."""
    return _judge(prediction, control, treated, -1, metric, smallest, unit)


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

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 1979.
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not p.size or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"expected a list of p-values in [0, 1], got {p_values}")
    order = p.argsort()
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped.clip(max=1)
    return adjusted


def together(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Correct several verdicts so that the chance of *any* wrong decision is at most 5 %.

    Holm's method on the decisions: the clearest of M verdicts is taken at confidence
    1 - 0.05/M, the next at 1 - 0.05/(M-1), and so on until one is not settled, which means that
    its interval holds plus or minus the smallest effect; that one and all after it keep that level.

    The 5 % are a theorem for independent verdicts on normal differences, although each verdict
    has several ways to be wrong. Under the worst possible dependence two verdicts can reach 5.6 %.

    Parameters
    ----------
    verdicts : sequence of Verdict

    Returns
    -------
    list of Verdict
        In the order given, with wider intervals.

    References
    ----------
    Shaffer, "Control of directional errors with stagewise multiple test procedures", Ann. Stat. 8,
    1980: the same question for two directions.
    """
    verdicts = list(verdicts)
    p_values = [_decision_p(verdict) for verdict in verdicts]
    corrected = list(verdicts)
    level, settled = 0.0, True
    for done, i in enumerate(np.argsort(p_values, kind="stable")):
        if settled:  # once one is not, the level stays where it was
            level = ALPHA / (len(verdicts) - done)
        settled = p_values[i] <= level
        corrected[i] = replace(verdicts[i], confidence=1 - level, family=len(verdicts))
    return corrected


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
        If there are fewer than three samples.

    References
    ----------
    Tukey, "Bias and confidence in not quite large samples", Ann. Math. Stat. 29, 1958.
    """
    samples = np.asarray(samples)
    n = len(samples)
    if n < 3:
        raise ValueError(f"expected at least 3 samples, got {n}")
    without = np.array([statistic(np.delete(samples, s, axis=0)) for s in range(n)])
    return n * statistic(samples) - (n - 1) * without


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
    """
    if not (0 < sd < np.inf and np.isfinite(effect)) or n_seeds < 1:
        raise ValueError(
            f"expected a finite effect, sd > 0 and n_seeds >= 1, got {effect}, {sd} and {n_seeds}"
        )
    return float(stats.norm.cdf(-abs(effect) * np.sqrt(n_seeds) / sd))


def _judge(prediction, control, treated, direction, metric, smallest, unit) -> Verdict:
    scale = 1.0
    if metric is not None:
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}")
        unit, scale, usual = METRICS[metric]
        smallest = usual if smallest is None else smallest
    if smallest is None or not 0 < smallest < np.inf:
        raise ValueError(
            f"expected the smallest effect that matters, above 0, got {smallest}; "
            f"name a metric ({', '.join(METRICS)}) or pass smallest="
        )
    d = _differences(control, treated) * scale
    return Verdict(prediction, tuple(d.tolist()), direction, float(smallest), unit)


def _differences(control, treated) -> np.ndarray:
    control, treated = (np.asarray(arm, dtype=float) for arm in (control, treated))
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
        raise ValueError(f"expected at least 2 seeds, got {d.size}: one seed has no spread")
    return d


def _t_interval(d: np.ndarray, confidence: float) -> Interval:
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence in (0, 1), got {confidence}")
    mean = float(d.mean())
    half = stats.t.ppf((1 + confidence) / 2, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size)
    return Interval(mean, mean - float(half), mean + float(half))


def _decision_p(verdict: Verdict) -> float:
    """The smallest alpha at which the interval lies wholly above, between or below both edges.

    Stricter than `outcome`, which says "contradicted" across the far edge too. If that were enough
    here, choosing wrongly between it and "no difference" would not be paid for.
    """
    d, edge = np.array(verdict.differences), verdict.smallest
    # Equal differences have no spread: any decision they allow is all but certain.
    error = max(d.std(ddof=1) / np.sqrt(d.size), 1e-12 * edge)
    higher, lower, above_minus, below_plus = (
        2 * stats.t.sf(distance / error, d.size - 1)
        for distance in (d.mean() - edge, -edge - d.mean(), d.mean() + edge, edge - d.mean())
    )
    return float(min(higher, lower, max(above_minus, below_plus), 1.0))
