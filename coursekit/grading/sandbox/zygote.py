"""The process that waits inside the sandbox with everything imported, and forks for a submission.

It hears the grader on one socket and never runs a line of a submission. Each submission gets a
first process of its own namespaces (this file, confined), which starts the one that executes the
cells. When the first process dies, the kernel ends all the others.
"""

import gc
import json
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from coursekit.grading.sandbox import cells, confine, frames

NESTED, SINGLE, TRUSTED = "nested", "single", "trusted"
LOOK = 0.05  # seconds between two looks at the memory where no cgroup watches it
LONGEST_JOB = 1 << 30  # bytes
BROKEN = 125  # exit code of a process that could not be confined


@dataclass
class Running:
    """The submission that runs: its process here, and its first one (or session) to be killed."""

    helper: int
    first: int
    why: str = ""


def main(
    control: int,
    mode: str,
    watch: bool,
    driver: str,
    visible: list[str],
    preload: list[str],
    kit: int | None = None,
) -> None:
    """Import what submissions need, say so, and obey until the grader closes the socket.

    Parameters
    ----------
    control : int
        File descriptor of the socket.
    mode : {"nested", "single", "trusted"}
        Whether namespaces are made for each submission, or the box is for one only, or there is
        none.
    watch : bool
        Look after the memory, since no cgroup does.
    driver : str
        "module:function", imported here; the function is called for each question. Not used if
        there is a kit.
    visible, preload : list of str
        Paths that the box shows; modules to import besides.
    kit : int or None
        File descriptor of the drivers of the course's exercises, as `driver_of` wants them.
    """
    line, confined = socket.socket(fileno=control), False
    if mode != TRUSTED:
        confine.prctl(confine.DUMPABLE, 0)  # nothing in this box may look into this process
    try:
        shell, drive = _import_all(driver, preload, kit)
        if mode == NESTED:
            confined = True
            _try_namespaces(visible)
    except Exception as error:
        _send(line, fault=f"{type(error).__name__}: {error}", confined=confined)
        return
    _send(line, ready=True, threads=len(os.listdir("/proc/self/task")) if has_proc() else 1)
    serve(line, mode, watch and mode != TRUSTED, visible, shell, drive)


def has_proc() -> bool:
    """Whether this system has /proc."""
    return os.path.isdir("/proc/self")


def driver_of(kit: bytes) -> Callable:
    """Return the function that puts questions to answers, from `coursekit.exercises.driving.kit`.

    The bytes come from the grader. The exercises themselves, with their references and solutions,
    are not in sight here.
    """
    ask = pickle.loads(kit)

    def drive(name: str, variant: str | None, answer: object, inputs: dict) -> tuple[dict, dict]:
        reply = ask(name, answer, inputs)
        arrays = {k: value.array for k, value in reply.values.items() if value.array is not None}
        kinds = {k: value.kind for k, value in reply.values.items()}
        return arrays, {"kinds": kinds, "error": reply.error}

    return drive


class _Sheet:
    """Stands for the sheet of checks: inside, it does nothing."""

    def __init__(self, *_, **__):
        pass

    def __getattr__(self, name: str) -> Callable:
        return lambda *_, **__: None


def _import_all(driver: str, preload: list[str], kit: int | None) -> tuple[object, Callable]:
    import matplotlib
    import numpy  # noqa: F401
    import torch

    matplotlib.use("agg")
    import matplotlib.pyplot

    torch.set_num_threads(1)  # a second thread would be missing, with its locks, after a fork
    if kit is not None:
        with os.fdopen(kit, "rb") as file:
            function = driver_of(file.read())
    else:
        module, _, name = driver.partition(":")
        function = getattr(import_module(module), name)
    exercises = ModuleType("coursekit.exercises", "What notebooks of exercises import.")
    exercises.Sheet = _Sheet
    sys.modules["coursekit.exercises"] = exercises
    for name in preload:
        import_module(name)
    shell = cells.make_shell()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(10)
    gc.collect()
    gc.freeze()  # a collection must not touch, and so copy, the pages shared with all children
    return shell, function


def _try_namespaces(visible: list[str]) -> None:
    """Raise OSError if a process cannot get namespaces of its own here."""
    running = _spawn(lambda: os._exit(0), NESTED, {"files": 1 << 20, "visible": visible})
    code, _ = _end(running, kill=False)
    if code != 0:
        raise OSError(f"no namespaces inside the sandbox (code {code})")


def serve(
    line: socket.socket, mode: str, watch: bool, visible: list, shell, drive: Callable
) -> None:
    """Obey the grader: "run", "time" and "end", one submission at a time."""
    running, shut = None, 0
    while True:
        line.settimeout(LOOK if running and watch and not running.why else None)
        try:
            text, handles, *_ = socket.recv_fds(line, 65536, 3)
        except TimeoutError:
            if _memory_used(shut) > shut:
                running.why = "memory"
                _kill(running, mode)
            continue
        if not text:
            break
        order = json.loads(text)
        if order["do"] == "run":
            limits = order["limits"] | {"visible": visible}
            running, shut = _run(limits, handles, mode, shell, drive), limits["memory"]
            _send(line, started=bool(running.first))
        elif order["do"] == "time":
            _send(line, used=None if mode == TRUSTED else _processor_time())
        else:
            code, peak = _end(running, kill=True, mode=mode)
            _send(line, ended=code, peak=peak, why=running.why)
            running = None
    if running:
        _kill(running, mode)


def _run(limits: dict, handles: list[int], mode: str, shell, drive: Callable) -> Running:
    def confined():
        _init(limits, handles, mode, shell, drive)

    running = _spawn(confined, mode, limits)
    for handle in handles:
        os.close(handle)
    return running


def _send(line: socket.socket, **values: object) -> None:
    line.sendall(json.dumps(values).encode() + b"\n")


def _spawn(then: Callable[[], None], mode: str, limits: dict) -> Running:
    """Fork a process, in new namespaces if nested, that calls `then`."""
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        # The fork that leaves a process namespace stays outside it: hence two.
        code = BROKEN
        try:
            os.close(reader)
            if mode == NESTED:
                confine.unshare(confine.NEW_PIDS)
            first = os.fork()
            if first == 0:
                os.close(writer)
                _confine(mode, limits)
                then()
            os.write(writer, str(first).encode())
            os.closerange(writer, 1 << 16)
            code = exit_code(os.waitpid(first, 0)[1])
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        first = int(pipe.read() or 0)
    return Running(helper, first)


def _confine(mode: str, limits: dict) -> None:
    os.setsid()
    _die_with_parent()
    if mode == TRUSTED:
        os.chdir(tempfile.mkdtemp())
        return
    if mode == NESTED:
        confine.enter_namespaces(limits["files"], limits["visible"])
    os.chdir(confine.WORK if os.path.isdir(confine.WORK) else "/")
    confine.prctl(confine.DUMPABLE, 1)
    confine.be_killed_first()
    confine.prctl(confine.DUMPABLE, 0)  # the submission's processes may not look into this one
    confine.drop_capabilities()


def _init(limits: dict, handles: list[int], mode: str, shell, drive: Callable) -> None:
    """Start the process that executes the cells, bury the dead, and end with it."""
    worker = os.fork()
    if worker == 0:
        _run_submission(limits, handles, mode, shell, drive)
    os.closerange(3, 1 << 16)  # an open reply channel would look like a living submission
    while True:
        child, status = os.waitpid(-1, 0)
        if child == worker:
            os._exit(min(exit_code(status), 127 if os.WIFEXITED(status) else 255))


def exit_code(status: int) -> int:
    """Fit a wait status into an exit code: 128 and more, killed by a signal."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _run_submission(limits: dict, handles: list[int], mode: str, shell, drive: Callable) -> None:
    job, channel, output = handles
    _die_with_parent()
    if mode != TRUSTED:
        os.setsid()  # a submission that kills its process group ends nobody else
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    with os.fdopen(os.dup(job), "rb") as file:
        [(header, body)] = frames.pop(bytearray(file.read()), LONGEST_JOB, LONGEST_JOB)
    task = frames.unpack(header["job"], frames.arrays(header, body, most=LONGEST_JOB))
    channel = os.dup2(channel, 3, inheritable=False)
    os.closerange(4, 1 << 16)
    if mode != TRUSTED:
        # Else /proc/self belongs to root, and much of it is shut.
        confine.prctl(confine.DUMPABLE, 1)
        confine.install_seccomp_filter()
    confine.set_limits(limits)
    cells.send(channel, "hello")  # whatever goes wrong from here on is the submission's doing
    cells.place_files(task["helpers"])
    cells.run_cells(shell, task["cells"], channel, limits["cell_seconds"])
    if mode == NESTED:
        cells.clear_away()
    cells.run_probes(shell, task["probes"], channel, drive, limits, _after_fork())
    os._exit(0)


def _after_fork() -> Callable[[], None]:
    import torch

    one_thread = torch.set_num_threads

    def prepare():
        one_thread(1)  # the pool of a forked OpenMP is gone, and would be waited for
        _die_with_parent()

    return prepare


def _die_with_parent() -> None:
    if sys.platform == "linux":
        confine.prctl(confine.DIE_WITH_PARENT, signal.SIGKILL)


def _kill(running: Running, mode: str) -> None:
    for target in (-running.first, running.first):
        if running.first and (target > 0 or mode != NESTED):
            with suppress(OSError):
                os.kill(target, signal.SIGKILL)


def _end(running: Running, *, kill: bool, mode: str = NESTED) -> tuple[int, int]:
    """Return exit code and peak memory (bytes) of a submission, killed if it still runs."""
    if kill:
        _kill(running, mode)
    _, status, usage = os.wait4(running.helper, 0)
    return exit_code(status), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processes() -> list[Path]:
    """Folders of /proc of a submission's processes."""
    others = (1, os.getpid())
    return [p for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) not in others]


def _processor_time() -> float:
    """Seconds that the submission's processes have computed, with those that are gone."""
    total = 0.0
    for folder in _processes():
        with suppress(OSError, ValueError):
            total += cells.processor_time(folder.name)
    return total


def _memory_used(most: int) -> int:
    """Bytes that the submission's processes hold, shared ones once; exact only beyond `most`."""
    folders = _processes()
    total = sum(_memory(folder, "status", ("RssAnon", "RssShmem")) for folder in folders)
    # So far pages shared by a fork count twice. What counts them once takes milliseconds.
    if total <= most:
        return total
    return sum(_memory(folder, "smaps_rollup", ("Pss_Anon", "Pss_Shmem")) for folder in folders)


def _memory(folder: Path, file: str, kinds: tuple[str, ...]) -> int:
    total = 0
    with suppress(OSError, IndexError, ValueError):
        for line in (folder / file).read_text().splitlines():
            if line.startswith(kinds):
                total += 1024 * int(line.split()[1])
    return total
