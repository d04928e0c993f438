"""nbgrader 0.9.6 works with a course made from the exercises, and answers run in the box."""

import csv
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from browsing import end

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
        shown = empty[id]
        if id.endswith("-check"):
            shown = shown.replace("sheet.check(", "sheet.score(")
        assert cell.source == shown, id
        assert "coursekit" not in cell.metadata
    text = (made / "release" / NAME / f"{NAME}.ipynb").read_text()
    for exercise in exercises.of_lesson(LESSON, KEY):
        own = set(pages.solution(exercise).splitlines()) - set(pages.stub(exercise).splitlines())
        line = max(own, key=len).strip()
        assert json.dumps(line)[1:-1] not in text


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
    for name, harm in HARMS.items():
        submit(made, name, everything, harm=harm)
    (made / "autograde.log").write_text(nbgrader(made, "autograde", NAME))
    nbgrader(made, "generate_feedback", NAME)
    nbgrader(made, "export")
    return made


def without_a_check(nb):
    nb.cells = [c for c in nb.cells if c["id"] != STEM("classic_weights-check")]


def without_metadata(nb):
    for cell in nb.cells:
        cell.metadata = nbformat.NotebookNode()
    nb.metadata = nbformat.NotebookNode()


def bare(nb):
    """As from a program that knows neither ids nor metadata."""
    without_metadata(nb)
    nb.nbformat_minor = 4
    for cell in nb.cells:
        del cell["id"]


def copied(nb):
    i = next(i for i, c in enumerate(nb.cells) if c["id"] == STEM("classic_weights-check"))
    nb.cells.insert(i, nbformat.from_dict(dict(nb.cells[i])))
    nb.cells[i]["id"] = "copy"
    nb.cells.insert(0, nbformat.from_dict({**nb.cells[-1], "id": "another"}))


def of_an_old_format(nb):
    for cell in nb.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader = nbformat.NotebookNode(
                grade_id=cell.metadata.nbgrader.grade_id, schema_version=1, grade=True
            )


def turned_around(nb):
    nb.cells = nb.cells[:2] + nb.cells[:1:-1]


# What programs and hands do to a notebook whose answers are right all the same.
HARMS = {
    "deleted": without_a_check,
    "metadata": without_metadata,
    "bare": bare,
    "copied": copied,
    "old": of_an_old_format,
    "turned": turned_around,
}


def submit(folder, student, solved, more=None, harm=None):
    source = cells(folder / "source" / NAME / f"{NAME}.ipynb")
    nb = notebook.read(folder / "release" / NAME / f"{NAME}.ipynb")
    for cell in nb.cells:
        if cell["id"] in solved:
            cell.source = source[cell["id"]].source
        cell.source = (more or {}).get(cell["id"], cell.source)
    target = folder / "submitted" / student / NAME
    target.mkdir(parents=True)
    if harm is not None:
        harm(nb)
        (target / f"{NAME}.ipynb").write_text(json.dumps(nb))
        return
    nbformat.write(nb, target / f"{NAME}.ipynb")


def test_scores_from_the_box_reach_the_exported_table(graded):
    scores = {student: float(row["score"]) for student, row in exported(graded).items()}
    automatic = sum(e.points for e in exercises.of_lesson(LESSON, KEY))
    assert scores["ada"] == automatic  # explanations wait for a person
    assert scores["bob"] == exercises.find("classic_weights").points
    assert scores["eve"] < automatic  # whoever ends the process gets no further points


def exported(folder):
    with (folder / "grades.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["student_id"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", HARMS)
def test_points_are_those_of_the_record_whatever_became_of_the_cells(graded, name):
    raw = (graded / "submitted" / name / NAME / f"{NAME}.ipynb").read_bytes()
    [path] = graded.glob(f"grades/records/{hashlib.sha256(raw).hexdigest()}-*.json")
    record = json.loads(path.read_text())
    assert record["points"] == sum(e.points for e in exercises.of_lesson(LESSON, KEY))
    assert float(exported(graded)[name]["score"]) == record["points"]


def test_what_cannot_be_read_is_no_zero_and_stops_nobody(graded):
    target = graded / "submitted" / "lost" / NAME
    target.mkdir(parents=True)
    (target / f"{NAME}.ipynb").write_text('{"cells": [')
    (graded / "submitted" / "zoe" / NAME).mkdir(parents=True)
    shutil.copy(graded / "submitted" / "bob" / NAME / f"{NAME}.ipynb",
                graded / "submitted" / "zoe" / NAME)  # fmt: skip
    try:
        nbgrader(graded, "autograde", NAME, "--student=lost")
        nbgrader(graded, "autograde", NAME, "--student=zoe")
        nbgrader(graded, "export")
        found = exported(graded)
    finally:
        for student in ("lost", "zoe"):
            shutil.rmtree(graded / "submitted" / student)
            shutil.rmtree(graded / "autograded" / student)
    assert (found["lost"]["score"], found["zoe"]["score"]) == ("", found["bob"]["score"])
    assert "a person must look at it" in found["lost"]["note"]


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
    assert len(stored) >= 3
    nbgrader(graded, "autograde", NAME, "--force")
    assert stored == {p: p.stat().st_mtime_ns for p in graded.glob("grades/records/*.json")}


@contextmanager
def serving(folder):
    """A Jupyter server of a course with its formgrader, by its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = ["-m", "jupyter", "server", "--no-browser", "--allow-root", f"--port={port}"]
    line += ["--ServerApp.token=key", "--ServerApp.port_retries=0"]
    env = {**os.environ, "HOME": str(folder), "JUPYTER_PREFER_ENV_PATH": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, *line], cwd=folder, env=env, **quiet) as server:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            end(server)


def test_the_formgrader_shows_who_waits_for_a_person(graded):
    with serving(graded) as address:
        found = fetched(f"{address}/formgrader/api/submissions/{NAME}?token=key")
    waiting = {row["student"] for row in found if row["needs_manual_grade"]}
    assert {"ada", "bob", "eve"} <= {row["student"] for row in found}
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
