"""The exercises of all lessons, found by name: one file each, in one folder per lesson.

Teachers keep exercises of their own in a folder that `COURSEKIT_EXERCISES` names. A folder in it
that bears the number of a lesson, as in `04_ours`, adds to that lesson's sheet; any other number
makes a new sheet, called by the folder's name.
"""

import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from coursekit.exercises import text
from coursekit.exercises.exercise import Exercise, choose
from coursekit.exercises.questions import Question

SHEETS = Path(__file__).parent / "sheets"
QUIZZES = Path(__file__).parent / "quizzes"
OWN = "COURSEKIT_EXERCISES"
# What answers to a lesson import besides torch and NumPy, and takes long.
IMPORTS = {"00": ("scipy.stats",)}


@cache
def own() -> Path | None:
    """Return the folder of a teacher's own exercises, None if there is none.

    Raises
    ------
    NotADirectoryError
        If `COURSEKIT_EXERCISES` names no folder.
    ValueError
        If that folder holds no exercises, or a folder of exercises without a number.
    """
    return _checked(os.environ[OWN]) if os.environ.get(OWN) else None


def _checked(place: str | Path) -> Path:
    folder = Path(place).expanduser().resolve()
    if not folder.is_dir():
        raise NotADirectoryError(f"expected {OWN} to name a folder of exercises, got {folder}")
    inner = {path.parent for path in folder.glob("*/*.md")} - {folder / "quizzes"}
    if not inner:
        raise ValueError(f"expected files as {folder}/21_our_topic/1_name.md, got none")
    for path in inner:
        if not re.fullmatch(r"\d\d_\w+", path.name):
            raise ValueError(f"expected a folder called as 04_ours or 21_our_topic, got {path}")
    return folder


def use(folder: str | Path) -> None:
    """Add a folder of a teacher's own exercises, in place of any other. Raises as `own`."""
    os.environ[OWN] = str(_checked(folder))
    _forget()


def _forget() -> None:
    for function in (own, lessons, sheet, exercises, questions):
        function.cache_clear()


def _folders(numbered: str = "[0-9][0-9]") -> list[Path]:
    """Folders of exercises by the lesson's number, the course's before a teacher's own."""
    return [
        folder
        for place in (SHEETS, own())
        if place
        for folder in sorted(place.glob(f"{numbered}_*"))
        if folder.is_dir()
    ]


@cache
def lessons() -> tuple[str, ...]:
    """Return the numbers of the lessons that have exercises."""
    return tuple(sorted({folder.name[:2] for folder in _folders()}))


def is_own(lesson: str) -> bool:
    """Whether a sheet is a teacher's own, and belongs to no lesson of the course."""
    return not any(SHEETS.glob(f"{lesson}_*"))


def name_of(lesson: str) -> str:
    """Return the name of a sheet's folder, "21_our_topic"."""
    return _folders(lesson)[0].name


def files(name: str = "*") -> list[Path]:
    """Return the files of all exercises of a name, by default all."""
    return [path for folder in _folders() for path in folder.glob(f"[0-9]*_{name}.md")]


def quizzes() -> dict[str, Path]:
    """Return lesson to the file of its quiz; a teacher's own is `quizzes/NN.md` in that folder."""
    places = [QUIZZES, own() / "quizzes"] if own() else [QUIZZES]
    return {path.stem: path for place in places for path in sorted(place.glob("*.md"))}


def own_files(lesson: str) -> list[Path]:
    """Return a teacher's own files of a lesson: what its notebook needs beside the course."""
    if own() is None:
        return []
    return [*sorted(own().glob(f"{lesson}_*/*.md")), *own().glob(f"quizzes/{lesson}.md")]


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
    return tuple(
        text.read(path)
        for folder in _folders(lesson)
        for path in sorted(folder.glob("[0-9]*.md"), key=_order)
    )


def _order(path: Path) -> tuple[int, str]:
    number, _, name = path.stem.partition("_")
    return int(number), name


@cache
def exercises() -> dict[str, Exercise]:
    """Return all exercises by name, in reading order, in the usual conventions."""
    found: dict[str, Exercise] = {}
    for value in (value for lesson in lessons() for value in sheet(lesson)):
        if value.name in found:
            places = " and ".join(str(path) for path in files(value.name))
            raise ValueError(f"expected a name for each exercise, got {value.name} in {places}")
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
