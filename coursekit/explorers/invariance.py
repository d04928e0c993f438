"""Data of the explorer of invariance: what networks read that were trained on changed pictures.

200 digits in the middle of a frame of 12 x 12 pixels are learned seven times: as they are, and
moved, turned, mirrored, turned by half, with noise, or with a hole, anew in every step. Each
network then reads 900 other digits seven times, changed in the same seven ways. `measure` is the
experiment, and the lesson uses its parts: `task` and `tests`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit import data, models
from coursekit.datasets.tasks import Task, stream
from coursekit.explorers import STATES
from coursekit.explorers.wall import gain
from coursekit.regularizers import augmentation
from coursekit.train import Recipe, fit, outputs

MARGIN, SIDE = 2, 12  # empty pixels around a digit, and the side of the whole frame
RECIPE = Recipe(epochs=240, batch_size=50, lr=3e-3, n_seeds=24, first_seed=0, evaluate_every=20)
LONG = replace(RECIPE, epochs=960, evaluate_every=30)
SYMBOLS = "0123456789abcdefg"  # gray levels from black to white, as in the wall
N_SHOWN, N_TRAINED = 20, 3  # test digits to look at, and training pictures per network


def hole(x: Tensor, side: int) -> Tensor:
    """Blacken a square of `side` pixels somewhere on each digit (B, 1, 12, 12), not beside it."""
    room = SIDE - 2 * MARGIN - side + 1  # places for its corner, each way
    top, left = (MARGIN + (torch.rand(len(x), device=x.device) * room).long() for _ in range(2))
    every = torch.full_like(top, side)
    return torch.where(augmentation.rectangle(x, top, left, every, every), 0, x)


def half_turn(x: Tensor, rate: float) -> Tensor:
    """Turn each image (B, 1, H, W) upside down with probability `rate`."""
    turned = torch.rand(len(x), device=x.device) < rate
    return torch.where(turned.view(-1, 1, 1, 1), x.flip(-1, -2), x)


def either_way(x: Tensor, degrees: float) -> Tensor:
    """Turn each image by exactly `degrees`, to the left or to the right."""
    sign = 2 * (torch.rand(len(x), device=x.device) < 0.5).to(x) - 1
    return augmentation.affine(x, degrees * sign)


# Name, how training pictures are changed, its three strengths, and how test pictures are changed.
CHANGES: dict[str, tuple[Callable, tuple, Callable]] = {
    "shift": (augmentation.random_shift, (1, 2, 3), partial(augmentation.random_shift, pixels=2)),
    "turn": (augmentation.random_rotate, (15.0, 30.0, 60.0), partial(either_way, degrees=30.0)),
    "mirror": (augmentation.random_flip, (0.1, 0.5, 0.9), lambda x: x.flip(-1)),
    "half turn": (half_turn, (0.1, 0.5, 0.9), lambda x: x.flip(-1, -2)),
    "noise": (
        augmentation.random_noise,
        (0.15, 0.3, 0.6),
        partial(augmentation.random_noise, sigma=0.3),
    ),
    "hole": (hole, (2, 4, 6), partial(hole, side=4)),
}
WORDS = {  # what a network was trained on, at the three strengths
    "shift": "moved by up to {} pixels each way",
    "turn": "turned by up to {:.0f} degrees",
    "mirror": "of which {:.0%} are mirrored",
    "half turn": "of which {:.0%} are turned by half",
    "noise": "with noise of standard deviation {}",
    "hole": "with a hole of {0} times {0} pixels",
}
TESTED = {  # what the test digits are, in words
    "plain": "as they are",
    "shift": "moved by up to 2 pixels each way",
    "turn": "turned by 30 degrees to the left or right",
    "mirror": "mirrored",
    "half turn": "turned by half",
    "noise": "with noise of standard deviation 0.3",
    "hole": "with a hole of 4 times 4 pixels",
}
LEVELS = STATES["invariance"]["strength"]


def task() -> Task:
    """The digits in the middle of a larger frame, so that one can move without being cut."""
    own = data.load("digits")
    return replace(own, x=framed(own.x), x_test=framed(own.x_test))


def framed(x: Tensor) -> Tensor:
    """Put images (B, 1, 8, 8) into the middle of empty ones (B, 1, 12, 12)."""
    return F.pad(x, (MARGIN,) * 4)


def hook(name: str, strength: int) -> Callable[[Tensor], Tensor] | None:
    """How training pictures are changed: an `augment=` hook of `fit`, None at strength 0."""
    if strength == 0 or name == "nothing":
        return None
    change, values, _ = CHANGES[name]
    return lambda x: change(x, values[strength - 1])


def tests(x: Tensor) -> dict[str, Tensor]:
    """The same images (B, 1, 12, 12) seven times: as they are, and changed in each way.

    What is drawn (the way of a shift, the noise) is drawn once, from a stream of its own, and so is
    the same for all networks and on every machine.
    """
    changed = {"plain": x.cpu()}
    for name, (_, _, change) in CHANGES.items():
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(stream(0, f"test {name}").get_state())
            changed[name] = change(x.cpu())
    return {name: images.to(x.device) for name, images in changed.items()}


def right(runs, x: Tensor, y: Tensor) -> np.ndarray:
    """Which images each network reads rightly at the end of its training, (S, N)."""
    return (outputs(runs, x, weights="final").argmax(-1) == y).cpu().numpy()


def measure() -> dict:
    """Train all networks: what `invariance.js` reads. Takes about ten minutes on one core."""
    own = task()
    seen, y = tests(own.x_test), own.y_test
    shown = torch.cat([(y == digit).nonzero()[:2, 0] for digit in range(10)]).cpu()  # two of each
    plain, answers = _read(own, None, seen, shown)
    rows = {"nothing": [_row(plain, plain, answers)]}
    for name in CHANGES:
        found = [_read(own, hook(name, strength), seen, shown) for strength in LEVELS[1:]]
        rows[name] = [rows["nothing"][0], *(_row(hits, plain, said) for hits, said in found)]
    return {
        "tests": list(seen),
        "rows": rows,
        "told": {
            name: [WORDS[name].format(v).replace("%", " %") for v in CHANGES[name][1]]
            for name in CHANGES
        },
        "tested": TESTED,
        "truth": "".join(str(int(c)) for c in y.cpu()[shown]),
        "pixels": [_signs(images.cpu()[shown]) for images in seen.values()],
        "trained": {"nothing": [_training_pictures(own, "nothing", 0)]}
        | {name: [_training_pictures(own, name, k) for k in LEVELS] for name in CHANGES},
        "long": longer(own, seen),
        "n_seeds": RECIPE.n_seeds,
        "n_test": len(y),
        "recipe": (
            "200 handwritten digits of 8 x 8 pixels in the middle of an empty frame of 12 x 12 for "
            "each network; a network of two times 128 hidden units, Adam with a learning rate of "
            f"{RECIPE.lr}, batches of {RECIPE.batch_size}, {RECIPE.epochs} epochs, and no "
            f"stopping; {RECIPE.n_seeds} seeds, each with digits of its own, which are the same in "
            "all rows"
        ),
    }


def _read(own: Task, augment, seen, shown) -> tuple[dict, list[str]]:
    """Train; per test, which digits are read rightly (S, N), and what one network answers."""
    runs = fit(models.mlp(own), own, RECIPE, augment=augment, record=())
    hits, answers = {}, []
    for name, images in seen.items():
        said = outputs(runs, images, weights="final").argmax(-1)
        hits[name] = (said == own.y_test).cpu().numpy()
        answers.append("".join(str(int(c)) for c in said[0].cpu()[shown]))
    return hits, answers


def _row(hits: dict, plain: dict, answers: list[str]) -> dict:
    """Per test: accuracy and half width, change against the plain network and half width."""
    cells = []
    for name, own in hits.items():
        nobody = np.zeros_like(own)
        pair = gain(own, nobody), gain(own, plain[name])
        cells.append([round(v, 1) for mean, low, _ in pair for v in (mean, mean - low)])
    return {"cells": cells, "answers": answers}


def _training_pictures(own: Task, name: str, strength: int) -> str:
    """Three times a four, as one network meets it in three epochs."""
    four = own.x.cpu()[(own.y == 4).nonzero()[0]].expand(N_TRAINED, -1, -1, -1)
    change = hook(name, strength)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(22)
        return _signs(four if change is None else change(four))


def longer(own: Task, seen: dict[str, Tensor], recipe: Recipe = LONG) -> dict:
    """Four times as many epochs: validation accuracy on the way, and all tests at the end."""
    hooks = {name: hook(name, 2) for name in ("nothing", "shift", "mirror")}
    rows, plain, plain_path = {}, None, None
    for name, augment in hooks.items():
        runs = fit(models.mlp(own), own, recipe, augment=augment)
        hits = {test: right(runs, images, own.y_test) for test, images in seen.items()}
        evaluated = np.isfinite(runs.val_acc[0]).nonzero()[0]
        path = 100 * runs.val_acc[:, evaluated]  # (S, epochs that were looked at)
        plain, plain_path = plain or hits, path if plain_path is None else plain_path
        rows[name] = {
            "cells": _row(hits, plain, [])["cells"],
            "val_acc": np.round(path, 2).tolist(),
        }
    return {"epochs": [int(e) + 1 for e in evaluated], "rows": rows}


def _signs(images: Tensor) -> str:
    levels = (images.clamp(0, 1) * 16).round().long().flatten().tolist()
    return "".join(SYMBOLS[v] for v in levels)
