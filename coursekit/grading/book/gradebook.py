"""From entries and records to one row per student: which copy counts, and how many points."""

import re
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


UNTIMED = "It is not known when this was handed in, so nothing is taken off for being late."
MINUTES = {"hour": 60, "day": 24 * 60, "week": 7 * 24 * 60}
AMOUNT = r"(\d+(?:[.,]\d+)?) ?(%|percent|points?)"
RULE = re.compile(
    rf"{AMOUNT}(?: ?(?:per|an?|/) ?(hour|day|week))?(?:,? (?:at most|up to) {AMOUNT})?"
)


@dataclass(frozen=True)
class Penalty:
    """What being late costs.

    Attributes
    ----------
    rule : str
        In words, for the student.
    step, most : (float, bool)
        What each begun period costs, and all of them at most; True: in percent of the most points
        that there are, False: in points.
    period : int or None
        Minutes; None: `step` is the price of any delay.
    """

    rule: str
    step: tuple[float, bool]
    most: tuple[float, bool]
    period: int | None

    def points(self, minutes_late: int, out_of: float) -> float:
        """Return what is taken off, in points, of a copy that is so many minutes late."""
        periods = ceil(minutes_late / self.period) if self.period else minutes_late > 0
        step, most = (n * out_of / 100 if percent else n for n, percent in (self.step, self.most))
        return min(periods * step, most)


def penalty(rule: str) -> Penalty:
    """Return what being late costs, from words.

    Parameters
    ----------
    rule : str
        As in "10% per day, at most 50%", "2 points per hour" or, whatever the delay, "20%". Percent
        are of the most points that there are; an hour, day or week counts as soon as it has begun.

    Returns
    -------
    Penalty

    Raises
    ------
    ValueError
        If the words say something else, or take nothing or more than 100 %.

    Examples
    --------
    >>> penalty("10% per day, at most 50%").points(1500, out_of=20)  # a day and an hour
    4.0
    """
    words = " ".join(rule.lower().split())
    match = RULE.fullmatch(words)
    pairs = [match.group(1, 2), match.group(4, 5)] if match else []
    amounts = [(float(n.replace(",", ".")), not unit.startswith("point")) for n, unit in pairs if n]
    if not amounts or not all(0 < n <= (100 if percent else 1e6) for n, percent in amounts):
        raise ValueError(
            'expected a rule as in "10% per day, at most 50%", "2 points per hour" or "20%", got '
            f"{rule!r}; use points or %, hour, day or week, and amounts above 0, up to 100 %"
        )
    return Penalty(words, amounts[0], (*amounts, (100.0, True))[1], MINUTES.get(match[3]))


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
    deadline : datetime or None
        That holds for them.
    penalty : Penalty, optional
        Where there is a rule.
    own : Entry, optional
        What they handed in themselves, where another member's copy counts for the group.
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
    deadline: datetime | None = None
    penalty: Penalty | None = None
    own: Entry | None = None

    @property
    def status(self) -> str:
        return str(self.record["status"])

    @property
    def raw(self) -> float | None:
        """Points so far, before a deduction; None where nothing could be graded, which is not 0."""
        if self.record["points"] is None:
            return None
        return self.record["points"] + sum(w.points or 0 for w in self.written)

    @property
    def days_late(self) -> int | None:
        """Begun days; None where `minutes_late` is."""
        return None if self.minutes_late is None else ceil(self.minutes_late / MINUTES["day"])

    @property
    def deduction(self) -> float | None:
        """Points taken off for being late, at most all; None without a rule, or without points."""
        if self.penalty is None or self.raw is None:
            return None
        points = self.penalty.points(self.minutes_late or 0, self.record["out_of"])
        return min(self.raw, round(points, 2))

    @property
    def total(self) -> float | None:
        """Points so far, after a deduction; None where `raw` is."""
        return round(self.raw - self.deduction, 2) if self.deduction else self.raw

    @property
    def group(self) -> str:
        return self.person.group if self.person else ""

    @property
    def told(self) -> tuple[str, ...]:
        """Sentences on copies, lateness and what it costs, for the student as well."""
        if not self.deduction:
            return self.about
        off = f"{self.deduction:g} of {self.raw:g} points are taken off for being late"
        return (*self.about, f"{off}: {self.penalty.rule}.")

    @property
    def to_review(self) -> tuple[str, ...]:
        """What a person must still look at."""
        reasons = [f"explanation of {w.name}" for w in self.written if w.text and w.points is None]
        if self.status in (UNREADABLE, FAULT, REVIEW):
            reasons.append(self.status)
        reasons += self.record.get("marks", ())
        reasons += ["not on the class list"] if not self.on_list else []
        settled = self.penalty is not None and self.minutes_late is not None
        return (*reasons, "late") if self.late and not settled else tuple(reasons)

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
    late: Penalty | None = None,
) -> list[Row]:
    """Return one row per student.

    Parameters
    ----------
    entries : sequence of Entry
        In order of time for each student.
    records : dict
        By the hash of the submission; what has none does not count.
    deadline : datetime, optional
        With a time zone. Copies after it count if there is none before it. A later one on the class
        list holds for its student, and for the whole group.
    people : sequence of Person
        The class list; who is on it and handed in nothing has a row as well. One copy counts for
        all of a group.
    late : Penalty, optional

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
    units: dict[tuple[str, str], dict[str, Person | None]] = {}
    for person in people:
        key = (person.group, "") if person.group else ("", person.student)
        units.setdefault(key, {})[person.student] = person
    strangers = students.keys() - {person.student for person in people}
    units |= {("", student): {student: None} for student in strangers}
    table = []
    for (group, _), members in units.items():
        copies = [entry for student in members for entry in students.get(student, ())]
        if not copies:
            table += [_absent(person) for person in members.values() if person]
            continue
        dates = [deadline, *(person.deadline for person in members.values() if person)]
        due = max(filter(None, dates), default=None)
        entry, about = copy_that_counts(copies, records, due)
        if due != deadline:
            about.append(f"The deadline was {'extended to ' if deadline else ''}{clock(due)}.")
        if late and due and not entry.timed:
            about.append(UNTIMED)
        if group:
            about.append(f"Handed in for the group {group}: {', '.join(members)}.")
        is_late, minutes = lateness(entry, due)
        record = records[entry.identity]
        others = owners[entry.sha256] - members.keys() if record["status"] != UNREADABLE else ()
        written = tuple(
            Written(q["name"], q["out_of"], q["explanation"]) for q in record["questions"]
        )
        for student, person in members.items():
            own = entry
            if entry.student != student:
                own = max(students.get(student, ()), key=lambda c: c.order, default=_none(student))
            # In an export, the same file may stand under the name of each member.
            counts = own if own.sha256 and own.identity == entry.identity else entry
            told, same = (*about, *counts.told), tuple(sorted(others))
            on_list = person is not None or not people
            more = same, minutes, person, on_list, due, late, own
            table.append(Row(student, counts, record, written, told, is_late, *more))
    return sorted(table, key=lambda row: row.student)


def _none(student: str) -> Entry:
    return Entry(student, "", "", 0, "", False)


def _absent(person: Person) -> Row:
    nothing = new("", "", "", ABSENT, "Nothing was handed in.")
    return Row(person.student, _none(person.student), nothing, person=person)


def clock(when: datetime) -> str:
    """Return a time in words, with its zone."""
    return f"{when:%Y-%m-%d %H:%M} {when.tzname()}"


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
    ones in time. Of each member of a group, attempts count before times; between members, times.
    """
    fitting = [c for c in copies if records[c.identity]["status"] != UNREADABLE] or list(copies)
    in_time = [c for c in fitting if not lateness(c, deadline)[0]]
    latest = {c.student: c for c in sorted(in_time or fitting, key=lambda c: c.order)}
    entry = max(latest.values(), key=lambda c: (c.when if c.timed else "", c.order))
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
