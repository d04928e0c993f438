"""The film strip: the browser's arithmetic against Python's, the data against a fresh training."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from browsing import counted, eventually, in_browser, needs_chromium, visit, written_page

from coursekit import data, explorers, models
from coursekit.explorers import filmstrip
from coursekit.regularizers.depth import expected_depth, survivals
from coursekit.regularizers.normalization import batch_norms, recalibrate
from coursekit.train import fit, outputs


def stored():
    return explorers.stored("filmstrip")


# Arithmetic


@pytest.mark.parametrize("rule", filmstrip.RULES)
def test_the_law_is_that_of_all_coins(rule):
    kept = filmstrip.kept_by(rule, 6, 0.3)
    chance = np.zeros(7)
    for coins in product((0, 1), repeat=6):
        chance[sum(coins)] += np.prod([p if c else 1 - p for p, c in zip(kept, coins, strict=True)])
    assert filmstrip.law(kept) == pytest.approx(chance)
    assert filmstrip.law(kept) @ np.arange(7) == pytest.approx(expected_depth(survivals(6, 0.3)))


def test_steps_follow_the_law():
    kept = filmstrip.kept_by("linear", 24, 0.5)
    depth = filmstrip.steps(kept, 1000).sum(1)
    chance = filmstrip.law(kept)
    error = (chance @ (np.arange(25) - depth.mean()) ** 2 / 1000) ** 0.5
    assert abs(depth.mean() - sum(kept)) < 4 * error
    fewer = filmstrip.steps(filmstrip.kept_by("linear", 24, 0.4), 1000)
    assert (fewer <= filmstrip.steps(kept, 1000)).all()  # blocks only go as survival falls


def test_paths_are_counted():
    shares = filmstrip.paths([1, 0, 1, 1])
    assert shares[-1][:4] * 8 == pytest.approx([1, 3, 3, 1])
    assert all(s.sum() == pytest.approx(1) for s in shares)


# The data


@pytest.fixture(scope="module")
def few():
    """Two networks of three blocks after three epochs, and the digits that they learned."""
    task = data.load("digits")
    make = models.resnet(task, 3, survival=0.5)
    runs = fit(make, task, replace(filmstrip.RECIPE, epochs=3, n_seeds=2), record=())
    return task, runs, task.x[task.deal(runs.seeds).train_rows]


def test_reading_is_the_networks_own_but_for_the_statistics(few):
    task, runs, own = few
    z = filmstrip.read(runs, task.x_test, own, survivals(3, 0.5), "final")
    net = recalibrate(runs.network(0, weights="final").to(task.device).eval(), [own[0]])
    for norm in batch_norms(net):
        norm.running_var *= 1 - 1 / own.shape[1]  # PyTorch keeps the unbiased one
    with torch.no_grad():
        theirs = net(task.x_test)
    assert torch.allclose(z[0], theirs, atol=1e-4)
    assert not torch.allclose(z[0], outputs(runs, task.x_test, weights="final")[0], atol=1e-2)


def test_a_block_that_is_taken_out_makes_a_difference(few):
    task, runs, own = few
    whole, without = (
        filmstrip.read(runs, task.x_test, own, f, "final") for f in ([1, 1, 1], [1, 0, 1])
    )
    assert not torch.allclose(whole, without, atol=1e-2)


def test_every_setting_has_a_curve_and_one_comes_out_alike():
    own = stored()
    assert set(own["curves"]) == {
        f"{n} {rule} {last}"
        for n, rule, last in product(filmstrip.BLOCKS, filmstrip.RULES, filmstrip.LASTS)
        if rule == "linear" or last < 100
    }
    for key, rows in own["curves"].items():
        assert len(rows) == len(own["depths"][key.split()[0]])
        assert all(0 <= low <= mean <= high <= 100 for mean, low, high in rows)
    task = data.load("digits")
    runs = fit(models.resnet(task, 6), task, replace(filmstrip.RECIPE, n_seeds=4), record=())
    trained_on = task.x[task.deal(runs.seeds).train_rows]
    z = filmstrip.read(runs, task.x_test[::2], trained_on, [1] * 6, "final")
    mean = 100 * (z.argmax(-1) == task.y_test[::2]).float().mean()
    assert abs(float(mean) - own["curves"]["6 linear 100"][-1][0]) < 3


# The browser

SHOWN = """(own, data, { uniform, n, last }) => {
    const kept = own.keptBy(uniform, n, last), tossed = own.coins().slice(0, 40);
    const film = tossed.map(c => own.alive(c, kept));
    const depths = own.depths(tossed, kept);
    return { kept, law: own.law(kept), film, depths, paths: own.paths(film[3])[n] };
}"""


def wrong(shown, uniform, n, last):
    """Defects of what the browser computes, compared with Python."""
    kept = filmstrip.kept_by(filmstrip.RULES[uniform], n, last)
    film = filmstrip.steps(kept, 40)
    expected = {
        "kept": kept,
        "law": filmstrip.law(kept),
        "film": film,
        "depths": film.sum(1),
        "paths": filmstrip.paths(film[3])[-1],
    }
    return [key for key, own in expected.items() if not np.allclose(shown[key], own, atol=1e-12)]


@needs_chromium
@pytest.mark.parametrize(("uniform", "n", "last"), [(0, 6, 1.0), (0, 24, 0.5), (1, 12, 0.2)])
def test_the_browser_computes_what_python_does(browser, uniform, n, last):
    given = {"uniform": uniform, "n": n, "last": last}
    assert wrong(in_browser(browser, "filmstrip", SHOWN, given), uniform, n, last) == []


MISTAKES = {  # one counts blocks from 0, one keeps what it should skip, ...
    "(1 - (i + 1) / n)": ("(1 - i / n)", {"kept", "law"}),
    "(tossed[i] < p ? 1 : 0)": ("(tossed[i] < p ? 0 : 1)", {"film"}),
    "c * (1 - p) + (d": ("c * p + (d", {"law"}),
    "if (c[i] < kept[i]) k++": ("if (c[i] < kept[0]) k++", {"depths"}),
    "(v + (d ? s[d - 1] : 0)) / 2 : v": ("(v + (d ? s[d - 1] : 0)) / 2 : v / 2", {"paths"}),
}


@needs_chromium
@pytest.mark.parametrize("old", MISTAKES)
def test_the_comparison_catches(browser, old):
    new, expected = MISTAKES[old]
    assert explorers.bundle("filmstrip").count(old) == 1
    spoiled = explorers.bundle("filmstrip").replace(old, new)
    given = {"uniform": 0, "n": 24, "last": 0.5}
    shown = in_browser(browser, "filmstrip", SHOWN, given, module=spoiled)
    assert expected <= set(wrong(shown, 0, 24, 0.5))


# What only this one does


PICTURE = "document.querySelector('[data-picture]').textContent.includes({!r})"
FRAMES = "document.querySelector('.frames').getAttribute('d').split('M').length - 1"


@needs_chromium
def test_what_the_lesson_asks_is_covered_until_it_is_wanted(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "filmstrip")) as (page, heard):
        page.locator(".ex .survival").focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        eventually(page, "document.querySelector('.survival').value", "5")
        eventually(page, PICTURE.format("covered"), True)
        counted(page, ".rule-name", 0)
        assert "at test time" not in page.inner_text(".ex .say")
        page.click(".ex .test")
        counted(page, ".rule-name", 2)
        eventually(page, PICTURE.format("× survival: 8.75"), True)
        eventually(page, PICTURE.format("as they are: 12"), True)
        page.click(".ex .trained")
        eventually(page, PICTURE.format("covered"), False)
        told = "{:.0f} % (95 % interval {:.0f} to {:.0f})"
        mean, low, high = stored()["curves"]["12 linear 50"][6]
        assert told.format(mean, low, high) in page.inner_text(".ex .say")
        page.click(".ex .test")
        counted(page, ".rule-name", 0)
        assert heard == []


@needs_chromium
def test_the_film_shows_the_coins_and_the_sentence_the_step(browser, tmp_path):
    with visit(browser, written_page(tmp_path, "filmstrip")) as (page, _):
        eventually(page, FRAMES, 12 * 32)
        page.locator(".ex .survival").focus()
        page.keyboard.press("End")
        film = filmstrip.steps(filmstrip.kept_by("linear", 12, 0.2), 33)
        eventually(page, FRAMES, int(film[:32].sum()))
        page.click(".ex .next")
        eventually(page, FRAMES, int(film[1:].sum()))
        k = int(film[-1].sum())
        told = f"Step 33 computes {k} of 12 blocks, and {2**k:,} of 4,096 paths are open."
        assert told in page.inner_text(".ex .say")
        page.get_by_label("all alike").check()
        even = filmstrip.steps(filmstrip.kept_by("uniform", 12, 0.2), 33)
        eventually(page, FRAMES, int(even[1:].sum()))
        assert page.locator(".ex .dial label").first.inner_text() == "Survival of every block"
