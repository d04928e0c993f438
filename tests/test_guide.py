"""The instructor's guide, followed word by word from an empty folder to tables of grades."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from coursekit.course import notebook

pytest.importorskip("nbgrader")

GUIDE = Path(__file__).parent.parent / "docs" / "teaching.md"
NAME = "04_dropout"
SETTING_UP = ("sudo", "pip", "cd")  # done already, or not to be done in a test


def commands():
    # Lines about exercises of one's own are followed in tests/test_own_exercises.py.
    text = GUIDE.read_text(encoding="utf-8").partition("## Write an exercise")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(nbgrader (?:generate_feedback|export)[^`]*)`", text)
    inline += re.findall(r"`(coursekit course notebooks handout[^`]*)`", text)
    return [shlex.split(line) for line in [*lines, *inline] if line]


def submit(folder):
    """What the guide leaves to students: one solves everything, one nothing, one in two files."""
    for student, version in (("ada", "source"), ("bob", "release"), ("eve", "source")):
        target = folder / "submitted" / student / NAME
        target.mkdir(parents=True)
        nb = notebook.read(folder / version / NAME / f"{NAME}.ipynb")
        if student == "eve":
            [answer] = [cell for cell in nb.cells if cell["id"] == "classic-weights-answer"]
            (target / "mine.py").write_text(f"import torch\n\n{answer.source}\n")
            answer.source = "from mine import classic_weights"
        nbformat.write(nb, target / f"{NAME}.ipynb")


def follow(line, folder):
    env = {**os.environ, "HOME": str(folder), "PYTHONWARNINGS": "ignore"}
    env["JUPYTER_PREFER_ENV_PATH"] = "1"
    env["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"  # nbgrader calls alembic
    )
    done = subprocess.run(
        [sys.executable, "-m", *line], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    from coursekit.grading.sandbox.box import Box, NoSandbox

    try:
        with Box():
            pass
    except NoSandbox as error:
        if os.environ.get("COURSEKIT_REQUIRE_SANDBOX"):
            raise
        pytest.skip(f"no sandbox: {error}")
    folder = tmp_path_factory.mktemp("empty")
    for line in commands():
        if line[0] not in SETTING_UP:
            follow(line, folder / "fall" if (folder / "fall").is_dir() else folder)
        if line[:2] == ["nbgrader", "generate_assignment"]:
            submit(folder / "fall")
    return folder / "fall"


def test_the_guide_names_all_commands_that_a_course_needs():
    first = {tuple(line[:2]) for line in commands()}
    assert first >= {
        ("coursekit", "course"),
        ("coursekit", "grade"),
        ("nbgrader", "generate_assignment"),
        ("nbgrader", "autograde"),
        ("nbgrader", "generate_feedback"),
        ("nbgrader", "export"),
    }


def scores(path, student, score):
    with path.open(newline="", encoding="utf-8-sig") as file:  # ours is marked for spreadsheets
        return {row[student]: float(row[score] or 0) for row in csv.DictReader(file)}


def test_both_ways_end_in_the_same_points(followed):
    theirs = scores(followed / "grades.csv", "student_id", "score")
    ours = scores(followed / "grades" / "grades.csv", "student", "total")
    assert theirs["ada"] == ours["ada"] > 0
    assert theirs["bob"] == ours["bob"] == 0
    assert theirs["eve"] == ours["eve"] == ours["ada"]
    # Nothing was run twice: what lies beside a notebook is the same to both.
    assert len(list((followed / "grades" / "records").iterdir())) == 3


def test_each_student_gets_a_page_of_feedback(followed):
    for folder in (followed / "feedback", followed / "grades" / "feedback"):
        assert {"ada", "bob"} <= {path.stem for path in folder.iterdir()}


def test_a_handout_without_nbgrader_is_there(followed):
    assert (followed / "handout" / f"{NAME}.ipynb").is_file()
