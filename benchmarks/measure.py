"""Run competitors in turns, and compare each with the plain loop run just before and just after."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.pool import ThreadPool
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.workloads import Workload, deal

ROOT = Path(__file__).resolve().parents[1]
N_SEEDS = 64  # as many as coursekit trains side by side: every accuracy can be compared
MOST = 8  # repetitions of what is short
SHORT = 3  # seconds: whatever is shorter warms up twice
PATIENCE = 300  # seconds until a competitor counts as stuck


class Failed(Exception):
    """A competitor could not run; the message says why."""


@dataclass(frozen=True)
class Case:
    """One competitor on one workload, with `n` networks side by side."""

    peer: str
    workload: Workload
    n: int = 1
    settings: dict = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        number = f", {self.n} network{'s' if self.n > 1 else ''}"
        return PEERS[self.peer].label + (number if PEERS[self.peer].stacks else "")


@dataclass
class Record:
    """What was measured of a case: one entry per round, in seconds per network.

    `plain` is the mean of the plain loop's time before and after, `plain_accuracies` what those
    networks reached.
    """

    case: Case
    seconds: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    accuracies: dict[int, float] = field(default_factory=dict)
    plain_accuracies: dict[int, float] = field(default_factory=dict)
    error: str | None = None


class Worker:
    """A competitor's process."""

    def __init__(self, name: str, n_threads: int, folder: Path):
        names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
        threads = {f"{library}_NUM_THREADS": str(n_threads) for library in names}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        env = os.environ | threads | {"PYTHONPATH": path, "COURSEKIT_STATIC": "1"}
        env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"} | PEERS[name].env
        self.name, self.folder = name, folder
        self.errors = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(n_threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env,
            cwd=folder,
        )  # fmt: skip

    def ask(self, case: Case, seeds: Sequence[int], repeats: int = 1) -> dict:
        """Run a case; raises `Failed` if that went wrong."""
        request = {
            "workload": asdict(case.workload),
            "rows": str(deal(case.workload, self.folder)),
            "seeds": list(seeds),
            "repeats": repeats,
            "settings": case.settings,
        }
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline() or '{"error": "its process ended"}')
        except BrokenPipeError:
            answer = {"error": "its process ended"}
        finally:
            alarm.cancel()
        if "error" in answer:
            raise Failed(f"{case.label}: {answer['error']}")
        return answer

    def tried(self, case: Case) -> None:
        """Run a case whatever comes of it: what fails will fail again, and be told."""
        with suppress(Failed):
            self.ask(case, range(case.n))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.errors.close()


@contextmanager
def workers(names: Iterable[str], n_threads: int, folder: Path):
    """The processes of several competitors, by name; ended in any case."""
    team = {}
    try:
        for name in dict.fromkeys(names):
            team[name] = Worker(name, n_threads, folder)
        yield team
    finally:
        for worker in team.values():
            worker.close()


def compare(
    cases: Sequence[Case], n_rounds: int, at_least: float, team: dict[str, Worker], tell
) -> list[Record]:
    """Measure cases in rounds, and return a `Record` for each.

    A first round warms up: it is not counted, and tells how often to repeat what takes less than
    `at_least` seconds. Every round starts with another case, and the plain loop is run before and
    after each.
    """
    records = [Record(case) for case in cases]
    for record in records:
        if missing := PEERS[record.case.peer].missing:
            record.error = f"not installed: {', '.join(missing)}"
    ready = [record for record in records if record.error is None]
    repeats = warmed_up(ready, at_least, team, tell) if ready else {}
    for r in range(n_rounds if ready else 0):
        tell(f"round {r + 1} of {n_rounds}")
        start = r * len(ready) // n_rounds
        for i, record in enumerate(ready[start:] + ready[:start]):
            if record.error is None:
                one_round(record, r, r * len(ready) + i, team, repeats)
    return records


def warmed_up(
    records: Sequence[Record], at_least: float, team: dict[str, Worker], tell
) -> dict[Case, int]:
    """Run every case, and return how often each is to be repeated in a measurement."""
    repeats: dict[Case, int] = {}
    paces = {case: case for record in records for case in [Case("plain", record.case.workload)]}
    first = {record.case.peer: record.case for record in records} | {"plain": next(iter(paces))}
    for case in first.values():
        deal(case.workload, Path(team["plain"].folder))
    tell("start")
    with ThreadPool(2) as pool:  # imports may be done two at a time: nothing is measured yet
        pool.map(lambda peer: team[peer].tried(first[peer]), first)
    for case in [*paces, *(record.case for record in records)]:
        if case in repeats:
            continue
        if not at_least and case in first.values():
            repeats[case] = 1
            continue
        tell(f"warm-up: {case.label}")
        try:
            seconds = team[case.peer].ask(case, range(case.n))["seconds"]
            if at_least and seconds < SHORT:  # the first one was not warm
                seconds = team[case.peer].ask(case, range(case.n))["seconds"]
        except Failed as e:
            for record in records:
                if case in (record.case, Case("plain", record.case.workload)):
                    record.error = str(e)
        else:
            repeats[case] = min(MOST, max(1, round(at_least / seconds)))
    return repeats


def one_round(
    record: Record, r: int, turn: int, team: dict[str, Worker], repeats: dict[Case, int]
) -> None:
    """Add one measurement to a record: that of round `r`, number `turn` of all."""
    pace = Case("plain", record.case.workload)

    def timed(case: Case, first: int, accuracies: dict[int, float]) -> float:
        n, times = case.n, repeats[case]
        # Other seeds in every round, where one network is trained at a time: more accuracies.
        seeds = range(n) if n > 1 else [(first + i) % N_SEEDS for i in range(times)]
        times = times if n == 1 else 1
        answer = team[case.peer].ask(case, seeds, times)
        accuracies |= {int(seed): value for seed, value in answer["accuracies"].items()}
        return answer["seconds"] / len(seeds)

    try:
        before = timed(pace, 2 * turn * repeats[pace], record.plain_accuracies)
        seconds = timed(record.case, r * repeats[record.case], record.accuracies)
        after = timed(pace, (2 * turn + 1) * repeats[pace], record.plain_accuracies)
    except Failed as e:
        record.error = str(e)
        return
    record.seconds.append(seconds)
    record.plain.append((before + after) / 2)


def cold(case: Case, n_threads: int, folder: Path) -> float:
    """Seconds from starting Python to having trained: imports and compilation included."""
    with workers([case.peer], n_threads, folder) as team:
        worker = team[case.peer]
        worker.ask(case, range(case.n))
        return time.perf_counter() - worker.started


def peak_bytes(case: Case, tiny: Case, n_threads: int, folder: Path) -> int | None:
    """Memory that a fresh process takes for a case, beyond what it held after a tiny one."""
    with workers([case.peer], n_threads, folder) as team:
        before = team[case.peer].ask(tiny, range(tiny.n))["peak_bytes"]
        after = team[case.peer].ask(case, range(case.n))["peak_bytes"]
    return None if before is None else after - before
