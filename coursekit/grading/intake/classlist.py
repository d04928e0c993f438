"""The list of a class: who should have handed in, and who is who in a platform's names."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

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
}
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
    """

    student: str
    name: str
    email: str
    cells: dict[str, str] = field(hash=False, default_factory=dict)
    logins: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


def read(path: str | Path) -> list[Person]:
    """Return the people of a list.

    Parameters
    ----------
    path : path
        A table as CSV, with a line of headers. The gradebook that Canvas exports is one, and so is
        Moodle's grading worksheet.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If no column says who somebody is, or nobody is on the list, or one name stands there twice.
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
    if not set(headers) & {header for known in HEADERS.values() for header in known}:
        raise ValueError(
            f"{path}: expected a first line with a column student, id, name or email, got "
            f"{', '.join(filter(None, headers))[:200] or 'nothing'}; add one above the first person"
        )
    people = [_person(line) for line in lines]
    people = [person for person in people if person is not None]
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
    return people


def _told_apart(person: Person) -> Person:
    numbers = sorted(person.ids) or [person.email]
    return replace(person, student=f"{person.student}_{numbers[0]}") if numbers[0] else person


def _person(line: dict) -> Person | None:
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
    numbers = [*ids, *(re.sub(r"\D", "", one) for one in ids if one.startswith("Participant"))]
    return Person(
        student_name(known[0]),
        full[0] if full else "",
        emails[0] if emails else "",
        cells,
        frozenset(map(letters, logins)) - {""},
        frozenset(map(letters, numbers)) - {""},
        frozenset(order for one in full for order in _orders(one)) - {""},
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
    student among the files have it: another's work must not become theirs.

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
    return who | {alone[0]: person for person, alone in same_name.items() if len(alone) == 1}


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
