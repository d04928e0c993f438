"""Exercises in which one measures: a laboratory to conduct a comparison in, and who audits it.

A learner writes `study(lab)`, which declares what it is about to do, asks the laboratory for the
scores of networks, and returns an interval with its word. A check calls it in *simulated*
laboratories, whose networks are random numbers with a truth behind them, and judges the protocol
from the laboratory's log. The same function then runs on real networks: see `laboratories`.

What this does not protect against: the laboratory lives where the answer runs, so an answer that
wants to can read the hidden truth or rewrite the log. It is there for honest slips; what a learner
concludes from real networks is read by a person.

Axes: S seeds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are first used: `stats` takes a second

from coursekit.datasets.values import choose, expect, number
from coursekit.exercises.comparing import FINDING
from coursekit.exercises.driving import Probe
from coursekit.intervals import t_interval

LEAST = 8  # seeds: Student's factor is 2.4 there, 4.3 with three and 12.7 with two
PER_SETTING = 16  # networks of each side and setting that a budget holds
PARTS = ("val", "test")
World = Callable[[str, int, str, dict, tuple[int, ...]], float]
Grid = Mapping[str, Sequence[Mapping[str, float]]]


class Plan(NamedTuple):
    """What is compared in a lesson's study.

    Attributes
    ----------
    sides : (str, str)
        Control and treated.
    setting : str
        What may be tuned, as in "alpha"; "" for nothing.
    control, treated : tuple of float
        Its values on either side; one value is no choice.
    unit : str
        Of a score.
    """

    sides: tuple[str, str]
    setting: str = ""
    control: tuple[float, ...] = ()
    treated: tuple[float, ...] = ()
    unit: str = "points of accuracy"


EPOCHS = (5, 10, 20, 40, 80)
PLANS = {
    "00": Plan(("16 units", "128 units")),
    "01": Plan(("a smaller network", "twice the data")),
    "02": Plan(
        ("ridge", "lasso"), "alpha", (0.1, 1, 10, 100), (0.01, 0.1, 1, 10), unit="points of R2"
    ),
    "03": Plan(("Adam with L2", "AdamW"), "weight_decay", (1e-3, 1e-2, 1e-1), (0.3, 1, 3)),
    "04": Plan(("without dropout", "with dropout"), "epochs", EPOCHS, EPOCHS),
    "06": Plan(
        ("without batch norm", "with batch norm"), "lr", (1e-3, 3e-3, 1e-2), (1e-3, 3e-3, 1e-2)
    ),
    "07": Plan(("as they are", "shifted at random"), "lr", (3e-3, 1e-2, 3e-2), (3e-3, 1e-2, 3e-2)),
    "09": Plan(("to the end", "stopped early"), "epochs", (80,), (2, *EPOCHS)),
    "10": Plan(("every block", "stochastic depth"), "epochs", (10, 20, 40), (10, 20, 40)),
}


class Declared(NamedTuple):
    """An entry of the log: what is to be measured."""

    question: str
    margin: float
    seeds: tuple[int, ...]


class Scored(NamedTuple):
    """An entry of the log: a score that was asked for."""

    side: str
    seed: int
    part: str
    settings: tuple[tuple[str, float], ...]
    score: float


class Lab:
    """A laboratory: trains networks on request, and writes down what was asked for.

    Attributes
    ----------
    sides : (str, str)
        Control and treated.
    grid : dict of str to list of dict
        For each side, the settings that it may be trained with: `[{}]` where there is no choice.
    unit : str
        Of a score: "points of accuracy".

    Examples
    --------
    >>> from coursekit.exercises import study
    >>> lab = study.simulated("00", gain=3)
    >>> control, treated = lab.sides
    >>> lab.declare(question="Do 128 units beat 16?", margin=1, seeds=range(8))
    >>> gains = [lab.score(treated, s, "test") - lab.score(control, s, "test") for s in range(8)]
    >>> len(lab.log), lab.budget
    (17, 48)
    """

    def __init__(self, sides: tuple[str, str], grid: Grid, world: World, unit: str):
        self.sides, self.unit = tuple(sides), unit
        self.grid = {side: [dict(settings) for settings in grid[side]] for side in sides}
        self._most = PER_SETTING * max(4, sum(len(own) for own in grid.values()))
        self._world, self._log, self._trained = world, [], {}

    @property
    def log(self) -> tuple[Declared | Scored, ...]:
        """What was done so far, in order."""
        return tuple(self._log)

    @property
    def budget(self) -> int:
        """How many more networks may be trained. Another look at a network costs nothing."""
        return self._most - len(self._trained)

    def declare(self, *, question: str, margin: float, seeds: Iterable[int]) -> None:
        """Write down what is to be measured; belongs before the first score.

        Parameters
        ----------
        question : str
            In a sentence, as in "Does dropout raise the accuracy?"
        margin : float
            The smallest difference that matters to you, above 0, in the unit of the scores.
        seeds : iterable of int
            On which both sides are to be compared, 8 or more.

        Raises
        ------
        ValueError
            If one of them says nothing: an empty question, a margin of 0, a single seed.
        """
        in_words = isinstance(question, str) and bool(question.strip())
        expect(in_words, "a question in words", repr(question), 'question="Does dropout help?"')
        advice = "margin=1.0; with 0, nothing would ever be too small to matter"
        number("margin", margin, "(0, inf)", advice)
        listed = isinstance(seeds, Iterable) and not isinstance(seeds, str)
        advice = "seeds=range(12)"
        expect(listed, "a list of seeds", repr(seeds), advice)
        chosen = tuple(_seed(seed) for seed in seeds)
        expect(len(set(chosen)) == len(chosen), "different seeds", f"{chosen}", advice)
        few = f"{len(chosen)}, from which hardly any difference could be seen"
        expect(len(chosen) >= LEAST, f"at least {LEAST} seeds", few, advice)
        self._log.append(Declared(question, float(margin), chosen))

    def score(self, side: str, seed: int, part: str = "val", **settings: float) -> float:
        """Train a side's network on what a seed deals to it, and return its score in percent.

        The seed decides the examples, the initial weights and the order of the batches, for both
        sides alike. The same question again gets the same answer and costs nothing.

        Parameters
        ----------
        side : str
            One of `sides`.
        seed : int
        part : {"val", "test"}
            On which examples: validation to choose by, test for the comparison itself.
        **settings : float
            One of `grid[side]`.

        Raises
        ------
        ValueError
            If there is no such side, part or setting, or the budget is spent.
        """
        choose("side", side, self.sides)
        choose("part", part, PARTS)
        seed, known = _seed(seed), self.grid[side]
        advice = f"**lab.grid[{side!r}][0]" if known != [{}] else "leaving it out"
        expect(settings in known, f"settings of {side!r} among {known}", settings, advice)
        network = side, seed, tuple(sorted(settings.items()))
        if network not in self._trained:
            most, advice = self._most, "fewer seeds, or declare before you train"
            expect(self.budget > 0, f"at most {most} networks", "one more", advice)
            self._trained[network] = {}
        scores = self._trained[network]
        if part not in scores:
            declared = [entry for entry in self._log if isinstance(entry, Declared)]
            beside = declared[-1].seeds if declared else ()
            scores[part] = float(self._world(side, seed, part, dict(settings), beside))
        self._log.append(Scored(side, seed, part, network[2], scores[part]))
        return scores[part]


def _seed(seed: object) -> int:
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
    expect(whole, "a seed that is a whole number from 0", repr(seed), "seed=0")
    return int(seed)


# --- the audit -------------------------------------------------------------------------------


class Paired(NamedTuple):
    """What a study's own scores say, by the rule of the course; all in the unit of the scores."""

    mean: float
    low: float
    high: float
    word: str
    differences: np.ndarray
    margin: float


def audit(lab: Lab, returned: object) -> list[str]:
    """Return what is to be said against a study, the gravest first; nothing if it is sound.

    Parameters
    ----------
    lab : Lab
        In which it was conducted.
    returned : object
        What it returned; should be the two ends of the interval and the word.

    Returns
    -------
    list of str
        Sentences that begin in lower case, with what was done and why it matters.

    Examples
    --------
    >>> from coursekit.exercises import study
    >>> lab = study.simulated("00")
    >>> lab.declare(question="Do 128 units beat 16?", margin=1, seeds=range(8))
    >>> study.audit(lab, None)[0]
    'you opened the test part of no network: the comparison itself is made there.'
    """
    findings = [*_of_declaring(lab), *_of_choosing(lab), *_of_pairing(lab)]
    result = paired(lab)
    return findings if result is None else [*findings, *_of_concluding(lab, result, returned)]


def paired(lab: Lab) -> Paired | None:
    """Return what the test scores of a log say, or None if they are too few or not paired.

    Examples
    --------
    >>> from coursekit.exercises import study
    >>> lab = study.simulated("00", gain=5)
    >>> low, high, word = study.conduct(lab)
    >>> study.paired(lab).low == low, study.paired(lab).word
    (True, 'helps')
    """
    declared = _declared(lab)
    scores = {side: {e.seed: e.score for e in _scored(lab, side, "test")} for side in lab.sides}
    control, treated = (scores[side] for side in lab.sides)
    common = sorted(control.keys() & treated.keys())
    if not declared or len(common) < 2:
        return None
    from coursekit.plots import word  # late: matplotlib takes a second

    d = np.array([treated[seed] - control[seed] for seed in common])
    margin = declared[0].margin
    mean, low, high = t_interval(d, 0.95)
    return Paired(mean, low, high, word(low, high, margin), d, margin)


def _declared(lab: Lab) -> list[Declared]:
    return [entry for entry in lab.log if isinstance(entry, Declared)]


def _scored(lab: Lab, side: str, part: str) -> list[Scored]:
    scored = [entry for entry in lab.log if isinstance(entry, Scored)]
    return [entry for entry in scored if (entry.side, entry.part) == (side, part)]


def _of_declaring(lab: Lab) -> list[str]:
    declared = _declared(lab)
    if not declared:
        return [
            "you declared nothing: call lab.declare(...) before the first score, or the question "
            "can be cut to fit the answer."
        ]
    findings = []
    before = lab.log.index(declared[0])
    if before:
        seen = "one score" if before == 1 else f"{before} scores"
        findings.append(
            f"you declared when you had seen {seen}: whoever has seen scores can pick the "
            "question, the margin and the seeds that suit them. Declare first."
        )
    first = declared[0]
    for later in declared[1:]:
        if later.margin != first.margin:
            findings.append(
                f"you changed the margin from {first.margin:g} to {later.margin:g}: a margin that "
                "can still move decides nothing. Declare it once."
            )
        elif later.seeds != first.seeds:
            findings.append(
                f"you declared {len(first.seeds)} seeds and then {len(later.seeds)}: whoever may "
                "add seeds after a look stops when the word pleases, and is pleased too often."
            )
        elif later.question != first.question:
            findings.append("you declared a second question: the first one is what you measure.")
    return findings


def _of_choosing(lab: Lab) -> list[str]:
    tuned = [side for side in lab.sides if len(lab.grid[side]) > 1]
    for side in tuned:
        opened = {}
        for entry in _scored(lab, side, "test"):
            opened.setdefault(entry.seed, set()).add(entry.settings)
        several = max((len(settings) for settings in opened.values()), default=0)
        if several > 1:
            return [
                f"you opened the test part of {side!r} with {several} settings for one seed: the "
                "best of several is ahead by luck, so choose on the validation part and open the "
                "test part once."
            ]
    parts = [entry.part for entry in lab.log if isinstance(entry, Scored)]
    if tuned and "test" in parts and "val" in parts[parts.index("test") :]:
        return [
            "you looked at validation scores when the test part was already open: choose the "
            "settings of both sides first, or what you saw there takes part in the choice."
        ]
    return _of_tuning(lab, tuned)


def _of_tuning(lab: Lab, tuned: list[str]) -> list[str]:
    tried = {side: {} for side in tuned}  # of each side: settings to the seeds they were tried on
    for side in tuned:
        for entry in _scored(lab, side, "val"):
            tried[side].setdefault(entry.settings, {})[entry.seed] = entry.score
    if any(len(tried[side]) < len(lab.grid[side]) for side in tuned):
        counts = " and ".join(
            f"{len(tried[side])} of {len(lab.grid[side])} settings of {side!r}" for side in tuned
        )
        return [
            f"you tried {counts} on the validation part: a side that is tuned less loses for that "
            "reason alone, so give each its whole grid."
        ]
    if len({frozenset(scores) for side in tuned for scores in tried[side].values()}) > 1:
        return [
            "you tried some settings on other seeds than others: a setting can then win by an "
            "easy seed. Try all of them on the same seeds, on both sides."
        ]
    return [finding for side in tuned if (finding := _not_the_best(lab, side, tried[side]))]


def _not_the_best(lab: Lab, side: str, tried: dict[tuple, dict[int, float]]) -> str:
    """Return a sentence unless the test part was opened with what validation prefers.

    That may be one setting for all seeds, by the mean, or each seed's own.
    """
    means = {settings: np.mean(list(scores.values())) for settings, scores in tried.items()}
    best = max(means, key=means.get)
    opened = _scored(lab, side, "test")
    others = [entry.settings for entry in opened if means[entry.settings] < means[best]]

    def is_own(entry: Scored) -> bool:
        of_seed = [scores.get(entry.seed, math.inf) for scores in tried.values()]
        return tried[entry.settings].get(entry.seed) == max(of_seed)

    if not others or all(is_own(entry) for entry in opened):
        return ""
    other = others[0]
    return (
        f"you opened the test part of {side!r} with {_named(other)}, and {_named(best)} had the "
        f"higher mean on the validation part ({means[best]:.1f} against {means[other]:.1f}): take "
        "what validation prefers."
    )


def _named(settings: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in settings) or "no setting"


def _of_pairing(lab: Lab) -> list[str]:
    seeds = [{entry.seed for entry in _scored(lab, side, "test")} for side in lab.sides]
    if not any(seeds):
        return ["you opened the test part of no network: the comparison itself is made there."]
    if seeds[0] != seeds[1]:
        [seed] = sorted(seeds[0] ^ seeds[1])[:1]
        side = lab.sides[seed in seeds[1]]
        return [
            f"the sides were not compared on the same seeds ({seed} belongs to {side!r} alone): a "
            "seed deals the examples and the initial weights, and its luck only cancels in pairs."
        ]
    declared = _declared(lab)
    asked = set(declared[0].seeds) if declared else seeds[0]
    if more := sorted(seeds[0] - asked):
        return [
            f"you compared seeds that you had not declared ({_few(more)}): whoever may add seeds "
            "after a look stops when the word pleases, and is pleased too often."
        ]
    if fewer := sorted(asked - seeds[0]):
        return [
            f"you declared {len(asked)} seeds and left out {len(fewer)} of them ({_few(fewer)}): "
            "the rest may be those that happened to agree with you."
        ]
    return []


def _few(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds[:3])) + (", ..." if len(seeds) > 3 else "")


def _of_concluding(lab: Lab, result: Paired, returned: object) -> list[str]:
    try:
        low, high, word = returned
        low, high = float(low), float(high)
    except (TypeError, ValueError):
        kind = type(returned).__name__.replace("NoneType", "None")
        return [f"expected two numbers and a word, got {kind}: end with `return low, high, word`."]
    unit = lab.unit.split()[0]
    ends = f"{result.low:+.2f} to {result.high:+.2f} {unit}"
    if not np.allclose([low, high], [result.low, result.high], rtol=0, atol=1e-3):
        hint = _guessed(lab, result, low, high)
        return [
            f"the 95 % interval of your {len(result.differences)} differences, {lab.sides[1]!r} "
            f"minus {lab.sides[0]!r}, is {ends}, and you returned {low:+.2f} to {high:+.2f}."
            + (f" {hint}" if hint else "")
        ]
    if not isinstance(word, str) or word != result.word:
        return [
            f"with the margin of {result.margin:g} that you declared, {ends} is called "
            f"{result.word!r}, and you returned {word!r}: the word follows from the whole "
            "interval and the margin, and from nothing else."
        ]
    return []


def _guessed(lab: Lab, result: Paired, low: float, high: float) -> str:
    """What an interval that is not Student's may be."""
    d, n = result.differences, len(result.differences)
    t, z = scipy.stats.t.ppf(0.975, n - 1), scipy.stats.norm.ppf(0.975)
    sides = [{e.seed: e.score for e in _scored(lab, side, "test")} for side in lab.sides]
    control, treated = (np.array([own[s] for s in sorted(own)]) for own in sides)
    apart = np.sqrt(control.var(ddof=1) / n + treated.var(ddof=1) / n) if len(control) == n else 0
    pooled = scipy.stats.t.ppf(0.975, 2 * n - 2)
    half, error = (high - low) / 2, d.std(ddof=1) / np.sqrt(n)
    welch = [factor * apart for factor in (t, pooled, z)]
    known = {
        "That is the interval of two unrelated samples: subtract within each seed first, and "
        "the luck of the seeds is gone.": welch,
        "That is the spread of single differences; the mean of S of them is surer by the root of "
        "S.": [t * d.std(ddof=1), z * d.std(ddof=1)],
        "That takes the quantile of a normal distribution; with so few seeds the spread is not "
        "known so well, and Student's is needed.": [z * error],
        "That divides by S where the spread of a sample takes S - 1.": [
            t * error * np.sqrt((n - 1) / n)
        ],
    }
    if np.allclose([low, high], [-result.high, -result.low], rtol=0, atol=1e-3):
        return "That is the same with the sides exchanged: control minus treated."
    if not math.isclose((low + high) / 2, result.mean, abs_tol=1e-3):
        return ""
    hints = (hint for hint, halves in known.items() if np.isclose(half, halves, atol=1e-3).any())
    return next(hints, "")


# --- simulated laboratories ------------------------------------------------------------------

LUCK = 4.0  # spread of the scores from seed to seed, in points: pairing takes it away
SLOPE = 1.5  # points that a setting loses with each squared step from the best one


# Gains and noises, so that each word is likely to be right in some world, whatever margin from 0.5
# to 2 points and however many seeds from 8 to 16 a learner declares.
WORLDS = (
    *((5, 1), (0, 0.15), (0, 0.8), (0, 6), (-5, 1)),
    *((0.65, 0.38), (1.2, 0.6), (2.2, 0.9), (-0.65, 0.38), (-1.2, 0.6), (-2.2, 0.9)),
)


def simulated(
    plan: str | Plan, *, gain: float = 3.0, noise: float = 1.0, world_seed: int = 0
) -> Lab:
    """Make a laboratory whose networks are random numbers: instant, with a known truth.

    A score is the luck of the seed, which both sides share and which is large, plus the gain of the
    side, minus what its setting loses, plus noise. Where the best setting lies is drawn for each
    side. The chance of an odd seed is that of the even one before it with the sign turned, so that
    what a check sees of a world does not hang on luck.

    Parameters
    ----------
    plan : str or Plan
        What is compared: a lesson's number, or a plan of one's own.
    gain : float
        Of the treated side, both at their best settings.
    noise : float
        Spread that is left within a seed.
    world_seed : int
        Of everything that is drawn.

    Raises
    ------
    ValueError
        If there is no such lesson.

    Examples
    --------
    >>> from coursekit.exercises import study
    >>> lab = study.simulated("04", gain=2)
    >>> lab.sides, lab.grid["with dropout"][:2]
    (('without dropout', 'with dropout'), [{'epochs': 5}, {'epochs': 10}])
    """
    if not isinstance(plan, Plan):
        choose("lesson", plan, PLANS)
        plan = PLANS[plan]
    grid = grid_of(plan)
    where = {(side, *s.items()): i for side in plan.sides for i, s in enumerate(grid[side])}
    draws = np.random.default_rng([world_seed, 0])
    best = {side: draws.integers(len(grid[side])) for side in plan.sides}
    most = max(len(own) for own in grid.values())
    seeds: dict[int, np.ndarray] = {}

    def world(side: str, seed: int, part: str, settings: dict, _: tuple[int, ...]) -> float:
        if seed not in seeds:
            rng = np.random.default_rng([world_seed, 1, seed // 2])
            seeds[seed] = (-1) ** (seed % 2) * rng.normal(size=(2, most, 4))  # by side and setting
        place, treated = where[side, *settings.items()], plan.sides.index(side)
        luck, *own = seeds[seed][0, 0, 0], *seeds[seed][treated, place, 1:]
        loss = SLOPE * (place - best[side]) ** 2
        # A network of its own, and two parts to test it on.
        own_noise = noise * (own[0] + 0.5 * own[1 + PARTS.index(part)])
        return 70 + LUCK * luck + gain * treated - loss + own_noise

    return Lab(plan.sides, grid, world, plan.unit)


def grid_of(plan: Plan) -> dict[str, list[dict[str, float]]]:
    """Return the settings of each side: `[{}]` where there is nothing to set.

    Examples
    --------
    >>> from coursekit.exercises import study
    >>> study.grid_of(study.Plan(("ridge", "lasso"), "alpha", (0.1, 1), (0.1, 1)))["lasso"]
    [{'alpha': 0.1}, {'alpha': 1}]
    """
    values = zip(plan.sides, (plan.control, plan.treated), strict=True)
    return {side: [{plan.setting: v} for v in own] or [{}] for side, own in values}


def drive(answer, sides, setting, control, treated, unit, gain, noise, world_seed) -> dict:
    """Conduct a study in a simulated laboratory: the driver of exercises of this kind."""
    plan = Plan(tuple(sides), setting, tuple(control), tuple(treated), unit)
    lab = simulated(plan, gain=gain, noise=noise, world_seed=world_seed)
    return {FINDING: next(iter(audit(lab, answer(lab))), "")}


def probes(plan: str | Plan) -> Callable[[np.random.Generator], list[Probe]]:
    """Return what asks a study in several worlds, so that each word is right in one of them.

    Parameters
    ----------
    plan : str or Plan
        What is compared: a lesson's number, or a plan of one's own.

    Examples
    --------
    An exercise of this kind is ten lines:

    >>> from coursekit.exercises import study
    >>> from coursekit.exercises.exercise import Exercise
    >>> exercise = Exercise(
    ...     name="decay_study",
    ...     lesson="03",
    ...     points=5,
    ...     signature="(lab)",
    ...     task="Does decoupled decay beat an L2 penalty in Adam?",
    ...     probes=study.probes("03"),
    ...     reference=study.conduct,
    ...     driver=study.drive,
    ...     hints=("Declare first.",),
    ...     why="All that could be fitted to the scores was fixed before there was one.",
    ... )
    >>> exercise.check(study.conduct).status
    'right'
    """
    plan = plan if isinstance(plan, Plan) else PLANS[plan]
    treated = plan.sides[1]

    def ask(rng: np.random.Generator) -> list[Probe]:
        worlds = [(round(gain * rng.uniform(0.9, 1.1), 1), noise) for gain, noise in WORLDS]
        return [
            Probe(
                f"simulated networks of which {treated!r} {_truth(gain, noise)}",
                {
                    **plan._asdict(),
                    "sides": list(plan.sides),
                    "control": list(plan.control),
                    "treated": list(plan.treated),
                    "gain": gain,
                    "noise": float(noise),
                    "world_seed": int(rng.integers(2**31)),
                },
            )
            for gain, noise in worlds
        ]

    return ask


def _truth(gain: float, noise: float) -> str:
    if gain:
        return f"{'gains' if gain > 0 else 'loses'} {abs(gain):.1f} points"
    return "gains nothing" + (", under noise" if noise > 0.5 else "")


def conduct(lab: Lab) -> tuple[float, float, str]:
    """Conduct a sound study in any laboratory: the reference of exercises of this kind.

    Examples
    --------
    >>> from coursekit.exercises import study
    >>> study.conduct(study.simulated("00", gain=5))[2]
    'helps'
    """
    from coursekit.plots import word  # late: matplotlib takes a second

    seeds, (control, treated) = range(12), lab.sides
    lab.declare(question=f"Is {treated} better than {control}?", margin=1.0, seeds=seeds)

    def mean(side: str, settings: dict) -> float:
        return np.mean([lab.score(side, seed, "val", **settings) for seed in seeds])

    best = {
        side: max(own, key=lambda settings, side=side: mean(side, settings))
        if len(own) > 1
        else own[0]
        for side, own in lab.grid.items()
    }
    scores = {
        side: np.array([lab.score(side, seed, "test", **best[side]) for seed in seeds])
        for side in lab.sides
    }
    _, low, high = t_interval(scores[treated] - scores[control], 0.95)
    return low, high, word(low, high, 1.0)
