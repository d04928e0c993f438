"""nbgrader with two things replaced, by configuration: what a stub is, and where answers run.

nbgrader stays in charge of release, gradebook, formgrader, feedback and export. Answers run in the
box instead of the instructor's account, and plain numbers from there become the scores.
"""

import atexit
import hashlib
import warnings
from functools import cache
from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor
from traitlets import Unicode

from coursekit.exercises import pages
from coursekit.grading import workers
from coursekit.grading.book import records
from coursekit.grading.grade import grade
from coursekit.grading.sandbox import transcript
from coursekit.grading.sandbox.selftest import ProvenBox


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
    config.Autograde.autograde_preprocessors = _replace(
        Autograde.autograde_preprocessors.default(), Execute, GradeInBox
    )
    config.GradeInBox.key = key or ""


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
        raw = (Path(folder) / f"{notebook}.ipynb").read_bytes()
        lesson = notebook[:2]
        folder = Path(course.root) / self.records / "records"
        record = record_of(raw, lesson, self.key or None, folder)
        self.log.info("%s of %s: %s", notebook, student, record["status"])
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
        return nb, resources


def record_of(raw: bytes, lesson: str, key: str | None, folder: Path) -> dict:
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
    job = {"sha256": hashlib.sha256(raw).hexdigest(), "raw": raw, "lesson": lesson, "key": key}
    record = records.read(folder, job["sha256"], version)
    for _ in range(workers.ATTEMPTS):
        if record is not None and record["status"] != transcript.FAULT:
            return record
        record = grade(job | {"version": version}, _box())
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
