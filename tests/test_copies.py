"""A learner's copies: a newer course reaches them, and nothing that a learner wrote is lost."""

import os

import pytest
from nbformat import v4

from coursekit.commands import cli
from coursekit.course import copies, lessons, notebook

LESSON, SHEET = "01_penalties.ipynb", "exercises/01_penalties.ipynb"


def write(path, *sources, printed=None):
    outputs = [v4.new_output("stream", text=printed)] if printed else []
    cells = [v4.new_code_cell(source, outputs=outputs) for source in sources]
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook.write(v4.new_notebook(cells=cells), path)


def sources(path):
    return [cell.source for cell in notebook.read(path).cells]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The originals of an installed course, next to the learner's working directory."""
    package = tmp_path / "site" / "coursekit"
    stored = package / "_course" / "notebooks"
    write(stored / LESSON, "a", "b", "c")
    write(stored / SHEET, "task")
    monkeypatch.setattr(lessons, "__file__", str(package / "course" / "lessons.py"))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return stored


@pytest.fixture
def mine(course):
    return copies.make()[0]


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_copy_that_nobody_touched_is_replaced(course, mine):
    write(course / LESSON, "a", "B", "c", "d")
    [one] = copies.update()
    assert (one.copy.as_posix(), one.cells, one.beside, one.earlier) == (LESSON, 2, None, None)
    assert sources(mine / LESSON) == ["a", "B", "c", "d"]
    assert copies.update() == []


def test_new_outputs_reach_an_untouched_copy_and_spare_a_run_one(course, mine):
    write(mine / SHEET, "task", printed="my run")
    write(course / LESSON, "a", "b", "c", printed="new")
    write(course / SHEET, "task", printed="new")
    [one] = copies.update()
    assert (one.copy.as_posix(), one.cells) == (LESSON, 0)
    assert "my run" in (mine / SHEET).read_text()


def test_a_changed_copy_is_kept_and_the_new_one_put_beside_it_once(course, mine):
    write(mine / SHEET, "my answer")
    before = (mine / SHEET).read_bytes()
    write(course / SHEET, "task", "another")
    [one] = copies.update()
    assert one.beside.as_posix() == "exercises/01_penalties_new.ipynb"
    assert (mine / SHEET).read_bytes() == before
    assert sources(mine / one.beside) == ["task", "another"]
    assert copies.update() == []
    (mine / one.beside).unlink()  # seen, and thrown away
    assert copies.update() == []


def test_a_new_one_in_which_a_learner_works_is_kept_too(course, mine):
    write(mine / SHEET, "my answer")
    write(course / SHEET, "task 2")
    copies.update()
    write(course / SHEET, "task 3")
    copies.update()
    assert sources(mine / "exercises/01_penalties_new.ipynb") == ["task 3"]
    write(mine / "exercises/01_penalties_new.ipynb", "my next answer")
    write(course / SHEET, "task 4")
    [one] = copies.update()
    assert one.beside.name == "01_penalties_new2.ipynb"
    assert sources(mine / "exercises/01_penalties_new.ipynb") == ["my next answer"]


def test_a_run_that_is_replaced_is_kept_in_earlier(course, mine):
    for n in (1, 2):
        text = sources(mine / LESSON)
        write(mine / LESSON, *text, "", printed=f"run {n}")  # JupyterLab adds an empty cell
        write(course / LESSON, "a", f"b {n}")
        [one] = copies.update()
        assert f"run {n}" in (mine / one.earlier).read_text()
        assert sources(mine / LESSON) == ["a", f"b {n}"]
    assert len(list((mine / "earlier").iterdir())) == 2


@pytest.mark.parametrize("damage", ["not JSON", "[]", '{"01_penalties.ipynb": {"marks": 3}}'])
def test_when_it_is_unknown_what_was_given_everything_counts_as_changed(course, mine, damage):
    (mine / ".coursekit" / "given.json").write_text(damage)
    write(course / LESSON, "new")
    [one] = copies.update()
    assert one.beside.name == "01_penalties_new.ipynb"
    assert sources(mine / LESSON) == ["a", "b", "c"]


def test_a_copy_that_is_no_notebook_any_more_is_kept(course, mine):
    (mine / LESSON).write_text("half a fi")
    assert copies.update() == []
    write(course / LESSON, "new")
    [one] = copies.update()
    assert (mine / LESSON).read_text() == "half a fi"
    assert one.beside is not None


def test_an_update_cut_short_loses_nothing_and_goes_on(course, mine, monkeypatch):
    write(mine / SHEET, "my answer")
    write(course / LESSON, "new")
    write(course / SHEET, "new task")
    whole, replace, n_left = everything(mine), os.replace, 1

    def full(*paths):
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise OSError("disk full")
        replace(*paths)

    monkeypatch.setattr(os, "replace", full)  # the lesson is written, its mark is not
    with pytest.raises(OSError, match="disk full"):
        copies.update()
    monkeypatch.setattr(os, "replace", replace)
    assert sources(mine / LESSON) == ["new"]
    assert whole[mine / SHEET] == (mine / SHEET).read_bytes()
    assert [one.copy.as_posix() for one in copies.update()] == [SHEET]
    assert copies.update() == []


def test_what_is_put_beside_a_lesson_is_no_lesson(course, mine):
    write(mine / LESSON, "mine")
    write(course / LESSON, "new")
    copies.update()
    assert [path.name for path in lessons.lessons()] == [LESSON]
    assert lessons.select(["01"]) == [mine / LESSON]


def test_the_command_tells_what_a_dry_run_only_announces(course, mine, capsys):
    write(mine / SHEET, "my answer")
    write(course / SHEET, "task", "another")
    write(course / LESSON, "a", "b", "C")
    write(course / "02_next.ipynb", "1")
    before = everything(mine)
    assert cli.main(["update", "--dry-run"]) == 0
    announced = capsys.readouterr().out.splitlines()
    assert everything(mine) == before
    assert cli.main(["update"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == announced[1:]
    assert said == [
        "01_penalties.ipynb: replaced (1 cell differs)",
        "02_next.ipynb: new",
        "exercises/01_penalties.ipynb: yours is kept, "
        "the new one is 01_penalties_new.ipynb (2 cells differ)",
    ]
    assert cli.main(["update"]) == 0
    assert capsys.readouterr().out == "Your copies are up to date.\n"


def test_no_copies_is_one_sentence(course, capsys):
    assert cli.main(["update"]) == 1
    assert "got no such folder; try the folder in which" in capsys.readouterr().err
    assert not (course.parents[3] / "desk" / lessons.COPY).exists()
