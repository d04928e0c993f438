"""Grade a class: take in, skip what is done, spread the rest, write every output.

The only writer of records and gradebook. It may be killed at any time: a record is there whole or
not at all, and the next run does what is missing.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from tqdm.auto import tqdm

from coursekit.exercises import bank, pages
from coursekit.grading import workers
from coursekit.grading.book import export, feedback, gradebook, records, review
from coursekit.grading.book.gradebook import Row
from coursekit.grading.grade import grade
from coursekit.grading.intake import classlist
from coursekit.grading.intake.collect import BESIDE_ONE, LEFT_OUT, Entry, collect
from coursekit.grading.intake.names import own_pattern
from coursekit.grading.sandbox.transcript import FAULT
from coursekit.train import progress


def grade_all(
    paths: Sequence[str | Path],
    lesson: str,
    make_box: Callable[[], object],
    *,
    key: str | None = None,
    out: str | Path = "grades",
    jobs: int = 1,
    scheduler: str | None = None,
    deadline: datetime | None = None,
    late: gradebook.Penalty | None = None,
    students: str | Path | None = None,
    names: str | None = None,
    work: workers.Work = grade,
) -> list[Row]:
    """Grade all submissions in folders and files, and write records, feedback and grades.

    Parameters
    ----------
    paths : sequence of path
        As `intake.collect` takes them.
    lesson : str
        Two digits.
    make_box : callable
        Returns a `Box`; picklable, as it is called in each worker.
    key : str, optional
        Key of the class.
    out : path
    jobs : int
        Processes.
    scheduler : str, optional
        Address of a Dask cluster, instead of processes here.
    deadline : datetime, optional
        With a time zone.
    late : Penalty, optional
        What being late costs; needs a deadline, or ones on the class list.
    students : path, optional
        The class list, as `classlist.read` takes it. Its times without a zone are in the deadline's
        zone, if that is not this machine's.
    names : str, optional
        A regular expression for the names of files, as `names.own_pattern` takes it.
    work : callable
        (job, box) to a record.

    Returns
    -------
    list of Row
        One per student, of the class list too.

    Raises
    ------
    ValueError
        If there is no such lesson, nothing was handed in, the table of reviews, the class list or
        the pattern has an error, or nobody has a deadline where being late costs something.
    FileNotFoundError
        If a path does not exist.
    NoSandbox
        If this machine cannot confine a submission.
    RuntimeError
        If another grading runs in `out`, or no worker starts.
    """
    out = Path(out)
    version = records.version(lesson, key)
    questions = {q.name: q.points for q in bank.questions_of(lesson)}
    exercises = [exercise.name for exercise in bank.of_lesson(lesson, key)]
    pattern = None if names is None else own_pattern(names)
    abroad = deadline and deadline.utcoffset() != deadline.astimezone().utcoffset()
    zone = deadline.tzinfo if abroad else None
    people = [] if students is None else classlist.read(students, zone)
    if late and not deadline and not any(person.deadline for person in people):
        raise ValueError(
            f'expected a deadline for the rule "{late.rule}", got none; add --deadline "2026-12-01 '
            '23:59", or a column deadline to the class list'
        )
    with records.lock(out):
        salt = records.salt(out)
        reviews = review.read(out / "review.csv", questions)
        entries = collect(paths, out, pattern, [*exercises, *questions])
        entries = classlist.renamed(entries, classlist.match(entries, people))
        by_hash = _earlier(entries, out / "records", lesson, version)
        missing = {
            e.identity: e for e in entries if not e.rule and not _settled(by_hash.get(e.identity))
        }
        tasks = [
            {
                "sha256": identity,
                "path": str(out / "intake" / entry.sha256),
                "beside": {name: str(out / "intake" / sha256) for name, sha256 in entry.beside},
                "lesson": lesson,
                "key": key,
                "version": version,
                "salt": salt,
            }
            for identity, entry in missing.items()
        ]
        if scheduler is None:
            replies = workers.local(tasks, work, make_box, jobs)
        else:
            replies = workers.cluster(tasks, work, make_box, scheduler)
        n_all = len({entry.identity for entry in entries if not entry.aside})
        with tqdm(total=n_all, initial=n_all - len(tasks), unit="file", **progress()) as bar:
            for job, reply, attempts in replies if tasks else ():
                record = _record(job, reply, attempts, by_hash.get(job["sha256"]))
                records.write(out / "records", record)
                by_hash[job["sha256"]] = record
                bar.update()
        rows = gradebook.rows(entries, by_hash, deadline, people, late)
        rows = review.apply(rows, reviews)
        export.write_intake(out / "intake.csv", entries, rows, by_hash)
        _write(out, rows, lesson, exercises, reviews)
    return rows


def _settled(record: dict | None) -> bool:
    return record is not None and record["status"] != FAULT


def _earlier(entries: Sequence[Entry], folder: Path, lesson: str, version: str) -> dict[str, dict]:
    """Return the records that are there; what was refused at the door gets its own now."""
    by_hash = {}
    for entry in entries:
        if entry.rule in (BESIDE_ONE, LEFT_OUT):
            continue
        record = records.read(folder, entry.identity, version)
        if record is None and entry.rule and not entry.aside:
            about = entry.sha256, version, lesson, records.UNREADABLE, entry.sentence
            record = records.new(*about, rule=entry.rule)
            records.write(folder, record)
        if record is not None:
            by_hash[entry.identity] = record
    return by_hash


def _record(job: dict, reply: dict, attempts: int, earlier: dict | None) -> dict:
    if "sha256" not in reply:  # a worker that died has written none
        about = job["sha256"], job["version"], job["lesson"]
        reply = records.new(*about, reply["status"], reply["reason"])
    # The attempts of earlier runs, all of which failed, count along.
    return reply | {"attempts": attempts + (earlier["attempts"] if earlier else 0)}


def _write(
    out: Path, rows: list[Row], lesson: str, exercises: Sequence[str], reviews: dict
) -> None:
    questions = [q.name for q in bank.questions_of(lesson)]
    title = pages.title(lesson)[1]
    for row in rows:
        if row.status != records.ABSENT:
            feedback.write(out / "feedback", row, lesson, title)
    review.write(out / "review.csv", rows, reviews)
    export.write_json(out / "grades.json", rows)
    export.write_csv(out / "grades.csv", rows, exercises, questions)
