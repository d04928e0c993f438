"""A teacher's own exercises live in a folder of their own: shown, handed out and graded alike."""

import csv
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from coursekit.commands.cli import main
from coursekit.exercises import Sheet, bank, pages, quiz

ROOT = Path(__file__).parents[1]
WHOLE = re.search(
    r"^````markdown\n(.*?)^````$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL | re.M
)[1]
QUIZ = """\
## Softer

Which label is softer?

- [x] 0.9

  Less than 1 is left.
- [ ] 1.0

  That is a hard one.
"""


@pytest.fixture
def forgetting(monkeypatch):
    """A bank that reads its files anew, before and after a test."""
    bank._forget()
    yield
    monkeypatch.delenv(bank.OWN, raising=False)
    bank._forget()


@pytest.fixture
def own(tmp_path, monkeypatch, forgetting):
    """A folder with an exercise for lesson 04 and a sheet of its own, 21, with a quiz."""
    folder = tmp_path / "class"
    for place, name in [("04_ours", "1_smoothed"), ("21_soft_labels", "1_label_smoothing")]:
        (folder / place).mkdir(parents=True)
        text = WHOLE.replace("label_smoothing", name[2:])
        (folder / place / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / "quizzes").mkdir()
    (folder / "quizzes" / "21.md").write_text(QUIZ, encoding="utf-8")
    monkeypatch.setenv(bank.OWN, str(folder))
    return folder


def test_a_folder_adds_to_a_sheet_and_makes_new_ones(own):
    assert "21" in bank.lessons()
    names = [one.name for one in bank.asked("04")]
    assert names[-1] == "smoothed"
    assert len(names) > 5
    assert [one.name for one in bank.asked("21")] == ["label_smoothing"]
    assert pages.title("21") == ("21_soft_labels.ipynb", "21 · Soft labels")
    opening, *others = pages.cells("21")
    assert opening.source.startswith("# Exercises for 21 · Soft labels\n")
    assert "](../" not in opening.source  # there is no lesson to point to
    assert "quiz" in [cell.id for cell in others]
    assert len(quiz.show("21").questions) == 1
    assert "04_dropout.ipynb" in pages.cells("04")[0].source


def test_without_the_variable_nothing_is_there():
    assert "21" not in bank.lessons()
    assert "smoothed" not in bank.exercises()
    assert not any("own=" in cell.source for cell in pages.cells("04"))


def test_it_is_shown_to_its_author_by_name(own, capsys):
    assert main(["exercise", "smoothed", "--brief"]) == 0
    assert "Nothing is to be mended." in capsys.readouterr().out


def test_it_is_handed_out_with_what_its_notebook_needs(own, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert main(["course", "notebooks", str(out), "--lessons", "21"]) == 0
    files = {str(path.relative_to(out)) for path in out.rglob("*.*")}
    inner = "exercises/21_soft_labels/1_label_smoothing.md"
    assert files == {"21_soft_labels.ipynb", inner, "exercises/quizzes/21.md"}
    monkeypatch.delenv(bank.OWN)  # learners have none
    nb = nbformat.read(out / "21_soft_labels.ipynb", 4)
    [answer] = [cell for cell in nb.cells if cell.id == "label-smoothing-answer"]
    answer.source = "def label_smoothing(labels, n_classes, share):\n    return labels"
    nb = NotebookClient(nb, resources={"metadata": {"path": str(out)}}).execute()
    [check] = [cell for cell in nb.cells if cell.id == "label-smoothing-check"]
    assert "label_smoothing: wrong" in check.outputs[0].text


def test_a_notebook_without_its_folder_says_what_to_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"'exercises' beside this notebook.*copy it"):
        Sheet("21", own="exercises")


def test_it_is_graded_as_any_other(own, tmp_path):
    nb = pages.page("21", solved=True)
    (tmp_path / "in" / "ada").mkdir(parents=True)
    nbformat.write(nb, tmp_path / "in" / "ada" / "21_soft_labels.ipynb")
    out = tmp_path / "graded"
    line = ["grade", str(tmp_path / "in"), "--lesson", "21", "--trust", "--jobs", "1"]
    assert main([*line, "--out", str(out)]) == 0
    with open(out / "grades.csv", encoding="utf-8-sig") as file:
        [row] = csv.DictReader(file)
    assert float(row["label_smoothing"]) == 2


def test_an_nbgrader_course_has_it_too(own, tmp_path):
    assert main(["course", "init", str(tmp_path / "nb"), "--lessons", "21"]) == 0
    source = tmp_path / "nb" / "source" / "21_soft_labels"
    assert (source / "21_soft_labels.ipynb").exists()
    assert (source / "exercises" / "21_soft_labels" / "1_label_smoothing.md").exists()


@pytest.mark.usefixtures("forgetting")
def test_the_guides_lines_work_one_after_another(tmp_path, monkeypatch):
    """The files that docs/teaching.md names are written, and its lines are followed."""
    own = (ROOT / "docs" / "teaching.md").read_text("utf-8").partition("**Yours stay in")[2]
    files, lines = re.search(r"```text\n(.*?)```.*?```console\n(.*?)```", own, re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    for path in (Path(line.split()[0]) for line in files.splitlines()):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.stem.partition("_")[2]
        text = WHOLE.replace("label_smoothing", name) if name else QUIZ
        path.write_text(text, encoding="utf-8")
    (tmp_path / "submissions" / "ada").mkdir(parents=True)
    setting, *commands = [line.partition("#")[0].split() for line in lines.splitlines()]
    assert setting[0] == "export"
    monkeypatch.setenv(*setting[1].split("="))
    for program, *arguments in commands:
        assert program == "coursekit"
        if arguments[0] == "grade":
            nbformat.write(pages.page("21", solved=True), "submissions/ada/" + pages.title("21")[0])
            arguments += ["--trust", "--jobs", "1"]
        assert main([*arguments, *(["--brief"] if arguments[0] == "exercise" else [])]) == 0
    assert {path.name for path in Path("handout").glob("*.ipynb")} == {
        "04_dropout.ipynb",
        "21_soft_labels.ipynb",
    }


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], "names? a folder|to name a folder"),
        (["empty/"], r"expected files as .*21_our_topic"),
        (["ours/1_a.md"], "called as 04_ours or 21_our_topic, got .*ours"),
    ],
)
def test_a_folder_in_another_form_is_refused(tmp_path, made, said):
    for path in made:
        (tmp_path / "own" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / path).mkdir() if path.endswith("/") else (
            tmp_path / "own" / path
        ).write_text("")
    with pytest.raises((NotADirectoryError, ValueError), match=said):
        bank.use(tmp_path / "own")
    assert bank.own() is None


def test_a_name_that_the_course_has_is_refused(own):
    text = WHOLE.replace("label_smoothing", "smoothed")
    (own / "21_soft_labels" / "2_smoothed.md").write_text(text, encoding="utf-8")
    bank._forget()
    with pytest.raises(ValueError, match=r"a name for each exercise, got smoothed in .*1_smoothed"):
        bank.exercises()
