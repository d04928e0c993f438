"""Exercises as notebooks: with stubs for learners, with answers for tests and instructors."""

import doctest
import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coursekit.course.lessons import select
from coursekit.course.notebook import KERNELSPEC
from coursekit.exercises import bank
from coursekit.exercises.exercise import Code, Exercise
from coursekit.exercises.questions import Question
from coursekit.exercises.text import GIVEN

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

OWN = Path("exercises")  # the folder beside a notebook that holds a teacher's own exercises
HELP = """\
Write each function, run its cell, and then the check below it, which tells you the first thing that
is wrong. Leave the inputs as they were: work on copies. If you are stuck, `sheet.hint("{name}")`
gives a hint, and each further call a stronger one; `sheet.solution("{name}")` is the last step.
`sheet.progress()` shows what you have done. The tasks become harder from top to bottom, and the
stars say how hard: ★ is a warm-up, ★★★ a stretch."""

QUIZ = """\
## Five questions before you write code

Choose an answer, check it, and read why. You may choose again."""

HEADINGS = {
    "write": "Write `{}`",
    "repair": "Repair `{}`",
    "read": "Read a picture: `{}`",
    "derive": "Derive, then write `{}`",
    "measure": "Measure: `{}`",
    "predict": "Predict, then explain: {}",
    "conclude": "Conclude: {}",
}


class Cell(NamedTuple):
    """A cell of an exercise notebook; `shown` makes the output that is stored with it."""

    id: str
    source: str
    markdown: bool = False
    shown: Callable[[], dict[str, str]] | None = None


def solution(exercise: Exercise, answer: Code | None = None) -> str:
    """Return a right answer as source, in the convention of the exercise's variant."""
    answer = answer or exercise.rights[0]
    if exercise.variant is None:
        return answer.text
    # A name of its own: a notebook may hold two such answers.
    usual = f"usual_{exercise.name}"
    text = re.sub(rf"(?<![.\w]){exercise.name}\b", usual, answer.text)
    body = re.sub(r"\bplain\b", usual, exercise.variant.body)
    return f"{text}\n\n\ndef {exercise.name}{exercise.signature}:\n    return {body}"


def stub(exercise: Exercise) -> str:
    """Return the code that a learner starts from: an empty function, or one with a bug."""
    if exercise.given:
        return exercise.given
    if exercise.kind == "repair":
        return exercise.slips[0].code.text
    empty = "    raise NotImplementedError  # your code here"
    if exercise.is_class:
        return f"class {exercise.name}:\n    def __init__{_with_self(exercise)}:\n    {empty}"
    return f"def {exercise.name}{exercise.signature}:\n{empty}"


def _with_self(exercise: Exercise) -> str:
    inner = exercise.signature[1:-1]
    return f"(self, {inner})" if inner else "(self)"


def example(exercise: Exercise) -> str:
    """Return an exercise's example, with the results that its variant's convention gives."""
    if exercise.variant is None:
        return exercise.example
    space, told = dict(GIVEN), exercise.example
    exec(solution(exercise), space)
    for one in doctest.DocTestParser().get_examples(session(told)):
        output = io.StringIO()
        with redirect_stdout(output):
            exec(compile(one.source, "<example>", "single"), space)
        if one.want:
            told = told.replace(one.want.rstrip("\n"), output.getvalue().rstrip("\n"), 1)
    return told


def session(example: str) -> str:
    """Return the text of an example without the fences of its code, which end no output."""
    return re.sub(r"^```.*$", "", example, flags=re.MULTILINE)


def page(lesson: str, key: str | None = None, *, solved: bool = False) -> "NotebookNode":
    """Return the exercise notebook of a lesson: its `cells` in a file's form."""
    import nbformat
    from nbformat import v4

    made = []
    for cell in cells(lesson, key, solved=solved):
        make = v4.new_markdown_cell if cell.markdown else v4.new_code_cell
        made.append(make(cell.source, id=cell.id))
        if cell.shown:
            made[-1].execution_count = 1  # an output without one belongs to no run
            made[-1].outputs = [v4.new_output("display_data", cell.shown())]
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
    asked = bank.asked(lesson, key)
    arguments = f'"{lesson}"' + (f', key="{key}"' if key else "")
    arguments += f', own="{OWN}"' if bank.own_files(lesson) else ""
    made = [_opening(lesson, asked), Cell("setup", SETUP.format(arguments=arguments))]
    made += _quiz(lesson)
    made += [cell for one in bank.worked(lesson) for cell in _worked(one)]
    for number, one in enumerate(asked, 1):
        made += cells_of(number, one, solved=solved)
    return [*made, Cell("progress", "sheet.progress()")]


def _quiz(lesson: str) -> list[Cell]:
    if lesson not in bank.quizzes():  # as a teacher's own sheet may be
        return []

    def shown() -> dict[str, str]:
        from coursekit.exercises import quiz

        questions = quiz.show(lesson)
        return {"text/html": questions._repr_html_(), "text/plain": repr(questions)}

    return [
        Cell("quiz-task", QUIZ, markdown=True),
        Cell("quiz", "sheet.quiz()", shown=shown),
    ]


def cells_of(number: int, one: Exercise | Question, *, solved: bool = False) -> list[Cell]:
    """Return the cells of one exercise or question, under its number."""
    if isinstance(one, Question):
        return _question(number, one, solved)
    return _worked(one) if one.kind == "worked" else _exercise(number, one, solved)


def _opening(lesson: str, asked: list[Exercise | Question]) -> Cell:
    file, name_of_lesson = title(lesson)
    points, minutes = sum(one.points for one in asked), sum(one.minutes for one in asked)
    rows = [
        f"| {n} | {_label(one)} | {one.skill} | {'★' * one.level} | {one.minutes} | {one.points} "
        f"| {one.section if bank.is_own(lesson) else _link(file, one.section)} |"
        for n, one in enumerate(asked, 1)
    ]
    head = "| no. | task | what you practice | level | minutes | points | in the lesson |"
    table = "\n".join([head, "|---:|---|---|---|---:|---:|---|", *rows])
    name = next(one.name for one in asked if isinstance(one, Exercise))
    linked = name_of_lesson if bank.is_own(lesson) else f"[{name_of_lesson}](../{file})"
    text = f"# Exercises for {linked}\n\n**{points} points, about {minutes} minutes**"
    return Cell("opening", f"{text}\n\n{HELP.format(name=name)}\n\n{table}", markdown=True)


def _link(file: str, section: str) -> str:
    if not section:
        return ""
    return f"[{section}](../{file}#{section.replace(' ', '-')})"


def title(lesson: str) -> tuple[str, str]:
    """Return the file name of a lesson's notebook and its title.

    A sheet that is a teacher's own is called by its folder: 21_our_topic is "21 · Our topic".
    """
    if bank.is_own(lesson):
        name = bank.name_of(lesson)
        return f"{name}.ipynb", f"{lesson} · {name[3:].replace('_', ' ').capitalize()}"
    [path] = select([lesson])
    # Read plainly: a grader's worker would wait seconds for the import of nbformat.
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = "".join(next(c["source"] for c in stored if c["cell_type"] == "markdown"))
    return path.name, first.splitlines()[0].lstrip("# ")


def _label(one: Exercise | Question) -> str:
    # A question's name is a word of the files; what a learner reads is its skill.
    name = one.name if isinstance(one, Exercise) else one.name.replace("_", " ")
    return HEADINGS[one.kind].format(name)


def _heading(number: int, one: Exercise | Question) -> str:
    points = f"{one.points} point{'s' * (one.points != 1)}, about {one.minutes} minutes"
    return f"## {number}. {_label(one)}\n\n{'★' * one.level} · {points}"


def _exercise(number: int, exercise: Exercise, solved: bool) -> list[Cell]:
    name = exercise.name
    words = f"{_heading(number, exercise)}\n\n{exercise.task.strip()}"
    if exercise.variant:
        words += f"\n\n**In this class, other than above:** {exercise.variant.sentence}"
    if exercise.example:
        words += f"\n\nFor example:\n\n{example(exercise)}"
    made = [Cell(cell_id(f"{name}-task"), words, markdown=True)]
    if exercise.picture:
        shown = f'sheet.picture("{name}")'
        made.append(Cell(cell_id(f"{name}-picture"), shown, shown=lambda: drawn(exercise)))
    made += [
        Cell(cell_id(f"{name}-answer"), solution(exercise) if solved else stub(exercise)),
        Cell(cell_id(f"{name}-check"), f"sheet.check({name})"),
    ]
    if exercise.kind == "measure":
        made.append(Cell(cell_id(f"{name}-measure"), f"sheet.measure({name})"))
    return made


def drawn(exercise: Exercise) -> dict[str, str]:
    """Return an exercise's picture and its words, by MIME type."""
    import matplotlib.pyplot as plt

    from coursekit import plots

    with plt.rc_context(plots.STYLE):
        figure, alt = exercise.picture()
        content = plots.image(plots.svg(figure), alt)
        plt.close(figure)
    return {"text/html": content, "text/plain": alt}


def _worked(exercise: Exercise) -> list[Cell]:
    [wrong, *_] = exercise.slips
    says = [exercise.check(answer.function) for answer in (wrong.code, exercise.rights[0])]
    told, praise = (str(result).rpartition(" (")[0] for result in says)
    words = f"""\
## How a check speaks: an example to read

{exercise.task.strip()}

Somebody writes:

```python
{wrong.code.text}
```

and `sheet.check({exercise.name})` answers:

```text
{told}
```

{exercise.hints[0]}

```python
{exercise.rights[0].text}
```

```text
{praise}
```

{exercise.why}"""
    return [Cell(cell_id(f"{exercise.name}-worked"), words, markdown=True)]


def _question(number: int, question: Question, solved: bool) -> list[Cell]:
    name = question.name
    words = f"{_heading(number, question)}\n\n{question.prompt.strip()}"
    if question.options:
        words += "\n\nOptions: " + " · ".join(f"`{option}`" for option in question.options)
    if question.rubric:
        words += f"\n\nWhat earns points:\n\n{question.rubric}"
    made = [Cell(cell_id(f"{name}-task"), words, markdown=True)]
    if question.options:
        prediction = f'"{question.measure()}"' if solved else "None"
        chosen = f"prediction = {prediction}  # one of the options, in quotes"
        reveal = f'{chosen}\nsheet.reveal("{name}", prediction)'
        made.append(Cell(cell_id(f"{name}-answer"), reveal))
    explain = question.guide if solved else "*Your explanation, three to six sentences.*"
    return [*made, Cell(cell_id(f"{name}-explain"), explain, markdown=True)]


def cell_id(name: str) -> str:
    """Return a name in the characters that a notebook's cell ids may have."""
    return name.replace("_", "-")[:64]
