"""The stored form of a lesson: written whole, free of noise, its printed words comparable."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coursekit.results.files import replace_file

if TYPE_CHECKING:
    from nbformat import NotebookNode  # imported where it is used, as its schemas take seconds

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
# Tag, or comment line, of a cell whose printed words must hold on any machine.
TAG, MARK = "nbval-check-output", "NBVAL_CHECK_OUTPUT"

# Digits, sign and width of a measured number differ from machine to machine; words and counts may
# not. tests/nbval_sanitize.cfg holds the same two strings for nbval.
NUMBER = r"[ \t]*[-+\u2212\u00b1]?(?:\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)"
MASKED = "#"
# Code that asks for a prediction.
ASKS = re.compile(r"^\w+ = (widgets\.)?predict", re.MULTILINE)
# As many results as may follow one answer: what the pages' style sheet knows to hide.
LONGEST_ANSWER = 3
# Figures differ from machine to machine too: of a drawing only its alternative text is compared.
DRAWING = r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]*)"


@dataclass(frozen=True)
class Flip:
    """A marked cell that printed other words than the stored ones. `cell` counts from 1."""

    cell: int
    stored: str
    now: str

    def changed_lines(self) -> list[str]:
        """The lines that differ in more than their decimals: "- " stored, "+ " printed now."""
        before, after = self.stored.splitlines(), self.now.splitlines()
        words_before, words_after = set(map(mask, before)), set(map(mask, after))
        gone = [f"- {line}" for line in before if mask(line) not in words_after]
        return gone + [f"+ {line}" for line in after if mask(line) not in words_before]


def read(path: str | Path) -> "NotebookNode":
    """Read a notebook as nbformat 4.

    Raises
    ------
    ValueError
        If the file is missing or is not a notebook.
    """
    import nbformat

    # nbformat trusts the shape of what it reads: a wrong one ends in whatever error comes first.
    wrong_shape = (ValueError, TypeError, KeyError, AttributeError, nbformat.ValidationError)
    try:
        return nbformat.read(Path(path), as_version=4)
    except (OSError, *wrong_shape) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"expected a notebook (nbformat 4), got {path}: {reason}; "
            "try opening it in JupyterLab, or take it from version control again"
        ) from error


def title(nb: "NotebookNode", otherwise: str = "") -> str:
    """Return the heading of a notebook's first cell; `otherwise` if it begins with none."""
    heading = re.match(r"#\s*(.*)", nb.cells[0].source)
    return heading[1].strip() if heading else otherwise


def write(nb: "NotebookNode", path: str | Path) -> None:
    """Write a notebook so that `path` is at no time half a file."""
    import nbformat

    replace_file(Path(path), (nbformat.writes(nb).rstrip("\n") + "\n").encode())


def strip(nb: "NotebookNode") -> "NotebookNode":
    """Copy of a notebook without what changes from run to run: only content makes a difference.

    Outputs stay, and of the metadata of a cell what the course gives a meaning: tags, whether its
    source is folded, whether its outputs are (those of an answer, until it is run), and the
    lecturer's notes. Times, versions, widget state and other metadata go, executed cells are
    counted 1..n, and a cell's id follows from its text, so moving a cell keeps its id.
    """
    import nbformat
    from nbformat import NotebookNode

    nb = nbformat.from_dict(nb)
    nb.metadata = NotebookNode(kernelspec=NotebookNode(KERNELSPEC))
    nb.nbformat, nb.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    count = 0
    for cell, wanted in zip(nb.cells, meanings(nb), strict=True):
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[name] += 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        cell.metadata = nbformat.from_dict(wanted)
        if cell.cell_type == "code":
            count += cell.execution_count is not None
            cell.execution_count = count if cell.execution_count is not None else None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count
    return nb


def meanings(nb: "NotebookNode") -> list[dict]:
    """The part of each cell's metadata that the course gives a meaning."""
    found = []
    for cell, part in zip(nb.cells, parts_of_answers(nb.cells), strict=True):
        wanted = {name: cell.metadata.get(name) for name in ("tags", "coursekit")}
        folded = {"source_hidden": cell.metadata.get("jupyter", {}).get("source_hidden")}
        # JupyterLab shows them once the cell is run.
        folded["outputs_hidden"] = bool(part)
        wanted["jupyter"] = {name: True for name, value in folded.items() if value}
        found.append({name: value for name, value in wanted.items() if value})
    return found


def parts_of_answers(cells: Sequence["NotebookNode | dict"]) -> list[str]:
    """Say of each cell whether its results spoil a guess: "answer", "of-the-answer", or "".

    The answer to a prediction has the tag `hide-output`. Results without code in view that follow
    it at once belong to it: a sentence that says the number would spoil the guess. A question, text
    or code in view ends it.
    """
    found, since = [], LONGEST_ANSWER
    for cell in cells:
        tags = cell["metadata"].get("tags", [])
        if "hide-output" in tags:
            since = 0
            found.append("answer")
        elif (
            since < LONGEST_ANSWER
            and "hide-input" in tags
            and not ASKS.search("".join(cell["source"]))
        ):
            since += 1
            found.append("of-the-answer")
        else:
            since = LONGEST_ANSWER
            found.append("")
    return found


def flips(stored: "NotebookNode", now: "NotebookNode") -> list[Flip]:
    """Compare the marked cells of two runs of one notebook, with numbers masked.

    Raises
    ------
    ValueError
        If the two are not runs of the same cells.
    """
    if [c.source for c in stored.cells] != [c.source for c in now.cells]:
        raise ValueError(
            "expected two runs of the same cells, got different cells; try running it again"
        )
    pairs = [
        (number, printed(before), printed(after))
        for number, (before, after) in enumerate(zip(stored.cells, now.cells, strict=True), 1)
        if is_marked(before)
    ]
    return [Flip(*pair) for pair in pairs if mask(pair[1]) != mask(pair[2])]


def is_marked(cell: "NotebookNode") -> bool:
    """Whether a tag or a comment line of a code cell asks for its printed words to be compared."""
    lines = (line.strip() for line in cell.source.splitlines())
    comment = any(line.startswith("#") and line.lstrip("#").strip() == MARK for line in lines)
    return cell.cell_type == "code" and (comment or TAG in cell.metadata.get("tags", ()))


def printed(cell: "NotebookNode") -> str:
    """Text that a code cell printed or returned, figures by their text."""
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    return "\n".join(text.strip("\n") for text in texts)


def pictures(nb: "NotebookNode") -> list[bytes]:
    """The figures that a notebook stores, as PNG or SVG files, in their order."""
    found: list[bytes] = []
    for output in (o for cell in nb.cells for o in cell.get("outputs", [])):
        data = output.get("data", {})
        drawings = re.findall(DRAWING, data.get("text/html", ""))
        if drawings:
            found += map(base64.b64decode, drawings)
        elif "image/png" in data:
            found.append(base64.b64decode(data["image/png"]))
        elif "image/svg+xml" in data:
            found.append(data["image/svg+xml"].encode())
    return found


def kind(picture: bytes) -> str:
    """How the name of a picture's file ends: "png" or "svg"."""
    return "png" if picture.startswith(b"\x89PNG") else "svg"


def mask(text: str) -> str:
    """Hide every number with decimals; words and whole numbers (seed counts) stay."""
    return re.sub(NUMBER, MASKED, text)


def sanitize_rules() -> str:
    """Text of a file for nbval's `--nbval-sanitize-with`: the rule of `mask`, and no drawings."""
    rules = {"drawings": DRAWING, "numbers": NUMBER}  # in this order: drawings hold digits
    return "\n".join(
        f"[{name}]\nregex: {pattern}\nreplace: {MASKED}\n" for name, pattern in rules.items()
    )
