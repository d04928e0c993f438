"""Batch norm: what it does for the optimizer, and what it does for new data.

Running statistics remember about 100 examples at every batch size (`memory`): with PyTorch's tenth
per batch and four batches per epoch, those of early epochs would be stale, and with half per batch
those of tiny batches would be noise. Axes: A settings, S seeds, N examples, B batch, C channels.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.datasets.tasks import Task
from coursekit.engine.layers import side_by_side
from coursekit.engine.networks import private_rng
from coursekit.ledger.evidence import Side, chosen, correct, crossed, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.worlds import World
from coursekit.regularizers.dropout import Dropout
from coursekit.regularizers.normalization import BatchNorm, batch_norms, standardize
from coursekit.sweep import Sweep, sweep
from coursekit.train import Recipe, Runs, evaluate

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3)
STEEP = Recipe(epochs=60, batch_size=50, optimizer="sgd", momentum=0.9, lr=0.03)
LRS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # for SGD
WEIGHTS = {"last epoch": "final", "early-stopped": "best"}
LAYERS = nn.Linear | nn.Conv1d | nn.Conv2d


def memory(batch_size: int) -> float:
    """The share of a new batch in the running statistics: about 100 examples are remembered."""
    return min(1.0, batch_size / 100)


def given(recipe: Recipe, seeds: Sequence[int], **changes) -> Recipe:
    """A recipe for some seeds."""
    return replace(recipe, first_seed=seeds[0], n_seeds=len(seeds), **changes)


# Networks


def usual(
    task: Task,
    *,
    world: World,
    hidden: Sequence[int] = (128, 128),
    batch_norm: bool = False,
    dropout: float = 0.0,
    scale: float = 1.0,
    share: float = 0.5,
    groups: int = 1,
) -> Callable[[], nn.Module]:
    """The world's network with He's initial weights times `scale`, the same for both sides.

    `share` of a batch in the running statistics; `groups` of a batch that are normalized apart.
    """
    make_plain = world.net(task, hidden, dropout=dropout, batch_norm=batch_norm)

    def make() -> nn.Module:
        net = make_plain()
        start(net, scale)
        for norm in batch_norms(net):
            norm.momentum = share
        if groups > 1:
            for k, layer in enumerate(net):
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    net[k] = Ghost(layer.num_features, groups, share)
        return net

    return make


def start(net: nn.Module, scale: float) -> None:
    """Draw He's weights anew from a stream of the seed, so that no other layer can shift them."""
    draws = torch.Generator().manual_seed(torch.initial_seed())
    for layer in net.modules():
        if isinstance(layer, LAYERS):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=draws)
            layer.weight.data.mul_(scale)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Ghost(nn.Module):
    """Batch norm whose training statistics come from groups of a batch: more noise, same steps.

    Hoffer et al., "Train longer, generalize better", NeurIPS 2017.
    """

    def __init__(self, channels: int, n_groups: int, share: float):
        super().__init__()
        self.norm, self.n_groups = BatchNorm(channels, momentum=share), n_groups

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(x)  # moves the running statistics
        if not self.training:
            return out
        groups = x.unflatten(0, (self.n_groups, -1))  # (groups, B / groups, C, ...)
        axes = (1, *range(3, groups.ndim))
        affine = (t.view(-1, *[1] * (x.ndim - 2)) for t in (self.norm.weight, self.norm.bias))
        weight, bias = affine
        return standardize(groups, axes).flatten(0, 1) * weight + bias


def blocks(
    task: Task,
    *,
    depth: int = 2,
    width: int = 64,
    norm: Callable[[int], nn.Module] | None = None,
    after: bool = False,
    dropout: float = 0.0,
    last: float = 0.0,
    jolts: bool = False,
) -> Callable[[], nn.Module]:
    """Blocks of linear layer, `norm(width)`, ReLU and dropout, with He's initial weights.

    `after` puts the norm behind the ReLU, `last` is a dropout rate in front of the last layer only,
    and `jolts` undo the steadiness of the inputs of every ReLU.
    """

    def make() -> nn.Module:
        layers, size = [nn.Flatten()], prod(task.x.shape[1:])
        for _ in range(depth):
            pair = [*([norm(width)] if norm else []), *[Jolt()] * jolts, nn.ReLU()]
            layers += [nn.Linear(size, width), *(reversed(pair) if after else pair)]
            layers += [Dropout(dropout)] * (dropout > 0)
            size = width
        layers += [Dropout(last)] * (last > 0)
        net = nn.Sequential(*layers, nn.Linear(width, task.n_outputs))
        start(net, 1.0)
        return net

    return make


class Jolt(nn.Module):
    """Noise whose distribution jumps at every step: a new shift and stretch of each unit.

    Each example adds a little of its own, as in Santurkar et al., NeurIPS 2018, appendix A.
    """

    def __init__(self, shift: float = 1.0, stretch: float = 0.25):
        super().__init__()
        self.shift, self.stretch = shift, stretch

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h
        moves, turns = 2 * torch.rand(2, h.shape[1], device=h.device) - 1  # (C,) each
        own, jitter = 0.2 * torch.rand_like(h) - 0.1, 0.2 * torch.rand_like(h) - 0.1
        return h * (1 + self.stretch * turns + jitter) + self.shift * moves + own


steady = partial(nn.BatchNorm1d, momentum=memory(RECIPE.batch_size))
# In evaluation, too, by the statistics of the digits that are judged: none stem from jolts.
fresh = partial(nn.BatchNorm1d, track_running_stats=False)


# Training and choosing


def trained(build: Callable, task: Task, recipe: Recipe, grid, **how) -> Sweep:
    """Train every setting; a rate at which training diverges is a result, no reason to warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the loss of seeds")
        return sweep(build, task, recipe, grid, **how)


def scored(study: Sweep, task: Task, weights: str) -> tuple[np.ndarray, np.ndarray]:
    """Validation accuracy (A, S) and test correctness (A, S, N) of all settings."""
    val = np.array([evaluate(runs, task, "val", weights=weights).acc for runs in study.runs])
    return val, np.array([correct(runs, task, weights=weights) for runs in study.runs])


def best(study: Sweep, task: Task, weights: str = "final") -> np.ndarray:
    """Test correctness (S, N), each seed at its setting of highest validation accuracy."""
    return chosen(*scored(study, task, weights))


def by_moment(build: Callable, task: Task, recipe: Recipe, grid) -> dict[str, np.ndarray]:
    """`best` at the last epoch and at the best one."""
    study = trained(build, task, recipe, grid, record=())
    return {when: best(study, task, weights) for when, weights in WEIGHTS.items()}


def quickest(study: Sweep) -> np.ndarray:
    """The number of the learning rate, (S,), of the highest validation accuracy over all epochs."""
    return np.array([np.nan_to_num(runs.val_acc).mean(1) for runs in study.runs]).argmax(0)


def picked(values: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """Each seed's own entry of values (A, S, ...)."""
    return values[choice, np.arange(len(choice))]


def learned(study: Sweep) -> np.ndarray:
    """Training accuracy (S, T), each seed at its quickest learning rate."""
    return picked(np.nan_to_num(np.array([r.train_acc for r in study.runs])), quickest(study))


def epochs_to(accuracy: float, curves: np.ndarray) -> np.ndarray:
    """First epoch, (S,), at which curves (S, T) reach a value; one more if they never do."""
    reached = curves >= accuracy
    return np.where(reached.any(1), reached.argmax(1), reached.shape[1]) + 1


def benches(world: World) -> dict[str, Task]:
    """The data sets by name, and the canvas where the pictures are small enough."""
    found = {"clean digits": world.digits(), "noisy digits": world.digits(label_noise=0.4)}
    return found | ({"canvas digits": world.canvas()} if world.has_canvas else {})


def moment(name: str, when: str) -> str:
    """Name of a condition. On the canvas, the lowest loss comes long before the best accuracy."""
    by = " by accuracy" * (name.startswith("canvas") and when == "early-stopped")
    return f"{name}, {when}{by}"


def stopped(recipe: Recipe, name: str) -> Recipe:
    """The recipe with the quantity by which this data set stops early."""
    return replace(recipe, monitor="accuracy") if name == "canvas digits" else recipe


# What it does for the optimizer


def pair(world: World, task: Task, seeds: Sequence[int], lrs, recipe: Recipe, **net) -> list[Sweep]:
    """Without and with batch norm, at every learning rate of SGD."""
    builds = [partial(usual, world=world, batch_norm=norm, **net) for norm in (False, True)]
    return [trained(build, task, given(recipe, seeds), {"lr": list(lrs)}) for build in builds]


@experiment("C52", recipe=STEEP)
def training(seeds, world):
    """Speed at each side's best learning rate, and what a high one and bad weights cost.

    The cost is counted from each side's own best, so that its lead there does not decide.
    """
    task, c52 = world.digits(), {}
    sizes = {"small network": (64, 64)}
    sizes |= {"six layers": (64,) * 6} if world.network == "mlp" else {}
    recipe = replace(STEEP, epochs=30)
    for name, hidden in sizes.items():
        studies = pair(world, task, seeds, LRS, recipe, hidden=hidden)
        curves = [learned(study) for study in studies]
        c52[f"epochs to 80 %, {name}"] = tuple(plain(epochs_to(0.8, c)) for c in curves)
        c52[f"mean over 30 epochs, {name}"] = tuple(plain(c.mean(1)) for c in curves)
        calm = [best(study, task) for study in studies]
        steep = (correct(study.at(lr=0.3), task, weights="final") for study in studies)
        c52[f"learning rate 0.3, {name}"] = changes(steep, calm)
        for scale in (0.1, 4.0):
            bad = pair(world, task, seeds, LRS, recipe, hidden=hidden, scale=scale)
            c52[f"weights times {scale:g}, {name}"] = changes((best(s, task) for s in bad), calm)
    return {"C52": c52}


def changes(now: Iterable[np.ndarray], before: Iterable[np.ndarray]) -> tuple[Side, ...]:
    """What changed for each side, in correctness (S, N)."""
    return tuple(crossed(n - b) for n, b in zip(now, before, strict=True))


@experiment("C54", recipe=STEEP)
def depths(seeds, world):
    """The gain at 2, 6, 12 and 20 hidden layers, each side at its best learning rate."""
    task, c54 = world.digits(), {}
    for depth in (2, 6, 12, 20):
        lrs = (0.001, *LRS[:-1])
        studies = pair(world, task, seeds, lrs, replace(STEEP, epochs=30), hidden=(64,) * depth)
        for when, weights in WEIGHTS.items():
            without, with_it = (crossed(best(study, task, weights)) for study in studies)
            # In shallow networks the claim is that none is not worse.
            sides = (with_it, without) if depth < 10 else (without, with_it)
            c54[f"{depth} layers, {when}"] = sides
    return {"C54": c54}


def layer_inputs(runs: Runs, x: Tensor) -> list[Tensor]:
    """Inputs (S, B, C) of the layers behind the first one, noise of training included."""
    runs.net.train()
    states = {name: value.clone() for name, value in runs.to(x.device).final.items()}
    heads = [k for k, layer in enumerate(runs.net) if isinstance(layer, nn.Linear)][1:]
    shared = x.expand(len(runs.seeds), *x.shape)
    # Other jolts at each epoch, and the same whenever this is computed.
    with private_rng(int(runs.seeds[0]) + 1000 * runs.recipe.epochs):
        return [side_by_side(runs.net[:k])(states, shared, None) for k in heads]


def drift(build: Callable, task: Task, recipe: Recipe, lrs, epochs=(2, 5, 10)) -> np.ndarray:
    """How far the mean input of a unit moves in an epoch, in its standard deviations: (A, S)."""
    moved = []
    for epoch in epochs:
        before, after = (
            [
                layer_inputs(runs, task.x[:200])
                for runs in trained(
                    build, task, replace(recipe, epochs=e), {"lr": lrs}, record=()
                ).runs
            ]
            for e in (epoch, epoch + 1)
        )
        moved.append(
            [
                [_moved(*layer) for layer in zip(*ends, strict=True)]
                for ends in zip(before, after, strict=True)
            ]
        )
    return np.array(moved).mean((0, 2))


def _moved(old: Tensor, new: Tensor) -> np.ndarray:
    spread = old.var(1).mean(1).sqrt()  # (S,)
    way = (new.mean(1) - old.mean(1)).square().mean(1).sqrt()
    return (way / spread).cpu().numpy()


@experiment("C53", "C53c", recipe=STEEP)
def shift(seeds, world):
    """Batch norm with its work undone: a jolt behind each one moves the next layer's inputs."""
    task, c53, check, lrs = world.digits(), {}, {}, list(LRS[:5])
    recipe = given(replace(STEEP, epochs=30), seeds)
    kinds = {
        "none": {},
        "norm": {"norm": fresh},
        "jolted": {"norm": fresh, "jolts": True},
    }
    for depth in (6, 12):
        mean, moved = {}, {}
        for name, kind in kinds.items():
            build = partial(blocks, depth=depth, **kind)
            study = trained(build, task, recipe, {"lr": lrs})
            mean[name] = plain(learned(study).mean(1))
            used, choice = np.unique(quickest(study), return_inverse=True)
            way = drift(build, task, recipe, [lrs[k] for k in used])
            moved[name] = plain(picked(way, choice))
        c53[f"{depth} layers: batch norm against none"] = moved["none"], moved["norm"]
        c53[f"{depth} layers: speed, none against jolted"] = mean["jolted"], mean["none"]
        check[f"{depth} layers"] = moved["none"], moved["jolted"]
    return {"C53": c53, "C53c": check}


@experiment("C55", recipe=RECIPE)
def placement(seeds, world):
    """Before or behind the ReLU, each seed at the best of four learning rates."""
    c55, rates = {}, (3e-4, 1e-3, 3e-3, 1e-2)
    tasks = benches(world)
    for name, depth in [(b, 2) for b in tasks] + [(b, 6) for b in list(tasks)[:2]]:
        task, recipe = tasks[name], given(stopped(RECIPE, name), seeds)
        sides = [
            by_moment(
                partial(blocks, depth=depth, norm=steady, after=after), task, recipe, {"lr": rates}
            )
            for after in (True, False)
        ]
        for when in WEIGHTS:
            c55[moment(f"{name}, {depth} layers", when)] = tuple(crossed(s[when]) for s in sides)
    return {"C55": c55}
