"""Write the grades: a table for spreadsheets, JSON for programs, a summary for the terminal."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from coursekit.grading.book.gradebook import Row, clock
from coursekit.grading.book.records import REVIEW, STATUSES, UNREADABLE
from coursekit.grading.book.review import table
from coursekit.grading.intake.collect import Entry
from coursekit.grading.intake.files import file_name
from coursekit.results.files import replace_file


def write_csv(path: Path, rows: Sequence[Row], exercises: Sequence[str], questions: Sequence[str]):
    """Write one line per student; a cell is empty where nothing could be graded.

    Parameters
    ----------
    path : path
    rows : sequence of Row
    exercises, questions : sequence of str
        Names, in the order of the columns.
    """
    columns = ["student", *exercises, *questions, "total", "out of", "status", "minutes late"]
    ruled = any(row.penalty for row in rows)
    columns += ["days late", "raw points", "deduction"] if ruled else []
    lines = []
    for row in rows:
        # What could not be compared has no points yet, which is not 0.
        judged = [e for e in row.record["exercises"] if e["status"] != REVIEW]
        points = {e["name"]: e["points"] for e in judged}
        explanations = {
            w.name: 0 if not w.text and w.points is None else w.points for w in row.written
        }
        line = [row.student, *(points.get(name) for name in exercises)]
        line += [explanations.get(name) for name in questions]
        line += [row.total, row.record["out_of"], row.status, row.minutes_late]
        line += [row.days_late, row.raw, row.deduction] if ruled else []
        lines.append([*line, "; ".join(row.to_review), _note(row)])
    replace_file(path, table([*columns, "needs review", "note"], lines))


def _note(row: Row) -> str:
    same = [f"The same file as {', '.join(row.same_as)}."] if row.same_as else []
    return " ".join([str(row.record["reason"]), *row.told, *row.record["notes"], *same]).strip()


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write everything known of each student, except what can be read in the records."""
    students = [
        {
            "student": row.student,
            "status": row.status,
            "reason": row.record["reason"],
            "total": row.total,
            "out_of": row.record["out_of"],
            "exercises": row.record["exercises"],
            "explanations": [
                {"name": w.name, "points": w.points, "out_of": w.out_of, "comment": w.comment}
                for w in row.written
            ],
            "needs_review": list(row.to_review),
            "notes": [*row.told, *row.record["notes"]],
            "late": row.late,
            "minutes_late": row.minutes_late,
            "days_late": row.days_late,
            "deadline": row.deadline.isoformat() if row.deadline else None,
            "raw": row.raw,
            "deduction": row.deduction,
            "group": row.group,
            "on_class_list": row.on_list,
            "same_file_as": list(row.same_as),
            "file": row.entry.name,
            "handed_in": row.entry.when,
            "sha256": row.entry.sha256,
            "beside": dict(row.entry.beside),
            "version": row.record["version"],
            "graded": row.record["date"],
            "feedback": f"feedback/{file_name(row.student)}.html" if row.entry.sha256 else None,
        }
        for row in rows
    ]
    replace_file(path, json.dumps(students, indent=1).encode())


def write_intake(
    path: Path, entries: Sequence[Entry], rows: Sequence[Row], records: Mapping[str, Mapping]
) -> None:
    """Write one line per file that came in: whose it is, and what became of it.

    Parameters
    ----------
    path : path
    entries : sequence of Entry
    rows : sequence of Row
    records : dict
        By the hash of the submission.
    """
    columns = ["file", "student", "handed in", "attempt", "outcome", "why", "bytes", "sha256"]
    by_student = {row.student: row for row in rows}
    copies: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.order):
        if not entry.aside:
            copies.setdefault(entry.student, []).append(entry)
    lines = []
    for entry in sorted(entries, key=lambda e: (e.student, e.name)):
        own = copies.get(entry.student, ())
        attempt = f"{own.index(entry) + 1} of {len(own)}" if entry in own else ""
        outcome, why = _outcome(entry, by_student.get(entry.student), records.get(entry.identity))
        when = entry.when if entry.timed else ""
        about = [entry.name, entry.student, when, attempt, outcome, why]
        # The hash of what was not read is that of its name, and its size is not known.
        lines.append([*about, *((entry.size, entry.sha256) if entry.kept else ("", ""))])
    replace_file(path, table(columns, lines))


def _outcome(entry: Entry, row: Row | None, record: Mapping | None) -> tuple[str, str]:
    if entry.aside or record is None:
        return entry.rule or "not graded", entry.sentence
    if (row and entry == row.entry) or record["status"] == UNREADABLE:
        return record["status"], record["reason"]
    if row is None:
        return "superseded", ""
    if row.entry.student == entry.student:
        return "superseded", f"{row.entry.name} counts."
    which = "the same" if row.entry.identity == entry.identity else "another"
    counts = f"{row.entry.name} of {row.entry.student} counts for the group {row.group}"
    return "superseded", f"{counts}; this is {which} notebook."


def summary(rows: Sequence[Row], slowest: int = 3) -> str:
    """Return counts by status, the slowest submissions, and how many need a person."""
    counts = Counter(row.status for row in rows)
    statuses = ", ".join(f"{counts[name]} {name}" for name in STATUSES if counts[name])
    lines = [f"{len(rows)} students: {statuses}"]
    timed = [row for row in rows if row.record["seconds"]]
    timed = sorted(timed, key=lambda row: -row.record["seconds"])[:slowest]
    if timed:
        each = ", ".join(f"{row.student} {row.record['seconds']:.1f} s" for row in timed)
        lines.append(f"slowest: {each}")
    n_review = sum(bool(row.to_review) for row in rows)
    n_same = sum(bool(row.same_as) for row in rows)
    lines.append(f"need review: {n_review}")
    strangers = [row.student for row in rows if not row.on_list]
    if strangers:
        lines.append(f"not on the class list: {'; '.join(strangers)}")
    lines += _understood(rows)
    if n_same:
        lines.append(f"handed in the same bytes as somebody else: {n_same}")
    return "\n".join(lines)


def _understood(rows: Sequence[Row]) -> list[str]:
    """Return lines on deadlines, deductions and groups, so that a slip in a list is seen."""
    deadlines: dict[str, list[str]] = {}
    for row in rows:
        if row.deadline:
            deadlines.setdefault(clock(row.deadline), []).append(row.student)
    usual, *others = sorted(deadlines.items(), key=lambda one: -len(one[1])) or [("", [])]
    lines = [f"deadline {usual[0]}: {len(usual[1])} students"] if usual[0] else []
    lines += [f"deadline {when}: {'; '.join(students)}" for when, students in others]
    ruled = [row for row in rows if row.penalty and row.deadline]
    if ruled:
        n_late, n_off = sum(row.late for row in ruled), sum(bool(row.deduction) for row in ruled)
        n_untimed = sum(row.minutes_late is None for row in ruled)
        lines.append(
            f"late: {n_late}; points taken off: {n_off}; handed in at no known time: {n_untimed}"
        )
    sizes = Counter(row.group for row in rows if row.group).values()
    if sizes:
        lines.append(f"groups: {len(sizes)}, of {min(sizes)} to {max(sizes)} students")
    return lines


def to_review(rows: Sequence[Row]) -> str:
    """Return one line per student of whom a person must still look at something."""
    lines = [
        f"{row.student}: {', '.join(row.to_review)}. {_note(row)}".rstrip(". ")
        for row in rows
        if row.to_review
    ]
    return "\n".join(lines) or "Nothing is left to review."
