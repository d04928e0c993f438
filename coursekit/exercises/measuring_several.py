"""An exercise to lesson 00: several verdicts at once."""

import numpy as np

from coursekit import intervals
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise


def _holm_probes(rng: np.random.Generator) -> list[Probe]:
    several = _family(rng, int(rng.integers(2, 5)))
    small = _shuffled(rng, 2.0 ** np.arange(-12, -6) * rng.uniform(0.9, 1.1, 6))  # no result is 1
    return [
        Probe(f"{len(several)} p-values", {"p_values": several}),
        Probe("6 small p-values", {"p_values": small}),
        Probe("a single p-value", {"p_values": rng.uniform(0.01, 0.1, 1)}),
        Probe("two equal p-values", {"p_values": np.full(2, rng.uniform(0.01, 0.1))}),
    ]


def _family(rng: np.random.Generator, between: int) -> np.ndarray:
    """p-values in which the second step falls back, and the last ones rise above 1."""
    first = rng.uniform(0.004, 0.006)
    middle = rng.uniform(0.03, 0.15, between)
    return _shuffled(
        rng, np.concatenate([[first, first * 1.05], middle, rng.uniform(0.6, 0.95, 2)])
    )


def _shuffled(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    while True:
        shuffled = rng.permutation(p)
        adjusted, order = intervals.holm(shuffled), shuffled.argsort()
        # Going back to the order given by the wrong permutation must show.
        if not np.allclose(adjusted, np.sort(adjusted)[order]):
            return shuffled


holm = Exercise(
    name="holm",
    lesson="00",
    points=3,
    arrays="numpy",
    signature="(p_values)",
    task="""
`p_values` is an array (questions,) in any order. Return the adjusted p-values by Holm's method as
an array in **the order given**: the smallest is multiplied by the number of questions M, the next
by M - 1, and so on; none may come out below that of a smaller p-value, nor above 1.
""",
    probes=_holm_probes,
    reference=intervals.holm,
    hints=(
        "`order = p_values.argsort()` gives the smallest first. What are the factors then?",
        "`np.maximum.accumulate` keeps a row of numbers from falling.",
        "To get back to the order given, write into an empty array: `adjusted[order] = stepped`.",
    ),
    why="""\
If the smallest p-value survives the factor M, only M - 1 questions are left to be wrong about, so
the next factor is M - 1. The running maximum keeps the order: no question is answered before one
with stronger evidence. It does not matter how the questions depend on each other.""",
)


@holm.right
def by_sorting(p_values):
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(p_values[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


@holm.right
def by_loop(p_values):
    adjusted, highest = [0.0] * len(p_values), 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, (len(p_values) - done) * p_values[i])
        adjusted[i] = min(highest, 1.0)
    return np.array(adjusted)


@holm.right
def by_definition(p_values):
    def factor(p):  # how many p-values are at least as large
        return np.sum(p_values >= p)

    return np.array(
        [min(1, max(factor(q) * q for q in p_values if q <= p)) for p in p_values], dtype=float
    )


@holm.wrong(
    "You multiplied all by the number of questions: that is Bonferroni's method; Holm's factor "
    "falls by one from each p-value to the next larger one."
)
def bonferroni(p_values):
    return np.minimum(p_values * len(p_values), 1)


@holm.wrong(
    "An adjusted p-value falls below that of a smaller one: keep them from falling, with a running "
    "maximum."
)
def without_maximum(p_values):
    order, adjusted = np.argsort(p_values), np.empty(len(p_values))
    adjusted[order] = np.minimum(p_values[order] * np.arange(len(p_values), 0, -1), 1)
    return adjusted


@holm.wrong("You gave the factors in the order given; the largest belongs to the smallest p-value.")
def unsorted(p_values):
    factors = np.arange(len(p_values), 0, -1)
    return np.minimum(np.maximum.accumulate(p_values * factors), 1)


@holm.wrong(
    "`argsort` tells which p-value stands at a place in the sorted row, not which rank a p-value "
    "has: ranks are `p_values.argsort().argsort()`."
)
def argsort_for_ranks(p_values):
    order = p_values.argsort()
    stepped = p_values * (len(p_values) - order)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped[order]), 1)
    return adjusted


@holm.wrong("Your result is sorted: put each number back to the place of its p-value.")
def left_sorted(p_values):
    stepped = np.sort(p_values) * np.arange(len(p_values), 0, -1)
    return np.minimum(np.maximum.accumulate(stepped), 1)


@holm.wrong(
    "You went back with `stepped[order]`, which sorts once more; `adjusted[order] = stepped` "
    "undoes the sorting."
)
def sorted_twice(p_values):
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(stepped, 1)[order]


@holm.wrong("A result lies above 1: a probability cannot, so cut off at 1.")
def above_one(p_values):
    order, adjusted = np.argsort(p_values), np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    adjusted[order] = np.maximum.accumulate(p_values[order] * factors)
    return adjusted


@holm.wrong(
    "Your factors start at M - 1; the smallest p-value is multiplied by M, the number of questions."
)
def one_too_few(p_values):
    order, adjusted = np.argsort(p_values), np.empty(len(p_values))
    factors = np.arange(len(p_values))[::-1]
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


@holm.wrong(
    "You divided by the rank (Benjamini and Hochberg): that limits the share of false discoveries, "
    "not the chance of any; Holm's factors are M, M - 1, ..., 1."
)
def false_discovery_rate(p_values):
    order, m, adjusted = np.argsort(p_values), len(p_values), np.empty(len(p_values))
    stepped = p_values[order] * m / np.arange(1, m + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1)
    return adjusted


@holm.wrong(
    "You took a running minimum from the largest p-value down (Hochberg's method, which needs an "
    "assumption on dependence); Holm takes a running maximum from the smallest up."
)
def from_above(p_values):
    order, m, adjusted = np.argsort(p_values), len(p_values), np.empty(len(p_values))
    stepped = p_values[order] * np.arange(m, 0, -1)
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1)
    return adjusted


@holm.wrong("You sorted the array that you were given: sort a copy, or use argsort.")
def sorts_in_place(p_values):
    order = np.argsort(p_values)
    p_values.sort()
    stepped = np.maximum.accumulate(p_values * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
