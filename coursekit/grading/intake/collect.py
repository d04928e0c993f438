"""Take submissions in: find notebooks in folders and archives, keep their bytes, name problems.

Nothing of a notebook is parsed here. What cannot be a notebook is listed with a rule and a
sentence like everything else: no submission vanishes.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from coursekit.grading.intake import archives
from coursekit.grading.intake.files import (
    CLEAR,
    LINK,
    MAX_ARCHIVE,
    MAX_NOTEBOOK,
    File,
    ignored,
    notebook_stem,
    student_name,
)
from coursekit.results.files import replace_file

STAMP = "timestamp.txt"  # of nbgrader
MAX_COPIES = 10  # of one student: a thousand copies must not hold up the class
NO_NOTEBOOK = "No notebook was handed in, only {}."
NOTHING = "The folder is empty."
NO_FILE = "Expected a file, got something else of that name."
TOO_LARGE = "The file has {:.1f} MB; at most {:.0f} MB are read."
EMPTY = "The file is empty."
UNREADABLE = "The file could not be opened: {}."
SUPERSEDED = f"Only the latest {MAX_COPIES} copies are graded."


@dataclass(frozen=True)
class Entry:
    """One file handed in, as it stands in the list of submissions.

    Attributes
    ----------
    student, name : str
    sha256 : str
        Of the content, under which the original is kept; of a name where there is no content.
    size : int
        Bytes.
    when : str
        ISO time of the file, in UTC.
    kept : bool
        Whether the original lies in the folder `intake`.
    rule, sentence : str
        Why it is not graded, or "".
    """

    student: str
    name: str
    sha256: str
    size: int
    when: str
    kept: bool
    rule: str = ""
    sentence: str = ""


def collect(paths: Sequence[str | Path], out: Path) -> list[Entry]:
    """Find all submissions and keep their original bytes.

    Parameters
    ----------
    paths : sequence of path
        Folders of a class, zip files, notebooks.
    out : path
        Originals go to `out/intake/SHA256`, the list to `out/intake.json`.

    Returns
    -------
    list of Entry
        By student and time.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    ValueError
        If nothing was found, or a file is neither a notebook nor an archive.
    """
    paths = [Path(path) for path in paths]
    entries = [_store(file, out / "intake") for path in paths for file in files_in(path, paths)]
    if not entries:
        raise ValueError(f"expected submissions, got none in {', '.join(map(str, paths))}")
    entries = sorted(set(entries), key=lambda e: (e.student, e.when, e.name))
    entries = list(_bounded(reversed(entries)))[::-1]
    _list(entries, out / "intake.json")
    return entries


def files_in(path: Path, among: Sequence[Path] = ()) -> Iterator[File]:
    """Yield what a folder, an archive or a notebook given by name holds.

    Raises
    ------
    FileNotFoundError
        If the path does not exist.
    ValueError
        If it is a file of another kind.
    """
    if path.is_dir():
        base = path / "submitted" if (path / "submitted").is_dir() else path  # nbgrader's course
        yield from _in_class(base)
    elif not path.exists():
        raise FileNotFoundError(f"expected a folder, a zip file or a notebook, got {path}")
    elif path.suffix.lower() == ".zip":
        alone = len(among) <= 1
        yield from archives.of_many(path.name, path, _when(path), alone=alone)
    elif stem := notebook_stem(path.name):
        # ada/04.ipynb bob/04.ipynb: there the folders are the names.
        twins = [other for other in among if other.name == path.name]
        yield _file(
            student_name(path.absolute().parent.name if len(twins) > 1 else stem), path, path
        )
    else:
        raise ValueError(f"expected a folder, a zip file or a notebook, got {path}")


def _in_class(base: Path) -> Iterator[File]:
    for item in sorted(base.iterdir()):
        if ignored(item.name):
            continue
        stem = notebook_stem(item.name)
        archive = item.suffix.lower() == ".zip"
        if item.is_symlink() and not (stem or archive or item.is_dir()):
            continue
        if item.is_symlink():
            yield _file(student_name(stem or item.stem), item, base)
        elif item.is_dir():
            yield from _in_folder(student_name(item.name), item, base)
        elif archive:
            yield from _archive(student_name(item.stem), item, base)
        elif stem:
            yield _file(student_name(stem), item, base)


def _in_folder(student: str, folder: Path, base: Path) -> Iterator[File]:
    others, some = [], False
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not ignored(name))
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        stamp = _timestamp(Path(root))
        files = [name for name in [*files, *links] if not ignored(name) and name != STAMP]
        for name in sorted(files):
            item = Path(root) / name
            if item.suffix.lower() == ".zip" and not item.is_symlink():
                some = True
                yield from _archive(student, item, base)
            elif notebook_stem(name) or name in links:
                some = True
                yield _file(student, item, base, stamp)
            else:
                others.append(name)
    if not some:
        names = ", ".join(others[:5]) + (" and others" if len(others) > 5 else "")
        sentence = NO_NOTEBOOK.format(names) if others else NOTHING
        name = str(folder.relative_to(base))
        yield File(student, name, _when(folder), b"", "no notebook", sentence)


def _archive(student: str, path: Path, base: Path) -> Iterator[File]:
    name, when = str(path.relative_to(base)), _when(path)
    size = path.stat().st_size
    if size > MAX_ARCHIVE:
        sentence = TOO_LARGE.format(size / 2**20, MAX_ARCHIVE / 2**20)
        yield File(student, name, when, path, "too large", sentence)
    else:
        yield from archives.of_one(student, name, path, when)


def _file(student: str, path: Path, base: Path, when: datetime | None = None) -> File:
    name = path.name if path == base else str(path.relative_to(base))
    when = when or _when(path)
    if path.is_symlink():
        target = os.fsencode(os.readlink(path))
        return File(student, name, when, target, "symlink", LINK)
    if not path.is_file():
        return File(student, name, when, b"", "no file", NO_FILE)
    return File(student, name, when, path)


def _when(path: Path) -> datetime:
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _timestamp(folder: Path) -> datetime | None:
    """Return the time that nbgrader noted when it took the submission, if it did."""
    path = folder / STAMP
    if path.is_symlink() or not path.is_file():
        return None
    with suppress(OSError, ValueError, KeyError):
        text = path.read_text(encoding="utf-8")[:100].strip()
        day, clock, *zone = text.split()
        time = datetime.fromisoformat(f"{day} {clock}")
        return time.replace(tzinfo=ZoneInfo(zone[0]) if zone else time.tzinfo or UTC)
    return None


def _store(file: File, folder: Path) -> Entry:
    """Store the original under its hash and name what is wrong with it at first sight."""
    rule, sentence, kept = file.rule, file.sentence, False
    try:
        content, size = _content(file)
    except OSError as error:
        content, size = b"", 0
        rule, sentence = "cannot be opened", UNREADABLE.format(error.strerror or error)
    if size > len(content):
        rule = rule or "too large"
        large = TOO_LARGE.format(size / 2**20, MAX_NOTEBOOK / 2**20)
        sentence = sentence or f"{large} {CLEAR}"
        digest = hashlib.sha256(content + f" {size}".encode()).hexdigest()
    elif rule and not content:
        # Without content, the name keeps two of these apart.
        digest = hashlib.sha256(f"{rule} {file.name}".encode("utf-8", "replace")).hexdigest()
    else:
        digest, kept = hashlib.sha256(content).hexdigest(), True
        if not rule and not content.strip():
            rule, sentence = "empty", EMPTY
        target = folder / digest
        if not target.exists() or target.stat().st_size != size:
            replace_file(target, content)
    when = file.when.astimezone(UTC).isoformat(timespec="seconds")
    return Entry(file.student, _shown(file.name), digest, size, when, kept, rule, sentence)


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[-300:]


def _content(file: File) -> tuple[bytes, int]:
    """Return the content up to what is read at most, and the size of the whole."""
    most = MAX_ARCHIVE if file.rule else MAX_NOTEBOOK
    if isinstance(file.source, bytes):
        return file.source[:most], len(file.source)
    # The file may have become a link or a pipe since it was looked at.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(file.source, flags), "rb") as handle:
        facts = os.fstat(handle.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(0, "it is no regular file")
        content = handle.read(most)
        return content, max(facts.st_size, len(content))


def _bounded(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Refuse all but the first copies of each student; the latest come first."""
    copies: dict[str, int] = {}
    for entry in entries:
        if not entry.rule:
            copies[entry.student] = copies.get(entry.student, 0) + 1
        if entry.rule or copies[entry.student] <= MAX_COPIES:
            yield entry
        else:
            yield Entry(**asdict(entry) | {"rule": "too many copies", "sentence": SUPERSEDED})


def _list(entries: list[Entry], path: Path) -> None:
    """Add to the list of all that was ever handed in."""
    earlier = []
    with suppress(OSError, ValueError):
        earlier = json.loads(path.read_text(encoding="utf-8"))
    now = [asdict(entry) for entry in entries]
    rows = [row for row in earlier if isinstance(row, dict) and row not in now] + now
    replace_file(path, json.dumps(rows, indent=1).encode())
