"""An exercise to lesson 00: from an interval to a verdict."""

import numpy as np

from coursekit import intervals, judge
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise


def _verdict_probes(rng: np.random.Generator) -> list[Probe]:
    return [_patterns(rng, direction) for direction in (1, -1)]


def _patterns(rng: np.random.Generator, direction: int) -> Probe:
    smallest = float(rng.choice([0.5, 2.0, 4.0]))
    edges = (-3, -1, 0, 1, 3)  # in units of the smallest effect: four places for an end to be
    ends = []
    for i in range(4):
        for j in range(i, 4):  # the ten ways in which an interval can lie
            low, high = (
                edges[k] + rng.uniform(0.1, 0.9) * (edges[k + 1] - edges[k]) for k in (i, j)
            )
            ends.append(sorted((low, high)))
    # On an edge exactly, with both ends or with one, or just beside 0; 5 has nothing special.
    ends += [[1, 5], [-1, 1], [-5, -1], [-5, 0], [0, 5], [-1, 0.5], [-0.5, 1]]
    ends += [[-5, -0.05], [-5, 0.05], [-0.05, 5], [0.05, 5]]
    # The halves of smallest are exact in binary, so rounding keeps edges edges.
    rounded = np.round(np.array(ends) * 20) / 20 * smallest
    inputs = {"low": rounded[:, 0].tolist(), "high": rounded[:, 1].tolist()}
    name = f"smallest={smallest:g} and direction={direction}"
    return Probe(name, inputs | {"smallest": smallest, "direction": direction})


def _judged(answer, low, high, smallest, direction) -> dict[str, object]:
    return {
        f"the verdict on [{a:g}, {b:g}]": answer(a, b, smallest, direction)
        for a, b in zip(low, high, strict=True)
    }


class _Given(judge.Verdict):
    """A verdict on an interval that is given: its two ends stand in place of the differences."""

    @property
    def interval(self) -> intervals.Interval:
        low, high = self.differences
        return intervals.Interval((low + high) / 2, low, high)


def _outcome(low: float, high: float, smallest: float, direction: int) -> str:
    return _Given("", (low, high), direction, smallest).outcome


verdict = Exercise(
    name="verdict",
    lesson="00",
    points=3,
    signature="(low, high, smallest, direction)",
    task="""
`low` and `high` are the ends of the interval of the mean of *treated - control*; `smallest`, above
0, is the smallest effect that matters. `direction` is 1 if the prediction says that treated is
higher, -1 if it says lower. Return one of these texts by the rule of the lesson:

- `"supported"`: all of the interval lies beyond the smallest effect, on the predicted side;
- `"no difference"`: all of it lies between minus and plus the smallest effect;
- `"contradicted"`: neither, and all of it lies on the other side of zero;
- `"undecided"`: anything else.

An end that lies exactly on an edge (0, or the smallest effect) is neither beyond nor between.
""",
    probes=_verdict_probes,
    reference=_outcome,
    driver=_judged,
    hints=(
        "Draw the line with -smallest, 0 and smallest, and lay intervals on it.",
        "A prediction of 'lower' is one of 'higher' in a mirror. What becomes of low and high?",
        "In the mirror low and high change places: `low, high = -high, -low`. Then test in the "
        "order of the task.",
    ),
    why="""\
The whole interval is compared with the smallest effect, because every value in it is one that the
data allow. An interval that holds zero may be "no difference" (if it is short) or "undecided" (if
it is long): only its ends tell.""",
)


@verdict.right
def by_mirror(low, high, smallest, direction):
    if direction < 0:
        low, high = -high, -low
    if low > smallest:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < 0 else "undecided"


@verdict.right
def by_ends(low, high, smallest, direction):
    worst, best = sorted([direction * low, direction * high])
    if worst > smallest:
        return "supported"
    if max(abs(worst), abs(best)) < smallest:
        return "no difference"
    if best < 0:
        return "contradicted"
    return "undecided"


@verdict.right
def by_table(low, high, smallest, direction):
    rules = {
        "supported": low > smallest if direction == 1 else high < -smallest,
        "no difference": low > -smallest and high < smallest,
        "contradicted": high < 0 if direction == 1 else low > 0,
        "undecided": True,
    }
    return next(word for word, holds in rules.items() if holds)


@verdict.wrong(
    "You called an interval that holds zero contradicted; that data allow zero does not speak "
    "against an effect: look whether the interval is short or long."
)
def zero_contradicts(low, high, smallest, direction):
    if low <= 0 <= high:
        return "contradicted"
    if direction < 0:
        low, high = -high, -low
    if low > smallest:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < 0 else "undecided"


@verdict.wrong(
    "You called every interval that holds zero no difference; a long one allows large effects too, "
    "and is undecided."
)
def zero_is_no_difference(low, high, smallest, direction):
    if low <= 0 <= high:
        return "no difference"
    if direction < 0:
        low, high = -high, -low
    if low > smallest:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < 0 else "undecided"


@verdict.wrong(
    "You compared with zero; an effect that is surely there may still be too small to matter: "
    "support starts beyond the smallest effect."
)
def beyond_zero(low, high, smallest, direction):
    if direction < 0:
        low, high = -high, -low
    if low > 0:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < 0 else "undecided"


@verdict.wrong("You left direction aside: when lower is predicted, support lies below -smallest.")
def always_higher(low, high, smallest, direction):
    if low > smallest:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < 0 else "undecided"


@verdict.wrong(
    "You changed the signs of both ends, but not their places: in the mirror, the former high end "
    "is the low one."
)
def mirror_without_exchange(low, high, smallest, direction):
    low, high = direction * low, direction * high
    if low > smallest:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < 0 else "undecided"


@verdict.wrong(
    "You judged the middle of the interval only; its ends say what the data still allow."
)
def by_the_middle(low, high, smallest, direction):
    middle = direction * (low + high) / 2
    if middle > smallest:
        return "supported"
    if abs(middle) < smallest:
        return "no difference"
    return "contradicted"


@verdict.wrong(
    "You contradict only beyond minus the smallest effect; the rule asks for less: all of the "
    "interval on the other side of zero."
)
def contradicted_late(low, high, smallest, direction):
    if direction < 0:
        low, high = -high, -low
    if low > smallest:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < -smallest else "undecided"


@verdict.wrong(
    "You let one end decide for support; the whole interval must lie beyond the smallest effect."
)
def reaches_beyond(low, high, smallest, direction):
    if direction < 0:
        low, high = -high, -low
    if high > smallest:
        return "supported"
    if -smallest < low and high < smallest:
        return "no difference"
    return "contradicted" if high < 0 else "undecided"


@verdict.wrong(
    "You tested for contradicted before no difference; an interval between the edges is no "
    "difference, on whichever side of zero."
)
def contradicted_first(low, high, smallest, direction):
    if direction < 0:
        low, high = -high, -low
    if low > smallest:
        return "supported"
    if high < 0:
        return "contradicted"
    return "no difference" if -smallest < low and high < smallest else "undecided"


@verdict.wrong(
    "You counted an end exactly on an edge as beyond or between; on the edge it is neither."
)
def edges_included(low, high, smallest, direction):
    if direction < 0:
        low, high = -high, -low
    if low >= smallest:
        return "supported"
    if -smallest <= low and high <= smallest:
        return "no difference"
    return "contradicted" if high <= 0 else "undecided"
