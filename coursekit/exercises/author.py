"""What the author of an exercise wants to see: its page, what its checks say, what they miss."""

import doctest
import textwrap
import time
from pathlib import Path

from coursekit.exercises import mutants, pages, text
from coursekit.exercises.exercise import RIGHT, WRONG, Exercise
from coursekit.exercises.questions import Question

SEEDS = 20  # for each right answer; the tests take 200


def review(path: Path) -> tuple[str, list[str]]:
    """Return a page on one exercise or question, and what is to be mended.

    Parameters
    ----------
    path : Path
        The file of the exercise.

    Returns
    -------
    page : str
        Markdown: what a learner sees, then what the checks say to each wrong answer.
    faults : list of str
        One sentence each; none if everything is as it should be.

    Raises
    ------
    ValueError
        If the file is not in the form.
    FileNotFoundError
        If there is no such file.
    """
    one = text.read(Path(path))
    shown = "\n\n".join(cell.source for cell in pages.cells_of(1, one))
    if isinstance(one, Question):
        return shown, [] if not one.options or one.measure() in one.options else [
            f"What is measured is none of the options: {one.measure()!r}."
        ]
    parts, faults = ["What a learner sees", shown], []
    parts += ["What the check says", *_wrong(one, faults)]
    _right(one, faults)
    faults += untrue(one)
    if one.kind == "measure":  # how one studies is free; `study` has tests for its audit
        return "\n\n".join(parts), faults
    every, alive = mutants.survivors(one)
    faults += [f"A change goes unnoticed: {name}" for name in alive if name not in one.harmless]
    faults += [f"Noticed, or not made any more: {n}" for n in sorted(one.harmless - set(alive))]
    caught = len(every) - len(alive)
    parts.append(f"Of {len(every)} small changes to right answers, {caught} are noticed.")
    return "\n\n".join(parts), faults


def untrue(one: Exercise) -> list[str]:
    """Return what in an exercise's example is not what its first right answer gives."""
    space = {**text.GIVEN, one.name: one.rights[0].function}
    session = pages.session(one.example)
    test = doctest.DocTestParser().get_doctest(session, space, one.name, None, None)
    told = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=told.append)
    return [f"The example is not true:\n{''.join(told).rstrip()}"] if told else []


def _wrong(one: Exercise, faults: list[str]) -> list[str]:
    told = []
    for number, slip in enumerate(one.slips, 1):
        result = one.check(slip.code.function)
        code = textwrap.indent(slip.code.text, "    ")
        told.append(f"{number}. {result}\n\n{code}")
        if result.status != WRONG:
            faults.append(f"Wrong answer {number} passes: {slip.sentence}")
        elif slip.sentence not in result.sentence:
            faults.append(f"Wrong answer {number} is not recognized: {result.sentence}")
    return told


def _right(one: Exercise, faults: list[str]) -> None:
    for right in one.rights:
        start = time.process_time()  # of the processor: who else is at work here does not count
        results = [one.check(right.function, seed) for seed in range(SEEDS)]
        seconds = (time.process_time() - start) / SEEDS
        wrong = next((result for result in results if result.status != RIGHT), None)
        if wrong:
            faults.append(f"The right answer {right.title} fails: {wrong.sentence}")
        if seconds > 0.3:
            faults.append(f"A check of {right.title} takes {seconds:.1f} s; at most 0.3 are nice.")
