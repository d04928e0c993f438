"""The learner's side: check, hint, solution, progress.

Progress is a small file that survives upgrades; losing it costs nothing but the list.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from coursekit.course import learner
from coursekit.exercises import bank, pages
from coursekit.exercises.exercise import OPEN, RIGHT, WRONG, Exercise, Result

if TYPE_CHECKING:
    from coursekit.exercises.quiz import Quiz


class Sheet:
    """The exercises of one lesson, as its notebook uses them.

    Parameters
    ----------
    lesson : str
        Two digits, as in "04".
    key : str, optional
        Key of a class, which chooses conventions.
    own : path, optional
        Folder of a teacher's own exercises, handed out with the notebook.

    Raises
    ------
    ValueError
        If no lesson with exercises has this number.
    NotADirectoryError
        If there is no folder `own`.
    """

    def __init__(self, lesson: str, key: str | None = None, *, own: str | Path | None = None):
        # Whoever named a folder for all notebooks has said more than the notebook knows.
        if own is not None and not os.environ.get(bank.OWN):
            if not Path(own).is_dir():
                raise NotADirectoryError(
                    f"expected the folder {str(own)!r} beside this notebook, got none in "
                    f"{Path.cwd()}; it was handed out with the notebook: copy it there too"
                )
            bank.use(own)
        self.lesson, self.key = lesson, key
        self.exercises = {e.name: e for e in bank.of_lesson(lesson, key)}
        self.questions = {q.name: q for q in bank.questions_of(lesson)}

    def quiz(self) -> "Quiz":
        """Show five questions on the lesson, to be answered before the tasks."""
        from coursekit.exercises import quiz  # what graders do not wait for

        return quiz.show(self.lesson)

    def check(self, answer: object) -> None:
        """Print whether an answer is right, and if not, the first thing that is wrong.

        Parameters
        ----------
        answer : function or class
            Its name tells which exercise it answers.

        Raises
        ------
        ValueError
            If this sheet has no exercise of that name.
        """
        print(self._result(answer))

    def score(self, answer: object) -> float:
        """Print the result as `check` does and return the points, as nbgrader wants them."""
        result = self._result(answer)
        print(result)
        return float(result.points)

    def hint(self, name: str) -> None:
        """Print the next hint; each call goes one step up the ladder. Raises as `check`."""
        exercise = self._find(name)
        shown = min(_recall().get(name, {}).get("hints", 0) + 1, len(exercise.hints))
        _remember(name, hints=shown)
        print(f"Hint {shown} of {len(exercise.hints)}: {exercise.hints[shown - 1]}")
        if shown == len(exercise.hints):
            print(f'After this comes only `sheet.solution("{name}")`.')

    def solution(self, name: str) -> None:
        """Print a right answer and why it is right; of a question, what a good explanation says.

        Raises as `check`.
        """
        if name in self.questions:
            print(self.questions[name].guide)
            return
        exercise = self._find(name)
        _remember(name, solution=True)
        print(f"{pages.solution(exercise)}\n\n{exercise.why}")

    def picture(self, name: str) -> None:
        """Show the picture that an exercise is about. Raises as `check`."""
        from coursekit import plots

        content = pages.drawn(self._find(name))
        plots.rich(content["text/html"], content["text/plain"])

    def measure(self, answer: Callable) -> None:
        """Run a study on real networks, on data that the class key draws. Raises as `check`."""
        from coursekit.exercises import laboratories

        self._find(answer.__name__)
        laboratories.measure(answer, self.lesson, self.key)

    def reveal(self, name: str, prediction: str | None) -> None:
        """Print what was measured beside a prediction.

        Raises
        ------
        ValueError
            If there is no such question, or the prediction is none of its options.
        """
        if name not in self.questions:
            raise ValueError(f"expected one of {', '.join(self.questions)}, got {name!r}")
        question = self.questions[name]
        if prediction in (None, "", ...):
            print(f"{name}: not attempted yet; predict one of {' | '.join(question.options)}")
            return
        if prediction not in question.options:
            raise ValueError(f"expected one of {question.options}, got {prediction!r}")
        measured = question.measure()
        told = "as you predicted" if measured == prediction else f"you predicted {prediction}"
        # The first guess counts, as everywhere in the course.
        known = "measured" in _recall().get(name, {})
        first = {} if known else {"prediction": prediction, "measured": measured}
        _remember(name, status=RIGHT, **first)
        print(f"Measured: {measured}, {told}. Now explain it in the next cell.")

    def progress(self) -> None:
        """Print which exercises of all lessons are done, and the points."""
        kept, got, most = _recall(), 0, 0
        for name, exercise in bank.exercises().items():
            entry = kept.get(name, {})
            done = entry.get("status") == RIGHT
            got, most = got + done * exercise.points, most + exercise.points
            if exercise.lesson == self.lesson:
                help_used = ", with the solution" if entry.get("solution") else ""
                print(f"{'x' if done else '.'} {name:28} {entry.get('status', OPEN)}{help_used}")
        print(f"In all lessons: {got} of {most} points.")

    def _result(self, answer: object) -> Result:
        name = getattr(answer, "__name__", None)
        if name is None:
            names = ", ".join(self.exercises)
            raise ValueError(
                f"expected one of the functions {names}, got {type(answer).__name__} {answer!r}; "
                "pass the function itself, without brackets"
            )
        result = self._find(name).check(answer)
        if result.status != OPEN:
            earlier = _recall().get(name, {}).get("status")
            # Done is done: an experiment with a solved exercise takes nothing away.
            _remember(name, status=RIGHT if RIGHT in (earlier, result.status) else WRONG)
        return result

    def _find(self, name: str) -> Exercise:
        if name not in self.exercises:
            names = ", ".join(self.exercises)
            raise ValueError(f"expected one of {names}, the exercises of this sheet, got {name!r}")
        return self.exercises[name]


def progress_file() -> Path:
    """Return where progress is kept: beside the predictions, outside of the course's folder."""
    return learner.file("progress.json")


def _recall() -> dict[str, dict]:
    return learner.recall(progress_file())


def _remember(name: str, **facts: object) -> None:
    try:
        learner.remember(progress_file(), name, **facts)
    except OSError as error:
        print(f"(progress not kept: {error}; set COURSEKIT_HOME to a folder that you may write)")
