"""From entries and records to one row per student: which copy counts, and how many points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from coursekit.grading.book.records import ABSENT, REVIEW, UNREADABLE, new
from coursekit.grading.intake.classlist import Person
from coursekit.grading.intake.collect import BESIDE_ONE, LEFT_OUT, Entry
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
    late : bool
        After the deadline, or marked so by the platform.
    minutes_late : int or None
        None where no time is known, or there is no deadline.
    same_as : tuple of str
        Other students who handed in the same notebook: for the instructor only.
    person : Person, optional
        Of the class list.
    on_list : bool
        False for somebody who is not on it.
    """

    student: str
    entry: Entry
    record: Mapping[str, object]
    written: tuple[Written, ...] = ()
    about: tuple[str, ...] = ()
    late: bool = False
    same_as: tuple[str, ...] = ()
    minutes_late: int | None = None
    person: Person | None = None
    on_list: bool = True

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
        reasons += ["not on the class list"] if not self.on_list else []
        return (*reasons, "late") if self.late else tuple(reasons)

    @property
    def complete(self) -> bool:
        """Whether every part has its points, so that the total is a grade."""
        waits = any(w.text and w.points is None for w in self.written)
        return self.total is not None and self.status not in (FAULT, REVIEW) and not waits


def rows(
    entries: Sequence[Entry],
    records: Mapping[str, Mapping],
    deadline: datetime | None = None,
    people: Sequence[Person] = (),
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
    people : sequence of Person
        The class list; who is on it and handed in nothing has a row as well.

    Returns
    -------
    list of Row
        By student; explanations without points.
    """
    students: dict[str, list[Entry]] = {}
    owners: dict[str, set[str]] = {}
    for entry in entries:
        # A file beside a notebook may be a copy of one.
        if entry.identity in records and entry.rule not in (BESIDE_ONE, LEFT_OUT):
            students.setdefault(entry.student, []).append(entry)
            owners.setdefault(entry.sha256, set()).add(entry.student)
    by_student = {person.student: person for person in people}
    table = []
    for student, copies in sorted(students.items()):
        entry, about = copy_that_counts(copies, records, deadline)
        late, minutes = lateness(entry, deadline)
        record = records[entry.identity]
        others = owners[entry.sha256] - {student} if record["status"] != UNREADABLE else set()
        written = tuple(
            Written(q["name"], q["out_of"], q["explanation"]) for q in record["questions"]
        )
        same, person = tuple(sorted(others)), by_student.get(student)
        on_list = person is not None or not people
        more = same, minutes, person, on_list
        about += entry.told
        table.append(Row(student, entry, record, written, tuple(about), late, *more))
    table += [_absent(person) for person in people if person.student not in students]
    return sorted(table, key=lambda row: row.student)


def _absent(person: Person) -> Row:
    nothing = new("", "", "", ABSENT, "Nothing was handed in.")
    return Row(person.student, Entry(person.student, "", "", 0, "", False), nothing, person=person)


def lateness(entry: Entry, deadline: datetime | None) -> tuple[bool, int | None]:
    """Return whether a copy is late, and by how many minutes, begun ones included.

    Where an export has no time, the platform's own mark decides, and the minutes are not known.
    """
    if deadline is None or not entry.timed:
        return entry.late, None
    seconds = (datetime.fromisoformat(entry.when) - deadline).total_seconds()
    return seconds > 0, max(0, ceil(seconds / 60))


def copy_that_counts(
    copies: Sequence[Entry], records: Mapping[str, Mapping], deadline: datetime | None
) -> tuple[Entry, list[str]]:
    """Return the copy that counts, and sentences on why and on lateness.

    The latest counts, among those that can be read and belong to the lesson, and among these the
    ones in time.
    """
    fitting = [c for c in copies if records[c.identity]["status"] != UNREADABLE] or list(copies)
    in_time = [c for c in fitting if not lateness(c, deadline)[0]]
    entry = max(in_time or fitting, key=lambda c: c.order)
    about = []
    if len(fitting) > 1:
        why = " handed in in time" if in_time and len(in_time) < len(fitting) else ""
        about.append(f"Of {len(fitting)} copies the latest{why} counts: {entry.name}.")
    late, minutes = lateness(entry, deadline)
    if late and minutes is not None:
        hours, rest = divmod(minutes, 60)
        about.append(f"Handed in {hours} h {rest} min after the deadline.")
    elif late:
        about.append("Handed in late, as the platform marked it.")
    return entry, about
