"""Execute the cells of a notebook in this process, and put questions to the functions they define.

Runs inside the sandbox, next to the submission: nothing here is trusted by the grader.
"""

import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby

from coursekit.grading.sandbox import frames, transcript

MAX_MESSAGE = 300
SHOWN_FRAMES = 8
# Before a submission can replace them: its own slips must not hit what reports them.
_fork, _write, _kill, _waitpid, _getpid, _exit = (
    os.fork,
    os.write,
    os.kill,
    os.waitpid,
    os.getpid,
    os._exit,
)
_setitimer, _signal = signal.setitimer, signal.signal
_clock, _times = time.monotonic, os.times


class CellTimeout(BaseException):
    """A cell or an answer took too long. No Exception, so that `except Exception` lets it pass."""


def make_shell():
    """Return an IPython shell whose magics work without a terminal, a kernel or a history."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def system(self, cmd):
            _flush()  # what was printed before the command appears before it
            self.system_raw(cmd)  # without a pseudo-terminal

        def showtraceback(self, *_, **__):
            # IPython's own takes seconds for a deep recursion, and looks into every variable.
            kind, error, place = sys.exc_info()
            if error is not None:
                traceback.print_exception(kind, error, place, limit=-SHOWN_FRAMES, file=sys.stdout)

        showsyntaxerror = showtraceback

        def enable_gui(self, gui=None):
            pass

        def enable_matplotlib(self, gui=None):
            return super().enable_matplotlib("inline")  # no window, no browser

        def run_line_magic(self, magic_name, line, _stack_depth=1):
            # An extension that only the student's machine has must not cost the code below it.
            try:
                return super().run_line_magic(magic_name, line, _stack_depth + 1)
            except Exception as error:
                print(f"%{magic_name} was passed over: {error}")

        def run_cell_magic(self, magic_name, line, cell):
            if self.find_cell_magic(magic_name):
                return super().run_cell_magic(magic_name, line, cell)
            print(f"%%{magic_name} is unknown here: the cell runs without it.")
            code = self.transform_cell(f"#\n{cell}")  # on the lines where it stood
            name = self.compile.cache(code, self.running)
            return exec(self.compile(code, name, "exec"), self.user_ns)

    config = Config()
    config.HistoryManager.enabled = False  # its thread would make forking unsafe
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.banner1 = ""
    # Many notebooks begin with `!pip install`, which would wait nine seconds for a network.
    os.environ["PIP_RETRIES"] = "0"
    shell = Shell.instance(config=config)
    shell.user_ns["exit"] = shell.user_ns["quit"] = sys.exit
    return shell


def send(
    channel: int, kind: str, arrays: dict | None = None, *, most: int | None = None, **values
) -> None:
    """Write a frame into the reply channel; Garbage if it is too long for who reads there."""
    rest = memoryview(frames.encode({"kind": kind, **values}, arrays, most))
    while rest:
        rest = rest[_write(channel, rest) :]


def place_files(files: list) -> None:
    """Write a notebook's own files, pairs of name and bytes, into the working folder."""
    for name, content in files:
        with suppress(OSError):  # what finds no room is missed by the cell that needs it
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            with open(name, "wb") as file:
                file.write(content)


def run_cells(shell, cells: list[str], channel: int, seconds: float) -> None:
    """Execute cells one after the other; one that raises does not stop the next.

    Parameters
    ----------
    shell : InteractiveShell
    cells : list of str
    channel : int
        File descriptor to which one frame for each cell is written.
    seconds : float
        Of processor time, after which a cell is interrupted.
    """
    myself = _getpid()
    sys.path.insert(0, "")  # as in Jupyter: modules lie beside the notebook
    for index, source in enumerate(cells):
        # Appears in the file names of tracebacks; IPython counts on while a cell runs.
        shell.execution_count = shell.running = index + 1
        error = None
        try:
            _signal(signal.SIGALRM, _interrupter(seconds))
            _setitimer(signal.ITIMER_REAL, seconds)
            result = shell.run_cell(source, store_history=True)
            error = result.error_before_exec or result.error_in_exec
        except BaseException as raised:
            error = raised  # the alarm may ring between two lines of IPython
        finally:
            with suppress(BaseException):
                _setitimer(signal.ITIMER_REAL, 0)
        if _getpid() != myself:
            _exit(0)  # a child that the cell forked and forgot
        _flush()
        send(channel, "cell", index=index, error=None if error is None else describe(error))
    send(channel, "cells done")


def _interrupter(seconds: float) -> Callable:
    """Return what answers the alarm: it rings again where the time was spent by neighbors."""
    began, before = _clock(), _used()

    def interrupt(*_):
        left = _left(seconds, _used() - before, began)
        if left > 0.01:
            _setitimer(signal.ITIMER_REAL, left)
            return
        raise CellTimeout("took too long and was interrupted")

    return interrupt


def _left(seconds: float, used: float, began: float) -> float:
    return min(seconds - used, began + transcript.PATIENT * seconds - _clock())


def _used() -> float:
    return sum(_times()[:4])


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with suppress(BaseException):
            stream.flush()


def describe(error: BaseException) -> dict[str, object]:
    """Return what happened and in which line of which cell."""
    try:
        message = str(error)[:MAX_MESSAGE]
    except BaseException as second:
        message = f"its text raises {type(second).__name__}"[:MAX_MESSAGE]
    cell, line = None, getattr(error, "lineno", None)
    with suppress(BaseException):
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename.startswith("<ipython-input-"):
                cell, line = int(frame.filename.split("-")[2]) - 1, frame.lineno
    line = line if type(line) is int else None
    return {"name": type(error).__name__[:100], "message": message, "cell": cell, "line": line}


def clear_away() -> None:
    """End all that the cells left running, so that there is room for the answers.

    Only where this process sees nobody but the first process and its own.
    """
    with suppress(OSError):
        _kill(-1, signal.SIGKILL)
    with suppress(OSError):
        while True:
            _waitpid(-1, 0)


def run_probes(
    shell, probes: list[dict], channel: int, drive: Callable, limits: dict, prepare: Callable
) -> None:
    """Put questions to the functions that the cells defined, one forked process per exercise.

    An answer that crashes, loops or spoils the process takes no other exercise with it.

    Parameters
    ----------
    shell : InteractiveShell
    probes : list of dict
        As `Box.run` gets them.
    channel : int
        File descriptor to which one frame for each reply is written.
    drive : callable
        (name, variant, answer, inputs) to (arrays, notes).
    limits : dict
        "exercise_seconds" for all questions of one exercise, "reply" bytes for one answer.
    prepare : callable
        Called in each new process.
    """
    numbered = list(enumerate(probes))
    for _, group in groupby(numbered, key=lambda pair: pair[1]["function"]):
        questions = list(group)
        try:
            child = _fork()
        except OSError:  # threads of the submission take all room: no process is left to be risked
            child = None
        if child == 0:
            with suppress(BaseException):
                os.setpgid(0, 0)
                prepare()
        if not child:
            for index, probe in questions:
                _ask(shell.user_ns, index, probe, channel, drive, limits["reply"])
        if child == 0:
            _flush()
            _exit(0)
        ended = _await(child, limits["exercise_seconds"]) if child else ""
        send(channel, "exercise", probes=[index for index, _ in questions], ended=ended)
    send(channel, "done")


def _ask(names: dict, index: int, probe: dict, channel: int, drive: Callable, most: int) -> None:
    try:
        if probe["function"] not in names:
            send(channel, "missing", probe=index)
            return
        answer = names[probe["function"]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays, notes = drive(probe["name"], probe["variant"], answer, probe["inputs"])
        send(channel, "answer", arrays, most=most, probe=index, notes=notes)
    except frames.Garbage as error:
        send(channel, "refused", probe=index, error=describe(error))
    except BaseException as error:
        send(channel, "raised", probe=index, error=describe(error))


def _await(child: int, seconds: float) -> str:
    handle = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
    began, left = _clock(), seconds
    while True:
        if handle is not None:
            in_time = bool(select.select([handle], [], [], left)[0])
        else:
            in_time = _poll(child, _clock() + left)
        left = _left(seconds, _computed(child), began)
        if in_time or left <= 0.01:
            break
    if handle is not None:
        os.close(handle)
    for target in (-child, child):  # the group also holds what the answer started
        with suppress(OSError):
            _kill(target, signal.SIGKILL)
    try:
        status = _waitpid(child, 0)[1]
    except ChildProcessError:  # the submission reaps its children by itself
        return "crashed"
    if not in_time:
        return "time limit"
    return "" if os.waitstatus_to_exitcode(status) == 0 else _sentence(status)


def _computed(child: int) -> float:
    try:
        return processor_time(child)
    except (OSError, ValueError):
        return float("inf")  # where the system does not tell, the clock decides


def processor_time(process: int | str) -> float:
    """Return the seconds that a process has computed, with its buried children.

    Raises
    ------
    OSError
        If it is gone, or the system has no /proc.
    """
    with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
        # After the name, which may hold anything: user, system, and both of buried children.
        numbers = file.read().rpartition(")")[2].split()
    return sum(map(int, numbers[11:15])) / os.sysconf("SC_CLK_TCK")


def _poll(child: int, deadline: float) -> bool:
    while time.monotonic() < deadline:  # WNOWAIT: the number must stay taken until it is killed
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(0.005)
    return False


def _sentence(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return transcript.ending(128 - code if code < 0 else min(code, 127))
