"""What a submission said, collected frame by frame and believed in nothing but its own answers.

Every byte may be forged: a submission can write into the channel that carries its answers. It can
spoil its own record that way, and no other; who decides about points compares the arrays.
"""

import math
import signal
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from coursekit.grading.sandbox import frames
from coursekit.grading.sandbox.frames import Garbage

GRADED, TIME, MEMORY, CRASHED, FAULT = (
    "graded",
    "time limit",
    "memory limit",
    "crashed",
    "grader fault",
)
ANSWERED, RAISED, MISSING, REFUSED, NOT_RUN = "answered", "raised", "missing", "refused", "not run"
OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")
ALLOCATOR = "can't allocate memory"  # how torch says it, in a RuntimeError
# Limits are of processor time, so that busy neighbors cost nobody points; but whoever sleeps or
# waits is ended after this many times as long by the clock.
PATIENT = 3
CUT = "\n[cut here: more was printed]\n"


@dataclass(frozen=True)
class Error:
    """An exception: its name, its message (cut), and where it arose, counted from 0 and 1."""

    name: str
    message: str
    cell: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = "" if self.cell is None else f" (code cell {self.cell + 1}, line {self.line})"
        return f"{self.name}: {self.message}{where}"


@dataclass
class CellRun:
    """What became of a cell.

    Attributes
    ----------
    status : {"ran", "raised", "not run"}
    error : Error or None
    text : str
        What it printed, cut.
    """

    status: str = NOT_RUN
    error: Error | None = None
    text: str = ""


@dataclass(frozen=True)
class Reply:
    """What became of a question.

    Attributes
    ----------
    status : str
        "answered", "raised", "missing" (no such function), "refused" (no plain arrays),
        "time limit", "crashed" or "not run".
    arrays : dict of ndarray
    notes : dict
        JSON values. Like the arrays, written by whoever answered.
    error : Error or None
    """

    status: str = NOT_RUN
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, object] = field(default_factory=dict)
    error: Error | None = None


@dataclass
class Transcript:
    """Cells and answers as far as they have come."""

    cells: list[CellRun]
    replies: list[Reply]
    most: int  # bytes of all answers
    longest: int  # bytes of the output of a cell
    current: int = 0  # the cell whose output arrives
    began: bool = False
    executed: bool = False
    done: bool = False
    received: int = 0  # bytes of arrays
    kept: int = 0  # bytes of those that were not refused
    pending: bytearray = field(default_factory=bytearray)
    printed: bytearray = field(default_factory=bytearray)
    cut: bool = False


def start(n_cells: int, n_probes: int, most: int, longest: int) -> Transcript:
    """Return an empty transcript."""
    cells = [CellRun() for _ in range(n_cells)]
    return Transcript(cells, [Reply()] * n_probes, most, longest)


def receive(script: Transcript, data: bytes, flush) -> None:
    """Take bytes of the reply channel.

    Parameters
    ----------
    script : Transcript
    data : bytes
    flush : callable
        Called when a cell has ended: passes on, by `print_out`, what it has printed by now.

    Raises
    ------
    Garbage
        If they are no frames that make sense. What came before is kept.
    """
    script.pending += data
    while arrived := frames.pop(script.pending, script.most):
        for header, body in arrived:
            script.received += len(body)
            if script.received > script.most * (1 + len(script.replies)):  # more than one for each
                raise Garbage(f"expected answers of at most {script.most} bytes each")
            if not script.done:  # what comes after its end would depend on who is faster
                _understand(script, header, body, flush)


def print_out(script: Transcript, data: bytes) -> None:
    """Take bytes that the current cell printed; beyond its share they are dropped."""
    room = script.longest - len(script.printed)
    script.printed += data[:room]
    script.cut |= len(data) > room


def close_cell(script: Transcript) -> None:
    """Attribute what was printed to the current cell."""
    text = script.printed.decode("utf-8", "replace") + (CUT if script.cut else "")
    if script.current < len(script.cells):
        script.cells[script.current].text = text
    script.printed, script.cut = bytearray(), False


def _understand(script: Transcript, header: dict, body: bytes, flush) -> None:
    kind = header.get("kind")
    if kind == "hello":
        script.began = True
    elif kind == "cell":
        _note_cell(script, header, flush)
    elif kind == "cells done":
        script.executed = True
    elif kind == "exercise":
        _note_exercise(script, header)
    elif kind == "done":
        script.done = True
    elif kind in ("answer", "raised", "missing", "refused"):
        _note_reply(script, kind, header, body)
    else:
        raise Garbage(f"unknown frame {str(kind)[:40]!r}")


def _note_cell(script: Transcript, header: dict, flush) -> None:
    index = header.get("index")
    if type(index) is not int or index != script.current or index >= len(script.cells):
        raise Garbage(f"expected the end of cell {script.current}, got {str(index)[:40]}")
    flush()
    close_cell(script)
    cell = script.cells[script.current]
    cell.error = None if header.get("error") is None else _error(header["error"])
    cell.status = "ran" if cell.error is None else RAISED
    script.current += 1


def _note_exercise(script: Transcript, header: dict) -> None:
    indices, ended = header.get("probes"), header.get("ended")
    if not isinstance(indices, list) or not isinstance(ended, str):
        raise Garbage("expected the end of an exercise")
    for index in indices:
        if script.replies[_probe(script, index)].status == NOT_RUN:
            status = TIME if ended == TIME else CRASHED
            words = "took too long" if ended == TIME else ended[:100] or "stopped without an answer"
            script.replies[index] = Reply(status, error=Error(status, words))


def _note_reply(script: Transcript, kind: str, header: dict, body: bytes) -> None:
    index = _probe(script, header.get("probe"))
    if script.replies[index].status != NOT_RUN:
        return  # the first answer counts
    if kind == "answer":
        try:
            notes = header.get("notes")
            if not isinstance(notes, dict):
                raise Garbage("expected notes")
            if script.kept + len(body) > script.most:
                limit = f"{script.most / 1e6:.3g} MB"
                raise Garbage(f"expected at most {limit} of numbers in all answers together")
            script.replies[index] = Reply(ANSWERED, frames.arrays(header, body), notes)
            script.kept += len(body)
        except Garbage as error:
            script.replies[index] = Reply(REFUSED, error=Error("Garbage", str(error)[:300]))
    elif kind == "missing":
        script.replies[index] = Reply(MISSING)
    else:
        status = REFUSED if kind == "refused" else RAISED
        script.replies[index] = Reply(status, error=_error(header.get("error")))


def _probe(script: Transcript, index: object) -> int:
    if type(index) is not int or not 0 <= index < len(script.replies):
        raise Garbage(f"expected the number of a question, got {str(index)[:40]}")
    return index


def _error(fields: object) -> Error:
    if not isinstance(fields, dict):
        raise Garbage("expected an exception")
    name, message = fields.get("name"), fields.get("message")
    places = [fields.get("cell"), fields.get("line")]
    if not isinstance(name, str) or not isinstance(message, str):
        raise Garbage("expected the name and the message of an exception")
    if not all(p is None or (type(p) is int and 0 <= p < math.inf) for p in places):
        raise Garbage("expected the place of an exception")
    return Error(name[:100], message[:300], *places)


def status(script: Transcript, *, short_of_memory: bool) -> tuple[str, str]:
    """Return status and reason of a submission that reached its end.

    An exercise that fails by itself is told by its replies. Only a cell that was stopped, and may
    have left later ones without what they need, speaks for the whole.

    Parameters
    ----------
    script : Transcript
    short_of_memory : bool
        Whether the kernel has killed a process for its memory.
    """
    for index, reply in enumerate(script.replies):
        if short_of_memory and reply.status == CRASHED and "SIGKILL" in reply.error.message:
            script.replies[index] = Reply(MEMORY, error=Error(MEMORY, "needed too much memory"))
    if all(reply.status == ANSWERED for reply in script.replies):
        return GRADED, ""
    for index, error in enumerate(cell.error for cell in script.cells):
        if error and (error.name in OUT_OF_MEMORY or ALLOCATOR in error.message):
            return MEMORY, f"code cell {index + 1} needed more memory than there is"
        if error and error.name == "CellTimeout":
            return TIME, f"code cell {index + 1} took too long and was stopped"
    return GRADED, ""


def ending(code: int) -> str:
    """Say how a process ended: by itself, or, from 128 on as shells count, by a signal."""
    if code < 128:
        # Higher ones have no room beside the signals.
        return f"ended the process with exit code {code}{' or more' if code == 127 else ''}"
    number, name, meaning = code - 128, f"signal {code - 128}", None
    with suppress(ValueError):  # not every number has a name
        meaning = signal.strsignal(number)
        name = signal.Signals(number).name
    return f"was killed by {name}" + (f" ({meaning.lower()})" if meaning else "")
