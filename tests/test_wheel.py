"""What is shipped: the wheel, installed where nothing else of the course is, starts the course."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from coursekit.course import lessons, notebook
from coursekit.exercises import exercises

ROOT = Path(__file__).resolve().parent.parent
FILES = ("pyproject.toml", ".gitignore", "README.md", "LICENSE", "LICENSE-TEXT", "CHANGELOG.md")
LEFTOVERS = ("notebooks/.ipynb_checkpoints/00.ipynb", "coursekit/__pycache__/cli.pyc")


def build(tree, kind, out):
    line = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    done = subprocess.run(line, cwd=tree, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The repository as it is shipped from, leftovers of its use included."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("coursekit", "notebooks", "data"):
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in (*FILES, "CITATION.cff", "constraints.txt"):
        shutil.copy(ROOT / name, tree)
    for name in LEFTOVERS:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    return tree


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    return build(tree, "wheel", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def place(wheel, tmp_path_factory):
    """An environment with the wheel in it; its dependencies are those of the running one."""
    place = tmp_path_factory.mktemp("env")
    venv.create(place, symlinks=os.name != "nt")
    paths = {"base": str(place), "platbase": str(place)}
    own = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "borrowed.pth").write_text("\n".join(borrowed))  # what lies there in .pth is not read
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    line = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps"]
    line += ["--no-index", "--force-reinstall", "--disable-pip-version-check", wheel]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return python.parent


@pytest.fixture
def desk(place, tmp_path, monkeypatch):
    """An empty folder of somebody who has only what was installed."""
    monkeypatch.chdir(tmp_path)
    for name in ("PYTHONPATH", "COURSEKIT_HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DISPLAY", "")
    monkeypatch.setenv("JUPYTERLAB_DIR", str(Path(sys.prefix, "share/jupyter/lab")))  # its pages
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "desk"


def say(*line, timeout=120):
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_everything_of_the_package_and_no_leftovers(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = [path for path in (ROOT / "coursekit").rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in package if path.suffix != ".pyc"}
    assert wanted <= names
    for path in (ROOT / "notebooks").rglob("[!.]*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            assert f"coursekit/_course/{path.relative_to(ROOT).as_posix()}" in names
    assert not [n for n in names if "__pycache__" in n or ".ipynb_checkpoints" in n]
    assert {f"LICENSE{more}" for more in ("", "-TEXT")} <= {Path(name).name for name in names}


def test_a_wheel_from_the_source_distribution_is_the_same(tree, wheel, tmp_path):
    with tarfile.open(build(tree, "sdist", tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = (path for path in tmp_path.iterdir() if path.is_dir())
    (tmp_path / "dist").mkdir()
    again = build(unpacked, "wheel", tmp_path / "dist")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_what_is_installed_is_whole(place, desk):
    code = """
import coursekit
from coursekit import explorers, playground, rosetta
from coursekit.course import lessons
from coursekit.exercises import exercises
from coursekit.ledger import record, results
assert lessons.checkout() is None
for name in explorers.STATES: explorers.show(name).page()
playground.show()
print(len(exercises()), len(lessons.lessons()), len(record.records()) > 50, coursekit.__file__)
"""
    n_exercises, n_lessons, records, file = say(place / "python", "-c", code).split()
    assert (int(n_exercises), int(n_lessons)) == (len(exercises()), len(lessons.lessons()))
    assert records == "True"
    assert Path(file).is_relative_to(place.parent)


def test_what_lessons_import_needs_no_jupyterlab(place, desk):
    # Where notebooks run in another's interface, as on Colab, only the course itself is added.
    code = """
import re, sys
for name in ("jupyterlab", "jupyter_server", "nbclient", "hatchling"): sys.modules[name] = None
from coursekit import start
from coursekit.course import lessons, notebook
for path in lessons.start_page() + lessons.lessons() + lessons.playground_page():
    cells = notebook.read(path).cells
    text = "\\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for line in re.findall(r"^(?:from|import) .+$", text, re.M): exec(line)
print(len(start.course_map().rows))
"""
    assert int(say(place / "python", "-c", code)) == len(lessons.lessons())


def test_an_empty_folder_becomes_the_course_and_its_first_lesson_runs(place, desk):
    line = [place / "coursekit", "lab", "--no-browser", "--port", "18990"]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(line, **pipe) as process:
        said = []
        for text in process.stdout:
            said.append(text)
            if "The course: " in text:
                break
        process.send_signal(signal.SIGINT)
        said.append(process.communicate(timeout=60)[0])
    assert re.search(rf"The course: http://\S+/lab/tree/{lessons.START}", "".join(said))
    assert process.returncode == 130
    copy = desk / lessons.COPY
    assert {path.name for path in lessons.originals().glob("*.ipynb")} == {
        path.name for path in copy.glob("*.ipynb")
    }
    assert "2/2" in say(place / "coursekit", "run", "start", "00", "--out", "out", timeout=580)
    for path in sorted((desk / "out").glob("*.ipynb")):
        assert all(
            cell.outputs or cell.execution_count
            for cell in notebook.read(path).cells
            if cell.cell_type == "code"
        )
    assert "up to date" in say(place / "coursekit", "update")
