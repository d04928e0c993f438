"""Many submissions at once: processes of this machine, each with a box of its own, or Dask.

A worker gets one job at a time and answers with JSON. When one dies, its job is known, and no
other is lost; a job that fails through no fault of its own is tried again.
"""

import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from coursekit.grading.sandbox.bubblewrap import NoSandbox
from coursekit.grading.sandbox.transcript import FAULT

ATTEMPTS = 3
PATIENCE = 1800  # seconds after which a worker that says nothing is ended
CONNECT = 60  # seconds that a cluster may take to answer
NO_START = "expected workers that start, got {} that ended at once; what they said stands above"
DIED = "the worker ended without an answer"
HUNG = "the worker said nothing for half an hour"

Work = Callable[[dict, object], dict]
MakeBox = Callable[[], object]
JobResult = tuple[dict, dict, int]  # job, reply, attempts


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    line: Connection
    job: dict | None = None
    since: float = 0.0
    ready: bool = False


def local(
    jobs: Sequence[dict], work: Work, make_box: MakeBox, n_workers: int
) -> Iterator[JobResult]:
    """Work on jobs in processes of this machine, and yield each one as it is done.

    Parameters
    ----------
    jobs : sequence of dict
        "path" names the file whose bytes `work` gets as "raw"; "beside", by their names, those of
        which it gets the bytes as "helpers".
    work : callable
        (job, box) to a reply of JSON values with a "status". Must be importable.
    make_box : callable
        Returns a context manager whose `begin` starts it without waiting, once in each worker.
        Must be picklable.
    n_workers : int

    Yields
    ------
    job, reply, attempts
        A reply of status "grader fault" has been tried three times.

    Raises
    ------
    NoSandbox
        If a box cannot be opened.
    RuntimeError
        If no worker starts.
    """
    waiting = deque((job, 1) for job in jobs)
    attempts: dict[int, int] = {}
    workers: list[_Worker] = []
    stillborn = 0
    try:
        while waiting or any(w.job for w in workers):
            while waiting and len(workers) < min(n_workers, len(waiting) + _busy(workers)):
                workers.append(_start(work, make_box))
            for worker in workers:
                if worker.ready and worker.job is None and waiting:
                    job, attempt = waiting.popleft()
                    attempts[id(job)] = attempt
                    _give(worker, job)
            for worker in _ready(workers):
                reply = _receive(worker)
                if reply is None:  # it died
                    workers.remove(worker)
                    _end(worker)
                    stillborn = 0 if worker.ready else stillborn + 1
                    if stillborn >= ATTEMPTS:
                        raise RuntimeError(NO_START.format(stillborn))
                    reply = {"status": FAULT, "reason": HUNG if worker.since < 0 else DIED}
                elif "refused" in reply:
                    raise NoSandbox(reply["refused"])
                elif "ready" in reply:
                    worker.ready, stillborn = True, 0
                    continue  # it may have a job by now, which it has not looked at
                job, worker.job = worker.job, None
                if job is None:
                    continue
                attempt = attempts.pop(id(job))
                if reply["status"] == FAULT and attempt < ATTEMPTS:
                    waiting.append((job, attempt + 1))  # last, so that it holds up nobody
                else:
                    yield job, reply, attempt
    finally:
        for worker in workers:
            worker.line.close()  # enough for an idle one, which must not be hit while it cleans up
            if worker.job is not None or not worker.ready:
                worker.process.terminate()
        for worker in workers:
            _end(worker)


def _busy(workers: Sequence[_Worker]) -> int:
    return sum(worker.job is not None for worker in workers)


def _start(work: Work, make_box: MakeBox) -> _Worker:
    # Spawned, not forked: a fork would hold the other workers' lines open after we died.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    args = theirs, pickle.dumps(work), make_box
    process = context.Process(target=_serve, args=args, daemon=False)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, job: dict) -> None:
    worker.job, worker.since = job, time.monotonic()
    content = with_content(job)
    with suppress(OSError):  # a worker that has died is noticed when nothing comes back
        worker.line.send(content)


def with_content(job: Mapping[str, object]) -> dict:
    """Return a job with the bytes of its file, and of those beside it."""
    helpers = {name: Path(path).read_bytes() for name, path in job.get("beside", {}).items()}
    return {**job, "raw": Path(job["path"]).read_bytes(), "helpers": helpers}


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Return the workers that said something, died, or were ended since they hang."""
    now = time.monotonic()
    for worker in workers:
        if worker.job is not None and now - worker.since > PATIENCE:
            worker.process.kill()
            worker.since = -1.0
    ready = wait([worker.line for worker in workers], timeout=min(5, PATIENCE))
    return [worker for worker in workers if worker.line in ready]


def _receive(worker: _Worker) -> dict | None:
    try:
        return json.loads(worker.line.recv_bytes())
    except (EOFError, OSError):
        return None


def _end(worker: _Worker) -> None:
    worker.line.close()
    worker.process.join(5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.process.close()


def _serve(line: Connection, pickled: bytes, make_box: MakeBox) -> None:
    """Be a worker: open a box, answer jobs until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow, args=(os.getpid(),), daemon=True).start()
    try:
        while True:
            box = make_box()
            box.begin()
            work = pickle.loads(pickled)  # its imports take seconds, and so do those of the box
            with box:
                line.send_bytes(b'{"ready": true}')
                while (reply := _answer(work, line.recv(), box))["status"] != FAULT:
                    line.send_bytes(json.dumps(reply).encode())
            line.send_bytes(json.dumps(reply).encode())  # and a fresh box, as this one may be it
    except NoSandbox as error:
        with suppress(OSError):
            line.send_bytes(json.dumps({"refused": str(error)}).encode())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the coordinator is done, or gone


def _leave(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: the box is to be closed in peace
    raise SystemExit(0)


def _follow(pid: int) -> None:
    """End this process when the coordinator is killed, also in the middle of a job."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(pid, signal.SIGTERM)


def _answer(work: Work, job: dict, box) -> dict:
    try:
        return work(job, box)
    except NoSandbox:
        raise
    except Exception as error:
        return {"status": FAULT, "reason": f"{type(error).__name__}: {error}"[:600]}


_here = threading.local()  # a box ends with the thread that opened it: one for each of Dask's


def cluster(
    jobs: Sequence[dict], work: Work, make_box: MakeBox, scheduler: str
) -> Iterator[JobResult]:
    """Work on jobs on a Dask cluster, one task for each. As `local` otherwise.

    Raises
    ------
    ValueError
        If Dask is not installed.
    OSError
        If the cluster does not answer.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ValueError(
            'expected Dask for --scheduler, got none; try pip install "coursekit[cluster]"'
        ) from None
    with Client(scheduler, timeout=CONNECT) as client:

        def submit(job: dict):
            return client.submit(task, work, make_box, with_content(job), pure=False)

        pending = {submit(job): (job, 1) for job in jobs}
        finished = as_completed(pending)
        for future in finished:
            job, attempt = pending.pop(future)
            error = future.exception()
            if isinstance(error, NoSandbox):
                raise error
            # A worker that died too often, for one.
            failed = {"status": FAULT, "reason": f"{type(error).__name__}: {error}"[:600]}
            reply = failed if error else json.loads(future.result())
            if reply["status"] == FAULT and attempt < ATTEMPTS:
                again = submit(job)
                pending[again] = (job, attempt + 1)
                finished.add(again)
            else:
                yield job, reply, attempt


def task(work: Work, make_box: MakeBox, job: dict) -> str:
    """Answer one job on a Dask worker, whose thread keeps its box for the next one."""
    if getattr(_here, "box", None) is None:
        _here.box = make_box().__enter__()
    reply = _answer(work, job, _here.box)
    if reply["status"] == FAULT:
        _here.box.__exit__(None, None, None)
        _here.box = None
    return json.dumps(reply)
