"""Augmentation of pictures and signals: shifts, mirrors, noise, cutout, mixup, and their rivals.

All sides of a comparison take equally many steps, and share seeds, training rows, initial weights
and batches. Axes: A settings of an arm, S seeds, N test examples; B rows of a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit.datasets.tasks import Task, stream
from coursekit.ledger.evidence import Exact, chosen, correct, crossed, losses, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.worlds import World
from coursekit.regularizers import augmentation, mixing
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate

# With a shift or noise, the validation loss of fully connected networks is lowest after some 450
# steps, without after 100. On 28 x 28 pixels convolutional networks need fewer; on signals, of
# which there are three times as many, with a shift three times as many steps.
STEPS, STEPS_OF_HEADLINES = 600, 360
RECIPE = Recipe(epochs=STEPS // 4, batch_size=50, lr=3e-3)
LAST, EARLY, EARLY_CANVAS = "last epoch", "early-stopped", "early-stopped by accuracy"


# What is done to a batch: (B, C, H, W) pictures or (B, C, L) signals, which have one row


def _pictures(x: Tensor) -> Tensor:
    return x if x.ndim == 4 else x.unsqueeze(-2)


def _shift(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    pictures = _pictures(x)
    down = down if pictures.shape[-2] > 1 else torch.zeros_like(down)
    return augmentation.shift(pictures, down, right).view_as(x)


def shifted(x: Tensor, reach=1, share=1.0) -> Tensor:
    """Move a share of the pictures by up to `reach` pixels each way; signals along their axis."""
    moves = (torch.rand(len(x), device=x.device) < share).long()
    down, right = (moves * augmentation.whole(x, -reach, reach) for _ in range(2))
    return _shift(x, down, right)


def mirrored(x: Tensor) -> Tensor:
    """Swap left and right in every second picture; every second signal runs backwards."""
    return _every_second(x, x.flip(-1))


def half_turned(x: Tensor) -> Tensor:
    """Turn every second picture upside down."""
    return _every_second(x, x.flip(-1, -2))


def _every_second(x: Tensor, other: Tensor) -> Tensor:
    which = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(which.view(-1, *[1] * (x.ndim - 1)), other, x)


def noisy(x: Tensor, sigma, spread=1.0) -> Tensor:
    """Add noise of sigma spreads to every pixel alike."""
    return x + sigma * spread * torch.randn_like(x)


def noisy_axes(x: Tensor, sigma) -> Tensor:
    """Add noise along the principal axes of the batch, by sigma of the spread along each."""
    centered = (x - x.mean(0)).flatten(1)
    weights = torch.randn(len(x), len(x), device=x.device) / len(x) ** 0.5
    return x + sigma * (weights @ centered).view_as(x)  # its covariance is that of the batch


def copied(x: Tensor, n: int = 4) -> Tensor:
    """One of n fixed versions of each picture: itself, or a shift that the picture decides."""
    code = torch.arange(1, 1 + x[0].numel(), device=x.device) ** 2 % 997
    key = ((x.flatten(1) * 16).round().long() * code).sum(1)  # digits are sixteenths: exact
    which = torch.randint(n, (len(x),), device=x.device)
    place = (key + 7 * which) % 8
    place = torch.where(which == 0, 4, place + (place >= 4))  # 0 to 8; 4 is the middle
    return _shift(x, place // 3 - 1, place % 3 - 1)


def cut_out(x: Tensor, side) -> Tensor:
    """Blacken a square around a random pixel of each picture, or a piece of each signal."""
    pictures = _pictures(x)
    (height, width), half = pictures.shape[-2:], side // 2
    left = augmentation.whole(x, 0, width - 1) - half
    flat = height == 1
    top = 0 * left if flat else augmentation.whole(x, 0, height - 1) - half
    square = augmentation.rectangle(pictures, top.long(), left.long(), 1 if flat else side, side)
    return torch.where(square, 0, pictures).view_as(x)


def mixed(x: Tensor, y: Tensor, alpha, n_classes: int = 10) -> tuple[Tensor, Tensor]:
    return mixing.random_mixup(x, y, alpha, n_classes)


def blended(x: Tensor, y: Tensor, *, labels: bool = True, larger: bool = False):
    """Blend each picture with a random partner, by a uniform share, and its label if `labels`.

    With `larger` the picture itself has at least half of the blend.
    """
    share = torch.rand(len(x), 1, device=x.device)  # Beta(1, 1) is uniform
    if larger:
        share = torch.maximum(share, 1 - share)
    order = torch.rand_like(share[:, 0]).argsort()
    of = share.view(-1, *[1] * (x.ndim - 1))
    blend = of * x + (1 - of) * x[order]
    y = F.one_hot(y, 10).float()
    return blend, share * y + (1 - share) * y[order] if labels else y


# What is trained


class Arm(NamedTuple):
    """How networks are trained: what is done to batches, and the settings to choose from."""

    grid: Sequence[Mapping[str, float]] = ({"lr": RECIPE.lr},)
    augment: object = None
    mix: object = None


def _settings(**values: Sequence[float]) -> list[dict[str, float]]:
    return [dict(zip(values, own, strict=True)) for own in product(*values.values())]


def _reach(task: Task) -> int:
    """An eighth of the width: 1 pixel of 8 (and of the canvas's 12), 3 of 28, 5 of 40."""
    return task.x.shape[-1] // 8


PENALTIES = (
    {"weight_decay": 1e-2, "dropout": 0.0},
    {"weight_decay": 1e-3, "dropout": 0.3},
    {"weight_decay": 1e-2, "dropout": 0.6},
    {"weight_decay": 1e-3, "dropout": 0.8},
)


def _arm(name: str, task: Task) -> Arm:
    reach, width = _reach(task), task.x.shape[-1]
    shifts = _settings(reach=(reach, 2 * reach), share=(0.5, 1.0))
    if name == "noise":
        spread = (task.x - task.x.mean(0)).square().mean().sqrt().item()
        return Arm(_settings(sigma=(0.5, 1.0, 2.0, 4.0)), partial(noisy, spread=spread))
    return {
        "none": Arm(),
        "shift": Arm(augment=partial(shifted, reach=reach)),
        "shift, tuned": Arm(shifts, shifted),
        "penalties": Arm(PENALTIES),
        "shift and penalties": Arm(
            [shift | own for shift in (shifts[0], shifts[-1]) for own in PENALTIES[1:3]], shifted
        ),
        "mirror": Arm(augment=mirrored),
        "half turn": Arm(augment=half_turned),
        "axes": Arm(_settings(sigma=(0.25, 0.5, 1.0, 2.0)), noisy_axes),
        "copies": Arm(augment=copied),
        "cutout": Arm(_settings(side=(width // 8, width // 4, width // 2)), cut_out),
        "mixup": Arm(_settings(alpha=(0.1, 0.6, 4.0, 16.0)), mix=mixed),
        "both": Arm(mix=blended),
        "label of the first": Arm(mix=partial(blended, labels=False)),
        "label of the larger part": Arm(mix=partial(blended, labels=False, larger=True)),
    }[name]


def _task(world: World, bench: str, n_train: int) -> Task:
    if bench == "canvas digits":
        return world.canvas(n_train=n_train)
    if bench == "noisy validation":  # 100 digits as wrong as those that are trained on
        return world.digits(pool_noise=0.4, n_train=n_train, n_val=100)
    return world.digits(0.4 if bench == "noisy digits" else 0.0, n_train=n_train)


class Kept(NamedTuple):
    """What is kept of trained networks at one moment."""

    val_acc: np.ndarray  # (A, S)
    val_loss: np.ndarray  # (A, S)
    right: np.ndarray  # (A, S, N)
    loss: np.ndarray  # (A, S, N)
    elsewhere: np.ndarray | None  # (A, S, N), right about test examples that were moved


@lru_cache(maxsize=24)
def _trained(
    world: World, seeds: range, bench: str, name: str, n_train: int = 200, conv: bool = False
) -> dict[str, Kept]:
    """Networks of one arm, by the moment at which they are judged."""
    task = _task(world, bench, n_train)
    arm, canvas = _arm(name, task), bench == "canvas digits"
    steps = (STEPS_OF_HEADLINES if world.headline else STEPS) * world.scale
    epochs = round(steps * RECIPE.batch_size / task.n_train)
    recipe = replace(
        RECIPE,
        epochs=epochs,
        evaluate_every=max(1, round(epochs / 50)),
        # On the canvas the lowest loss comes long before the best accuracy.
        monitor="accuracy" if canvas else "loss",
        first_seed=seeds[0],
        n_seeds=len(seeds),
    )
    net = replace(world, network="cnn" if conv else world.network).net
    runs = sweep(net, task, recipe, arm.grid, augment=arm.augment, mix=arm.mix, record=()).runs
    exam = _moved_exam(task) if bench == "clean digits" and name in ("none", "shift") else None
    kept = {}
    for when, weights in ((LAST, "final"), (EARLY_CANVAS if canvas else EARLY, "best")):
        val = [evaluate(r, task, "val", weights=weights) for r in runs]
        kept[when] = Kept(
            np.array([v.acc for v in val]),
            np.array([v.loss for v in val]),
            np.array([correct(r, task, weights=weights) for r in runs]),
            np.array([losses(r, task, weights=weights) for r in runs]),
            None
            if exam is None
            else np.array([correct(r, task, weights=weights, x=exam) for r in runs]),
        )
    return kept


def _moved_exam(task: Task) -> Tensor:
    """The test pictures, each moved at random by as much as the shift moves training pictures."""
    draws, reach = stream(0, "exam"), _reach(task)
    down, right = torch.randint(-reach, reach + 1, (2, len(task.x_test)), generator=draws)
    return _shift(task.x_test, down.to(task.device), right.to(task.device))


def _right(kept: Kept) -> np.ndarray:
    """Who is right (S, N), of the setting that each seed's validation accuracy prefers."""
    return chosen(kept.val_acc, kept.right)


def _lowest_loss(kept: Kept) -> np.ndarray:
    """Losses (S, N) of the setting that each seed's validation loss prefers."""
    return chosen(-kept.val_loss, kept.loss)


def _against(world, seeds, bench, control, treated, **how) -> dict:
    """By moment: who is right in the control and in the treated arm."""
    sides = [_trained(world, seeds, bench, name, **how) for name in (control, treated)]
    return {when: tuple(crossed(_right(side[when])) for side in sides) for when in sides[0]}


def _benches(world: World, *names: str) -> list[str]:
    names = names or ("clean digits", "noisy digits", "canvas digits")
    return [name for name in names if world.has_canvas or name != "canvas digits"]


# What is asked


@experiment("C64", recipe=RECIPE)
def a_small_shift(seeds, world):
    """No shift against one by an eighth of the width; the same on an exam whose pictures are moved;
    and its effect at 50 training examples against that at 400.
    """
    c64 = {}
    for bench in _benches(world):
        for when, pair in _against(world, seeds, bench, "none", "shift").items():
            c64[f"{bench}, {when}"] = pair
    at_validation = _against(world, seeds, "noisy validation", "none", "shift")[EARLY]
    c64["noisy digits, early-stopped on 100 noisy digits"] = at_validation
    before, after = (_trained(world, seeds, "clean digits", arm) for arm in ("none", "shift"))
    for when in (LAST, EARLY):
        pair = crossed(before[when].elsewhere[0]), crossed(after[when].elsewhere[0])
        c64[f"clean digits, moved exam, {when}"] = pair
    for bench in _benches(world, "clean digits", "canvas digits"):
        few, many = (
            [_trained(world, seeds, bench, arm, n_train=n) for arm in ("none", "shift")]
            for n in (50, 400)
        )
        for when in few[0]:
            pair = (
                crossed(with_[when].right[0] - none[when].right[0]) for none, with_ in (many, few)
            )
            c64[f"{bench}, effect at 50 against 400, {when}"] = tuple(pair)
    return {"C64": c64}


@experiment("C65", "C65b", recipe=RECIPE)
def flips(seeds, world):
    """Mirror and half turn against none and against a shift, which keeps the label; and the digits
    that turn into each other against the others.
    """
    c65 = {}
    # Half a turn of a signal would turn other classes into each other than 6 and 9.
    arms = {"mirror": (2, 5)} | ({} if world.name == "mnist1d" else {"half turn": (6, 9)})
    for arm, bench in product(arms, _benches(world, "clean digits", "noisy digits")):
        for other in ("none", "shift"):
            against = "" if other == "none" else " against a shift"
            for when, sides in _against(world, seeds, bench, other, arm).items():
                c65[f"{arm}{against}, {bench}, {when}"] = sides
    y, c65b = world.digits().y_test.cpu().numpy(), {}
    for when in (LAST, EARLY):
        ahead = [
            [_ahead(_trained(world, seeds, "clean digits", name)[when].right[0], y, pair)
             for name in ("none", arm)]
            for arm, pair in arms.items()
        ]  # fmt: skip
        none, treated = np.mean(ahead, 0)
        c65b[f"clean digits, {when}"] = crossed(none), crossed(treated)
    return {"C65": c65, "C65b": c65b}


def _ahead(right: np.ndarray, y: np.ndarray, pair: Sequence[int]) -> np.ndarray:
    """Values (S, N) whose mean is the accuracy on a pair of classes minus that on the others."""
    own = np.isin(y, pair)
    return right * np.where(own, len(y) / own.sum(), -len(y) / (~own).sum())


@experiment("C66", "S16", recipe=RECIPE)
def examples(seeds, world):
    """The gain by a shift at 5 and 40 digits per class, also of a convolutional network; and
    100 digits, in four fixed versions or moved anew in every step, against 400.
    """
    c66, s16 = {}, {}
    for bench, n in product(("canvas digits", "clean digits"), (50, 400)):
        for when, pair in _against(world, seeds, bench, "none", "shift", n_train=n).items():
            c66[f"{bench}, {n // 10} per class, {when}"] = pair
    for n in (50, 400):
        pairs = _against(world, seeds, "canvas digits", "none", "shift", n_train=n, conv=True)
        for when, pair in pairs.items():
            c66[f"canvas digits, convolutions, {n // 10} per class, {when}"] = pair
    for bench in ("canvas digits", "clean digits"):
        real = _trained(world, seeds, bench, "none", n_train=400)
        for arm, name in (("copies", "four fixed versions"), ("shift", "new shifts")):
            for when, kept in _trained(world, seeds, bench, arm, n_train=100).items():
                pair = crossed(_right(real[when])), crossed(_right(kept))
                s16[f"{bench}, {name}, {when}"] = pair
    return {"C66": c66, "S16": s16}


@experiment("C67", recipe=RECIPE)
def noise_as_penalty(seeds, world):
    """Least squares with noise on its inputs against ridge; networks with noise on their pixels,
    whose strength each seed's validation accuracy chooses, against none.
    """
    c67 = {}
    if world.is_first:  # the linear models know nothing of a world
        c67 = {"linear model, mean over the noise": _ridge_exactly()} | _ridge_by_copies(seeds)
    for bench in _benches(world, "clean digits", "noisy digits"):
        for when, pair in _against(world, seeds, bench, "none", "noise").items():
            c67[f"network, {bench}, {when}"] = pair
    return {"C67": c67}


def _ridge(x: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    return np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)


def _ridge_exactly() -> Exact:
    """Least squares on versions of each row with exactly the mean and covariance of the noise."""
    draws = np.random.default_rng(0)
    (n, d), sigma = (40, 6), 0.3
    x, y = draws.normal(size=(n, d)), draws.normal(size=n)
    jumps = sigma * d**0.5 * np.concatenate([np.eye(d), -np.eye(d)])  # mean 0, covariance sigma^2 I
    rows = (x[:, None] + jumps).reshape(-1, d)  # (n * 2d, d)
    w = np.linalg.lstsq(rows, np.repeat(y, 2 * d), rcond=None)[0]
    off = {a: np.abs(w - _ridge(x, y, a)).max() for a in (n * sigma**2, sigma**2, n * sigma)}
    own, *others = off.values()
    shown = (
        f"coefficients differ from ridge's with alpha = n sigma^2 by at most {own:.0e}, and from "
        f"those with sigma^2 or n sigma by {min(others):.1g} or more"
    )
    return Exact(bool(own < 1e-9 < min(others)), shown)


def _ridge_by_copies(seeds: range) -> dict:
    """Distance to ridge by the number of noisy copies of each row, a problem per seed."""
    (n, d), sigma, n_draws = (60, 8), 0.5, 10
    off = {10: [], 1000: []}
    for seed in seeds:
        draws = np.random.default_rng([seed, 67])
        x, y = draws.normal(size=(n, d)), draws.normal(size=n)
        ridge = _ridge(x, y, n * sigma**2)
        for k, found in off.items():
            squares = []
            for _ in range(n_draws):
                rows = np.tile(x, (k, 1)) + sigma * draws.normal(size=(k * n, d))
                w = _ridge(rows, np.tile(y, k), 0.0)
                squares.append(((w - ridge) ** 2).sum() / (ridge**2).sum())
            found.append(np.mean(squares) ** 0.5)
    few, many = np.array(off[10]), np.array(off[1000])
    return {
        "linear model, 1,000 noisy copies": (plain(0.0, len(seeds)), plain(many)),
        "linear model, from 10 to 1,000 copies": (
            plain(-1.0, len(seeds)),  # as the root of the number: a tenth
            plain(np.log10(many / few)),
        ),
    }


@experiment("C68", "C68b", recipe=RECIPE)
def cutout_and_mixup(seeds, world):
    """Cutout and mixup, of a strength that each seed's validation digits choose, against none."""
    return {"C68": _with_loss(world, seeds, "cutout"), "C68b": _with_loss(world, seeds, "mixup")}


def _with_loss(world: World, seeds: range, arm: str) -> dict:
    found = {}
    for bench in _benches(world, "clean digits", "noisy digits"):
        for when, pair in _against(world, seeds, bench, "none", arm).items():
            found[f"{bench}, {when}"] = pair
        found[f"{bench}, {EARLY}, loss"] = _losses(world, seeds, bench, "none", arm)
    return found


def _losses(world: World, seeds: range, bench: str, control: str, treated: str) -> tuple:
    kept = (_trained(world, seeds, bench, name)[EARLY] for name in (control, treated))
    return tuple(crossed(_lowest_loss(k)) for k in kept)


@experiment("C69", "C69b", recipe=RECIPE)
def without_blended_labels(seeds, world):
    """Mixup of pictures only, with the label of the first or of the larger part, against mixup of
    pictures and labels, and against none.
    """
    c69, c69b = {}, {}
    arms = ("label of the first", "label of the larger part")
    for arm, bench in product(arms, _benches(world, "clean digits", "noisy digits")):
        for found, other in ((c69, "both"), (c69b, "none")):
            for when, pair in _against(world, seeds, bench, other, arm).items():
                found[f"{arm}, {bench}, {when}"] = pair
        c69[f"{arm}, {bench}, {EARLY}, loss"] = _losses(world, seeds, bench, "both", arm)
    return {"C69": c69, "C69b": c69b}


@experiment("S17", "S17b", recipe=RECIPE)
def feature_space(seeds, world):
    """Noise along the principal axes against none, and against noise in the pixels; each of a
    strength that each seed's validation accuracy chooses among four.
    """
    s17 = {}
    others = (("none", "no noise"), ("noise", "noise in the pixels"))
    for bench, (other, name) in product(("clean digits", "noisy digits"), others):
        for when, pair in _against(world, seeds, bench, other, "axes").items():
            s17[f"principal axes against {name}, {bench}, {when}"] = pair
    return {"S17": s17, "S17b": {}}  # nothing of the second can be measured here


@experiment("S25", recipe=RECIPE)
def against_penalties(seeds, world):
    """The best of four shifts against the best of four settings of weight decay and dropout, and
    the best of four pairs of both against the best shift alone.
    """
    s25 = {}
    for bench in ("clean digits", "canvas digits"):
        for when, pair in _against(world, seeds, bench, "penalties", "shift, tuned").items():
            s25[f"{bench}, {when}"] = pair
        for when, pair in _against(
            world, seeds, bench, "shift, tuned", "shift and penalties"
        ).items():
            s25[f"all together, {bench}, {when}"] = pair
    return {"S25": s25}
