"""From entries and records to one row per student: which copy counts, and how many points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from coursekit.grading.book.records import REVIEW, UNREADABLE
from coursekit.grading.intake.collect import Entry
from coursekit.grading.sandbox.transcript import FAULT


@dataclass(frozen=True)
class Written:
    """An explanation and what a person gave for it; `points` is None as long as nobody has."""

    name: str
    out_of: float
    text: str
    points: float | None = None
    comment: str = ""


@dataclass(frozen=True)
class Row:
    """What is known of one student.

    Attributes
    ----------
    student : str
    entry : Entry
        The copy that counts.
    record : dict
        Of that copy.
    written : tuple of Written
    about : tuple of str
        On copies and lateness, for the student as well.
    same_as : tuple of str
        Other students who handed in the same bytes: for the instructor only.
    """

    student: str
    entry: Entry
    record: Mapping[str, object]
    written: tuple[Written, ...] = ()
    about: tuple[str, ...] = ()
    late: bool = False
    same_as: tuple[str, ...] = field(default=())

    @property
    def status(self) -> str:
        return str(self.record["status"])

    @property
    def total(self) -> float | None:
        """Points so far; None where nothing could be graded, which is not 0."""
        if self.record["points"] is None:
            return None
        return self.record["points"] + sum(w.points or 0 for w in self.written)

    @property
    def to_review(self) -> tuple[str, ...]:
        """What a person must still look at."""
        reasons = [f"explanation of {w.name}" for w in self.written if w.text and w.points is None]
        if self.status in (UNREADABLE, FAULT, REVIEW):
            reasons.append(self.status)
        reasons += self.record.get("marks", ())
        return (*reasons, "late") if self.late else tuple(reasons)


def rows(
    entries: Sequence[Entry],
    records: Mapping[str, Mapping],
    deadline: datetime | None = None,
) -> list[Row]:
    """Return one row per student.

    Parameters
    ----------
    entries : sequence of Entry
        In order of time for each student.
    records : dict
        By the hash of the submission; what has none does not count.
    deadline : datetime, optional
        With a time zone. Copies after it count if there is none before it.

    Returns
    -------
    list of Row
        By student; explanations without points.
    """
    students: dict[str, list[Entry]] = {}
    owners: dict[str, set[str]] = {}
    for entry in entries:
        if entry.sha256 in records:
            students.setdefault(entry.student, []).append(entry)
            owners.setdefault(entry.sha256, set()).add(entry.student)
    table = []
    for student, copies in sorted(students.items()):
        entry, about, late = copy_that_counts(copies, records, deadline)
        record = records[entry.sha256]
        others = owners[entry.sha256] - {student} if record["status"] != UNREADABLE else set()
        written = tuple(
            Written(q["name"], q["out_of"], q["explanation"]) for q in record["questions"]
        )
        same = tuple(sorted(others))
        table.append(Row(student, entry, record, written, tuple(about), late, same))
    return table


def copy_that_counts(
    copies: Sequence[Entry], records: Mapping[str, Mapping], deadline: datetime | None
) -> tuple[Entry, list[str], bool]:
    """Return the copy that counts, sentences on why, and whether it is late.

    The latest counts, among those that can be read and belong to the lesson, and among these the
    ones in time.
    """
    fitting = [c for c in copies if records[c.sha256]["status"] != UNREADABLE] or list(copies)

    def is_late(entry: Entry) -> bool:
        return deadline is not None and datetime.fromisoformat(entry.when) > deadline

    in_time = [c for c in fitting if not is_late(c)]
    entry = max(in_time or fitting, key=lambda c: (c.when, c.name))
    about = []
    if len(fitting) > 1:
        why = " handed in in time" if in_time and len(in_time) < len(fitting) else ""
        about.append(f"Of {len(fitting)} copies the latest{why} counts: {entry.name}.")
    late = is_late(entry)
    if late:
        delay = datetime.fromisoformat(entry.when) - deadline
        hours, minutes = divmod(int(delay.total_seconds()) // 60, 60)
        about.append(f"Handed in {hours} h {minutes} min after the deadline.")
    return entry, about, late
