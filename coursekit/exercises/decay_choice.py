"""Exercise to lesson 03: one strength out of many."""

import math

import numpy as np

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers import decay as ours

# Distances from the lowest mean, in standard errors of 5 repetitions. Between each two of them a
# usual slip draws its line: 0.18 (spread of the means), 0.28 (of all errors), 0.49 (root of the
# number of strengths), 0.89 (ddof 0), 1, 1.12 (root of K - 1), 1.96 (two errors), 2.24 (the
# deviation).
LADDER = (0.1, 0.17, 0.24, 0.45, 0.8, 0.95, 1.05, 1.5, 2.1)


def _choice_probes(rng: np.random.Generator) -> list[Probe]:
    strengths = 10 ** (0.4 * np.arange(-10, 11))
    distances = np.array([2.9, *LADDER[::-1], 0, *LADDER, 2.8])  # on both sides, for both classes
    pattern = rng.normal(size=(21, 5))
    pattern -= pattern.mean(1, keepdims=True)
    pattern /= pattern.std(1, ddof=1, keepdims=True)
    pattern[[0, -1]] *= 3  # so noisy that their own standard error would reach down
    errors = rng.uniform(10, 20) + pattern + distances[:, None] / np.sqrt(5)
    # The last good one in the list is no slip's choice but that of "the last good one".
    order = np.append(rng.permutation(np.delete(np.arange(21), 11)), 11)
    tied = {"strengths": [0.1, 3.0, 1.0, 10.0], "errors": np.array([[2.0] * 3] * 3 + [[2.5] * 3])}
    diverged = np.array([[4.0, 6.0], [3.0, 3.5], [3.2, 3.1], [5.0, np.inf]])
    return [
        Probe("21 strengths", {"strengths": strengths[order].tolist(), "errors": errors[order]}),
        Probe("repetitions that all agree", tied),
        Probe("a strength that diverged", {"strengths": [0.0, 0.1, 1.0, 10.0], "errors": diverged}),
    ]


one_standard_error = Exercise(
    name="one_standard_error",
    lesson="03",
    points=3,
    signature="(strengths, errors)",
    arrays="numpy",
    task="""
`errors` is a NumPy array (G, K): the validation errors of G strengths in K repetitions each,
lower is better, infinite where a training diverged. `strengths` is the list of the G strengths,
in **any** order. Take the strength with the lowest mean error and the standard error of that
mean (of its own K repetitions, with K - 1 in the variance). Return the **largest** strength
whose mean error exceeds the lowest by at most this one standard error, as a number.
""",
    probes=_choice_probes,
    reference=ours.one_standard_error,
    hints=(
        "One mean per strength: over which axis? And whose spread decides how sure the lowest is?",
        "The standard error of a mean of K numbers is `std(ddof=1) / sqrt(K)`.",
        "`good = means <= means.min() + standard_error` marks candidates; then it is not their "
        "order that counts but the largest of their strengths.",
    ),
    why="""\
The lowest of many means is lowest partly by luck. All strengths within one standard error of it are
as good as equal, so the rule takes the most regularized of them. The spread of one training, the
standard deviation, is far wider than the uncertainty of the mean and would accept too much.""",
    variants=(
        Variant(
            "`strengths` are values of `C` as in scikit-learn's `LogisticRegression`: a **small** "
            "C regularizes most, so return the smallest C that the rule allows.",
            "-plain([-c for c in strengths], errors)",
        ),
    ),
)


@one_standard_error.right
def by_mask(strengths, errors):
    means = errors.mean(1)
    best = means.argmin()
    standard_error = errors[best].std(ddof=1) / np.sqrt(errors.shape[1])
    return np.array(strengths)[means <= means[best] + standard_error].max()


@one_standard_error.right
def by_loop(strengths, errors):
    means = [sum(row) / len(row) for row in errors]
    lowest = min(means)
    row = errors[means.index(lowest)]
    k = len(row)
    variance = sum((e - lowest) ** 2 for e in row) / (k - 1)
    bar = lowest + math.sqrt(variance / k)
    return max(strengths[i] for i, mean in enumerate(means) if mean <= bar)


@one_standard_error.right
def by_sorting(strengths, errors):
    means = np.mean(errors, axis=1)
    winner = errors[np.argsort(means)[0]]
    bar = winner.mean() + np.sqrt(winner.var(ddof=1) / winner.size)
    largest_first = np.argsort(strengths)[::-1]
    return next(float(strengths[i]) for i in largest_first if means[i] <= bar)


@one_standard_error.wrong(
    "You returned the strength with the lowest mean; the rule takes the largest one that is not "
    "clearly worse."
)
def lowest_mean(strengths, errors):
    return strengths[errors.mean(1).argmin()]


@one_standard_error.wrong("You took the smallest good strength; the rule takes the largest one.")
def smallest(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    good = means <= means.min() + best.std(ddof=1) / np.sqrt(len(best))
    return np.array(strengths)[good].min()


@one_standard_error.wrong(
    "You took the last good strength of the list, but the list is in no order: take the largest."
)
def last_of_list(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    good = means <= means.min() + best.std(ddof=1) / np.sqrt(len(best))
    return np.array(strengths)[good][-1]


@one_standard_error.wrong(
    "You allowed a whole standard deviation; the standard error divides it by the root of K."
)
def standard_deviation(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    return np.array(strengths)[means <= means.min() + best.std(ddof=1)].max()


@one_standard_error.wrong(
    "The variance was divided by K; for a standard error it is divided by K - 1 (ddof=1)."
)
def divided_by_k(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    return np.array(strengths)[means <= means.min() + best.std() / np.sqrt(len(best))].max()


@one_standard_error.wrong(
    "You lost one repetition twice: divide the standard deviation with ddof=1 by the root of K, "
    "not of K - 1."
)
def root_of_one_less(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    bar = means.min() + best.std(ddof=1) / np.sqrt(len(best) - 1)
    return np.array(strengths)[means <= bar].max()


@one_standard_error.wrong(
    "You divided by the root of the number of strengths; the mean is one of K repetitions."
)
def root_of_strengths(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    bar = means.min() + best.std(ddof=1) / np.sqrt(len(strengths))
    return np.array(strengths)[means <= bar].max()


@one_standard_error.wrong(
    "You took the spread of all errors together, strengths included; only the repetitions of the "
    "best strength tell how sure its mean is."
)
def all_errors(strengths, errors):
    means = errors.mean(1)
    bar = means.min() + errors.std(ddof=1) / np.sqrt(errors.size)
    return np.array(strengths)[means <= bar].max()


@one_standard_error.wrong(
    "You took the spread of the means over strengths; it tells how much strengths differ, not how "
    "sure the lowest mean is."
)
def spread_of_means(strengths, errors):
    means = errors.mean(1)
    bar = means.min() + means.std(ddof=1) / np.sqrt(len(means))
    return np.array(strengths)[means <= bar].max()


@one_standard_error.wrong("You allowed a 95 % interval, about two standard errors; here it is one.")
def two_errors(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    bar = means.min() + 1.96 * best.std(ddof=1) / np.sqrt(len(best))
    return np.array(strengths)[means <= bar].max()


@one_standard_error.wrong(
    "You gave each strength its own standard error; that of the lowest mean counts for all."
)
def own_errors(strengths, errors):
    own = errors.std(1, ddof=1) / np.sqrt(errors.shape[1])
    return np.array(strengths)[errors.mean(1) - own <= errors.mean(1).min()].max()


@one_standard_error.wrong("With `<`, a tie is lost: at most one standard error means `<=`.")
def strictly_less(strengths, errors):
    means, best = errors.mean(1), errors[errors.mean(1).argmin()]
    good = means < means.min() + best.std(ddof=1) / np.sqrt(len(best))
    return np.array(strengths)[good].max()


@one_standard_error.wrong("You averaged over strengths: repetitions are the second axis.")
def wrong_axis(strengths, errors):
    means, best = errors.mean(0), errors[:, errors.mean(0).argmin()]
    good = means <= means.min() + best.std(ddof=1) / np.sqrt(len(best))
    return np.array(strengths)[good].max()
