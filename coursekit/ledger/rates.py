"""How often is a word of the rule false? Simulated, with everything the rule does.

A study has M comparisons of one claim, each with S seeds and N test examples. Seeds and examples
are both drawn, so a test set may favor a side for all seeds alike. It is looked at after 32, 48 and
64 seeds until the seeds' part is precise, and judged by the functions that judge the ledger.
Effects are in units of the smallest one that matters.

A word is false if it says something that is not so of the true effect: "helps" of an effect of at
most 1, "too small to matter" of one of at least 1, "helps, size open" of one of at most 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from coursekit.ledger import rule
from coursekit.ledger.record import LOOKS

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]  # mean 0, standard deviation 1


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Seeds that differ as a normal distribution."""
    return rng.normal(size=shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Seeds of which some gain much more than most: an exponential distribution."""
    return rng.exponential(size=shape) - 1


def dead(rng: np.random.Generator, shape: tuple[int, ...], share: float = 0.15) -> np.ndarray:
    """Seeds of which some lose all, because their network never learns."""
    lost = rng.random(shape) < share
    values = np.where(lost, -3.0, 3.0 * share / (1 - share)) + 0.3 * rng.normal(size=shape)
    return values / np.sqrt(9 * share / (1 - share) + 0.09)


@dataclass(frozen=True)
class Case:
    """One kind of study.

    Attributes
    ----------
    effects : tuple of float
        True effects of the M comparisons, in units of the smallest one that matters.
    spread : float
        Standard deviation over seeds.
    of_test : float
        Standard error that the test examples add; each comparison has its own.
    draw : callable
        Distribution over seeds.
    shared : float in [0, 1]
        Correlation of the comparisons' seeds: they often share networks.
    margin : bool
        Whether the claim asks for "not worse".
    """

    effects: tuple[float, ...]
    spread: float = 1.5
    of_test: float = 0.25
    draw: Draw = normal
    shared: float = 0.0
    margin: bool = False


CASES: Mapping[str, Case] = {
    "no effect": Case((0.0,)),
    "no effect, wide": Case((0.0,), spread=4.0),
    "no effect, six comparisons": Case((0.0,) * 6),
    "at the edge": Case((1.0,)),
    "at the edge, wide": Case((1.0,), spread=4.0),
    "at both edges, six comparisons": Case((1.0, -1.0) * 3),
    "at the edge, twelve that share networks": Case((1.0,) * 12, shared=0.8),
    "no effect and edges, mixed": Case((0.0, 0.0, 1.0, 1.0, -1.0, 2.0)),
    "two parts, one true by a hair": Case((1.02, 1.02, 0.0, 0.0)),
    "a test set that favors a side, no effect": Case((0.0,) * 3, of_test=0.75),
    "a test set that favors a side, at the edge": Case((1.0,) * 3, of_test=0.75),
    "skewed, no effect": Case((0.0,) * 3, 4.0, 0.1, skewed),
    "skewed, at the edge": Case((1.0,) * 3, 1.5, 0.0, skewed),
    "skewed, at the other edge": Case((-1.0,), 1.0, 0.0, skewed),
    "dead networks, no effect": Case((0.0,) * 3, 4.0, 0.1, dead),
    "dead networks, at the edge": Case((1.0,) * 3, 1.5, 0.0, dead),
    "dead networks, at the other edge": Case((-1.0,), 0.8, 0.0, dead),
    "not worse, at the margin": Case((-1.0,) * 3, margin=True),
}
WANTED = 0.05
AT_MOST = 0.06  # of false words at an edge, where both neighbors are wrong; 5 % elsewhere


def false_words(case: Case, studies: int = 4000, *, seed: int = 0, n_examples: int = 900) -> float:
    """Share of studies in which any comparison of the claim gets a false word."""
    rng = np.random.default_rng(seed)
    m, most = len(case.effects), LOOKS[-1]
    effect = np.array(case.effects)
    own = case.draw(rng, (studies, m, most))
    shared = case.draw(rng, (studies, 1, most))
    r = case.shared
    seeds = case.spread * (np.sqrt(1 - r) * own + np.sqrt(r) * shared)
    # What the test examples do to all seeds alike, and how well that is known from N of them.
    favor = case.of_test * rng.normal(size=(studies, m))
    known = case.of_test * np.sqrt(rng.chisquare(n_examples - 1, (studies, m)) / (n_examples - 1))
    wrong, running = np.zeros(studies, bool), np.ones(studies, bool)
    for n in LOOKS:
        part = seeds[running, :, :n]
        s = part.std(-1, ddof=1)
        skewness = rule.skewness(part)
        half = rule.half_width(s, n, skewness)
        done = (half <= 0.5).all(-1) | (n == most)
        mean = effect + part.mean(-1) + favor[running]
        spread = known[running] * np.sqrt(n_examples)
        wider = rule.widening(skewness, n, rule.ALPHA / m)
        error, df = rule.standard_error(s * wider, n, spread, np.array(n_examples))
        words = rule.decide(mean, error, df, np.ones(m), case.margin)
        at = np.flatnonzero(running)[done]
        wrong[at] = _false(words, effect)[done].any(-1)
        running[at] = False
    return float(wrong.mean())


def _false(words: np.ndarray, effect: np.ndarray) -> np.ndarray:
    return np.select(
        [words == getattr(rule, name) for name in _UNTRUE],
        [np.broadcast_to(untrue(effect), words.shape) for untrue in _UNTRUE.values()],
        False,
    )


_UNTRUE: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "HELPS": lambda e: e <= 1,
    "HURTS": lambda e: e >= -1,
    "SMALL": lambda e: np.abs(e) >= 1,
    "HELPS_OPEN": lambda e: e <= 0,
    "HURTS_OPEN": lambda e: e >= 0,
    "NOT_WORSE": lambda e: e <= -1,
    "WORSE": lambda e: e >= -1,
}


def limit(case: Case) -> float:
    """The share of false words that is allowed: 5 %, and 6 % where a true effect is at an edge."""
    return AT_MOST if any(abs(e) == 1 for e in case.effects) else WANTED


def table(studies: int = 20_000) -> str:
    """The shares of all cases, a line each."""
    lines = [f"{'case':48}{'false words':>12}{'allowed':>9}"]
    for name, case in CASES.items():
        share = false_words(case, studies)
        lines.append(f"{name:48}{100 * share:>10.1f} %{100 * limit(case):>7.0f} %")
    return "\n".join([*lines, f"{studies:,} simulated claims per line"])
