"""Dropout: what it computes, what it costs, where it helps, what it averages.

Axes: S seeds, A arms, T epochs, N examples, H hidden units, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.datasets.tasks import Task, stream
from coursekit.engine.layers import side_by_side
from coursekit.engine.random import Streams
from coursekit.ledger.evidence import Exact, chosen, correct, crossed, losses, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.worlds import World
from coursekit.regularizers import dropout as ours
from coursekit.regularizers.augmentation import random_light
from coursekit.regularizers.ensemble import enumerate_masks
from coursekit.results.runs import Runs
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3)
CONVOLUTIONS = replace(RECIPE, lr=1e-2, monitor="accuracy")
LEARNING_RATES = (3e-3, 1e-2, 3e-2, 1e-1)
INSIDE, OUTSIDE = (0.2, 0.3, 0.4, 0.5), (0.05, 0.1, 0.65, 0.8)
RATES = tuple(sorted(INSIDE + OUTSIDE))
TUNED = RATES[1:]
WIDTHS = tuple(range(125, 132))  # as many as there are rates to tune: see `_plain`
LABEL_NOISE = {"clean digits": 0.0, "noisy digits": 0.4}
MOMENTS = {"last epoch": "final", "early-stopped": "best"}
BY_ACCURACY = {"last epoch": "final", "early-stopped by accuracy": "best"}
N_SAMPLES = 100  # sub-networks


def _on(seeds: Sequence[int], recipe: Recipe = RECIPE) -> Recipe:
    return replace(recipe, first_seed=seeds[0], n_seeds=len(seeds))


@lru_cache(maxsize=4)
def _trained(world: World, noise: float, rate: float, seeds: range) -> tuple[Task, Runs]:
    """Digits, and networks of two hidden layers that learned them with a rate of dropout."""
    task = world.digits(label_noise=noise)
    return task, fit(world.net(task, dropout=rate), task, _on(seeds), record=())


# Does it shorten the training?


def _first(reached: np.ndarray) -> np.ndarray:
    """First epoch, counted from 1, in which (..., T) is True; the last one if none is."""
    return np.where(reached.any(-1), reached.argmax(-1) + 1, reached.shape[-1])


def _epochs(curve: np.ndarray, target: np.ndarray | float) -> np.ndarray:
    """Epochs (S,) until curves (A, S, T) are up at a target, with each seed's quickest arm."""
    reached = curve >= np.reshape(target, (-1, 1))
    return _first(reached).min(0)


def step_time(first: Callable, second: Callable, task: Task, seed: int) -> float:
    """Processor time of a training step of the second network, in percent of that of the first.

    Both are ordinary networks in an ordinary loop. They take turns of ten steps, each with the same
    coins, and the quickest of three turns counts. One thread: processor time adds threads up.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _step_time((first, second), task, seed)
    finally:
        torch.set_num_threads(before)


def _step_time(makers: Sequence[Callable], task: Task, seed: int) -> float:
    x, y = task.x[:50].cpu(), task.y[:50].cpu()
    with torch.random.fork_rng(devices=[]):
        nets = [make().train() for make in makers]
        optimizers, spent = [torch.optim.Adam(net.parameters()) for net in nets], [[], []]
        for _ in range(4):
            for net, optimizer, own in zip(nets, optimizers, spent, strict=True):
                torch.manual_seed(seed)
                start = process_time()
                for _ in range(10):
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
                own.append(process_time() - start)
    one, other = (min(own[1:]) for own in spent)  # the first turn warms up
    return 100 * other / one


@experiment("C39", recipe=RECIPE)
def time_to_target(seeds, world):
    """Epochs to a target without dropout and with it, each at its quickest rate."""
    c39, rates = {}, (0.0, 0.2, 0.5)
    for name, noise in LABEL_NOISE.items():
        task = world.digits(label_noise=noise)
        grid = {"dropout": rates, "lr": LEARNING_RATES}
        record = () if noise else ("train",)
        runs = sweep(world.net, task, _on(seeds), grid, record=record).runs
        shape = len(rates), len(LEARNING_RATES), len(seeds), -1
        acc, loss = (
            np.reshape([r.curves[kind] for r in runs], shape) for kind in ("val_acc", "val_loss")
        )
        for i, rate in enumerate(rates[1:], 1):
            both = np.minimum(acc[0].max((0, 2)), acc[i].max((0, 2))) - 0.03
            found = {"an accuracy that both reach": [_epochs(acc[j], both) for j in (0, i)]}
            if noise:
                low = np.maximum(*(np.nanmin(loss[j], (0, 2)) for j in (0, i))) + 0.05
                found["a validation loss that both reach"] = [
                    _epochs(-loss[j], -low) for j in (0, i)
                ]
            else:
                known = np.reshape([r.train_loss for r in runs], shape)
                found["training loss 0.1"] = [_epochs(-known[j], -0.1) for j in (0, i)]
            for target, epochs in found.items():
                c39[f"{name}, {target}, rate {rate}"] = tuple(map(plain, epochs))
    return {"C39": c39}


@experiment("C39t")
def time_of_a_step(seeds, world):
    """Processor time of a training step with dropout, in percent of one without."""
    task = world.digits()
    nets = [world.net(task, dropout=rate) for rate in (0.0, 0.5)]
    percent = [step_time(*nets, task, seed) for seed in seeds]
    return {"C39t": {"rate 0.5": (plain(100.0, len(seeds)), plain(percent))}}


# What is to be done at test time?


@experiment("C40", recipe=RECIPE)
def factor_at_test(seeds, world):
    """Masks without scaling: the mean over all masks, and trained networks, by factor at test."""
    c40 = {f"mean of training, rate {r}": _mean_of_training(r) for r in (0.2, 0.8)}
    task = world.digits()
    study = sweep(_masked, task, _on(seeds), {"rate": (0.2, 0.8)}, record=())
    for rate, keeping in zip((0.2, 0.8), study.runs, strict=True):
        # `ClassicDropout` multiplies by 1 - rate at test: told 1 - rate, it multiplies by the rate.
        state = {n: 1 - v if n.endswith("rate") else v for n, v in keeping.final.items()}
        dropping = replace(keeping, final=state)
        for metric, scores in (("accuracy", correct), ("NLL", losses)):
            pair = (scores(runs, task, weights="final") for runs in (keeping, dropping))
            c40[f"{metric}, rate {rate}"] = tuple(map(crossed, pair))
    return {"C40": c40}


def _masked(task: Task, rate: float) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in in (task.x[0].numel(), 128):
            layers += [nn.Linear(n_in, 128), nn.ReLU(), ours.ClassicDropout(rate)]
        return nn.Sequential(*layers, nn.Linear(128, task.n_outputs))

    return make


def _mean_of_training(rate: float) -> Exact:
    """The sum of ten units over all 1,024 masks, against the rule "times the rate"."""
    bits = (torch.arange(1024)[:, None] >> torch.arange(10) & 1).double()
    n_kept = bits.sum(1)
    chance = (1 - rate) ** n_kept * rate ** (10 - n_kept)
    mean, rule = float(chance @ n_kept) / 10, rate
    told = f"of a unit of 1, training lets through {mean:.3g} on average, and the rule {rule:.3g}"
    return Exact(abs(mean - rule) < 1e-12, told)


# What the libraries do


def _seeded(function: Callable, *args, **how):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return function(*args, **how)


@experiment("C41")
def evaluation_mode():
    """What PyTorch's layers do to activations in evaluation mode."""
    h = torch.linspace(-2, 2, 4 * 8 * 6).view(4, 8, 2, 3)
    kinds = {"nn.Dropout": nn.Dropout(0.2), "nn.Dropout2d": nn.Dropout2d(0.2)}
    change = {n: float((layer.eval()(h) - h).abs().max()) for n, layer in kinds.items()}
    return {"C41": {n: Exact(c > 0, f"largest change {c:g}") for n, c in change.items()}}


@experiment("C42")
def survivors():
    """What PyTorch does to the survivors in training, and to their gradients."""
    ones = torch.ones(10_000, requires_grad=True)
    dropped = _seeded(F.dropout, ones, 0.2)
    (gradient,) = torch.autograd.grad(dropped.sum(), ones)
    expected = torch.tensor([0, 1 / 0.8])
    values = {"values": dropped.detach().unique(), "gradients": gradient.unique()}
    return {
        "C42": {
            f"PyTorch, {name}": Exact(
                len(v) == 2 and torch.allclose(v, expected),
                f"ones become {' and '.join(f'{one:g}' for one in v.tolist())} at a rate of 0.2",
            )
            for name, v in values.items()
        }
    }


class PerEpoch(nn.Module):
    """Dropout as some imagine it: a fixed number of units, the same for a whole epoch."""

    def __init__(self, width: int, rate: float, n_steps: int):
        super().__init__()
        self.n_dropped, self.n_steps = round(rate * width), n_steps
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask", torch.ones(width))

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h
        drawn = torch.rand_like(self.mask).argsort().argsort() >= self.n_dropped
        scaled = drawn.to(h) * (len(self.mask) / (len(self.mask) - self.n_dropped))
        self.mask.copy_(torch.where(self.count % self.n_steps == 0, scaled, self.mask))
        self.count.add_(1)
        return h * self.mask


def _per_epoch_net(task: Task) -> Callable[[], nn.Module]:
    n_steps = -(-task.n_train // RECIPE.batch_size)

    def make() -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in in (task.x[0].numel(), 128):
            layers += [nn.Linear(n_in, 128), nn.ReLU(), PerEpoch(128, 0.5, n_steps)]
        return nn.Sequential(*layers, nn.Linear(128, task.n_outputs))

    return make


def _masks_of_an_epoch() -> Tensor:
    """What PyTorch's layer drops in the four steps of an epoch: (4, 50, 100) of 0 and 1."""
    layer, masks = nn.Dropout(0.5), []
    net = nn.Sequential(nn.Linear(8, 100), layer, nn.Linear(100, 2))
    layer.register_forward_hook(lambda _, args, out: masks.append((out == 0).int()))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for batch in torch.randn(200, 8).split(50):
        optimizer.zero_grad()
        net(batch).square().mean().backward()
        optimizer.step()
    return torch.stack(masks)


@experiment("C43")
def patterns():
    """What PyTorch's layer drops within an epoch of a training."""
    masks = _seeded(_masks_of_an_epoch)
    steps, rows = masks[0] != masks[1], masks[0, 0] != masks[0, 1]
    counts = masks.sum(-1)
    return {
        "C43": {
            "steps of one epoch share a pattern": Exact(
                not steps.any(), f"between two steps {int(steps.sum())} of 5,000 units change"
            ),
            "examples of one step share a pattern": Exact(
                not rows.any(), f"between two examples {int(rows.sum())} of 100 units change"
            ),
            "each example loses the same number of units": Exact(
                bool((counts == counts[0, 0]).all()),
                f"of 100 units at a rate of 0.5, {counts.min()} to {counts.max()} are lost",
            ),
        }
    }


@experiment("C43b", recipe=RECIPE)
def by_epochs(seeds, world):
    """Dropout as it is, against networks whose mask is one for each epoch."""
    c43b = {}
    for name, noise in LABEL_NOISE.items():
        task, usual = _trained(world, noise, 0.5, seeds)
        other = fit(_per_epoch_net(task), task, _on(seeds), record=())
        for when, weights in MOMENTS.items():
            pair = (correct(runs, task, weights=weights) for runs in (usual, other))
            c43b[f"{name}, {when}"] = tuple(map(crossed, pair))
    return {"C43b": c43b}


@experiment("C49")
def switches():
    """Which switches of PyTorch stop a dropout layer from dropping."""

    def drops(layer: Callable, *args) -> bool:
        return bool((_seeded(layer, torch.ones(1000), *args) == 0).any())

    layer = nn.Dropout(0.5)
    frozen = drops(layer.requires_grad_(False))
    with torch.no_grad():
        ungraded = drops(layer)
    with torch.inference_mode():
        inferred = drops(layer)
    evaluated = drops(layer.eval())
    called = drops(F.dropout, 0.5, False)  # a function has a flag of its own

    def told(dropping: bool) -> str:
        return "units are dropped" if dropping else "no unit is dropped"

    return {
        "C49": {
            "requires_grad_(False) leaves it on": Exact(frozen, told(frozen)),
            "no_grad() leaves it on": Exact(ungraded, told(ungraded)),
            "inference_mode() leaves it on": Exact(inferred, told(inferred)),
            "eval() switches the layer off": Exact(not evaluated, told(evaluated)),
            "training=False switches F.dropout off": Exact(not called, told(called)),
        }
    }


# Where it helps, and at which rates


def _benches(world: World) -> dict[str, Task]:
    found = {"clean digits": world.digits(), "noisy digits": world.digits(label_noise=0.4)}
    return found | ({"canvas digits": world.canvas()} if world.has_canvas else {})


def _swept(
    world: World,
    task: Task,
    seeds: Sequence[int],
    grid: Sequence[Mapping],
    *,
    by_accuracy: bool = False,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Validation accuracy (A, S) and test correctness (A, S, N) of some networks, by moment."""
    recipe = replace(_on(seeds), monitor="accuracy" if by_accuracy else "loss")
    runs = sweep(world.net, task, recipe, grid, record=()).runs
    return {
        when: (
            np.array([evaluate(r, task, "val", weights=weights).acc for r in runs]),
            np.array([correct(r, task, weights=weights) for r in runs]),
        )
        for when, weights in (BY_ACCURACY if by_accuracy else MOMENTS).items()
    }


def _at(rates: Sequence[float], width: int) -> list[dict]:
    return [{"hidden": (width, width), "dropout": rate} for rate in rates]


def _plain() -> list[dict]:
    """Networks without dropout, among which to choose as well: other widths draw other weights.

    The best of seven is better than one by luck alone, with label noise by half a point.
    """
    return [{"hidden": (width, width), "dropout": 0.0} for width in WIDTHS]


def _tuned(val: np.ndarray, test: np.ndarray, arms: Sequence[int] | slice):
    """The side whose network each seed's validation examples choose among some."""
    return crossed(chosen(val[arms], test[arms]))


def _among(rates: Sequence[float]) -> list[int]:
    return [RATES.index(rate) for rate in rates]


@experiment("C44", "C45", recipe=RECIPE)
def rates(seeds, world):
    """Eight rates, two widths; each seed's validation digits choose among some of the rates."""
    c44, c45 = {}, {}
    widths = (128, 16) if world.network == "mlp" else (128,)  # there, others would tell little
    for (name, task), width in product(_benches(world).items(), widths):
        grid = _at(RATES, width) + (_plain() if width == 128 else [])
        swept = _swept(world, task, seeds, grid, by_accuracy=name == "canvas digits")
        for when, scores in swept.items():
            if width == 128:
                pair = _tuned(*scores, slice(len(RATES), None)), _tuned(*scores, _among(TUNED))
                c44[f"{name}, {when}"] = pair
            pair = (_tuned(*scores, _among(rates)) for rates in (OUTSIDE, INSIDE))
            c45[f"{name}, {when}, {width} units"] = tuple(pair)
    # As a practitioner has it: nobody has cleaned the labels to validate on.
    grid, n = _at(TUNED, 128) + _plain(), len(TUNED)
    for when, scores in _swept(world, world.digits(pool_noise=0.4), seeds, grid).items():
        pair = _tuned(*scores, slice(n, None)), _tuned(*scores, slice(n))
        c44[f"noisy digits, noisy validation labels, {when}"] = pair
    return {"C44": c44, "C45": c45}


# Behind convolutions, and behind dense layers


def convolutional(task: Task, conv: float, dense: float, *, channels: bool):
    """Two convolutions and a dense layer, dropout behind each; of whole channels, or of numbers."""
    behind = ours.SpatialDropout if channels else ours.Dropout

    def make() -> nn.Module:
        stages: list[nn.Module] = []
        for n_in, n_out in ((1, 8), (8, 16)):
            stages += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            stages.append(behind(conv))
        head = [nn.Linear(144, 64), nn.ReLU(), ours.Dropout(dense), nn.Linear(64, 10)]
        return nn.Sequential(*stages, nn.Flatten(), *head)

    return make


PLACES = {
    "advised": (0.15, 0.5),
    "the rates swapped": (0.5, 0.15),
    "the dense layer alone": (0.0, 0.5),
    "convolutions alone": (0.15, 0.0),
}


@experiment("C46", "C46b", recipe=CONVOLUTIONS)
def places(seeds, world):
    """0.15 behind convolutions and 0.5 behind a dense layer, against three other placings."""
    task, c46, c46b = world.canvas(), {}, {}
    grid = [dict(zip(("conv", "dense"), rates, strict=True)) for rates in PLACES.values()]
    for kind, channels in (("single numbers dropped", False), ("whole channels dropped", True)):
        build = partial(convolutional, channels=channels)
        runs = sweep(build, task, _on(seeds, CONVOLUTIONS), grid, record=()).runs
        for when, weights in BY_ACCURACY.items():
            advised, *others = (crossed(correct(r, task, weights=weights)) for r in runs)
            for against, other in zip(list(PLACES)[1:], others, strict=True):
                if against == "the rates swapped":
                    c46[f"{kind}, {when}"] = other, advised
                else:
                    c46b[f"{kind}, {when}, against {against}"] = other, advised
    return {"C46": c46, "C46b": c46b}


# One network or many?


def sampled(runs: Runs, x: Tensor, n_samples: int) -> dict[str, Tensor]:
    """Log-probabilities (S, N, C) of two kinds of mean of `n_samples` random sub-networks."""
    streams = Streams([1_000_000 + int(seed) for seed in runs.seeds], x.device)
    call, inputs = side_by_side(runs.net), x.expand(len(runs.seeds), *x.shape)
    p, log_p = torch.zeros((), dtype=torch.double), torch.zeros((), dtype=torch.double)
    with ours.only_dropout(runs.net), torch.no_grad():
        state = runs.to(x.device).final
        for _ in range(n_samples):
            one = call(state, inputs, streams).double().log_softmax(-1)
            p, log_p = p + one.exp(), log_p + one
    arithmetic = (p / n_samples).log()
    return {"arithmetic mean": arithmetic, "geometric mean": (log_p / n_samples).log_softmax(-1)}


@experiment("C47", recipe=RECIPE)
def ensemble(seeds, world):
    """One layer: all 1,024 sub-networks. Two hidden layers: a sample of a hundred."""
    c47 = _one_layer()
    for name, noise in LABEL_NOISE.items():
        task, runs = _trained(world, noise, 0.5, seeds)
        y, n = task.y_test, len(seeds)
        whole = {
            "accuracy": correct(runs, task, weights="final"),
            "NLL": losses(runs, task, weights="final"),
        }
        for kind, log_p in sampled(runs, task.x_test, N_SAMPLES).items():
            right = (log_p.argmax(-1) == y).double()
            nll = -log_p.gather(-1, y.expand(n, -1)[..., None])[..., 0]
            for metric, mean in (("accuracy", right), ("NLL", nll)):
                pair = crossed(mean), crossed(whole[metric])
                c47[f"two hidden layers, {name}, {kind}, {metric}"] = pair
    return {"C47": c47}


def _one_layer() -> dict[str, Exact]:
    g = torch.Generator().manual_seed(0)
    weight, bias, x = (
        torch.randn(n, generator=g, dtype=torch.double) for n in ((3, 10), (3,), (20, 10))
    )
    mean = enumerate_masks(weight, bias, x, 0.5).geometric_mean()
    gap = float((F.linear(x, weight, bias).softmax(1) - mean).abs().max())
    return {
        "one softmax layer, geometric mean of all masks": Exact(
            gap < 1e-12, f"largest difference of a probability {gap:.1g}"
        )
    }


# What it does to the units


def _layers(state: Mapping[str, Tensor], x: Tensor, kept: Sequence[Tensor] | None = None):
    """Activations of each layer of S networks, the logits last: (S, N, H) or (S, N, C) each.

    `x` is (N, ...) or (S, N, ...) images; `kept` are masks (S, 1, H), one for each hidden layer.
    """
    matrices, vectors = ([v.to(x.device) for v in state.values() if v.ndim == n] for n in (3, 2))
    h, found = x.flatten(-3), []
    for i, (weight, bias) in enumerate(zip(matrices[:-1], vectors[:-1], strict=True)):
        h = (h @ weight.mT + bias[:, None]).relu()
        h = h if kept is None else h * kept[i]
        found.append(h)
    return [*found, h @ matrices[-1].mT + vectors[-1][:, None]]


@experiment("C48", recipe=RECIPE)
def sparsity(seeds, world):
    """Share of active units and mean activation on the test inputs, rate 0.5 against none."""
    c48 = {}
    for name, noise in LABEL_NOISE.items():
        pair = []
        for rate in (0.0, 0.5):
            task, runs = _trained(world, noise, rate, seeds)
            pair.append([h.double() for h in _layers(runs.final, task.x_test)[:2]])
        for layer, (before, after) in enumerate(zip(*pair, strict=True), 1):
            active = (crossed((h > 0).double().mean(-1)) for h in (before, after))
            c48[f"{name}, layer {layer}: share of active units"] = tuple(active)
            usual = before.mean((1, 2))[:, None]  # of each network
            size = (crossed(100 * h.mean(-1) / usual) for h in (before, after))
            c48[f"{name}, layer {layer}: mean activation"] = tuple(size)
    return {"C48": c48}


def _right(logits: Tensor, y: Tensor) -> np.ndarray:
    return (logits.argmax(-1) == y).cpu().double().numpy()


def _without_the_worst(runs: Runs, task: Task) -> np.ndarray:
    """Test correctness (S, N) without one unit of the last hidden layer of each network.

    It is the one whose removal costs most accuracy on the network's own validation examples, and
    of several such ones the one that costs most likelihood.
    """
    rows = task.deal(runs.seeds.tolist()).val_rows
    *_, h, logits = _layers(runs.best, task.x[rows])
    out = [v for v in runs.best.values() if v.ndim == 3][-1].to(h.device)  # (S, C, H)
    y, kept = task.y[rows], []
    for j in range(h.shape[-1]):
        less = logits - h[..., j, None] * out[:, None, :, j]
        right = (less.argmax(-1) == y).double().mean(1)
        likely = less.double().log_softmax(-1).gather(-1, y[..., None]).mean((1, 2))
        kept.append(right + 1e-6 * likely)
    worst = torch.stack(kept).argmin(0)  # (S,)
    mask = torch.ones(len(worst), 1, h.shape[-1], device=h.device)
    mask[torch.arange(len(worst)), 0, worst] = 0
    logits = _layers(runs.best, task.x_test, [torch.ones_like(mask), mask])[-1]
    return _right(logits, task.y_test)


def _without_a_share(runs: Runs, task: Task, share: float, draws: int = 10) -> np.ndarray:
    """Test correctness (S, N), mean over draws, without a random share of all hidden units."""
    found = 0.0
    coins = [stream(int(seed), "removed units") for seed in runs.seeds]
    for _ in range(draws):
        kept = []
        for _ in range(2):
            ranks = torch.stack([torch.rand(128, generator=g).argsort() for g in coins])
            kept.append((ranks >= share * 128).to(task.x_test)[:, None])
        found = found + _right(_layers(runs.best, task.x_test, kept)[-1], task.y_test) / draws
    return found


@experiment("S10", recipe=RECIPE)
def indispensable(seeds, world):
    """Removal of the worst unit, and of random ones, from networks with and without dropout."""
    s10 = {}
    for name, noise in LABEL_NOISE.items():
        lost = {}  # correctness lost by a removal, (S, N), of the plain network and of the other
        for rate in (0.0, 0.5):
            task, runs = _trained(world, noise, rate, seeds)
            whole = correct(runs, task)
            if rate:
                less = _without_the_worst(runs, task)
                s10[f"{name}, with dropout, the worst unit"] = crossed(whole), crossed(less)
            for percent in (12.5, 25, 50):
                rest = _without_a_share(runs, task, percent / 100)
                lost.setdefault(f"{percent:g} % of the units", []).append(whole - rest)
        for what, pair in lost.items():
            s10[f"{name}, with against without, {what}"] = tuple(map(crossed, pair))
    return {"S10": s10}


@experiment("S14", "S14b", "S14c", recipe=RECIPE)
def lighting(seeds, world):
    """Accuracy lost in another light: plain, with dropout, and with random light in training."""
    task, usual = _trained(world, 0.0, 0.0, seeds)
    lit = partial(random_light, brightness=0.4, contrast=0.4)
    nets = {
        "plain": usual,
        "dropout": _trained(world, 0.0, 0.5, seeds)[1],
        "augmentation": fit(world.net(task), task, _on(seeds), augment=lit, record=()),
    }
    x = task.x_test
    dimmed, bright = 0.4 * x, 0.4 + 0.6 * x

    def right(name: str, at: Tensor) -> np.ndarray:
        return correct(nets[name], task, weights="final", x=at)

    lost = {name: crossed(right(name, x) - right(name, bright)) for name in nets}
    before, in_bright, in_dimmed = (crossed(right("plain", at)) for at in (x, bright, dimmed))
    s14 = {
        "bright background, against the usual light": (before, in_bright),
        "bright background, with augmentation": (lost["plain"], lost["augmentation"]),
    }
    s14b = {"bright background": (lost["plain"], lost["dropout"])}
    return {"S14": s14, "S14b": s14b, "S14c": {"dimmed": (before, in_dimmed)}}
