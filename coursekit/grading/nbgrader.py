"""nbgrader with some things replaced, by configuration: stubs, what is shown, where answers run.

nbgrader stays in charge of release, gradebook, formgrader, feedback and export. Answers run in the
box instead of the instructor's account, and plain numbers from there become the scores. What an
instructor sees of a submission is the release with a student's words put in: so nothing else of
the file, whatever is wrong with it, reaches nbgrader or a browser.
"""

import atexit
import copy
import hashlib
import re
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import nbformat
from nbconvert.exporters import NotebookExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins.export import ExportPlugin
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor, SaveAutoGrades
from traitlets import Unicode

from coursekit.exercises import pages
from coursekit.grading import assignments, workers
from coursekit.grading.book import harmless, records
from coursekit.grading.book.review import table
from coursekit.grading.grade import grade
from coursekit.grading.intake import beside
from coursekit.grading.intake.collect import files_beside
from coursekit.grading.intake.notebook import StudentCell, Unreadable, read, rebuild
from coursekit.grading.sandbox import transcript
from coursekit.grading.sandbox.selftest import ProvenBox
from coursekit.results.files import replace_file

MARKUP = re.compile(r"[<>&\"`]")


def configure(config, key: str | None = None) -> None:
    """Put the course's preprocessors into an nbgrader configuration.

    Parameters
    ----------
    config : traitlets.config.Config
        What `get_config()` returns in nbgrader_config.py.
    key : str, optional
        Key of the class.
    """
    from nbgrader.converters import Autograde, GenerateAssignment
    from sqlalchemy.exc import SAWarning

    # Of nbgrader's own queries, six lines for each student: they would bury what it has to say.
    warnings.filterwarnings("ignore", "Object of type .* not in session", SAWarning)
    config.GenerateAssignment.preprocessors = _replace(
        GenerateAssignment.preprocessors.default(), ClearSolutions, PutStubs
    )
    config.Autograde.exporter_class = ReleaseWithAnswers
    after = _replace(Autograde.autograde_preprocessors.default(), Execute, GradeInBox)
    config.Autograde.autograde_preprocessors = _replace(after, SaveAutoGrades, SaveGrades)
    config.ExportApp.plugin_class = "coursekit.grading.nbgrader.ExportGrades"
    config.GradeInBox.key = config.ReleaseWithAnswers.key = key or ""
    _refuse_markup_in_names(Autograde)


def _refuse_markup_in_names(converter: type) -> None:
    """Let a converter pass over students whose names are HTML, and say so; the others go on.

    Nbgrader's formgrader puts the name of a graded student into its page as it is.
    """
    usual = converter.init_destination

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        if MARKUP.search(student_id):
            raise ValueError(
                f"expected a student's folder without < > & and double quotes, got {student_id!r}; "
                f"rename the folder in {self.coursedir.submitted_directory} and run again"
            )
        return usual(self, assignment_id, student_id)

    if usual.__module__ != __name__:
        converter.init_destination = init_destination


def _replace(preprocessors: list, old: type, new: type) -> list:
    return [new if one is old else one for one in preprocessors]


class PutStubs(ClearSolutions):
    """Replace a solution by the stub in the cell's metadata; other solutions as nbgrader does.

    Should this preprocessor be missing, nbgrader's own one clears the whole cell: solutions leak
    in neither case.
    """

    def preprocess_cell(
        self, cell: NotebookNode, resources: ResourcesDict, cell_index: int
    ) -> tuple[NotebookNode, ResourcesDict]:
        stub = cell.metadata.get("coursekit", {}).get("stub")
        if stub is None:
            return super().preprocess_cell(cell, resources, cell_index)
        cell.source = stub
        del cell.metadata["coursekit"]
        return cell, resources


class ReleaseWithAnswers(NotebookExporter):
    """Read a submission as the release with the student's answers, text and pictures in it.

    Whatever a student did to cells that carry points (deleted, copied, moved, renamed), nbgrader
    finds each of them once. What nbgrader has written itself is read as it is.

    Attributes
    ----------
    key : str
        Key of the class.
    """

    key = Unicode("", help="Key of the class").tag(config=True)

    def from_filename(
        self, filename: str, resources: ResourcesDict | None = None, **more: object
    ) -> tuple[str, ResourcesDict]:
        path, named = Path(filename), resources["nbgrader"]
        course = CourseDirectory(config=self.config)
        folders = (
            Path(course.format_path(stage, named["student"], named["assignment"]))
            for stage in ("submitted", "autograded")
        )
        submitted, autograded = (folder.resolve() for folder in folders)
        if path.resolve().parent == autograded != submitted:
            return super().from_filename(filename, resources=resources, **more)
        released = _released(course, named, self.key or None)
        shown = with_answers(released, path.read_bytes(), named["notebook"][:2], self.key or None)
        resources["metadata"] = ResourcesDict(name=path.stem, path=str(path.parent))
        return self.from_notebook_node(shown, resources=resources, **more)


def _released(course: CourseDirectory, named: dict, key: str | None) -> NotebookNode:
    """Return the release; the course's own where the folder has none."""
    path = Path(course.format_path("release", ".", named["assignment"]))
    path = path / f"{named['notebook']}.ipynb"
    if path.exists():
        return nbformat.read(path, as_version=4)
    nb = assignments.source(named["notebook"][:2], key)
    return PutStubs().preprocess(nb, ResourcesDict())[0]


def with_answers(
    released: NotebookNode, raw: bytes, lesson: str, key: str | None = None
) -> NotebookNode:
    """Return the release's notebook with what a student wrote, harmless to a browser.

    Parameters
    ----------
    released : NotebookNode
        Not changed.
    raw : bytes
        As handed in.
    lesson : str
        Two digits.
    key : str, optional
        Key of the class.

    Returns
    -------
    NotebookNode
        Each cell of the release once and in order. After it stands what the student added there:
        code as code, text as text. A file that cannot be read leaves the release and a note.
    """
    nb = copy.deepcopy(released)
    try:
        cells, rebuilt = read(raw), rebuild(raw, lesson, key)
    except Unreadable as error:
        nb.cells.insert(0, new_markdown_cell(f"**This file could not be read.** {_plain(error)}"))
        return nb
    here = {_name(cell): cell for cell in nb.cells}
    numbers = {cell.number: cell for cell in cells if cell.code}
    answered: dict[int, str] = {}  # id() of a student's cell to the release's cell that shows it
    for name, place in rebuilt.places.items():
        own, cell = pages.cell_id(f"{name}-answer"), numbers.get(rebuilt.numbers[place])
        if own not in here or cell is None:
            continue
        other = answered.setdefault(id(cell), own)
        here[own].source = cell.source if other == own else f"# `{name}` stands with {other}."
    for name, text in rebuilt.written.items():
        own = pages.cell_id(f"{name}-explain")
        if own not in here or not text:
            continue
        for cell in cells:
            if not cell.code and cell.source.strip() and cell.source.strip() in text:
                answered[id(cell)] = own
                here[own].setdefault("attachments", {}).update(harmless.pictures(cell.attachments))
        here[own].source = harmless.markdown(text, here[own].get("attachments", ()))
    _add_the_rest(nb, here, cells, answered)
    return nb


def _add_the_rest(
    nb: NotebookNode,
    here: dict[str, NotebookNode],
    cells: list[StudentCell],
    answered: dict[int, str],
) -> None:
    """Put a student's other cells after the cell of the release that they came after."""
    course = {pages.cell_id(part) for part in ("setup", "progress")}
    released = {cell.source.strip() for cell in nb.cells} | {""}
    added: dict[str, list[NotebookNode]] = {}
    last = next(iter(here), "")
    for cell in cells:
        last = answered.get(id(cell), cell.id if cell.id in here else last)
        if id(cell) in answered or cell.source.strip() in released:
            continue
        own = here.get(cell.id)
        marks = own.metadata.get("nbgrader", {}) if own is not None else {}
        graded_by_hand = marks.get("solution") and not cell.id.endswith(("-answer", "-explain"))
        if graded_by_hand and (own.cell_type == "code") == cell.code:  # an instructor's own cell
            own.update({"source": cell.source} if cell.code else _text(cell))
            continue
        if own is not None and cell.id not in course and marks.get("locked"):
            continue  # the release's own text is shown instead of a changed one
        made = new_code_cell(cell.source) if cell.code else new_markdown_cell(**_text(cell))
        added.setdefault(last, []).append(made)
    nb.cells = [one for cell in nb.cells for one in (cell, *added.get(_name(cell), ()))]


def _text(cell: StudentCell) -> dict[str, object]:
    """Return source and attachments of a student's text, harmless to a browser."""
    pictures = harmless.pictures(cell.attachments)
    return {"source": harmless.markdown(cell.source, pictures), "attachments": pictures}


def _name(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", "")


def _plain(error: Exception) -> str:
    return harmless.markdown(str(error))


class GradeInBox(NbGraderPreprocessor):
    """Grade a submission in the box and write the points where nbgrader expects outputs.

    Attributes
    ----------
    key : str
        Key of the class.
    records : str
        Folder of the records, in the course's folder; what is recorded is not run again.
    """

    key = Unicode("", help="Key of the class").tag(config=True)
    records = Unicode("grades", help="Folder of the records").tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        student, notebook = (resources["nbgrader"][key] for key in ("student", "notebook"))
        course = CourseDirectory(config=self.config)
        folder = course.format_path("submitted", student, resources["nbgrader"]["assignment"])
        path = Path(folder) / f"{notebook}.ipynb"
        raw, (files, told) = path.read_bytes(), files_beside(path)
        lesson = notebook[:2]
        folder = Path(course.root) / self.records / "records"
        record = record_of(raw, lesson, self.key or None, folder, files)
        self.log.info("%s of %s: %s", notebook, student, " ".join([record["status"], *told]))
        results = {pages.cell_id(f"{r['name']}-check"): r for r in record["exercises"]}
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            cell.outputs, cell.execution_count = [], None
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name and name.endswith("-check"):
                # Without a row the submission could not be read: no points, and the reason.
                row = results.get(name, {"status": record["status"], "points": 0})
                cell.outputs = _outputs(row, record["reason"])
        resources["coursekit"] = {"graded": record["points"] is not None}
        return nb, resources


class SaveGrades(SaveAutoGrades):
    """Save the points; where nothing could be graded save none, which is not 0."""

    def _add_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        super()._add_score(cell, resources)
        if resources.get("coursekit", {}).get("graded", True):
            return
        names = cell.metadata.nbgrader["grade_id"], self.notebook_id, self.assignment_id
        grade = self.gradebook.find_grade(*names, self.student_id)
        grade.auto_score, grade.needs_manual_grade = None, True
        self.gradebook.db.commit()


class ExportGrades(ExportPlugin):
    """Write grades.csv as nbgrader does, but with an empty score where there is no grade yet.

    `note` says why: nothing was handed in, a person must look at it, or explanations wait.
    """

    def export(self, gradebook: Gradebook) -> None:
        columns = (
            "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
            "raw_score", "late_submission_penalty", "score", "max_score", "note",
        )  # fmt: skip
        lines = []
        for assignment in gradebook.assignments:
            for student in gradebook.students:
                wanted = not self.assignment or assignment.name in map(str, self.assignment)
                if not wanted or (self.student and student.id not in map(str, self.student)):
                    continue
                line = {"assignment": assignment.name, "duedate": assignment.duedate}
                line |= {"student_id": student.id, "last_name": student.last_name}
                line |= {"first_name": student.first_name, "email": student.email}
                line |= {"max_score": assignment.max_score}
                line |= _scores(gradebook, assignment.name, student.id)
                lines.append([_cell(line.get(column)) for column in columns])
        path = Path(self.to or "grades.csv")
        self.log.info("Exporting grades to %s", path)
        replace_file(path, table(columns, lines))


def _cell(value: object) -> object:
    return value if value is None or isinstance(value, float | int) else str(value)


def _scores(gradebook: Gradebook, assignment: str, student: str) -> dict[str, object]:
    try:
        submission = gradebook.find_submission(assignment, student)
    except MissingEntry:
        return {"note": "not handed in"}
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    open_ones = [one for one in grades if one.manual_score is None and one.auto_score is None]
    line: dict[str, object] = {"timestamp": submission.timestamp}
    if any(one.cell.cell_type == "code" for one in open_ones):
        return line | {"note": "no grade yet: a person must look at it"}
    penalty = submission.late_submission_penalty or 0.0
    if open_ones:
        line["note"] = f"explanations to read: {len(open_ones)}"
    score = max(0.0, submission.score - penalty)
    return line | {
        "raw_score": submission.score, "late_submission_penalty": penalty, "score": score
    }  # fmt: skip


def record_of(
    raw: bytes,
    lesson: str,
    key: str | None,
    folder: Path,
    files: Mapping[str, bytes] | None = None,
) -> dict:
    """Return the record of a submission; grade it in the box if there is none.

    Parameters
    ----------
    raw : bytes
        As handed in.
    lesson : str
        Two digits.
    key : str or None
        Key of the class.
    folder : Path
        Of the records.
    files : dict, optional
        Name to content of those that lie beside it and are taken along.

    Returns
    -------
    dict

    Raises
    ------
    NoSandbox
        If there is no record, and answers cannot be run safely on this machine.
    RuntimeError
        If the grader fails three times: that says nothing about the submission.
    ValueError
        If no lesson with exercises has this number.
    """
    version = records.version(lesson, key)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in (files or {}).items()}
    sha256 = beside.identity(hashlib.sha256(raw).hexdigest(), [*hashes.items()])
    job = {"sha256": sha256, "raw": raw, "helpers": files or {}, "lesson": lesson, "key": key}
    record = records.read(folder, job["sha256"], version)
    for _ in range(workers.ATTEMPTS):
        if record is not None and record["status"] != transcript.FAULT:
            return record
        record = grade(job | {"version": version, "salt": records.salt(folder.parent)}, _box())
        records.write(folder, record)
    raise RuntimeError(f"the grader failed {workers.ATTEMPTS} times: {record['reason']}")


@cache
def _box() -> ProvenBox:
    """Return one box for all notebooks of this process."""
    box = ProvenBox()
    box.open()
    atexit.register(box.close)
    return box


def _outputs(row: dict, reason: str) -> list[NotebookNode]:
    sentence = row.get("sentence") or reason
    words = f"{row['status']}. {sentence}" if sentence else row["status"]
    # nbgrader takes a number that a locked cell returns for its points.
    points = {"text/plain": str(float(row["points"]))}
    return [
        new_output("stream", name="stdout", text=f"{words}\n"),
        new_output("execute_result", data=points, execution_count=None),
    ]
