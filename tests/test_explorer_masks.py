"""The masks: the browser's numbers against Python's, the data against a fresh training."""

import numpy as np
import pytest
import torch
from browsing import in_browser, needs_chromium, visit, written_page

from coursekit import data, explorers
from coursekit.explorers import masks


def stored():
    return explorers.stored("masks")


def picture(digit):
    return np.array(stored()["digits"][digit]) / 16


def softmax(z):
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


# The data


def test_the_networks_read_digits_as_well_as_they_say():
    own, task = stored(), data.load("digits")
    x, y = task.x_test.flatten(1).numpy(), task.y_test.numpy()
    for rate, told in zip(masks.RATES, own["right"], strict=True):
        z, _ = masks.forward(own["nets"][str(rate)], x, 1 - rate / 100)
        assert (z.argmax(1) == y).sum() == told
    assert own["right"][0] > 0.9 * own["n_test"]


def test_a_fresh_training_comes_out_alike(monkeypatch):
    monkeypatch.setattr(masks, "STEPS", 60)  # the first steps: later ones drift with rounding
    task = data.load("digits")
    (w, *_), (b, *_) = masks.train(task)
    assert w.shape == (len(masks.RATES), 64, masks.SIZES[1])
    start = torch.randn(64, masks.SIZES[1], generator=torch.Generator().manual_seed(0))
    assert (w - start * (2 / 64) ** 0.5).abs().mean() < 0.1  # all rates start alike
    assert b.abs().max() > 0


@pytest.mark.parametrize("rate", masks.RATES[1:])
def test_no_rule_changes_an_answer(rate):
    net, x = stored()["nets"][str(rate)], data.load("digits").x_test.flatten(1).numpy()
    keep, drop, untouched = (
        masks.forward(net, x, f)[0].argmax(1) for f in (1 - rate / 100, rate / 100, 1)
    )
    assert (keep == drop).all()
    assert (keep == untouched).all()


def test_the_digits_are_the_first_of_each_kind():
    task = data.load("digits")
    for digit in range(10):
        first = task.x_test[(task.y_test == digit).nonzero()[0, 0]].flatten().numpy()
        assert np.allclose(picture(digit), first, atol=1 / 32)


def test_masks_of_python_have_the_rate_and_the_mean_of_the_rule():
    alive, net, x = masks.masks(0.3, 1000), stored()["nets"]["30"], picture(5)
    assert alive.mean() == pytest.approx(0.7, abs=4 * (0.21 / alive.size) ** 0.5)
    inputs = masks.unit_inputs(net, x, 1, alive)
    _, kept = masks.forward(net, x, 0.7)
    _, dropped = masks.forward(net, x, 0.3)
    error = inputs.std() / 1000**0.5
    assert abs(inputs.mean() - kept[1]) < 4 * error
    assert abs(inputs.mean() - dropped[1]) > 10 * error


# The browser

SHOWN = """(own, data, { rate, digit, unit }) => {
    const net = data.nets[rate], x = data.digits[digit].map(v => v / 16), n = net[0].b.length;
    const tossed = own.coins(n + net[1].b.length).slice(0, 50), keep = 1 - rate / 100;
    const inputs = own.received(net, x, unit, tossed, rate / 100), all = own.forward(net, x, keep);
    const mask = own.alive(tossed[7], rate / 100);
    const thin = own.forward(net, x, mask.slice(0, n), mask.slice(n));
    return { inputs, input: all.second[unit], p: all.p, mask, thin: thin.p };
}"""


def wrong(shown, rate, digit, unit):
    """Defects of what the browser computes, compared with Python."""
    net, x, alive = stored()["nets"][str(rate)], picture(digit), masks.masks(rate / 100, 50)
    z, second = masks.forward(net, x, 1 - rate / 100)
    h = np.maximum(np.array(net[0]["w"]) @ x + net[0]["b"], 0) * alive[7, : masks.SIZES[1]]
    h = np.maximum(np.array(net[1]["w"]) @ h + net[1]["b"], 0) * alive[7, masks.SIZES[1] :]
    expected = {
        "inputs": masks.unit_inputs(net, x, unit, alive),
        "input": second[unit],
        "p": softmax(z),
        "mask": alive[7],
        "thin": softmax(np.array(net[2]["w"]) @ h + net[2]["b"]),
    }
    return [key for key, own in expected.items() if not np.allclose(shown[key], own, atol=1e-9)]


CASES = [(0, 5, 1), (20, 5, 1), (50, 8, 3), (80, 0, 15)]


@needs_chromium
@pytest.mark.parametrize(("rate", "digit", "unit"), CASES)
def test_the_browser_computes_what_python_does(browser, rate, digit, unit):
    given = {"rate": rate, "digit": digit, "unit": unit}
    assert wrong(in_browser(browser, "masks", SHOWN, given), rate, digit, unit) == []


MISTAKES = {
    "(c >= rate ? 1 : 0)": ("(c >= 1 - rate ? 1 : 0)", {"mask", "thin"}),
    "if (c[j] >= rate) s += part[j];": ("if (c[j] >= rate) s += part[j] / (1 - rate);", {"inputs"}),
    "relu(v) * (f.length ? f[k] : f)": ("relu(v) * (f.length ? f[k] : 1)", {"input", "p"}),
}


@needs_chromium
@pytest.mark.parametrize("old", MISTAKES)
def test_the_comparison_catches(browser, old):
    new, expected = MISTAKES[old]
    assert explorers.bundle("masks").count(old) == 1
    spoiled = explorers.bundle("masks").replace(old, new)
    given = {"rate": 20, "digit": 8, "unit": 1}
    shown = in_browser(browser, "masks", SHOWN, given, module=spoiled)
    assert expected <= set(wrong(shown, 20, 8, 1))


# What only this one does


def rules_shown(page):
    return page.locator("[data-picture] .rule-name").all_text_contents()


@needs_chromium
def test_at_rate_zero_no_rule_is_told(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "masks")) as (page, heard):
        assert rules_shown(page) == ["every mask"]
        assert "times" not in page.inner_text(".ex .say")
        page.locator(".ex .rate").focus()
        page.keyboard.press("ArrowRight")
        assert sorted(rules_shown(page)) == ["untouched", "× 0.1", "× 0.9"]
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        assert sorted(rules_shown(page)) == ["untouched", "× 0.5, both"]
        assert heard == []


@needs_chromium
def test_masks_are_drawn_one_by_one_and_a_thousand_at_once(browser, tmp_path):
    crossed = "[...document.querySelectorAll('.cross')].filter(c => c.style.opacity === '1').length"
    with visit(browser, written_page(tmp_path, "masks")) as (page, _):
        assert page.evaluate(crossed) == 0
        page.locator(".ex .rate").focus()
        page.keyboard.press("End")
        assert page.evaluate(crossed) == (~masks.masks(0.8, 1)[0]).sum()
        share = round(100 * stored()["right"][-1] / stored()["n_test"])
        assert f"only {share} %" in page.inner_text(".ex .say")
        page.click(".ex .new")
        assert page.evaluate(crossed) == (~masks.masks(0.8, 2)[1]).sum()
        assert "over 2 masks" in page.inner_text(".ex .say")
        page.click(".ex .many")
        assert "95 % interval" in page.inner_text(".ex .say")
        page.click(".ex .new")  # from the last one on to the first
        assert "under this mask" in page.inner_text(".ex .say")


@needs_chromium
def test_a_click_on_a_unit_watches_it(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "masks")) as (page, _):
        page.locator('[data-layer="1"][data-unit="7"]').click()
        assert page.locator(".ex .which").input_value() == "7"
        assert "unit 7" in page.inner_text(".ex .say")
