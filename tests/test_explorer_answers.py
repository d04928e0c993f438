"""The map of answers: its formulas in JavaScript against Python, scikit-learn and counting."""

import numpy as np
import pytest
from browsing import counted, in_browser, visit, written_page
from sklearn import linear_model

from coursekit import explorers
from coursekit.explorers import answers

SETTINGS = [(0.0, 1.0), (0.4, 1.0), (0.8, 0.0), (0.8, 0.35), (1.5, 1.0), (1.5, 0.95)]


# The closed form, in Python


@pytest.mark.parametrize(("strength", "ratio"), SETTINGS[1:])
def test_the_formula_is_what_scikit_learn_finds(strength, ratio):
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.normal(size=(30, 2)))[0]
    y = x @ [1.7, 0.6] + rng.normal(size=30)
    z, n = x.T @ y, len(y)
    # Theirs divides the squares by 2 N, so the same objective has the strength / N.
    theirs = linear_model.ElasticNet(
        alpha=strength / n, l1_ratio=ratio, fit_intercept=False, tol=1e-14, max_iter=100_000
    )
    if ratio == 0:
        theirs = linear_model.Ridge(alpha=strength, fit_intercept=False)
    assert answers.answer(z, strength, ratio) == pytest.approx(theirs.fit(x, y).coef_, abs=1e-7)


@pytest.mark.parametrize("place", [(1.7, 0.6), (0.0, 0.0), (-2.9, 0.3)])
@pytest.mark.parametrize(("strength", "ratio"), SETTINGS)
def test_areas_and_chances_are_what_counting_gives(strength, ratio, place):
    rng, n = np.random.default_rng(1), 200_000
    even = rng.uniform(-1, 1, (n, 2)) * answers.HALF
    noisy = place + answers.SD * rng.normal(size=(n, 2))
    expected = answers.areas(strength, ratio), answers.chances(place, strength, ratio)
    for z, shares in zip((even, noisy), expected, strict=True):
        first, second = (answers.answer(z, strength, ratio) == 0).T
        counted = [first & second, first & ~second, ~first & second, ~first & ~second]
        assert shares == pytest.approx([c.mean() for c in counted], abs=0.005)
        assert sum(shares) == pytest.approx(1)


def test_l2_has_no_area():
    for strength in (0.05, 1.5):
        assert answers.areas(strength, 0.0) == [0, 0, 0, 1]
        assert answers.chances((0.0, 0.0), strength, 0.0) == [0, 0, 0, 1]


# The stored solutions


def test_the_stored_solutions_are_what_they_are_called():
    own, again = explorers.stored("answers"), answers.measure()
    even, noise = np.array(own["even"]), np.array(own["noise"])
    assert np.allclose(even, again["even"], atol=1e-4)
    assert np.allclose(noise, again["noise"], atol=1e-4)
    assert even.shape == noise.shape == (answers.N, 2)
    assert (np.abs(even) < answers.HALF).all()
    assert (even != 0).all(), "a solution on a line would be counted where there is no area"
    # Orthonormal inputs hand the noise on as it is: independent, and with its own spread.
    assert np.cov(noise.T) == pytest.approx(answers.SD**2 * np.eye(2), abs=0.04)
    assert noise.mean(0) == pytest.approx(np.zeros(2), abs=0.06)


# JavaScript against Python

LOOK = """(own, data, [strength, ratio, place]) => ({
    answers: data.even.map(p => p.map(v => own.answer(v, strength, ratio))),
    areas: own.areas(data, strength, ratio),
    chances: own.chances(data, place, strength, ratio),
    around: own.solutions(data, 1, place),
    counts: [0, 1].map(c => own.solutions(data, c, place).reduce((all, p) => {
        all[own.region(p, strength, ratio)]++; return all; }, [0, 0, 0, 0])),
    budget: own.budget(own.penalty(place, ratio), ratio),
    most: own.penalty(place, ratio),
})"""


def defects(found, strength, ratio, place):
    """What differs between the browser's numbers and Python's."""
    own, wrong = explorers.stored("answers"), []

    def compare(name, a, b, atol=1e-9):
        if not np.allclose(a, b, atol=atol):
            wrong.append(name)

    even, noise = np.array(own["even"]), np.array(own["noise"])
    compare("answers", found["answers"], answers.answer(even, strength, ratio))
    compare("areas", found["areas"], answers.areas(strength, ratio))
    compare("chances", found["chances"], answers.chances(place, strength, ratio), 1e-6)
    compare("around", found["around"], noise + place)
    for z, counts in zip((even, noise + place), found["counts"], strict=True):
        first, second = (answers.answer(z, strength, ratio) == 0).T
        compare("counts", counts, np.bincount(3 - 2 * first - second, minlength=4))
    # Every point of the budget's edge has the penalty of the place it is drawn for.
    edge = np.array(found["budget"])
    size = ratio * np.abs(edge).sum(1) + (1 - ratio) * (edge**2).sum(1) / 2
    compare("budget", size, np.full(len(edge), found["most"]))
    return wrong


@pytest.mark.parametrize("place", [[1.7, 0.6], [-2.4, 0.0]])
@pytest.mark.parametrize(("strength", "ratio"), SETTINGS)
def test_the_browser_has_the_numbers_of_python(browser, strength, ratio, place):
    found = in_browser(browser, "answers", LOOK, [strength, ratio, place])
    assert defects(found, strength, ratio, place) == []


@pytest.mark.parametrize(
    ("old", "new", "defect"),
    [
        ("/ (1 + strength * (1 - ratio)) || 0", "|| 0", "answers"),
        ("strength * ratio / h", "strength / h", "areas"),
        ("normal((-strength * ratio - c) / sd)", "0", "chances"),
        ("a && b ? 0 : a ? 1", "a && b ? 0 : a ? 2", "counts"),
        ("b * b + 2 * (1 - ratio)", "b * b + (1 - ratio)", "budget"),
        ("[center[0] + a, center[1] + b]", "[center[0] + a, center[0] + b]", "around"),
    ],
)
def test_the_comparison_catches(browser, old, new, defect):
    module = explorers.bundle("answers")
    assert module.count(old) == 1, old
    setting = [0.8, 0.35, [0.3, 0.6]]
    found = in_browser(browser, "answers", LOOK, setting, module.replace(old, new))
    assert defect in defects(found, *setting)


@pytest.mark.parametrize(("hits", "expected"), [(0, (0, 0.00383)), (558, (0.5271, 0.5885))])
def test_the_interval_is_wilsons(browser, hits, expected):
    found = in_browser(browser, "answers", "(own, data, hits) => own.wilson(hits, 1000)", hits)
    assert found == pytest.approx(expected, abs=1e-4)


# On the page


@pytest.fixture
def page(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "answers"), has_touch=True) as (one, heard):
        yield one
        assert heard == []


def test_it_opens_where_nothing_is_answered(page):
    assert explorers.show("answers").state["strength"] == 0
    assert page.inner_text(".say").startswith("Strength zero, no penalty")
    assert page.locator(".regions tbody b").all_inner_texts() == ["0", "0", "0", "1,000"]
    counted(page, ".budget", 0)


def test_keys_move_everything(page):
    page.focus(".strength")
    for _ in range(16):
        page.keyboard.press("ArrowRight")
    assert "(1.70, 0.60) becomes (0.90, 0); w₂ is exactly zero" in page.inner_text(".say")
    page.focus(".w2")
    page.keyboard.press("End")
    assert "(1.70, 1.90) becomes (0.90, 1.10); no weight is exactly zero" in page.inner_text(".say")
    page.focus(".kind input:checked")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".say").startswith("Elastic net with 50")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".say").startswith("L2, strength 0.80")
    assert "0 lose a weight" in page.inner_text(".say")
    page.focus(".ratio")
    page.keyboard.press("ArrowRight")
    assert page.locator(".kind input").nth(1).is_checked()
    line = page.inner_text(".line")
    assert eval(line, {"explorers": explorers}).state["ratio"] == 0.05


def test_the_ring_follows_the_mouse(page):
    grip = page.locator(".grip").bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    before = page.inner_text(".say")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 200, y - 60, steps=4)
    page.mouse.up()
    after = page.inner_text(".say")
    assert before != after
    page.mouse.move(x, y)
    assert page.inner_text(".say") == after
    assert page.evaluate("getComputedStyle(document.querySelector('.grip')).touchAction") == "none"
    # On a page that asks for no such place, the ring stays on the map.
    page.mouse.move(x - 200, y - 60)
    page.mouse.down()
    page.mouse.move(5, 5)
    page.mouse.up()
    assert "w1=-2.9, w2=1.9" in page.inner_text(".line")


def test_a_table_stands_behind_the_picture(page):
    page.click(".numbers summary")
    page.locator(".numbers tbody tr").first.wait_for()
    counted(page, ".numbers tbody tr", 6)
    page.focus(".strength")
    page.keyboard.press("End")
    told = page.locator(".numbers tbody tr").nth(0).inner_text().split()
    assert told[1] == page.locator(".regions b").nth(0).inner_text()


def test_dots_survive_the_styles_of_a_notebook(page):
    # Drawings elsewhere on a page may ask for lines that end without a cap; a dot is only a cap.
    page.add_style_tag(content="*{stroke-linecap:butt}")
    caps = "[...document.querySelectorAll('.ex svg path[d*=h0]')].map(p => getComputedStyle(p))"
    assert page.evaluate(f"{caps}.map(c => c.strokeLinecap)") == ["round", "round"]
