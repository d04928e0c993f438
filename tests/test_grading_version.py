"""A version changes with whatever decides a grade, wherever it stands, and with nothing else."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import coursekit
from coursekit.exercises import bank
from coursekit.grading.book import records
from coursekit.results import fingerprint

PACKAGE = Path(coursekit.__file__).parent
EVERY = {*bank.lessons()}
# An edit: file, text, its replacement, and the lessons whose version it changes.
EDITS = {
    "a helper of what a reference calls": (
        "linear/proximal.py",
        "values = floats(name, values)",
        "values = 1.0 * floats(name, values)",
        {"01", "02", "07"},
    ),
    "a helper beside a reference": (
        "linear/__init__.py",
        "x, y = x - x_mean, y - y_mean",
        "x, y = x - x_mean, 1.0 * (y - y_mean)",
        {"01", "02", "07"},
    ),
    "a helper that references of two lessons share": (
        "measure.py",
        'floats("logits", logits), array(',
        '1.0 * floats("logits", logits), array(',
        {"00", "09"},
    ),
    "a reference": (
        "regularizers/dropout.py",
        "floats=False) * (1 - rate)",
        "floats=False) * (1.0 - rate)",
        {"04"},
    ),
    "a driver": (
        "exercises/sheets/*/*_Stopper.md",
        "fill_(0.5)",
        "fill_(0.25)",
        {"09"},
    ),
    "random inputs": (
        "exercises/sheets/*/*_inverted_dropout.md",
        "rng.normal(2.0",
        "rng.normal(3.0",
        {"04"},
    ),
    "a statistic": (
        "exercises/sheets/*/*_inverted_dropout.md",
        "zeros = 1 - ",
        "zeros = 1.0 - ",
        {"04"},
    ),
    "the sentence of a slip": (
        "exercises/sheets/*/*_inverted_dropout.md",
        "You multiplied the survivors",
        "The survivors were multiplied",
        {"04"},
    ),
    "the points": (
        "exercises/sheets/*/*_inverted_dropout.md",
        "points = 2",
        "points = 4",
        {"04"},
    ),
    "the points of a question": (
        "exercises/sheets/*/*_best_rate.md",
        "points = 3",
        "points = 2",
        {"04"},
    ),
    "how replies are compared": ("exercises/comparing.py", "SIGMAS = 5.0", "SIGMAS = 4.0", EVERY),
    "how an answer is called": (
        "exercises/driving.py",
        "found[REPEATABLE] = first is None or",
        "found[REPEATABLE] = first is not None and",
        EVERY,
    ),
    "how a reply is judged": (
        "exercises/exercise.py",
        'if answer.error and answer.error["type"]',
        'if not answer.values and answer.error and answer.error["type"]',
        EVERY,
    ),
    # What decides nothing.
    "a comment and a docstring": (
        "exercises/comparing.py",
        '"""Return whether two replies coincide',
        '"""Whether two replies coincide',
        set(),
    ),
    "a docstring of a reference": (
        "regularizers/dropout.py",
        'def is_dropout_active(model: nn.Module) -> bool:\n    """',
        'def is_dropout_active(model: nn.Module) -> bool:\n    # Note.\n    """Look. ',
        set(),
    ),
    "a hint": (
        "exercises/sheets/*/*_inverted_dropout.md",
        "One for each number in",
        "How many?",
        set(),
    ),
    "a task": (
        "exercises/sheets/*/*_inverted_dropout.md",
        "Write dropout as PyTorch",
        "",
        set(),
    ),
    "a function beside a reference": (
        "regularizers/depth.py",
        "return sum(kept)",
        "return sum(kept) + 0",
        set(),
    ),
    "how notebooks look": ("exercises/pages.py", "Options: ", "Choose: ", set()),
}
SCRIPT = """
import json, os, sys
from pathlib import Path
import IPython, numpy, scipy.linalg, scipy.stats, sklearn, torch  # once, and not in each child

tree, edits = Path(sys.argv[1]), json.loads(sys.argv[2])
sys.path.insert(0, str(tree))
for name, (file, old, new) in edits.items():
    [path] = (tree / "coursekit").glob(file)
    text = path.read_text(encoding="utf-8")
    assert old in text, name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    child = os.fork()
    if child == 0:
        from coursekit.exercises import bank
        from coursekit.grading.book import records
        assert str(tree) in records.__file__
        told = {lesson: records.version(lesson) for lesson in bank.lessons()}
        print(json.dumps([name, told]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
    path.write_text(text, encoding="utf-8")
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Versions of all lessons after each edit, computed in a copy of the package."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(PACKAGE, tree / "coursekit", ignore=shutil.ignore_patterns("__pycache__"))
    edits = {name: edit[:3] for name, edit in EDITS.items()} | {"none": ("judge.py", "", "")}
    command = [sys.executable, "-c", SCRIPT, str(tree), json.dumps(edits)]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("edit", EDITS)
def test_a_version_changes_with_what_decides_and_with_nothing_else(versions, edit):
    before, after = versions["none"], versions[edit]
    assert {lesson for lesson in EVERY if before[lesson] != after[lesson]} == EDITS[edit][3]


def test_another_process_in_another_folder_finds_the_same(versions):
    assert versions["none"] == {lesson: records.version(lesson) for lesson in bank.lessons()}


def test_a_class_has_a_version_of_its_own_only_by_its_key():
    assert len({records.version("04", key) for key in (None, "a", "b")}) == 3


def test_another_convention_of_a_class_counts(monkeypatch):
    key = next(k for k in map(str, range(99)) if bank.find("inverted_dropout", k).variant)
    before = records.version("04", key), records.version("04")
    exercise = bank.exercises()["inverted_dropout"]
    other = [replace(v, body=v.body.replace("1 - rate", "1.0 - rate")) for v in exercise.variants]
    monkeypatch.setattr(exercise, "variants", tuple(other))
    after = records.version("04", key), records.version("04")
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True]


def test_nothing_of_the_course_that_a_grade_rests_on_counts_by_its_name_only(monkeypatch):
    reached = {}

    def spy(module, ask=fingerprint._is_followed):
        reached[module] = ask(module)
        return reached[module]

    monkeypatch.setattr(fingerprint, "_is_followed", spy)
    for lesson in bank.lessons():
        records.version(lesson)
    ours = {m: followed for m, followed in reached.items() if (m or "").startswith("coursekit.")}
    assert len(ours) > 20
    assert [module for module, followed in ours.items() if not followed] == []
