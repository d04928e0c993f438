"""The rule of the ledger: words of comparisons, answers of claims, and how often they are false."""

import numpy as np
import pytest
import scipy.stats
from scipy.stats import t as student

from coursekit.ledger import rates, rule
from coursekit.ledger.evidence import Exact, Side, crossed, join, plain
from coursekit.ledger.record import parse

RECORD = {
    "question": "Does it help?",
    "lesson": "04",
    "said_by": ["review"],
    "compares": "without with with",
    "tuned": "nothing",
    "fixed": "all else",
    "setting": "digits",
    "because": "a point is nine digits",
    "control": "without",
    "treated": "with",
    "conditions": {"here": "helps"},
}


def record(**changes):
    return parse("C99", RECORD | changes)


def pair(difference, spread=0.001, n=32, examples=None):
    """Two sides whose differences have a given mean and spread, without skewness."""
    wave = spread * np.resize([-1.0, 1.0], n)
    control = np.full(n, 0.8)
    return Side(control, examples), Side(control + difference + wave, examples)


def word(difference, spread=0.001, **condition):
    here = {"expect": "helps"} | condition
    [found] = rule.compare(record(conditions={"here": here}), {"here": pair(difference, spread)})
    return found.word, found.standing


@pytest.mark.parametrize(
    ("difference", "spread", "found", "standing"),
    [
        (0.03, 0.001, "helps", "for"),
        (-0.03, 0.001, "hurts", "against"),
        (0.004, 0.001, "too small to matter", "small"),
        (0.01, 0.004, "helps, size open", "open"),
        (-0.01, 0.004, "hurts, size open", "against"),
        (0.0, 0.06, "not yet known", "open"),
    ],
)
def test_a_comparison_gets_a_symmetric_word(difference, spread, found, standing):
    assert word(difference, spread) == (found, standing)
    turned = found.replace("helps", "x").replace("hurts", "helps").replace("x", "hurts")
    assert word(-difference, spread)[0] == turned


def test_lower_is_better_where_the_record_says_so():
    loss = {"metric": "nll"}
    assert word(-0.1, 0.001, **loss) == ("helps", "for")
    assert word(0.1, 0.001, **loss) == ("hurts", "against")


@pytest.mark.parametrize(
    ("wants", "difference", "spread", "found", "standing"),
    [
        ("same", 0.001, 0.001, "too small to matter", "for"),
        ("same", 0.03, 0.001, "helps", "against"),
        ("same", 0.01, 0.004, "helps, size open", "open"),
        ("not worse", 0.03, 0.001, "not worse", "for"),
        ("not worse", -0.004, 0.001, "not worse", "for"),
        ("not worse", -0.03, 0.001, "worse", "against"),
        ("not worse", -0.01, 0.004, "not yet known", "open"),
    ],
)
def test_equivalence_and_non_inferiority(wants, difference, spread, found, standing):
    assert word(difference, spread, wants=wants) == (found, standing)


def test_the_interval_crosses_seeds_and_examples():
    rng = np.random.default_rng(0)
    control, treated = (rng.random((40, 300)) < p for p in (0.7, 0.8))
    [found] = rule.compare(record(), {"here": (crossed(control), crossed(treated))})
    d = 100 * (treated.mean(1) - control.mean(1))
    each = 100 * (treated.mean(0) - control.mean(0))
    wider = rule.widening(scipy.stats.skew(d), 40, rule.ALPHA)
    a, b = (wider * d.std(ddof=1)) ** 2 / 40, each.var(ddof=1) / 300
    df = (a + b) ** 2 / (a**2 / 39 + b**2 / 299)
    half = student.ppf(1 - rule.ALPHA / 2, df) * np.sqrt(a + b)
    np.testing.assert_allclose([found.low, found.high], d.mean() + half * np.array([-1, 1]))
    assert found.s_examples > 0
    alone = rule.compare(record(), {"here": (plain(control.mean(1)), plain(treated.mean(1)))})[0]
    assert alone.high - alone.low < found.high - found.low


def test_all_intervals_of_a_claim_hold_together():
    conditions = {"a": "helps", "b": "helps", "c": "helps"}
    one = rule.compare(record(conditions={"a": "helps"}), {"a": pair(0.02, 0.01)})[0]
    three = rule.compare(record(conditions=conditions), dict.fromkeys(conditions, pair(0.02, 0.01)))
    assert one.level == rule.ALPHA
    assert {c.level for c in three} == {rule.ALPHA / 3}
    assert three[0].high > one.high


def test_skewed_seeds_widen_the_interval():
    even, skewed = np.resize([-1.0, 1.0], 32), np.r_[np.full(30, -0.2), 3.0, 3.0]
    skewed = skewed / skewed.std()
    base = np.full(32, 0.8)
    widths = []
    for wave in (even, skewed):
        [c] = rule.compare(record(), {"here": (Side(base), Side(base + 0.02 + 0.01 * wave))})
        widths.append(c.high - c.low)
    assert widths[1] > 1.3 * widths[0]


def test_a_side_that_is_its_own_reference_is_refused():
    [found] = rule.compare(record(), {"here": pair(0.011, 0.0)})
    assert found.standing == "untested"
    assert "compared with itself" in found.note
    [found] = rule.compare(record(), {"here": pair(0.0, 0.0)})
    assert "the same at every seed" in found.note


def test_an_exact_fact_is_not_judged_by_chance():
    exact = record(conditions={"here": {"expect": "holds", "wants": "exact"}})
    for holds, words in ((True, ("holds", "for")), (False, ("fails", "against"))):
        [found] = rule.compare(exact, {"here": Exact(holds, "difference 0")})
        assert (found.word, found.standing) == words
    with pytest.raises(ValueError, match="expected 'exact' of 'here'"):
        rule.compare(exact, {"here": pair(0.1)})
    with pytest.raises(ValueError, match="a declared condition of C99, got 'there'"):
        rule.compare(record(), {"there": pair(0.1)})


@pytest.mark.parametrize(
    ("standings", "answer"),
    [
        ("for for", "yes"),
        ("for untested", "yes"),
        ("for against", "depends"),
        ("for small open", "depends"),
        ("for open", "not yet known"),
        ("small open", "not yet known"),
        ("small small", "too small to matter"),
        ("small against", "the opposite"),
        ("against", "the opposite"),
        ("untested", "not tested"),
    ],
)
def test_the_answer_follows_from_all_conditions(standings, answer):
    assert rule.answer(standings.split()) == answer


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        (0.03, 0.03, "yes"),
        (0.03, -0.03, "the opposite"),
        (0.03, 0.0, "too small to matter"),
        (0.03, None, "not tested"),
    ],
)
def test_a_sentence_with_and_needs_all_its_parts(first, second, answer):
    parts = {"a": "Is it quick?", "b": "Is it good?"}
    b = {"expect": "helps", "part": "b"} | ({"untested": "no"} if second is None else {})
    own = record(parts=parts, conditions={"1": {"expect": "helps", "part": "a"}, "2": b})
    found = {"1": pair(first)} | ({} if second is None else {"2": pair(second)})
    judged = rule.compare(own, found)
    assert rule.answers(own, judged)[0] == answer
    assert rule.answers(own, judged)[1]["a"] == "yes"


def test_a_part_that_another_world_lacks_is_not_asked_there():
    parts = {"a": "Is it quick?", "b": "Is it good?"}
    conditions = {n: {"expect": "helps", "part": p} for n, p in (("1", "a"), ("2", "b"))}
    own = record(parts=parts, conditions=conditions)
    judged = rule.compare(own, {"1": pair(0.03)})
    assert rule.answers(own, judged) == ("yes", {"a": "yes", "b": "not tested"})


def test_blocks_of_seeds_join_to_what_one_block_gives():
    rng = np.random.default_rng(0)
    values = rng.random((48, 30))
    whole = {"here": (crossed(values), crossed(values**2)), "fact": Exact(True, "0")}
    parts = [
        {"here": (crossed(v), crossed(v**2)), "fact": Exact(True, "0")}
        for v in (values[:32], values[32:])
    ]
    joined = join(parts)
    for a, b in zip(joined["here"], whole["here"], strict=True):
        np.testing.assert_allclose(a.scores, b.scores)
        np.testing.assert_allclose(a.examples, b.examples, atol=1e-4)
    with pytest.raises(ValueError, match="an exact fact"):
        join([parts[0], parts[1] | {"fact": Exact(False, "1")}])
    with pytest.raises(ValueError, match="the same conditions"):
        join([parts[0], {"here": parts[1]["here"]}])


@pytest.mark.parametrize("name", rates.CASES)
def test_false_words_are_as_rare_as_promised(name):
    case, studies = rates.CASES[name], 4000
    share = rates.false_words(case, studies, seed=1)
    chance = scipy.stats.binom.isf(0.001, studies, rates.limit(case)) / studies
    assert share <= chance


def test_the_simulation_notices_a_rule_that_is_too_bold(monkeypatch):
    case = rates.CASES["no effect, six comparisons"]
    monkeypatch.setattr(rule, "ALPHA", 0.15)
    assert rates.false_words(case, 2000) > 0.08
