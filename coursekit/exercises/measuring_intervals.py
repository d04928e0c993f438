"""An exercise to lesson 00: the interval of paired runs."""

import math

import numpy as np

from coursekit import intervals
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant


def _arms(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    luck = 80 + 4 * rng.normal(size=n)  # shared by both arms, as a seed's luck is
    return {"control": luck + rng.normal(size=n), "treated": luck + 1 + rng.normal(size=n)}


def _interval_probes(rng: np.random.Generator) -> list[Probe]:
    levels = rng.permutation([0.8, 0.9, 0.99]).tolist()
    return [
        Probe(f"{n} seeds at level={level}", _arms(rng, n) | {"level": level})
        for n, level in zip((6, 12, 2), levels, strict=True)
    ]


def _two_ends(answer, control, treated, level) -> dict[str, object]:
    before = control.copy(), treated.copy()
    result = answer(control, treated, level)
    if not isinstance(result, tuple | list | np.ndarray) or len(result) != 2:
        raise TypeError(f"expected (low, high) to be returned, got {type(result).__name__}")
    return {
        "low": result[0],
        "high": result[1],
        "control afterwards": np.array_equal(control, before[0]),
        "treated afterwards": np.array_equal(treated, before[1]),
    }


def _low_high(control: np.ndarray, treated: np.ndarray, level: float) -> tuple[float, float]:
    found = intervals.paired_interval(control, treated, confidence=level)
    return found.low, found.high


paired_interval = Exercise(
    name="paired_interval",
    lesson="00",
    points=3,
    arrays="numpy",
    signature="(control, treated, level)",
    task="""
`control` and `treated` are arrays (seeds,): one result per seed, in the same order, at least two.
Return `(low, high)`, two numbers: Student's confidence interval for the mean of
`treated - control`. `level` is how often such an interval is to hold the truth, as in 0.95.
The quantiles are in `scipy.stats.t.ppf(probability, degrees_of_freedom)`; import what you need
inside the function.
""",
    probes=_interval_probes,
    reference=_low_high,
    driver=_two_ends,
    hints=(
        "How many independent numbers do n pairs of runs give? Subtract first.",
        "Half the width is a quantile times the standard error of the mean, s / sqrt(n); "
        "s divides by n - 1.",
        "At level 0.95, 2.5 % are to lie above the interval: the quantile is at (1 + level) / 2, "
        "with n - 1 degrees of freedom.",
    ),
    why="""\
Subtracting within a seed removes the luck that both arms share, so the spread of the n differences
is what counts. Their standard deviation is itself an estimate from few numbers, and Student's
quantile with n - 1 degrees of freedom pays for that; 1.96 would not.""",
    variants=(
        Variant(
            "`level` is how often such an interval may **miss** the truth, as in 0.05.",
            "plain(control, treated, 1 - level)",
        ),
    ),
)


@paired_interval.right
def from_differences(control, treated, level):
    from scipy import stats

    d = treated - control
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_interval.right
def from_a_test(control, treated, level):
    from scipy import stats

    found = stats.ttest_rel(treated, control).confidence_interval(level)
    return found.low, found.high


@paired_interval.right
def in_plain_python(control, treated, level):
    import statistics

    from scipy.special import stdtrit

    d = [float(b - a) for a, b in zip(control, treated, strict=True)]
    middle, error = statistics.fmean(d), statistics.stdev(d) / math.sqrt(len(d))
    t = stdtrit(len(d) - 1, 0.5 + level / 2)
    return [middle - t * error, middle + t * error]


@paired_interval.right
def from_a_distribution(control, treated, level):
    from scipy import stats

    d = np.subtract(treated, control)
    return stats.t.interval(level, d.size - 1, loc=d.mean(), scale=stats.sem(d))


@paired_interval.wrong(
    "You treated the arms as unrelated runs, so the luck that both share widens the interval: "
    "subtract within each seed, then take the spread of the differences."
)
def unpaired(control, treated, level):
    from scipy import stats

    n, middle = len(control), treated.mean() - control.mean()
    error = np.sqrt((control.var(ddof=1) + treated.var(ddof=1)) / n)
    half = stats.t.ppf((1 + level) / 2, 2 * n - 2) * error
    return middle - half, middle + half


@paired_interval.wrong(
    "You took the quantile of the normal distribution, which is too small with few seeds: take "
    "Student's, with n - 1 degrees of freedom."
)
def normal_quantile(control, treated, level):
    from scipy import stats

    d = treated - control
    half = stats.norm.ppf((1 + level) / 2) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_interval.wrong(
    "Your standard deviation divides by n (NumPy's habit); estimated from a sample it divides by "
    "n - 1: ddof=1."
)
def divided_by_n(control, treated, level):
    from scipy import stats

    d = treated - control
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std() / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_interval.wrong(
    "You left all of the error on one side; an interval misses on both, so half of it lies above."
)
def one_sided(control, treated, level):
    from scipy import stats

    d = treated - control
    half = stats.t.ppf(level, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_interval.wrong(
    "You used the spread of single differences; the mean of n is steadier: divide by sqrt(n)."
)
def not_of_the_mean(control, treated, level):
    from scipy import stats

    d = treated - control
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1)
    return d.mean() - half, d.mean() + half


@paired_interval.wrong(
    "You subtracted in the other order, so the interval is turned around zero: it is about "
    "treated - control."
)
def turned_around(control, treated, level):
    from scipy import stats

    d = control - treated
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_interval.wrong("You always used 95 %: the function is told the level.")
def always_95(control, treated, level):
    from scipy import stats

    d = treated - control
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_interval.wrong(
    "You used n degrees of freedom; estimating the mean of the differences costs one of them: "
    "n - 1."
)
def n_degrees(control, treated, level):
    from scipy import stats

    d = treated - control
    half = stats.t.ppf((1 + level) / 2, len(d)) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


@paired_interval.wrong(
    "You returned where single seeds lie (quantiles of the differences); asked is where their mean "
    "lies."
)
def range_of_seeds(control, treated, level):
    return tuple(np.quantile(treated - control, [(1 - level) / 2, (1 + level) / 2]))


@paired_interval.wrong(
    "You returned the mean and half the width; return the two ends of the interval."
)
def mean_and_half(control, treated, level):
    from scipy import stats

    d = treated - control
    return d.mean(), stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
