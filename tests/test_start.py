"""The start page: a map of the lessons, and what a learner has done and predicted."""

import json
import re

import nbformat
import pytest

from coursekit import start
from coursekit.commands.cli import main
from coursekit.course import learner, lessons, notebook, predictions
from coursekit.course.predictions import Choice, Curve, Number
from coursekit.exercises import bank
from coursekit.exercises.sheet import progress_file
from coursekit.widgets import predict, predict_number, predictions_file


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path))
    monkeypatch.delenv("COURSEKIT_STATIC", raising=False)


def test_the_map_has_every_lesson_with_what_one_sees(nobody):
    rows = start.course_map().rows
    assert [row.path for row in rows] == lessons.lessons()
    assert [row.title for row in rows if not row.seen or not 5 < row.reading < 120] == []
    assert set(start.SEEN) == {row.path.name[:2] for row in rows}
    assert sum(row.tasks for row in rows) == len(bank.exercises())
    assert sum(row.done for row in rows) == 0


def test_what_is_solved_counts_and_what_was_tried_does_not(nobody):
    first, second, *_ = bank.of_lesson("04")
    learner.remember(progress_file(), first.name, status="right")
    learner.remember(progress_file(), second.name, status="wrong")
    with pytest.MonkeyPatch.context() as stored:
        stored.setenv("COURSEKIT_STATIC", "1")
        assert sum(row.done for row in start.course_map().rows) == 0
    shown = start.course_map()
    assert {row.path.name[:2]: row.done for row in shown.rows if row.done} == {"04": 1}
    assert "1 of " in repr(shown)
    page = shown._repr_html_()
    assert "<a href='exercises/04_dropout.ipynb'>1 of " in page
    assert page.count("<a href=") == len(shown.rows) + sum(row.tasks > 0 for row in shown.rows)


def test_links_lead_to_notebooks(nobody):
    for row in start.course_map().rows:
        assert not row.tasks or (lessons.folder() / "exercises" / row.path.name).is_file()


def test_the_readme_says_the_same():
    readme = (lessons.checkout() / "README.md").read_text()
    assert [seen for seen in start.SEEN.values() if seen.rstrip(".") not in readme] == []


def test_readme_and_lesson_say_the_minutes_of_the_map():
    readme = (lessons.checkout() / "README.md").read_text()
    for row in start.course_map().rows:
        [listed] = re.findall(rf"^\| \[{row.path.name[:2]} · .*\| (\d+) min \|$", readme, re.M)
        top = "\n".join(cell.source for cell in lessons.read(row.path).cells[:3])
        own = re.search(r"(\d+) minutes", top)[1]
        assert own == listed, row.title
        assert abs(int(own) - row.reading) <= 5, row.title


# Progress

DRAW = "Which new draw moves the test accuracy most?"  # lesson 00
FACTOR = "Wrong factor, rate 0.2: how many of 100 new digits are right?"  # lesson 04


def standing(number, shown=None):
    shown = shown or start.progress()
    return next(s for s in shown.standings if s.path.name.startswith(number))


def told(shown):
    """What a terminal and a notebook say, without markup."""
    return repr(shown), re.sub(r"<[^>]+>", " ", shown._repr_html_())


def test_nobody_begins_with_a_table_of_zeros(nobody, capsys):
    shown = start.progress()
    for text in told(shown):
        assert "Nothing is kept yet." in text
        assert "Begin with" in text
    assert "<table" not in shown._repr_html_()
    assert main(["progress"]) == 0
    assert "Begin with 00" in capsys.readouterr().out


def test_a_stored_page_tells_of_nobody(nobody, monkeypatch):
    predict_number(FACTOR, choice=60).against(81.2, 79.1, 83.3)
    predictions_file().with_name("progress.json").write_text("{ damaged")
    monkeypatch.setenv("COURSEKIT_STATIC", "1")
    shown = start.progress()
    assert (shown.begun, shown.trouble) == (False, [])


def test_exercises_points_and_help_are_counted(nobody):
    first, second, third, *_ = bank.of_lesson("04")
    learner.remember(progress_file(), first.name, status="right", hints=2)
    learner.remember(progress_file(), second.name, status="right", solution=True, hints="?")
    learner.remember(progress_file(), third.name, status="wrong", hints=1)
    own = standing("04")
    assert (own.done, own.points, own.most) == (
        2,
        first.points + second.points,
        sum(e.points for e in bank.of_lesson("04")),
    )
    assert own.cells["help used"] == "3 hints and 1 solution"
    assert standing("00").cells["help used"] == "none"


def test_predictions_stand_beside_what_was_measured(nobody, capsys):
    predict_number(FACTOR, choice=60).against(81.2, 79.1, 83.3)
    predict(DRAW, ["which digits", "<b>"], choice="<b>").against("which digits")
    shown = start.progress()
    assert (len(standing("04", shown).predicted), len(standing("00", shown).predicted)) == (1, 1)
    for text in told(shown):
        assert "81 (79 to 83)" in text
        assert "21 more" in text
        assert "which digits" in text
    page = shown._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("scope='col'") >= 6
    assert "scope='row'" in page


def test_a_prediction_of_an_older_version_counts_and_waits_for_its_measurement(nobody):
    learner.remember(predictions_file(), FACTOR, choice=60)
    own = standing("04")
    assert [one.outcome for one in own.predicted] == [None]
    assert all("not yet: run the cell after it" in text for text in told(start.progress()))


def test_what_no_lesson_asks_is_shown_elsewhere(nobody):
    predict("Mine?", ["yes", "no"], choice="yes").against("yes")
    shown = start.progress()
    assert [one.question for one in shown.elsewhere] == ["Mine?"]
    assert all("Elsewhere" in text for text in told(shown))


def test_next_is_the_first_lesson_with_something_open(nobody, monkeypatch):
    for exercise in bank.of_lesson("00"):
        learner.remember(progress_file(), exercise.name, status="right")
    for question in bank.questions_of("00"):
        learner.remember(progress_file(), question.name, status="right", prediction="?")
    asked = len(predictions.asked(notebook.read(lessons.lessons()[0])))
    assert start.progress().next.open == f"{asked} predictions"
    monkeypatch.setattr(predictions, "asked", lambda nb: [])
    shown = start.progress()
    assert shown.next.path.name.startswith("01")
    assert f"Next: {shown.next.title}. Open there: " in repr(shown)
    # Only the sheet is open, so the link leads there.
    assert f"Next: <a href='exercises/{shown.next.path.name}'>" in shown._repr_html_()


def test_when_all_is_done_a_question_of_ones_own_is_next(nobody, monkeypatch):
    for exercise in bank.exercises():
        learner.remember(progress_file(), exercise, status="right")
    for question in bank.questions():
        learner.remember(progress_file(), question, prediction="?")
    monkeypatch.setattr(predictions, "asked", lambda nb: [])
    page = start.progress()._repr_html_()
    [target] = re.findall(r"Next: a question of your own, in <a href='([^']+)'", page)
    assert (lessons.folder() / target).is_file()


def test_a_guess_on_a_sheet_counts_where_the_measurement_is_kept(nobody):
    first, second, *_ = (question for question in bank.questions().values() if question.options)
    right, wrong = first.options[:2]
    learner.remember(progress_file(), first.name, prediction=right, measured=wrong)
    learner.remember(progress_file(), second.name, prediction=second.options[0])
    assert start.progress().outcomes == [Choice(right, wrong, len(first.options))]


def test_calibration_is_a_sentence():
    choices = [Choice("a", "a", 2), Choice("a", "b", 4), Choice("c", "c", 4)]
    numbers = [
        Number(50, 60, 58, 62, (0, 100), "%", 1),  # a tenth away
        Number(59, 60, 58, 62, (50, 60), "%", 1),  # a tenth away, and inside
        Number(0, 30, None, None, (0, 60), "", 1),  # half the range away
    ]
    assert start.calibration([]) == ""
    assert start.calibration(choices) == (
        "Of your 3 choices 2 were right (blind guessing gets 1.0 on average)."
    )
    assert start.calibration([*choices[:1], *numbers]) == (
        "Of your 1 choice 1 was right (blind guessing gets 0.5 on average), of 2 measured "
        "intervals 1 held your number, and half of your numbers were at most 10 % of the offered "
        "range away from the measurement."
    )
    assert start.calibration(numbers[2:]) == (
        "Your one number was 50 % of the offered range away from the measurement."
    )
    assert start.calibration([Curve((0.5,), (0.6,), (0, 1), "")]) == ""


def test_a_damaged_file_is_told_and_the_rest_is_shown(nobody):
    predict_number(FACTOR, choice=60).against(81.2, 79.1, 83.3)
    progress_file().write_text("[1, 2]")
    shown = start.progress()
    for text in told(shown):
        assert f"{progress_file()} is damaged and counts as empty" in text
        assert "81 (79 to 83)" in text


def test_a_damaged_file_is_put_aside_before_the_next_entry(nobody):
    progress_file().parent.mkdir(parents=True, exist_ok=True)
    progress_file().write_text('{"precious": {"status": "right"},')
    learner.remember(progress_file(), "new", status="right")
    aside = progress_file().with_name("progress.json.damaged")
    assert "precious" in aside.read_text()
    assert [*json.loads(progress_file().read_text())] == ["new"]
    assert start.progress().trouble == []


@pytest.mark.parametrize("content", ["", "null", '{"x": 3}', '{"x": {"choice": {}}}'])
def test_files_may_hold_anything(nobody, content):
    for path in (progress_file(), predictions_file()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert all(told(start.progress()))


def test_a_folder_that_cannot_be_written_is_told_once(nobody, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "file" / "home"))
    [sentence] = start.progress().trouble
    assert "set COURSEKIT_HOME to a folder that you may write" in sentence
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "new"))
    assert start.progress().trouble == []
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "cannot be written" in start.progress().trouble[0]


# What a lesson asks, and what a file keeps


def test_what_a_lesson_asks_is_read_from_its_code():
    sources = [
        'guess = predict("Which?", ["a", "b"])',
        "%matplotlib inline\nthis is no Python",
        'question = f"After {n:.0f} epochs, " f"how many?"\npredict_number(question, high=9)',
        'net.predict(x)\nnet.predict("text.csv"[0])\nwidgets.predict_curve("How (exactly)?", x=x)',
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    asked = predictions.asked(nb)
    questions = ["Which?", "After 20 epochs, how many?", "How (exactly)?"]
    assert [[bool(pattern.fullmatch(question)) for question in questions] for pattern in asked] == [
        [i == j for j in range(3)] for i in range(3)
    ]


def test_no_two_lessons_ask_in_the_same_words():
    # A guess is kept by its question: the second lesson would open with the first one's answer.
    asked = [
        p.pattern for path in lessons.lessons() for p in predictions.asked(notebook.read(path))
    ]
    assert len(asked) > 50
    assert sorted(asked) == sorted(set(asked))


@pytest.mark.parametrize(
    "outcome",
    [
        Choice("a", "b", 3),
        Number(60.0, 81.2, 79.1, 83.3, (0.0, 100.0), "%", 1.0),
        Number(60.0, 60.0, None, None, (0.0, 100.0), "", 0.5),
        Curve((0.5, None), (0.4, 0.2), (0.0, 1.0), "error"),
    ],
)
def test_an_outcome_survives_its_file(outcome):
    kept = json.loads(json.dumps({"outcome": predictions.facts(outcome)}))
    assert predictions.outcome(kept) == outcome
    for spoiled in (
        {"kind": "?"},
        {"guess": None},
        {"measured": None},
        {"measured": []},
        {"axis": 3, "among": "x"},
        {"axis": [1, 1], "among": 0},
        {"more": 1},
    ):
        assert predictions.outcome({"outcome": kept["outcome"] | spoiled}) is None, spoiled
    assert predictions.outcome({"outcome": "yes"}) is predictions.outcome({}) is None
