"""The start page: a map of the course, with what one has done of it."""

import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from coursekit.course import learner, lecture, lessons, notebook
from coursekit.exercises import bank
from coursekit.exercises.exercise import RIGHT
from coursekit.exercises.sheet import progress_file

# What one sees happen in each lesson; the README's table says the same.
SEEN = {
    "00": "Fifty teams ask one question and get fifty answers: how many trainings settle it?",
    "01": "A curve goes mad where it must pass through every point, and calms down beyond.",
    "02": "Drag the data: one penalty sets weights to exactly zero over whole areas, one nowhere.",
    "03": "A strength that does not count: under Adam, quiet weights vanish at any of them.",
    "04": "Switch units off at random, and watch what the rest of the network is told.",
    "06": "A digit is read by the company it keeps: in training, the batch decides.",
    "07": "Tell a network what does not matter: it believes you, and pays with something else.",
    "09": "A wall of digits, learned one by one: first what repeats, then what is wrong.",
    "10": "A film of skipped blocks: how deep is a network that is hardly ever whole?",
    "16": "Keras, PyTorch, scikit-learn: each line is run, and beside it the one that looks right.",
}


@dataclass(frozen=True)
class Row:
    """A lesson on the map. `reading` in minutes; `done` of `tasks` exercises are solved."""

    path: Path
    title: str
    seen: str
    reading: float
    done: int
    tasks: int


class CourseMap:
    """All lessons in order, each with its minutes and with how many of its exercises are done."""

    def __init__(self, rows: list[Row]):
        self.rows = rows

    def __repr__(self) -> str:
        return "\n".join(
            f"{row.title:50} {row.reading:3.0f} min   {row.done} of {row.tasks} exercises"
            for row in self.rows
        )

    def _repr_html_(self) -> str:
        head = ("lesson", "what you will see", "minutes to read", "exercises")
        cells = "".join(f"<th scope='col' style='text-align:left'>{name}</th>" for name in head)
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Row) -> str:
    lesson = f"<a href='{row.path.name}'>{escape(row.title)}</a>"
    sheet = f"<a href='exercises/{row.path.name}'>{row.done} of {row.tasks} done</a>"
    done = sheet if row.tasks else "none"
    values = (lesson, escape(row.seen), f"{row.reading:.0f}", done)
    return "".join(f"<td style='text-align:left'>{value}</td>" for value in values)


def course_map() -> CourseMap:
    """Show the lessons in order, and what you have done of their exercises.

    Examples
    --------
    >>> from coursekit import start
    >>> start.course_map().rows[0].title
    '00 · How to measure a claim'
    """
    # A page that is stored for everybody shows what nobody has done.
    kept = {} if os.environ.get("COURSEKIT_STATIC") else learner.recall(progress_file())
    rows = []
    for path in lessons.lessons():
        number = path.stem[:2]
        tasks = [e for e in bank.exercises().values() if e.lesson == number]
        done = sum(kept.get(e.name, {}).get("status") == RIGHT for e in tasks)
        title = re.match(r"#\s*(.*)", notebook.read(path).cells[0].source)
        reading = sum(section.reading for section in lecture.path(path))
        name = title[1].strip() if title else path.stem
        rows.append(Row(path, name, SEEN.get(number, ""), reading, done, len(tasks)))
    return CourseMap(rows)
