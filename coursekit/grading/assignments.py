"""Make an nbgrader course from the exercises: source notebooks with answers, and its settings."""

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from coursekit.course.notebook import write
from coursekit.exercises import bank, pages
from coursekit.results.files import replace_file

CONFIG = '''\
"""Settings of nbgrader for this course; `coursekit grade --help` and the guide tell more."""

from coursekit.grading.nbgrader import configure

c = get_config()  # noqa: F821 - nbgrader puts it here
c.CourseDirectory.course_id = {course!r}
# The key chooses among the exercises' conventions; another key, other answers.
configure(c, key={key!r})
'''


def init(
    target: str | Path, lessons: Sequence[str] = (), key: str | None = None
) -> tuple[Path, list[str]]:
    """Write a course folder for nbgrader.

    Parameters
    ----------
    target : path
        Made if missing. What exists in it is not overwritten: an instructor's edits stay.
    lessons : sequence of str, optional
        Two digits each; by default all that have exercises.
    key : str, optional
        Key of the class.

    Returns
    -------
    folder : Path
    new_files : list of str
        The files that were new, relative to the folder.

    Raises
    ------
    ValueError
        If a lesson has no exercises, or the key has other characters than letters, digits, `-`
        and `_`.
    NotADirectoryError
        If `target` is a file.
    """
    target = Path(target).resolve()
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"expected a folder, got the file {target}")
    if key is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        raise ValueError(f"expected a key of letters, digits, - and _, got {key!r}")
    files = {Path("nbgrader_config.py"): CONFIG.format(course=target.name, key=key).encode()}
    for lesson in lessons or bank.lessons():
        name = assignment(lesson)
        content = nbformat.writes(source(lesson, key)).encode() + b"\n"
        files[Path("source") / name / f"{name}.ipynb"] = content
        for path, own in _own(lesson).items():
            files[Path("source") / name / path] = own
    new_files = []
    for path, content in files.items():
        if not (target / path).exists():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            replace_file(target / path, content)
            new_files.append(str(path))
    return target, new_files


def write_pages(
    target: str | Path, lessons: Sequence[str] = (), key: str | None = None
) -> list[Path]:
    """Write the exercise notebooks for learners, with empty outputs, over what is there.

    A teacher's own exercises lie beside them, in the folder that their notebooks name.

    Parameters
    ----------
    target : path
        Folder; made if missing.
    lessons : sequence of str, optional
        Two digits each; by default all that have exercises.
    key : str, optional
        Key of a class.

    Returns
    -------
    list of Path

    Raises
    ------
    ValueError
        If a lesson has no exercises.
    """
    paths = []
    for lesson in lessons or bank.lessons():
        path = Path(target) / f"{assignment(lesson)}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(pages.page(lesson, key), path)
        paths.append(path)
        for inner, content in _own(lesson).items():
            (Path(target) / inner).parent.mkdir(parents=True, exist_ok=True)
            replace_file(Path(target) / inner, content)
    return paths


def _own(lesson: str) -> dict[Path, bytes]:
    """A teacher's own exercises of a lesson, by their place beside its notebook."""
    return {
        pages.OWN / path.relative_to(bank.own()): path.read_bytes()
        for path in bank.own_files(lesson)
    }


def assignment(lesson: str) -> str:
    """Return the name of a lesson's assignment, "04_dropout". Raises as `pages.page`."""
    return pages.title(lesson)[0].removesuffix(".ipynb")


def source(lesson: str, key: str | None = None) -> NotebookNode:
    """Return the instructor's version of a lesson's exercises, for nbgrader's `source` folder.

    Answer cells hold a solution, and in their metadata the stub that a release shows in its place.
    Checks are locked and carry the points; explanations are graded by hand.

    Parameters
    ----------
    lesson : str
        Two digits.
    key : str, optional
        Key of the class.

    Returns
    -------
    NotebookNode

    Raises
    ------
    ValueError
        If no lesson with exercises has this number.
    """
    solved, empty = pages.page(lesson, key, solved=True), pages.page(lesson, key)
    points = {pages.cell_id(e.name): e.points for e in bank.of_lesson(lesson, key)}
    points |= {pages.cell_id(n): q.points for n, q in bank.questions().items()}
    for cell, stub in zip(solved.cells, empty.cells, strict=True):
        _mark(cell, stub.source, points)
    return solved


def _mark(cell: NotebookNode, stub: str, points: dict[str, int]) -> None:
    stem, _, role = cell["id"].rpartition("-")
    graded = stem in points and role in ("check", "explain")
    answered = stem in points and role in ("answer", "explain")
    metadata = {
        "grade": graded,
        "grade_id": cell["id"],
        "locked": not answered,
        "schema_version": 3,
        "solution": answered,
        "task": False,
        "cell_type": cell.cell_type,
    }
    if graded:
        metadata["points"] = points[stem]
    if answered:
        cell.metadata["coursekit"] = {"stub": stub}
    if graded and role == "check":
        # nbgrader takes the number that a locked cell returns for its points.
        cell.source = cell.source.replace("sheet.check(", "sheet.score(")
    cell.metadata["nbgrader"] = metadata
