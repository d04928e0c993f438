"""Grades and feedback in the form that Canvas and Moodle take back.

What is not graded, or not to the end, stays empty: a platform shows every number to a student, and
an empty cell to nobody.
"""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from coursekit.grading.book.gradebook import Row
from coursekit.grading.book.records import ABSENT
from coursekit.grading.book.review import table
from coursekit.grading.intake.collect import Entry
from coursekit.grading.intake.files import file_name
from coursekit.grading.intake.names import PATTERNS, stem
from coursekit.grading.sandbox.transcript import FAULT
from coursekit.results.files import replace_file

CANVAS, MOODLE = "canvas", "moodle"
PLATFORMS = (CANVAS, MOODLE)
CANVAS_COLUMNS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE_COLUMNS = ("Identifier", "Full name", "ID number", "Email address")
MOODLE_UNIT = re.compile(r"(.+?_\d+_assignsubmission_)[a-z]+(_?)(.*)", re.DOTALL)


def write(out: Path, rows: Sequence[Row], platform: str, column: str, out_of: float) -> list[str]:
    """Write a table of grades and a zip of feedback for a platform.

    Parameters
    ----------
    out : path
        Gets `PLATFORM.csv` and `PLATFORM_feedback.zip`; the pages lie in its folder `feedback`.
    rows : sequence of Row
    platform : {"canvas", "moodle"}
    column : str
        What the platform calls the assignment.
    out_of : float
        Most points.

    Returns
    -------
    list of str
        What was written, and of whom something is missing, in sentences.
    """
    if platform == CANVAS:
        possible = ["    Points Possible", "", "", "", "", f"{out_of:g}"]
        lines = [possible, *([*_canvas(row), _grade(row)] for row in rows)]
        content = table([*CANVAS_COLUMNS, column], lines)
    else:
        lines = [[*_moodle(row), _grade(row), f"{out_of:g}", _comments(row)] for row in rows]
        content = table([*MOODLE_COLUMNS, "Grade", "Maximum Grade", "Feedback comments"], lines)
    path, pages = out / f"{platform}.csv", out / f"{platform}_feedback.zip"
    replace_file(path, content)
    rows_with_page = [row for row in rows if row.status not in (ABSENT, FAULT)]
    members = {row.student: _member(row, platform) for row in rows_with_page}
    replace_file(pages, _zip(out / "feedback", members))
    sentences = [f"{path} has {sum(row.complete for row in rows)} grades of {len(rows)} students."]
    empty = [row.student for row in rows if not row.complete]
    if empty:
        why = "not handed in, not readable, or with points still to be given in review.csv"
        sentences.append(f"Empty there, since {why}: {_listed(empty)}.")
    nameless = [student for student, member in members.items() if not member]
    sentences.append(f"{pages} has {len(members) - len(nameless)} pages of feedback.")
    if nameless:
        source = f"names of an export of {platform.title()}, or its own list as --students"
        sentences.append(f"Not there, as it takes {source}: {_listed(nameless)}.")
    return sentences


def _listed(students: Sequence[str]) -> str:
    more = f" and {len(students) - 10} more" if len(students) > 10 else ""
    return f"{'; '.join(students[:10])}{more}"


def _grade(row: Row) -> str:
    return f"{row.total:g}" if row.complete else ""


def _first(cells: Mapping[str, str], *headers: str) -> str:
    return next((cells[header] for header in headers if cells.get(header)), "")


def _cells(row: Row) -> Mapping[str, str]:
    return row.person.cells if row.person else {}


def _own(row: Row) -> Entry:
    """Return a student's own copy, also where another one counts for the group."""
    return row.own or row.entry


def _number(row: Row, platform: str) -> str:
    """Return the number by which a platform knows a student, from the name of the file."""
    match = PATTERNS[platform].fullmatch(_own(row).unit)
    if platform == MOODLE and match:
        return match["student"].rpartition("_")[2]
    return match["id"] if match else ""


def _canvas(row: Row) -> list[str]:
    cells = _cells(row)
    own = "sis login id" in cells or "sis user id" in cells  # else its ids are not Canvas' numbers
    number = _number(row, CANVAS) if _own(row).platform == CANVAS else ""
    return [
        (own and cells.get("student")) or (row.person.name if row.person else "") or row.student,
        (own and cells.get("id")) or number,
        _first(cells, "sis user id", *(() if own else ("student id", "id number", "id"))),
        _first(cells, "sis login id", "login id", "login", "username", "user name"),
        cells.get("section", ""),
    ]


def _moodle(row: Row) -> list[str]:
    cells = _cells(row)
    number = _number(row, MOODLE) if _own(row).platform == MOODLE else ""
    return [
        cells.get("identifier") or (number and f"Participant {number}"),
        (row.person.name if row.person else "") or row.student.removesuffix(f"_{number}"),
        _first(cells, "id number", "student id", "id"),
        row.person.email if row.person else "",
    ]


def _comments(row: Row) -> str:
    if not row.complete:
        return ""
    lines = [
        f"{e['name']}: {e['points']:g} of {e['out_of']:g}. {e['sentence']}".strip()
        for e in row.record["exercises"]
    ]
    lines += [
        f"{w.name}: {w.points or 0:g} of {w.out_of:g}. {w.comment}".strip() for w in row.written
    ]
    return "\n".join([*lines, *row.told])


def _member(row: Row, platform: str) -> str:
    """Return the name under which a platform takes a page back, or "" if it is not known."""
    own = _own(row)
    if platform == CANVAS:
        return f"{stem(own.unit)}.html" if own.platform.startswith(CANVAS) else ""
    match = MOODLE_UNIT.fullmatch(own.unit) if own.platform == MOODLE else None
    if match:  # a folder of its own, or all files in one
        start, mark, flat = match.groups()
        return f"{start}file_feedback.html" if flat else f"{start}file{mark}/feedback.html"
    number = re.sub(r"\D", "", _cells(row).get("identifier", ""))
    name = row.person.name if row.person else ""
    return f"{name}_{number}_assignsubmission_file_/feedback.html" if name and number else ""


def _zip(folder: Path, members: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for student, name in sorted(members.items()):
            if name:
                # One time for all: the same pages give the same bytes.
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(info, (folder / f"{file_name(student)}.html").read_bytes())
    return content.getvalue()
