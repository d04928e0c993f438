"""Prediction prompts: with buttons, without them, and with a damaged memory."""

import json

import ipywidgets
import pytest

from coursekit import widgets
from coursekit.claims import Claim
from coursekit.judge import OUTCOMES, Verdict
from coursekit.widgets import Guess, interactive, predict, predictions_file

QUESTION = "Does L2 lower the loss?"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A memory of this test's own, in a folder that does not exist yet."""
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COURSEKIT_STATIC", raising=False)
    return tmp_path / "home"


@pytest.fixture
def clickable(monkeypatch):
    """Somebody is there to click; returns the widgets that were displayed."""
    displayed = []
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", displayed.append)
    return displayed


def buttons_of(box):
    [buttons] = [child for child in box.children if isinstance(child, ipywidgets.ToggleButtons)]
    return buttons


def verdict(mean):
    return Verdict("L2 lowers the loss", (mean - 0.1, mean, mean + 0.1), 1, 1.0)


# Without anybody to click


def test_without_a_kernel_it_is_a_line_of_text(capsys, home):
    guess = predict(QUESTION)
    assert capsys.readouterr().out == (
        "Predict first: Does L2 lower the loss?\n"
        "    supported  |  contradicted  |  no difference  |  undecided\n"
    )
    assert (guess.choice, guess.options) == (None, OUTCOMES)
    assert not home.exists()  # asking writes nothing


def test_a_batch_run_remembers_nothing(capsys):
    predict(QUESTION, choice="supported")
    assert predict(QUESTION).choice is None  # stored outputs must not depend on who ran them


def fake_kernel(monkeypatch, kernel):
    shell = None if kernel is None else type("Shell", (), {"kernel": kernel})()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)


def test_interactive_needs_a_kernel_and_no_batch_run(monkeypatch):
    assert not interactive()
    fake_kernel(monkeypatch, object())
    assert interactive()
    monkeypatch.setenv("COURSEKIT_STATIC", "1")
    assert not interactive()
    monkeypatch.delenv("COURSEKIT_STATIC")
    monkeypatch.setattr("IPython.get_ipython", lambda: object())  # a terminal has no kernel
    assert not interactive()


# With buttons


def test_a_click_is_recorded_and_kept(clickable, capsys):
    guess = predict(QUESTION)
    [box] = clickable
    buttons = buttons_of(box)
    assert (buttons.options, buttons.value) == (OUTCOMES, None)
    assert QUESTION in box.children[0].value
    buttons.value = "undecided"
    assert guess.choice == "undecided"
    buttons.value = "supported"
    assert guess.choice == "supported"
    assert json.loads(predictions_file().read_text())[QUESTION]["choice"] == "supported"
    assert capsys.readouterr().out == ""  # no second prompt in text
    buttons.value = None  # taking the button back keeps the last choice
    assert guess.choice == "supported"


def test_the_next_session_remembers(clickable):
    predict(QUESTION)
    buttons_of(clickable[0]).value = "contradicted"
    again = predict(QUESTION)
    assert again.choice == "contradicted"
    assert buttons_of(clickable[1]).value == "contradicted"
    assert predict("Another question?").choice is None


def test_an_old_choice_that_is_no_option_any_more_is_forgotten(clickable):
    predict(QUESTION, choice="supported")
    assert predict(QUESTION, ["up", "down"]).choice is None


def test_typing_instead_of_clicking(clickable):
    assert predict(QUESTION, choice="undecided").choice == "undecided"
    assert buttons_of(clickable[0]).value == "undecided"
    assert predict(QUESTION, choice="supported").choice == "supported"
    assert predict(QUESTION).choice == "supported"


def test_real_widgets_can_be_shown(monkeypatch):
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    predict(QUESTION, ("a", "b"))
    assert "application/vnd.jupyter.widget-view+json" in shown[0]._repr_mimebundle_()


# Memory


def test_the_file_is_where_it_should_be(home, monkeypatch, tmp_path):
    assert predictions_file() == home / "predictions.json"
    monkeypatch.delenv("COURSEKIT_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert predictions_file() == tmp_path / ".coursekit" / "predictions.json"


def test_choices_are_kept_side_by_side(home):
    Guess("one", ("a", "b")).choose("a")
    Guess("two", ("a", "b")).choose("b")
    Guess("one", ("a", "b")).choose("b")
    kept = json.loads((home / "predictions.json").read_text())
    assert {question: entry["choice"] for question, entry in kept.items()} == {
        "one": "b",
        "two": "b",
    }
    assert all(entry["when"].endswith("+00:00") for entry in kept.values())
    assert [path.name for path in home.iterdir()] == ["predictions.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b'"x"',
        b"\xff\xfe",
        b"null",
        b'{"Does L2 lower the loss?": "supported"}',
    ],
)
def test_a_damaged_memory_stops_no_lesson(clickable, home, content):
    home.mkdir()
    predictions_file().write_bytes(content)
    assert predict(QUESTION).choice is None
    buttons_of(clickable[0]).value = "supported"
    assert predict(QUESTION).choice == "supported"


# Against the measurement


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("supported", "Measured: supported, as you predicted.\n"),
        ("undecided", "Measured: supported, you predicted undecided.\n"),
        (None, "Measured: supported. (No prediction recorded.)\n"),
    ],
)
def test_against_a_verdict(capsys, choice, text):
    Guess(QUESTION, OUTCOMES, choice).against(verdict(5.0))
    assert capsys.readouterr().out == f"{verdict(5.0)}\n{text}"


def test_against_a_claim_and_against_a_word(capsys):
    claim = Claim("C01", "it helps", {"a": True})
    Guess(QUESTION, ("confirmed", "refuted"), "refuted").against(claim)
    assert capsys.readouterr().out == f"{claim}\nMeasured: confirmed, you predicted refuted.\n"
    Guess(QUESTION, ("up", "down"), "up").against("up")
    assert capsys.readouterr().out == "Measured: up, as you predicted.\n"


def test_against_something_that_could_not_be_predicted():
    with pytest.raises(ValueError, match="expected one of up, down, got 'sideways'"):
        Guess(QUESTION, ("up", "down")).against("sideways")
    with pytest.raises(ValueError, match="expected one of up, down, got 'supported'"):
        Guess(QUESTION, ("up", "down")).against(verdict(5.0))


@pytest.mark.parametrize("options", [[], ["one"], ["same", "same"]])
def test_a_choice_needs_two_options(options):
    with pytest.raises(ValueError, match="at least two different options"):
        predict(QUESTION, options)


def test_an_unknown_choice_is_refused_and_not_kept(home):
    with pytest.raises(ValueError, match="got 'perhaps'"):
        predict(QUESTION, choice="perhaps")
    assert not home.exists()
