"""A learner's own copies of the lessons: made by `coursekit lab`, renewed by `coursekit update`.

What a learner wrote is never overwritten. Whether a copy was changed is told by its cells: each
original that was ever given to a folder leaves its mark there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from hashlib import sha256
from itertools import chain, count
from pathlib import Path

from coursekit.course import learner, lessons
from coursekit.results.files import replace_file

OWN = ".coursekit"  # of a folder of copies: what was given, and JupyterLab's open tabs
EARLIER = "earlier"  # runs that a newer lesson has replaced


@dataclass(frozen=True)
class Update:
    """What a newer course means for one file of a learner's folder.

    Attributes
    ----------
    copy : Path
        The learner's file, inside the folder of copies.
    cells : int or None
        How many cells of the new one differ from those of `copy`, or are gone; None if there is
        no `copy` yet.
    beside : Path or None
        Where the new one goes if the learner changed `copy`, which then stays as it is.
    earlier : Path or None
        Where `copy` goes, as the learner ran it, before it is replaced.
    """

    copy: Path
    cells: int | None
    beside: Path | None = None
    earlier: Path | None = None

    def __str__(self) -> str:
        if self.cells is None:
            return f"{self.copy.as_posix()}: new"
        differ = "1 cell differs" if self.cells == 1 else f"{self.cells} cells differ"
        differ = differ if self.cells else "other results, the same text"
        if self.beside:
            what = f"yours is kept, the new one is {self.beside.name} ({differ})"
        else:
            what = f"replaced ({differ})"
            what += f"; your run is {self.earlier.as_posix()}" if self.earlier else ""
        return f"{self.copy.as_posix()}: {what}"


def make(target: str | Path = lessons.COPY) -> tuple[Path, int]:
    """Copy the lessons that `target` lacks; overwrite nothing.

    Returns
    -------
    target : Path
    copied : int
        How many files were copied.

    Examples
    --------
    >>> import tempfile
    >>> from coursekit.course import copies
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first, again = copies.make(folder)[1], copies.make(folder)[1]
    >>> first > 20, again
    (True, 0)
    """
    target = Path(target).resolve()
    given, copied = _given(target), 0
    for inner, content in _originals().items():
        if not (target / inner).exists():
            replace_file(target / inner, content)
            given.setdefault(inner.as_posix(), set()).update(_marks(content))
            copied += 1
    if copied:
        _keep(target, given)
    return target, copied


def update(target: str | Path = lessons.COPY, *, dry_run: bool = False) -> list[Update]:
    """Bring the copies in `target` up to date, without losing anything of the learner's.

    A copy whose cells nobody changed is replaced; if it was run, the run is kept in `earlier`.
    A changed copy stays, and the new one is put beside it, once. Each file is at any time whole,
    and an update that was cut short goes on where it stopped when it is called again.

    Parameters
    ----------
    target : path
        Folder that `make` has filled.
    dry_run : bool
        Only tell what would be done.

    Returns
    -------
    list of Update
        Empty if everything is up to date.

    Raises
    ------
    ValueError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from coursekit.course import copies
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = copies.make(folder)
    ...     copies.update(folder)
    []
    """
    target = Path(target).resolve()
    if not target.is_dir():
        raise ValueError(
            f"expected your copies of the lessons in {target}, got no such folder; try the folder "
            "in which you called `coursekit lab`, which makes them"
        )
    given, updates = _given(target), []
    for inner, content in _originals().items():
        known = given.setdefault(inner.as_posix(), set())
        one = _needed(target, inner, content, known)
        if one is None:
            continue
        updates.append(one)
        if not dry_run:
            if one.earlier:
                replace_file(target / one.earlier, (target / inner).read_bytes())
            replace_file(target / (one.beside or inner), content)
            known.update(_marks(content))
            _keep(target, given)
    return updates


def _needed(target: Path, inner: Path, content: bytes, known: set[str]) -> Update | None:
    """What is to be done about one copy; `known` are the marks of originals given before."""
    if not (target / inner).exists():
        return Update(inner, None)
    own, new = (target / inner).read_bytes(), set(_marks(content))
    as_file, as_text = _marks(own)
    if as_text in new and (as_file in new or as_file not in known):
        return None  # the same text; an untouched copy gets new outputs, a learner's run stays
    cells = _differing(own, content)
    if as_text not in known:  # changed; the learner may have the new one already, beside it
        return None if new <= known else Update(inner, cells, beside=_beside(target, inner, known))
    ran = as_file not in known
    return Update(inner, cells, earlier=_free(target, Path(EARLIER) / inner) if ran else None)


def _originals() -> dict[Path, bytes]:
    source = lessons.originals()
    inside = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    shown = [path for path in inside if not any(part.startswith(".") for part in path.parts)]
    return {path: (source / path).read_bytes() for path in shown}


def _given(target: Path) -> dict[str, set[str]]:
    kept = learner.recall(target / OWN / "given.json")
    marks = {name: entry.get("marks") for name, entry in kept.items()}
    return {name: set(map(str, own)) for name, own in marks.items() if isinstance(own, list)}


def _keep(target: Path, given: dict[str, set[str]]) -> None:
    kept = {name: {"marks": sorted(marks)} for name, marks in given.items() if marks}
    replace_file(target / OWN / "given.json", json.dumps(kept, indent=1).encode())


def _marks(content: bytes) -> tuple[str, str]:
    """Digests of a file and of its cells: running a notebook changes the first one only."""
    cells = json.dumps(_cells(content)).encode()
    return sha256(content).hexdigest(), sha256(cells).hexdigest()


def _cells(content: bytes) -> list[list[str]]:
    """Kind and text of each cell; a file that is no notebook is a single one."""
    try:
        cells = [[c["cell_type"], "".join(c["source"])] for c in json.loads(content)["cells"]]
    except (ValueError, TypeError, KeyError):
        return [["file", sha256(content).hexdigest()]]
    return [cell for cell in cells if cell[1].strip()]  # JupyterLab adds an empty one at the end


def _differing(before: bytes, after: bytes) -> int:
    pair = ([tuple(cell) for cell in _cells(content)] for content in (before, after))
    steps = SequenceMatcher(None, *pair, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in steps if kind != "equal")


def _beside(target: Path, inner: Path, known: set[str]) -> Path:
    """A name for the new one: free, or of an older one that was put there and never touched."""
    names = _numbered(inner.with_stem(inner.stem + lessons.NEW))
    return next(
        path
        for path in names
        if not (there := target / path).exists() or _marks(there.read_bytes())[0] in known
    )


def _free(target: Path, inner: Path) -> Path:
    return next(path for path in _numbered(inner) if not (target / path).exists())


def _numbered(path: Path) -> Iterator[Path]:
    """The path, and then the same with 2, 3, ... at the end of its name."""
    return chain([path], (path.with_stem(f"{path.stem}{number}") for number in count(2)))
