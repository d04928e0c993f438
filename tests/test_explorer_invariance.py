"""Trained with this, tested on that: its networks against `fit`, its numbers, its covers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from browsing import in_browser, needs_chromium, visit, written_page
from playwright.sync_api import expect

from coursekit import explorers, models
from coursekit.explorers import invariance
from coursekit.regularizers import augmentation
from coursekit.train import fit

OWN = explorers.stored("invariance")
NAMES, TESTS = list(OWN["rows"]), OWN["tests"]

# How pictures are changed


def test_digits_lie_in_the_middle_of_a_larger_frame():
    x = invariance.task().x
    assert x.shape[1:] == (1, 12, 12)
    assert (x[..., :2, :] == 0).all()
    assert (x[..., 2:-2, 2:-2] == invariance.data.load("digits").x).all()


def test_a_shift_in_the_tests_cuts_nothing_off():
    x = invariance.task().x_test
    assert torch.allclose(invariance.tests(x)["shift"].sum((1, 2, 3)), x.sum((1, 2, 3)))
    assert not torch.equal(augmentation.random_shift(x, 3).sum((1, 2, 3)), x.sum((1, 2, 3)))


def test_the_tests_are_the_same_each_time_and_leave_the_random_state_alone():
    x = invariance.task().x_test[:50]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = invariance.tests(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = invariance.tests(x)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert list(first) == TESTS
    assert all((first[name] != x).any() for name in TESTS[1:])


@pytest.mark.parametrize("side", [2, 4, 6])
def test_a_hole_lies_on_the_digit(side):
    x = torch.ones(4000, 1, 12, 12)
    holes = invariance.hole(x, side) == 0
    assert (holes.sum((1, 2, 3)) == side**2).all()
    where = holes.any(0)[0]
    assert where[2:-2, 2:-2].all()  # it may lie anywhere there,
    assert where.sum() == 64  # and nowhere else


def test_a_half_turn_comes_as_often_as_it_is_told():
    x = invariance.task().x[:1].expand(4000, -1, -1, -1)
    turned = (invariance.half_turn(x, 0.9) == x.flip(-1, -2)).flatten(1).all(1)
    assert turned.double().mean() == pytest.approx(0.9, abs=4 * (0.09 / 4000) ** 0.5)
    assert (invariance.half_turn(x, 0.0) == x).all()


def test_strength_zero_changes_nothing():
    assert invariance.hook("shift", 0) is None
    assert invariance.hook("nothing", 3) is None


# The data are runs


@pytest.mark.parametrize(("name", "strength"), [("nothing", 0), ("noise", 2)])
def test_the_stored_numbers_are_those_of_new_networks(name, strength):
    task = invariance.task()
    recipe = replace(invariance.RECIPE, n_seeds=3)
    runs = fit(models.mlp(task), task, recipe, augment=invariance.hook(name, strength), record=())
    row = OWN["rows"][name][strength]
    shown = [
        int(i) for d in range(10) for i in (task.y_test.cpu() == d).nonzero()[:2, 0]
    ]  # two of each
    for j, (test, images) in enumerate(invariance.tests(task.x_test).items()):
        right = invariance.right(runs, images, task.y_test)
        mean, half = row["cells"][j][:2]
        # Three of the networks: their own spread, and the digits that are the same for all.
        assert 100 * right.mean() == pytest.approx(mean, abs=half + 6), test
        told = np.array(list(row["answers"][j])) == np.array(list(OWN["truth"]))
        assert (told != right[0, shown]).sum() <= 2  # processors round differently


def test_the_stored_pictures_are_what_networks_see():
    task = invariance.task()
    shown = torch.cat([(task.y_test == d).nonzero()[:2, 0] for d in range(10)]).cpu()
    assert OWN["truth"] == "".join(str(int(c)) for c in task.y_test.cpu()[shown])
    for signs, images in zip(OWN["pixels"], invariance.tests(task.x_test).values(), strict=True):
        assert signs == invariance._signs(images.cpu()[shown])
    for name, pictures in OWN["trained"].items():
        strengths = range(len(pictures))
        assert pictures == [invariance._training_pictures(task, name, k) for k in strengths]


def defects(own):
    """What does not hold together in the stored numbers."""
    found = []
    first = own["rows"]["nothing"][0]["cells"]
    if any(change or half for *_, change, half in first):
        found.append("the first row differs from itself")
    for name, levels in own["rows"].items():
        if levels[0] != own["rows"]["nothing"][0]:
            found.append(f"{name} at strength 0")
        for level in levels[1:]:
            for (mean, half, change, change_half), (plain, *_) in zip(
                level["cells"], first, strict=True
            ):
                if abs(mean - plain - change) > 0.11 or not 0 < half < 10 or change_half <= 0:
                    found.append(f"{name}: {mean}, {change}")
    return found


def test_changes_are_differences_to_the_first_row():
    assert defects(OWN) == []
    spoiled = OWN | {"rows": OWN["rows"] | {"noise": OWN["rows"]["noise"][1:]}}
    assert defects(spoiled) == ["noise at strength 0"]


def test_what_was_told_fits_what_was_done():
    for name, (_, values, _) in invariance.CHANGES.items():
        told = [invariance.WORDS[name].format(v).replace("%", " %") for v in values]
        assert OWN["told"][name] == told
    assert OWN["tested"] == invariance.TESTED


# Numbers in the browser

COUNTS = """(own, data) => Object.keys(data.rows).flatMap((_, r) => [0, 1, 2, 3].flatMap(k =>
    data.tests.map((_, c) => [own.tally(data, r, c, k), own.cell(data, r, c, k)[0],
                              own.sure(own.cell(data, r, c, k))])))"""


def counted():
    rows = []
    for name in NAMES:
        for k in range(4):
            level = OWN["rows"][name][k if name != "nothing" else 0]
            for said, (mean, _, change, half) in zip(level["answers"], level["cells"], strict=True):
                good = sum(a == b for a, b in zip(said, OWN["truth"], strict=True))
                rows.append([good, mean, abs(change) > half])
    return rows


@needs_chromium
def test_the_browser_counts_as_python_does(browser):
    assert in_browser(browser, "invariance", COUNTS) == counted()


@needs_chromium
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("answer === data.truth[i]", "answer !== data.truth[i]"),
        ("Math.abs(change) > half", "change > half"),
        ("[row ? strength : 0].cells", "[0].cells"),
    ],
)
def test_the_comparison_catches(browser, old, new):
    module = explorers.bundle("invariance")
    assert module.count(old) == 1, old
    wrong = in_browser(browser, "invariance", COUNTS, module=module.replace(old, new))
    assert wrong != counted()


# What is covered


@pytest.fixture
def written(tmp_path):
    return written_page(tmp_path, "invariance")


def test_it_opens_where_nothing_is_answered():
    assert explorers.show("invariance").state == {
        "strength": 0,
        "trained": 2,
        "tested": 2,
        "open": 0,
    }


def whole(percent):
    """A percentage as the browser rounds it: half a percent up."""
    return f"{math.floor(percent + 0.5)}"


def cells(page):
    """What stands in each cell of the table, row by row."""
    read = "all => all.map(g => [...g.querySelectorAll('text')].map(t => t.textContent))"
    found = page.locator("[data-cell]").evaluate_all(read)
    return [found[7 * i : 7 * i + 7] for i in range(7)]


@needs_chromium
def test_at_strength_zero_all_rows_are_the_first_one(browser, written):
    with visit(browser, written) as (page, heard):
        rows = cells(page)
        assert rows == [rows[0]] * 7
        assert rows[0] == [[whole(v[0])] for v in OWN["rows"]["nothing"][0]["cells"]]
        assert heard == []


def strengthen(page, times=2):
    page.focus(".strength")
    for _ in range(times):
        page.keyboard.press("ArrowRight")


@needs_chromium
def test_numbers_are_covered_until_one_asks_for_them(browser, written):
    with visit(browser, written) as (page, heard):
        strengthen(page)
        assert cells(page)[1:] == [[["?"]] * 7] * 6
        assert ["?"] not in cells(page)[0]
        assert "covered" in page.inner_text(".say")
        expect(page.locator('[data-picture] text:has-text("\u2713")')).to_have_count(0)
        page.focus(".reveal")
        page.keyboard.press("Enter")
        mean, _, change, _ = OWN["rows"]["shift"][2]["cells"][1]
        assert cells(page)[1][1][0] == whole(mean)
        assert f"{change:+.1f} points" in page.inner_text(".say")
        assert sum(row.count(["?"]) for row in cells(page)) == 41
        assert page.locator(".reveal").is_disabled()
        page.click(".every")
        assert sum(row.count(["?"]) for row in cells(page)) == 0
        page.click(".every")
        assert sum(row.count(["?"]) for row in cells(page)) == 42
        assert heard == []


@needs_chromium
def test_the_table_covers_what_the_picture_covers(browser, written):
    with visit(browser, written) as (page, _):
        strengthen(page)
        page.click(".numbers summary")
        expect(page.locator(".scroll td", has_text="covered")).to_have_count(42)


@needs_chromium
def test_cells_are_chosen_by_keys_and_by_clicks(browser, written):
    with visit(browser, written) as (page, heard):
        strengthen(page)
        page.locator(".rows input").nth(1).focus()
        page.keyboard.press("ArrowRight")
        assert "turned by up to 30 degrees" in page.inner_text(".say")
        page.locator("[data-cell='4,0']").click()
        assert "of which 50 % are turned by half" in page.inner_text(".say")
        assert page.locator(".rows input").nth(4).is_checked()
        assert page.locator(".columns input").nth(0).is_checked()
        assert cells(page)[4][0] == ["?"]
        page.locator("[data-cell='4,0']").click()  # once more uncovers
        assert cells(page)[4][0][0] == whole(OWN["rows"]["half turn"][2]["cells"][0][0])
        assert heard == []


@needs_chromium
def test_right_and_wrong_differ_by_more_than_color(browser, written):
    with visit(browser, written) as (page, _):
        page.locator("[data-cell='0,2']").click()
        said = OWN["rows"]["nothing"][0]["answers"][2]
        good = sum(a == b for a, b in zip(said, OWN["truth"], strict=True))
        expect(page.locator('[data-picture] text:has-text("\u2713")')).to_have_count(good)
        expect(page.locator('[data-picture] text:has-text("\u2717")')).to_have_count(20 - good)
        assert f"reads {good} of them rightly" in page.locator("[data-picture]").text_content()
