"""Zip files of students and of learning platforms, read without being unpacked.

No member is ever written under its own name, so a name cannot lead anywhere; an archive that tries
is refused all the same, since whoever made it wanted something.
"""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath

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

MAX_MEMBERS = 20_000
MAX_TOTAL = 2 << 30  # bytes, unpacked
MAX_RATIO, RATIO_FROM = 100, 20 << 20  # text shrinks tenfold; a bomb a thousandfold
MAX_DEPTH = 2  # a platform's zip of students' zips

SLIP = "The archive was refused: it has a file that points outside of it."
BOMB = "The archive was refused: unpacked it would have {} MB."
NESTED = "The archive was refused: it holds archives inside archives."
BROKEN = "The archive could not be read: {}."
CRYPT = "The archive has a password."
MANY = "The archive was refused: it has {} files."
NOTHING = "The archive has no notebook."
LARGE = "The file has {:.0f} MB; at most {:.0f} MB are read."
# What the reader of zip files raises on one that is cut short, altered, or packed in odd ways.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    ArithmeticError,
    RuntimeError,
    ValueError,
    OSError,
)


class Refused(Exception):
    """An archive that is not read; `rule` is its short name."""

    def __init__(self, rule: str, sentence: str):
        super().__init__(sentence)
        self.rule = rule


def of_one(student: str, name: str, source: Path | bytes, when: datetime, depth: int = 1):
    """Yield what one student's archive holds, or that it was refused.

    Parameters
    ----------
    student : str
    name : str
        Of the archive, for the record.
    source : path or bytes
    when : datetime
        Time of a member that has none.
    depth : int
        How many archives this one is in, itself included.

    Yields
    ------
    File
    """
    yield from _contents(student, name, source, when, lambda _: student, depth)


def of_many(name: str, source: Path, when: datetime, *, alone: bool) -> Iterator[File]:
    """Yield what an archive holds that was given by name: of one student, or of a whole class.

    It is a class's if its notebooks lie in folders, or if it is given `alone` and has several.
    """
    student = student_name(Path(name).stem)
    names: list[PurePosixPath] = []
    with suppress(Refused), _opened(source) as archive:
        names = [PurePosixPath(_name(m)) for m in _members(archive)]
    shared = 0  # a folder around all of them is nobody's name
    while names and all(len(n.parts) > shared + 2 for n in names):
        if len({n.parts[shared] for n in names}) > 1:
            break
        shared += 1
    in_folders = any(len(n.parts) > shared + 1 for n in names)

    def owner(member: PurePosixPath) -> str:
        if in_folders or (alone and len(names) > 1):
            parts = member.parts[shared:]
            last = PurePosixPath(parts[0])
            return student_name(
                last.name if len(parts) > 1 else notebook_stem(last.name) or last.stem
            )
        return student

    yield from _contents(student, name, source, when, owner, 1)


def _contents(
    student: str,
    name: str,
    source: Path | bytes,
    when: datetime,
    owner: Callable[[PurePosixPath], str],
    depth: int,
) -> Iterator[File]:
    try:
        if depth > MAX_DEPTH:
            raise Refused("zip bomb", NESTED)
        with _opened(source) as archive:
            members = _members(archive)
            for member in members:
                yield from _read(archive, member, name, when, owner, depth)
    except Refused as error:
        yield File(student, name, when, source, error.rule, str(error))
        return
    if not members:
        yield File(student, name, when, source, "no notebook", NOTHING)


def _opened(source: Path | bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(BytesIO(source) if isinstance(source, bytes) else source)
    except DAMAGE as error:
        raise Refused("damaged archive", BROKEN.format(type(error).__name__)) from error


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return notebooks and archives of an archive, after a look at all that it claims."""
    everything = archive.infolist()
    if len(everything) > MAX_MEMBERS:
        raise Refused("zip bomb", MANY.format(len(everything)))
    if any(member.flag_bits & 1 for member in everything):
        raise Refused("encrypted archive", CRYPT)
    names = [_name(member) for member in everything]
    if any(_outside(name) for name in names):
        raise Refused("zip slip", SLIP)
    total = sum(member.file_size for member in everything)
    packed = sum(member.compress_size for member in everything)
    if total > MAX_TOTAL or (total > RATIO_FROM and total > MAX_RATIO * packed):
        raise Refused("zip bomb", BOMB.format(total >> 20))
    return [
        member
        for member, name in zip(everything, names, strict=True)
        if not (member.is_dir() or ignored(*PurePosixPath(name).parts))
        and (notebook_stem(name) or name.lower().endswith(".zip"))
    ]


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.replace("\\", "/")


def _outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[:1] or name[1:2] == ":"


def _read(archive, member, name: str, when: datetime, owner, depth: int) -> Iterator[File]:
    path = PurePosixPath(_name(member))
    student, own, written = owner(path), f"{name}/{path}", _when(member, when)
    notebook = bool(notebook_stem(str(path)))
    most = MAX_NOTEBOOK if notebook else MAX_ARCHIVE
    if stat.S_ISLNK(member.external_attr >> 16):
        yield File(student, own, written, b"", "symlink", LINK)
    elif member.file_size > most:
        large = LARGE.format(member.file_size / 2**20, most / 2**20)
        sentence = f"{large} {CLEAR}" if notebook else large
        yield File(student, own, written, b"", "too large", sentence)
    else:
        try:
            content = archive.read(member)  # never more than the size promised
        except DAMAGE as error:
            sentence = BROKEN.format(type(error).__name__)
            yield File(student, own, written, b"", "damaged archive", sentence)
            return
        if notebook:
            yield File(student, own, written, content)
        else:
            yield from of_one(student, own, content, written, depth + 1)


def _when(member: zipfile.ZipInfo, otherwise: datetime) -> datetime:
    # A zip has local times without a zone, and 1980 for "unknown".
    if member.date_time[0] <= 1980:
        return otherwise
    with suppress(ValueError, OverflowError, OSError):
        return datetime(*member.date_time).astimezone()
    return otherwise
