"""Verdicts against scipy, against simulated studies, and against the slips that texts make."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from coursekit import judge
from coursekit.judge import OUTCOMES, Verdict, holm, lowers, raises, together

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


# The interval


@pytest.mark.parametrize("n_seeds", [2, 3, 12, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_interval_equals_scipy(n_seeds, confidence):
    rng = np.random.default_rng(n_seeds)
    control, treated = rng.normal(size=(2, n_seeds))
    ours = judge.paired_interval(control, treated, confidence=confidence)
    reference = stats.ttest_rel(treated, control).confidence_interval(confidence)
    np.testing.assert_allclose(ours[1:], reference, rtol=1e-10)
    assert ours.mean == pytest.approx((treated - control).mean())


def unpaired(control, treated):
    error = np.sqrt((control.var(ddof=1) + treated.var(ddof=1)) / control.size)
    return (treated - control).mean(), stats.t.ppf(0.975, control.size - 1) * error


def normal_quantile(control, treated):
    d = treated - control
    return d.mean(), stats.norm.ppf(0.975) * d.std(ddof=1) / np.sqrt(d.size)


def ddof_zero(control, treated):
    d = treated - control
    return d.mean(), stats.t.ppf(0.975, d.size - 1) * d.std() / np.sqrt(d.size)


def ours(control, treated):
    mean, low, _ = judge.paired_interval(control, treated)
    return mean, mean - low


def coverage(interval, n_seeds, draw=np.random.Generator.normal):
    """Share of studies whose interval holds the true difference 0; the arms share luck."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(STUDIES):
        luck = rng.normal(size=n_seeds)
        mean, half = interval(luck, luck + draw(rng, size=n_seeds))
        hits += abs(mean) < half
    return hits / STUDIES


def test_the_interval_covers_95_percent():
    assert abs(coverage(ours, SEEDS) - 0.95) < 4 * se_of_share(0.95)


@pytest.mark.parametrize("wrong", [unpaired, normal_quantile, ddof_zero])
def test_wrong_intervals_do_not_cover_95_percent(wrong):
    # With 3 seeds a slip of a factor shows at once; unpaired intervals are far too wide.
    assert abs(coverage(wrong, 3) - 0.95) > 4 * se_of_share(0.95)
    rng = np.random.default_rng(0)
    luck = rng.normal(size=SEEDS)
    arms = luck, luck + 0.1 * rng.normal(size=SEEDS)
    assert wrong(*arms)[1] != pytest.approx(ours(*arms)[1], rel=0.02)


def test_skewed_differences_cost_at_most_three_points_of_coverage():
    def gamma(rng, size):  # skewness 1: more than differences of accuracies show
        return rng.gamma(4, size=size) - 4

    found = coverage(ours, SEEDS, gamma)
    assert 0.92 - 4 * se_of_share(0.92) < found < 0.95 + 4 * se_of_share(0.95)


def test_bootstrap_equals_its_definition():
    d = np.random.default_rng(3).gamma(2, size=20)
    low, high = judge.bootstrap_interval(0.0, d, resamples=20_000)[1:]
    rng = np.random.default_rng(4)
    means = d[rng.integers(d.size, size=(20_000, d.size))].mean(1)
    bias = stats.norm.ppf(np.mean(means < d.mean()))
    jack = np.array([np.delete(d, i).mean() for i in range(d.size)])
    jack = jack.mean() - jack
    skew = (jack**3).sum() / (6 * (jack**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    expected = np.quantile(means, stats.norm.cdf(bias + z / (1 - skew * z)))
    # Two sets of 20,000 resamples differ by their own noise: about 2 % of a standard error.
    np.testing.assert_allclose([low, high], expected, atol=0.1 * d.std() / np.sqrt(d.size))
    reference = stats.bootstrap((d,), np.mean, n_resamples=20_000, rng=0).confidence_interval
    np.testing.assert_allclose([low, high], reference, rtol=1e-12)


def test_bootstrap_is_too_narrow_with_few_seeds():
    rng, n = np.random.default_rng(5), 600
    inside = 0
    for _ in range(n):
        _, low, high = judge.bootstrap_interval(0.0, rng.normal(size=SEEDS), resamples=800)
        inside += low < 0 < high
    assert 0.85 < inside / n < 0.95 - 2 * se_of_share(0.95, n)


def test_equal_differences_have_an_interval_without_width():
    for interval in (judge.paired_interval, judge.bootstrap_interval):
        assert interval([1.0, 2.0, 3.0], [3.0, 4.0, 5.0]) == (2, 2, 2)


# The rule

PATTERNS = [  # mean, half width, outcome if "higher" was predicted, and if "lower" was
    (3.0, 1.0, "supported", "contradicted"),
    (3.0, 1.9, "supported", "contradicted"),
    (3.0, 2.1, "undecided", "contradicted"),
    (3.0, 4.1, "undecided", "undecided"),
    (1.0, 0.1, "undecided", "contradicted"),
    (0.5, 0.4, "no difference", "no difference"),
    (0.5, 0.6, "undecided", "contradicted"),
    (0.0, 0.9, "no difference", "no difference"),
    (0.0, 1.1, "undecided", "undecided"),
    (0.0, 9.0, "undecided", "undecided"),
    (-0.5, 0.4, "no difference", "no difference"),
    (-0.5, 1.4, "contradicted", "undecided"),
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
    right += ["contradicted"] if effect < 1 else []
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
        [low > 1, high >= 1, low > -1],
        ["supported", "undecided", "no difference"],
        "contradicted",
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
    assert text.startswith("it helps: supported (+5.0, corrected for 2 [+")


# Several at once


def holm_by_definition(p):
    """Smallest alpha at which the stepwise procedure rejects, by trying every candidate."""
    candidates = sorted({0.0, *(min(1, p_i * k) for p_i in p for k in range(1, len(p) + 1))})

    def rejected(alpha):
        out = set()
        for done, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] > alpha / (len(p) - done) * (1 + 1e-12):
                break
            out.add(i)
        return out

    return [min((a for a in candidates if i in rejected(a)), default=1.0) for i in range(len(p))]


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.6]), [1.0, 1.0])
    np.testing.assert_allclose(holm([0.2]), [0.2])


@pytest.mark.parametrize("seed", range(30))
def test_holm_equals_its_definition_in_any_order(seed):
    rng = np.random.default_rng(seed)
    p = rng.random(rng.integers(1, 9)) ** 3
    if seed % 3 == 0:
        p = p.round(1)  # ties, zeros
    adjusted = holm(p)
    np.testing.assert_allclose(adjusted, holm_by_definition(p), atol=1e-9)
    assert (adjusted >= p).all()
    assert (np.diff(adjusted[p.argsort()]) >= 0).all()
    shuffle = rng.permutation(p.size)
    np.testing.assert_array_equal(holm(p[shuffle]), adjusted[shuffle])


def test_bonferroni_and_an_unordered_step_are_not_holm():
    p = np.array([0.03, 0.01, 0.02])
    for wrong in (p * 3, np.maximum.accumulate(p * [3, 2, 1])):
        assert not np.allclose(holm(p), wrong)


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


# Other tools


def test_jackknife_of_a_mean_is_the_sample_and_of_a_variance_is_unbiased():
    x = np.random.default_rng(11).normal(size=15)
    np.testing.assert_allclose(judge.jackknife(np.mean, x), x)
    assert judge.jackknife(np.var, x).mean() == pytest.approx(x.var(ddof=1))
    assert judge.jackknife(lambda rows: rows.sum(), np.ones((4, 2))).shape == (4,)


def test_jackknife_knows_the_error_of_a_standard_deviation():
    rng = np.random.default_rng(12)
    samples = rng.normal(size=(400, 60))
    errors = [judge.jackknife(np.std, x).std(ddof=1) / np.sqrt(60) for x in samples]
    assert np.mean(errors) == pytest.approx(samples.std(1).std(), rel=0.12)  # 3 SE of an SD of 400


@pytest.mark.parametrize(("effect", "sd", "n"), [(0.5, 1.0, 1), (-0.2, 1.0, 12), (0.0, 3.0, 4)])
def test_p_wrong_sign_equals_simulation(effect, sd, n):
    means = np.random.default_rng(13).normal(effect, sd, size=(40_000, n)).mean(1)
    wrong = np.mean(means < 0) if effect >= 0 else np.mean(means > 0)
    expected = judge.p_wrong_sign(effect, sd, n)
    assert abs(wrong - expected) < 4 * se_of_share(expected, 40_000)


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
        (lambda: lowers("", [1, 2], [3, 4], smallest=0), "above 0, got 0"),
        (lambda: raises("", [1, 2], [3, 4], smallest=np.nan), "above 0, got nan"),
        (lambda: raises("", [1, 2], [3, 4], "acc"), "unknown metric 'acc'.*accuracy, nll, r2"),
        (lambda: judge.paired_interval([1, 2], [3, 4], confidence=95), r"confidence in \(0, 1\)"),
        (lambda: holm([]), "p-values"),
        (lambda: holm([0.5, np.nan]), "p-values"),
        (lambda: holm([0.5, 1.5]), "p-values"),
        (lambda: holm(0.5), "p-values"),
        (lambda: judge.jackknife(np.mean, [1.0, 2.0]), "at least 3"),
        (lambda: judge.p_wrong_sign(1.0, 0.0), "sd > 0"),
        (lambda: judge.p_wrong_sign(np.nan, 1.0), "finite effect"),
        (lambda: judge.p_wrong_sign(1.0, 1.0, 0), "n_seeds >= 1"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_outcomes_are_those_of_the_prompt():
    assert set(OUTCOMES) == {"supported", "contradicted", "no difference", "undecided"}
