"""nbgrader with two things replaced, by configuration: what a stub is, and where answers run.

nbgrader stays in charge of release, gradebook, formgrader, feedback and export. Answers run in the
box instead of the instructor's account, and plain numbers from there become the scores.
"""

import hashlib
from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor
from traitlets import Unicode

from coursekit.exercises import bank, pages


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

    config.GenerateAssignment.preprocessors = _replaced(
        GenerateAssignment.preprocessors.default(), ClearSolutions, PutStubs
    )
    config.Autograde.autograde_preprocessors = _replaced(
        Autograde.autograde_preprocessors.default(), Execute, GradeInBox
    )
    config.GradeInBox.key = key or ""


def _replaced(preprocessors: list, old: type, new: type) -> list:
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
        lesson = str(resources["nbgrader"]["notebook"])[:2]
        results = self._results(nb, lesson, resources)
        for cell in nb.cells:
            name = _exercise_of(cell, lesson)
            if cell.cell_type == "code":
                cell.outputs = _outputs(results[name]) if name else []
                cell.execution_count = None
        return nb, resources
