"""The same workloads on one GPU: `python -m benchmarks.run --device cuda`."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.plain import plain
from benchmarks.workloads import WORKLOADS, Rows, Workload, deal, make_net_of, recipe_of, task_of
from coursekit.results.files import replace_file

N_ROUNDS = 5
MANY, TARGET = 256, 3  # networks side by side, and how many times the time of one they may take
PLAIN = "plain PyTorch loop"


class Utilization:
    """Samples the share of time in which the GPU was busy, in percent, while the block runs."""

    def __init__(self):
        self.samples: list[int] = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        import torch

        while not self.done.wait(0.1):
            try:
                self.samples.append(torch.cuda.utilization())
            except (ImportError, RuntimeError):  # pynvml is not there
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.done.set()
        self.thread.join()

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.samples)) if self.samples else None


def jobs_of(w: Workload, device: str, folder: Path) -> dict[str, tuple[int, Callable]]:
    """What is timed on a workload: by name, the number of networks and the job."""
    from coursekit.train import fit

    task = task_of(w, device)
    make_net = make_net_of(w, task)
    rows = Rows(deal(w, folder))

    def ours(n: int, **settings):
        recipe = recipe_of(w, n, **settings)
        return lambda: fit(make_net, task, recipe, record=()).val_acc[:, -1]

    jobs = {PLAIN: (1, plain(w, rows, device)([0]))}
    for n in (1, MANY):
        for name, settings in {"": {}, ", graph": {"graph": True}}.items():
            jobs[f"coursekit, {n} side by side{name}"] = (n, ours(n, **settings))
    return jobs


def timed(job: Callable) -> tuple[float, float | None, float]:
    """Seconds, the share of time in which the GPU was busy in percent, and the mean accuracy."""
    import torch

    torch.cuda.synchronize()
    with Utilization() as use:
        start = time.perf_counter()
        accuracies = job()
        torch.cuda.synchronize()
        taken = time.perf_counter() - start
    return taken, use.mean, float(np.mean(accuracies))


def main(out: Path) -> None:
    """Measure and write gpu.json and gpu.md after each round; without a GPU, say so."""
    import tempfile

    import torch

    from benchmarks.run import commit

    if not torch.cuda.is_available():
        print("no GPU here")
        return
    record = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "jobs": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        jobs = {
            f"{name}: {label}": job
            for name, w in WORKLOADS.items()
            for label, job in jobs_of(w, "cuda", Path(folder)).items()
        }
        for r in range(N_ROUNDS + 1):  # the first one warms up
            for label, (n, job) in jobs.items():
                own = record["jobs"].setdefault(label, {"n": n, "seconds": []})
                if "error" in own:
                    continue
                try:
                    taken, busy, accuracy = timed(job)
                except (RuntimeError, ValueError) as error:  # one job must not cost the others
                    own["error"] = str(error).strip().splitlines()[0]
                    continue
                if r:
                    own["seconds"].append(taken)
                    own["busy"], own["accuracy"] = busy, accuracy
            replace_file(out / "gpu.json", (json.dumps(record, indent=1) + "\n").encode())
            replace_file(out / "gpu.md", page(record).encode())
    print(page(record))


def page(record: dict) -> str:
    """The measurements as a table, and the targets below it."""
    lines = [f"# {record['device']}, torch {record['torch']}, {record['date'][:10]}", ""]
    lines += [f"{rounds(record)}.", ""]
    lines.append("| | networks | ms per network | against the plain loop | busy, % | accuracy, % |")
    lines.append("| --- | ---: | ---: | --- | ---: | ---: |")
    jobs = record["jobs"]
    for label, own in jobs.items():
        if not own["seconds"]:
            lines.append(f"| {label} | {own['n']} | {own.get('error', 'not measured')} | | | |")
            continue
        each = np.array(own["seconds"]) / own["n"]
        pace = np.array(jobs[f"{label.split(':')[0]}: {PLAIN}"]["seconds"] or [np.nan])
        ratio = np.median(pace) / np.median(each)
        use = "-" if own["busy"] is None else f"{own['busy']:.0f}"
        speed = f"{ratio:.1f}x as fast"
        cells = [label, str(own["n"]), f"{1000 * np.median(each):.2f}", speed, use]
        lines.append(f"| {' | '.join([*cells, format(100 * own['accuracy'], '.1f')])} |")
    lines += ["", *targets(jobs)]
    return "\n".join(lines) + "\n"


def rounds(record: dict) -> str:
    """How often each job was timed, in words."""
    n = max(len(own["seconds"]) for own in record["jobs"].values())
    return "Each timed once" if n == 1 else f"Medians of up to {n} rounds"


def summary(record: dict) -> str:
    """How much faster each of many networks is than one by the plain loop: a table for a README."""
    jobs = record["jobs"]
    lines = [
        f"{record['device']}, {MANY} networks side by side: speed of each, in the plain loop's. "
        f"{rounds(record)}.",
        "",
        "| | one by the plain loop, ms | side by side | with `graph=True` |",
        "|---|---:|---:|---:|",
    ]
    for name, w in WORKLOADS.items():
        plain = np.median(jobs[f"{name}: {PLAIN}"]["seconds"])
        label = f"{name}: coursekit, {MANY} side by side"
        speeds = (plain * MANY / np.median(jobs[label + end]["seconds"]) for end in ("", ", graph"))
        cells = " | ".join(f"{speed:.0f}x" for speed in speeds)
        lines.append(f"| {w.title} | {1000 * plain:.0f} | {cells} |")
    return "\n".join(lines) + "\n"


def targets(jobs: dict) -> list[str]:
    """Whether many networks cost little more than one, told for steps with and without a graph."""
    found = []
    for end in ("", ", graph"):
        one, many = (
            jobs.get(f"W1: coursekit, {n} side by side{end}", {}).get("seconds") for n in (1, MANY)
        )
        if one and many:
            ratio = np.median(many) / np.median(one)
            word = "met" if ratio <= TARGET else "missed"
            found.append(
                f"W1{end}: {MANY} networks take {ratio:.1f} times the time of one "
                f"(target: at most {TARGET}): {word}."
            )
    return found
