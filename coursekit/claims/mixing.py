"""The claim on mixup and its labels (lesson 07).

Benches: digits with clean labels or with 40 % random ones. All arms of a comparison share seeds,
training rows, initial weights and batches.
"""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import data, judge, models
from coursekit.claims.experiments import experiment
from coursekit.judge import Verdict
from coursekit.train import Recipe, evaluate, fit

RECIPE = Recipe(epochs=60, batch_size=50, lr=3e-3, n_seeds=48)


def mixup(x: Tensor, y: Tensor, *, labels: bool = True, larger: bool = False):
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
        "label of the first": partial(mixup, labels=False),
        "label of the larger part": partial(mixup, labels=False, larger=True),
    }
    evidence = {}
    for bench, task in benches.items():
        hooks = {"both": mixup, **arms}
        runs = {name: fit(models.mlp(task), task, recipe, mix=hook) for name, hook in hooks.items()}
        for arm, (when, weights) in product(
            arms, {"last epoch": "final", "early-stopped": "best"}.items()
        ):
            full, alone = (evaluate(runs[a], task, weights=weights) for a in ("both", arm))
            name = f"{arm}, {bench}, {when}"
            evidence[name] = as_well(100 * full.acc, 100 * alone.acc, 1.0, "points")
            if when == "early-stopped":
                evidence[f"{name}, loss"] = as_well(-full.loss, -alone.loss, 0.02, "nats")
    return {"C69": evidence}
