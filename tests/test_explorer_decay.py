"""The explorer of weight decay: numbers as PyTorch's optimizers give them; Adam stays covered."""

import re
from contextlib import contextmanager

import numpy as np
import pytest
from browsing import counted, in_browser, needs_chromium, overlaps, too_wide, visit

from coursekit import explorers
from coursekit.explorers import decay
from coursekit.regularizers.decay import share_left

SHARES = """(own, data, asked) =>
    asked.map(([kind, strength, size, steps]) => own.share(data, kind, strength, size, steps))"""
# On and between the stored ratios, on the plateau, on the edge and far above it.
STRENGTHS, SIZES, STEPS = (10.0, 0.5, 0.02, 1e-3, 1e-4), (1e-6, 1e-4, 0.05, 1.0, 10.0), (100, 1000)


@contextmanager
def opened(browser, tmp_path, **state):
    path = tmp_path / "decay.html"
    path.write_text(explorers.show("decay", **state).page(), encoding="utf-8")
    with visit(browser, path, {"width": 1100, "height": 1100}) as (page, heard):
        page.wait_for_selector("svg[data-picture][viewBox]")
        yield page
        assert heard == []


@pytest.fixture(scope="module")
def torchs():
    """What PyTorch's optimizers leave, (3, strengths, steps, sizes)."""
    sizes = np.array(SIZES)
    return np.array([[decay.shares(k, v, sizes, STEPS) for v in STRENGTHS] for k in decay.KINDS])


def in_javascript(browser, module=None):
    asked = [
        [kind, v, size, steps]
        for kind in decay.KINDS
        for v in STRENGTHS
        for steps in STEPS
        for size in SIZES
    ]
    return np.reshape(in_browser(browser, "decay", SHARES, asked, module), (3, 5, 2, 5))


def test_shares_are_those_of_the_optimizers(browser, torchs):
    # Half a point: straight lines between ratios, and Adam's eps beside the smallest gradients.
    assert np.abs(in_javascript(browser) - torchs).max() < 0.005


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(1 - data.lr * strength)", "(1 - 10 * data.lr * strength)"),
        ("Math.log10(size / strength)", "Math.log10(size * strength)"),
        ("Math.log10(size / strength)", "Math.log10(size)"),
        ("(at - i) * (row[i + 1] - row[i])", "(at - i) * row[i]"),
        ("if (at <= 0) return row[0]", "if (at <= 0) return 0"),
    ],
)
def test_the_comparison_catches(browser, torchs, old, new):
    module = explorers.bundle("decay")
    assert module.count(old) == 1, old
    assert np.abs(in_javascript(browser, module.replace(old, new)) - torchs).max() > 0.02


def test_stored_shares_are_measured_anew():
    own = explorers.stored("decay")
    ratios = np.logspace(own["low"], 6, 181)[::20]
    fresh = decay.shares("Adam", 1.0, ratios, (100, 1000))
    rows = [own["steps"].index(steps) for steps in (100, 1000)]
    assert np.abs(np.array(own["adam"])[rows][:, ::20] - fresh).max() < 1e-4
    assert own["steps"] == sorted(own["steps"])
    assert np.array(own["adam"]).shape == (len(own["steps"]), 181)


def test_the_strength_cancels_for_quiet_weights_only():
    left = {
        kind: [decay.shares(kind, v, np.array([1e-4, 10.0]), (1000,))[0] for v in (0.5, 1e-3)]
        for kind in decay.KINDS
    }
    strong, weak = left["Adam"]
    assert abs(strong[0] - weak[0]) < 0.01 < weak[1] - strong[1]
    for kind in ("SGD", "AdamW"):
        strong, weak = left[kind]
        assert strong == pytest.approx([share_left(1e-3, 0.5, 1000)] * 2, abs=1e-9)
        assert weak == pytest.approx([share_left(1e-3, 1e-3, 1000)] * 2, abs=1e-9)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_half_is_left_on_the_border(browser, kind):
    script = """(own, data, kind) => { const v = own.edge(data, kind, 0.5, 1000);
        return own.share(data, kind, kind === "Adam" ? 1 : 10 ** v, 10 ** v, 1000); }"""
    assert in_browser(browser, "decay", script, kind) == pytest.approx(0.5, abs=1e-9)


def covered(page):
    """Adam's percentages in the picture, the table and the sentence: none before a guess."""
    page.evaluate("document.querySelector('.numbers').open = true")
    page.locator(".numbers td").first.wait_for()
    picture = page.locator("[data-picture] text").all_text_contents()
    cells = page.locator(".numbers td").all_text_contents()
    return picture.count("?") >= 2 and "?" in cells and "Adam is covered" in page.inner_text(".say")


@needs_chromium
def test_adam_is_covered_until_both_guesses(browser, tmp_path):
    with opened(browser, tmp_path) as page:
        page.focus(".steps")
        page.keyboard.press("End")
        assert covered(page)
        page.click(".uncover")
        assert (
            "26\u00a0% of the quiet weight, and 95\u00a0% of the loud one. You guessed 50 %."
            in (page.inner_text(".result"))
        )
        assert "Adam leaves 26" in page.inner_text(".say")
        page.focus(".strength")
        page.keyboard.press("ArrowLeft")  # another strength would answer what comes next
        assert covered(page)
        page.focus(".guess input")
        page.keyboard.press("Home")
        page.click(".uncover")
        assert "as at a strength 500 times larger. You guessed 0 %." in page.inner_text(".result")
        assert not covered(page)
        counted(page, ".ask", 0)


@needs_chromium
def test_the_look_at_the_cover_catches(browser, tmp_path):
    with opened(browser, tmp_path, guessed=2, steps=1000) as page:
        assert not covered(page)


@needs_chromium
def test_a_weight_can_be_dragged(browser, tmp_path):
    with opened(browser, tmp_path, guessed=2, steps=1000) as page:
        box = page.locator(".grip[data-weight=quiet][data-panel='1']").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - 90, y - 60, steps=5)
        page.mouse.up()
        page.mouse.move(x, y)  # let go: no longer moved
        line = page.inner_text(".line")
        strength, quiet = (
            float(re.search(rf"{key}=([\d.]+)", line)[1]) for key in ("strength", "quiet")
        )
        assert strength < 0.1
        assert quiet > 1e-3
        assert eval(line).state["quiet"] == quiet
        assert f"at strength {strength:g}" in page.inner_text(".say")


@needs_chromium
@pytest.mark.parametrize("width", [560, 612, 644, 704])
@pytest.mark.parametrize("guessed", [0, 2])
def test_cause_and_effect_share_a_screen_in_a_narrow_column(browser, tmp_path, width, guessed):
    """A page with two side bars leaves 550 to 700 pixels: the maps stay side by side."""
    with opened(browser, tmp_path, guessed=guessed, steps=1000) as page:
        page.set_viewport_size({"width": width, "height": 900})
        picture = "document.querySelector('svg[data-picture]').viewBox.baseVal.width"
        page.wait_for_function(f"{picture} < {width}")  # it is drawn anew in this width
        steps, bars = page.locator(".steps"), page.locator("[data-picture] text", has_text="loud")
        top, bottom = (at.bounding_box()["y"] for at in (steps, bars.last))
        assert bottom - top < 650
        assert overlaps(page) + too_wide(page) == []


@needs_chromium
def test_a_wrong_address_opens_at_zero(browser, tmp_path):
    with opened(browser, tmp_path) as page:
        page.goto(page.url + "#steps=7&strength=-1&quiet=3&loud=0&guessed=9")
        page.reload()
        assert page.inner_text(".say").startswith("No step has been taken")
