"""The rule: from two sides to a word, and from the words of all conditions to an answer.

One comparison. The difference, treated minus control, has an interval that crosses both sources of
chance, seeds and test examples. With m the smallest effect that matters:

    helps                 the whole interval is beyond m on the better side
    hurts                 it is beyond m on the other side
    too small to matter   it lies within plus and minus m
    helps, size open      it excludes zero, but not m; likewise hurts, size open
    not yet known         anything else

Where the claim only asks that something is *not worse* by m, the words are "not worse", "worse" and
"not yet known". The intervals of all M comparisons of a claim, of all its parts, hold
together: each at confidence 1 - 4.5 % / M (Bonferroni). With what looking at the precision costs,
the chance of any false word is at most 5 %.
(Holm's method would be narrower, and wrong here: a comparison that was decided rightly could have
been decided falsely, so it must not hand its share on. Simulated, six comparisons reach 11 %.)

One claim. A comparison speaks *for* it, *against* it (the opposite), is *small*, or is *open*:

    yes                   all speak for it
    depends               some speak for it, and some against it or are small
    not yet known         otherwise, if one is open
    the opposite          none speaks for it or is open, and at least one against it
    too small to matter   all are small
    not tested            nothing could be measured

A sentence with several parts is answered "yes" if all parts are. If one is answered "the opposite"
or "too small to matter", that is the answer; then "not tested", "not yet known", "depends".

Functions on arrays: the last axis is that of the M comparisons of one claim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are first used: `stats` takes a second

from coursekit.ledger.evidence import Exact, Side
from coursekit.ledger.record import Condition, Record

ALPHA = 0.045  # looking at the precision costs the rest of the 5 %
HELPS, HURTS, SMALL, HELPS_OPEN, HURTS_OPEN, UNKNOWN, NOT_WORSE, WORSE = range(8)
FOUND = (
    "helps",
    "hurts",
    "too small to matter",
    "helps, size open",
    "hurts, size open",
    "not yet known",
    "not worse",
    "worse",
)
ANSWERS = ("yes", "depends", "too small to matter", "the opposite", "not yet known", "not tested")
NOT_RUN = "not run on these data"
EQUAL = "both sides are the same at every seed: there is nothing to judge"
CONSTANT = "all seeds differ by the same: a fact, or a side compared with itself"
STANDINGS = ("for", "against", "small", "open", "untested")


def standard_error(
    s_seeds: np.ndarray, n_seeds: int, s_examples: np.ndarray, n_examples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standard error of a difference that crosses seeds and examples, and its degrees of freedom.

    The variance is s_seeds^2 / S + s_examples^2 / N; the degrees of freedom are Satterthwaite's.
    `s_examples` is the spread of the mean difference from one test example to another, 0 where no
    test set is drawn from.

    References
    ----------
    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics 2,
    1946.
    """
    a, b = s_seeds**2 / n_seeds, s_examples**2 / np.maximum(n_examples, 1)
    parts = a**2 / (n_seeds - 1) + b**2 / np.maximum(n_examples - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(parts > 0, (a + b) ** 2 / parts, n_seeds - 1)
    return np.sqrt(a + b), df


def skewness(differences: np.ndarray) -> np.ndarray:
    """Skewness of differences (..., S) over the last axis."""
    centered = differences - differences.mean(-1, keepdims=True)
    spread = centered.std(-1, keepdims=True)
    return ((centered / np.where(spread > 0, spread, 1.0)) ** 3).mean(-1)


def widening(skewness: np.ndarray, n_seeds: int, level: float) -> np.ndarray:
    """Factor on a standard error of S seeds that makes up for the skewness of their differences.

    Where a few networks lose or gain much more than the others, Student's interval is too short on
    one side, by (2 z^2 + 1) / (6 sqrt(S)) |skewness| standard errors; it is widened on both.

    References
    ----------
    Hall, "On the removal of skewness by transformation", J. R. Stat. Soc. B 54, 1992.
    """
    z = scipy.stats.norm.isf(level / 2)
    return 1 + np.abs(skewness) * (2 * z**2 + 1) / (6 * z * np.sqrt(n_seeds))


def half_width(s_seeds: np.ndarray, n_seeds: int, skewness: np.ndarray) -> np.ndarray:
    """Half width (95.5 %) that S seeds alone give to a difference with a spread of `s_seeds`."""
    t = scipy.stats.t.isf(ALPHA / 2, n_seeds - 1)
    return t * widening(skewness, n_seeds, ALPHA) * s_seeds / np.sqrt(n_seeds)


def decide(
    effect: np.ndarray,
    error: np.ndarray,
    df: np.ndarray,
    smallest: np.ndarray,
    one_sided: np.ndarray | bool = False,
) -> np.ndarray:
    """Words of M comparisons that share the 5 %: (..., M) positions in `FOUND`.

    Parameters
    ----------
    effect, error, df, smallest : (..., M) arrays
        Positive effects are on the better side.
    one_sided : (M,) array of bool
        Whether a comparison only asks for "not worse".
    """
    half = scipy.stats.t.isf(ALPHA / effect.shape[-1] / 2, df) * error
    low, high = effect - half, effect + half
    words = np.select(
        [
            low > smallest,
            high < -smallest,
            (low > -smallest) & (high < smallest),
            low > 0,
            high < 0,
        ],
        [HELPS, HURTS, SMALL, HELPS_OPEN, HURTS_OPEN],
        UNKNOWN,
    )
    margin = np.select([low > -smallest, high < -smallest], [NOT_WORSE, WORSE], UNKNOWN)
    return np.where(one_sided, margin, words)


@dataclass(frozen=True)
class Comparison:
    """One condition of a claim, judged. Differences are treated minus control, in `unit`.

    Attributes
    ----------
    condition : Condition
    word : str
        One of `FOUND`, "holds" or "fails" of an exact fact, or "not tested".
    standing : str
        One of `STANDINGS`.
    note : str
        Of an exact fact what shows it; of "not tested" why.
    control, treated : Side or None
    difference, low, high, level : float
    s_seeds, s_examples : float
        Standard errors: the parts of seeds and of test examples.
    df : float
    """

    condition: Condition
    word: str
    standing: str
    note: str = ""
    control: Side | None = None
    treated: Side | None = None
    difference: float = np.nan
    low: float = np.nan
    high: float = np.nan
    level: float = ALPHA
    s_seeds: float = np.nan
    s_examples: float = np.nan
    df: float = np.nan

    @property
    def n_seeds(self) -> int:
        return 0 if self.control is None else len(self.control.scores)

    @property
    def found(self) -> str:
        """The word as this metric calls it, such as "smaller" for "hurts"."""
        helps, hurts = self.condition.words
        return self.word.replace("helps", helps).replace("hurts", hurts)

    @property
    def means(self) -> tuple[float, float]:
        """Mean of the control and of the treated side, in the printed unit."""
        factor = self.condition.factor
        return tuple(factor * float(s.scores.mean()) for s in (self.control, self.treated))


class Estimate(NamedTuple):
    """A difference with its standard errors over seeds (for skewness widened) and examples."""

    difference: float
    s_seeds: float
    s_examples: float
    df: float


def estimate(condition: Condition, control: Side, treated: Side, level: float = ALPHA) -> Estimate:
    """Estimate treated minus control, in the printed unit."""
    d = condition.factor * (treated.scores - control.scores)
    spread, n = 0.0, 1
    if control.examples is not None or treated.examples is not None:
        # A bar that is to be passed has no examples of its own.
        of = [0.0 if s.examples is None else s.examples for s in (control, treated)]
        each = condition.factor * (of[1] - of[0])
        spread, n = float(each.std(ddof=1)), len(each)
    s_seeds = float(d.std(ddof=1) * widening(skewness(d), len(d), level))
    _, df = standard_error(np.array(s_seeds), len(d), np.array(spread), np.array(n))
    return Estimate(float(d.mean()), s_seeds / len(d) ** 0.5, spread / n**0.5, float(df))


def precise(condition: Condition, control: Side, treated: Side) -> float:
    """Half width that the seeds alone give, in units of the smallest effect; 0.5 is enough.

    What the test examples add does not shrink with seeds. The effect itself is not looked at.
    """
    d = condition.factor * (treated.scores - control.scores)
    half = half_width(d.std(ddof=1), len(d), skewness(d))
    return float(half / condition.smallest)


def compare(record: Record, evidence: Mapping[str, tuple[Side, Side] | Exact]) -> list[Comparison]:
    """Judge all conditions of a claim together.

    Raises
    ------
    ValueError
        If evidence is given for a condition that was not declared.
    """
    for name in evidence:
        record.condition(name)
    judged: dict[str, Comparison] = {}
    measured: list[tuple[Condition, Side, Side]] = []
    for condition in record.conditions:
        found = evidence.get(condition.name)
        if condition.untested or found is None:
            why = condition.untested or NOT_RUN
            judged[condition.name] = Comparison(condition, "not tested", "untested", why)
        elif isinstance(found, Exact) != (condition.wants == "exact"):
            kind = type(found).__name__
            raise ValueError(f"expected {condition.wants!r} of {condition.name!r}, got {kind}")
        elif isinstance(found, Exact):
            told = ("holds", "for") if found.holds else ("fails", "against")
            judged[condition.name] = Comparison(condition, *told, found.shown)
        else:
            plain = estimate(condition, *found)
            if plain.s_seeds <= 1e-9 * max(1.0, abs(plain.difference)):
                why = EQUAL if plain.difference == 0 else CONSTANT
                judged[condition.name] = Comparison(
                    condition, "not tested", "untested", why, *found
                )
            else:
                measured.append((condition, *found))
    if measured:
        level = ALPHA / len(measured)
        difference, seeds, examples, df = np.array([estimate(*m, level) for m in measured]).T
        conditions = [m[0] for m in measured]
        direction = np.array([c.direction for c in conditions])
        smallest = np.array([c.smallest for c in conditions])
        margin = np.array([c.wants == "not worse" for c in conditions])
        error = np.hypot(seeds, examples)
        words = decide(direction * difference, error, df, smallest, margin)
        half = scipy.stats.t.isf(level / 2, df) * error
        for i, (condition, control, treated) in enumerate(measured):
            judged[condition.name] = Comparison(
                condition,
                FOUND[words[i]],
                standing(condition.wants, int(words[i])),
                control=control,
                treated=treated,
                difference=float(difference[i]),
                low=float(difference[i] - half[i]),
                high=float(difference[i] + half[i]),
                level=level,
                s_seeds=float(seeds[i]),
                s_examples=float(examples[i]),
                df=float(df[i]),
            )
    return [judged[c.name] for c in record.conditions]


def standing(wants: str, word: int) -> str:
    """What a word says about a claim that wants "helps", "same" or "not worse"."""
    if wants == "helps":
        table = {HELPS: "for", HURTS: "against", HURTS_OPEN: "against", SMALL: "small"}
    elif wants == "same":
        table = {SMALL: "for", HELPS: "against", HURTS: "against"}
    else:
        table = {NOT_WORSE: "for", WORSE: "against"}
    return table.get(word, "open")


def answer(standings: Sequence[str]) -> str:
    """The answer to one question, from what its comparisons say."""
    told = {s for s in standings if s != "untested"}
    if not told:
        return "not tested"
    if told == {"for"}:
        return "yes"
    if "for" in told and told & {"against", "small"}:
        return "depends"
    if "open" in told or "for" in told:
        return "not yet known"
    return "the opposite" if "against" in told else "too small to matter"


def answers(record: Record, judged: Sequence[Comparison]) -> tuple[str, dict[str, str]]:
    """The answer to a claim, and that to each of its parts."""
    of = {part: [c for c in judged if c.condition.part == part] for part in record.parts or [""]}
    parts = {part: answer([c.standing for c in own]) for part, own in of.items()}
    # What belongs to the first world only does not make another one's answer "not tested".
    asked = [parts[part] for part, own in of.items() if {c.note for c in own} != {NOT_RUN}]
    order = ("the opposite", "too small to matter", "not tested", "not yet known", "depends", "yes")
    return min(asked or parts.values(), key=order.index), parts
