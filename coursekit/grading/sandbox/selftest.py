"""Try in the sandbox itself, before it grades anything, whether it holds.

Each attempt is a small submission that does what it must not be able to do. It is judged by what
it reports and by what happened outside. The full list of attacks is in the tests.
"""

import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from coursekit.grading.sandbox import transcript
from coursekit.grading.sandbox.box import BASE, Box, Limits, NoSandbox, Outcome

HELD, BROKE = "HELD", "BROKE"
CHILDREN_TOGETHER = "memory of all processes together"
# `attempt` is the line that must fail.
TRY = """
try:
    {attempt}
    print("BROKE")
except (OSError, MemoryError, RuntimeError) as error:
    print("HELD", type(error).__name__)
"""
FORKS = """
import os, time
n = 0
try:
    for _ in range({many}):
        if os.fork() == 0:
            time.sleep(100)
        n += 1
    print("BROKE", n)
except OSError:
    print("HELD", n)
"""
CHILDREN = """
import os, time
ready, full = os.pipe()
for _ in range({many}):
    if os.fork() == 0:
        held = bytearray(b"x") * {size}
        os.write(full, b"x")
        time.sleep(100)
n = 0
while n < {many}: n += len(os.read(ready, 64))
print("BROKE", n, "times", {size})
"""
UNMAPPED = """
import os
held = []
try:
    for _ in range({many}):
        held.append(os.memfd_create("x"))
        os.write(held[-1], bytes({size}))
    print("BROKE", len(held))
except OSError as error: print("HELD", error.strerror)
"""
SYSTEM_V = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
held = []
try:
    for _ in range({many}):
        segment = libc.shmget(0, ctypes.c_size_t({size}), 0o1600)
        if segment < 0: break
        held.append(segment)
        place = libc.shmat(segment, None, 0)
        if place == 2**64 - 1: break
        ctypes.memset(ctypes.c_void_p(place), 1, {size})
        libc.shmdt(ctypes.c_void_p(place))
    print("BROKE" if len(held) == {many} else "HELD", len(held))
finally:
    for segment in held: libc.shmctl(segment, 0, None)  # outside of a sandbox it would stay
"""
ANSWERS = """
import os
try:
    import coursekit.exercises
    folder = os.path.dirname(__import__("coursekit").__file__)
    seen = os.path.join(folder, "exercises")
    found = [hasattr(coursekit.exercises, "find"), os.listdir(seen) if os.path.isdir(seen) else []]
    from coursekit.exercises import bank
    print("BROKE", found)
except ImportError:
    print("BROKE" if any(found) else "HELD")
"""
KILL = """
import os, signal
seen = [int(p) for p in os.listdir("/proc") if p.isdigit()]
os.kill(1, signal.SIGKILL)
print("HELD" if sorted(seen) == [1, os.getpid()] else "BROKE")
"""
GOOD = "def twice(x): return 2 * x"
BROKEN = """expected a sandbox that holds, got this on trying to break out:
{}
try another machine, or see docs/teaching.md"""


@dataclass(frozen=True)
class Report:
    """What was tried; printed, a line for each.

    Attributes
    ----------
    held : dict
        Attempt to whether the sandbox held.
    details : dict
        Attempt to what was seen.
    """

    held: dict[str, bool] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.held) and all(self.held.values())

    def __str__(self) -> str:
        lines = [f"{'held ' if ok else 'BROKE'} {name} ({self.details[name]})" for name, ok in self]
        return "\n".join(lines)

    def __iter__(self):
        return iter(self.held.items())


def selftest(limits: Limits | None = None, *, make_box: Callable[..., Box] = Box) -> Report:
    """Try to break out of a sandbox, and to take more than `limits`.

    Parameters
    ----------
    limits : Limits, optional
    make_box : callable, optional
        Called with limits. The test of this test passes a box without isolation.

    Returns
    -------
    Report

    Raises
    ------
    NoSandbox
        If this machine cannot run it.
    """
    with make_box(limits) as box:
        return try_all(box)


def try_all(box: Box) -> Report:
    """Try to break out of an open box, and to take more than it allows."""
    report, usual = Report(), box.limits
    box.limits = replace(usual, seconds=20, cell_seconds=10)
    try:
        good, reached, untouched = _run_attempts(box, report)
    finally:
        box.limits = usual
    report.held["nothing reached the server outside"] = not reached
    report.held["nothing was written outside"] = untouched
    report.held["the next submission runs"] = good.status == transcript.GRADED
    for name, ok in report:
        report.details.setdefault(name, "yes" if ok else "no")
    return report


class ProvenBox(Box):
    """A box that first tries to break out of itself, and refuses to work where it can.

    Raises
    ------
    NoSandbox
        When it is opened, as `Box`, or if an attempt succeeds.
    """

    _proven = False

    def open(self) -> None:
        super().open()
        if self._proven:
            return  # once: a box that is started again stands on the same kernel
        report, self._proven = None, True  # as the attempts, too, open it
        try:
            report = try_all(self)
        finally:
            self._proven = report is not None and report.passed
        if not report.passed:
            self.close()
            raise NoSandbox(BROKEN.format(report))


def _run_attempts(box: Box, report: Report) -> tuple[Outcome, bool, bool]:
    """Note all attempts; return what ran after them, and what they did outside."""
    with tempfile.TemporaryDirectory() as folder, _server() as server:
        secret = Path(folder, "secret")
        secret.write_text("secret")
        for name, code in _attempts(box.limits, secret, server.getsockname()[1]).items():
            _note(report, name, box.run([code]))
        good = box.run([GOOD])
        untouched = sorted(p.name for p in Path(folder).iterdir()) == ["secret"]
        reached = False
        with suppress(OSError):
            server.accept()[0].close()
            reached = True
    return good, reached, untouched


def _attempts(limits: Limits, secret: Path, port: int) -> dict[str, str]:
    def attempt(line: str, first: str = "") -> str:
        return first + TRY.format(attempt=line)

    size = 3 * limits.memory // 4  # less than a process may have
    children = 2 + (limits.memory + BASE) // size
    chunks = 4 * (limits.memory + BASE) // limits.files
    full = f'open("{{}}/full", "wb").write(bytes({2 * limits.files}))'
    return {
        "network": attempt(
            f'socket.create_connection(("127.0.0.1", {port}), timeout=2)', "import socket"
        ),
        "shadow file": attempt('open("/etc/shadow").read()'),
        "a file of the grader": attempt(f"open({str(secret)!r}).read()"),
        "home folder": f"import os\nhere = os.path.isdir({str(Path.home())!r})\n"
        f"names = os.listdir({str(Path.home())!r}) if here else []\n"
        f"print('BROKE' if set(names) & {_private()!r} else 'HELD')",
        "writing beside a file of the grader": attempt(
            f'open({str(secret.with_name("more"))!r}, "w")'
        ),
        "writing into the system": attempt('open("/usr/escaped", "w")'),
        "fork bomb": FORKS.format(many=limits.processes + 50),
        "memory bomb": attempt(f"x = bytearray(b'x') * {2 * limits.memory}"),
        "shared memory": attempt(
            f"x = mmap.mmap(-1, {2 * limits.memory}); x.write(bytes(x.size()))", "import mmap"
        ),
        "memory without a process": UNMAPPED.format(many=chunks, size=limits.files // 2),
        "memory of System V": SYSTEM_V.format(many=chunks, size=limits.files // 2),
        CHILDREN_TOGETHER: CHILDREN.format(many=children, size=size),
        "full /dev/shm": attempt(full.format("/dev/shm")),
        "full /tmp": attempt(full.format("/tmp")),
        "new user namespace": "import ctypes\n"
        "print('BROKE' if ctypes.CDLL(None).unshare(0x10000000) == 0 else 'HELD')",
        "the exercises' answers": ANSWERS,
        "killing the waiting process": KILL,
    }


def _private() -> set[str]:
    """Names in the home folder, except the ways to what the sandbox shows."""
    from coursekit.grading.sandbox import bubblewrap

    home, visible = Path.home(), bubblewrap.visible_paths(())
    ways = {p.relative_to(home).parts[0] for p in visible if p.is_relative_to(home)}
    return set(os.listdir(home)) - ways if home.is_dir() else set()


def _note(report: Report, name: str, outcome: Outcome) -> None:
    text = outcome.cells[0].text.strip()
    # Ended for its memory or its time is held as well; a fault of the box is not.
    ends = (
        (transcript.MEMORY,) if name == CHILDREN_TOGETHER else (transcript.MEMORY, transcript.TIME)
    )
    stopped = outcome.status in ends
    report.held[name] = (HELD in text or stopped) and BROKE not in text
    report.details[name] = text[:60] or outcome.reason or outcome.status


def _server() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server
