"""Explanations are read by a person: a table to fill in, and back into the totals.

The table goes through spreadsheet programs, which change separators, encodings and decimal points,
and run as a formula what begins like one.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coursekit.grading.book.gradebook import Row, Written
from coursekit.grading.intake.files import printable
from coursekit.results.files import replace_file

COLUMNS = ("student", "question", "explanation", "points", "comment")
MOST = 30_000  # characters of a cell; spreadsheets end at 32,767
EARLIER = "For an earlier text:"
# Also full-width, which some spreadsheets read alike; and what marks a cell as safe.
FORMULA = "=+@＝＋－＠'-"
# A cell begins here, too, for a program that takes another separator than ours and, with it, the
# quotation marks around a cell for text.
_CELL = rf"(^(?=!?\s*[{FORMULA}])|[\n;\t|](?=!? *[{FORMULA}]))"
BEGINNING = re.compile(_CELL.replace("!?", ""))
MARKED = re.compile(_CELL.replace("!?", "'") + "'")


@dataclass(frozen=True)
class Review:
    """A row of the table as a person left it."""

    student: str
    question: str
    explanation: str
    points: float | None
    comment: str
    exact: bool = True  # False: characters were lost on the way through a program


def safe(value: object) -> object:
    """Return a table cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    value = printable(value, lines=True)[:MOST]
    return BEGINNING.sub(r"\1'", value)


def table(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """Return a CSV file whose cells are safe, with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([safe(column) for column in columns])
    writer.writerows([safe(value) for value in line] for line in lines)
    return text.getvalue().encode("utf-8-sig")


def read(path: Path, questions: Mapping[str, float]) -> dict[tuple[str, str], Review]:
    """Return what was filled in, by the cells of student and question.

    Parameters
    ----------
    path : path
        May be missing.
    questions : dict
        Name to the most points.

    Raises
    ------
    ValueError
        If the table has other columns, or points that cannot be; nothing is overwritten then.
    """
    if not path.exists():
        return {}
    raw = path.read_bytes()
    try:
        text, exact = raw.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        text, exact = raw.decode("cp1252", "replace"), False
    mark = max(",;\t", key=text.split("\n", 1)[0].count)
    csv.field_size_limit(1 << 24)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)
    missing = set(COLUMNS) - set(lines.fieldnames or ())
    if missing:
        raise ValueError(f"{path}: expected columns {', '.join(COLUMNS)}, got no {missing.pop()}")
    reviews = {}
    for line in lines:
        student, question = line["student"] or "", line["question"] or ""
        points = _points(line["points"] or "", questions.get(question), path, lines.line_num)
        if not student and not question:
            continue
        comment = _bare(line["comment"] or "")
        row = Review(student, question, line["explanation"] or "", points, comment, exact)
        reviews[student, question] = row
    return reviews


def _points(text: str, most: float | None, path: Path, line: int) -> float | None:
    text = text.strip().replace(",", ".")
    if not text:
        return None
    try:
        points = float(text)
    except ValueError:
        points = -1.0
    if not 0 <= points <= (1e6 if most is None else most):
        upto = "" if most is None else f" to {most:g}"
        raise ValueError(
            f"{path}, line {line}: expected points from 0{upto}, got {text!r}; correct it and "
            "run again"
        )
    return points


def _bare(text: str) -> str:
    """Undo `safe`."""
    return MARKED.sub(r"\1", text)


def apply(rows: Sequence[Row], reviews: Mapping[tuple[str, str], Review]) -> list[Row]:
    """Return rows with the points that were filled in for the explanations they have now.

    Points for another text than the one handed in now count no more; the comment then says what
    they were.
    """
    return [
        replace(row, written=tuple(_apply(row, w, reviews) for w in row.written)) for row in rows
    ]


def _apply(row: Row, written: Written, reviews: Mapping) -> Written:
    review = _line(row, written, reviews)
    if review is None:
        return written
    if _alike(review, written.text):
        return replace(written, points=review.points, comment=review.comment)
    if review.points is None:
        return replace(written, comment=review.comment)
    comment = f"{EARLIER} {review.points:g} points. {review.comment}".strip()
    return replace(written, comment=comment)


def _line(row: Row, written: Written, reviews: Mapping) -> Review | None:
    """Return the line that says most about a text; a student's own goes before the group's."""
    lines = [reviews[key] for key in _keys(row, written.name) if key in reviews]
    lines = [one for one in lines if one.points is not None or one.comment]
    return min(
        lines, key=lambda one: (one.points is None, not _alike(one, written.text)), default=None
    )


def _keys(row: Row, question: str) -> list[tuple[object, str]]:
    # Points that were given before there was a class list stand under the name of the files.
    names = row.student, row.group, row.entry.called
    return [(safe(name), question) for name in names if name]


def _alike(review: Review, text: str) -> bool:
    # Programs change line ends, quotes and spaces; letters stay, if the encoding did.
    def letters(one: object) -> str:
        plain = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", str(one)).lower())
        return plain if review.exact else re.sub(r"[^a-z0-9]", "", plain)

    return letters(review.explanation) == letters(safe(text))


def write(path: Path, rows: Sequence[Row], reviews: Mapping[tuple[str, str], Review]) -> None:
    """Write the table anew; lines on others than these students stay as they are.

    A group has one line, and a line more for a member of whom somebody wrote one.
    """
    texts, here = {}, set()
    for row in rows:
        for one in row.written:
            here |= {*_keys(row, one.name)}
            if one.text or one.points is not None or one.comment:
                line = _line(row, one, reviews)
                own = not row.group or (line and line.student == safe(row.student))
                name = row.student if own else row.group
                points = "" if one.points is None else f"{one.points:g}"
                texts.setdefault((name, one.name), (one.text, points, one.comment))
    lines = [(*key, *text) for key, text in texts.items()]
    for key, old in reviews.items():
        if key not in here:
            points = "" if old.points is None else f"{old.points:g}"
            lines.append((old.student, old.question, old.explanation, points, old.comment))
    replace_file(path, table(COLUMNS, lines))
