"""One JSON file per submission and version of the exercises: what was decided, and from what.

Records are written whole or not at all, so grading may be killed at any time and goes on later.
"""

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from coursekit.exercises import bank
from coursekit.exercises.exercise import Exercise
from coursekit.grading.sandbox.transcript import CRASHED, FAULT, GRADED, MEMORY, TIME
from coursekit.results.files import replace_file
from coursekit.results.fingerprint import fingerprint
from coursekit.results.store import machine

FORMAT = 1
RULES = 2  # to be raised when a change to `coursekit.grading` may change a grade
# Of an exercise, what is read and not run; and the conventions of other classes.
NOT_DECISIVE = {"task", "hints", "why", "example", "given", "picture", "variants"}
NOT_DECISIVE |= {"level", "minutes", "skill", "section", "rights", "slips", "harmless"}
UNREADABLE, REVIEW, ABSENT = "unreadable", "needs review", "not handed in"
# Temporary files of a grading that was killed; only ours, as the folder may hold other things.
LEFT_BEHIND = (
    "records/.*.json.*",
    "intake/.????????????????*.*",
    "feedback/.*.html.*",
    ".grades.csv.*",
    ".grades.json.*",
    ".review.csv.*",
    ".intake.json.*",
    ".intake.csv.*",
    ".canvas.csv.*",
    ".canvas_feedback.zip.*",
    ".moodle.csv.*",
    ".moodle_feedback.zip.*",
)
STATUSES = (GRADED, UNREADABLE, ABSENT, TIME, MEMORY, CRASHED, FAULT, REVIEW)


def version(lesson: str, key: str | None = None) -> str:
    """Return a short hash of what decides about grades and their sentences.

    The random inputs, references, drivers, statistics, slips and points of the exercises, how
    replies are compared, and all that these call, wherever it stands in the course. Comments,
    docstrings, and what a learner reads before or after an answer do not count.

    Raises
    ------
    ValueError
        If no lesson with exercises has this number.
    """
    exercises = [_decisive(one) for one in bank.of_lesson(lesson, key)]
    questions = [(one.name, one.points) for one in bank.questions_of(lesson)]
    return fingerprint(RULES, lesson, key, Exercise, exercises, questions, text=True)[:12]


def _decisive(exercise: Exercise) -> dict[str, object]:
    names = {field.name for field in fields(exercise)} - NOT_DECISIVE
    slips = [(slip.code.text, slip.sentence) for slip in exercise.slips]
    # The solution is a slip where a class has another convention.
    answers = {"slips": slips, "solution": exercise.rights[0].text}
    return {name: getattr(exercise, name) for name in names} | answers


def salt(out: Path) -> str:
    """Return the secret of a folder of grades; made, and kept for reruns, where there is none.

    Without it a student could compute the random inputs of any file, and try comments until a
    wrong answer passes.
    """
    path = out / "salt"
    try:
        found = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        found = ""
    if found:
        return found
    out.mkdir(parents=True, exist_ok=True)
    replace_file(path, f"{secrets.token_hex(16)}\n".encode())
    path.chmod(0o600)
    return salt(out)


def seed(salt: str, sha256: str, of_version: str, attempt: int = 0) -> int:
    """Return the seed of a submission's random inputs: its own, and the same in every rerun."""
    text = f"{sha256} {of_version} {attempt}"
    return int(hmac.new(salt.encode(), text.encode(), "sha256").hexdigest()[:8], 16)


def new(sha256: str, of_version: str, lesson: str, status: str, reason: str, **more) -> dict:
    """Return a record. `more` are its exercises, notes, seconds and so on, as JSON values.

    `sha256` is the submission's: the notebook's, or one of the notebook and the files beside it,
    whose own hashes stand under "beside".
    """
    return {
        "format": FORMAT,
        "sha256": sha256,
        "version": of_version,
        "lesson": lesson,
        "status": status,
        "rule": "",
        "reason": reason,
        "points": None,
        "out_of": None,
        "exercises": [],
        "questions": [],
        "notes": [],
        "marks": [],
        "beside": {},
        "seconds": 0.0,
        "memory": 0,
        "attempts": 1,
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    } | more


def path_of(folder: Path, sha256: str, of_version: str) -> Path:
    """Return where a record lies."""
    return folder / f"{sha256}-{of_version}.json"


def write(folder: Path, record: Mapping[str, object]) -> None:
    """Store a record, whole or not at all."""
    content = json.dumps(record, indent=1, allow_nan=False).encode()
    replace_file(path_of(folder, record["sha256"], record["version"]), content)


def read(folder: Path, sha256: str, of_version: str) -> dict | None:
    """Return a stored record; None if there is none, or it cannot be trusted."""
    try:
        text = path_of(folder, sha256, of_version).read_text(encoding="utf-8")
        record = json.loads(text)
    except (OSError, ValueError):
        return None
    wanted = {"format": FORMAT, "sha256": sha256, "version": of_version}
    whole = isinstance(record, dict) and wanted.items() <= record.items()
    return record if whole and record.get("status") in STATUSES else None


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Keep a second grading out of a folder, and clear what a killed one left half-written.

    Raises
    ------
    RuntimeError
        If another process grades into this folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as file:
        try:
            import fcntl  # not on Windows, where --trust works without a lock

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError as error:
            message = f"expected {out} for itself, got another grading that runs in it"
            raise RuntimeError(f"{message}; try --out, or wait for it") from error
        for pattern in LEFT_BEHIND:
            for left in out.glob(pattern):
                left.unlink(missing_ok=True)
        yield
