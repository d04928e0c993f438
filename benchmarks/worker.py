"""One competitor in a process of its own: `python -m benchmarks.worker NAME THREADS`.

Reads one request per line, and answers each with one line of JSON. A process per competitor keeps
libraries from getting into each other's way, and a Keras backend can only be chosen at the start.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback
from functools import lru_cache

from benchmarks.peers import PEERS
from benchmarks.workloads import Rows, Workload


def main(name: str, n_threads: int) -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    confine(n_threads)
    for line in sys.stdin:
        try:
            answer = answered(name, n_threads, **json.loads(line))
        except Exception as e:
            traceback.print_exc()
            answer = {"error": f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"}
        print(json.dumps(answer), file=answers, flush=True)


def confine(n_threads: int) -> None:
    """Leave as many processors to this process as it may have threads, where the system can.

    For most it changes nothing; XLA takes all processors that it sees.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_threads])


def answered(
    name: str,
    n_threads: int,
    workload: dict,
    rows: str,
    seeds: list[int],
    repeats: int = 1,
    settings: dict | None = None,
) -> dict:
    """Train `repeats` times the given seeds; a competitor without stacking gets one at a time."""
    prepare = made(name, n_threads, json.dumps(workload), rows, json.dumps(settings or {}))
    jobs = [prepare(seeds[i::repeats]) for i in range(repeats)]
    gc.collect()
    accuracies: dict[int, float] = {}
    start = time.perf_counter()
    results = [job() for job in jobs]
    seconds = time.perf_counter() - start
    for i, result in enumerate(results):
        accuracies |= dict(zip(seeds[i::repeats], result, strict=False))
    return {"seconds": seconds, "accuracies": accuracies, "peak_bytes": peak_bytes()}


@lru_cache
def made(name: str, n_threads: int, workload: str, rows: str, settings: str):
    """The competitor's `prepare`, made once per workload."""
    peer = PEERS[name]
    if "torch" in peer.needs:
        import torch

        torch.set_num_threads(n_threads)
    module, function = peer.make.split(":")
    make = getattr(importlib.import_module(module), function)
    return make(Workload(**json.loads(workload)), Rows(rows), **json.loads(settings))


def peak_bytes() -> int | None:
    """The most memory that this process has held so far; None where the system does not tell."""
    # Not getrusage: on Linux its maximum begins with that of the process which started this one.
    try:
        with open("/proc/self/status") as file:
            [peak] = (line.split()[1] for line in file if line.startswith("VmHWM"))
    except (OSError, ValueError):
        return None
    return 1024 * int(peak)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
