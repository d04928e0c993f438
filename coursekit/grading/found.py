"""What was found among the files handed in, and which names are looked at."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

MAX_NOTEBOOK = 20 << 20  # bytes
MAX_ARCHIVE = 100 << 20  # bytes, packed, of one student


@dataclass(frozen=True)
class Found:
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


def candidate(name: str) -> str:
    """Return the stem of a name that may be a notebook's, or "".

    A browser makes "x.ipynb" to "x.ipynb.txt", "x.ipynb.json" or "x.ipynb (1)".
    """
    last = PurePosixPath(name).name
    found = re.match(r"(?is)(.+?)(\.ipynb.*|\.json)$", last)
    return found[1] if found else ""


def person(name: str) -> str:
    """Return a name for a student that can be shown, and is no other student's.

    Letters are composed in one way, as file systems differ there. A name with characters that
    nobody sees gets a piece of its hash, else it could pass for somebody else's. Of Moodle's
    addition the number stays: two people may have one name.
    """
    name = re.sub(r"(_\d+)_assignsubmission_.*$", r"\1", name, flags=re.DOTALL)
    name = unicodedata.normalize("NFC", name) or "?"
    shown = printable(name)
    return name if shown == name else f"{shown}~{short_hash(name)}"


def short_hash(text: str) -> str:
    """Return ten hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def printable(text: str, *, lines: bool = False) -> str:
    """Return text without characters that steer a terminal, turn text around, or are none.

    Parameters
    ----------
    text : str
    lines : bool
        Keep line breaks and tabs.
    """
    kept = "\n\t" if lines else ""
    text = text.replace("\r\n", "\n").encode("utf-8", "replace").decode()
    # Cc steers terminals; Cf holds the marks that turn text around and those nobody sees.
    return "".join(
        c if c in kept or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else " " for c in text
    )
