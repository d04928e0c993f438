"""The exercises of all lessons, found by name: one file each, in one folder per lesson."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from coursekit.exercises import text
from coursekit.exercises.exercise import Exercise, choose
from coursekit.exercises.questions import Question

SHEETS = Path(__file__).parent / "sheets"
# What answers to a lesson import besides torch and NumPy, and takes long.
IMPORTS = {"00": ("scipy.stats",)}


@cache
def lessons() -> tuple[str, ...]:
    """Return the numbers of the lessons that have exercises."""
    return tuple(sorted(folder.name[:2] for folder in SHEETS.iterdir() if folder.is_dir()))


@cache
def sheet(lesson: str) -> tuple[Exercise | Question, ...]:
    """Return all that a lesson's sheet holds, in order: worked examples, exercises, questions.

    Raises
    ------
    ValueError
        If no lesson with exercises has this number, or one of its files is not in the form.
    """
    if lesson not in lessons():
        raise ValueError(f"expected one of the lessons {', '.join(lessons())}, got {lesson!r}")
    [folder] = SHEETS.glob(f"{lesson}_*")
    files = [path for path in folder.glob("*.md") if path.name[0].isdigit()]
    return tuple(text.read(path) for path in sorted(files, key=_order))


def _order(path: Path) -> tuple[int, str]:
    number, _, name = path.stem.partition("_")
    return int(number), name


@cache
def exercises() -> dict[str, Exercise]:
    """Return all exercises by name, in reading order, in the usual conventions."""
    found: dict[str, Exercise] = {}
    for value in (value for lesson in lessons() for value in sheet(lesson)):
        if value.name in found:
            raise ValueError(f"two exercises are called {value.name}")
        if isinstance(value, Exercise) and value.kind != "worked":
            found[value.name] = value
    return found


@cache
def questions() -> dict[str, Question]:
    """Return all questions that are answered in words, by name."""
    asked = (value for lesson in lessons() for value in sheet(lesson))
    return {value.name: value for value in asked if isinstance(value, Question)}


def questions_of(lesson: str) -> list[Question]:
    """Return the questions of a lesson in order. Raises as `sheet`."""
    return [value for value in asked(lesson) if isinstance(value, Question)]


def worked(lesson: str) -> list[Exercise]:
    """Return the worked examples of a lesson in order. Raises as `sheet`."""
    return [v for v in sheet(lesson) if isinstance(v, Exercise) and v.kind == "worked"]


def find(name: str, key: str | None = None) -> Exercise:
    """Return an exercise.

    Parameters
    ----------
    name : str
    key : str, optional
        Key of a class: it chooses among the exercise's conventions.

    Returns
    -------
    Exercise

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    if name not in exercises():
        raise ValueError(f"expected an exercise, got {name!r}; there are {', '.join(exercises())}")
    return _in_class(exercises()[name], key)


def of_lesson(lesson: str, key: str | None = None) -> list[Exercise]:
    """Return the exercises of a lesson in order. Raises as `sheet`."""
    return [value for value in asked(lesson, key) if isinstance(value, Exercise)]


def asked(lesson: str, key: str | None = None) -> list[Exercise | Question]:
    """Return what a lesson's sheet asks, in order. Raises as `sheet`."""
    return [
        value if isinstance(value, Question) else _in_class(value, key)
        for value in sheet(lesson)
        if isinstance(value, Question) or value.kind != "worked"
    ]


def _in_class(exercise: Exercise, key: str | None) -> Exercise:
    return replace(exercise, variant=choose(exercise, key))
