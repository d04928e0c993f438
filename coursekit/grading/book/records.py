"""One JSON file per submission and version of the exercises: what was decided, and from what.

Records are written whole or not at all, so grading may be killed at any time and goes on later.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import coursekit
from coursekit.exercises import bank, comparing, driving, exercise
from coursekit.grading.sandbox.transcript import CRASHED, FAULT, GRADED, MEMORY, TIME
from coursekit.results.files import replace_file
from coursekit.results.store import machine

FORMAT = 1
RULES = 1  # to be raised when a change to this package may change a grade
UNREADABLE, REVIEW = "unreadable", "needs review"
# Temporary files of a grading that was killed; only ours, as the folder may hold other things.
LEFT_BEHIND = (
    "records/.*.json.*",
    "intake/.????????????????*.*",
    "feedback/.*.html.*",
    ".grades.csv.*",
    ".grades.json.*",
    ".review.csv.*",
    ".intake.json.*",
)
STATUSES = (GRADED, UNREADABLE, TIME, MEMORY, CRASHED, FAULT, REVIEW)


def version(lesson: str, key: str | None = None) -> str:
    """Return a short hash of what decides about grades: exercises, references, comparison, key.

    Raises
    ------
    ValueError
        If no lesson with exercises has this number.
    """
    exercises = bank.of_lesson(lesson, key)
    files = [inspect.getsourcefile(module) for module in (comparing, driving, exercise)]
    # A topic may be spread over modules that begin with its name.
    files += Path(exercise.__file__).parent.glob(f"{bank.TOPICS[lesson]}*.py")
    root = Path(coursekit.__file__).parent
    for one in exercises:
        with suppress(TypeError, OSError):  # a reference written in C has no source
            path = Path(inspect.getsourcefile(inspect.unwrap(one.reference)) or "")
            files += [path] if root in path.parents else []
    digest = hashlib.sha256(f"{RULES} {lesson} {key}".encode())
    for path in sorted({Path(path) for path in files}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def seed(sha256: str, of_version: str, attempt: int = 0) -> int:
    """Return the seed of a submission's random inputs: its own, and the same in every rerun."""
    digest = hashlib.sha256(f"{sha256} {of_version} {attempt}".encode()).hexdigest()
    return int(digest[:8], 16)


def new(sha256: str, of_version: str, lesson: str, status: str, reason: str, **more) -> dict:
    """Return a record. `more` are its exercises, notes, seconds and so on, as JSON values."""
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
