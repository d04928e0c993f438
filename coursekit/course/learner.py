"""What a learner leaves behind: predictions and progress, in small files that survive upgrades.

A file that was never made, or is damaged, counts as empty: a lost guess must not stop a lesson.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from coursekit.results.files import replace_file


def file(name: str) -> Path:
    """Return where a file is kept: in `$COURSEKIT_HOME`, or `.coursekit` in the home folder."""
    home = os.environ.get("COURSEKIT_HOME")
    return (Path(home) if home else Path.home() / ".coursekit") / name


def recall(path: Path) -> dict[str, dict]:
    """Return the entries of a file."""
    try:
        return _entries(path)
    except (OSError, ValueError):
        return {}


def remember(path: Path, name: str, **facts: object) -> None:
    """Add facts and the time to an entry of a file; a damaged file is put aside, not lost.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    try:
        kept = _entries(path)
    except FileNotFoundError:
        kept = {}
    except (OSError, ValueError):
        kept = {}
        if path.is_file():
            path.replace(_aside(path))
    when = datetime.now(UTC).isoformat(timespec="seconds")
    kept[name] = kept.get(name, {}) | facts | {"when": when}
    replace_file(path, json.dumps(kept, indent=1).encode())


def trouble(path: Path) -> list[str]:
    """Return a sentence for each reason why a file is not read, or could not be written."""
    sentences = []
    try:
        _entries(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # nothing was kept so far
    except (OSError, ValueError) as error:
        why = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "is damaged"
        sentences.append(
            f"{path} {why} and counts as empty. The next thing to be kept begins a new file and "
            f"puts this one aside as {_aside(path).name}, where you may repair it."
        )
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        sentences.append(
            f"{folder} cannot be written, so nothing new is kept: set COURSEKIT_HOME to a folder "
            "that you may write."
        )
    return sentences


def _entries(path: Path) -> dict[str, dict]:
    """Entries of a file. Raises OSError or ValueError if it cannot be read, or is damaged."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict):
        raise ValueError(f"expected entries by name in {path}, got {type(kept).__name__}")
    return {name: entry for name, entry in kept.items() if isinstance(entry, dict)}


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")
