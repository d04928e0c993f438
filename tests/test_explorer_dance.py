"""The dance of the intervals: its numbers against the ledger's rule, and what only it does."""

from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import scipy
from browsing import counted, eventually, in_browser, needs_chromium, visit, written_page

from coursekit import explorers
from coursekit.explorers import dance
from coursekit.explorers.curve import mulberry
from coursekit.ledger import rule
from coursekit.ledger.evidence import plain
from coursekit.ledger.record import Condition

# The data are runs


def test_the_dance_has_the_seeds_of_the_lesson():
    right = np.array(explorers.stored("dance")["right"]["40"])
    again = dance.right_answers(40, range(4)).sum(2)
    assert right.shape == (2, dance.N_SEEDS)
    # Processors round differently: one answer in a hundred may go the other way.
    assert np.abs(right[:, :4] - again).max() <= 9


def points(epochs):
    own = explorers.stored("dance")
    without, dropout = np.array(own["right"][str(epochs)])
    return 100 * (dropout - without) / own["n_test"]


def test_the_budgets_differ_as_the_words_say():
    short, long = points(40), points(80)
    share = (short > 0).mean()
    assert 2 * share * (1 - share) == pytest.approx(0.38, abs=0.01)
    assert (long > 0).all()


# Numbers in the browser


STUDIES = """(own, data, { seeds, epochs, draw }) => {
    const counts = own.differences(data, epochs), points = counts.map(c => 100 * c / data.n_test);
    const orders = own.orders(points.length, 96, draw).map(o => o.slice(0, seeds));
    return orders.map(o => ({ ...own.study(o.map(i => points[i]), data), seeds: o }));
}"""


def orders(size, most, draw):
    rand = mulberry(draw + 9)
    for _ in range(50):
        order = list(range(size))
        for i in range(most):
            j = i + int(next(rand) * (size - i))
            order[i], order[j] = order[j], order[i]
        yield order[:most]


ACCURACY = Condition(
    "noisy digits", "unknown", "helps", "accuracy", "points", 100.0, 1.0, "higher",
    ("helps", "hurts"), "none", "dropout",
)  # fmt: skip


def judged(difference):
    """A study as the ledger judges it."""
    claim = SimpleNamespace(condition=lambda name: ACCURACY, conditions=(ACCURACY,))
    sides = plain(0.0, len(difference)), plain(difference / 100)
    [own] = rule.compare(claim, {ACCURACY.name: sides})
    return own


def wrong_studies(found, seeds, epochs, draw):
    """Defects of fifty studies, compared with the rule of the ledger."""
    of, defects = points(epochs), []
    for study, order in zip(found, orders(len(of), 96, draw), strict=True):
        if study["seeds"] != order[:seeds]:
            defects.append("other seeds")
            continue
        own = judged(of[order[:seeds]])
        if own.word == "not tested":  # two seeds with one difference
            if not (study["half"] < 1e-9 and study["word"] == 3):
                defects.append("no spread")
            continue
        ours, theirs = (
            [own.difference, own.low, own.high],
            [study[k] for k in ("mean", "low", "high")],
        )
        if not np.allclose(ours, theirs, atol=1e-4):
            defects.append(f"interval {theirs}, expected {ours}")
        if WORDS[study["word"]] != own.word:
            defects.append(f"word {study['word']}, expected {own.word}")
    return defects


WORDS = (
    "helps", "helps, size open", "too small to matter", "not yet known", "hurts, size open", "hurts"
)  # fmt: skip
CASES = [(2, 40, 1), (3, 40, 7), (4, 80, 999), (16, 40, 2), (96, 40, 1), (96, 80, 3)]


@pytest.mark.parametrize(("seeds", "epochs", "draw"), CASES)
def test_studies_are_those_of_the_rule(browser, seeds, epochs, draw):
    asked = {"seeds": seeds, "epochs": epochs, "draw": draw}
    assert wrong_studies(in_browser(browser, "dance", STUDIES, asked), **asked) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("t[n - 2]", "1.96"),
        ("/ (n - 1) / n)", "/ n / n)"),
        ("1 + skewness * skew / Math.sqrt(n)", "1"),
        ("low > smallest ? 0", "low > 0 ? 0"),
        ("high < smallest ? 2", "high < 2 * smallest ? 2"),
        ("i + Math.floor(rand() * (size - i))", "Math.floor(rand() * size)"),
    ],
)
def test_the_comparison_catches(browser, old, new):
    module = explorers.bundle("dance")
    assert module.count(old) == 1, old
    found = []
    for seeds, epochs, draw in [(4, 40, 1), (16, 40, 2), (96, 40, 1)]:
        asked = {"seeds": seeds, "epochs": epochs, "draw": draw}
        studies = in_browser(browser, "dance", STUDIES, asked, module.replace(old, new))
        found += wrong_studies(studies, **asked)
    assert found


def test_every_word_can_be_said(browser):
    cases = {0: [3, 3.1, 3.2], 1: [1, 2, 3, 2, 1], 2: [0.1, -0.1, 0.2, 0], 3: [-3, 3, 1]}
    cases |= {4: [-1, -2, -3, -2, -1], 5: [-3, -3.1, -3.2]}
    said = in_browser(
        browser, "dance", "(own, data, v) => v.map(p => own.study(p, data).word)", [*cases.values()]
    )
    assert said == list(cases)
    assert [judged(np.array(v, float)).word for v in cases.values()] == list(WORDS)


@pytest.mark.parametrize("epochs", [40, 80])
def test_disagreement_is_what_drawing_teams_by_numpy_gives(browser, epochs):
    script = "(own, data, e) => own.disagreement(own.differences(data, e), data.stops)"
    found = np.array(in_browser(browser, "dance", script, epochs))
    of, rng = points(epochs), np.random.default_rng(0)
    order = rng.permuted(np.tile(np.arange(len(of)), (8000, 1)), axis=1)
    for n, share in zip(dance.STOPS, found, strict=True):
        ada, ben = of[order[:, :n]].sum(1) > 1e-9, of[order[:, n : 2 * n]].sum(1) > 1e-9
        assert share == pytest.approx((ada != ben).mean(), abs=0.03), n  # four standard errors


def test_constants_are_those_of_the_rule():
    own = explorers.stored("dance")
    assert np.allclose(own["t"], scipy.stats.t.isf(rule.ALPHA / 2, np.arange(1, 96)), atol=1e-5)
    assert own["skew"] == pytest.approx(rule.widening(1.0, 1, rule.ALPHA) - 1, abs=1e-5)
    assert tuple(own["stops"]) == dance.STOPS


# A page


@pytest.fixture
def written(tmp_path):
    return written_page(tmp_path, "dance")


LOOKS = """() => [
    document.querySelector(".say").textContent,
    document.querySelector("[data-picture]").outerHTML,
    document.querySelector(".words").textContent,
]"""


def unmoved(page, act):
    """What stayed as it was: sentence, picture, words."""
    before = page.evaluate(LOOKS)
    act()
    page.wait_for_timeout(50)  # what does not change within it is drawn by no event
    after = page.evaluate(LOOKS)
    names = ("sentence", "picture", "words")
    return [n for n, a, b in zip(names, before, after, strict=True) if a == b]


def end_of_slider(page):
    box = page.locator(".seeds").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)


@needs_chromium
def test_key_and_mouse_move_picture_and_sentence(browser, written):
    with visit(browser, written) as (page, heard):
        page.focus(".seeds")
        assert unmoved(page, lambda: page.keyboard.press("ArrowRight")) == []
        assert "2 seeds per study" in page.inner_text(".say")
        assert unmoved(page, lambda: end_of_slider(page)) == []
        assert "96 seeds per study" in page.inner_text(".say")
        assert "95 % interval" in page.inner_text(".say")
        page.keyboard.press("Home")
        assert unmoved(page, lambda: page.click(".again")) == []
        eventually(page, "location.hash", "#seeds=1&epochs=40&draw=2")
        assert "draw=2)" in page.inner_text(".line")
        assert heard == []


@needs_chromium
def test_it_opens_on_a_draw_in_which_ada_and_ben_disagree(browser, written):
    ada, ben = (points(40)[order[0]] for order in islice(orders(960, 96, 1), 2))
    assert ada > 0 > ben
    with visit(browser, written) as (page, _):
        assert "they disagree" in page.inner_text(".pair")
        assert "opens on a draw in which" in page.text_content(".dance")


@needs_chromium
def test_the_address_brings_a_state_back(browser, written):
    with visit(browser, written) as (page, heard):
        page.goto(written.as_uri() + "#seeds=16&epochs=80&draw=5")
        page.reload()
        assert page.inner_text(".say").startswith("16 seeds per study, 80 epochs")
        page.goto(written.as_uri() + "#seeds=7&epochs=<b>&draw=-1")
        page.reload()
        assert page.inner_text(".say").startswith("One seed per study, 40 epochs")
        assert heard == []


@needs_chromium
def test_answers_stay_covered_until_a_guess(browser, written):
    with visit(browser, written) as (page, heard):
        assert page.locator(".budget input").nth(1).is_disabled()
        assert "of 100 pairs" not in page.inner_text(".dance")
        page.focus(".guess input")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert "38 of 100 pairs of teams disagree. You guessed 49." in page.inner_text(".result")
        assert page.locator(".budget input").nth(1).is_disabled()
        page.click(".uncover")
        assert "0 of 100 pairs of teams disagree. You guessed 50." in page.inner_text(".result")
        assert "80 epochs" in page.inner_text(".say")
        counted(page, ".trail circle", 2)
        page.keyboard.press("ArrowLeft")  # the focus is on the budgets
        assert "40 epochs" in page.inner_text(".say")
        assert heard == []


@needs_chromium
def test_a_table_stands_behind_the_picture(browser, written):
    with visit(browser, written) as (page, _):
        page.focus(".seeds")
        page.keyboard.press("ArrowRight")
        page.click(".numbers summary")
        page.locator(".numbers tbody tr").first.wait_for()  # it is made when it opens
        counted(page, ".numbers tbody tr", 50)
        told = page.locator(".numbers td.word").all_inner_texts()
        counts = dict(zip(WORDS, map(int, page.locator(".words b").all_inner_texts()), strict=True))
        assert {word: told.count(word) for word in WORDS} == counts
