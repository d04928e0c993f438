"""Exercises as notebooks: with stubs for learners, with answers for tests and instructors."""

import inspect
import json
import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from coursekit.course.lessons import select
from coursekit.course.notebook import KERNELSPEC
from coursekit.exercises import bank
from coursekit.exercises.exercise import Exercise
from coursekit.exercises.questions import Question

if TYPE_CHECKING:
    from nbformat import NotebookNode

SETUP = """\
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises import Sheet

sheet = Sheet({arguments})"""

HELP = """\
Write each function, run its cell, then the check below it; inputs are to stay as they were. A
check says the first thing that is wrong. Stuck? `sheet.hint("{name}")` gives a hint, each call a
stronger one, and `sheet.solution("{name}")` is the last step. `sheet.progress()` shows what is
done."""


class Cell(NamedTuple):
    """A cell of an exercise notebook."""

    id: str
    source: str
    markdown: bool = False


def code(function: Callable, name: str) -> str:
    """Return the source of a bank's answer as the learner would have written it."""
    text = textwrap.dedent(inspect.getsource(function))
    # The bank's own decorator goes; any other belongs to the answer.
    text = re.sub(r"\A@\w+\.(right\n|wrong\([\s\S]*?\)\n(?=@|def |class ))", "", text)
    return re.sub(rf"\b{function.__name__}\b", name, text).rstrip()


def solution(exercise: Exercise, answer: Callable | None = None) -> str:
    """Return a right answer as source, in the convention of the exercise's variant."""
    answer = answer or exercise.rights[0]
    if exercise.variant is None:
        return code(answer, exercise.name)
    arguments = exercise.signature
    # A name of its own: a notebook may hold two such answers.
    usual = f"usual_{exercise.name}"
    body = re.sub(r"\bplain\b", usual, exercise.variant.body)
    return f"{code(answer, usual)}\n\n\ndef {exercise.name}{arguments}:\n    return {body}"


def stub(exercise: Exercise) -> str:
    """Return the code that a learner starts from: an empty function, or one with a bug."""
    if exercise.bug:
        [found] = [s.function for s in exercise.slips if s.function.__name__ == exercise.bug]
        return code(found, exercise.name)
    empty = "    raise NotImplementedError  # your code here"
    if exercise.is_class:
        return f"class {exercise.name}:\n    def __init__{_with_self(exercise)}:\n    {empty}"
    return f"def {exercise.name}{exercise.signature}:\n{empty}"


def _with_self(exercise: Exercise) -> str:
    inner = exercise.signature[1:-1]
    return f"(self, {inner})" if inner else "(self)"


def page(lesson: str, key: str | None = None, *, solved: bool = False) -> "NotebookNode":
    """Return the exercise notebook of a lesson: its `cells` in a file's form."""
    import nbformat
    from nbformat import v4

    made = [
        (v4.new_markdown_cell if cell.markdown else v4.new_code_cell)(cell.source, id=cell.id)
        for cell in cells(lesson, key, solved=solved)
    ]
    metadata = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    return nbformat.from_dict(v4.new_notebook(cells=made, metadata=metadata))


def cells(lesson: str, key: str | None = None, *, solved: bool = False) -> list[Cell]:
    """Return the cells of a lesson's exercise notebook.

    Parameters
    ----------
    lesson : str
        Two digits.
    key : str, optional
        Key of a class, which chooses conventions.
    solved : bool, default False
        With the bank's first right answers in place of the stubs.

    Returns
    -------
    list of Cell
        Their ids are stable: NAME-task, NAME-answer, NAME-check, NAME-explain.

    Raises
    ------
    ValueError
        If no lesson with exercises has this number.
    """
    tasks = bank.of_lesson(lesson, key)
    asked = bank.questions_of(lesson)
    arguments = f'"{lesson}"' + (f', key="{key}"' if key else "")
    made = [_opening(lesson, tasks, asked), Cell("setup", SETUP.format(arguments=arguments))]
    for number, exercise in enumerate(tasks, 1):
        made += _exercise(number, exercise, solved)
    for number, question in enumerate(asked, len(tasks) + 1):
        made += _question(number, question, solved)
    return [*made, Cell("progress", "sheet.progress()")]


def _opening(lesson: str, tasks: list[Exercise], asked: list[Question]) -> Cell:
    path = title(lesson)
    points = sum(e.points for e in tasks) + sum(q.points for q in asked)
    text = f"# Exercises to [{path[1]}](../{path[0]})\n\n**{points} points**\n\n"
    return Cell("opening", text + HELP.format(name=tasks[0].name), markdown=True)


def title(lesson: str) -> tuple[str, str]:
    """Return the file name of a lesson's notebook and its title."""
    [path] = select([lesson])
    # Read plainly: a grader's worker would wait seconds for the import of nbformat.
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = "".join(next(c["source"] for c in stored if c["cell_type"] == "markdown"))
    return path.name, first.splitlines()[0].lstrip("# ")


def _exercise(number: int, exercise: Exercise, solved: bool) -> list[Cell]:
    name, kind = exercise.name, "Repair" if exercise.bug else "Write"
    words = f"## {number}. {kind} `{name}` ({exercise.points} points)\n\n{exercise.task.strip()}"
    if exercise.variant:
        words += f"\n\n**In this class, other than above:** {exercise.variant.sentence}"
    return [
        Cell(cell_id(f"{name}-task"), words, markdown=True),
        Cell(cell_id(f"{name}-answer"), solution(exercise) if solved else stub(exercise)),
        Cell(cell_id(f"{name}-check"), f"sheet.check({name})"),
    ]


def _question(number: int, question: Question, solved: bool) -> list[Cell]:
    name = question.name
    options = " · ".join(f"`{option}`" for option in question.options)
    words = f"## {number}. Predict, then explain ({question.points} points)\n\n"
    words += f"{question.prompt.strip()}\n\nOptions: {options}"
    prediction = f'"{question.measure()}"' if solved else "None"
    reveal = f'prediction = {prediction}  # your choice\nsheet.reveal("{name}", prediction)'
    explain = question.guide if solved else "*Your explanation, three to six sentences.*"
    return [
        Cell(cell_id(f"{name}-task"), words, markdown=True),
        Cell(cell_id(f"{name}-answer"), reveal),
        Cell(cell_id(f"{name}-explain"), explain, markdown=True),
    ]


def cell_id(name: str) -> str:
    """Return a name in the characters that a notebook's cell ids may have."""
    return name.replace("_", "-")[:64]
