"""nbgrader 0.9.6 works with a course made from the exercises, and answers run in the box."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from coursekit import exercises
from coursekit.course import notebook
from coursekit.exercises import bank, pages
from coursekit.grading import assignments

pytest.importorskip("nbgrader")

LESSON, NAME, KEY = "04", "04_dropout", "autumn"
STEM = pages.cell_id
WRITTEN = [q for q in bank.questions().values() if q.lesson == LESSON]


def nbgrader(folder, *command, fails=False):
    env = {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1"}
    # Not the user's own settings, and not an exchange that another course uses.
    env |= {"JUPYTER_CONFIG_DIR": str(folder / ".config"), "HOME": str(folder)}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"  # it calls alembic
    line = [sys.executable, "-m", "nbgrader", *command]
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode != 0) == fails, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    assignments.init(folder, [LESSON], KEY)
    nbgrader(folder, "generate_assignment", NAME)
    return folder


def cells(path):
    return {cell["id"]: cell for cell in notebook.read(path).cells}


def test_a_release_is_the_learners_notebook_and_no_solution_leaks(made):
    released = cells(made / "release" / NAME / f"{NAME}.ipynb")
    empty = {cell["id"]: cell.source for cell in pages.page(LESSON, KEY).cells}
    for id, cell in released.items():
        assert cell.source == empty[id].replace("sheet.check(", "sheet.score("), id
        assert "coursekit" not in cell.metadata
    text = (made / "release" / NAME / f"{NAME}.ipynb").read_text()
    for exercise in exercises.of_lesson(LESSON, KEY):
        body = pages.solution(exercise).splitlines()[-1].strip()
        assert json.dumps(body)[1:-1] not in text


def test_a_release_locks_checks_and_carries_the_points(made):
    released = cells(made / "release" / NAME / f"{NAME}.ipynb")
    for exercise in exercises.of_lesson(LESSON, KEY):
        check = released[STEM(f"{exercise.name}-check")].metadata.nbgrader
        assert (check.locked, check.grade, check.points) == (True, True, exercise.points)
        assert not released[STEM(f"{exercise.name}-answer")].metadata.nbgrader.locked
        assert not released[STEM(f"{exercise.name}-check")].metadata["deletable"]
    for question in WRITTEN:
        told = released[STEM(f"{question.name}-explain")].metadata.nbgrader
        assert (told.grade, told.solution, told.points) == (True, True, question.points)


def test_without_our_settings_nbgrader_clears_the_solutions_all_the_same(made, tmp_path):
    shutil.copytree(made / "source", tmp_path / "source")
    nbgrader(tmp_path, "generate_assignment", NAME)
    released = cells(tmp_path / "release" / NAME / f"{NAME}.ipynb")
    for exercise in exercises.of_lesson(LESSON, KEY):
        assert "YOUR CODE HERE" in released[STEM(f"{exercise.name}-answer")].source


def test_the_source_validates_and_the_release_does_not(made):
    source = f"source/{NAME}/{NAME}.ipynb"
    assert "Success! Your notebook passes all the tests." in nbgrader(made, "validate", source)
    told = nbgrader(made, "validate", f"release/{NAME}/{NAME}.ipynb")
    assert "VALIDATION FAILED" in told


@pytest.fixture(scope="module")
def graded(made):
    from coursekit.grading.sandbox.box import Box, NoSandbox

    try:
        with Box():
            pass
    except NoSandbox as error:
        if os.environ.get("COURSEKIT_REQUIRE_SANDBOX"):
            raise
        pytest.skip(f"no sandbox: {error}")
    everything = {cell["id"] for cell in pages.page(LESSON).cells if "answer" in cell["id"]}
    submit(made, "ada", everything | {STEM(f"{q.name}-explain") for q in WRITTEN})
    submit(made, "bob", {"classic-weights-answer"})
    submit(made, "eve", everything, {"classic-weights-answer": "import os\nos._exit(0)"})
    (made / "autograde.log").write_text(nbgrader(made, "autograde", NAME))
    nbgrader(made, "generate_feedback", NAME)
    nbgrader(made, "export")
    return made


def submit(folder, student, solved, more=None):
    source = cells(folder / "source" / NAME / f"{NAME}.ipynb")
    nb = notebook.read(folder / "release" / NAME / f"{NAME}.ipynb")
    for cell in nb.cells:
        if cell["id"] in solved:
            cell.source = source[cell["id"]].source
        cell.source = (more or {}).get(cell["id"], cell.source)
    target = folder / "submitted" / student / NAME
    target.mkdir(parents=True)
    nbformat.write(nb, target / f"{NAME}.ipynb")


def test_scores_from_the_box_reach_the_exported_table(graded):
    with (graded / "grades.csv").open(newline="") as file:
        scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    automatic = sum(e.points for e in exercises.of_lesson(LESSON, KEY))
    assert scores["ada"] == automatic  # explanations wait for a person
    assert scores["bob"] == exercises.find("classic_weights").points
    assert scores["eve"] < automatic  # whoever ends the process gets no further points


def test_autograde_says_a_few_lines_for_each_student_and_no_warnings(graded):
    said = (graded / "autograde.log").read_text()
    assert "04_dropout of ada: graded" in said
    assert "Warning" not in said


def test_feedback_tells_the_sentence_of_the_check(graded):
    page = (graded / "feedback" / "bob" / NAME / f"{NAME}.html").read_text()
    assert "not attempted yet" in page
    assert "Traceback (most recent" not in page


def test_records_are_kept_and_not_made_again(graded):
    stored = {path: path.stat().st_mtime_ns for path in graded.glob("grades/records/*.json")}
    assert len(stored) == 3
    nbgrader(graded, "autograde", NAME, "--force")
    assert stored == {p: p.stat().st_mtime_ns for p in graded.glob("grades/records/*.json")}


def test_the_formgrader_shows_who_waits_for_a_person(graded):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = ["-m", "jupyter", "server", "--no-browser", "--allow-root", f"--port={port}"]
    line += ["--ServerApp.token=key", "--ServerApp.port_retries=0"]
    env = {**os.environ, "HOME": str(graded), "JUPYTER_PREFER_ENV_PATH": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, *line], cwd=graded, env=env, **quiet) as server:
        try:
            found = fetched(f"http://127.0.0.1:{port}/formgrader/api/submissions/{NAME}?token=key")
        finally:
            server.terminate()
    waiting = {row["student"] for row in found if row["needs_manual_grade"]}
    assert {row["student"] for row in found} == {"ada", "bob", "eve"}
    assert "ada" in waiting


def fetched(address):
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as reply:
                return json.load(reply)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_a_course_folder_is_never_overwritten(tmp_path):
    _, first = assignments.init(tmp_path, [LESSON])
    (tmp_path / first[0]).write_text("# mine")
    _, second = assignments.init(tmp_path, [LESSON, "00"])
    assert second == ["source/00_measuring_a_claim/00_measuring_a_claim.ipynb"]
    assert (tmp_path / first[0]).read_text() == "# mine"


@pytest.mark.parametrize("key", ["a b", "x'; import os", ""])
def test_a_key_of_other_characters_is_refused(tmp_path, key):
    with pytest.raises(ValueError, match="expected a key of letters"):
        assignments.init(tmp_path, [LESSON], key)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="expected a folder, got the file"):
        assignments.init(tmp_path / "file")
