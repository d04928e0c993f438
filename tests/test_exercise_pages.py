"""Exercise notebooks: as stored, solved, in another class, and with the learner's progress."""

import json

import pytest

from coursekit import exercises
from coursekit.course import lessons, notebook
from coursekit.exercises import Sheet, bank, laboratories, pages
from coursekit.exercises.exercise import choose
from coursekit.exercises.sheet import progress_file

LESSONS = exercises.lessons()
STORED = lessons.folder() / "exercises"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "home"))


def run(nb):
    """Execute the code cells of a page in one namespace, as a kernel would."""
    space = {}
    for cell in nb.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"<{cell['id']}>", "exec"), space)
    return space


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_stored_notebook_is_the_page_of_its_exercises(lesson):
    stored = notebook.read(STORED / pages.title(lesson)[0])
    made = pages.page(lesson)
    assert [c["id"] for c in stored.cells] == [c["id"] for c in made.cells]
    assert [c.source for c in stored.cells] == [c.source for c in made.cells], (
        "the exercises changed: write them again with `coursekit course notebooks`"
    )


def test_every_stored_notebook_is_a_sheet_or_the_project():
    # The project is read by a person: no check can tell whether a question is a good one.
    sheets = {pages.title(lesson)[0] for lesson in LESSONS}
    assert {path.name for path in STORED.glob("*.ipynb")} - sheets == {"project.ipynb"}


@pytest.mark.parametrize("key", [None, "a class of its own"])
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_solved_page_scores_full_marks(lesson, key, capsys, monkeypatch):
    # Real networks take seconds, and have tests of their own.
    monkeypatch.setattr(laboratories, "measure", lambda *_: None)
    run(pages.page(lesson, key, solved=True))
    told = capsys.readouterr().out
    for exercise in exercises.of_lesson(lesson, key):
        points = f"({exercise.points} of {exercise.points} points)"
        assert f"{exercise.name}: right {points}" in told


@pytest.mark.parametrize("lesson", LESSONS)
def test_an_untouched_page_runs_and_scores_nothing(lesson, capsys):
    run(pages.page(lesson))
    told = capsys.readouterr().out
    for exercise in exercises.of_lesson(lesson):
        assert f"(0 of {exercise.points} points)" in told
        assert exercise.kind == "repair" or f"{exercise.name}: not attempted yet" in told


@pytest.mark.parametrize("lesson", LESSONS)
def test_cells_have_names_of_their_own(lesson):
    ids = [cell["id"] for cell in pages.page(lesson).cells]
    assert len(set(ids)) == len(ids)


def test_a_key_chooses_and_another_key_chooses_otherwise():
    exercise = next(e for e in bank.exercises().values() if e.variants)
    keys = [f"class-{n}" for n in range(40)]
    chosen = [choose(exercise, key) for key in keys]
    assert chosen == [choose(exercise, key) for key in keys]
    assert set(chosen) == {None, *exercise.variants}
    assert choose(exercise, None) is None


def test_the_convention_of_a_class_is_told_in_the_task():
    exercise = next(e for e in bank.exercises().values() if e.variants)
    key = next(k for k in map(str, range(99)) if choose(exercise, k))
    [task] = [
        c.source
        for c in pages.page(exercise.lesson, key).cells
        if c["id"] == pages.cell_id(f"{exercise.name}-task")
    ]
    assert choose(exercise, key).sentence in task


def test_hints_climb_a_ladder_and_stay_at_its_top(capsys):
    sheet, exercise = Sheet("04"), exercises.find("classic_weights")
    for _ in range(len(exercise.hints) + 1):
        sheet.hint("classic_weights")
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Hint")]
    numbers = [*range(1, len(exercise.hints) + 1), len(exercise.hints)]
    assert told == [f"Hint {n} of {len(exercise.hints)}: {exercise.hints[n - 1]}" for n in numbers]


def test_the_solution_comes_with_its_reason(capsys):
    Sheet("04").solution("classic_weights")
    told = capsys.readouterr().out
    assert told.startswith("def classic_weights(weight, rate):")
    assert exercises.find("classic_weights").why in told


def test_progress_survives_a_new_kernel_and_counts_points(capsys):
    exercise = exercises.find("classic_weights")
    space = {}
    exec(pages.solution(exercise), space)
    Sheet("04").check(space["classic_weights"])
    capsys.readouterr()
    Sheet("04").progress()
    told = capsys.readouterr().out
    assert "x classic_weights" in told
    assert f"In all lessons: {exercise.points} of " in told


def test_done_stays_done_when_somebody_tries_something_else(capsys):
    exercise, sheet = exercises.find("classic_weights"), Sheet("04")
    space = {}
    exec(pages.solution(exercise), space)
    sheet.check(space["classic_weights"])
    exec("def classic_weights(weight, rate):\n    return weight", space)
    sheet.check(space["classic_weights"])
    assert json.loads(progress_file().read_text())["classic_weights"]["status"] == "right"


def test_a_damaged_progress_file_is_a_fresh_start(capsys):
    progress_file().parent.mkdir(parents=True)
    progress_file().write_text("{ half a file")
    Sheet("04").progress()
    assert "In all lessons: 0 of " in capsys.readouterr().out


def test_progress_that_cannot_be_kept_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSEKIT_HOME", str(tmp_path / "file"))
    Sheet("04").hint("classic_weights")
    assert "set COURSEKIT_HOME to a folder that you may write" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [3, None, "classic_weights"])
def test_what_is_no_function_is_refused_with_the_names(answer):
    with pytest.raises(ValueError, match=r"expected one of the functions .*classic_weights"):
        Sheet("04").check(answer)


def test_a_function_of_another_sheet_is_refused():
    def ridge_regression():
        pass

    with pytest.raises(ValueError, match="the exercises of this sheet, got 'ridge_regression'"):
        Sheet("04").check(ridge_regression)


def test_an_unknown_lesson_is_refused():
    with pytest.raises(ValueError, match=r"expected one of the lessons 00, .*got '99'"):
        Sheet("99")


def test_a_prediction_is_compared_with_the_measurement(capsys):
    name, question = next(
        (n, q) for n, q in bank.questions().items() if q.lesson == "04" and q.measure
    )
    sheet = Sheet("04")
    sheet.reveal(name, None)
    assert "not attempted yet" in capsys.readouterr().out
    sheet.reveal(name, question.measure())
    assert f"Measured: {question.measure()}, as you predicted" in capsys.readouterr().out
    with pytest.raises(ValueError, match="expected one of"):
        sheet.reveal(name, "maybe")
    with pytest.raises(ValueError, match="expected one of"):
        sheet.reveal("no_such_question", "maybe")


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_points_to_its_exercises(lesson):
    name = pages.title(lesson)[0]
    text = "\n".join(c.source for c in notebook.read(lessons.folder() / name).cells)
    assert f"](exercises/{name})" in text
