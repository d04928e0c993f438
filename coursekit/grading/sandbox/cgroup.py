"""Limits of memory and processes for a whole sandbox, where this machine lets us set them.

Limits of a single process cannot stop sixty of them from taking all memory together; a cgroup can.
Version 2 needs a parent that hands its controllers down and is ours to write to: root has one, and
so has a user of a systemd session. Version 1 needs root.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "coursekit-"  # then the number of the grader's process


@dataclass(frozen=True)
class Group:
    """The cgroups of one sandbox; none where none could be made.

    Attributes
    ----------
    folders : tuple of Path
        The processes of the sandbox join all of them.
    """

    folders: tuple[Path, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.folders)


def make(name: str, memory: int, processes: int, root: Path = ROOT) -> Group:
    """Make a cgroup.

    Parameters
    ----------
    name : str
        Of its folder.
    memory : int
        Bytes of all processes together, with what they write into memory file systems.
    processes : int
    root : Path, optional
        Where the kernel shows cgroups.

    Returns
    -------
    Group
        False if the machine refuses.
    """
    two = {"memory.max": memory, "memory.swap.max": 0, "pids.max": processes}
    for parent in (*_parents(root), root / "memory", root / "pids"):
        bury(parent)
    for parent in _parents(root):
        if folder := _make_limited(parent / name, two):
            return Group((folder,))
    one = [
        ("memory", {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory}),
        ("pids", {"pids.max": processes}),
    ]
    folders = []
    for controller, limits in one:
        folder = _make_limited(root / controller / name, limits)
        if folder is None:
            remove(Group(tuple(folders)))
            return Group()
        folders.append(folder)
    return Group(tuple(folders))


def oom_kills(group: Group) -> int:
    """Return how many processes the kernel has killed for their memory."""
    for folder in group.folders:
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                return int(counts.get("oom_kill", 0))
    return 0


def remove(group: Group) -> None:
    """Remove a cgroup, empty by now."""
    for folder in group.folders:
        _remove(folder)


def bury(folder: Path) -> None:
    """Remove what graders that were killed have left: empty folders named by their process.

    A folder in use is not empty for the kernel, and one of a grader that lives is left alone.
    """
    for left in folder.glob(f"{PREFIX}*"):
        number = left.name.removeprefix(PREFIX).split("-")[0]
        if number.isdigit() and not _lives(int(number)):
            _remove(left)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # it is another user's, or no number of a process
    return True


def _remove(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _parents(root: Path) -> list[Path]:
    """Folders of version 2 that hand down both controllers, and that we may write to."""
    mine = [root]
    with suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        path = next((line[3:] for line in lines if line.startswith("0::")), "/")
        mine = [root / path.lstrip("/"), (root / path.lstrip("/")).parent, root]
    parents = []
    for folder in mine:
        with suppress(OSError):
            controllers = (folder / "cgroup.subtree_control").read_text().split()
            if {"memory", "pids"} <= set(controllers) and os.access(folder, os.W_OK):
                parents.append(folder)
    return parents


def _make_limited(folder: Path, limits: dict[str, int]) -> Path | None:
    try:
        folder.mkdir()
    except OSError:
        return None
    try:
        for name, value in limits.items():
            # Accounting of swap is often switched off, and then there is nothing to limit.
            if "swap" in name or "memsw" in name:
                with suppress(OSError):
                    (folder / name).write_text(str(value))
            else:
                (folder / name).write_text(str(value))
    except OSError:
        folder.rmdir()
        return None
    return folder
