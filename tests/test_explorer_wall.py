"""The memorization wall: its film against `fit`, its counts against Python, and its covers."""

from dataclasses import replace

import numpy as np
import pytest
from browsing import in_browser, needs_chromium, visit, written_page

from coursekit import explorers, models
from coursekit.explorers import wall
from coursekit.train import evaluate, fit

# The data are runs


@pytest.fixture(scope="module")
def short():
    """The first four networks, for twelve epochs."""
    recipe = replace(wall.RECIPE, epochs=12, n_seeds=4)
    return recipe, wall.film(wall.task(), recipe)


def unlike(film, runs, task):
    """Curves that are not those of `fit`."""
    told = {
        "train_loss": film.train_loss,
        "val_loss": film.val_loss,
        "val_acc": film.val_acc,
        "test_loss": film.test_loss,
        "test_acc": film.test_acc,
    }
    defects = [k for k, v in told.items() if not np.allclose(v[1:].T, getattr(runs, k), atol=1e-5)]
    end = evaluate(runs, task, "train", weights="final").acc
    by_heart = (film.answers[-1] == film.given).mean(1)
    return defects + ([] if np.allclose(end, by_heart, atol=1e-6) else ["answers"])


def test_the_film_is_the_training_of_fit(short):
    recipe, film = short
    task = wall.task()
    runs = fit(models.mlp(task), task, recipe, record=("train", "val", "test"))
    assert unlike(film, runs, task) == []
    other = fit(models.mlp(task), task, replace(recipe, lr=2e-3), record=("train", "val", "test"))
    assert len(unlike(film, other, task)) == 6


def test_the_labels_are_those_of_the_task(short):
    _, film = short
    dealt = wall.task().deal(range(4))
    assert (film.given == dealt.y_train.numpy()).all()
    assert (film.wrong == dealt.flipped.numpy()).all()
    # What learns with four in ten labels replaced validates on as many, and some come back right.
    told, rows = wall.wrong_labels(wall.task(), range(200)), wall.task().deal(range(200)).val_rows
    share = (told != wall.task().y[rows]).double().mean().item()
    assert share == pytest.approx(0.36, abs=0.02)


def test_new_digits_are_neither_learned_nor_validated_on():
    task = wall.task()
    dealt = task.deal(range(3))
    others = wall._others(task, dealt)
    assert others.shape == (3, len(task.x) - task.n_train - task.n_val)
    for s in range(3):
        used = set(dealt.train_rows[s].tolist()) | set(dealt.val_rows[s].tolist())
        assert not used & set(others[s].tolist())


def test_a_temperature_undoes_a_factor(short):
    torch = pytest.importorskip("torch")
    logits = torch.randn(2, 400, 10, generator=torch.Generator().manual_seed(0))
    y = torch.distributions.Categorical(logits=logits).sample()
    once, twice = wall._temperature(logits, y), wall._temperature(4 * logits, y)
    assert np.allclose(twice / once, 4, rtol=0.1)
    assert np.allclose(once, 1, rtol=0.2)


def stored_unlike(film, stops):
    own, defects = explorers.stored("wall"), []
    for s, network in enumerate(own["networks"]):
        order = np.lexsort((film.truth[s], film.wrong[s]))
        told = [network["given"], network["truth"]]
        if told != [wall._digits(v[s, order]) for v in (film.given, film.truth)]:
            defects.append(f"labels of network {s + 1}")
        for k, epoch in enumerate(stops):
            now = np.array(list(network["answers"][k]), int)
            # Processors round differently: a few answers may go the other way.
            if (now != film.answers[epoch, s, order]).sum() > 4:
                defects.append(f"answers of network {s + 1} after {epoch} epochs")
    return defects


def test_the_stored_answers_are_those_of_a_new_training(short):
    _, film = short
    stops = [stop for stop in wall.STOPS if stop <= 12]
    assert stored_unlike(film, stops) == []
    assert stored_unlike(film, stops[1:] + stops[:1])


def test_the_stored_pictures_are_the_digits():
    task, own = wall.task(), explorers.stored("wall")
    dealt = task.deal(range(1))
    wrong = dealt.flipped[0].numpy()
    rows = dealt.train_rows[0].numpy()
    order = np.lexsort((task.y[rows].numpy(), wrong))
    signs = [wall.SYMBOLS.index(c) for c in own["networks"][0]["pixels"]]
    pixels = np.array(signs).reshape(-1, 64) / 16
    assert np.allclose(pixels, task.x[rows[order]].flatten(1).numpy())


def test_the_curves_are_means_of_what_is_shown():
    own = explorers.stored("wall")
    assert len(own["true"]) == len(own["worth"]) == len(own["stops"])
    assert own["worth"][-1] == [0.0, 0.0]  # the last epoch is compared with itself
    for e, (gain, half) in enumerate(own["worth"][:-1]):
        assert gain == pytest.approx(own["test"][e] - own["test"][-1], abs=0.11)
        assert half > 0
    shown = [n["val_acc"] for n in own["networks"]]
    assert np.abs(np.mean(shown, 0) - np.array(own["val_acc"])[:, 0]).max() < 15


# Numbers in the browser

COUNTS = """(own, data) => data.networks.flatMap(n => data.stops.map((_, stop) => {
    const t = own.tally({ given: [...n.given].map(Number), truth: [...n.truth].map(Number),
                          answers: n.answers.map(a => [...a].map(Number)) }, stop);
    return [t.told, t.right, t.true, t.heart, t.wrong];
}))"""


def counted():
    found = []
    for network in explorers.stored("wall")["networks"]:
        given, truth = (np.array(list(network[k])) for k in ("given", "truth"))
        wrong = given != truth
        for answers in network["answers"]:
            a = np.array(list(answers))
            told, true = (a == given), (a == truth)
            row = [told & ~wrong, ~wrong, true & wrong, told & wrong, wrong]
            found.append([int(part.sum()) for part in row])
    return found


@needs_chromium
def test_the_wall_counts_as_python_does(browser):
    assert in_browser(browser, "wall", COUNTS) == counted()


@needs_chromium
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("answer === truth ? TRUE", "answer !== given ? TRUE"),
        ("answer === given ? BY_HEART", "answer !== truth ? BY_HEART"),
        ("s === AS_TOLD ? 1 : 0", "s !== AS_TOLD ? 1 : 0"),
    ],
)
def test_the_comparison_catches(browser, old, new):
    module = explorers.bundle("wall")
    assert module.count(old) == 1, old
    assert in_browser(browser, "wall", COUNTS, module=module.replace(old, new)) != counted()


# What only the wall does


@pytest.fixture
def written(tmp_path):
    return written_page(tmp_path, "wall")


def test_it_opens_before_the_first_step():
    assert explorers.show("wall").state == {"epoch": 0, "network": 1}


def drawn(page):
    """How many points the curves have."""
    paths = page.locator(".curves path").evaluate_all("all => all.map(p => p.getAttribute('d'))")
    return max(path.count("L") for path in paths if not path.endswith("Z")) + 1


@needs_chromium
def test_curves_are_covered_until_one_has_been_there(browser, written):
    with visit(browser, written) as (page, heard):
        assert drawn(page) == 1
        assert page.locator(".stop").is_disabled()
        for _ in range(3):
            page.focus(".epoch")
            page.keyboard.press("ArrowRight")
        assert drawn(page) == 4
        page.keyboard.press("Home")
        assert drawn(page) == 4
        assert "".join(page.locator(".curves text").all_text_contents()).count("covered") == 3
        assert page.inner_text(".flag") == ""
        assert heard == []


@needs_chromium
def test_a_stop_is_judged_once_it_is_chosen(browser, written):
    own = explorers.stored("wall")
    with visit(browser, written) as (page, heard):
        page.focus(".epoch")
        for _ in range(12):
            page.keyboard.press("ArrowRight")
        page.focus(".stop")
        page.keyboard.press("Enter")
        gain, half = own["worth"][12]
        told = page.inner_text(".flag")
        assert told.startswith("You stop all networks after 12 epochs.")
        assert f"your stop is worth {gain:+.1f} points" in told
        assert f"{gain - half:+.1f} to {gain + half:+.1f}" in told
        assert drawn(page) == len(own["stops"])
        assert "covered" not in "".join(page.locator(".curves text").all_text_contents())
        page.focus(".epoch")
        page.keyboard.press("End")
        page.click(".stop")
        assert "you have not stopped them" in page.inner_text(".flag")
        assert "Your first stop was epoch 12." in page.inner_text(".flag")
        assert heard == []


@needs_chromium
def test_it_plays_to_the_end_and_pauses(browser, written):
    with visit(browser, written) as (page, heard):
        page.click(".play")
        page.wait_for_function("document.querySelector('.dial output').textContent > 1")
        page.click(".play")
        paused = page.inner_text(".dial output")
        page.wait_for_timeout(600)
        assert page.inner_text(".dial output") == paused
        assert page.inner_text(".play") == "Play"
        page.focus(".epoch")
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        page.click(".play")
        page.wait_for_function("document.querySelector('.dial output').textContent === '120'")
        assert page.inner_text(".play") == "Play"
        assert heard == []


@needs_chromium
def test_another_network_has_other_digits(browser, written):
    with visit(browser, written) as (page, heard):
        before = page.locator("[data-picture] image").first.get_attribute("href")
        page.locator(".nets input").nth(1).check()
        assert page.locator("[data-picture] image").first.get_attribute("href") != before
        assert "network 2 answers" in page.inner_text(".say")
        assert heard == []
