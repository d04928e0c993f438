"""Intervals against scipy and their own definitions, and against the slips that texts make."""

import numpy as np
import pytest
from scipy import stats

from coursekit.intervals import (
    bootstrap_interval,
    crossed_interval,
    holm,
    jackknife,
    p_wrong_sign,
    paired_interval,
)
from coursekit.ledger import rule

STUDIES = 4000
SEEDS = 12


def se_of_share(share, n=STUDIES):
    """Standard error of an observed share of n independent studies."""
    return np.sqrt(share * (1 - share) / n)


# The interval


@pytest.mark.parametrize("n_seeds", [2, 3, 12, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_interval_equals_scipy(n_seeds, confidence):
    rng = np.random.default_rng(n_seeds)
    control, treated = rng.normal(size=(2, n_seeds))
    ours = paired_interval(control, treated, confidence=confidence)
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
    mean, low, _ = paired_interval(control, treated)
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


# Seeds that cross test examples


def crossed_table(rng, n_seeds=12, n_examples=30, seeds=1.0, examples=1.0):
    """Differences (S, N) around 0: luck of the seed, of the example, and of both together."""
    luck = seeds * rng.normal(size=(n_seeds, 1)) + examples * rng.normal(size=(1, n_examples))
    return luck + rng.normal(size=(n_seeds, n_examples))


@pytest.mark.parametrize(("seeds", "examples"), [(1.0, 1.0), (1.0, 0.1), (0.1, 1.0)])
def test_the_crossed_interval_is_the_ledgers(seeds, examples):
    d = crossed_table(np.random.default_rng(3), seeds=seeds, examples=examples)
    (n_seeds, n_examples), columns = d.shape, d.mean(0)
    error, df = rule.standard_error(d.mean(1).std(ddof=1), n_seeds, columns.std(ddof=1), n_examples)
    mean, low, high = crossed_interval(d, confidence=0.9)
    assert mean == pytest.approx(d.mean())
    half = stats.t.isf(0.05, df) * error
    np.testing.assert_allclose([low, high], [d.mean() - half, d.mean() + half], rtol=1e-12)


def test_the_crossed_interval_counts_the_test_examples():
    """It covers the truth about as often as it says; seeds alone miss it far more often."""
    rng, ours, seeds_only = np.random.default_rng(5), 0, 0
    for _ in range(STUDIES):
        d = crossed_table(rng)
        _, low, high = crossed_interval(d)
        ours += low < 0 < high
        _, low, high = paired_interval(0.0, d.mean(1))
        seeds_only += low < 0 < high
    assert 0.94 < ours / STUDIES < 0.98  # a little wide: each spread holds some of the other luck
    assert seeds_only / STUDIES < 0.93


def test_a_table_without_any_spread_has_an_interval_of_one_point():
    assert crossed_interval(np.ones((3, 4))) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("d", "words"),
    [
        ([0.1, 0.2], "paired_interval"),
        (np.zeros((1, 4)), r"got \(1, 4\)"),
        (np.zeros((4, 1)), "at least 2 seeds and 2 test examples"),
        ([[0.0, 1.0], [np.nan, 1.0]], r"positions \[1\]"),
    ],
)
def test_no_crossed_interval_without_a_table(d, words):
    with pytest.raises(ValueError, match=words):
        crossed_interval(d)


def test_skewed_differences_cost_at_most_three_points_of_coverage():
    def gamma(rng, size):  # skewness 1: more than differences of accuracies show
        return rng.gamma(4, size=size) - 4

    found = coverage(ours, SEEDS, gamma)
    assert 0.92 - 4 * se_of_share(0.92) < found < 0.95 + 4 * se_of_share(0.95)


def test_bootstrap_equals_its_definition():
    d = np.random.default_rng(3).gamma(2, size=20)
    low, high = bootstrap_interval(0.0, d, resamples=20_000)[1:]
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
        _, low, high = bootstrap_interval(0.0, rng.normal(size=SEEDS), resamples=800)
        inside += low < 0 < high
    assert 0.85 < inside / n < 0.95 - 2 * se_of_share(0.95, n)


def test_equal_differences_have_an_interval_without_width():
    for interval in (paired_interval, bootstrap_interval):
        assert interval([1.0, 2.0, 3.0], [3.0, 4.0, 5.0]) == (2, 2, 2)


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


# Other tools


def test_jackknife_of_a_mean_is_the_sample_and_of_a_variance_is_unbiased():
    x = np.random.default_rng(11).normal(size=15)
    np.testing.assert_allclose(jackknife(np.mean, x), x)
    assert jackknife(np.var, x).mean() == pytest.approx(x.var(ddof=1))
    assert jackknife(lambda rows: rows.sum(), np.ones((4, 2))).shape == (4,)


def test_jackknife_knows_the_error_of_a_standard_deviation():
    rng = np.random.default_rng(12)
    samples = rng.normal(size=(400, 60))
    errors = [jackknife(np.std, x).std(ddof=1) / np.sqrt(60) for x in samples]
    assert np.mean(errors) == pytest.approx(samples.std(1).std(), rel=0.12)  # 3 SE of an SD of 400


@pytest.mark.parametrize(("effect", "sd", "n"), [(0.5, 1.0, 1), (-0.2, 1.0, 12), (0.0, 3.0, 4)])
def test_p_wrong_sign_equals_simulation(effect, sd, n):
    means = np.random.default_rng(13).normal(effect, sd, size=(40_000, n)).mean(1)
    wrong = np.mean(means < 0) if effect >= 0 else np.mean(means > 0)
    expected = p_wrong_sign(effect, sd, n)
    assert abs(wrong - expected) < 4 * se_of_share(expected, 40_000)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_interval([1, 2], [3, 4], confidence=95), r"confidence in \(0, 1\)"),
        (lambda: holm([]), "p-values"),
        (lambda: holm([0.5, np.nan]), "p-values"),
        (lambda: holm([0.5, 1.5]), "p-values"),
        (lambda: holm(0.5), "p-values"),
        (lambda: jackknife(np.mean, [1.0, 2.0]), "at least 3"),
        (lambda: p_wrong_sign(1.0, 0.0), "sd > 0"),
        (lambda: p_wrong_sign(np.nan, 1.0), "finite effect"),
        (lambda: p_wrong_sign(1.0, 1.0, 0), "n_seeds, a whole number >= 1"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
