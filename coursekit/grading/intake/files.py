"""What was found among the files handed in, and which names are looked at."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

MAX_NOTEBOOK = 20 << 20  # bytes
MAX_ARCHIVE = 100 << 20  # bytes, packed, of one student
STAMP = "timestamp.txt"  # of nbgrader
PROGRAMS = {"site-packages", "node_modules", "Thumbs.db", "desktop.ini"}
OF_FOLDERS = {STAMP, "readme.md", "readme.txt", "requirements.txt", "license.txt", "index.html"}
LINK = "Expected a file, got a link to one."

# Kinds of files that students hand in. A ".json" may be a notebook with another ending, if there is
# none with the right one beside it.
NOTEBOOK, MAYBE, ARCHIVE, OTHER = "notebook", "perhaps a notebook", "zip archive", "no notebook"
DOCUMENTS = frozenset(
    [
        ".pdf",
        ".html",
        ".htm",
        ".py",
        ".r",
        ".rmd",
        ".m",
        ".jl",
        ".tex",
        ".md",
        ".txt",
        ".rtf",
        ".doc",
        ".docx",
        ".odt",
        ".pages",
        ".png",
        ".jpg",
        ".jpeg",
        ".heic",
        ".rar",
        ".7z",
        ".tar",
        ".gz",
        ".tgz",
        ".bz2",
        ".xz",
    ]
)


@dataclass(frozen=True)
class Label:
    """Who handed in a file, as far as names tell.

    Attributes
    ----------
    student : str
    when : datetime, optional
        With a time zone; None where the name has no time, and that of the file counts.
    attempt : int
        Greater for later ones; 0 where the name does not tell.
    late : bool
        Whether the platform marked it so.
    timed : bool
        False where not even the file's time says when it was handed in.
    platform, unit : str
        Whose pattern the name fits, and the name: of the file, or of the folder around it.
    sentence : str
        Why the name does not tell the student, or "".
    file : str
        What the student called the file, where the platform wrote something before it.
    """

    student: str
    when: datetime | None = None
    attempt: int = 0
    late: bool = False
    timed: bool = True
    platform: str = ""
    unit: str = ""
    sentence: str = ""
    file: str = ""


@dataclass(frozen=True)
class File:
    """A file that a student handed in.

    Attributes
    ----------
    label : Label
        Whose it is; of nobody's, the student is "".
    name : str
        Of the file, with the folders and archives around it.
    when, made : datetime
        With a time zone: when it was handed in, and when it was last changed. Of copies handed in
        together, the one changed last is the latest.
    source : path or bytes
        Where its content is, or the content.
    rule : str
        Short name of the rule that it breaks, or "".
    sentence : str
        The same as a sentence.
    beside : tuple of (str, File)
        Of a notebook, the files that are taken along, with their names beside it.
    told : tuple of str
        Sentences on these, for the student.
    """

    label: Label
    name: str
    when: datetime
    made: datetime
    source: Path | bytes
    rule: str = ""
    sentence: str = ""
    beside: tuple[tuple[str, "File"], ...] = ()
    told: tuple[str, ...] = ()

    @property
    def student(self) -> str:
        """Whose it is."""
        return self.label.student


def ignored(*parts: str) -> bool:
    """Return whether a path holds a folder or file that programs, not people, leave behind."""
    return any(
        (p.startswith((".", "__MACOSX", "__pycache__")) and p != "..") or p in PROGRAMS
        for p in parts
    )


def kind(name: str) -> str:
    """Return what kind of file a name stands for, or "" if students hand in no such files.

    A browser makes "x.ipynb" to "x.ipynb.txt", "x.ipynb.json" or "x.ipynb (1)".
    """
    low = name.lower()
    end = PurePosixPath(low).suffix
    if end == ".zip":
        return ARCHIVE
    _, ending, rest = low.rpartition(".ipynb")
    if ending and (rest in ("", ".txt", ".json") or end not in DOCUMENTS):
        return NOTEBOOK
    if end == ".json":
        return MAYBE
    return OTHER if end in DOCUMENTS and low not in OF_FOLDERS else ""


def notebook_stem(name: str) -> str:
    """Return the stem of a name that may be a notebook's, or ""."""
    if kind(name) not in (NOTEBOOK, MAYBE):
        return ""
    match = re.search(r"\.ipynb", name, re.IGNORECASE)
    return name[: match.start()] if match else PurePosixPath(name).stem


def student_name(name: str) -> str:
    """Return a name for a student that can be shown, and is no other student's.

    Letters are composed in one way, as file systems differ there. A name with characters that
    nobody sees gets a piece of its hash, else it could pass for somebody else's.
    """
    name = unicodedata.normalize("NFC", name) or "?"
    printed = printable(name)
    return name if printed == name else f"{printed}~{short_hash(name)}"


def short_hash(text: str) -> str:
    """Return ten hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def unsafe(name: str) -> bool:
    """Return whether a student's name cannot serve as a file name as it is."""
    plain = re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,60}", name)
    device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
    return not plain or bool(device) or name.endswith(".")


def file_name(student: str) -> str:
    """Return a file name for a student: safe anywhere, and no two students' are alike.

    Other than plain names in small letters get a piece of a hash: "Ada" and "ada" are two people
    but one file on many machines.
    """
    if not unsafe(student):
        return student
    readable = re.sub(r"[^\w-]+", "_", student)[:40].strip("_-")
    return f"{readable}~{short_hash(student)}"


def printable(text: str, *, lines: bool = False) -> str:
    """Return text without characters that steer a terminal, turn text around, or are none.

    Parameters
    ----------
    text : str
    lines : bool
        Keep line breaks and tabs.
    """
    whitespace = "\n\t" if lines else ""
    text = text.replace("\r\n", "\n").encode("utf-8", "replace").decode()
    # Cc steers terminals; Cf holds the marks that turn text around and those nobody sees.
    return "".join(
        c if c in whitespace or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else " "
        for c in text
    )
