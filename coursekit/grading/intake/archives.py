"""Zip files of students and of learning platforms, read without being unpacked.

No member is ever written under its own name, so a name cannot lead anywhere; an archive that tries
is refused all the same, since whoever made it wanted something.
"""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

from coursekit.grading.intake.files import ARCHIVE as ZIP
from coursekit.grading.intake.files import LINK, MAX_ARCHIVE, MAX_NOTEBOOK, kind

MAX_MEMBERS = 20_000  # of one student
MAX_TOTAL = 2 << 30  # bytes, unpacked, of one student
MAX_RATIO, RATIO_FROM = 100, 20 << 20  # text shrinks tenfold; a bomb a thousandfold
LEAST_OF_CLASS = 100 << 20  # bytes, unpacked, of the smallest class's archive
MAX_PATH = 1_000  # characters of a member's name
MAX_DEPTH = 2  # a student's zip, and zips in it

SLIP = "The archive was refused: it has a file that points outside of it."
BOMB = "The archive was refused: unpacked it would have {} MB."
SPENT = "The archive was refused: what it is in would have more than {} MB, unpacked."
NESTED = "The archive was refused: it holds archives inside archives."
BROKEN = "The archive could not be read: {}."
LONG = "The name of the file is too long."
CRYPT = "The archive has a password."
MANY = "The archive was refused: it has {} files."
LARGE = (
    "The file has {:.1f} MB; at most {:.0f} MB are read. "
    "Clear its outputs, save it, and hand it in again."
)
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
    """An archive, or a file in it, that is not read; `rule` is its short name."""

    def __init__(self, rule: str, sentence: str):
        super().__init__(sentence)
        self.rule = rule


@dataclass(frozen=True)
class Item:
    """A file in a folder or in an archive, not yet read.

    Attributes
    ----------
    parts : tuple of str
        Of its path below the folder or in the archive; the last one is "" for an empty folder.
    when : datetime
        Of its last change, with a time zone.
    size : int
        Bytes.
    source : path, or archive and member
    rule, sentence : str
        Why it is not read, or "".
    """

    parts: tuple[str, ...]
    when: datetime
    size: int
    source: Path | tuple[zipfile.ZipFile, zipfile.ZipInfo]
    rule: str = ""
    sentence: str = ""

    @property
    def path(self) -> str:
        """The path as one text."""
        return "/".join(self.parts)


@dataclass
class Budget:
    """What one student's archives may still unpack, those inside of them included.

    Without it, a small archive of archives fills a disk: each of them alone is small enough.

    Attributes
    ----------
    most, members : int
        Bytes and files.
    of_class : Budget, optional
        What all students of a class's archive share.
    """

    most: int
    members: int
    of_class: "Budget | None" = None
    spent: int = 0
    beside: int = 0
    exceeded: bool = False

    @classmethod
    def of(cls, packed: int, *, least: int = RATIO_FROM, of_class=None) -> "Budget":
        """Return the budget of archives of so many bytes."""
        return cls(min(MAX_TOTAL, max(least, MAX_RATIO * packed)), MAX_MEMBERS, of_class)

    def admits(self, size: int) -> bool:
        """Take bytes of a file beside a notebook off a share of their own, if that has as much.

        So they never take room from a notebook, be it another student's.
        """
        budgets = [budget for budget in (self, self.of_class) if budget is not None]
        if any(budget.beside + size > budget.most // 2 for budget in budgets):
            return False
        for budget in budgets:
            budget.beside += size
        return True

    def charge(self, size: int, members: int = 0) -> None:
        """Take bytes and files off.

        Raises
        ------
        Refused
            If there is not as much left.
        """
        self.members -= members
        if self.members < 0:
            self.exceeded = True
            raise Refused("zip bomb", MANY.format(f"more than {MAX_MEMBERS}"))
        for budget in filter(None, (self, self.of_class)):
            if budget.spent + size > budget.most:
                self.exceeded = True
                raise Refused("zip bomb", SPENT.format(budget.most >> 20))
        for budget in filter(None, (self, self.of_class)):
            budget.spent += size


@contextmanager
def opened(source: Path | bytes, when: datetime, *, of_class: bool = False) -> Iterator[list[Item]]:
    """Open an archive and give its files, nothing of which is read yet.

    Parameters
    ----------
    source : path or bytes
    when : datetime
        Time of a member that has none.
    of_class : bool
        A class's archive may have any number of files.

    Raises
    ------
    Refused
        If it cannot be read, or has too many files.
    """
    try:
        archive = zipfile.ZipFile(BytesIO(source) if isinstance(source, bytes) else source)
    except DAMAGE as error:
        raise Refused("damaged archive", BROKEN.format(type(error).__name__)) from error
    with archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS and not of_class:
            raise Refused("zip bomb", MANY.format(len(members)))
        items = [_item(archive, member, when) for member in members]
        # A folder has an entry of its own, or none; only an empty one says something.
        full = {parent for item in items for parent in _parents(item)}
        yield [item for item in items if item.parts[-1] or item.parts[:-1] not in full]


def _parents(item: Item) -> Iterator[tuple[str, ...]]:
    levels = len(item.parts) if item.parts[-1] else len(item.parts) - 1
    return (item.parts[:n] for n in range(levels))


def _item(archive: zipfile.ZipFile, member: zipfile.ZipInfo, when: datetime) -> Item:
    parts, size, source = _parts(member), member.file_size, (archive, member)
    if len(member.filename) <= MAX_PATH:
        return Item(parts, _when(member, when), size, source)
    # A path of thirty thousand folders would take minutes wherever paths are compared.
    short = (*(part[:100] for part in parts[:3]), parts[-1][-100:])
    return Item(short, _when(member, when), size, source, "long name", LONG)


def expect_harmless(items: Sequence[Item], *, of_class: bool = False) -> None:
    """Look at all that an archive, or one student's part of a class's archive, claims.

    Parameters
    ----------
    items : sequence of Item
    of_class : bool
        A class's archive is the platform's: there, what is too large to be read harms nobody.

    Raises
    ------
    Refused
        If a file points outside, has a password, or there is too much.
    """
    if len(items) > MAX_MEMBERS:  # of one student in a class's archive
        raise Refused("zip bomb", MANY.format(len(items)))
    members = [item.source[1] for item in items]
    if any(member.flag_bits & 1 for member in members):
        raise Refused("encrypted archive", CRYPT)
    if any(_outside(item) for item in items):
        raise Refused("zip slip", SLIP)
    if of_class:
        members = [item.source[1] for item in items if item.size <= most(item)]
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > MAX_TOTAL or (total > RATIO_FROM and total > MAX_RATIO * packed):
        raise Refused("zip bomb", BOMB.format(total >> 20))


def packed_size(item: Item) -> int:
    """Return how many bytes a file takes where it lies."""
    return item.size if isinstance(item.source, Path) else item.source[1].compress_size


def most(item: Item) -> int:
    """Return how many bytes of such a file are read at most."""
    return MAX_ARCHIVE if kind(item.parts[-1]) == ZIP else MAX_NOTEBOOK


def read(item: Item) -> bytes:
    """Return the content of an archive's member.

    Raises
    ------
    Refused
        If it is a link, too large, or cannot be read.
    """
    archive, member = item.source
    if stat.S_ISLNK(member.external_attr >> 16):
        raise Refused("symlink", LINK)
    if item.size > most(item):
        sentence = LARGE.format(item.size / 2**20, most(item) / 2**20)
        raise Refused("too large", sentence)
    try:
        return archive.read(member)  # never more than the size promised
    except DAMAGE as error:
        raise Refused("damaged archive", BROKEN.format(type(error).__name__)) from error


def _parts(member: zipfile.ZipInfo) -> tuple[str, ...]:
    name = member.filename
    if not member.flag_bits & 0x800:
        # No mark of an encoding: the standard says cp437, most programs write UTF-8.
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    name = name.replace("\\", "/")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    folder = (*parts, "") if name.endswith("/") else parts or ("?",)
    return ("/", *folder) if name.startswith("/") else folder


def _outside(item: Item) -> bool:
    first = item.parts[0]
    return first == "/" or ".." in item.parts or first[1:2] == ":"


def _when(member: zipfile.ZipInfo, otherwise: datetime) -> datetime:
    # A zip has local times without a zone, and 1980 for "unknown".
    if member.date_time[0] <= 1980:
        return otherwise
    with suppress(ValueError, OverflowError, OSError):
        return datetime(*member.date_time).astimezone()
    return otherwise
