"""Which files beside a notebook are taken along, so that its cells find them as in Jupyter.

Taken is what lies in the notebook's folder or below it, within one student's folder or archive:
modules, tables, arrays; plain names, not too many, not too large. Of all others a sentence says
why not. Nothing is read here; an archive in an archive is looked at by itself.
"""

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from coursekit.grading.intake.files import OF_FOLDERS, Label, printable
from coursekit.grading.intake.names import ILIAS
from coursekit.grading.sandbox.box import HELPER, HELPERS

MAX_FILES = 100  # beside one notebook
MAX_OF_STUDENT = 10 * HELPERS  # bytes, beside all notebooks of one folder or archive
MAX_LEVELS = 4  # a file in at most three folders, as the box has it
CODE = (".py",)
DATA = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".toml")
ARRAYS = (".npy", ".npz", ".pt", ".pkl")
# A file of such a name would stand in for what answers are computed and asked with.
OF_THE_COURSE = {"coursekit", "torch", "numpy", "scipy", "sklearn", "matplotlib", "IPython"}
SHOWN = 5  # names in a sentence

TAKEN = "Taken along with {}."
NAMED = "Taken along with {} as {}."
APART = "Not taken along: no notebook lies in its folder, or up to three folders above it."
NAME = (
    "Not taken along: such a name may have letters, digits, spaces and . _ - only, "
    "and begins with a letter, a digit or _."
)
LARGE = f"Not taken along: the files beside a notebook may have {HELPERS >> 20} MB together."
MANY = f"Not taken along: at most {MAX_FILES} files beside a notebook are."
TOO_MUCH = (
    f"Not taken along: the files beside all notebooks may have {MAX_OF_STUDENT >> 20} MB together."
)
SPENT = "Not taken along: the archive that it is in has too much of such files."
LIBRARY = "Not taken along: it has the name of a module that the course itself needs."
ANOTHER = "Not taken along: another file of that name is."

Place = tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A file that may belong to a notebook.

    Attributes
    ----------
    places : list of tuple of str
        Its path as the student had it; further ones where an export may have renamed the file.
    when : datetime
        When it was handed in.
    size : int
    sentence : str
        Why it is not read, or "".
    versions : bool
        Whether an export keeps earlier files of that name, so that the notebook's time decides.
    """

    places: Sequence[Place]
    when: datetime
    size: int
    sentence: str = ""
    versions: bool = False


@dataclass
class Choice:
    """What is taken along.

    Attributes
    ----------
    of_notebook : dict
        Number of the notebook to pairs of a name beside it and a candidate's number.
    since : dict
        Number of the notebook to the time when the last of its files was handed in. Where another
        notebook is nearer to a file, it says nothing.
    told : dict
        Number of the notebook to sentences on what was not taken, for the student.
    why : dict
        Number of the candidate to a sentence on what became of it.
    taken : set of int
        Candidates that go with some notebook.
    """

    of_notebook: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    since: dict[int, datetime] = field(default_factory=dict)
    told: dict[int, list[str]] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)


def may_be(name: str) -> bool:
    """Return whether cells read files of such a name; nothing else is looked at."""
    low = name.lower()
    return low.endswith((*CODE, *DATA, *ARRAYS)) and low not in OF_FOLDERS


def identity(sha256: str, files: Sequence[tuple[str, str]] = ()) -> str:
    """Return what stands for a submission: the notebook's hash, or one of all its files.

    Parameters
    ----------
    sha256 : str
        Of the notebook.
    files : sequence of (str, str)
        Names of the files taken along, and their hashes.
    """
    if not files:
        return sha256
    text = json.dumps([sha256, *sorted(map(list, files))])
    return hashlib.sha256(text.encode()).hexdigest()


def places(label: Label, parts: Place, *, inside: bool) -> list[Place]:
    """Return where a file lay when the student handed it in, the likeliest first.

    Platforms that put all files into one folder write the student before a file's name. What was
    handed in at one time is a folder here.

    Parameters
    ----------
    label : Label
    parts : tuple of str
    inside : bool
        Whether it comes from an archive of the student's, where names are the student's own.
    """
    if inside or not parts[-1]:
        return [parts]
    *folders, last = parts
    if label.platform == "ilias" and ILIAS.fullmatch(last):
        return [(*folders, last[15:])]
    if label.platform == "own":
        tail = label.file.replace("\\", "/").split("/") if label.file else [last]
        return [(f"{label.when} {label.attempt}", *folders, *tail)]
    if not label.file or last != label.unit:
        return [parts]
    found = [(str(label.when), *folders, label.file)]
    # Canvas numbers a file that is handed in again: "mine-1.py".
    plain = re.sub(r"-\d{1,3}(?=\.\w+\Z)", "", label.file)
    if label.platform.startswith("canvas") and plain != label.file:
        found.append((*found[0][:-1], plain))
    return found


def choose(notebooks: Mapping[int, tuple[Place, datetime]], candidates: Sequence[Candidate]):
    """Return which candidates go with which notebook.

    Parameters
    ----------
    notebooks : dict
        Any number to place and time of handing in.
    candidates : sequence of Candidate

    Returns
    -------
    Choice
    """
    choice, folders = Choice(), {place[:-1] for place, _ in notebooks.values()}
    around: dict[Place, dict[str, list[tuple[int, int]]]] = {folder: {} for folder in folders}
    nearest: dict[int, Place] = {}
    dated: set[Place] = set()
    for number, one in enumerate(candidates):
        choice.why[number] = APART
        for rank, place in enumerate(one.places):
            for level in range(len(place) - 1, max(-1, len(place) - 1 - MAX_LEVELS), -1):
                folder = place[:level]
                if folder in folders:
                    nearest.setdefault(number, folder)
                    name = unicodedata.normalize("NFC", "/".join(place[level:]))
                    around[folder].setdefault(name, []).append((rank, number))
                    dated |= {folder} if one.versions else set()
    room, users = MAX_OF_STUDENT, {}
    known: dict[Place, tuple[list[tuple[str, int]], list[str]]] = {}
    # Of many notebooks the latest come first, as only so many are graded.
    for notebook in sorted(notebooks, key=lambda n: notebooks[n][1], reverse=True):
        place, when = notebooks[notebook]
        folder = place[:-1]
        if folder not in known or folder in dated:
            left: dict[str, list[str]] = {}
            fitting = _fitting(around[folder], candidates, when, choice, left)
            taken, room = _within(fitting, candidates, room, choice, left)
            known[folder] = taken, [f"{listed(n)}: {w[0].lower()}{w[1:]}" for w, n in left.items()]
        taken, told = known[folder]
        choice.of_notebook[notebook], choice.told[notebook] = taken, told
        times = [candidates[n].when for _, n in taken if nearest[n] == folder]
        choice.since[notebook] = max([when, *times])
        for name, number in taken:
            users.setdefault(number, {}).setdefault(name, []).append(place[-1])
    for number, names in users.items():
        given = "/".join(candidates[number].places[0])
        others = [name for name in names if not f"/{given}".endswith(f"/{name}")]
        who = listed(sorted({notebook for users_of in names.values() for notebook in users_of}))
        # Where the export has the name that the student gave, there is no more to say.
        renamed = NAMED.format(who, listed(others))
        choice.why[number] = renamed if others else TAKEN.format(who)
    return choice


def _within(
    fitting: Sequence[tuple[str, int]],
    candidates: Sequence[Candidate],
    room: int,
    choice: Choice,
    left: dict[str, list[str]],
) -> tuple[list[tuple[str, int]], int]:
    """Return as many files as may be taken, and the bytes that are left for other folders."""
    taken, total = [], 0
    for name, number in fitting:
        size = candidates[number].size
        new = 0 if number in choice.taken else size
        why = MANY if len(taken) == MAX_FILES else LARGE if total + size > HELPERS else ""
        why = why or (TOO_MUCH if new > room else "")
        if why:
            left.setdefault(why, []).append(name)
            _tell(choice, number, why)
            continue
        total, room = total + size, room - new
        taken.append((name, number))
        choice.taken.add(number)
    return taken, room


def _fitting(
    names: Mapping[str, list[tuple[int, int]]],
    candidates: Sequence[Candidate],
    when: datetime,
    choice: Choice,
    left: dict[str, list[str]],
) -> list[tuple[str, int]]:
    """Return one file for each name that may be taken, those nearest and modules first."""
    fitting = []
    for name, all_of_it in names.items():
        readable = [pair for pair in all_of_it if not candidates[pair[1]].sentence]
        best = _version(readable or all_of_it, candidates, when)
        one = candidates[best]
        for _, number in all_of_it:
            if number != best:
                _tell(choice, number, ANOTHER)
        why = one.sentence or why_not(name)
        if why:
            left.setdefault(why, []).append(name)
            _tell(choice, best, why)
        else:
            fitting.append((name, best))
    return sorted(
        fitting,
        key=lambda f: (f[0].count("/"), not f[0].endswith(CODE), candidates[f[1]].size, f[0]),
    )


def _version(
    all_of_it: Sequence[tuple[int, int]], candidates: Sequence[Candidate], when: datetime
) -> int:
    """Return which of several files of one name was there when the notebook was handed in."""
    first = min(rank for rank, _ in all_of_it)
    numbers = [number for rank, number in all_of_it if rank == first]
    if candidates[numbers[0]].versions:
        # Files of one upload have times that differ by seconds.
        known = [n for n in numbers if (candidates[n].when - when).total_seconds() < 600]
        if not known:
            return min(numbers, key=lambda n: candidates[n].when)
        numbers = known
    return max(numbers, key=lambda n: (candidates[n].when, n))


def _tell(choice: Choice, number: int, why: str) -> None:
    if choice.why[number] == APART:
        choice.why[number] = why


def why_not(name: str) -> str:
    """Return why a file of such a name, beside a notebook, is not taken, or ""."""
    if not HELPER.fullmatch(name):
        return NAME
    return LIBRARY if _module(name) in OF_THE_COURSE else ""


def _module(name: str) -> str:
    """Return the module that `import` would find at a file, or ""."""
    first = PurePosixPath(name).parts[0]
    return first.removesuffix(".py") if name.endswith(CODE) else ""


def told_of(taken: Sequence[str]) -> list[str]:
    """Return sentences on the files that were taken along, for the student."""
    told = [f"Taken along from beside the notebook: {listed(taken)}."] if taken else []
    like_python = [name for name in taken if _module(name) in sys.stdlib_module_names]
    if like_python:
        told.append(
            "Named like a module of Python, so that an import may find either one: "
            f"{listed(like_python)}."
        )
    return told


def listed(names: Sequence[str]) -> str:
    """Return a few names, and how many more there are."""
    few = [printable(name if len(name) <= 60 else f"{name[:59]}…") for name in names[:SHOWN]]
    more = len(names) - len(few)
    return f"{', '.join(few)}{f' and {more:,} more' if more else ''}"
