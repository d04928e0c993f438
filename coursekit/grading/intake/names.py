"""What names say: whose file, handed in when, and which attempt.

One table for what learning platforms write into the names of their exports. Only what a platform
or the instructor wrote is read: the name of a student's own folder or file, and from its front.
What a student may call a file stands behind that, or deeper, and makes nobody else its owner.
"""

import re
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

from coursekit.grading.intake.files import (
    ARCHIVE,
    NOTEBOOK,
    STAMP,
    Label,
    kind,
    notebook_stem,
    student_name,
)

LONGEST = 1_000  # characters of a path; a pattern may take long on more
PATIENCE = 1.0  # seconds that an instructor's pattern may take on one name
METADATA = "submission_metadata.yml"  # of Gradescope
SUBMITTED = "submitted"  # nbgrader's folder of students
UNFIT = "Its name does not fit the pattern of --names."
LONG = "Its name is too long for the pattern of --names."
SLOW = "The pattern of --names takes too long on its name."

Path = tuple[str, ...]


# Names are matched whole. `student` is who it is, with the platform's number where it has one: two
# people may have one name. What a student chose, `.*` at the end, can therefore pretend nothing.
PLATFORMS = {
    "moodle": r"(?P<student>.+?_\d+)_assignsubmission_[a-z]+(_(?P<file>.*))?",
    "brightspace": r"(?P<id>\d+)-\d+ - (?P<student>.+?) - (?P<time>[^-]*\b\d{4}\b[^-]*?)"
    r"( - (?P<file>.*))?",
    "blackboard": r"(?P<before>.+?)_attempt_(?P<time>\d{4}(-\d\d){5})([_.](?P<file>.*))?",
    "canvas": r"(?P<student>[^_]+)_((?P<late>LATE)_)?(?P<id>\d+)"
    r"_((?P<attempt>\d+)_(?P<file>.+)|(text|link)\.html)",
    "canvas, anonymous": r"(?P<student>anon_[^_]+)_((?P<late>LATE)_)?(?P<attempt>\d+)"
    r"_(?P<file>.+)",
    "gradescope": r"(?P<student>submission_\d+)",
}
PATTERNS = {name: re.compile(pattern, re.DOTALL) for name, pattern in PLATFORMS.items()}
ILIAS = re.compile(r"(?P<time>\d{14})_.+", re.DOTALL)  # of the files in a student's folder
TIMES = (
    "%Y-%m-%d-%H-%M-%S",
    "%Y%m%d%H%M%S",
    "%b %d, %Y %I%M %p",
    "%b %d, %Y %H%M",
    "%B %d, %Y %I%M %p",
    "%d %B, %Y %H%M",
    "%d %b %Y %H%M",
)

# Whose


def owners(
    paths: Sequence[Path],
    depth: int = 0,
    pattern: re.Pattern | None = None,
    people: Mapping[str, Label] | None = None,
) -> list[Label | None]:
    """Return whose each file of a class is.

    Parameters
    ----------
    paths : sequence of tuple of str
        Parts of the path of each file below the folder or in the archive; the last one is "" for
        an empty folder.
    depth : int
        How many folders around everything are nobody's.
    pattern : re.Pattern, optional
        The instructor's own, which then decides alone.
    people : dict, optional
        Who is behind a name, where the platform keeps that in a file of its own.

    Returns
    -------
    list of Label or None
        None for a file of the platform or of a program.
    """
    if pattern is not None:
        return [_by_pattern(path, pattern) for path in paths]
    below = [path[depth:] for path in paths]
    folders = {path[0]: len(path) > 1 for path in below if path}
    labels = of_platforms(folders)
    labels |= {unit: one for unit, one in (people or {}).items() if unit in folders}
    plain = {unit for unit, folder in folders.items() if folder and unit not in labels}
    files = [path[1] for path in below if len(path) == 2 and path[0] in plain and kind(path[1])]
    platform = "ilias" if files and all(map(ILIAS.fullmatch, files)) else ""
    exported = bool(labels or platform)
    for unit, folder in folders.items():
        # Beside what a platform exported, a page or a table is the platform's as well.
        looked_at = kind(unit) in (NOTEBOOK, ARCHIVE) or (kind(unit) and not exported)
        if unit in plain:
            labels[unit] = Label(student_name(unit), platform=platform, unit=unit)
        elif unit not in labels and not folder and looked_at:
            labels[unit] = Label(student_name(stem(unit)), unit=unit)
    return [labels.get(path[0]) if path else None for path in below]


def base(paths: Sequence[Path], *, chain: bool = False) -> int:
    """Return how many folders around a class's submissions are nobody's.

    A folder that is alone is nobody's if students' folders, students' archives or a platform's
    names lie in it, or in a folder that is alone in it. If not, it is a student's.
    """
    depth = 0
    while True:
        here = [path for path in paths if len(path) > depth]
        loose = {path[depth] for path in here if len(path) == depth + 1}
        folders = {path[depth] for path in here if len(path) > depth + 1}
        kinds = [kind(name) for name in loose]
        if of_platforms(loose | folders) or (depth and here[0][depth - 1] == SUBMITTED):
            return depth
        if depth == 0 and (len(folders) != 1 or any(kinds)):
            return 0
        if depth:
            full = {path[depth] for path in here if kind(path[-1]) in (NOTEBOOK, ARCHIVE)} & folders
            assignments = any(path[depth + 1 :] == (STAMP,) for path in here)
            several = len(full) + kinds.count(ARCHIVE) > 1 and not assignments
            stamped = any(len(path) == depth + 2 and ILIAS.fullmatch(path[-1]) for path in here)
            if NOTEBOOK not in kinds and (several or stamped):
                return depth
            if any(kinds) or len(folders) != 1 or assignments:
                return depth - 1 if chain else 0
        depth += 1


def of_platforms(names: Iterable[str]) -> dict[str, Label]:
    """Return the labels of those names of one folder that a platform wrote."""
    matches = {}
    for name in names:
        for platform, pattern in PATTERNS.items():
            if match := pattern.fullmatch(name[:LONGEST]):
                matches[name] = platform, match.groupdict()
                break
    # Canvas numbers each file anew: "hw_2026_104_ada.ipynb" and "hw_2026_104_bob.ipynb" are none of
    # its, nor of one student. Where all would be one student's, an instructor named them, too.
    files = Counter((p, parts["attempt"]) for p, parts in matches.values() if parts.get("attempt"))
    matches = {
        name: (platform, parts)
        for name, (platform, parts) in matches.items()
        if files[platform, parts.get("attempt")] < 2
    }
    canvas = [parts for platform, parts in matches.values() if platform == "canvas"]
    if len(canvas) > 1 and len({(parts["student"], parts["id"]) for parts in canvas}) == 1:
        matches = {name: one for name, one in matches.items() if one[0] != "canvas"}
    # Blackboard writes EXERCISE_LOGIN, and both may have "_" in them.
    logins: dict[str, set[str]] = {}
    for _, parts in matches.values():
        if before := parts.get("before"):
            logins.setdefault(before.rpartition("_")[2], set()).add(before)
    labels = {}
    for name, (platform, parts) in matches.items():
        if before := parts.get("before"):
            login = before.rpartition("_")[2]
            parts["student"] = login if len(logins[login]) == 1 else before
        labels[name] = _label(platform, name, parts)
    return labels


def _label(platform: str, unit: str, parts: Mapping[str, str | None]) -> Label:
    student, number = parts["student"], parts.get("id")
    return Label(
        student_name(f"{student}_{number}" if number else student),
        when=time_in(parts.get("time") or ""),
        attempt=int(parts.get("attempt") or 0),
        late=bool(parts.get("late")),
        timed=not platform.startswith("canvas"),
        platform=platform,
        unit=unit,
        file=parts.get("file") or "",
    )


def stem(name: str) -> str:
    """Return a file's name without its endings, as in "ada" for "ada.ipynb.zip"."""
    bare = re.sub(r"(?i)(\.tar)?\.[a-z0-9]{1,5}\Z", "", name) or name
    return notebook_stem(name) or notebook_stem(bare) or bare


def time_in(text: str) -> datetime | None:
    """Return the local time that a name has, or None."""
    text = text.strip()
    for form in TIMES:
        with suppress(ValueError, OverflowError, OSError):
            return datetime.strptime(text, form).astimezone()
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromisoformat(text).astimezone()
    return None


def stamp_of(label: Label, name: str) -> datetime | None:
    """Return the time that ILIAS puts before the name of each file, or None."""
    match = ILIAS.fullmatch(name) if label.platform == "ilias" else None
    return time_in(match["time"]) if match else None


def from_metadata(text: str) -> dict[str, Label]:
    """Return who is behind each folder of Gradescope's export, by the file that it adds.

    Several people who handed in together are one student here, with all their names.
    """
    import yaml  # comes with JupyterLab

    try:
        # Everything is text to this loader, whatever Ruby calls it.
        listing = yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        labels = {}
        for unit, about in listing.items():
            people = [
                "_".join(filter(None, (one.get(":name"), one.get(":sid") or one.get(":email"))))
                for one in about[":submitters"]
            ]
            when = about.get(":created_at") or ""
            day = re.match(
                r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)[\d.]* *(Z|[+-]\d\d:?\d\d)?", when
            )
            time = (
                datetime.fromisoformat("".join((day[1], "T", day[2], day[3] or "")))
                if day
                else None
            )
            student = student_name(", ".join(people) or unit)
            labels[unit] = Label(
                student, time and time.astimezone(), platform="gradescope", unit=unit
            )
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    return labels


# The instructor's own pattern


def own_pattern(text: str) -> re.Pattern:
    """Return an instructor's pattern, compiled.

    Parameters
    ----------
    text : str
        A regular expression with a group `student`, and `time`, `attempt` and `file` (what the
        student called it) if it likes. It is matched from the front of a file's path below the
        folder or in the archive.

    Raises
    ------
    ValueError
        If it cannot be read, or has no such group.
    """
    example = r"as in '(?P<student>[a-z]+)_hw4.*\.ipynb'"
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        message = f"expected a regular expression {example}, got --names {text!r}"
        raise ValueError(f"{message}: {error}") from error
    if "student" not in pattern.groupindex:
        groups = ", ".join(pattern.groupindex) or "no named group"
        raise ValueError(f"expected --names with a group `student`, {example}, got {groups}")
    return pattern


def _by_pattern(path: Path, pattern: re.Pattern) -> Label | None:
    name = "/".join(path)
    match, sentence = None, UNFIT
    if len(name) > LONGEST:
        sentence = LONG
    else:
        try:
            with limited(PATIENCE):
                match = pattern.match(name)
        except TimeoutError:
            sentence = SLOW
    parts = match.groupdict() if match else {}
    if not parts.get("student"):
        unit = path[0] if len(path) > 1 else stem(path[0])
        counts = kind(path[-1]) or not path[-1]
        return Label(student_name(unit), unit=path[0], sentence=sentence) if counts else None
    digits = re.sub(r"\D", "", parts.get("attempt") or "")[:15]
    return Label(
        student_name(parts["student"]),
        when=time_in(parts.get("time") or ""),
        attempt=int(digits or 0),
        platform="own",
        unit=path[0],
        file=parts.get("file") or "",
    )


@contextmanager
def limited(seconds: float):
    """Raise TimeoutError in the block after some seconds, where the system can.

    Matching a regular expression looks for signals, and for nothing else, while it works.
    """

    def stop(*_):
        raise TimeoutError

    try:
        earlier = signal.signal(signal.SIGALRM, stop)
    except (AttributeError, ValueError):  # on Windows, or not in the main thread
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
