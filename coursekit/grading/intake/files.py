"""What was found among the files handed in, and which names are looked at."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

MAX_NOTEBOOK = 20 << 20  # bytes
MAX_ARCHIVE = 100 << 20  # bytes, packed, of one student
CLEAR = "Clear its outputs (Edit > Clear Outputs of All Cells), save it, and hand it in again."
LINK = "Expected a file, got a link to one."


@dataclass(frozen=True)
class File:
    """A file that a student handed in.

    Attributes
    ----------
    student : str
        As the folder or file calls them.
    name : str
        Of the file, with the folders and archives around it.
    when : datetime
        With a time zone.
    source : path or bytes
        Where its content is, or the content.
    rule : str
        Short name of the rule that it breaks, or "".
    sentence : str
        The same as a sentence.
    """

    student: str
    name: str
    when: datetime
    source: Path | bytes
    rule: str = ""
    sentence: str = ""


def ignored(*parts: str) -> bool:
    """Return whether a path holds a folder or file that programs, not people, leave behind."""
    return any(p.startswith((".", "__MACOSX", "__pycache__")) and p != ".." for p in parts)


def notebook_stem(name: str) -> str:
    """Return the stem of a name that may be a notebook's, or "".

    A browser makes "x.ipynb" to "x.ipynb.txt", "x.ipynb.json" or "x.ipynb (1)".
    """
    last = PurePosixPath(name).name
    match = re.match(r"(?is)(.+?)(\.ipynb.*|\.json)$", last)
    return match[1] if match else ""


def student_name(name: str) -> str:
    """Return a name for a student that can be shown, and is no other student's.

    Letters are composed in one way, as file systems differ there. A name with characters that
    nobody sees gets a piece of its hash, else it could pass for somebody else's. Of Moodle's
    addition the number stays: two people may have one name.
    """
    name = re.sub(r"(_\d+)_assignsubmission_.*$", r"\1", name, flags=re.DOTALL)
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
