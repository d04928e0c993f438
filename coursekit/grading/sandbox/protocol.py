"""The grader's side of a submission's run: send it in, follow it, end it, say what became of it."""

import json
import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from coursekit.grading.sandbox import transcript
from coursekit.grading.sandbox.frames import Garbage
from coursekit.grading.sandbox.transcript import CRASHED, FAULT, MEMORY, TIME, Transcript

CHUNK = 1 << 16
GARBAGE = "garbage"
LEAST = 0.01  # seconds: what is left of less has been used
LOOK = 0.1  # seconds between two looks at the memory
ANSWER = 20.0  # seconds that the waiting process may take to obey


class BoxFault(RuntimeError):
    """The box does not work. Says nothing about a submission.

    Attributes
    ----------
    confined : bool
        Whether the kernel refused namespaces inside the sandbox.
    """

    def __init__(self, message: str, *, confined: bool = False):
        super().__init__(message)
        self.confined = confined


def listen(line: socket.socket, seconds: float) -> dict:
    """Return the next message of the waiting process, or raise BoxFault."""
    data = b""
    line.settimeout(seconds)
    try:
        while not data.endswith(b"\n"):
            more = line.recv(CHUNK)
            if not more:
                raise BoxFault("the sandbox ended by itself")
            data += more
        return json.loads(data)
    except (OSError, ValueError) as error:
        raise BoxFault(f"the sandbox does not answer ({error})") from error


def run(
    line: socket.socket,
    job: bytes,
    limits: dict,
    script: Transcript,
    waits: tuple[float, float],
    oom_killed: Callable[[], bool],
) -> tuple[str, dict]:
    """Run a submission and end it.

    Parameters
    ----------
    line : socket
        To the waiting process.
    job : bytes
        A frame: cells and probes.
    limits : dict
        As `confine.set_limits` and `cells` want them.
    script : Transcript
        Filled.
    waits : (float, float)
        Seconds of processor time for the cells, and for the answers after them.
    oom_killed : callable
        Whether the kernel has killed a process of this submission for its memory.

    Returns
    -------
    ending : str
        "" if it ended by itself, else why it was ended.
    end : dict
        "ended" (exit code), "peak" (bytes), "why".

    Raises
    ------
    BoxFault
        If the box fails.
    """
    with ExitStack() as stack:
        reply, their_reply = _pipe(stack)
        output, their_output = _pipe(stack)
        file = stack.enter_context(tempfile.TemporaryFile())
        file.write(job)
        file.seek(0)
        handles = [file.fileno(), their_reply.fileno(), their_output.fileno()]
        try:
            text = json.dumps({"do": "run", "limits": limits}).encode()
            socket.send_fds(line, [text], handles)
        except OSError as error:
            raise BoxFault(f"the sandbox is gone ({error})") from error
        their_reply.close()
        their_output.close()
        if not listen(line, ANSWER).get("started"):
            raise BoxFault("the sandbox could not start a process")
        ending = follow(script, line, reply.fileno(), output.fileno(), waits, oom_killed)
        with suppress(OSError):
            line.sendall(json.dumps({"do": "end"}).encode())
        end = listen(line, ANSWER)
        if not ending.startswith(GARBAGE):
            _drain(script, reply.fileno(), output.fileno())
    return ending, end


def _pipe(stack: ExitStack):
    ours, theirs = (os.fdopen(h, mode, 0) for h, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    os.set_blocking(ours.fileno(), False)
    return stack.enter_context(ours), stack.enter_context(theirs)


def follow(
    script: Transcript,
    line: socket.socket,
    reply: int,
    output: int,
    waits: tuple[float, float],
    oom_killed: Callable[[], bool],
) -> str:
    """Listen to a submission until it ends, is done, speaks garbage, or has had its time."""

    def flush():
        # Whatever a cell printed was written before it reported its end: it is in the pipe by now.
        for _ in range(4):
            if not (data := _read(output)):
                return
            transcript.print_out(script, data)

    began, allowed, executed, used = time.monotonic(), waits[0], False, 0.0
    deadline = began + allowed
    with selectors.DefaultSelector() as wait:
        for handle in (reply, output, line):
            wait.register(handle, selectors.EVENT_READ)
        while not script.done:
            if script.executed and not executed:
                executed, used = True, _processor_time(line) or 0.0
                began, allowed = time.monotonic(), waits[1]
                deadline = began + allowed
            left = deadline - time.monotonic()
            if left <= 0:
                now = _processor_time(line)
                rest = 0.0 if now is None else allowed - (now - used)
                deadline = min(time.monotonic() + rest, began + transcript.PATIENT * allowed)
                left = deadline - time.monotonic()
                if left <= LEAST:
                    return TIME
            # Whom the kernel kills is chance, so a first victim of the cells ends all.
            if not script.executed and oom_killed():
                return MEMORY
            ready = {key.fileobj for key, _ in wait.select(min(left, LOOK))}
            if reply in ready:
                data = _read(reply)
                if data == b"":
                    return ""
                try:
                    transcript.receive(script, data or b"", flush)
                except Garbage as error:
                    return f"{GARBAGE}: {error}"
            if output in ready:
                data = _read(output)
                if data == b"":
                    wait.unregister(output)
                transcript.print_out(script, data or b"")
            if line in ready and not script.done:
                raise BoxFault("the sandbox ended by itself")
    return ""


def _processor_time(line: socket.socket) -> float | None:
    """Ask how long a submission has computed; None where the waiting process cannot know."""
    try:
        line.sendall(json.dumps({"do": "time"}).encode())
    except OSError as error:
        raise BoxFault(f"the sandbox is gone ({error})") from error
    return listen(line, ANSWER).get("used")


def _read(handle: int) -> bytes | None:
    """Return what is there: nothing (None), the end (b"") or bytes."""
    try:
        return os.read(handle, CHUNK)
    except BlockingIOError:
        return None


def _drain(script: Transcript, reply: int, output: int) -> None:
    """Take what a submission said before its end: pipes hold 64 kB."""
    for handle, take in (
        (reply, lambda data: transcript.receive(script, data, lambda: None)),
        (output, lambda data: transcript.print_out(script, data)),
    ):
        for _ in range(32):
            data = _read(handle)
            if not data:
                break
            with suppress(Garbage):
                take(data)
    if script.began and not script.executed:
        transcript.close_cell(script)


def status(script: Transcript, ending: str, end: dict, *, short_of_memory: bool) -> tuple[str, str]:
    """Return status and reason.

    Parameters
    ----------
    script : Transcript
    ending, end
        As `run` returns them.
    short_of_memory : bool
        Whether the kernel has killed a process for its memory.
    """
    code = end.get("ended", 0)
    where = "an answer" if script.executed else f"code cell {script.current + 1}"
    if not script.began:
        words = bytes(script.printed).decode("utf-8", "replace").strip() or f"code {code}"
        return FAULT, f"the submission did not start ({words[-200:]})"
    if script.done:
        return transcript.status(script, short_of_memory=short_of_memory)
    if ending == TIME or code == 128 + signal.SIGXCPU:
        return TIME, f"{where} took too long and did not stop when it was interrupted"
    killed = short_of_memory and code == 128 + signal.SIGKILL
    if ending == MEMORY or end.get("why") == "memory" or killed:
        return MEMORY, f"{where} needed more memory than there is"
    if ending:
        return CRASHED, f"{where} wrote into the channel of the answers: {ending}"[:300]
    return CRASHED, f"{where} {transcript.ending(code)}"
