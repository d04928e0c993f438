"""From paired runs to a verdict, by a rule that is fixed before the runs.

The two arms of a comparison share their seeds, so seed s gives one *difference*. The interval of
the mean difference is compared with the smallest effect that would matter:

    supported       the whole interval lies beyond the smallest effect, on the predicted side
    no difference   it lies within plus or minus the smallest effect
    contradicted    it lies on the other side of zero, and not within plus or minus
    undecided       anything else: more seeds are needed, nothing is refuted
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are first used: `stats` takes a second

from coursekit.datasets.values import choose, expect, floats, number
from coursekit.intervals import Interval, differences, t_interval

OUTCOMES = ("supported", "contradicted", "no difference", "undecided")
ALPHA = 0.05  # chance of a wrong decision: of one verdict alone, and of a family together


class Metric(NamedTuple):
    """How to print a metric, and the smallest change of it that matters (in the printed unit).

    `low` and `high` are the ends of what it, or a change of it, can be: beyond them lie percent.
    """

    unit: str
    scale: float
    smallest: float
    low: float = -np.inf
    high: float = np.inf


METRICS = {
    "accuracy": Metric("points", 100.0, 1.0, low=-1.0, high=1.0),
    "nll": Metric("nats", 1.0, 0.02),
    "r2": Metric("of R2", 1.0, 0.01, high=1.0),
}


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

    Raises
    ------
    ValueError
        If there are fewer than two differences, one is not finite, or another field is out of its
        range.

    Examples
    --------
    >>> from coursekit.judge import Verdict
    >>> verdict = Verdict("It helps", (2.0, 3.0, 2.5), direction=+1, smallest=1.0, unit="points")
    >>> verdict.outcome, verdict.effect
    ('supported', 2.5)
    >>> verdict
    It helps: supported (+2.5 points, 95 % interval [+1.3, +3.7], 3 seeds)
    """

    prediction: str
    differences: tuple[float, ...]
    direction: int
    smallest: float
    unit: str = ""
    confidence: float = 0.95
    family: int = 1

    def __post_init__(self):
        differences(0.0, self.differences)
        expect(self.direction in (1, -1), "a direction of +1 or -1", self.direction, "direction=+1")
        number("smallest", self.smallest, "(0, inf)", "smallest=1.0")
        number("confidence", self.confidence, "(0, 1)", "confidence=0.95")

    @property
    def interval(self) -> Interval:
        return t_interval(np.array(self.differences), self.confidence)

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
        if low > -self.smallest and high < self.smallest:
            return "no difference"
        return "contradicted" if high < 0 else "undecided"

    @property
    def evidence(self) -> str:
        mean, low, high = self.interval
        # Two significant digits of the smallest effect are as much as the reader can use.
        digits = max(1, 1 - int(np.floor(np.log10(self.smallest))))
        effect, low, high = (f"{value:+.{digits}f}" for value in (mean, low, high))
        unit = f" {self.unit}" if self.unit else ""
        return f"{effect}{unit} [{low}, {high}], {self.n_seeds} seeds"

    def __str__(self) -> str:
        kind = "95 % interval" if self.family == 1 else f"Holm interval among {self.family}"
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
        Sets scale, unit and smallest effect. An accuracy is a share in [0, 1], and printed in
        points.
    smallest : float, optional
        The smallest effect that matters, in the unit that is printed; needed without a metric.
    unit : str

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If the arms do not pair up, no smallest effect above 0 is given, or a value is above 1 where
        the metric cannot be, such as an accuracy in percent.

    Examples
    --------
    >>> from coursekit import judge
    >>> control, treated = [0.90, 0.92, 0.88, 0.91], [0.93, 0.94, 0.92, 0.94]  # four seeds
    >>> judge.raises("dropout raises the accuracy", control, treated, "accuracy")
    dropout raises the accuracy: supported (+3.0 points, 95 % interval [+1.7, +4.3], 4 seeds)
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
    """Judge the prediction that `treated` is lower than `control`.

    Parameters and errors as in `raises`.

    Examples
    --------
    >>> from coursekit import judge
    >>> judge.lowers("it lowers the error", [0.5, 0.4, 0.6], [0.1, 0.1, 0.2], smallest=0.05)
    it lowers the error: supported (-0.367, 95 % interval [-0.510, -0.223], 3 seeds)
    """
    return _judge(prediction, control, treated, -1, metric, smallest, unit)


def both(*verdicts: Verdict) -> Verdict:
    """Return the verdict on a sentence whose parts are joined by "and": that of its weakest part.

    Every part must be supported for the whole to be, so no further correction is needed for having
    asked several (an intersection-union test; Berger, Technometrics 24, 1982).

    Parameters
    ----------
    *verdicts : Verdict

    Returns
    -------
    Verdict
        The part that is least on the sentence's side; of equals, the first.

    Raises
    ------
    ValueError
        If there are fewer than two, or one is no verdict.

    Examples
    --------
    >>> from coursekit import judge
    >>> control, treated = [0.90, 0.92, 0.88, 0.91], [0.93, 0.94, 0.92, 0.94]  # four seeds
    >>> helps = judge.raises("it helps", control, treated, "accuracy")
    >>> again = judge.raises("it helps elsewhere", control, control, "accuracy")
    >>> judge.both(helps, again).outcome
    'no difference'
    """
    _check_verdicts(verdicts)
    if len(verdicts) < 2:
        raise ValueError(
            f"expected at least two parts, got {len(verdicts)}; try the verdict itself"
        )
    order = ("contradicted", "no difference", "undecided", "supported")
    return min(verdicts, key=lambda verdict: order.index(verdict.outcome))


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

    Raises
    ------
    ValueError
        If one is no verdict.

    References
    ----------
    Shaffer, "Control of directional errors with stagewise multiple test procedures", Ann. Stat. 8,
    1980: the same question for two directions.

    Examples
    --------
    >>> from coursekit import judge
    >>> control, treated = [0.90, 0.92, 0.88, 0.91], [0.93, 0.94, 0.92, 0.94]  # four seeds
    >>> alone = judge.raises("it helps", control, treated, "accuracy")
    >>> first, _ = judge.together([alone, alone])
    >>> first  # a wider interval, for having asked twice
    it helps: supported (+3.0 points, Holm interval among 2 [+1.3, +4.7], 4 seeds)
    """
    expect(isinstance(verdicts, Iterable), "several verdicts", verdicts, "together([verdict])")
    verdicts = list(verdicts)
    _check_verdicts(verdicts)
    p_values = [_decision_p(verdict) for verdict in verdicts]
    corrected = list(verdicts)
    level, settled = 0.0, True
    for done, i in enumerate(np.argsort(p_values, kind="stable")):
        if settled:  # once one is not, the level stays where it was
            level = ALPHA / (len(verdicts) - done)
        settled = p_values[i] <= level
        corrected[i] = replace(verdicts[i], confidence=1 - level, family=len(verdicts))
    return corrected


def _check_verdicts(verdicts: Sequence[Verdict]) -> None:
    kinds = sorted({type(verdict).__name__ for verdict in verdicts})
    fits = all(isinstance(verdict, Verdict) for verdict in verdicts)
    expect(fits, "verdicts", kinds, "those that raises and lowers return")


def _judge(prediction, control, treated, direction, metric, smallest, unit) -> Verdict:
    scale, d = 1.0, differences(control, treated)
    if metric is not None:
        choose("metric", metric, tuple(METRICS))
        unit, scale, usual, low, high = METRICS[metric]
        smallest = usual if smallest is None else smallest
        values = np.concatenate([floats("values", arm).ravel() for arm in (control, treated)])
        least, most = values.min(), values.max()
        fits, got = low - 1e-6 <= least and most <= high + 1e-6, f"{least:g} to {most:g}"
        advice = "values / 100 for percent, or smallest= and unit= instead of a metric"
        expect(fits, f"values of {metric} in [{low:g}, {high:g}]", got, advice)
    if smallest is None:
        raise ValueError(
            "expected the smallest effect that matters, above 0, got None; "
            f"name a metric ({', '.join(METRICS)}) or pass smallest="
        )
    advice = f"a metric ({', '.join(METRICS)})"
    number("smallest effect that matters", smallest, "(0, inf)", advice)
    return Verdict(prediction, tuple((d * scale).tolist()), direction, float(smallest), unit)


def _decision_p(verdict: Verdict) -> float:
    """The smallest alpha at which the interval lies wholly above, between or below both edges.

    Stricter than `outcome`, which says "contradicted" across the far edge too. If that were enough
    here, choosing wrongly between it and "no difference" would not be paid for.
    """
    d, edge = np.array(verdict.differences), verdict.smallest
    # Equal differences have no spread: any decision they allow is all but certain.
    error = max(d.std(ddof=1) / np.sqrt(d.size), 1e-12 * edge)
    higher, lower, above_minus, below_plus = (
        2 * scipy.stats.t.sf(distance / error, d.size - 1)
        for distance in (d.mean() - edge, -edge - d.mean(), d.mean() + edge, edge - d.mean())
    )
    return float(min(higher, lower, max(above_minus, below_plus), 1.0))
