"""Take submissions in: find notebooks in folders and archives, keep their bytes, name problems.

Nothing of a notebook is parsed here. What cannot be a notebook is listed with a rule and a
sentence like everything else: no submission vanishes.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from coursekit.exercises import bank, pages
from coursekit.grading.intake import archives, beside, names
from coursekit.grading.intake.archives import Budget, Item, Refused
from coursekit.grading.intake.files import (
    ARCHIVE,
    LINK,
    MAX_ARCHIVE,
    MAX_NOTEBOOK,
    MAYBE,
    NOTEBOOK,
    OTHER,
    STAMP,
    File,
    Label,
    ignored,
    kind,
    student_name,
)
from coursekit.grading.sandbox.box import HELPERS
from coursekit.results.files import replace_file

LESSON = re.compile(r"\d\d_[a-z]")  # how the course calls the folder of a lesson
MAX_COPIES = 10  # of one student: a thousand copies must not hold up the class
MAX_LISTED = 50  # other files of one student that get a line each
NO_NOTEBOOK = "Handed in {}, no notebook."
NOTHING = "The folder is empty."
NO_FILE = "Expected a file, got something else of that name."
EMPTY = "The file is empty."
UNREADABLE = "The file could not be opened: {}."
SUPERSEDED = f"Only the latest {MAX_COPIES} copies are graded."
# Rules that say nothing against a student: the file is not graded, but beside it another may be.
NOT_GRADED, COPIES, NOBODYS = "not a notebook", "too many copies", "not a submission"
BESIDE_ONE, LEFT_OUT = "beside a notebook", "left out"
ASIDE = (NOT_GRADED, COPIES, NOBODYS, BESIDE_ONE, LEFT_OUT)
BESIDE = "It is no notebook."
NO_MEMBER = "The archive has no notebook."
OF_ENVIRONMENTS = {"bin", "etc", "include", "lib", "lib64", "scripts", "share"}
ENVIRONMENT = "{} files of a Python environment, not looked at."
MORE = "And {} more files that are no notebooks."
BESIDE_SUBMITTED = "It lies beside nbgrader's folder of submissions, and is not looked into."
PLATFORMS = "No student's name: the file belongs to the export, or to whoever made the folder."


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
        ISO time of handing it in, in UTC.
    kept : bool
        Whether the original lies in the folder `intake`.
    rule, sentence : str
        Why it is not graded, or "".
    made : str
        ISO time of its last change, which decides between copies handed in together.
    attempt : int
        As the platform counts; 0 where it does not say.
    late : bool
        Whether the platform marked it so.
    timed : bool
        Whether `when` is when it was handed in. An export of Canvas has no such times.
    platform, unit : str
        Whose names these are, and that of the student's file or folder, for the way back.
    called : str
        What the files call the student, where a class list has another name.
    beside : tuple of (str, str)
        Of a notebook, the files that are taken along: names beside it, and hashes.
    told : tuple of str
        Sentences on these, for the student.
    """

    student: str
    name: str
    sha256: str
    size: int
    when: str
    kept: bool
    rule: str = ""
    sentence: str = ""
    made: str = ""
    attempt: int = 0
    late: bool = False
    timed: bool = True
    platform: str = ""
    unit: str = ""
    called: str = ""
    beside: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """What stands for the submission in its record: of the notebook and what is beside it."""
        return beside.identity(self.sha256, self.beside)

    @property
    def aside(self) -> bool:
        """Whether it says nothing of its student's grade."""
        return self.rule in ASIDE

    @property
    def order(self) -> tuple:
        """What is greater for the later one of two copies."""
        return self.attempt, self.when, self.made, self.name


def collect(
    paths: Sequence[str | Path],
    out: Path,
    pattern: re.Pattern | None = None,
    words: Iterable[str] = (),
) -> list[Entry]:
    """Find all submissions and keep their original bytes.

    Parameters
    ----------
    paths : sequence of path
        Folders of a class, zip files, notebooks.
    out : path
        Originals go to `out/intake/SHA256`, the list to `out/intake.json`.
    pattern : re.Pattern, optional
        For names that no platform writes, as `names.own_pattern` makes it.
    words : iterable of str
        Of a student's many notebooks, those that hold such a word are graded first.

    Returns
    -------
    list of Entry
        By student and time. Files that are not graded are among them.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    ValueError
        If nothing was found, or a file is neither a notebook nor an archive.
    """
    paths = [Path(path) for path in paths]
    words = [word.encode() for word in words]
    fitting: set[str] = set()
    entries = [
        _store(file, out / "intake", words, fitting)
        for path in paths
        for file in files_in(path, paths, pattern)
    ]
    entries = _with_every_student(list(dict.fromkeys(entries)))
    if not any(entry.student for entry in entries):
        raise ValueError(f"expected submissions, got none in {', '.join(map(str, paths))}")
    entries.sort(key=lambda e: (e.student, e.order))
    best_last = sorted(entries, key=lambda e: (e.sha256 in fitting, e.order))
    over = set(_beyond(reversed(best_last)))
    entries = [_set_aside(entry) if entry in over else entry for entry in entries]
    _list(entries, out / "intake.json")
    return entries


def files_in(
    path: Path, among: Sequence[Path] = (), pattern: re.Pattern | None = None
) -> Iterator[File]:
    """Yield what a folder, an archive or a notebook given by name holds.

    Raises
    ------
    FileNotFoundError
        If the path does not exist.
    ValueError
        If it is a file of another kind.
    """
    expected = "expected a folder, a zip file or a notebook"
    if path.is_dir():
        yield from _given_folder(path, among, pattern)
    elif not path.exists():
        raise FileNotFoundError(f"{expected}, got {path}")
    elif kind(path.name) == ARCHIVE:
        yield from _given_archive(path, among, pattern)
    elif kind(path.name) or (beside.may_be(path.name) and _given(path, among, pattern).platform):
        yield from _given_file(path, among, pattern)
    else:
        raise ValueError(f"{expected}, got {path}")


def _given_file(path: Path, among: Sequence[Path], pattern: re.Pattern | None) -> Iterator[File]:
    """Yield a file given by name; of a platform's files, all of its student with the first one."""
    label = _given(path, among, pattern)
    if label.platform:
        group = []
        known = {} if pattern else _labels(frozenset(other.name for other in among))
        for other in among:
            own = _label(other.name, pattern) if pattern else known.get(other.name)
            if own is None or (own.student, own.platform) != (label.student, label.platform):
                continue
            if other.parent == path.parent and kind(other.name) != ARCHIVE and other.is_file():
                group.append((own, *_items([other], other.parent)))
        if group and path.name == group[0][1].path:
            yield from _of_student(group, "", Budget.of(sum(i.size for _, i in group)), 0)
        return
    [item] = _items([path], path.parent)
    if kind(path.name) == OTHER and not item.rule:
        yield _aside(label, item, path.name, NOT_GRADED, BESIDE)
    else:
        yield _file(label, item, path.name)


def _given(path: Path, among: Sequence[Path], pattern: re.Pattern | None = None) -> Label:
    """Return the label of a file or folder given by name: a shell gives a folder's files so."""
    if pattern is not None:
        return _label(path.name, pattern) or Label(student_name(path.name), unit=path.name)
    label = _labels(frozenset(other.name for other in among)).get(path.name)
    if label is None:
        name = path.absolute().name if path.is_dir() else names.stem(path.name)
        if [other.name for other in among].count(path.name) > 1 and path.name:
            # ada/04.ipynb bob/04.ipynb: there the folders are the names.
            name = path.absolute().parent.name
        label = Label(student_name(name), unit=path.name)
    return label


@lru_cache(maxsize=4)
def _labels(known: frozenset[str]) -> dict[str, Label]:
    return names.of_platforms(known)


@lru_cache(maxsize=100_000)
def _label(name: str, pattern: re.Pattern) -> Label | None:
    [label] = names.owners([(name,)], pattern=pattern)
    return label


def _given_folder(path: Path, among: Sequence[Path], pattern: re.Pattern | None) -> Iterator[File]:
    """Yield what a folder holds that was given by name: of a class, or of one student."""
    base = path / names.SUBMITTED if (path / names.SUBMITTED).is_dir() else path
    items = list(_walk(base))
    others = _containers(path, among)
    paths = [item.parts for item in items]
    of_nbgrader = base.absolute().name == names.SUBMITTED
    own = not _is_class(paths, 0, others) if others else _is_handed_out(paths)
    if own and pattern is None and not of_nbgrader:
        mine = [(_given(path, among), item) for item in items]
        if not items:
            mine = [(_given(path, among), Item(("",), _when(path), 0, path))]
        budget = Budget.of(sum(item.size for item in items))
        yield from _of_student(mine, f"{path.absolute().name}/", budget, 0)
        return
    yield from _of_class(items, "", pattern, of_nbgrader=of_nbgrader)
    for other in sorted(path.iterdir()) if base != path else ():
        if other != base and not ignored(other.name):
            when = _when(other)
            yield File(Label(""), other.name, when, when, b"", NOBODYS, BESIDE_SUBMITTED)


def _given_archive(path: Path, among: Sequence[Path], pattern: re.Pattern | None) -> Iterator[File]:
    """Yield what an archive holds that was given by name: of one student, or of a class."""
    label, when = _given(path, among), _when(path)
    try:
        with archives.opened(path, when, of_class=True) as items:
            paths = _paths(items)
            others, chain = _containers(path, among), len(among) <= 1
            depth = names.base(paths, chain=chain)
            if pattern is not None or _is_class(paths, depth, others, of_archive=True):
                whole = Budget.of(path.stat().st_size, least=archives.LEAST_OF_CLASS)
                yield from _of_class(items, f"{path.name}/", pattern, chain=chain, budget=whole)
                return
            archives.expect_harmless(items)
            mine = [(label, item) for item in items if not ignored(*item.parts)]
            if not mine:
                yield File(label, path.name, when, when, b"", NOT_GRADED, NO_MEMBER)
            budget = Budget.of(path.stat().st_size)
            budget.charge(0, len(items))
            yield from _of_student(mine, f"{path.name}/", budget, 1)
    except Refused as error:
        yield File(label, path.name, when, when, path, error.rule, str(error))


def _paths(items: Sequence[Item]) -> list[tuple[str, ...]]:
    return [item.parts for item in items if not ignored(*item.parts)]


def _containers(path: Path, among: Sequence[Path]) -> list[Path]:
    """Return the other folders and archives that are given."""
    return [o for o in among if o != path and (o.is_dir() or kind(o.name) == ARCHIVE)]


def _is_class(
    paths: Sequence[tuple[str, ...]],
    depth: int,
    others: Sequence[Path],
    *,
    of_archive: bool = False,
) -> bool:
    """Return whether a folder or an archive is a class's, and not one student's.

    It is if a platform named what is in it. An archive that is given alone is if it has folders or
    several notebooks. Of several given together, one with several folders or notebooks is; but not
    if others have some of the same names, which are a lesson's then: each one is a student's.
    """
    if names.of_platforms({path[depth] for path in paths if len(path) > depth}):
        return True
    folders, loose = _units(paths, depth)
    if len(folders) == 1 and LESSON.match(*folders):
        return False  # a student's copy of the folder that was given out
    if not others:
        return bool(folders) or len(loose) > 1
    units = folders if of_archive else folders | loose
    if not 1 < len(units) <= MAX_COPIES:
        return len(units) > MAX_COPIES
    return not any(units & set().union(*_units_in(other)) for other in others)


def _is_handed_out(paths: Sequence[tuple[str, ...]]) -> bool:
    """Return whether a folder that is given alone is one student's, and not a class's.

    It is if its only notebook is called as it was given out, with files beside it.
    """
    folders, loose = _units(paths, 0)
    only = "" if folders or len(loose) != 1 else next(iter(loose))
    alone = not only or not any(beside.may_be(path[-1]) for path in paths)
    return not alone and only in {pages.title(lesson)[0] for lesson in bank.lessons()}


def _units(paths: Sequence[tuple[str, ...]], depth: int) -> tuple[set[str], set[str]]:
    """Return the names of the folders that have notebooks in them, and of loose notebooks."""
    full = [path for path in paths if kind(path[-1]) in (NOTEBOOK, ARCHIVE)]
    folders = {path[depth] for path in full if len(path) > depth + 1}
    return folders, {path[depth] for path in full if len(path) == depth + 1}


def _units_in(path: Path) -> tuple[set[str], set[str]]:
    if path.is_dir():
        return _units([item.parts for item in _walk(path)], 0)
    with suppress(Refused, OSError), archives.opened(path, _when(path), of_class=True) as items:
        paths = _paths(items)
        return _units(paths, names.base(paths))
    return set(), set()


# A class's files


def _walk(base: Path) -> Iterator[Item]:
    for root, folders, files in os.walk(base):
        folders[:] = sorted(name for name in folders if not ignored(name))
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        here = [Path(root) / name for name in sorted([*files, *links]) if not ignored(name)]
        yield from _items(here, base)
        if not (folders or here) and Path(root) != base:
            parts = (*Path(root).relative_to(base).parts, "")
            yield Item(parts, _when(Path(root)), 0, Path(root))


def _items(paths: Iterable[Path], base: Path) -> Iterator[Item]:
    for path in paths:
        parts, facts = path.relative_to(base).parts, path.lstat()
        rule = sentence = ""
        if path.is_symlink():
            parts = (*parts, "") if path.is_dir() else parts
            rule, sentence = "symlink", LINK
        elif not stat.S_ISREG(facts.st_mode):
            rule, sentence = "no file", NO_FILE
        yield Item(parts, _when(path), facts.st_size, path, rule, sentence)


def _of_class(
    items: list[Item],
    prefix: str,
    pattern: re.Pattern | None,
    *,
    chain: bool = False,
    of_nbgrader: bool = False,
    budget: Budget | None = None,
) -> Iterator[File]:
    """Yield the files of a class's folder or archive, student by student."""
    items = _without_leftovers(items)
    # A folder of this name has students' folders in it, be it one student's only.
    around = (names.SUBMITTED,) if of_nbgrader else ()
    depth = names.base([(*around, *item.parts) for item in items], chain=chain) - len(around)
    paths = [item.parts for item in items]
    labels = names.owners(paths, depth, pattern, _people(items, depth))
    students: dict[str, list[tuple[Label, Item]]] = {}
    for label, item in zip(labels, items, strict=True):
        if label is not None:
            students.setdefault(label.student, []).append((label, item))
        elif item.parts[-1]:
            yield _aside(Label(""), item, f"{prefix}{item.path}", NOBODYS, PLATFORMS)
    # Whose archives would take too much of what all share comes last.
    for group in sorted(students.values(), key=_greed):
        own = [item for _, item in group]
        try:
            if budget is not None:
                archives.expect_harmless(own, of_class=True)
            mine = Budget.of(sum(map(archives.packed_size, own)), of_class=budget)
            yield from _of_student(group, prefix, mine, 0)
        except Refused as error:
            label, when = group[0][0], max(item.when for item in own)
            name = f"{prefix}{label.unit}"
            yield File(label, name, label.when or when, when, b"", error.rule, str(error))


def _greed(group: Sequence[tuple[Label, Item]]) -> tuple[bool, float]:
    items = [item for _, item in group]
    size, packed = sum(i.size for i in items), sum(map(archives.packed_size, items))
    return any(kind(item.parts[-1]) == ARCHIVE for item in items), size / max(packed, 1)


def _without_leftovers(items: Sequence[Item]) -> list[Item]:
    """Return items without what programs leave behind; a folder of nothing else is empty."""
    rest = [item for item in items if not ignored(*item.parts)]
    full = {item.parts[:n] for item in rest for n in range(len(item.parts))}
    for item in items:
        own = next((n for n, part in enumerate(item.parts) if ignored(part)), 0)
        if own and item.parts[:own] not in full:
            full |= {item.parts[:n] for n in range(own + 1)}
            rest.append(replace(item, parts=(*item.parts[:own], "")))
    return rest


def _people(items: Sequence[Item], depth: int) -> dict[str, Label]:
    """Return who is behind the folders of Gradescope, if its own file says so."""
    for item in items:
        if len(item.parts) == depth + 1 and item.parts[-1] == names.METADATA:
            with suppress(Refused, OSError):
                return names.from_metadata(_read(item).decode("utf-8", "replace"))
    return {}


def _read(item: Item) -> bytes:
    if not isinstance(item.source, Path):
        return archives.read(item)
    content, size = _content(item.source, MAX_NOTEBOOK)
    return content if size == len(content) else b""


# A student's files


def _of_student(
    group: Sequence[tuple[Label, Item]],
    prefix: str,
    budget: Budget,
    depth: int,
    when: datetime | None = None,
) -> Iterator[File]:
    """Yield the files of one student, what is no notebook too.

    Parameters
    ----------
    group : sequence of (Label, Item)
    prefix : str
        Folders or archives around them, for the record.
    budget : Budget
    depth : int
        How many of the student's own archives they are in.
    when : datetime, optional
        When the archive that they are in was handed in: the times in it are the student's.

    Raises
    ------
    Refused
        If there is too much to unpack.
    """
    rest, environments = _without_environments(group)
    stamps = {i.parts[:-1]: _stamp(i) for _, i in rest if i.parts[-1] == STAMP} if not depth else {}
    have = {kind(item.parts[-1]) for _, item in rest if not item.rule}
    notebooks = {NOTEBOOK} if have & {NOTEBOOK, ARCHIVE} else {NOTEBOOK, MAYBE}
    choice, around = _beside(rest, prefix, budget, stamps, notebooks, depth, when)
    others = 0
    for number, (label, item) in enumerate(rest):
        name = f"{prefix}{item.path}".rstrip("/")
        here = kind(item.parts[-1])
        stamp = names.stamp_of(label, item.parts[-1]) or (
            None if label.platform else stamps.get(item.parts[:-1])
        )
        label = replace(label, when=label.when or stamp or when)
        counts = here in notebooks or here == ARCHIVE or not item.parts[-1]
        if item.rule and counts:
            yield _notebook(label, item, name, budget)
        elif label.sentence and counts:
            yield File(label, name, label.when or item.when, item.when, b"", "name", label.sentence)
        elif here == ARCHIVE:
            yield from _archive(label, item, name, budget, depth + 1)
        elif here in notebooks:
            yield _with_files(_notebook(label, item, name, budget), number, choice, around)
        elif not item.parts[-1]:
            yield _aside(label, item, name, NOT_GRADED, NOTHING)
        elif number in around and around[number].rule == BESIDE_ONE:
            yield around[number]
        else:
            others += 1
            if others <= MAX_LISTED:
                yield around.get(number) or _aside(label, item, name, NOT_GRADED, BESIDE)
    for folder, inside in environments.items():
        name = f"{prefix}{'/'.join(folder)}"
        yield _aside(*inside[0], name, NOT_GRADED, ENVIRONMENT.format(len(inside)))
    if others > MAX_LISTED:
        label, item = rest[0]
        name = f"{prefix}{label.unit}"
        yield _aside(label, item, name, NOT_GRADED, MORE.format(others - MAX_LISTED))


def _beside(
    rest: Sequence[tuple[Label, Item]],
    prefix: str,
    budget: Budget,
    stamps: Mapping[tuple[str, ...], datetime | None],
    notebooks: set[str],
    depth: int,
    when: datetime | None,
) -> tuple[beside.Choice, dict[int, File]]:
    """Choose what goes with each notebook, and return all that may, taken or not, by number."""
    kinds = [kind(item.parts[-1]) for _, item in rest]
    inside = depth > 0
    chosen: dict[int, tuple[tuple[str, ...], datetime]] = {}
    numbers: list[int] = []
    candidates: list[beside.Candidate] = []
    for number, (label, item) in enumerate(rest):
        last = item.parts[-1]
        is_notebook = kinds[number] in notebooks and not (item.rule or label.sentence)
        is_notebook = is_notebook and item.size <= archives.most(item)
        found = beside.places(label, item.parts, inside=inside)
        other = kinds[number] in (*notebooks, ARCHIVE) or not beside.may_be(found[0][-1])
        if other and not is_notebook:
            continue
        stamp = None if label.platform else _stamped(stamps, item.parts, around=not is_notebook)
        time = label.when or names.stamp_of(label, last) or stamp or when or item.when
        if is_notebook:
            chosen[number] = found[0], time
            continue
        sentence = label.sentence or item.sentence
        versions = label.platform == "ilias" and not inside
        candidates.append(beside.Candidate(found, time, item.size, sentence, versions))
        numbers.append(number)
    if not (chosen or inside or ARCHIVE in kinds):
        return beside.Choice(), {}
    choice = beside.choose(chosen, candidates)
    around = {}
    for own, number in enumerate(numbers):
        label, item = rest[number]
        name, why = f"{prefix}{item.path}", choice.why[own]
        label = replace(label, when=candidates[own].when)
        rule, source = LEFT_OUT, b""
        if own in choice.taken:
            rule, source = BESIDE_ONE, item.source
            if not isinstance(source, Path):
                try:
                    if not budget.admits(item.size):
                        raise Refused("zip bomb", beside.SPENT)
                    source = archives.read(item)
                except Refused as error:
                    rule, source, why = LEFT_OUT, b"", str(error)
        around[number] = File(label, name, candidates[own].when, item.when, source, rule, why)
    named = {n: [(name, numbers[own]) for name, own in choice.of_notebook[n]] for n in chosen}
    return replace(choice, of_notebook=named), around


def _with_files(
    notebook: File, number: int, choice: beside.Choice, around: Mapping[int, File]
) -> File:
    """Return a notebook with its files: it was handed in when the last of them was."""
    if notebook.rule or number not in choice.of_notebook:
        return notebook
    pairs = tuple((name, around[n]) for name, n in choice.of_notebook[number])
    when = max(notebook.when, choice.since[number])
    return replace(notebook, when=when, beside=pairs, told=tuple(choice.told[number]))


def _stamped(
    stamps: Mapping[tuple[str, ...], datetime | None], parts: tuple[str, ...], *, around: bool
) -> datetime | None:
    """Return the time that nbgrader noted for a file's folder, or for one around it."""
    last = len(parts) - 1
    levels = range(last, -1 if around and stamps else last - 1, -1)
    return next(filter(None, (stamps.get(parts[:n]) for n in levels)), None)


def _without_environments(group: Sequence[tuple[Label, Item]]):
    """Return files without those of Python's environments, and the latter by their folder."""
    roots = {item.parts[:-1] for _, item in group if item.parts[-1] == "pyvenv.cfg"}
    rest, environments = [], {}
    for label, item in group:
        # A notebook that lies directly beside the environment's folders is the student's own.
        levels = range(len(item.parts) - 1)
        inside = [n for n in levels if item.parts[n].lower() in OF_ENVIRONMENTS]
        root = next((r for n in inside if (r := item.parts[:n]) in roots), None)
        if root is None:
            rest.append((label, item))
        else:
            environments.setdefault(root, []).append((label, item))
    return rest, environments


def _notebook(label: Label, item: Item, name: str, budget: Budget) -> File:
    if isinstance(item.source, Path):
        return _file(label, item, name)
    when = label.when or item.when
    try:
        if item.rule:
            raise Refused(item.rule, item.sentence)
        content = archives.read(item)
    except Refused as error:
        return File(label, name, when, item.when, b"", error.rule, str(error))
    budget.charge(len(content))
    return File(label, name, when, item.when, content)


def _file(label: Label, item: Item, name: str) -> File:
    source = item.source
    if item.rule:
        source = os.fsencode(os.readlink(source)) if item.rule == "symlink" else b""
    when = label.when or item.when
    if label.sentence and not item.rule:
        return File(label, name, when, item.when, b"", "name", label.sentence)
    return File(label, name, when, item.when, source, item.rule, item.sentence)


def _aside(label: Label, item: Item, name: str, rule: str, sentence: str) -> File:
    return File(label, name, label.when or item.when, item.when, b"", rule, sentence)


def _archive(label: Label, item: Item, name: str, budget: Budget, depth: int) -> Iterator[File]:
    """Yield what a student's archive holds, or that it was refused."""
    when = label.when or item.when
    outermost, source = depth == 1, b""
    try:
        if depth > archives.MAX_DEPTH:
            raise Refused("zip bomb", archives.NESTED)
        if item.size > MAX_ARCHIVE:
            sentence = archives.LARGE.format(item.size / 2**20, MAX_ARCHIVE / 2**20)
            raise Refused("too large", sentence)
        source = item.source
        if not isinstance(source, Path):
            source = b""
            source = archives.read(item)
            budget.charge(len(source))
        with archives.opened(source, when) as items:
            archives.expect_harmless(items)
            budget.charge(0, len(items))
            mine = [(label, one) for one in items if not ignored(*one.parts)]
            if not mine:
                yield _aside(label, item, name, NOT_GRADED, NO_MEMBER)
            yield from _of_student(mine, f"{name}/", budget, depth, when)
    except Refused as error:
        if not outermost and budget.exceeded:
            raise
        original = source if outermost else b""
        yield File(label, name, when, item.when, original, error.rule, str(error))


def files_beside(path: Path) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return what is taken along with one notebook in a folder, and sentences on that.

    Parameters
    ----------
    path : path
        Of the notebook.

    Returns
    -------
    files : dict
        Name to content.
    told : tuple of str
    """
    items = [item for item in _walk(path.parent) if kind(item.parts[-1]) != ARCHIVE]
    group = [(Label("?"), item) for item in _without_leftovers(items)]
    for file in _of_student(group, "", Budget.of(0), 0):
        if file.name == path.name and not file.rule:
            files = {}
            for name, one in file.beside:
                with suppress(OSError):
                    content, size = _content(one.source, HELPERS)
                    files |= {name: content} if size == len(content) else {}
            return files, (*beside.told_of([*files]), *file.told)
    return {}, ()


def _when(path: Path) -> datetime:
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _stamp(item: Item) -> datetime | None:
    """Return the time that nbgrader noted when it took the submission, if it did."""
    if item.rule:
        return None
    with suppress(Refused, OSError, ValueError, KeyError):
        text = _read(item)[:100].decode("utf-8").strip()
        day, clock, *zone = text.split()
        time = datetime.fromisoformat(f"{day} {clock}")
        return time.replace(tzinfo=ZoneInfo(zone[0]) if zone else time.tzinfo or UTC)
    return None


# What is kept


def _store(file: File, folder: Path, words: Sequence[bytes] = (), fitting=None) -> Entry:
    """Store the original under its hash and name what is wrong with it at first sight."""
    rule, sentence, kept = file.rule, file.sentence, False
    try:
        if isinstance(file.source, bytes):
            content, size = file.source, len(file.source)
        else:
            most = MAX_ARCHIVE if rule else MAX_NOTEBOOK
            content, size = _content(file.source, HELPERS if rule == BESIDE_ONE else most)
    except OSError as error:
        content, size = b"", 0
        rule = LEFT_OUT if rule == BESIDE_ONE else "cannot be opened"
        sentence = UNREADABLE.format(error.strerror or error)
    if size > len(content) and rule == BESIDE_ONE:  # it has grown since it was looked at
        rule, sentence, content = LEFT_OUT, beside.LARGE, b""
    if size > len(content):
        rule = rule or "too large"
        sentence = sentence or archives.LARGE.format(size / 2**20, MAX_NOTEBOOK / 2**20)
        digest = hashlib.sha256(content + f" {size}".encode()).hexdigest()
    elif rule and not content and rule != BESIDE_ONE:
        # Without content, the name keeps two of these apart.
        digest = _digest(rule, file.name)
    else:
        digest, kept = hashlib.sha256(content).hexdigest(), True
        if not rule and not content.strip():
            rule, sentence = "empty", EMPTY
        if fitting is not None and not rule and any(word in content for word in words):
            fitting.add(digest)
        target = folder / digest
        if not target.exists() or target.stat().st_size != size:
            replace_file(target, content)
    label = file.label
    about = digest, size, _iso(file.when), kept, rule, sentence, _iso(file.made)
    marks = label.attempt, label.late, label.timed, label.platform, _shown(label.unit)
    entry = Entry(label.student, _shown(file.name), *about, *marks)
    return _with_hashes(entry, file, folder) if not rule else entry


def _with_hashes(entry: Entry, file: File, folder: Path) -> Entry:
    """Return a notebook's entry with the files that are taken along, and what is said of them."""
    stored = [(name, _store(one, folder)) for name, one in file.beside]
    pairs = tuple((name, one.sha256) for name, one in stored if one.rule == BESIDE_ONE)
    lost = tuple(f"{name}: {one.sentence}" for name, one in stored if one.rule != BESIDE_ONE)
    told = (*beside.told_of([name for name, _ in pairs]), *file.told, *lost)
    return replace(entry, beside=pairs, told=told)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _digest(rule: str, text: str) -> str:
    return hashlib.sha256(f"{rule} {text}".encode("utf-8", "replace")).hexdigest()


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[-300:]


def _content(path: Path, most: int) -> tuple[bytes, int]:
    """Return the content up to what is read at most, and the size of the whole."""
    # The file may have become a link or a pipe since it was looked at.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as handle:
        facts = os.fstat(handle.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(0, "it is no regular file")
        content = handle.read(most)
        return content, max(facts.st_size, len(content))


def _with_every_student(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries, and one for each student whose files are all no notebooks."""
    students: dict[str, list[Entry]] = {}
    for entry in entries:
        students.setdefault(entry.student, []).append(entry)
    listed = students.pop("", [])
    for copies in students.values():
        if all(entry.aside for entry in copies):
            listed.append(_without_notebook(copies))
            copies = copies[1:] and copies  # one file needs one line only
        listed += copies
    return listed


def _without_notebook(copies: Sequence[Entry]) -> Entry:
    files = [e.name.rpartition("/")[2] for e in copies if e.sentence not in (NOTHING, NO_MEMBER)]
    more = f" and {len(files) - 5} others" if len(files) > 5 else ""
    sentence = NO_NOTEBOOK.format(f"{', '.join(files[:5])}{more}") if files else copies[-1].sentence
    last = max(copies, key=lambda e: e.order)
    name = last.name if len(copies) == 1 else last.unit or last.name
    digest = _digest("no notebook", f"{name} {sentence}")
    return replace(last, name=name, sha256=digest, rule="no notebook", sentence=sentence)


def _beyond(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield what each student has more than so many copies of; the best and latest come first.

    Also of files that cannot be read: each one would get a record.
    """
    copies: dict[tuple[str, bool], int] = {}
    for entry in entries:
        if entry.aside:
            continue
        key = entry.student, bool(entry.rule)
        copies[key] = copies.get(key, 0) + 1
        if copies[key] > MAX_COPIES:
            yield entry


def _set_aside(entry: Entry) -> Entry:
    return replace(entry, rule=COPIES, sentence=entry.sentence or SUPERSEDED)


def _list(entries: list[Entry], path: Path) -> None:
    """Add to the list of all that was ever handed in."""
    earlier = []
    with suppress(OSError, ValueError):
        earlier = json.loads(path.read_text(encoding="utf-8"))
    later = {"beside", "told"}  # lists of earlier versions do not have them
    rows = [{k: v for k, v in asdict(e).items() if v or k not in later} for e in entries]
    now = json.loads(json.dumps(rows))
    known = {json.dumps(row) for row in now}
    rows = [row for row in earlier if isinstance(row, dict) and json.dumps(row) not in known] + now
    replace_file(path, json.dumps(rows, indent=1).encode())
