"""Prediction prompts: with buttons, without them, and with a damaged memory."""

import json
import re

import numpy as np
import pytest

from coursekit import plots, widgets
from coursekit.course import predictions
from coursekit.judge import OUTCOMES, Verdict
from coursekit.widgets import (
    Guess,
    interactive,
    predict,
    predict_curve,
    predict_number,
    predictions_file,
)

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
    [prompt] = clickable
    assert [option["label"] for option in prompt.options] == list(OUTCOMES)
    assert (prompt.kind, prompt.question, prompt.value) == ("choice", QUESTION, None)
    prompt.value = "undecided"
    assert guess.choice == "undecided"
    prompt.value = "supported"
    assert guess.choice == "supported"
    assert json.loads(predictions_file().read_text())[QUESTION]["choice"] == "supported"
    assert capsys.readouterr().out == ""  # no second prompt in text


def test_the_next_session_remembers(clickable):
    predict(QUESTION)
    clickable[0].value = "contradicted"
    again = predict(QUESTION)
    assert again.choice == "contradicted"
    assert clickable[1].value == "contradicted"
    assert predict("Another question?").choice is None


def test_an_old_choice_that_is_no_option_any_more_is_forgotten(clickable):
    predict(QUESTION, choice="supported")
    assert predict(QUESTION, ["up", "down"]).choice is None
    assert predict_number(QUESTION).choice is None
    assert predict_curve(QUESTION, x=[1, 2]).choice is None


def test_typing_instead_of_clicking(clickable):
    assert predict(QUESTION, choice="undecided").choice == "undecided"
    assert clickable[0].value == "undecided"
    assert predict(QUESTION, choice="supported").choice == "supported"
    assert predict(QUESTION).choice == "supported"


def test_a_number_is_kept_and_recalled(clickable):
    guess = predict_number("How many?", high=200, unit="labels")
    clickable[0].value = 120
    assert guess.choice == 120
    assert (clickable[0].low, clickable[0].high, clickable[0].step) == (0, 200, 2)
    again = predict_number("How many?", high=200)
    assert again.choice == clickable[1].value == 120
    assert predict_number("How many?", high=100).choice is None  # beyond this axis


def test_a_curve_is_kept_and_recalled_with_its_open_points(clickable):
    guess = predict_curve("How?", x=[1, 10, 100], log=True)
    clickable[0].value = [0.5, None, 0.25]
    assert guess.choice == (0.5, None, 0.25)
    again = predict_curve("How?", x=[1, 10, 100], log=True)
    assert again.choice == (0.5, None, 0.25)
    assert clickable[1].value == [0.5, None, 0.25]
    assert predict_curve("How?", x=[1, 10]).choice is None


def test_real_prompts_can_be_shown(monkeypatch):
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    predict(QUESTION, ("a", "b"))
    bundle = shown[0]._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == f"Predict first: {QUESTION}"


def test_the_first_guess_that_meets_a_measurement_is_kept_beside_it(clickable):
    guess = predict_number("How many?", unit="%")
    guess.against(81.2, 79.1, 83.3)
    assert not predictions_file().exists()  # nobody guessed
    guess.choose(60)
    guess.against(81.2, 79.1, 83.3)
    guess.choose(81)  # knowing the answer
    guess.against(81.2, 79.1, 83.3)
    entry = json.loads(predictions_file().read_text())["How many?"]
    assert entry["choice"] == 81
    axis = (0, 100)
    assert predictions.outcome(entry) == predictions.Number(60, 81.2, 79.1, 83.3, axis, "%", 1)


def test_choices_and_curves_are_kept_beside_what_was_measured(clickable):
    predict(QUESTION, choice="undecided").against(verdict(3.0))
    predict_curve("How?", x=[1, 2], ylabel="error", choice=[0.5, None]).against([0.25, 0.125])
    kept = json.loads(predictions_file().read_text())
    assert predictions.outcome(kept[QUESTION]) == predictions.Choice("undecided", "supported", 4)
    assert predictions.outcome(kept["How?"]) == predictions.Curve(
        (0.5, None), (0.25, 0.125), (0, 1), "error"
    )


def test_a_measurement_that_cannot_be_kept_is_still_told(clickable, capsys, monkeypatch, tmp_path):
    guess = predict_number("How many?", choice=60)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "file"))
    guess.against(70)
    assert capsys.readouterr().out.endswith("You said 60. Measured: 70, 10 more.\n")


# Numbers


def test_the_prompt_of_a_number_is_a_line_of_text(capsys):
    predict_number("How large?", low=-1, high=1.5, unit="points")
    told = "Predict first: How large? (a number from −1 to 1.5 points)\n"
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    ("choice", "measured", "text"),
    [
        (None, (81.2, 79.1, 83.3), "Measured: 81 % (79 to 83)."),
        (60, (81.2, 79.1, 83.3), "You said 60 %. Measured: 81 % (79 to 83), 21 points more."),
        (95, (81.2, 79.1, 83.3), "You said 95 %. Measured: 81 % (79 to 83), 14 points less."),
        (
            80,
            (81.2, 79.1, 83.3),
            "You said 80 %. Measured: 81 % (79 to 83): inside the interval, well predicted!",
        ),
        (60, (81.2,), "You said 60 %. Measured: 81 %, 21 points more."),
        (81, (81.2,), "You said 81 %. Measured: 81 %: exactly, well predicted!"),
        (81, (81.2, 81.15, 81.25), "You said 81 %. Measured: 81.20 % (81.15 to 81.25), "
         "0.20 points more."),
        (0, (0.0, -0.2, 0.3), "You said 0 %. Measured: 0.0 % (−0.2 to 0.3): inside the interval, "
         "well predicted!"),
    ],
)  # fmt: skip
def test_a_number_against_its_measurement(capsys, choice, measured, text):
    guess = predict_number("How large?", unit="%", choice=choice)
    capsys.readouterr()
    guess.against(*measured)
    assert capsys.readouterr().out == text + "\n"


def test_other_units_keep_their_names(capsys):
    guess = predict_number("When?", high=60, unit="epochs", choice=40)
    guess.against(np.float32(30.0), 28, 32)
    assert "You said 40 epochs. Measured: 30 epochs (28 to 32), 10 epochs less." in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"low": 1, "high": 1}, "low below high, got low=1, high=1"),
        ({"high": np.inf}, "low below high"),
        ({"step": 0}, "step above 0 and at most 100, got 0; try step=1"),
        ({"choice": 101}, "a number from 0 to 100, got 101; try choice=50"),
        ({"choice": "60"}, "got '60'"),
    ],
)
def test_a_number_that_cannot_be_asked_for(home, wrong, message):
    with pytest.raises(ValueError, match=message):
        predict_number("How large?", **wrong)
    assert not home.exists()


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ((np.nan,), "finite numbers"),
        ((1, 0), "both ends of the interval or none"),
        ((5, 1, 4), "inside its interval, got 5 and 1 to 4"),
    ],
)
def test_a_measurement_that_cannot_be_told(measured, message):
    with pytest.raises(ValueError, match=message):
        predict_number("How large?").against(*measured)


# Curves


@pytest.fixture
def drawn(monkeypatch):
    """Axes of the figures that were shown, with their texts."""
    figures = []
    monkeypatch.setattr(plots, "show", lambda fig, alt: figures.append((fig.axes[0], alt)))
    return figures


X, YS = [0, 0.5, 1], np.array([0.9, 0.8, 0.3])


def test_the_prompt_of_a_curve_is_a_line_of_text(capsys):
    predict_curve("How?", x=X, xlabel="rate", ylabel="accuracy")
    told = "Predict first: How? (draw accuracy from 0 to 1 over rate)\n"
    assert capsys.readouterr().out == told


def test_a_curve_that_nobody_guessed_shows_the_measured_one_alone(drawn, capsys):
    guess = predict_curve("How?", x=X, ylabel="accuracy")
    capsys.readouterr()
    guess.against(YS, YS - 0.1, YS + 0.1, title="It falls")
    [(ax, alt)] = drawn
    [line], [_band] = ax.lines, ax.collections
    np.testing.assert_array_equal(line.get_ydata(), YS)
    assert (
        alt == "Measured, accuracy: 0.90 at 0, 0.80 at 0.5, 0.30 at 1; lowest at 1, highest at 0."
    )
    assert (ax.get_title(loc="left"), ax.get_ylim()) == ("It falls", (0, 1))
    assert capsys.readouterr().out == ""


def test_a_measured_curve_gets_the_color_of_its_role(drawn):
    guess = predict_curve("How?", x=X)
    guess.against(YS, YS - 0.1, YS + 0.1)
    guess.against(YS, YS - 0.1, YS + 0.1, role="control")
    for (ax, _), role in zip(drawn, ("treated", "control"), strict=True):
        [label] = ax.texts
        assert ax.lines[0].get_color() == plots.COLORS[role]
        assert label.get_color() == plots.INK[role]


def test_a_drawn_curve_lies_over_the_measured_one(drawn, capsys):
    guess = predict_curve("How?", x=X, ylabel="accuracy", choice=[0.9, None, 0.9])
    capsys.readouterr()
    guess.against(YS)
    measured, mine = drawn[0][0].lines
    np.testing.assert_array_equal(measured.get_ydata(), YS)
    np.testing.assert_array_equal(mine.get_ydata(), [0.9, np.nan, 0.9])
    assert capsys.readouterr().out == (
        "Your curve is 0.30 of accuracy away from the measured one on average, and furthest at 1: "
        "you drew 0.90, measured was 0.30. (1 points were left open.)\n"
    )
    predict_curve("How?", x=X, choice=YS + 0.01).against(YS)
    assert "Your curve lies on the measured one: 0.01 away on average." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": [1]}, "at least two rising points"),
        ({"x": [1, 1]}, "rising points"),
        ({"x": [0, 1], "log": True}, "rising points above 0"),
        ({"x": X, "low": 2}, "low below high"),
        ({"x": X, "choice": [1, 1]}, "expected 3 numbers from 0 to 1"),
        ({"x": X, "choice": [0, 0, 2]}, "expected 3 numbers from 0 to 1"),
    ],
)
def test_a_curve_that_cannot_be_asked_for(home, wrong, message):
    with pytest.raises(ValueError, match=message):
        predict_curve("How?", **wrong)
    assert not home.exists()


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (([1, 2],), r"expected 3 finite measured values, .* shape \(2,\)"),
        (([1, 2, np.nan],), "finite measured values"),
        ((YS, YS), "both ends of the band"),
        ((YS, YS + 0.1, YS + 0.2), "a band that holds the measured values"),
    ],
)
def test_a_measured_curve_that_does_not_fit(measured, message):
    with pytest.raises(ValueError, match=message):
        predict_curve("How?", x=X).against(*measured)


# Pictures


PICTURES = {
    "falls": ("<?xml version='1.0'?><svg id='1'/>", "A line that falls."),
    "rises": "<svg/>",
}


def test_pictures_are_options_with_texts(clickable):
    guess = predict("Which?", PICTURES)
    assert clickable[0].options == [
        {"label": "falls", "svg": "<svg id='1'/>", "alt": "A line that falls."},
        {"label": "rises", "svg": "<svg/>", "alt": "rises"},
    ]
    clickable[0].value = "rises"
    assert guess.choice == "rises"


def test_without_a_kernel_pictures_stand_side_by_side(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plots, "rich", lambda html, words: shown.append((html, words)))
    predict("Which?", PICTURES)
    [(html, words)] = shown
    assert words == "Predict first: Which?\n    falls  |  rises"
    assert html.count("<img ") == html.count("<figcaption>") == 2
    assert 'alt="A line that falls."' in html
    with pytest.raises(ValueError, match="an SVG picture for 'a', got 'no'"):
        predict("Which?", {"a": "no", "b": "<svg/>"})


# In a browser


ASK = """
const values = %s;
window.kept = undefined;
const model = { get: k => values[k], set(k, v) { window.kept = v; }, save_changes() {}, on() {} };
render({ model, el: document.getElementById("here") });
"""


def asked(browser, width=900, **values):
    """A page with one prompt, and what it says to the console."""
    script = re.sub(r"^export (default .*$)?", "", widgets._prompt()._esm, flags=re.M)
    base = {"question": "How & why?", "value": None, "unit": "", "low": 0, "high": 1, "step": 0.01}
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.heard = []
    page.on("console", lambda m: page.heard.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.set_content(
        '<!doctype html><html lang="en"><title>t</title><main id="here"></main></html>'
    )
    page.add_script_tag(content=f"(() => {{{script}{ASK % json.dumps(base | values)}}})()")
    return page


def kept(page):
    page.wait_for_timeout(200)
    assert page.heard == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return page.evaluate("window.kept")


def accessible(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        found["id"]
        for found in axe.run(page).response["violations"]
        if found["id"] != "page-has-heading-one"
    ]


@pytest.mark.parametrize("width", [900, 390])
def test_a_number_by_slider_keys_and_field(browser, width):
    page = asked(browser, width, kind="number", high=200, step=2, unit="labels")
    assert page.inner_text(".told") == "Move the slider, or type a number."
    assert kept(page) is None
    page.focus("[type=range]")
    page.keyboard.press("Enter")  # the middle counts too
    assert kept(page) == 100
    page.keyboard.press("ArrowRight")
    assert kept(page) == 102
    assert page.input_value("[type=number]") == "102"
    page.fill("[type=number]", "161")
    assert page.inner_text(".told") == "Your guess: 161 labels" or kept(page) == 102
    page.fill("[type=number]", "160")
    assert kept(page) == 160
    assert page.inner_text(".told") == "Your guess: 160 labels"
    assert accessible(page) == []
    page.close()
    again = asked(browser, kind="number", high=200, step=2, value=160)
    assert (again.input_value("[type=range]"), again.input_value("[type=number]")) == ("160",) * 2
    again.close()


@pytest.mark.parametrize("width", [900, 390])
def test_a_curve_by_mouse_and_by_keys(browser, width):
    x = [0, 0.25, 0.5, 0.75, 1]
    page = asked(browser, width, kind="curve", x=x, xlabel="rate", ylabel="loss", log=False)
    box = page.locator(".draw").bounding_box()
    middle = box["y"] + box["height"] * 0.4
    page.mouse.move(box["x"] + 60, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle)  # fast: points between are set too
    page.mouse.up()
    values = kept(page)
    assert values[:3] == [pytest.approx(values[0])] * 3
    assert 0.4 < values[0] < 0.8
    assert values[4] is None
    assert "points are set" in page.inner_text(".told")
    page.click("summary")
    for n in (3, 4):
        page.locator(".keys input").nth(n).focus()
        page.keyboard.press("Home")
    assert kept(page)[3:] == [0, 0]
    assert page.inner_text(".told").startswith("Your curve: ")
    assert accessible(page) == []
    page.click("button")
    assert kept(page) == [None] * 5
    page.close()


@pytest.mark.parametrize("pictures", [False, True])
def test_one_of_several_by_keys(browser, pictures):
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0L9 9"/></svg>'
    more = {"svg": svg, "alt": 'A "line"'} if pictures else {}
    options = [{"label": name, **more} for name in ("falls & rises", "rises")]
    page = asked(browser, kind="choice", options=options)
    assert page.locator("img").count() == (2 if pictures else 0)
    page.focus("[type=radio]")
    page.keyboard.press("ArrowDown")
    assert kept(page) == "rises"
    page.click("text=falls & rises")
    assert kept(page) == "falls & rises"
    assert page.inner_text(".told") == "Your guess: falls & rises"
    assert accessible(page) == []
    page.close()


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
    clickable[0].value = "supported"
    assert predict(QUESTION).choice == "supported"


# Against the measurement


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("supported", "Measured: supported, as you predicted.\n"),
        ("undecided", "Measured: supported, you predicted undecided.\n"),
        (None, "Measured: supported.\n"),
    ],
)
def test_against_a_verdict(capsys, choice, text):
    Guess(QUESTION, OUTCOMES, choice).against(verdict(5.0))
    assert capsys.readouterr().out == f"{verdict(5.0)}\n{text}"


def test_only_who_could_have_guessed_is_told_so(clickable, capsys):
    predict(QUESTION).against("supported")
    predict_number("How large?").against(81)
    assert capsys.readouterr().out == (
        "Measured: supported. (You made no guess.)\nMeasured: 81. (You made no guess.)\n"
    )


def test_against_a_word(capsys):
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
