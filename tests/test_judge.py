"""Verdicts against scipy, against simulated studies, and against the slips that texts make."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from coursekit import judge
from coursekit.intervals import holm
from coursekit.judge import OUTCOMES, Verdict, lowers, raises, together

STUDIES = 4000
SEEDS = 12


def se_of_share(share, n=STUDIES):
    """Standard error of an observed share of n independent studies."""
    return np.sqrt(share * (1 - share) / n)


def from_interval(mean, half, direction=1, smallest=1.0):
    """A verdict of three seeds whose 95 % interval is mean +- half."""
    quantile = stats.t.ppf(0.975, 2)
    d = mean + half / quantile * np.sqrt(3) * np.array([-1.0, 0.0, 1.0])
    return Verdict("it helps", tuple(d.tolist()), direction, smallest)


def decided(verdict):
    return verdict.outcome != "undecided"


def settled(verdict):
    """Whether the interval holds neither edge."""
    _, low, high = verdict.interval
    return not (low <= verdict.smallest <= high or low <= -verdict.smallest <= high)


# The rule

PATTERNS = [  # mean, half width, outcome if "higher" was predicted, and if "lower" was
    (3.0, 1.0, "supported", "contradicted"),
    (3.0, 1.9, "supported", "contradicted"),
    (3.0, 2.1, "undecided", "contradicted"),
    (3.0, 4.1, "undecided", "undecided"),
    (1.0, 0.1, "undecided", "contradicted"),
    (0.5, 0.4, "no difference", "no difference"),
    (0.5, 0.6, "undecided", "undecided"),
    (0.0, 0.9, "no difference", "no difference"),
    (0.0, 1.1, "undecided", "undecided"),
    (0.0, 9.0, "undecided", "undecided"),
    (-0.5, 0.4, "no difference", "no difference"),
    (-0.5, 1.4, "undecided", "undecided"),
    (-0.7, 0.4, "contradicted", "undecided"),
    (-1.0, 0.1, "contradicted", "undecided"),
    (-3.0, 2.1, "contradicted", "undecided"),
    (-3.0, 1.9, "contradicted", "supported"),
]


@pytest.mark.parametrize(("mean", "half", "higher", "lower"), PATTERNS)
def test_every_position_of_the_interval(mean, half, higher, lower):
    verdict = from_interval(mean, half)
    np.testing.assert_allclose(verdict.interval, [mean, mean - half, mean + half], atol=1e-12)
    assert verdict.outcome == higher
    assert from_interval(mean, half, direction=-1).outcome == lower


def zero_inside_means_refuted(verdict):
    _, low, high = verdict.interval
    return "contradicted" if low < 0 < high else "supported" if low > 0 else "contradicted"


def significance_only(verdict):
    _, low, high = verdict.interval
    return "supported" if low > 0 else "contradicted" if high < 0 else "no difference"


def one_edge_is_enough(verdict):
    _, low, high = verdict.interval
    return "no difference" if low > -1 or high < 1 else verdict.outcome


@pytest.mark.parametrize(
    "wrong", [zero_inside_means_refuted, significance_only, one_edge_is_enough]
)
def test_the_patterns_catch_wrong_rules(wrong):
    outcomes = [wrong(from_interval(mean, half)) for mean, half, _, _ in PATTERNS]
    assert outcomes != [higher for _, _, higher, _ in PATTERNS]


def truths(effect):
    """Outcomes of "higher" that are right if `effect` is the true one; the smallest effect is 1.

    At an edge, a decision for either side of it is wrong.
    """
    right = ["undecided"]
    right += ["supported"] if effect > 1 else []
    right += ["contradicted"] if effect < 0 else []
    right += ["no difference"] if abs(effect) < 1 else []
    return right


@pytest.mark.parametrize("spread", [0.5, 2.0, 20.0])
@pytest.mark.parametrize("effect", [0.0, 0.9, 1.0, -1.0, 1.5])
def test_a_wrong_decision_happens_in_at_most_5_percent(effect, spread):
    rng = np.random.default_rng(6)
    studies = effect + spread * rng.normal(size=(STUDIES, SEEDS))
    # The rule itself, on all studies at once; a sample of them confirms that it is the rule.
    half = stats.t.ppf(0.975, SEEDS - 1) * studies.std(1, ddof=1) / np.sqrt(SEEDS)
    low, high = studies.mean(1) - half, studies.mean(1) + half
    found = np.select(
        [low > 1, (low > -1) & (high < 1), high < 0],
        ["supported", "no difference", "contradicted"],
        "undecided",
    )
    for d, outcome in zip(studies[:200], found, strict=False):
        assert raises("", 0.0, d, smallest=1.0).outcome == outcome
    assert np.mean(~np.isin(found, truths(effect))) <= 0.05 + 4 * se_of_share(0.05)


def test_the_bound_of_5_percent_is_reached_at_the_edge():
    # Exactly at the smallest effect with little noise both neighbors are wrong, 2.5 % each.
    rng = np.random.default_rng(7)
    studies = 1 + 0.1 * rng.normal(size=(STUDIES, SEEDS))
    wrong = np.mean([decided(raises("", 0.0, d, smallest=1.0)) for d in studies])
    assert abs(wrong - 0.05) < 4 * se_of_share(0.05)


def test_lowers_is_raises_of_the_opposite():
    rng = np.random.default_rng(8)
    for _ in range(50):
        control, treated = rng.normal(size=(2, 5))
        down = lowers("", control, treated, smallest=0.4)
        up = raises("", treated, control, smallest=0.4)
        assert down.outcome == up.outcome
        assert down.effect == pytest.approx(-up.effect)


def test_metrics_set_unit_scale_and_smallest_effect():
    control, treated = np.full(4, 0.90), np.array([0.93, 0.94, 0.95, 0.94])
    verdict = raises("it helps", control, treated, "accuracy")
    assert (verdict.unit, verdict.smallest) == ("points", 1.0)
    assert verdict.effect == pytest.approx(4.0)
    assert verdict.outcome == "supported"
    assert raises("", control, treated, "accuracy", smallest=6.0).outcome == "no difference"
    assert lowers("", treated, control, "nll").smallest == 0.02
    assert raises("", 0.5, [0.6, 0.7], "r2").unit == "of R2"


# How it is printed


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (
            lowers("dropout lowers accuracy", 0.9, [0.88, 0.9, 0.89], "accuracy"),
            "dropout lowers accuracy: undecided (-1.0 points, 95 % interval [-3.5, +1.5], 3 seeds)",
        ),
        (
            lowers("L2 lowers the loss", 1.0, [0.75, 0.74, 0.76, 0.75], "nll"),
            "L2 lowers the loss: supported (-0.250 nats, 95 % interval [-0.263, -0.237], 4 seeds)",
        ),
        (
            raises("more is more", 0.0, [1.0, 2.0, 3.0], smallest=10.0),
            "more is more: no difference (+2.0, 95 % interval [-0.5, +4.5], 3 seeds)",
        ),
    ],
)
def test_the_sentence(verdict, sentence):
    assert str(verdict) == repr(verdict) == sentence


def test_the_sentence_names_the_family():
    text = str(together([from_interval(5, 1), from_interval(0, 9)])[0])
    assert text.startswith("it helps: supported (+5.0, Holm interval among 2 [+")


# Several at once


def random_family(rng, size):
    """Verdicts with all kinds of truths and spreads."""
    effects = rng.choice([0.0, 0.5, 1.0, 1.3, 2.0, -1.0, -2.5, 4.0], size=size)
    spreads = rng.choice([0.2, 1.0, 2.0, 4.0], size=size)
    d = effects[:, None] + spreads[:, None] * rng.normal(size=(size, SEEDS))
    return [Verdict("", tuple(row), rng.choice([-1, 1]), 1.0) for row in d.tolist()]


def test_the_p_value_is_where_the_decision_turns():
    rng = np.random.default_rng(9)
    for verdict in random_family(rng, 80):
        p = judge._decision_p(verdict)
        assert 0 < p <= 1
        if 1e-9 < p < 0.99:
            assert settled(replace(verdict, confidence=1 - p * 1.001))
            assert not settled(replace(verdict, confidence=1 - p * 0.999))


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_together_decides_what_holm_rejects(size):
    rng = np.random.default_rng(size)
    for _ in range(60):
        family = random_family(rng, size)
        rejected = holm([judge._decision_p(verdict) for verdict in family]) <= 0.05
        corrected = together(family)
        assert [settled(verdict) for verdict in corrected] == rejected.tolist()
        stalled = {verdict.confidence for verdict in corrected if not settled(verdict)}
        assert (
            stalled <= {1 - 0.05 / (size - rejected.sum())} if not rejected.all() else not stalled
        )
        for alone, verdict in zip(family, corrected, strict=True):
            assert verdict.differences == alone.differences
            assert verdict.family == size
            assert not settled(verdict) or verdict.outcome == alone.outcome
            assert decided(alone) or not decided(verdict)
        shuffle = rng.permutation(size)
        again = together([family[i] for i in shuffle])
        assert [str(verdict) for verdict in again] == [str(corrected[i]) for i in shuffle]


def test_together_is_less_strict_than_bonferroni():
    # p of 0.001 and of 0.04: Holm decides both, since the second has the 5 % for itself.
    d = np.linspace(-1, 1, SEEDS)

    def with_p(p):
        reach = stats.t.isf(p / 2, SEEDS - 1) * d.std(ddof=1) / np.sqrt(SEEDS)
        return Verdict("", tuple((1 + reach + d).tolist()), 1, 1.0)

    first, second = with_p(0.001), with_p(0.04)
    assert judge._decision_p(second) == pytest.approx(0.04)
    assert [verdict.outcome for verdict in together([second, first])] == ["supported"] * 2
    assert not decided(replace(second, confidence=0.975))
    assert together([second, first])[0].confidence == pytest.approx(0.95)


@pytest.mark.parametrize("shared", [0.0, 0.7, 1.0], ids=["independent", "correlated", "same luck"])
def test_together_keeps_the_family_wise_rate(shared):
    """Ten verdicts: some are clear, some true effects lie at an edge, where errors are likely."""
    effects = np.array([0.0, 3.0, 1.15, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0])
    rng, n = np.random.default_rng(10), 2500
    luck = rng.normal(size=(n, 1, SEEDS))
    own = rng.normal(size=(n, 10, SEEDS))
    d = effects[:, None] + 0.2 * (np.sqrt(shared) * luck + np.sqrt(1 - shared) * own)
    # No verdict can be wrong whose widest interval holds the truth at 95 %: skip those families.
    error = d.std(-1, ddof=1) / np.sqrt(SEEDS)
    missed = (np.abs(d.mean(-1) - effects) > stats.t.ppf(0.975, SEEDS - 1) * error).any(1)
    alone, corrected = 0, 0
    for rows in d[missed].tolist():
        family = [Verdict("", tuple(row), 1, 1.0) for row in rows]
        alone += any_wrong(family, effects)
        corrected += any_wrong(together(family), effects)
    assert corrected / n <= 0.05 + 4 * se_of_share(0.05, n)
    assert alone / n > 0.05 + 4 * se_of_share(0.05, n) or shared == 1
    assert 0 < corrected < alone


def any_wrong(family, effects):
    pairs = zip(family, effects, strict=True)
    return any(verdict.outcome not in truths(effect) for verdict, effect in pairs)


@pytest.mark.parametrize("n_seeds", [2, 12])
def test_equal_differences_are_decided_together_without_a_warning(n_seeds):
    certain = raises("", 0.0, np.full(n_seeds, 50.0), smallest=1.0)
    nothing = raises("", 0.0, np.zeros(n_seeds), smallest=1.0)
    outcomes = [verdict.outcome for verdict in together([certain, nothing])]
    assert outcomes == ["supported", "no difference"]
    edge = raises("", 0.0, np.ones(n_seeds), smallest=1.0)
    assert [verdict.outcome for verdict in together([edge])] == ["undecided"]


def test_together_of_none_is_none():
    assert together([]) == []


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: raises("", [1, np.nan, 2], [1, 2, 3], smallest=1), r"positions \[1\].*diverged"),
        (lambda: raises("", [1, 2], [1, np.inf], smallest=1), "infinity"),
        (lambda: raises("", [1, 2, 3], [1, 2], smallest=1), "one value per seed"),
        (lambda: raises("", np.ones((2, 3)), np.ones((2, 3)), smallest=1), "pick an epoch"),
        (lambda: raises("", 1.0, 2.0, smallest=1), "one value per seed"),
        (lambda: raises("", [1], [2], smallest=1), "one seed has no spread"),
        (lambda: raises("", [1, 2], [3, 4]), "smallest effect that matters"),
        (lambda: lowers("", [1, 2], [3, 4], smallest=0), "> 0, got 0"),
        (lambda: raises("", [1, 2], [3, 4], smallest=np.nan), "> 0, got nan"),
        (lambda: raises("", [1, 2], [3, 4], "acc"), "unknown metric 'acc'.*accuracy, nll, r2"),
        (lambda: raises("", [90.0, 91.0], [92.0, 94.0], "accuracy"), r"got 90 to 94; try .*/ 100"),
        (lambda: raises("", 0.0, [-3.0, -4.0], "accuracy"), r"in \[-1, 1\], got -4 to 0"),
        (lambda: lowers("", [80.0, 70.0], [60.0, 50.0], "r2"), r"in \[-inf, 1\], got 50 to 80"),
        (lambda: Verdict("", (1.0, 2.0), direction=0, smallest=1.0), "direction of"),
        (lambda: Verdict("", (1.0, 2.0), direction=1, smallest=0.0), "smallest > 0"),
        (lambda: Verdict("", (1.0,), direction=1, smallest=1.0), "at least 2 seeds"),
        (lambda: together([1.0]), r"expected verdicts, got \['float'\]"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_outcomes_are_those_of_the_prompt():
    assert set(OUTCOMES) == {"supported", "contradicted", "no difference", "undecided"}


def test_a_sentence_with_and_is_as_strong_as_its_weakest_part():
    control = np.zeros(12)
    spread = np.arange(12.0) % 3 - 1
    strong, none, open_, against = (
        judge.raises("it helps", control, gain + spread, smallest=1, unit="points")
        for gain in (5, 0, 1, -5)
    )
    assert [v.outcome for v in (strong, none, open_, against)] == [
        "supported",
        "no difference",
        "undecided",
        "contradicted",
    ]
    assert judge.both(strong, strong) is strong
    assert judge.both(strong, open_) is open_
    assert judge.both(open_, none, strong) is none
    assert judge.both(none, against, open_) is against
    with pytest.raises(ValueError, match="expected at least two parts, got 1"):
        judge.both(strong)
