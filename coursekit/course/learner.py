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
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = kept.items() if isinstance(kept, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def remember(path: Path, name: str, **facts: object) -> None:
    """Add facts and the time to an entry of a file.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    kept = recall(path)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    kept[name] = kept.get(name, {}) | facts | {"when": when}
    replace_file(path, json.dumps(kept, indent=1).encode())
