"""Claims on data augmentation (lesson 07): shifts, flips, noise, cutout, mixup, words.

Benches: digits in the middle of their frame, with clean labels or with 40 % random ones, and the
same digits at random places of a larger canvas. All arms of a comparison take 240 steps, and share
seeds, training rows, initial weights and batches. "Last epoch" compares final weights;
"early-stopped" compares, in both arms, those with the lowest validation loss.
"""

from dataclasses import replace
from functools import cache, partial
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import data, judge, models
from coursekit.claims.experiments import experiment
from coursekit.datasets.tasks import stream
from coursekit.judge import Verdict
from coursekit.regularizers import augmentation, mixing
from coursekit.results.runs import Scores
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit, outputs

STEPS = 240
RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3, n_seeds=16)
WEIGHTS = {"last epoch": "final", "early-stopped": "best"}
BENCHES = {
    "clean digits": lambda: data.load("digits"),
    "noisy digits": lambda: data.load("digits", label_noise=0.4),
    "canvas": lambda: data.load("canvas_digits"),
}


def along_axes(x, sigma=0.5):
    """Noise in feature space: coordinates on the batch's principal axes, by sigma of their own."""
    centered = (x - x.mean(0)).flatten(1)
    weights = torch.randn(len(x), len(x), device=x.device) / len(x) ** 0.5
    return x + sigma * (weights @ centered).view_as(x)  # the covariance is that of the batch


def in_pixels(x, sigma=0.5):
    """Noise of the same mean energy, equal in all pixels."""
    return x + sigma * (x - x.mean(0)).square().mean().sqrt() * torch.randn_like(x)


def copies(x, n=4):
    """One of n fixed versions of each image: itself, or a shift that the image itself decides."""
    code = torch.arange(1, 1 + x[0].numel(), device=x.device) ** 2 % 997
    key = ((x.flatten(1) * 16).round().long() * code).sum(1)  # digits are sixteenths: exact
    which = torch.randint(n, (len(x),), device=x.device)
    place = (key + 7 * which) % 8
    place = torch.where(which == 0, 4, place + (place >= 4))  # 0 to 8; 4 is the middle
    return augmentation.shift(x, place // 3 - 1, place % 3 - 1)


def half_turn(x):
    """Turn every second image upside down."""
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(-1, -2), x)


HOOKS = {
    "none": {},
    "shift": {"augment": lambda x: augmentation.random_shift(x, 1)},
    "mirror": {"augment": augmentation.random_flip},
    "half turn": {"augment": half_turn},
    "noise": {"augment": lambda x: augmentation.random_noise(x, 0.3)},
    "axes": {"augment": along_axes},
    "pixels": {"augment": in_pixels},
    "copies": {"augment": copies},
}


@cache
def trained(bench, arm, seeds, n_train=200, build=models.mlp):
    """Task and runs of one arm; several claims share them."""
    task = replace(BENCHES[bench](), n_train=n_train)
    recipe = replace(RECIPE, epochs=STEPS * 50 // n_train, first_seed=seeds[0], n_seeds=len(seeds))
    return task, fit(build(task), task, recipe, record=(), **HOOKS[arm])


def scores(when, part="test", **arm) -> Scores:
    task, runs = trained(**arm)
    return evaluate(runs, task, part, weights=WEIGHTS[when])


def better(prediction, name, control, treated) -> dict:
    """Two verdicts: the arm `treated` is more accurate, at the last epoch and early-stopped."""
    return {
        f"{name}, {when}": judge.raises(
            prediction, scores(when, **control).acc, scores(when, **treated).acc, "accuracy"
        )
        for when in WEIGHTS
    }


@experiment("C64", recipe=RECIPE)
def a_small_shift(seeds):
    """No shift against a shift by up to one pixel each way, 200 digits, on all benches, and on an
    exam that is shifted though the training digits are not; supported where accuracy rises by more
    than 1 point. Above all with little data: the gain on the canvas with 50 digits is more than 1
    point above that with 400.
    """
    plain, moved = ({"arm": arm, "seeds": seeds} for arm in ("none", "shift"))
    evidence = {}
    for bench in BENCHES:
        evidence |= better("higher", bench, plain | {"bench": bench}, moved | {"bench": bench})
    (task, before), (_, after) = (trained("clean digits", **arm) for arm in (plain, moved))
    draws = stream(0, "exam")
    down, right = torch.randint(3, (2, len(task.x_test)), generator=draws).to(task.device) - 1
    exam = replace(task, x_test=augmentation.shift(task.x_test, down, right))
    for when, weights in WEIGHTS.items():
        pair = (evaluate(runs, exam, weights=weights).acc for runs in (before, after))
        evidence[f"shifted exam, {when}"] = judge.raises("higher", *pair, "accuracy")
        few, many = (
            scores(when, bench="canvas", n_train=n, **moved).acc
            - scores(when, bench="canvas", n_train=n, **plain).acc
            for n in (50, 400)
        )
        name = f"canvas, 50 digits gain more than 400, {when}"
        evidence[name] = judge.raises("a larger gain", many, few, "accuracy")
    return {"C64": evidence}


def accuracy_of(classes, when, **arm):
    """Test accuracy on some classes only, (S,)."""
    task, runs = trained(**arm)
    asked = torch.isin(task.y_test, torch.tensor(classes, device=task.device))
    answers = outputs(runs, task.x_test[asked], weights=WEIGHTS[when]).argmax(-1)
    return (answers == task.y_test[asked]).cpu().double().mean(1).numpy()


@experiment("C65", n_seeds=96, recipe=RECIPE)
def flips(seeds):
    """Each image is, with probability 1/2, mirrored left to right, or turned by half: 200 digits,
    clean and noisy. Whether it is the lost label that costs: supported where accuracy is more than
    1 point below that of a shift by one pixel, which keeps the label; and where the digits that
    turn into each other (2 and 5 by a mirror, 6 and 9 by half a turn) lose more than 1 point more
    than the others do, against no augmentation.
    """
    evidence = {}
    for arm, pair in (("mirror", [2, 5]), ("half turn", [6, 9])):
        for bench, when in product(("clean digits", "noisy digits"), WEIGHTS):
            kept, lost = (
                scores(when, bench=bench, arm=name, seeds=seeds).acc for name in ("shift", arm)
            )
            name = f"{arm} against a shift, {bench}, {when}"
            evidence[name] = judge.lowers("lower", kept, lost, "accuracy")
        others = [digit for digit in range(10) if digit not in pair]
        for when in WEIGHTS:
            ahead = (  # of the pair over the others, without and with the augmentation
                accuracy_of(pair, when, bench="clean digits", arm=name, seeds=seeds)
                - accuracy_of(others, when, bench="clean digits", arm=name, seeds=seeds)
                for name in ("none", arm)
            )
            name = f"{arm}, clean digits, {pair[0]} and {pair[1]} beyond the others, {when}"
            evidence[name] = judge.lowers("lower", *ahead, "accuracy")
    return {"C65": evidence}


@experiment("C66", recipe=RECIPE)
def gain_against_n(seeds):
    """The shift by one pixel at 5, 15 and 45 digits per class, all far below 10,000, on the canvas
    and on centered digits. Supported where accuracy rises by more than 1 point.
    """
    evidence = {}
    for bench, n in product(("canvas", "clean digits"), (50, 150, 450)):
        arm = {"bench": bench, "seeds": seeds, "n_train": n}
        pair = arm | {"arm": "none"}, arm | {"arm": "shift"}
        evidence |= better("higher", f"{bench}, {n // 10} per class", *pair)
    return {"C66": evidence}


def ridge_by_noise(x, y, sigma):
    """Least squares on noisy versions of each row that have exactly the moments of the noise."""
    d = x.shape[1]
    jumps = sigma * d**0.5 * np.concatenate([np.eye(d), -np.eye(d)])  # mean 0, covariance sigma^2 I
    rows = (x[:, None] + jumps).reshape(-1, d)  # (n * 2d, d)
    return np.linalg.lstsq(rows, np.repeat(y, 2 * d), rcond=None)[0]


@experiment("C67", n_seeds=96, recipe=RECIPE)
def noise_as_penalty(seeds):
    """Exact: least squares on inputs with noise of variance sigma^2 is ridge with alpha = n sigma^2
    (and with no other of sigma^2, n sigma, 2 n sigma^2). Networks: Gaussian noise of 0.3 on the
    pixels, clean and noisy digits; supported where accuracy rises by more than 1 point.
    """
    draws = np.random.default_rng(0)
    x, y, sigma = draws.normal(size=(40, 6)), draws.normal(size=40), 0.3

    def is_ridge(alpha):
        ridge = np.linalg.solve(x.T @ x + alpha * np.eye(6), x.T @ y)
        return np.allclose(ridge, ridge_by_noise(x, y, sigma), rtol=1e-9)

    wrong = any(is_ridge(alpha) for alpha in (sigma**2, 40 * sigma, 80 * sigma**2))
    evidence = {"linear model: ridge with alpha = n sigma^2": is_ridge(40 * sigma**2) and not wrong}
    for bench in ("clean digits", "noisy digits"):
        plain, noisy = ({"bench": bench, "arm": a, "seeds": seeds} for a in ("none", "noise"))
        evidence |= better("higher", bench, plain, noisy)
    return {"C67": evidence}


def chosen(bench, when, seeds, build, grid, **hook):
    """Test scores of the setting of a grid that each seed's validation accuracy prefers."""
    task = BENCHES[bench]()
    study = swept(bench, seeds, build, tuple(grid.items()), tuple(hook.items()))
    val, test = (
        [evaluate(runs, task, part, weights=WEIGHTS[when]) for runs in study.runs]
        for part in ("val", "test")
    )
    best = np.argmax([s.acc for s in val], axis=0), np.arange(len(seeds))
    return Scores(np.array([s.loss for s in test])[best], np.array([s.acc for s in test])[best])


@cache
def swept(bench, seeds, build, grid, hook):
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    return sweep(build, BENCHES[bench](), recipe, dict(grid), record=(), **dict(hook))


def cutout(x, size):
    return augmentation.random_erase(x, size, inside=False)


def mixup(x, y, alpha):
    return mixing.random_mixup(x, y, alpha, 10)


@experiment("C68", n_seeds=96, recipe=RECIPE)
def cutout_and_mixup(seeds):
    """Cutout of a square of side 2 or 4, and mixup with alpha 0.2 or 1: which, each seed chooses by
    its validation accuracy. Against nothing, on all benches; supported where accuracy rises by more
    than 1 point, or the early-stopped test loss falls by more than 0.02 nats.
    """
    arms = {
        "cutout": ({"size": (2.0, 4.0)}, {"augment": cutout}),
        "mixup": ({"alpha": (0.2, 1.0)}, {"mix": mixup}),
    }
    evidence = {}
    for (arm, (grid, hook)), bench in product(arms.items(), BENCHES):
        for when in WEIGHTS:
            control = scores(when, bench=bench, arm="none", seeds=seeds)
            treated = chosen(bench, when, seeds, models.mlp, grid, **hook)
            name = f"{arm}, {bench}, {when}"
            evidence[name] = judge.raises("higher", control.acc, treated.acc, "accuracy")
        evidence[f"{name}, loss"] = judge.lowers("lower", control.loss, treated.loss, "nll")
    return {"C68": evidence}


def blend(x: Tensor, y: Tensor, *, labels: bool = True, larger: bool = False):
    """Blend each image (B, 1, H, W) with a random partner, and its label (B,), if `labels`.

    With `larger` the image itself has at least half of the blend.
    """
    share = torch.rand(len(x), 1, device=x.device)  # Beta(1, 1) is uniform
    if larger:
        share = torch.maximum(share, 1 - share)
    order = torch.rand_like(share[:, 0]).argsort()
    picture = share.view(-1, 1, 1, 1)
    mixed = picture * x + (1 - picture) * x[order]
    y = F.one_hot(y, 10).float()
    return mixed, share * y + (1 - share) * y[order] if labels else y


def as_well(full: np.ndarray, alone: np.ndarray, margin: float, unit: str) -> Verdict:
    """Supported if `alone` is less than the margin worse; counted from 1.1 margins below."""
    rule = {"smallest": margin / 10, "unit": f"{unit} above the margin"}
    return judge.raises("as well", full - 1.1 * margin, alone, **rule)


@experiment("C69", n_seeds=96, recipe=RECIPE)
def without_blended_labels(seeds):
    """Mixup of images only, keeping the label of the first image or that of the larger part,
    against mixup of images and labels; clean and noisy digits. Supported where the accuracy is less
    than 1 point lower, and where the early-stopped test loss is less than 0.02 nats higher (the
    effect is counted from 1.1 margins below, and more than a tenth of a margin is asked for).
    """
    recipe = replace(RECIPE, first_seed=seeds[0], n_seeds=len(seeds))
    benches = {"clean": data.load("digits"), "noisy": data.load("digits", label_noise=0.4)}
    arms = {
        "label of the first": partial(blend, labels=False),
        "label of the larger part": partial(blend, labels=False, larger=True),
    }
    evidence = {}
    for bench, task in benches.items():
        hooks = {"both": blend, **arms}
        runs = {name: fit(models.mlp(task), task, recipe, mix=hook) for name, hook in hooks.items()}
        for arm, (when, weights) in product(arms, WEIGHTS.items()):
            full, alone = (evaluate(runs[a], task, weights=weights) for a in ("both", arm))
            name = f"{arm}, {bench}, {when}"
            evidence[name] = as_well(100 * full.acc, 100 * alone.acc, 1.0, "points")
            if when == "early-stopped":
                evidence[f"{name}, loss"] = as_well(-full.loss, -alone.loss, 0.02, "nats")
    return {"C69": evidence}


@experiment("S16", recipe=RECIPE)
def four_versions(seeds):
    """100 digits in four fixed versions each, or shifted anew at every step, against 400 digits;
    clean digits and canvas. Supported where the accuracy is less than 1 point below that of the 400
    (the effect is counted from 1.1 points below, and more than 0.1 is asked for).
    """
    evidence = {}
    for bench, arm, when in product(("canvas", "clean digits"), ("copies", "shift"), WEIGHTS):
        real = 100 * scores(when, bench=bench, arm="none", seeds=seeds, n_train=400).acc
        ours = 100 * scores(when, bench=bench, arm=arm, seeds=seeds, n_train=100).acc
        unit = {"smallest": 0.1, "unit": "points above the margin"}
        name = f"{bench}, {'fixed copies' if arm == 'copies' else 'new shifts'}, {when}"
        evidence[name] = judge.raises("as good as 400 digits", real - 1.1, ours, **unit)
    return {"S16": evidence}


@experiment("S17", n_seeds=48, recipe=RECIPE)
def feature_space(seeds):
    """Noise on the coordinates along the principal axes of the batch, half their spread, against
    none, and against noise of the same energy in all pixels: clean and noisy digits; supported
    where accuracy rises by more than 1 point.
    """
    evidence = {}
    for bench, other in product(("clean digits", "noisy digits"), ("none", "pixels")):
        arms = ({"bench": bench, "arm": arm, "seeds": seeds} for arm in (other, "axes"))
        against = "no noise" if other == "none" else "equal noise in pixels"
        evidence |= better("higher", f"{bench}, axes against {against}", *arms)
    evidence["GAN"] = (
        "not testable here: a generator worth the name needs more images and time than this course "
        "has; see Antoniou et al., Data augmentation generative adversarial networks, 2017"
    )
    evidence["learned by a network"] = (
        "not testable here: it takes thousands of trainings; see Perez and Wang, 2017, and Cubuk "
        "et al., AutoAugment, CVPR 2019"
    )
    return {"S17": evidence}


@experiment("S25", recipe=RECIPE)
def against_penalties(seeds):
    """The shift by one pixel, not tuned, against the best of six settings of weight decay (0, 1e-3,
    1e-2) and dropout (0, 0.5), which each seed chooses by its validation accuracy, on all benches;
    supported where accuracy is more than 1 point higher.
    """
    grid = {"weight_decay": (0.0, 1e-3, 1e-2), "dropout": (0.0, 0.5)}
    evidence = {}
    for bench, when in product(BENCHES, WEIGHTS):
        tuned = chosen(bench, when, seeds, models.mlp, grid).acc
        moved = scores(when, bench=bench, arm="shift", seeds=seeds).acc
        evidence[f"{bench}, {when}"] = judge.raises("higher", tuned, moved, "accuracy")
    return {"S25": evidence}
