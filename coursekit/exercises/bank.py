"""The exercises of all lessons, found by name."""

from dataclasses import replace
from functools import cache
from importlib import import_module

from coursekit.exercises.exercise import Exercise, choose
from coursekit.exercises.questions import Question

# Lesson to the module that holds its exercises, in reading order.
TOPICS = {
    "00": "measuring",
    "01": "overfitting",
    "02": "penalties",
    "03": "decay",
    "04": "dropout",
    "06": "normalization",
    "07": "augmentation",
    "09": "stopping",
    "10": "depth",
}
# What answers to a lesson import besides torch and NumPy, and takes long.
IMPORTS = {"00": ("scipy.stats",)}


@cache
def exercises() -> dict[str, Exercise]:
    """Return all exercises by name, in reading order, in the usual conventions."""
    found: dict[str, Exercise] = {}
    for value in _values(Exercise):
        if value.name in found:
            raise ValueError(f"two exercises are called {value.name}")
        found[value.name] = value
    return found


@cache
def questions() -> dict[str, Question]:
    """Return all questions to predict and explain, by name."""
    return {value.name: value for value in _values(Question)}


def questions_of(lesson: str) -> list[Question]:
    """Return the questions of a lesson in order."""
    return [question for question in questions().values() if question.lesson == lesson]


def _values(kind: type) -> list:
    modules = [import_module(f"coursekit.exercises.{topic}") for topic in TOPICS.values()]
    return [value for module in modules for value in vars(module).values() if type(value) is kind]


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
    exercise = exercises()[name]
    return replace(exercise, variant=choose(exercise, key))


def lessons() -> tuple[str, ...]:
    """Return the numbers of the lessons that have exercises."""
    return tuple(TOPICS)


def of_lesson(lesson: str, key: str | None = None) -> list[Exercise]:
    """Return the exercises of a lesson in order.

    Raises
    ------
    ValueError
        If no lesson with exercises has this number.
    """
    if lesson not in TOPICS:
        raise ValueError(f"expected one of the lessons {', '.join(TOPICS)}, got {lesson!r}")
    return [find(name, key) for name, e in exercises().items() if e.lesson == lesson]
