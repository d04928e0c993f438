"""What a student is told: one page, self-contained, in which everything of a student is text.

A page is made from one student's row alone, so nothing of another can be in it.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from coursekit.exercises.exercise import OPEN, RIGHT
from coursekit.grading.book.gradebook import Row, Written
from coursekit.grading.book.records import ABSENT, REVIEW, UNREADABLE
from coursekit.grading.intake.files import file_name, printable
from coursekit.grading.sandbox.transcript import CRASHED, FAULT, GRADED, MEMORY, TIME
from coursekit.results.files import replace_file

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0 }}
tr {{ border-bottom: 1px solid #ccc }}
blockquote {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 1rem }}
.about {{ color: #555; font-size: .9rem; overflow-wrap: anywhere }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

# What each status means to a student, before the reason. A fault of ours is none of theirs.
MEANING = {
    GRADED: "",
    UNREADABLE: "It could not be graded, which is not 0: your instructor will look at it.",
    ABSENT: "",
    TIME: "It took too long and was stopped; what was answered by then counts.",
    MEMORY: "It needed more memory than there is; what was answered by then counts.",
    CRASHED: "It ended its own process; what was answered by then counts.",
    FAULT: "Grading failed through no fault of yours. It will be repeated.",
    REVIEW: "A part of it will be looked at by a person; points may change.",
}
SIGNS = {RIGHT: "✓", OPEN: "–", REVIEW: "?"}


def write(folder: Path, row: Row, lesson: str, title: str) -> Path:
    """Write one student's page.

    Parameters
    ----------
    folder : path
    row : Row
    lesson, title : str

    Returns
    -------
    Path
    """
    path = folder / f"{file_name(row.student)}.html"
    replace_file(path, render(row, lesson, title).encode("utf-8", "replace"))
    return path


def render(row: Row, lesson: str, title: str) -> str:
    """Return the page as HTML."""
    record = row.record
    head = f"Lesson {lesson}: {title}"
    parts = [f"<h1>{_text(head)}</h1>", f"<p><strong>{_text(row.student)}</strong></p>"]
    if row.total is not None:
        open_ones = any(w.text and w.points is None for w in row.written)
        more = ", explanations not yet included" if open_ones else ""
        off = f", after {row.deduction:g} for being late" if row.deduction else ""
        points = f"{row.total:g} of {record['out_of']:g} points"
        parts.append(f"<p><strong>{points}</strong>{off}{more}</p>")
    sentences = [MEANING[row.status]]
    if row.status not in (FAULT, REVIEW):
        sentences.append(str(record["reason"]))
    parts += [f"<p>{_text(sentence)}</p>" for sentence in sentences if sentence]
    if record["exercises"]:
        rows = "\n".join(_exercise(one) for one in record["exercises"])
        header = "<tr><th></th><th>exercise</th><th>points</th><th></th></tr>"
        parts.append(f"<table>\n{header}\n{rows}\n</table>")
    parts += [_explanation(written) for written in row.written]
    notes = [*row.told, *record["notes"]]
    if notes:
        items = "".join(f"<li>{_text(note)}</li>" for note in notes)
        parts.append(f"<h2>Notes</h2>\n<ul>{items}</ul>")
    parts.append(f'<p class="about">{_about(row)}</p>')
    return PAGE.format(title=_text(head), body="\n".join(parts))


def _exercise(one: Mapping) -> str:
    sign = SIGNS.get(one["status"], "✗")
    points = f"{one['points']:g} of {one['out_of']:g}"
    words = f"{one['status']}. {one['sentence']}" if one["sentence"] else one["status"]
    cells = (sign, f"<code>{_text(one['name'])}</code>", points, _text(words))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _explanation(written: Written) -> str:
    heading = f"<h2>Explanation: <code>{_text(written.name)}</code></h2>"
    if written.points is not None:
        state = f"{written.points:g} of {written.out_of:g} points."
    elif written.text:
        state = f"Will be read; up to {written.out_of:g} points."
    else:
        state = f"Nothing was written; 0 of {written.out_of:g} points."
    parts = [heading, f"<p>{state}</p>"]
    if written.comment:
        parts.append(f"<p>{_text(written.comment)}</p>")
    if written.text:
        parts.append(f"<blockquote>{_text(written.text, lines=True)}</blockquote>")
    return "\n".join(parts)


def _about(row: Row) -> str:
    entry, record = row.entry, row.record
    return _text(
        f"File {entry.name}, {entry.size} bytes, of {entry.when}, SHA-256 {entry.sha256[:16]}. "
        f"Graded {record['date']} by coursekit {record['machine'].get('coursekit', '?')} with "
        f"exercises {record['version']} and fresh random inputs."
    )


def _text(text: object, *, lines: bool = False) -> str:
    return escape(printable(str(text), lines=lines))
