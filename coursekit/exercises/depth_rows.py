"""Exercise to lesson 10: rows that are dropped, as libraries do it."""

import numpy as np
import torch
from torch import nn

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers.depth import drop_path


def _row_probes(rng: np.random.Generator) -> list[Probe]:
    def some(*shape: int) -> np.ndarray:
        return rng.uniform(0.5, 2.0, shape).astype(np.float32)

    rates = [float(rng.uniform(0.2, 0.4)), float(rng.uniform(0.6, 0.8))]
    table, images, seed = some(5, 3), some(4, 2, 3, 4), int(rng.integers(2**31))
    fixed = [
        Probe("training=False", {"added": images, "rate": rates[0], "training": False}),
        Probe("rate=0", {"added": images, "rate": 0.0, "training": True}),
    ]
    # As many examples as columns: a mask (B,) then fits where it should not.
    cases = (
        ("a batch (4, 2, 3, 4)", images, rates[0]),
        ("a batch (5, 3)", table, rates[1]),
        ("a batch (6,) of float64", some(6).astype(np.float64), rates[0]),
    )
    return fixed + [
        Probe(
            f"{name}, rate={rate:.2f}",
            {"added": added, "rate": rate, "training": True},
            draws=200,
            seed=seed + 7 * i,
        )
        for i, (name, added, rate) in enumerate(cases)
    ]


def _row_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    added, rate = inputs["added"], inputs["rate"]
    if draws.shape[1:] != added.shape:
        return [Fact("whether the shape is kept", 0, 1, 0)]
    factor = (draws / added).reshape(len(draws), len(added), -1)  # (n, B, numbers)
    kept = factor != 0
    whole = float((kept == kept[..., :1]).all())
    channels = kept.reshape(len(draws), *added.shape[:2], -1)
    scale = factor[kept].mean() if kept.any() else np.nan
    n, b = kept.shape[:2]
    agree = rate**2 + (1 - rate) ** 2
    return [
        Fact("whether rows go or stay as a whole", whole, 1, 0),
        Fact(
            "whether the numbers of a channel fare alike",
            float((channels == channels[..., :1]).all()),
            1,
            0,
        ),
        Fact("the factor of the rows that stay", scale, 1 / (1 - rate), 0),
        Fact("the share of zeros", 1 - kept.mean(), rate, np.sqrt(rate * (1 - rate) / (n * b))),
        Fact(
            "the share of draws in which the first two rows fare alike",
            (kept[:, 0, 0] == kept[:, 1, 0]).mean(),
            agree,
            np.sqrt(agree * (1 - agree) / n),
        ),
    ]


def _library_rows(added, rate, training):
    return drop_path(added, 1 - rate, training=training)


drop_rows = Exercise(
    name="drop_rows",
    lesson="10",
    points=3,
    signature="(added, rate, training)",
    task="""
Stochastic depth as libraries have it (*drop path*). `added` is what a branch has computed, a float
tensor (B, ...) with any number of axes; `rate` (0 up to, not including, 1) is the probability to
**drop** it. While training, each example (row of the first axis) has a coin of its own and is
dropped or kept as a whole; what is kept is scaled so that the mean stays as it was. Not while
training, return the values as they are. The caller adds the result to the shortcut. Return a tensor
like `added`.
""",
    probes=_row_probes,
    reference=_library_rows,
    facts=_row_facts,
    hints=(
        "How many coins does a batch of B examples need?",
        "A mask of shape (B,) is laid along the *last* axis of a tensor (B, H). Which shape is "
        "laid along the first?",
        "`torch.rand(len(added), *[1] * (added.ndim - 1)) >= rate`, divided by 1 - rate.",
    ),
    why="""\
Rows are dropped as wholes, for a branch exists or it does not. The mask needs as many axes as the
tensor: broadcasting aligns shapes at the end, and a mask (B,) silences columns without an error
whenever B happens to equal the last size. Dividing by 1 - rate keeps the mean, so the test is left
alone.""",
)


@drop_rows.right
def by_a_mask(added, rate, training):
    if not training:
        return added
    mask = torch.rand(len(added), *[1] * (added.ndim - 1)) >= rate
    return added * mask / (1 - rate)


@drop_rows.right
def by_einsum(added, rate, training):
    keep = 1 - rate if training else 1.0
    coins = torch.bernoulli(torch.full((len(added),), keep)).to(added)
    return torch.einsum("b...,b->b...", added, coins / keep)


@drop_rows.right
def row_by_row(added, rate, training):
    out = added.clone()
    if training:
        for row in out:
            row *= 0 if torch.rand(1).item() < rate else 1 / (1 - rate)
    return out


@drop_rows.right
def by_dropout(added, rate, training):
    ones = added.new_ones(added.shape[:1] + (1,) * (added.ndim - 1))
    return added * nn.functional.dropout(ones, rate, training)


@drop_rows.wrong("One coin decides for the whole batch: here each example has a coin of its own.")
def one_coin(added, rate, training):
    return added * (torch.rand(()) >= rate) / (1 - rate) if training else added


@drop_rows.wrong(
    "Each number has a coin of its own: that is dropout. Here an example goes or stays as a whole."
)
def ordinary_dropout(added, rate, training):
    return nn.functional.dropout(added, rate, training)


@drop_rows.wrong(
    "Your mask has one axis and is laid along the last axis of the tensor, not along the batch: "
    "give it the shape (B, 1, ..., 1)."
)
def mask_on_columns(added, rate, training):
    return added * (torch.rand(len(added)) >= rate) / (1 - rate) if training else added


@drop_rows.wrong(
    "Your mask always has four axes, and fits images only: give it as many axes as the tensor has."
)
def images_only(added, rate, training):
    return added * (torch.rand(len(added), 1, 1, 1) >= rate) / (1 - rate) if training else added


@drop_rows.wrong(
    "What stays is not scaled, so the mean shrinks while training: divide by 1 - rate."
)
def unscaled(added, rate, training):
    mask = torch.rand(len(added), *[1] * (added.ndim - 1)) >= rate
    return added * mask if training else added


@drop_rows.wrong("You multiplied by 1 - rate: divide by it, or the mean shrinks twice.")
def multiplied(added, rate, training):
    mask = torch.rand(len(added), *[1] * (added.ndim - 1)) >= rate
    return added * mask * (1 - rate) if training else added


@drop_rows.wrong("You divided by rate: a row stays with probability 1 - rate.")
def divided_by_rate(added, rate, training):
    mask = torch.rand(len(added), *[1] * (added.ndim - 1)) >= rate
    return added * mask / max(rate, 1e-6) if training and rate else added


@drop_rows.wrong(
    "You keep rows with probability rate: that would be a survival. Here rate is for dropping."
)
def survival_for_rate(added, rate, training):
    mask = torch.rand(len(added), *[1] * (added.ndim - 1)) < rate
    return added * mask / max(rate, 1e-6) if training else added


@drop_rows.wrong("Rows are dropped at test too: with training=False return the values as they are.")
def always_on(added, rate, training):
    mask = torch.rand(len(added), *[1] * (added.ndim - 1)) >= rate
    return added * mask / (1 - rate)


@drop_rows.wrong(
    "The values are scaled at test as well: dividing in training has already settled the mean."
)
def scaled_at_test(added, rate, training):
    mask = torch.rand(len(added), *[1] * (added.ndim - 1)) >= rate
    return added * mask / (1 - rate) if training else added * (1 - rate)


@drop_rows.wrong(
    "Each channel of an example has a coin of its own: the mask must have the size 1 on all axes "
    "but the first."
)
def coin_per_channel(added, rate, training):
    shape = added.shape[:2] + (1,) * (added.ndim - 2)
    return added * (torch.rand(shape) >= rate) / (1 - rate) if training else added
