"""Run submissions where they can do no harm: `with Box() as box: box.run(cells, probes)`.

A box is one bubblewrap sandbox with one waiting process, which has imported torch and forks for
each submission. Nothing of a submission runs in the grader's process, nothing is unpickled there,
and what comes back are plain arrays.

What keeps a submission in: no network; no file but the system, the interpreter, its environment
and this package, all read-only; small folders in memory that vanish with it; its own namespaces,
without capabilities; refused system calls; limits of time, memory, processes and files.
What does not: a hole in the kernel, and what processors leak about their neighbors.
"""

import itertools
import math
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from coursekit.grading.sandbox import bubblewrap, cgroup, frames, protocol, transcript, zygote
from coursekit.grading.sandbox.bubblewrap import NoSandbox
from coursekit.grading.sandbox.protocol import BoxFault
from coursekit.grading.sandbox.transcript import CellRun, Reply

PATIENCE = 120  # seconds for the imports inside
BASE = 512 * 2**20  # bytes that the waiting process and its libraries may take besides
GRACE = 2  # seconds besides, for forks and for answers to arrive
NOBODY = 65534
HELPERS = 4 * 2**20  # bytes of all files beside a notebook
HELPER = re.compile(r"(\w[\w .-]{0,99}/){0,3}\w[\w .-]{0,99}")  # a plain name, in folders or not
_numbers = itertools.count()


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes
    ----------
    seconds : float
        For all cells together: of its own processor time, so that a busy machine costs nobody
        points; three times as long by the clock.
    cell_seconds : float
        After this long, counted alike, a cell is interrupted, and the next one runs.
    exercise_seconds : float
        For all questions of one exercise, counted alike.
    memory : int
        Bytes: of each process, and of all together, with what they share.
    processes : int
        Processes and threads at a time.
    output : int
        Bytes of a cell's output that are kept.
    files : int
        Bytes of the working folder, of /tmp, and of /dev/shm, each.
    open_files : int
    reply : int
        Bytes of all answers together.
    """

    seconds: float = 60
    cell_seconds: float = 30
    exercise_seconds: float = 20
    memory: int = 2 * 2**30
    processes: int = 64
    output: int = 20_000
    files: int = 64 * 2**20
    open_files: int = 256
    reply: int = 16 * 2**20


@dataclass(frozen=True)
class Outcome:
    """What became of a submission.

    Attributes
    ----------
    status : str
        "graded" (it came to its end), "time limit", "memory limit", "crashed" or "grader fault"
        (says nothing about the submission: try again).
    reason : str
        A sentence, empty when graded.
    cells : list of Cell
    replies : list of Reply
        One for each probe, also where the submission did not come to its end.
    seconds : float
        By the clock.
    memory : int
        Bytes of its largest process, libraries included.
    """

    status: str
    reason: str
    cells: list[CellRun]
    replies: list[Reply]
    seconds: float
    memory: int


class Box:
    """A place to run submissions, one after the other.

    Use it as a context manager, in the thread that opened it: with that thread the box ends.

    Parameters
    ----------
    limits : Limits, optional
    trusted : bool
        Run without any isolation: for one's own notebooks only.
    readable : sequence of path
        Files and folders shown inside, read-only, at the same place; importable there.
    driver : str
        "module:function" that puts a question to an answer,
        (name, variant, answer, inputs) to (arrays, notes). Default: the drivers of
        `coursekit.exercises`, which come in without the exercises' references and solutions.
    preload : sequence of str
        Modules that answers import besides torch and NumPy: imported once instead of each time.
    nested : bool
        False opens a fresh sandbox for every submission: slow, and done by itself where the kernel
        refuses namespaces inside a sandbox.
    grouped : bool
        False does without a cgroup.

    Raises
    ------
    NoSandbox
        If this machine has no bubblewrap, or forbids what it needs. The message says what to do.
    RuntimeError
        If the course's own code cannot be imported inside.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        trusted: bool = False,
        readable: Sequence[str | Path] = (),
        driver: str = "",
        preload: Sequence[str] = (),
        nested: bool = True,
        grouped: bool = True,
    ):
        self.limits = limits or Limits()
        self.mode = zygote.TRUSTED if trusted else zygote.NESTED if nested else zygote.SINGLE
        self.readable = tuple(Path(p).absolute() for p in readable)
        self.driver, self.preload, self.grouped = driver, list(preload), grouped
        self.group, self._process, self._line, self._log = cgroup.Group(), None, None, None
        self._ready = False
        if not trusted:
            bubblewrap.executable()

    def __enter__(self) -> "Box":
        self.open()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def begin(self) -> None:
        """Start the box and do not wait for it, which is the first half of `open`."""
        if self._process is None:
            self._start()

    def open(self) -> None:
        """Start the box and wait until it can be used; `run` does so by itself.

        Raises
        ------
        NoSandbox
        """
        if self._ready:
            return
        try:
            self.begin()
            self._wait()
        except BoxFault as fault:
            self.close()
            if self.mode == zygote.NESTED and fault.confined:
                self.mode = zygote.SINGLE
                self.open()
                return
            if self.mode == zygote.TRUSTED:
                raise RuntimeError(f"the notebook's process did not start: {fault}") from fault
            raise NoSandbox(bubblewrap.FORBIDDEN.format(fault)) from fault

    def close(self) -> None:
        """End the box and all that runs in it."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            # Killed, not asked: the waiting process may hang. Bubblewrap's namespace dies with it.
            self._process.kill()
            self._process.wait()
            self._folder.cleanup()
            self._log.close()
            self._log = None
        _remove_when_empty(self.group)
        self.group, self._process, self._line = cgroup.Group(), None, None
        self._ready = False

    def run(
        self,
        cells: Sequence[str],
        probes: Sequence[Mapping[str, object]] = (),
        helpers: Mapping[str, bytes] | None = None,
    ) -> Outcome:
        """Execute cells and put questions to the functions they define.

        Parameters
        ----------
        cells : sequence of str
            Code of a notebook, magics included.
        probes : sequence of dict
            "name" (of the exercise), "inputs" (a tree of dicts, lists, JSON values, arrays), and
            optionally "variant" (key) and "function" (its name in the notebook; default: "name").
        helpers : dict, optional
            Name to content of files that are put beside the notebook, at most `HELPERS` bytes.

        Returns
        -------
        Outcome

        Raises
        ------
        ValueError
            If the name of a helper leads out of the folder, or there are too many bytes.
        NoSandbox
            If the box cannot be opened.
        """
        questions = [{"variant": None, "function": probe["name"], **probe} for probe in probes]
        job, message = _job(cells, questions, helpers or {}), ""
        for _ in range(2):
            try:
                self.open()
                return self._try(job, len(cells), questions)
            except BoxFault as fault:
                message = f"{fault} {self._last_line()}".strip()
                self.close()
            finally:
                if self.mode == zygote.SINGLE:
                    self.close()
        script = transcript.start(len(cells), len(questions), 0, 0)
        return Outcome(transcript.FAULT, message, script.cells, script.replies, 0.0, 0)

    def _start(self) -> None:
        content = b"" if self.driver else _kit()
        ours, theirs = socket.socketpair()
        kit = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        kit.write(content)
        kit.seek(0)
        self._line, self._log = ours, tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        cgroup.bury(Path(tempfile.gettempdir()))
        prefix = f"{cgroup.PREFIX}{os.getpid()}-"
        self._folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
        with theirs, kit:
            line, env = self._command(theirs.fileno(), None if self.driver else kit.fileno())
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno(), kit.fileno()],
                start_new_session=True,
                env=env,
                cwd=self._folder.name,
            )

    def _wait(self) -> None:
        """Wait until everything is imported inside. Raises BoxFault or RuntimeError."""
        try:
            ready = protocol.listen(self._line, PATIENCE)
        except BoxFault as fault:
            raise BoxFault(self._last_line() or str(fault)) from fault
        if ready.get("confined") is False:
            self.close()
            raise RuntimeError(f"what a submission needs cannot be imported: {ready['fault']}")
        if "fault" in ready:
            raise BoxFault(str(ready["fault"]), confined=True)
        if ready.get("threads") != 1:
            raise BoxFault(f"expected one thread after the imports, got {ready.get('threads')}")
        self._ready = True

    def _last_line(self) -> str:
        """Last line that the waiting process, or bubblewrap, has printed."""
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else ""

    def _command(self, handle: int, kit: int | None) -> tuple[list[str], dict[str, str]]:
        limits, trusted = self.limits, self.mode == zygote.TRUSTED
        if self.grouped and not trusted:
            name = f"{cgroup.PREFIX}{os.getpid()}-{next(_numbers)}"
            self.group = cgroup.make(name, limits.memory + BASE, limits.processes + 16)
        visible = [str(path) for path in bubblewrap.visible_paths(self.readable)]
        args = (handle, self.mode, not self.group, self.driver, visible, self.preload, kit)
        line = bubblewrap.python(args, self.readable)
        env = {**os.environ, **bubblewrap.EVERYWHERE}
        if trusted:
            return line, {**env, "TMPDIR": self._folder.name}
        nested = self.mode == zygote.NESTED
        line = bubblewrap.command(line, self.readable, limits.files, nested=nested)
        groups = [str(folder) for folder in self.group.folders]
        return bubblewrap.with_order(line, groups=groups, uid=_unused_uid()), env

    def _try(self, job: bytes, n_cells: int, probes: list[dict]) -> Outcome:
        limits, began = self.limits, time.monotonic()
        script = transcript.start(n_cells, len(probes), limits.reply, limits.output)
        before = cgroup.oom_kills(self.group)

        def oom_killed() -> bool:
            return cgroup.oom_kills(self.group) > before

        n_exercises = sum(1 for _ in itertools.groupby(probe["function"] for probe in probes))
        waits = limits.seconds, limits.exercise_seconds * n_exercises + GRACE
        try:
            ending, end = protocol.run(
                self._line, job, _bounds(limits, waits), script, waits, oom_killed
            )
        except BoxFault:
            # Alone in its sandbox with the waiting process, a submission can take it along.
            if self.mode == zygote.NESTED or not script.began:
                raise
            ending, end = "", {"ended": 128 + signal.SIGKILL}
        status, reason = protocol.status(script, ending, end, short_of_memory=oom_killed())
        if status == transcript.FAULT:
            raise BoxFault(reason)
        seconds = time.monotonic() - began
        return Outcome(status, reason, script.cells, script.replies, seconds, end.get("peak", 0))


@cache
def _kit() -> bytes:
    from coursekit.exercises import bank, driving

    return driving.kit(bank.exercises())


def expect_helpers(helpers: Mapping[str, bytes]) -> None:
    """Raise ValueError for files that cannot be put beside a notebook."""
    for name in helpers:
        if not HELPER.fullmatch(name):
            raise ValueError(f"expected a file beside the notebook, got {name[:80]!r}")
    size = sum(len(content) for content in helpers.values())
    if size > HELPERS:
        raise ValueError(
            f"expected at most {HELPERS / 1e6:.3g} MB of files beside the notebook, "
            f"got {size / 1e6:.3g} MB"
        )


def _job(cells: Sequence[str], probes: list[dict], helpers: Mapping[str, bytes]) -> bytes:
    expect_helpers(helpers)
    files = [(name, np.frombuffer(content, np.uint8)) for name, content in helpers.items()]
    job, arrays = {"cells": list(cells), "probes": probes, "helpers": files}, {}
    return frames.encode({"job": frames.pack(job, arrays)}, arrays)


def _bounds(limits: Limits, waits: tuple[float, float]) -> dict[str, float]:
    """Limits as the inside wants them."""
    # Several threads may use more time than passes by the clock.
    cpu = 2 * math.ceil(sum(waits)) + 1
    cell_seconds = min(limits.cell_seconds, limits.seconds)
    return asdict(limits) | {"cpu": cpu, "cell_seconds": cell_seconds}


def _unused_uid() -> int | None:
    """Return a user whom nobody else is, if we are root: its process limit counts this box only."""
    if os.geteuid() != 0:
        return None
    uid = 100_000_000 + 64 * os.getpid() + next(_numbers) % 64
    with suppress(OSError, ValueError):
        for mapped in Path("/proc/self/uid_map").read_text().splitlines():
            first, _, count = map(int, mapped.split())
            if first <= uid < first + count:
                return uid
    return NOBODY


def _remove_when_empty(group: cgroup.Group) -> None:
    for _ in range(100):  # the kernel takes a moment to bury the last process
        cgroup.remove(group)
        if not any(folder.exists() for folder in group.folders):
            return
        time.sleep(0.01)
