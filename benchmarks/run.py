"""Measure coursekit beside its peers: `python -m benchmarks.run`, or `make bench`."""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import ROOT, Case, Failed, Record, cold, compare, peak_bytes, workers
from benchmarks.peers import PEERS, version
from benchmarks.workloads import WORKLOADS, make_net_of, recipe_of, task_of
from coursekit.results.files import replace_file

RESULTS = Path(__file__).resolve().parent / "results"
AT_LEAST = 0.25  # seconds: shorter jobs are repeated
GROUPS = ("W1", "W2", "W3", "growth")
VERSIONS = ("torch", "numpy", "scikit-learn", "jax", "keras", "lightning", "skorch")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then write cpu.json, README.md, summary.md and speed.png."""
    options = parsed(arguments)
    if options.device == "cuda":
        from benchmarks import gpu

        gpu.main(options.out or RESULTS)
        return
    partial = options.quick or options.only or options.rounds
    out = options.out or (ROOT / "build" / "bench-quick" if partial else RESULTS)
    if options.report:
        results = json.loads((out / "cpu.json").read_text())
    else:
        results = measured(options)
        replace_file(out / "cpu.json", (json.dumps(results, indent=1) + "\n").encode())
    publish(results, out)
    print((out / "README.md").read_text())
    print(f"Written to {os.path.relpath(out)}/")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute: one round")
    parser.add_argument("--only", metavar="NAME", help=f"one competitor: {', '.join(PEERS)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="for everybody; 2 by default")
    parser.add_argument("--rounds", type=int, help="for every group; fewer are quicker and rougher")
    parser.add_argument("--report", action="store_true", help="new tables from old measurements")
    parser.add_argument("--out", type=Path, help="folder for the results")
    options = parser.parse_args(arguments)
    if options.only and options.only not in PEERS:
        parser.error(f"expected a competitor among {', '.join(PEERS)}, got {options.only}")
    return options


def cases_of(group: str, quick: bool) -> list[tuple[Case, str]]:
    """The cases of a group, each with how it differs from W1 (for growth)."""
    if group != "growth":
        sizes = (1, 16, 64) if not quick else (1, 16) if group == "W1" else (16,)
        w = WORKLOADS[group]
        if quick and group != "W1":
            w = replace(w, epochs=2)
        cases = [Case("plain", w)] + [Case("coursekit", w, n) for n in sizes]
        if group == "W1":
            # What a target compares stands side by side, and is run one after the other.
            cases += [Case("by_hand", w, sizes[-1])]
            cases += [Case("jax", w, n) for n in (sizes[-1], *sizes[1:-1])]
            rest = (n for n, peer in PEERS.items() if not peer.stacks and n != "plain")
            cases += [Case(name, w) for name in rest]
        return [(case, "") for case in cases]
    if quick:
        return []
    w = WORKLOADS["W1"]
    found = [(Case("coursekit", w, n), "as it is") for n in (1, 4, 16, 64, 256)]
    for n_train in (256, 512, 1024, 1400):
        rows = replace(w, n_train=n_train, n_val=397)  # what the largest one leaves
        found.append((Case("coursekit", rows, 16), f"{n_train} training rows, 397 others"))
    for width in (32, 128, 512):
        found.append((Case("coursekit", replace(w, width=width), 16), f"{width} hidden units"))
    return found


def measured(options: argparse.Namespace) -> dict:
    """Measure everything, and return the record that results/cpu.json holds."""
    quick, only, threads = options.quick, options.only, options.threads
    rounds = {"W1": 7, "W2": 5, "W3": 5, "growth": 3}
    if quick or options.rounds:
        rounds = dict.fromkeys(rounds, options.rounds or 1)
    results: dict = {"titles": {group: WORKLOADS[group].title for group in WORKLOADS}}
    start, busy = time.perf_counter(), others()
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        names = [name for name, peer in PEERS.items() if not peer.missing]
        names = [name for name in names if only in (None, name) or name == "plain"]
        with workers(names, threads, folder) as team:
            for group in GROUPS:
                wanted = [
                    (case, variant)
                    for case, variant in cases_of(group, quick)
                    if only in (None, case.peer) or case.peer == "plain"
                ]
                cases, at_least = [case for case, _ in wanted], 0 if quick else AT_LEAST
                records = compare(cases, rounds[group], at_least, team, teller(group, start))
                results[group] = [
                    as_json(record, variant)
                    for record, (_, variant) in zip(records, wanted, strict=True)
                ]
        results["cold"] = {} if quick else cold_starts(only, threads, folder, start)
        results["memory"] = {} if quick or only else memory(threads, folder, start)
    after = others()
    share = None
    if busy and after and after[1] > busy[1]:
        share = max(0.0, (after[0] - busy[0]) / (after[1] - busy[1]))
    machine = {"processor": processor(), "cores": os.cpu_count(), "threads": threads}
    machine |= {"system": platform.system(), "others": share}
    return results | {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine,
        "versions": {"python": platform.python_version()} | {n: version(n) for n in VERSIONS},
        "rounds": ", ".join(f"{n} of {group}" for group, n in rounds.items()),
        "seconds": time.perf_counter() - start,
    }


def teller(group: str, start: float):
    """A function that tells what goes on, on stderr."""
    return lambda text: print(
        f"{time.perf_counter() - start:5.0f} s  {group}: {text}", file=sys.stderr, flush=True
    )


def as_json(record: Record, variant: str) -> dict:
    case = record.case
    names = ("seconds", "plain", "accuracies", "plain_accuracies", "error")
    head = {"peer": case.peer, "label": case.label, "n": case.n, "variant": variant}
    return head | {name: getattr(record, name) for name in names}


def cold_starts(only: str | None, threads: int, folder: Path, start: float) -> dict:
    """Seconds from starting Python to the first result, of each competitor on W1."""
    tell, found = teller("start-up", start), {}
    cases = [Case(name, WORKLOADS["W1"]) for name in PEERS if name not in ("by_hand", "jax")]
    pair = [Case("coursekit", WORKLOADS["W1"], 64), Case("jax", WORKLOADS["W1"], 64)]
    for case in [*cases, *pair * 5]:
        if PEERS[case.peer].missing or only not in (None, case.peer):
            continue
        tell(case.label)
        try:
            seconds = cold(case, threads, folder)
        except Failed as e:
            tell(str(e))
            continue
        found.setdefault(f"{case.peer} {case.n}", []).append(seconds)
    return found


def memory(threads: int, folder: Path, start: float) -> dict:
    """Bytes that stacks of several sizes take in fresh processes, and what coursekit expects."""
    from coursekit.engine.hooks import Arm, Hooks
    from coursekit.engine.networks import initial_net
    from coursekit.engine.side_by_side import try_out

    w, tell = WORKLOADS["W1"], teller("memory", start)
    task = task_of(w)
    make_net = make_net_of(w, task)
    arm = Arm(make_net, recipe_of(w, 1))
    each = try_out((arm, 0), [initial_net(make_net, 0)], task, Hooks(record=())).bytes
    tiny = Case("coursekit", replace(w, epochs=1, width=16, n_train=32), 2)
    found = {}
    for n in (1, 4, 16, 64, 256):
        tell(f"{n} networks")
        taken = peak_bytes(Case("coursekit", replace(w, epochs=2), n), tiny, threads, folder)
        found[str(n)] = {"peak_bytes": taken, "expected_bytes": each}
    return found


def publish(results: dict, out: Path) -> None:
    """Write the tables and the figure."""
    from benchmarks import figure, report

    labels = {name: peer.label for name, peer in PEERS.items()}
    stored = RESULTS / "shapes.json"
    shapes = json.loads(stored.read_text(encoding="utf-8"))["shapes"] if stored.exists() else None
    replace_file(out / "README.md", report.page(results, labels, shapes).encode())
    replace_file(out / "summary.md", report.summary(results, shapes).encode())
    replace_file(out / "speed.png", figure.speed(results))


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def others() -> tuple[float, float] | None:
    """Processor seconds used by other programs, and all there were; None if nobody tells."""
    try:
        with open("/proc/stat") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    used = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    own = os.times()  # of children those that have ended: call this when all have
    return used - sum(own[:4]), sum(ticks) / os.sysconf("SC_CLK_TCK")


def commit() -> str:
    """The commit that is checked out, with a mark if the package differs from it."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "coursekit", "benchmarks/*.py")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    main()
