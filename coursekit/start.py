"""The start page: a map of the course, and what one has done and predicted of it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median

from coursekit.course import learner, lecture, lessons, notebook, predictions
from coursekit.course.predictions import Choice, Number, Outcome
from coursekit.exercises import bank
from coursekit.exercises.exercise import RIGHT
from coursekit.exercises.sheet import progress_file
from coursekit.widgets import predictions_file

# What one sees happen in each lesson; the README's table says the same.
SEEN = {
    "00": "Fifty teams ask one question and get fifty answers: how many trainings settle it?",
    "01": "A curve goes mad where it must pass through every point, and calms down beyond.",
    "02": "Drag the data: one penalty sets weights to exactly zero over whole areas, one nowhere.",
    "03": "A strength that does not count: under Adam, quiet weights vanish at any of them.",
    "04": "Switch units off at random, and watch what the rest of the network is told.",
    "06": "A digit is read by the company it keeps: in training, the batch decides.",
    "07": "Tell a network what does not matter: it believes you, and may pay with something else.",
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
            f"{row.title:50} {row.reading:3.0f} min   exercises: {_of(row.done, row.tasks)}"
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
    kept = _recalled(progress_file())
    rows = []
    for path in lessons.lessons():
        number = path.stem[:2]
        tasks = [e for e in bank.exercises().values() if e.lesson == number]
        done = sum(kept.get(e.name, {}).get("status") == RIGHT for e in tasks)
        reading = sum(section.reading for section in lecture.path(path))
        rows.append(
            Row(
                path,
                notebook.title(notebook.read(path), path.stem),
                SEEN.get(number, ""),
                reading,
                done,
                len(tasks),
            )
        )
    return CourseMap(rows)


def _recalled(path: Path) -> dict[str, dict]:
    """What a learner left in a file. A page that is stored for everybody shows what nobody did."""
    return {} if os.environ.get("COURSEKIT_STATIC") else learner.recall(path)


# Progress


@dataclass(frozen=True)
class Prediction:
    """A guess of a learner's. `outcome` is None until a measurement has met it."""

    question: str
    outcome: Outcome | None


@dataclass(frozen=True)
class Standing:
    """What was done of one lesson, and of how much.

    Attributes
    ----------
    path : Path
        Of the lesson's notebook.
    title : str
    done, tasks, points, most : int
        Exercises of its sheet, and their points.
    hints, solutions : int
        Of these exercises: how many hints were shown, and how many solutions.
    answered, questions : int
        Questions of the sheet that were predicted.
    predicted : tuple of Prediction
        In the lesson itself, in its order.
    asked : int
        How many predictions the lesson asks for.
    """

    path: Path
    title: str
    done: int
    tasks: int
    points: int
    most: int
    hints: int
    solutions: int
    answered: int
    questions: int
    predicted: tuple[Prediction, ...]
    asked: int

    @property
    def open(self) -> str:
        """What is open, in words; "" if all is done."""
        left = {
            "prediction": self.asked - len(self.predicted),
            "exercise": self.tasks - self.done,
            "question of the sheet": self.questions - self.answered,
        }
        return _listed([_counted(n, *name.split(" ", 1)) for name, n in left.items() if n > 0])

    @property
    def begun(self) -> bool:
        """Whether anything was done of it."""
        return any((self.done, self.hints, self.solutions, self.answered, self.predicted))

    @property
    def cells(self) -> dict[str, str]:
        """What the table says in each column."""
        used = {"hint": self.hints, "solution": self.solutions}
        help_used = _listed([_counted(n, name) for name, n in used.items() if n])
        return {
            "exercises": _of(self.done, self.tasks),
            "points": _of(self.points, self.most),
            "help used": help_used or "none",
            "questions predicted": _of(self.answered, self.questions),
            "predictions in the lesson": _of(len(self.predicted), self.asked),
        }


EMPTY = (
    "Nothing is kept yet. Check an exercise, or say what you expect where a lesson asks for it: "
    "then this page shows what you have done, and how far your predictions were from what was "
    "measured."
)


class Progress:
    """What a learner has done and predicted, lesson by lesson, and what to do next.

    Attributes
    ----------
    standings : list of Standing
    elsewhere : list of Prediction
        Guesses in notebooks of one's own, or to questions that no lesson asks any more.
    on_sheets : list of Choice
        Predictions on the sheets, where what was measured is known.
    trouble : list of str
        A sentence for each file that could not be read or written.
    """

    def __init__(
        self,
        standings: list[Standing],
        elsewhere: list[Prediction],
        on_sheets: list[Choice],
        trouble: list[str],
    ):
        self.standings, self.elsewhere = standings, elsewhere
        self.on_sheets, self.trouble = on_sheets, trouble

    @property
    def outcomes(self) -> list[Outcome]:
        """Guesses that met a measurement, on sheets too."""
        groups = [*(standing.predicted for standing in self.standings), self.elsewhere]
        met = [one.outcome for group in groups for one in group if one.outcome is not None]
        return met + self.on_sheets

    @property
    def next(self) -> Standing | None:
        """The first lesson with something open."""
        return next((standing for standing in self.standings if standing.open), None)

    @property
    def begun(self) -> bool:
        """Whether anything was done."""
        return bool(self.elsewhere) or any(standing.begun for standing in self.standings)

    @property
    def total(self) -> str:
        """What was done in all lessons, in a sentence."""
        counts = [
            (s.done, s.tasks, s.points, s.most, len(s.predicted), s.asked) for s in self.standings
        ]
        done, tasks, points, most, predicted, asked = map(sum, zip(*counts, strict=True))
        return (
            f"So far: {done} of {tasks} exercises, {points} of {most} points, "
            f"{predicted} of {asked} predictions."
        )

    def __repr__(self) -> str:
        if not self.begun:
            return "\n\n".join([*self.trouble, f"{EMPTY} Begin with {self.standings[0].title}."])
        parts = [*self.trouble, self.total, calibration(self.outcomes), self._next_words()]
        for s in self.standings:
            if s.begun:
                width = max(map(len, s.cells))
                lines = [f"  {name:{width}}  {words}" for name, words in s.cells.items()]
                parts.append("\n".join([s.title, *lines, *_lines(s.predicted)]))
        if self.elsewhere:
            parts.append("\n".join(["Elsewhere", *_lines(self.elsewhere)]))
        rest = [f"  {s.title}" for s in self.standings if not s.begun]
        parts.append("\n".join(["Not begun", *rest]) if rest else "")
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        trouble = "".join(f"<p><strong>{escape(words)}</strong></p>" for words in self.trouble)
        first = self.standings[0]
        if not self.begun:
            link = f"<a href='{first.path.name}'>{escape(first.title)}</a>"
            return f"{trouble}<p>{EMPTY} Begin with {link}.</p>"
        told = (self.total, calibration(self.outcomes), self._next_words(linked=True))
        rows = []
        for s in self.standings:
            sheet, *rest = map(escape, s.cells.values())
            sheet = f"<a href='exercises/{s.path.name}'>{sheet}</a>" if s.tasks else sheet
            rows.append((f"<a href='{s.path.name}'>{escape(s.title)}</a>", sheet, *rest))
        parts = [trouble, *(f"<p>{words}</p>" for words in told if words)]
        parts.append(_table("What you have done of each lesson", ("lesson", *first.cells), rows))
        groups = [(s.title, s.predicted) for s in self.standings if s.predicted]
        groups += [("Elsewhere", self.elsewhere)] if self.elsewhere else []
        for title, group in groups:
            rows = [tuple(map(escape, (one.question, *_columns(one)))) for one in group]
            heads = ("question", "you said", "measured", "the measurement was")
            name = escape(f"{title}: {_counted(len(group), 'prediction')}, and what was measured")
            # The attribute keeps JupyterLab from taking the key that opens the fold.
            parts.append(
                "<details style='margin-top:.6em' data-lm-suppress-shortcuts='true'>"
                f"<summary>{name}</summary>{_table(name, heads, rows)}</details>"
            )
        return "".join(parts)

    def _next_words(self, *, linked: bool = False) -> str:
        first = self.next
        if first is None:
            project = "notebooks/exercises/project.ipynb"
            if linked:
                project = "<a href='exercises/project.ipynb'>the project</a>"
            return f"Everything is done. Next: a question of your own, in {project}."
        title = first.title
        if linked:
            sheet_only = len(first.predicted) == first.asked
            address = f"{'exercises/' if sheet_only else ''}{first.path.name}"
            title = f"<a href='{address}'>{escape(title)}</a>"
        return f"Next: {title}. Open there: {first.open}."


def progress() -> Progress:
    """Show what you have done of each lesson, how good your predictions were, and what is next.

    Displayed in a notebook it is a page, printed it is text; `coursekit progress` prints it. Of a
    prediction the first guess counts that met a measurement.

    Examples
    --------
    >>> from coursekit import start
    >>> start.progress().standings[0].title
    '00 · How to measure a claim'
    """
    kept, guessed = _recalled(progress_file()), _recalled(predictions_file())
    static = bool(os.environ.get("COURSEKIT_STATIC"))
    files = () if static else (progress_file(), predictions_file())
    trouble = list(dict.fromkeys(sentence for file in files for sentence in learner.trouble(file)))
    made = {name: entry for name, entry in guessed.items() if entry.get("choice") is not None}
    standings = []
    for path in lessons.lessons():
        number, nb = path.stem[:2], notebook.read(path)
        asked = predictions.asked(nb)
        predicted = []
        for pattern in asked:
            # A number in a question may have changed; then the latest of its guesses is shown.
            own = [question for question in made if pattern.fullmatch(question)]
            if own:
                predicted.append(Prediction(own[-1], predictions.outcome(made[own[-1]])))
            for question in own:
                del made[question]
        tasks = [e for e in bank.exercises().values() if e.lesson == number]
        entries = [kept.get(e.name, {}) for e in tasks]
        right = [e.points for e in tasks if kept.get(e.name, {}).get("status") == RIGHT]
        hints = [entry.get("hints", 0) for entry in entries]
        questions = [q for q in bank.questions().values() if q.lesson == number and q.options]
        standings.append(
            Standing(
                path=path,
                title=notebook.title(nb, path.stem),
                done=len(right),
                tasks=len(tasks),
                points=sum(right),
                most=sum(e.points for e in tasks),
                hints=sum(n for n in hints if isinstance(n, int)),
                solutions=sum(bool(entry.get("solution")) for entry in entries),
                answered=sum(bool(kept.get(q.name, {}).get("prediction")) for q in questions),
                questions=len(questions),
                predicted=tuple(predicted),
                asked=len(asked),
            )
        )
    elsewhere = [Prediction(name, predictions.outcome(entry)) for name, entry in made.items()]
    on_sheets = []
    for name, question in bank.questions().items():
        guess, measured = (kept.get(name, {}).get(key) for key in ("prediction", "measured"))
        if guess in question.options and measured in question.options:
            on_sheets.append(Choice(guess, measured, len(question.options)))
    return Progress(standings, elsewhere, on_sheets, trouble)


def calibration(outcomes: Iterable[Outcome]) -> str:
    """Say how good predictions were, in a sentence; "" if no measurement has met one.

    Parameters
    ----------
    outcomes : iterable of Outcome

    Examples
    --------
    >>> from coursekit.course.predictions import Choice
    >>> from coursekit.start import calibration
    >>> calibration([Choice("yes", "yes", 2), Choice("yes", "no", 2)])
    'Of your 2 choices 1 was right (blind guessing gets 1.0 on average).'
    """
    outcomes = list(outcomes)
    choices = [one for one in outcomes if isinstance(one, Choice)]
    numbers = [one for one in outcomes if isinstance(one, Number)]
    intervals = [one for one in numbers if one.low is not None]
    parts = []
    if choices:
        chance = sum(1 / one.among for one in choices)
        of = f"of your {_counted(len(choices), 'choice')} {_were(one.hit for one in choices)} right"
        parts.append(f"{of} (blind guessing gets {chance:.1f} on average)")
    if intervals:
        n = sum(one.inside for one in intervals)
        parts.append(f"of {_counted(len(intervals), 'measured interval')} {n} held your number")
    if numbers:
        few = "your one number was" if len(numbers) == 1 else "half of your numbers were at most"
        share = 100 * median(one.distance for one in numbers)
        parts.append(f"{few} {share:.0f} % of the offered range away from the measurement")
    text = ", ".join([*parts[:-1], f"and {parts[-1]}"] if len(parts) > 1 else parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _were(hits: Iterable[bool]) -> str:
    n = sum(hits)
    return f"{n} {'was' if n == 1 else 'were'}"


def _columns(one: Prediction) -> tuple[str, str, str]:
    if one.outcome is None:
        return "a guess that is kept", "not yet: run the cell after it", ""
    return one.outcome.guess_text, one.outcome.measured_text, one.outcome.gap_text


def _lines(predicted: Iterable[Prediction]) -> list[str]:
    lines = []
    for one in predicted:
        guess, measured, gap = _columns(one)
        lines += [f"  {one.question}", f"      you said: {guess}"]
        lines += [f"      measured: {measured}" + (f"; {gap}" if gap else "")]
    return lines


def _of(n: int, most: int) -> str:
    return f"{n} of {most}" if most else "none"


def _counted(n: int, noun: str, rest: str = "") -> str:
    return f"{n} {noun}{'' if n == 1 else 's'} {rest}".rstrip()


def _listed(parts: list[str]) -> str:
    return ", ".join([*parts[:-2], " and ".join(parts[-2:])])


def _table(name: str, heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """A table that scrolls in itself where the page is narrow; the first cell heads its row."""
    left = "style='text-align:left'"
    top = "".join(f"<th scope='col' {left}>{head}</th>" for head in heads)
    body = "".join(
        f"<tr><th scope='row' style='text-align:left;font-weight:normal'>{first}</th>"
        + "".join(f"<td {left}>{cell}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f"<div role='region' aria-label='{name}' tabindex='0' style='overflow-x:auto'>"
        f"<table style='margin:0'><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )
