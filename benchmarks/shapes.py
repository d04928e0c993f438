"""Is `fit` ever slower than the loop that everybody writes? Networks of many shapes, 1 to 64 seeds.

    OMP_NUM_THREADS=2 python -m benchmarks.shapes            # all, about 10 minutes
    OMP_NUM_THREADS=2 python -m benchmarks.shapes "CNN 28 x 28"   # these anew
    python -m benchmarks.shapes --device cuda                # on an NVIDIA GPU, about 4 minutes

Each round times the plain loop and `fit` one after the other in one process; a ratio is the median
of the rounds' ratios, so that a machine that slows down slows both. Both evaluate on the validation
rows after every epoch, and on nothing else.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.run import processor
from coursekit import models
from coursekit.datasets.tasks import Task, stream
from coursekit.results.files import replace_file
from coursekit.results.store import machine
from coursekit.train import Recipe, batch_order, fit, initial_net

RESULTS = Path(__file__).parent / "results"
SEEDS = {"cpu": (1, 4, 16, 64), "cuda": (1, 16, 256)}
SECONDS = 0.3  # that the plain loop takes for one network, about


class OwnResidual(nn.Module):
    """A class of a user's own, as in a first tutorial on residual networks."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.stem, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = h + block(h.relu())
        return self.head(h)


class Attention(nn.Module):
    """One encoder layer over the eight rows of a digit."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(8, 32), nn.Linear(32, 10)
        self.encoder = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.squeeze(1))).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x.squeeze(1))[1][0])


@dataclass(frozen=True)
class Shape:
    example: tuple[int, ...]
    make_net: Callable[[Task], Callable[[], nn.Module]]
    batch_size: int = 32

    @property
    def planar(self) -> bool:
        """Whether it is a two-dimensional CNN."""
        return (
            len(self.example) == 3 and getattr(self.make_net, "func", self.make_net) is models.cnn
        )


SHAPES = {
    "tiny MLP": Shape((64,), partial(models.mlp, hidden=(16,))),
    "MLP 64-128-128": Shape((64,), models.mlp),
    "MLP with dropout": Shape((64,), partial(models.mlp, dropout=0.5)),
    "MLP with batch norm": Shape((64,), partial(models.mlp, batch_norm=True)),
    "wide MLP 784-512-512": Shape((784,), partial(models.mlp, hidden=(512, 512))),
    "own residual class": Shape((1, 8, 8), lambda task: OwnResidual),
    "residual, 8 blocks": Shape((64,), partial(models.resnet, n_blocks=8, survival=0.8)),
    "attention": Shape((1, 8, 8), lambda task: Attention),
    "GRU": Shape((1, 8, 8), lambda task: Recurrent),
    "CNN of 40 points": Shape((1, 40), models.cnn),
    "CNN of 40 points, batch norm": Shape((1, 40), partial(models.cnn, batch_norm=True)),
    "CNN 8 x 8": Shape((1, 8, 8), models.cnn),
    "CNN 12 x 12": Shape((1, 12, 12), models.cnn),
    "CNN 16 x 16": Shape((1, 16, 16), partial(models.cnn, channels=(8, 16))),
    "CNN 28 x 28": Shape((1, 28, 28), models.cnn, 50),
    "CNN 3 x 32 x 32, batch norm": Shape((3, 32, 32), partial(models.cnn, batch_norm=True), 50),
}


def task_of(shape: Shape, device: str = "cpu") -> Task:
    draws = stream(0, "shapes")
    x = torch.rand(600, *shape.example, generator=draws).to(device)
    y = torch.randint(10, (600,), generator=draws).to(device)
    return Task("made up", x, y, None, None, n_train=500, n_val=100, n_classes=10)


def plain(make_net: Callable, task: Task, recipe: Recipe) -> None:
    """The loop that everybody writes, seed after seed."""
    for seed in recipe.seeds:
        deal = task.deal([seed])
        x, y = task.x[deal.train_rows[0]], deal.y_train[0]
        x_val, y_val = task.x[deal.val_rows[0]], task.y[deal.val_rows[0]]
        net = initial_net(make_net, seed).to(task.device)
        order = batch_order(seed, task.n_train)
        optimizer = torch.optim.Adam(net.parameters(), lr=recipe.lr, fused=True)
        for _ in range(recipe.epochs):
            net.train()
            for batch in next(order).to(task.device).split(recipe.batch_size):
                optimizer.zero_grad()
                F.cross_entropy(net(x[batch]), y[batch]).backward()
                skip_nothing(net)
                optimizer.step()
            net.eval()
            with torch.no_grad():
                out = net(x_val)
                F.cross_entropy(out, y_val).item()
                (out.argmax(1) == y_val).double().mean().item()


def skip_nothing(net: nn.Module) -> None:
    # The fused optimizer fails where a block that was skipped has no gradient.
    for p in net.parameters():
        if p.grad is None:
            p.grad = torch.zeros_like(p)


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def measure(name: str, device: str = "cpu", rounds: int = 3) -> dict:
    """Networks per second of `fit` divided by those of the plain loop, by number of seeds."""
    shape = SHAPES[name]
    task = task_of(shape, device)
    make_net = shape.make_net(task)
    one = Recipe(epochs=1, batch_size=shape.batch_size, n_seeds=1, first_seed=0)
    plain(make_net, task, one)  # lazy set-up
    each = min(seconds(lambda: plain(make_net, task, one)) for _ in range(3))
    epochs = max(2, round(SECONDS / each))
    ratios, way = {}, ""
    for n in SEEDS[device]:
        if way and n > 64:
            break  # one after another, which takes as long for each
        n_plain = min(n, 4)
        own = Recipe(epochs=epochs, batch_size=shape.batch_size, n_seeds=n, first_seed=0)
        some = Recipe(epochs=epochs, batch_size=shape.batch_size, n_seeds=n_plain, first_seed=0)
        found = []
        for _ in range(rounds if n < 64 else 2):
            base = seconds(lambda: plain(make_net, task, some)) / n_plain  # noqa: B023
            runs = []
            mine = seconds(lambda: runs.append(fit(make_net, task, own, record=()))) / n  # noqa: B023
            found.append(base / mine)
        ratios[str(n)], way = statistics.median(found), runs[0].apart
    return {
        "plain_ms": 1e3 * each * epochs,
        "epochs": epochs,
        "planar": shape.planar,
        "ratios": ratios,
        "apart": way,
    }


def page(results: dict) -> str:
    """The table as Markdown."""
    about = results["machine"]
    found = results["shapes"].values()
    seeds = sorted({int(n) for one in found for n in one["ratios"]})
    lines = [
        f"# {about['processor']}, {about['threads']} threads",
        "",
        f"PyTorch {about['torch']}, {about['date'][:10]}. Networks per second of `fit`, divided by "
        "those of the plain loop.",
        "",
        "| network | " + " | ".join(f"{n} seeds" for n in seeds) + " | how |",
        "|---|" + "---:|" * len(seeds) + "---|",
    ]
    for name, found in results["shapes"].items():
        ratios = (found["ratios"].get(str(n)) for n in seeds)
        cells = " | ".join("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        way = f"one after another: {found['apart']}" if found["apart"] else "side by side"
        lines.append(f"| {name} | {cells} | {way} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the named shapes, by default all, and print and store the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of networks; default: all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in SHAPES]:
        parser.error(f"expected names among {', '.join(SHAPES)}, got {', '.join(unknown)}")
    card = options.device == "cuda"
    about = machine(options.device)
    about |= {"processor": torch.cuda.get_device_name() if card else processor()}
    stored = options.out / ("gpu_shapes.json" if card else "shapes.json")
    results = {"machine": about, "shapes": {}}
    if options.names and stored.exists():  # the others stay, if they were measured here
        before = json.loads(stored.read_text(encoding="utf-8"))
        same = all(
            before["machine"][key] == about[key] for key in ("processor", "torch", "threads")
        )
        results["shapes"] = before["shapes"] if same else {}
    warnings.simplefilter("ignore")  # of a recurrent network, which is no news here
    for name in options.names or SHAPES:
        results["shapes"][name] = found = measure(name, options.device)
        ratios = ", ".join(f"{n}: {ratio:.2f}" for n, ratio in found["ratios"].items())
        print(f"{name:30} {ratios}  {found['apart']}", flush=True)
        # After each, so that an end in the middle loses one.
        options.out.mkdir(parents=True, exist_ok=True)
        replace_file(stored, json.dumps(results, indent=1).encode())
        replace_file(stored.with_suffix(".md"), page(results).encode())


if __name__ == "__main__":
    main()
