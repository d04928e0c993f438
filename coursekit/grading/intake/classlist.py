"""The list of a class: who should have handed in, by when and with whom, and who is who."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from coursekit.grading.intake.collect import Entry
from coursekit.grading.intake.files import student_name

# What a column is called in lists of people's own, and in what Canvas and Moodle export.
HEADERS = {
    "student": ("student", "username", "user name", "login", "login id", "sis login id"),
    "id": ("id", "student id", "id number", "sis user id", "sid", "identifier", "user id"),
    "name": ("name", "full name", "student name"),
    "first": ("first name", "firstname", "given name"),
    "last": ("last name", "lastname", "surname", "family name"),
    "email": ("email", "e-mail", "email address", "mail"),
    "deadline": ("extension", "deadline"),
    "group": ("group", "team"),
}
SAYS_WHO = ("student", "id", "name", "first", "last", "email")
DAY_FIRST = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4})")  # as spreadsheets write dates in Europe
NO_PERSON = re.compile(r"\s*(points possible|student, test)?\s*", re.IGNORECASE)  # lines of Canvas


@dataclass(frozen=True)
class Person:
    """A line of the list.

    Attributes
    ----------
    student : str
        What grades.csv calls them.
    name, email : str
        "" where the list does not say.
    cells : dict
        The whole line, by its headers in small letters.
    logins, ids, names : frozenset of str
        By which files name them, in small letters without marks.
    deadline : datetime or None
        Of their own, with a time zone.
    group : str
        Whom they work with has the same; "" for who works alone.
    """

    student: str
    name: str
    email: str
    cells: dict[str, str] = field(hash=False, default_factory=dict)
    logins: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    deadline: datetime | None = None
    group: str = ""


def moment(text: str, zone: tzinfo | None = None) -> datetime:
    """Return a deadline as people write it: "2026-12-01 23:59 Europe/Berlin", or a date alone.

    A date alone lasts until its end, and so does a day whose time is 23:59.

    Parameters
    ----------
    text : str
        A date as 2026-12-01 or 1.12.2026; then, if there is one, a time, and an offset (+01:00) or
        the name of a time zone.
    zone : tzinfo, optional
        Of a text that names none; by default this machine's.

    Returns
    -------
    datetime
        With a time zone.

    Raises
    ------
    ValueError
        If this is no such date, or the zone is not known.

    Examples
    --------
    >>> moment("2026-12-01 23:59 Europe/Berlin").isoformat()
    '2026-12-01T23:59:59+01:00'
    """
    stamp = text.strip()
    if match := DAY_FIRST.match(stamp):
        stamp = f"{match[3]}-{match[2]:0>2}-{match[1]:0>2}{stamp[match.end() :]}"
    try:
        named = re.fullmatch(r"(.*\d) ([A-Za-z][\w/+-]+)", stamp)
        if named:
            stamp, zone = named[1], ZoneInfo(named[2])
        when = datetime.fromisoformat(stamp)
    except (ValueError, KeyError, OSError) as error:  # also of zones that are not there
        raise ValueError(
            f"expected a time as in 2026-12-01, 2026-12-01 23:59 or 2026-12-01 23:59 Europe/Berlin,"
            f" got {text!r}; write year, month and day in this order"
        ) from error
    if len(stamp) <= len("2026-12-01") or (when.hour, when.minute) == (23, 59):
        when = when.replace(hour=23, minute=59, second=59)
    if when.tzinfo:
        return when
    return when.replace(tzinfo=zone) if zone else when.astimezone()


def read(path: str | Path, zone: tzinfo | None = None) -> list[Person]:
    """Return the people of a list.

    Parameters
    ----------
    path : path
        A table as CSV, with a line of headers. The gradebook that Canvas exports is one, and so is
        Moodle's grading worksheet. A column `extension` or `deadline` has times as `moment` takes
        them, a column `group` names of groups.
    zone : tzinfo, optional
        Of times that name none; by default this machine's.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If no column says who somebody is, or nobody is on the list, or one name stands there twice,
        or is a group's and another student's, or a time cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a class list as CSV, got no file {path}")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    mark = max(",;\t", key=text.split("\n", 1)[0].count)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)
    headers = [(header or "").strip().lower() for header in lines.fieldnames or ()]
    lines.fieldnames = headers
    if not set(headers) & {header for what in SAYS_WHO for header in HEADERS[what]}:
        raise ValueError(
            f"{path}: expected a first line with a column student, id, name or email, got "
            f"{', '.join(filter(None, headers))[:200] or 'nothing'}; add one above the first person"
        )
    people = []
    for line in lines:
        try:
            person = _person(line, zone)
        except ValueError as error:
            raise ValueError(f"{path}, line {lines.line_num}: {error}") from error
        people += [person] if person else []
    if not people:
        raise ValueError(f"{path}: expected a line for each student, got none")
    named: dict[str, int] = {}
    for person in people:
        named[person.student] = named.get(person.student, 0) + 1
    people = [_told_apart(p) if named[p.student] > 1 else p for p in people]
    students = [person.student for person in people]
    twice = sorted({student for student in students if students.count(student) > 1})
    if twice:
        raise ValueError(f"{path}: expected each student once, got {', '.join(twice[:5])} twice")
    return _grouped(people, path)


def _grouped(people: Sequence[Person], path: Path) -> list[Person]:
    """Return people with one spelling for each group; who is alone in a group has none."""
    groups: dict[str, list[Person]] = {}
    for person in people:
        groups.setdefault(_folded(person.group), []).append(person)
    spelling = {key: one[0].group for key, one in groups.items() if key and len(one) > 1}
    both = sorted({_folded(person.student) for person in people} & spelling.keys())
    if both:
        raise ValueError(
            f"{path}: expected groups with names of their own, got {', '.join(both[:5])} for a "
            "group and a student; put a word before the group's, as in team 1"
        )
    return [_in_group(person, spelling.get(_folded(person.group), "")) for person in people]


def _in_group(person: Person, group: str) -> Person:
    # Moodle writes "Team 1-Ada Lovelace" where a group hands in together.
    teamed = {letters(group) + name for name in person.names} if group else set()
    return replace(person, group=group, names=person.names | teamed)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _told_apart(person: Person) -> Person:
    numbers = sorted(person.ids) or [person.email]
    return replace(person, student=f"{person.student}_{numbers[0]}") if numbers[0] else person


def _person(line: dict, zone: tzinfo | None) -> Person | None:
    cells = {k: (v or "").strip() for k, v in line.items() if k and isinstance(v, str | None)}

    def values(what: str) -> list[str]:
        return [cells[header] for header in HEADERS[what] if cells.get(header)]

    first, last = " ".join(values("first")[:1]), " ".join(values("last")[:1])
    full = values("name") + ([f"{first} {last}".strip()] if first or last else [])
    students, ids, emails = values("student"), values("id"), values("email")
    known = [*students, *full, *emails, *ids]
    if not known or NO_PERSON.fullmatch(known[0]):
        return None
    # Canvas has "Lovelace, Ada" in its column Student.
    full += [student for student in students if "," in student or " " in student]
    logins = [*students, *emails, *(email.partition("@")[0] for email in emails)]
    deadlines = [moment(text, zone) for text in values("deadline")]
    numbers = [*ids, *(re.sub(r"\D", "", one) for one in ids if one.startswith("Participant"))]
    return Person(
        student_name(known[0]),
        full[0] if full else "",
        emails[0] if emails else "",
        cells,
        frozenset(map(letters, logins)) - {""},
        frozenset(map(letters, numbers)) - {""},
        frozenset(order for one in full for order in _orders(one)) - {""},
        max(deadlines, default=None),
        " ".join(values("group")[:1]),
    )


def letters(text: str) -> str:
    """Return a text in small letters, without marks on them, and without all else."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in plain if c.isalnum())


def _orders(name: str) -> set[str]:
    """Return a name as platforms write it: "Ada Lovelace", "Lovelace, Ada", "lovelaceada"."""
    last, comma, first = name.partition(",")
    words = name.split()
    turned = f"{first} {last}" if comma else f"{words[-1]} {' '.join(words[:-1])}"
    return {letters(name), letters(turned)}


def match(entries: Sequence[Entry], people: Sequence[Person]) -> dict[str, Person]:
    """Return who on the list the students of some files are.

    A number or login decides before a name. A name decides only if one person on the list and one
    student among the files have it: another's work must not become theirs. What has a group's name
    is its first member's.

    Parameters
    ----------
    entries : sequence of Entry
    people : sequence of Person

    Returns
    -------
    dict
        Student, as the files call them, to person; without those of whom the list does not know.
    """
    platforms = {entry.student: entry.platform for entry in entries if entry.student}
    by_mark = _index((key, p) for p in people for key in p.logins | p.ids)
    named = _index((key, p) for p in people for key in p.names)
    who: dict[str, Person] = {}
    for student, platform in platforms.items():
        for wanted in ({letters(student)}, _marks_of(student, platform)):
            persons = set().union(*(by_mark.get(key, ()) for key in wanted))
            if len(persons) == 1:
                [who[student]] = persons
                break
    taken = {person.student for person in who.values()}
    same_name: dict[Person, list[str]] = {}
    for student in platforms.keys() - who.keys():
        persons = set().union(*(named.get(key, ()) for key in _names_of(student)))
        if len(persons) == 1 and not {person.student for person in persons} & taken:
            same_name.setdefault(persons.pop(), []).append(student)
    who |= {alone[0]: person for person, alone in same_name.items() if len(alone) == 1}
    groups: dict[str, dict[str, Person]] = {}
    for person in people:
        if person.group:
            groups.setdefault(letters(person.group), {}).setdefault(person.group, person)
    for student in platforms.keys() - who.keys():
        keys = ({letters(student)} | _names_of(student)) - {""}
        firsts = {first for key in keys for first in groups.get(key, {}).values()}
        if len(firsts) == 1:
            [who[student]] = firsts
    return who


def _index(pairs: Iterable[tuple[str, Person]]) -> dict[str, set[Person]]:
    index: dict[str, set[Person]] = {}
    for key, person in pairs:
        index.setdefault(key, set()).add(person)
    return index


def _marks_of(student: str, platform: str) -> set[str]:
    """Return the number, and the login that ILIAS has before it, of a platform's name."""
    pieces = student.split("_")
    numbered = len(pieces) > 3 and pieces[-1].isdigit()
    if not numbered and not (platform and len(pieces) > 1):
        return set()
    return {letters(piece) for piece in pieces[-2 if numbered else -1 :]} - {""}


def _names_of(student: str) -> set[str]:
    pieces = [piece for piece in student.split("_") if piece]
    while len(pieces) > 1 and any(c.isdigit() or c == "@" for c in pieces[-1]):
        pieces.pop()
    # ILIAS writes LAST_FIRST_LOGIN_NUMBER.
    return {letters("".join(pieces)), letters("".join(pieces[:2]))}


def renamed(entries: Iterable[Entry], who: dict[str, Person]) -> list[Entry]:
    """Return entries under the names of the list; what the files call them is kept."""
    return [
        replace(entry, student=who[entry.student].student, called=entry.student)
        if entry.student in who
        else entry
        for entry in entries
    ]
