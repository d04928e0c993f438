"""The playground: its settings, its training, its list, and its page in JupyterLab."""

import json
import re
import threading

import nbformat
import numpy as np
import pytest
from browsing import jupyterlab, needs_chromium, overlaps, violations
from pretend import pretend

from coursekit import judge, playground, plots
from coursekit.course import lessons
from coursekit.playground import Setting, board, session, setting
from coursekit.playground.session import Curves, Session, counted
from coursekit.playground.training import Training

QUICK = {"epochs": 5, "n_seeds": 3, "n_train": 100}
EVERYTHING = {
    "l1": 1e-5, "l2": 1e-4, "weight_decay": 0.1, "dropout": 0.3, "shift": 1, "noise": 0.1,
    "mixup": 0.2, "smoothing": 0.1, "batch_norm": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSEKIT_STATIC", raising=False)


@pytest.fixture
def effects(monkeypatch):
    """What the lines of code would draw."""
    drawn = []
    monkeypatch.setattr(plots, "effects", lambda effects, **_: drawn.append(effects))
    return drawn


def executed(code):
    space = {}
    exec(compile(code, "code", "exec"), space)
    return space


# Settings


@pytest.mark.parametrize(
    "asked",
    [
        {},
        *({name: value} for name, value in EVERYTHING.items()),
        EVERYTHING,
        {"model": "resnet", "survival": 0.5, "weight_decay": 0.1},
        {"model": "cnn", "dropout": 0.3, "shift": 1},
        {"data": "moons", "n_train": 50, "model": "linear", "l1": 1e-3},
    ],
    ids=lambda asked: ", ".join(asked) or "plain",
)
def test_the_lines_of_code_give_the_same_numbers(effects, asked):
    one = Setting(**QUICK | asked)
    ours, plain = playground.train(one), playground.train(one.plain)
    theirs = executed(one.code())
    for name in ("train_loss", "train_acc", "val_loss", "val_acc"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs["treated"], name))
        np.testing.assert_array_equal(getattr(plain, name), getattr(theirs["plain"], name))
    if asked:
        assert not np.array_equal(ours.val_loss, plain.val_loss)
    assert list(effects[0]) == [one.words]


def test_lines_with_another_strength_give_other_numbers(effects):
    one = Setting(**QUICK, dropout=0.3)
    theirs = executed(one.code().replace("dropout=0.3", "dropout=0.4"))
    assert not np.array_equal(playground.train(one).val_loss, theirs["treated"].val_loss)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"data": "moon"}, "unknown data 'moon'; expected one of digits"),
        ({"data": "moons", "shift": 1}, "only images can be moved by pixels; try data="),
        ({"data": "wine", "model": "cnn"}, "unknown model for wine 'cnn'; expected one of mlp"),
        ({"survival": 0.5}, 'only residual blocks can be skipped; try model="resnet"'),
        ({"model": "resnet", "dropout": 0.5}, "has no layer of dropout; try model="),
        ({"dropout": 1}, r"expected dropout in \[0, 1\), got 1; try dropout=0.1"),
        ({"l1": -1}, "got -1; try l1=1e-05"),
        ({"n_seeds": 1}, "got 1; try n_seeds=8"),
        ({"epochs": 2.5}, "got 2.5; try epochs=60"),
        ({"dropout": "much"}, "got str 'much'; try dropout=0.1"),
        ({"batch_norm": True, "n_train": 101}, "101 rows in batches of 50; try n_train=100"),
    ],
)
def test_a_bad_setting_is_answered_with_one_sentence(asked, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        Setting(**asked)
    assert "\n" not in str(caught.value)


def test_a_setting_is_printed_as_it_is_made():
    one = Setting(data="moons", dropout=0.5, n_train=20)
    assert eval(repr(one)) == one
    assert eval(repr(playground.show(dropout=0.5))).setting == Setting(dropout=0.5)


def test_every_stop_of_every_slider_fits():
    for name, strength in setting.STRENGTHS.items():
        model = "resnet" if name == "survival" else "mlp"
        stops = [Setting(model=model, **{name: stop}) for stop in strength.stops]
        assert [one.on == {} for one in stops] == [True] + [False] * (len(stops) - 1)
    for name, pool in setting.POOLS.items():
        for model in pool.models:
            for n_train in pool.n_train:
                Setting(data=name, model=model, n_train=n_train).task()


def test_the_form_offers_what_was_asked_for():
    own = board.facts(Setting(data="moons", n_train=33, dropout=0.35, epochs=7))
    assert own["pools"]["moons"]["n_train"] == [20, 33, 50, 100]
    assert 0.35 in own["strengths"]["dropout"]["stops"]
    assert own["strengths"]["survival"]["stops"][:2] == [1, 0.9]
    assert 7 in own["epochs"]
    json.dumps(own)


# Training


def test_strengths_change_from_an_epoch_on():
    one = Setting(**QUICK, dropout=0.3)
    steady = playground.train(one).val_loss
    changed = playground.train(one, {4: {"dropout": 0.0, "l2": 0.1}}).val_loss
    np.testing.assert_array_equal(steady[:, :3], changed[:, :3])
    assert not np.array_equal(steady[:, 3:], changed[:, 3:])
    from_the_start = playground.train(one, {1: {"dropout": 0.0, "l2": 0.1}}).val_loss
    np.testing.assert_array_equal(
        from_the_start, playground.train(Setting(**QUICK, l2=0.1)).val_loss
    )


@pytest.mark.parametrize("name", [n for n, s in setting.STRENGTHS.items() if s.live])
def test_every_live_strength_can_be_turned_up_and_off(name):
    model = "resnet" if name == "survival" else "mlp"
    plain = Setting(**QUICK, model=model)
    high, off = setting.STRENGTHS[name].stops[-1], setting.OFF[name]
    up = playground.train(plain, {3: {name: high}}).val_loss
    steady = playground.train(plain).val_loss
    np.testing.assert_array_equal(up[:, :2], steady[:, :2])
    assert not np.array_equal(up[:, 2:], steady[:, 2:])
    training = Training(plain)
    training.change(**{name: high})
    training.change(**{name: off})
    while not training.done:
        training.epoch()
    assert training.changes == {}
    np.testing.assert_array_equal(training.runs().val_loss, steady)


def test_a_change_that_is_taken_back_in_time_leaves_no_trace():
    training = Training(Setting(**QUICK, dropout=0.3))
    training.epoch()
    training.change(dropout=0.5, l2=0.1)
    training.change(dropout=0.3)
    assert training.changes == {2: {"l2": 0.1}}
    training.change(l2=0.0)
    assert training.changes == {}


def test_what_cannot_change_while_it_trains_is_answered():
    with pytest.raises(ValueError, match="got 'batch_norm'; set the others before"):
        Training(Setting(**QUICK)).change(batch_norm=True)
    with pytest.raises(ValueError, match=r"in \[1, 5\], got 6"):
        playground.train(Setting(**QUICK), {6: {"l1": 0.1}})


# A session


def finished(one, *, after=None, do=None):
    """A session that has trained a setting; `do` is done to it once `after` epochs are over."""
    reached = threading.Event()

    def watch():
        if after and own.run.get("done", 0) >= after and not reached.is_set():
            reached.set()
            do(own)

    own = Session(watch)
    own.start(one)
    own.wait(60)
    assert not own.busy
    return own


@pytest.fixture
def every_epoch(monkeypatch):
    monkeypatch.setattr(session, "PAUSE", 0.0)


def test_strengths_change_while_it_trains_and_the_code_says_so(every_epoch, effects):
    def turn(own):
        for rate in (0.8, 0.1, 0.6):  # a slider that is dragged: the last position counts
            own.change(dropout=rate)
        own.change(l2=0.01)

    one = Setting(**QUICK, dropout=0.3)
    own = finished(one, after=2, do=turn)
    assert own.run["changes"] == [[3, "dropout 0.6, L2 0.01"]]
    row = own.tried[0]
    assert row["with"] == "dropout 0.3; from epoch 3 dropout 0.6, L2 0.01"
    theirs = executed(row["code"])
    np.testing.assert_array_equal(own.treated.val_acc, theirs["treated"].val_acc)
    np.testing.assert_array_equal(own.plain.val_acc, theirs["plain"].val_acc)
    [effect] = effects[0].values()
    assert effect == pytest.approx([row[k] for k in ("difference", "low", "high")], abs=0.006)


def test_stopping_ends_after_an_epoch_and_both_sides_are_compared_there(every_epoch, effects):
    own = finished(Setting(**QUICK, dropout=0.3), after=2, do=Session.stop)
    assert own.run["status"] == "stopped"
    assert own.run["done"] == own.treated.val_acc.shape[1] == own.tried[0]["epochs"] == 2
    assert own.say.startswith("Stopped after epoch 2, ")
    theirs = executed(own.tried[0]["code"])
    np.testing.assert_array_equal(own.treated.val_loss, theirs["treated"].val_loss)


def test_plain_networks_are_trained_once(every_epoch):
    own = finished(Setting(**QUICK, dropout=0.3))
    first = own.plain
    own.start(Setting(**QUICK, dropout=0.5))
    own.wait(60)
    assert own.plain is first
    np.testing.assert_array_equal(
        own.treated.val_acc, playground.train(Setting(**QUICK, dropout=0.5)).val_acc
    )
    assert len(own.run["plain"]["val_acc"][0]) == 5
    assert [row["try"] for row in own.tried] == [1, 2]
    # Of a training that was stopped nothing is kept that another could need.
    stopped = finished(Setting(**QUICK, dropout=0.3), after=2, do=Session.stop)
    stopped.start(Setting(**QUICK, dropout=0.3))
    stopped.wait(60)
    assert stopped.plain.val_acc.shape == (3, 5)


def test_the_verdict_is_that_of_the_course(every_epoch):
    own = finished(Setting(**QUICK | {"epochs": 40}, label_noise=0.4, dropout=0.3))
    assert own.plain.val_loss.argmin(1).max() < 39  # so that stopping makes a difference
    before, after = own.plain.val_acc[:, -1], own.treated.val_acc[:, -1]
    theirs = judge.raises("it helps", before, after, "accuracy").interval
    [end, stopped, alone] = own.run["verdicts"]["acc"]
    assert end["effect"] == pytest.approx(list(theirs), abs=1e-4)
    assert end["word"] == plots.word(theirs.low, theirs.high, smallest=1)
    best = own.plain.val_loss.argmin(1), own.treated.val_loss.argmin(1)
    control, treated = (
        np.take_along_axis(runs.val_acc, at[:, None], 1)[:, 0]
        for runs, at in zip((own.plain, own.treated), best, strict=True)
    )
    assert stopped["effect"][0] == pytest.approx(100 * (treated - control).mean(), abs=1e-4)
    if "effect" in alone:
        assert alone["effect"][0] == pytest.approx(100 * (control - before).mean(), abs=1e-4)
    last = own.run["difference"]["acc"]
    assert [one[-1] for one in last] == pytest.approx(list(theirs), abs=1e-4)


def test_nothing_switched_on_is_no_try(every_epoch):
    own = finished(Setting(**QUICK))
    assert own.tried == []
    assert own.say.startswith("Nothing was switched on, so both sides are the same. ")
    assert [one["word"] for one in own.run["verdicts"]["acc"]][:2] == ["the same"] * 2


def test_a_loss_that_is_not_finite_is_told(every_epoch):
    values = np.full((3, 4), 0.5)
    broken = values.copy()
    broken[1, 2:] = np.nan
    curves = dict.fromkeys(("train_acc", "val_acc", "val_loss", "train_loss"), values)
    good, bad = Curves(curves), Curves(curves | {"val_loss": broken, "train_loss": broken})
    assert (good.diverged, bad.diverged) == (0, 1)
    verdicts, _ = session._verdicts(good, bad)
    assert verdicts["loss"][0]["word"] == "diverged"
    assert session._difference(good, bad)["loss"][0][1:3] == [0.0, None]
    json.dumps(session._summary(bad), allow_nan=False)


def test_an_error_while_it_trains_becomes_a_sentence(monkeypatch):
    def fail(self):
        raise RuntimeError("out of memory\nand a long trace")

    monkeypatch.setattr(Training, "epoch", fail)
    own = finished(Setting(**QUICK))
    assert own.say == "It could not be trained: out of memory"
    monkeypatch.undo()
    own.start(Setting(**QUICK, l2=0.1))  # and one can go on
    own.wait(60)
    assert len(own.tried) == 1


def test_one_at_a_time(every_epoch):
    own = Session()
    own.start(Setting(**QUICK | {"epochs": 1000}))
    with pytest.raises(RuntimeError, match="one that trains; try stop"):
        own.start(Setting())
    with pytest.raises(ValueError, match="got 'batch_norm'; stop first"):
        own.change(batch_norm=True)
    own.change(dropout=7)  # what does not fit is told when it would be applied
    while "Left as it was" not in own.say and own.busy:
        own.wait(0.05)
    assert re.search(r"Left as it was: expected dropout in \[0, 1\), got 7", own.say)
    own.stop()
    own.wait(60)
    assert not own.busy


@pytest.mark.parametrize("asked", [EVERYTHING, {"model": "resnet", "survival": 0.5}])
def test_it_trains_on_a_device(monkeypatch, asked):
    load = setting.data.load
    with pretend("cuda:1"):
        setting._load.cache_clear()
        monkeypatch.setattr(setting.data, "load", lambda *a, **o: load(*a, device="cuda:1", **o))
        own = Session()
        own._train(Setting(**QUICK | asked))
        assert own.treated.device.startswith("cuda:1")
        assert own.say.startswith("After 5 epochs, ")
    setting._load.cache_clear()


# The list


def row(first_seed, differences, **question):
    own = Setting(first_seed=first_seed, n_seeds=len(differences), **question)
    return {"setting": vars(own), "differences": differences}


def test_tries_on_the_same_seeds_are_counted_together():
    d = [0.6, 2.5, 3.1, 1.9]
    looked = [row(0, d, dropout=0.3), row(2, d, dropout=0.5), row(0, d, l2=0.1, epochs=30)]
    fresh, elsewhere = row(100, d, dropout=0.3), row(0, d, data="moons")
    out = counted([*looked, fresh, elsewhere])
    assert [one["tries_on_these_seeds"] for one in out] == [3, 3, 3, 1, 1]
    assert [one["together_word"] for one in out] == ["not yet known"] * 3 + ["helps, size open"] * 2
    # At 98.33 %, and at 95 %.
    assert out[0]["together_low"] == pytest.approx(2.025 - 4.8567 * 0.5344, abs=0.01)
    assert out[3]["together_low"] == pytest.approx(2.025 - 3.1824 * 0.5344, abs=0.01)


def test_what_was_tried_is_kept_until_it_is_forgotten(every_epoch):
    play = playground.show(**QUICK, dropout=0.3)
    play.start()
    play.wait(60)
    play.start(l2=0.01)
    play.wait(60)
    assert [one["with"] for one in play.tried] == ["dropout 0.3", "L2 0.01, dropout 0.3"]
    later = playground.show()
    assert later.tried == play.tried
    with pytest.MonkeyPatch.context() as stored:
        stored.setenv("COURSEKIT_STATIC", "1")
        assert playground.show().tried == []
    later.forget()
    assert later.tried == playground.show().tried == []


def test_a_damaged_list_is_empty(tmp_path):
    board.tried_file().parent.mkdir(parents=True)
    board.tried_file().write_text('{"a": {"differences": [1]}, "b": 7')
    assert playground.show().tried == []
    board.tried_file().write_text('{"a": {"differences": [1]}, "b": 7}')
    assert playground.show().tried == []


def test_code_is_that_of_the_form_or_of_what_was_trained(every_epoch):
    play = playground.show(**QUICK, dropout=0.3)
    assert play.code == play.setting.code()
    play.start(dropout=0.4, epochs=30)
    while play._session.run.get("done", 0) < 2:
        play.wait(0.01)
    play.change(dropout=0.1)
    play.wait(60)
    [(epoch, words)] = play._session.run["changes"]
    assert words == "dropout 0.1"
    assert f"changes={{{epoch}: {{'dropout': 0.1}}}}" in play.code
    assert play.setting == Setting(**QUICK | {"epochs": 30}, dropout=0.1)
    assert play.treated.val_acc.shape == (3, 30)


def test_what_the_page_asks_for_is_done_or_answered(every_epoch):
    play = playground.show(**QUICK)
    play._widget = widget = board._widget()(facts=board.facts(play.setting), form={})
    play._heard(widget, {"do": "form", "form": {**QUICK, "dropout": 0.3}}, [])
    assert widget.form["dropout"] == 0.3
    assert "dropout=0.3" in widget.code
    play._heard(widget, {"do": "train", "form": {**QUICK, "dropout": 0.3}}, [])
    play.wait(60)
    assert (widget.busy, widget.say, len(widget.tried)) == (False, play.say, 1)
    assert {"differences", "code"}.isdisjoint(widget.tried[0])
    play._heard(widget, {"do": "form", "form": {**QUICK, "l2": 0.1}}, [])
    assert "dropout" not in widget.code
    play._heard(widget, {"do": "code", "row": 0}, [])
    assert widget.code == play.tried[0]["code"]
    for wrong, sentence in (
        ({"do": "train", "form": {"data": "moon"}}, "Unknown data 'moon'; expected one of"),
        ({"do": "train", "form": {"speed": 3}}, "unexpected keyword argument 'speed'"),
        ({"do": "change", "strengths": {"batch_norm": True}}, "stop first"),
    ):
        play._heard(widget, wrong, [])
        assert sentence in widget.say
        assert not play._session.busy
    play._heard(widget, {"do": "forget"}, [])
    assert widget.tried == []


# Without a browser


def test_without_a_kernel_it_is_a_sentence(monkeypatch):
    shown = playground.show()._repr_mimebundle_()
    assert shown["text/plain"] == board.STATIC
    assert "widget" not in "".join(shown)


def test_the_notebook_is_listed_and_links_back():
    [path] = lessons.playground_page()
    assert path in lessons.select(["playground"])
    assert path in lessons.select([])
    assert path not in lessons.lessons()
    text = path.read_text(encoding="utf-8")
    assert "playground.show()" in text
    assert "(start.ipynb)" in text
    start = (path.parent / lessons.START).read_text(encoding="utf-8")
    assert "(playground.ipynb)" in start


# JupyterLab

END = "document.querySelector('.curves path[stroke-width=\"3\"][stroke*=strong]')"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    code = (
        "from coursekit import playground\n\n"
        "play = playground.show(n_train=100, epochs=120, n_seeds=4)\nplay"
    )
    cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell("play.tried[-1]['with']")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "play.ipynb")
    with jupyterlab(folder, COURSEKIT_HOME=str(folder / "home")) as addresses:
        yield addresses.format("play.ipynb")


@needs_chromium
def test_it_trains_in_jupyterlab(browser, lab):
    from playwright.sync_api import expect

    page, heard = browser.new_page(viewport={"width": 1000, "height": 1400}), []
    page.on("console", lambda m: heard.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    page.click(".jp-Notebook .jp-InputArea-editor >> nth=0")
    page.keyboard.press("Shift+Enter")
    go, halt, say = (page.locator(one) for one in (".play .go", ".play .halt", ".play .say"))
    expect(go).to_be_enabled(timeout=120_000)
    expect(halt).to_be_disabled()
    assert violations(page, ".play") == []
    assert overlaps(page) == []

    # By keyboard: a strength, and the training.
    dropout = page.locator(".play [data-name=dropout]")
    dropout.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".play [data-dial=dropout] output")).to_have_text("0.3")
    page.locator(".play .lines summary").click()
    expect(page.locator(".play pre")).to_contain_text("dropout=0.3")
    go.focus()
    page.keyboard.press("Enter")
    expect(halt).to_be_enabled(timeout=30_000)
    expect(page.locator(".play [data-name=data]")).to_be_disabled()
    page.wait_for_function(f"{END}", timeout=60_000)

    # A change while it trains reaches the next epoch, and the list.
    dropout.focus()
    page.keyboard.press("End")
    expect(page.locator(".play .changes")).to_have_text(
        re.compile(r"From epoch \d+: dropout 0.8."), timeout=30_000
    )
    expect(go).to_be_enabled(timeout=120_000)
    expect(say).to_contain_text("After 120 epochs")
    expect(page.locator(".play .tries summary")).to_have_text("What you tried (1)")
    expect(page.locator(".play pre")).to_contain_text("changes={")
    expect(page.locator(".play .verdicts")).to_contain_text("Early stopping alone")
    assert violations(page, ".play") == []
    assert overlaps(page) == []
    before = page.evaluate(f"{END}.getAttribute('d')")
    page.locator(".play .metric input[value=loss]").check()
    assert page.evaluate(f"{END}.getAttribute('d')") != before
    page.locator(".play .tries summary").click()
    href = page.locator(".play .file").get_attribute("href")
    text = page.evaluate("async href => (await fetch(href)).text()", href)
    assert text.splitlines()[0].startswith('"try","with","data"')
    assert "dropout 0.3; from epoch" in text.splitlines()[1]

    # Stop; the same seeds count together, new ones do not.
    page.locator(".play [data-name=epochs]").select_option("240")
    go.click()
    expect(halt).to_be_enabled(timeout=30_000)
    page.wait_for_function("document.querySelector('.play progress').value > 0.02", timeout=60_000)
    halt.click()
    expect(go).to_be_enabled(timeout=30_000)
    expect(say).to_contain_text("Stopped after epoch")
    expect(page.locator(".play .tries tbody tr")).to_have_count(2)
    expect(page.locator(".play .tries tbody tr >> nth=0")).to_contain_text("among 2")
    page.locator(".play .fresh").click()
    expect(page.locator(".play .which")).to_have_text("Seeds 4 to 7")
    assert violations(page, ".play") == []
    assert overlaps(page) == []

    # The kernel was free all along, and the list is there in Python.
    page.click(".jp-Notebook .jp-InputArea-editor >> nth=1")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".jp-OutputArea-output pre:has-text('dropout 0.8')", timeout=30_000)
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert say.evaluate("node => getComputedStyle(node).color") == "rgb(237, 237, 237)"
    assert [one for one in heard if "board" in one or "anywidget" in one or "play" in one] == []
    page.close()
