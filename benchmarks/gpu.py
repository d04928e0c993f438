"""The same W1 on one GPU: `python -m benchmarks.run --device cuda`."""

import json
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.plain import plain
from benchmarks.workloads import WORKLOADS, Rows, deal, make_net_of, recipe_of, task_of
from coursekit.files import replace_file

N_ROUNDS = 5


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


def main(out: Path) -> None:
    """Measure and write gpu.json and gpu.md; without a GPU, say so."""
    import tempfile

    import torch

    if not torch.cuda.is_available():
        print("no GPU here")
        return
    from coursekit.train import fit

    w = WORKLOADS["W1"]
    task = task_of(w, "cuda")
    make_net = make_net_of(w, task)
    with tempfile.TemporaryDirectory() as folder:
        rows = Rows(deal(w, Path(folder)))

    def ours(n: int, **settings):
        recipe = recipe_of(w, n, **settings)
        return lambda: fit(make_net, task, recipe, record=()).val_acc[:, -1]

    jobs = {
        "plain PyTorch loop": (1, plain(w, rows, "cuda")([0])),
        "coursekit, 1 network": (1, ours(1)),
        "coursekit, 256 networks": (256, ours(256)),
        "coursekit, 1 network, graph": (1, ours(1, graph=True)),
        "coursekit, 256 networks, graph": (256, ours(256, graph=True)),
    }
    seconds = {name: [] for name in jobs}
    busy, accuracy = {}, {}
    for r in range(N_ROUNDS + 1):  # the first one warms up
        for name, (_, job) in jobs.items():
            torch.cuda.synchronize()
            with Utilization() as use:
                start = time.perf_counter()
                accuracies = job()
                torch.cuda.synchronize()
                taken = time.perf_counter() - start
            if r:
                seconds[name].append(taken)
                busy[name], accuracy[name] = use.mean, float(np.mean(accuracies))
    pace = np.array(seconds["plain PyTorch loop"])
    lines = ["| | networks | ms per network | speed, in plain loops | GPU busy, % | accuracy, % |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (n, _) in jobs.items():
        each = np.array(seconds[name]) / n
        use = "-" if busy[name] is None else f"{busy[name]:.0f}"
        cells = [name, str(n), f"{1000 * np.median(each):.2f}", f"{np.median(pace / each):.1f}"]
        lines.append(f"| {' | '.join([*cells, use, f'{100 * accuracy[name]:.1f}'])} |")
    head = f"# W1 on {torch.cuda.get_device_name()}, torch {torch.__version__}\n\n"
    record = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    record |= {"seconds": seconds, "busy": busy, "accuracy": accuracy}
    replace_file(out / "gpu.json", (json.dumps(record, indent=1) + "\n").encode())
    replace_file(out / "gpu.md", (head + "\n".join(lines) + "\n").encode())
    print((out / "gpu.md").read_text())
