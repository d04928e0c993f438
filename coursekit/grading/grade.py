"""Grade one submission: rebuild it, ask in the box, judge the plain arrays that come back.

Runs in a worker, which parses what was handed in but executes nothing of it: a file that would
crash a parser takes this worker along, and not the coordinator.
"""

import ast
import hashlib
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from coursekit.exercises import bank
from coursekit.exercises.driving import Answer, Probe, Value
from coursekit.exercises.exercise import OPEN, RIGHT, WRONG, Exercise, Result
from coursekit.grading.book import records
from coursekit.grading.intake.files import printable
from coursekit.grading.intake.notebook import Rebuilt, Unreadable, parsed, rebuild
from coursekit.grading.sandbox import transcript
from coursekit.grading.sandbox.box import expect_helpers

LONGEST = 600  # characters of a sentence; parts of it are a submission's own words
# A number with a decimal point in a message may be one of the inputs.
DECIMALS = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?", re.IGNORECASE)
IMPORTS_IT = re.compile(rb"^[ \t]*(from[ \t]+|import\b[^\n#]*\b)coursekit\b", re.MULTILINE)
OF_THE_COURSE = "imports the course's package: see whether the answers are its own functions"
UNSURE = "What it returned could not be compared; a person will look at it."

bank.exercises()  # now, while a worker's box starts: the first submission need not wait for it


class GraderFault(RuntimeError):
    """The grader failed; says nothing about the submission."""


def grade(job: Mapping[str, object], box) -> dict:
    """Grade a submission.

    Parameters
    ----------
    job : dict
        "sha256" (of the submission), "raw" (bytes of the notebook), "lesson", "key", "version",
        "salt" (of the random inputs), and optionally "helpers": name to bytes of the files beside
        the notebook.
    box : Box
        Anything with its `run`.

    Returns
    -------
    dict
        A record. Its status is "grader fault" if it should be tried again.
    """
    began = time.monotonic()
    about = job["sha256"], job["version"], job["lesson"]
    try:
        rebuilt = rebuild(job["raw"], job["lesson"], job["key"])
    except Unreadable as error:
        return records.new(*about, records.UNREADABLE, str(error), rule=error.rule)
    tasks = bank.of_lesson(job["lesson"], job["key"])
    helpers = job.get("helpers") or {}
    try:
        expect_helpers(helpers)
    except ValueError as error:
        helpers = {}
        rebuilt.notes.append(f"The files beside the notebook were left out: {error}.")
    job = {**job, "helpers": helpers}
    try:
        outcome, results, seeds = _ask_all(job, box, rebuilt, tasks)
    except GraderFault as fault:
        return records.new(*about, transcript.FAULT, str(fault)[:LONGEST])
    status, reason = outcome.status, _numbered(outcome.reason, rebuilt)
    if any(result.status == records.REVIEW for result in results.values()):
        status, reason = records.REVIEW, UNSURE
    rows = [
        asdict(r) | {"seed": seeds[name][-1], "seeds": seeds[name]} for name, r in results.items()
    ]
    questions = [
        {"name": q.name, "out_of": q.points, "explanation": rebuilt.written[q.name]}
        for q in bank.questions_of(job["lesson"])
        if q.name in rebuilt.written
    ]
    return records.new(
        *about,
        status,
        presentable(reason),
        points=sum(row["points"] for row in rows),
        out_of=sum(row["out_of"] for row in [*rows, *questions]),
        exercises=rows,
        questions=questions,
        notes=[presentable(note) for note in rebuilt.notes],
        marks=[OF_THE_COURSE] if _uses_the_course(rebuilt, helpers, tasks) else [],
        beside={name: hashlib.sha256(helpers[name]).hexdigest() for name in sorted(helpers)},
        seconds=round(time.monotonic() - began, 3),
        memory=int(outcome.memory or 0),
    )


def _uses_the_course(
    rebuilt: Rebuilt, helpers: Mapping[str, bytes], tasks: Sequence[Exercise]
) -> bool:
    """Return whether a cell or a module of the student's imports the course's package, plainly.

    Its functions are no secret and may be tried out, but an answer should not call others than a
    task of the sheet offers.
    """
    offered = {name for task in tasks for name in task.offers}
    for source in rebuilt.cells[1:]:
        tree = parsed(source)
        for node in ast.walk(tree) if tree else ():
            own = isinstance(node, ast.ImportFrom) and node.module == "coursekit"
            if own and {alias.name for alias in node.names} <= offered:
                continue
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "coursekit" for name in names):
                return True
    return any(
        IMPORTS_IT.search(content) for name, content in helpers.items() if name.endswith(".py")
    )


def presentable(text: str) -> str:
    """Return a sentence that may have a submission's words in it: printable, and not endless."""
    text = printable(str(text))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"


def _ask_all(job: Mapping, box, rebuilt: Rebuilt, tasks: Sequence[Exercise]):
    """Ask everything, and what chance may have spoiled once more; return the first outcome."""
    about = job["salt"], job["sha256"], job["version"]
    seeds = {e.name: [records.seed(*about)] for e in tasks}
    outcome, results, again = _ask(job, box, rebuilt, tasks, seeds)
    if again:
        for exercise in again:
            seeds[exercise.name].append(records.seed(*about, 1))
        _, second, _ = _ask(job, box, rebuilt, again, seeds)
        results |= second
    return outcome, results, seeds


def _ask(job: Mapping, box, rebuilt: Rebuilt, tasks: Sequence[Exercise], seeds: dict):
    probes_of = {e.name: e.ask(seeds[e.name][-1]) for e in tasks}
    # No points hang on these: they tell slips apart that look alike on the others.
    further = {e.name: e.further(seeds[e.name][-1]) for e in tasks}
    probes = [
        {
            "name": e.name,
            "variant": job["key"],
            "function": rebuilt.functions[e.name],
            "inputs": asdict(probe) | {"inputs": dict(probe.inputs)},
        }
        for e in tasks
        for probe in [*probes_of[e.name], *further[e.name]]
    ]
    outcome = box.run(rebuilt.cells, probes, job["helpers"])
    if outcome.status == transcript.FAULT or len(outcome.replies) != len(probes):
        raise GraderFault(outcome.reason or "the box did not answer all questions")
    results, again, start = {}, [], 0
    for exercise in tasks:
        asked = [*probes_of[exercise.name], *further[exercise.name]]
        replies = outcome.replies[start : start + len(asked)]
        start += len(asked)
        n = len(probes_of[exercise.name])
        result, by_chance = judge_exercise(exercise, asked, replies, n, outcome, rebuilt)
        results[exercise.name] = result
        again += [exercise] if by_chance else []
    return outcome, results, again


def judge_exercise(
    exercise: Exercise,
    probes: Sequence[Probe],
    replies: Sequence,
    n: int,
    outcome,
    rebuilt: Rebuilt,
) -> tuple[Result, bool]:
    """Judge the first `n` replies of one exercise, in order, up to the first that is wrong.

    Returns
    -------
    result : Result
        Of status "needs review" if a reply could not be compared.
    by_chance : bool
        Whether what failed was a statistic of random draws, so that it is worth asking again.

    Raises
    ------
    Fault
        If the reference itself fails.
    """

    pairs = list(zip(probes, replies, strict=True))

    def others():
        return [(p, _answer(o)) for p, o in pairs if o.status == transcript.ANSWERED]

    for probe, reply in pairs[:n]:
        if reply.status != transcript.ANSWERED:
            return _unanswered(exercise, probe, reply, outcome, rebuilt), False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about numbers that a submission made up
                result = exercise.judge_one(probe, _answer(reply), others)
        except Exception as error:
            _expect_reference(exercise, probe, error)
            return _result(exercise, records.REVIEW, UNSURE), False
        if result.status != RIGHT:
            return _result(exercise, result.status, result.sentence), probe.draws > 0
    return _result(exercise, RIGHT, ""), False


def _expect_reference(exercise: Exercise, probe: Probe, cause: Exception) -> None:
    try:
        exercise.expected(probe)
    except Exception as error:
        raise GraderFault(f"{exercise.name}: {type(error).__name__}: {error}") from cause


def _answer(reply) -> Answer:
    """Return a reply as the judge wants it. Kinds and errors are the submission's words."""
    kinds, error = reply.notes.get("kinds"), reply.notes.get("error")
    kinds = kinds if isinstance(kinds, dict) else {}
    if isinstance(error, dict):
        words = {
            k: presentable(str(error.get(k, ""))[:LONGEST]) for k in ("type", "message", "where")
        }
        words["message"] = DECIMALS.sub("…", words["message"])
        return Answer(error=words)
    names = dict.fromkeys([*kinds, *reply.arrays])
    values = {
        n: Value(presentable(kinds.get(n, "nothing"))[:60], reply.arrays.get(n)) for n in names
    }
    return Answer(values)


def _unanswered(exercise: Exercise, probe: Probe, reply, outcome, rebuilt: Rebuilt) -> Result:
    if reply.status == transcript.MISSING:
        return _missing(exercise, outcome, rebuilt)
    words = DECIMALS.sub("…", _numbered(str(reply.error), rebuilt)) if reply.error else ""
    if reply.status == transcript.RAISED:
        sentence = f"On {probe.name} it raised {words}."
    elif reply.status == transcript.REFUSED:
        why = reply.error.message if reply.error else "it is no plain array"
        sentence = f"On {probe.name} what it returned cannot be compared: {why}."
    elif reply.status == transcript.TIME:
        sentence = f"On {probe.name} it took too long and was stopped."
    elif reply.status == transcript.MEMORY:
        sentence = f"On {probe.name} it needed more memory than there is and was stopped."
    elif reply.status == transcript.CRASHED:
        sentence = f"On {probe.name} it crashed: {reply.error.message if reply.error else ''}."
    elif outcome.status == transcript.GRADED:
        return _result(exercise, records.REVIEW, UNSURE)
    else:
        why = _numbered(outcome.reason, rebuilt) or outcome.status
        sentence = f"It was not reached, since the notebook was stopped: {why}."
    return _result(exercise, WRONG, sentence)


def _missing(exercise: Exercise, outcome, rebuilt: Rebuilt) -> Result:
    kind = "class" if exercise.is_class else "function"
    absent = f"No {kind} `{rebuilt.functions[exercise.name]}` was there"
    place = rebuilt.places.get(exercise.name)
    if place is None:
        return _result(exercise, OPEN, f"{absent}: no cell defines it.")
    error = outcome.cells[place].error if place < len(outcome.cells) else None
    if error is None:
        return _result(exercise, WRONG, f"{absent} after all cells had run.")
    line = f" in line {error.line}" if error.line else ""
    where = f"code cell {rebuilt.numbers[place]}{line}"
    return _result(exercise, WRONG, f"{absent}: {where} raised {error.name}: {error.message}.")


def _numbered(reason: str, rebuilt: Rebuilt) -> str:
    """Count code cells as the student's notebook does, not as the rebuilt one."""

    def rename(match: re.Match) -> str:
        index = int(match[1]) - 1
        number = rebuilt.numbers[index] if index < len(rebuilt.numbers) else 0
        return f"code cell {number}" if number else "the setup cell"

    return re.sub(r"code cell (\d{1,6})", rename, reason)


def _result(exercise: Exercise, status: str, sentence: str) -> Result:
    points = exercise.points if status == RIGHT else 0
    return Result(exercise.name, status, presentable(sentence), points, exercise.points)
