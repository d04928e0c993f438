"""Exercises to lesson 10, first part: branches that are skipped at random."""

import numpy as np
import torch
from torch import nn

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import REPEATABLE, Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers.depth import drop_path, residual

# --- the block of the paper ------------------------------------------------------------------

_CALLS = 150


def _block_driver(answer, h, branch, survival, training):
    weight, ran, given = branch, [0], h.clone()

    def counted(inputs):
        ran[0] += 1
        return torch.tanh(inputs @ weight) + 0.5

    if not training:
        out = answer(h, counted, survival, training)
        found = {"the result": out, "h afterwards": torch.equal(h, given)}
        again = [answer(given.clone(), counted, survival, training) for _ in range(40)]
        # One call would hide a coin that happens to fall well.
        return found | {REPEATABLE: all(torch.equal(again[0], other) for other in again)}

    def steps():  # what is added, in units of the branch, and whether the branch was computed
        for _ in range(_CALLS):
            ran[0] = 0
            out = answer(h, counted, survival, training)
            calls = torch.full((len(h), 1), float(ran[0]), dtype=h.dtype)
            yield torch.cat([(out - given) / (torch.tanh(given @ weight) + 0.5), calls], 1)

    first, again = torch.stack(list(steps())), torch.stack(list(steps()))
    return {
        "the draws": first,
        "the draws again": again,
        "h afterwards": torch.equal(h, given),
    }


def _block_probes(rng: np.random.Generator) -> list[Probe]:
    seed = int(rng.integers(2**31))

    def given(survival: float, training: bool) -> dict:
        return {
            "h": rng.uniform(0.5, 2.0, (3, 5)),
            "branch": np.abs(rng.normal(size=(5, 5))) * 0.3,
            "survival": survival,
            "training": training,
        }

    low, high = float(rng.uniform(0.15, 0.35)), float(rng.uniform(0.6, 0.8))
    probes = [Probe(f"survival={p:.2f}, training=False", given(p, False)) for p in (low, high)]
    return probes + [
        Probe(f"survival={p:.2g}, training=True", given(p, True), draws=_CALLS, seed=seed + 7 * i)
        for i, p in enumerate((low, high))
    ]


def _block_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    p, n = inputs["survival"], len(draws)
    added, calls = draws[..., :-1], draws[:, 0, -1]
    kept = np.abs(added) > 1e-9  # (n, B, H)
    whole = float((kept == kept[:, :1, :1]).all())
    rows = float((kept == kept[..., :1]).all())
    factor = added[kept].mean() if kept.any() else np.nan
    bare = float((calls[~kept.any((1, 2))] > 0).any())
    return [
        Fact("whether the coin is one for the whole batch (1: yes, 0: no)", whole, 1, 0),
        Fact("whether a row is kept or skipped as a whole (1: yes, 0: no)", rows, 1, 0),
        Fact("the factor of a branch that is kept", factor, 1, 0),
        Fact("the share of kept branches", kept.mean(), p, np.sqrt(p * (1 - p) / n)),
        Fact("whether a skipped branch is computed (1: yes, 0: no)", bare, 0, 0),
        Fact("the most often that a branch is computed in one call", calls.max(), 1, 0),
    ]


def _library_block(h, branch, survival, training):
    return residual(h, branch, survival, training=training)


skip_block = Exercise(
    name="skip_block",
    lesson="10",
    points=3,
    signature="(h, branch, survival, training)",
    task="""
A residual block with stochastic depth, as in the paper. `h` is a float tensor (B, H), `branch` a
function that turns it into another (B, H), `survival` (above 0, up to 1) the probability to
**keep** the branch. While training, **one coin for the whole batch** decides between
`h + branch(h)` and `h`; a skipped branch is not computed at all, or no time is saved. Not while
training, return the mean of that over the coins: nothing is random then. Return a tensor (B, H) and
leave `h` alone.
""",
    probes=_block_probes,
    reference=_library_block,
    driver=_block_driver,
    facts=_block_facts,
    hints=(
        "Three cases, three lines: not training, kept, skipped.",
        "`torch.rand(()) < survival` is True with probability survival.",
        "The mean of a coin is survival, so the test adds survival * branch(h).",
    ),
    why="""\
The coin is 1 with probability p, so the mean of h + b f(h) is h + p f(h): that is what the next
block saw on average, and what the test must give it. A skipped block is the identity and not 0, or
the whole network would be cut. The `if` is not style: only what is not called takes no time.""",
    variants=(
        Variant(
            "The third argument is the **rate of dropping** the branch (0 up to, not including, "
            "1), as in torchvision and timm.",
            "plain(h, branch, 1 - survival, training)",
        ),
    ),
)


@skip_block.right
def three_cases(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    if torch.rand(()) < survival:
        return h + branch(h)
    return h


@skip_block.right
def by_a_factor(h, branch, survival, training):
    factor = torch.bernoulli(torch.tensor(survival)).item() if training else survival
    return h + factor * branch(h) if factor else h.clone()


@skip_block.right
def by_numpy(h, branch, survival, training):
    out = h.clone()
    if training and np.random.rand() >= survival:  # noqa: NPY002 - a learner's way
        return out
    return out.add_(branch(h), alpha=1 if training else survival)


@skip_block.wrong(
    "At test the branch is added whole: it was there with probability survival only, so multiply "
    "it by that."
)
def intact_at_test(h, branch, survival, training):
    return h + branch(h) if not training or torch.rand(()) < survival else h


@skip_block.wrong(
    "You scaled twice: divided in training and multiplied at test. Here the test alone is scaled."
)
def scaled_twice(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + branch(h) / survival if torch.rand(()) < survival else h


@skip_block.wrong(
    "In training, the coin keeps where it should skip: keep where the random number is below "
    "survival."
)
def coin_turned(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + branch(h) if torch.rand(()) > survival else h


@skip_block.wrong(
    "You took survival for the rate of dropping: here it is the probability to keep the branch."
)
def rate_for_survival(h, branch, survival, training):
    if not training:
        return h + (1 - survival) * branch(h)
    return h + branch(h) if torch.rand(()) >= survival else h


@skip_block.wrong("Each row has a coin of its own: here one coin decides for the whole batch.")
def coin_per_row(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    kept = torch.rand(len(h), 1) < survival
    return h + kept * branch(h) if kept.any() else h


@skip_block.wrong(
    "Each number has a coin of its own: that is dropout. Here one coin decides for the whole batch."
)
def coin_per_unit(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    kept = torch.rand_like(h) < survival
    return h + kept * branch(h) if kept.any() else h


@skip_block.wrong(
    "The branch is computed and then multiplied by 0: toss the coin first, and do not call it."
)
def computed_in_vain(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + (torch.rand(()) < survival) * branch(h)


@skip_block.wrong("A skipped block returns h, not 0: skipped is the branch, not the input.")
def nothing_left(h, branch, survival, training):
    if not training:
        return h + survival * branch(h)
    return h + branch(h) if torch.rand(()) < survival else torch.zeros_like(h)


@skip_block.wrong("At test, h is scaled as well: survival belongs to the branch alone.")
def input_scaled(h, branch, survival, training):
    if not training:
        return survival * (h + branch(h))
    return h + branch(h) if torch.rand(()) < survival else h


@skip_block.wrong("The test still tosses a coin: without training nothing is random.")
def always_random(h, branch, survival, training):
    return h + branch(h) if torch.rand(()) < survival else h


@skip_block.wrong("You added to h itself: make a new tensor, for others still read the old one.")
def in_place(h, branch, survival, training):
    if not training:
        return h.add_(survival * branch(h))
    return h + branch(h) if torch.rand(()) < survival else h


# --- the block of the libraries --------------------------------------------------------------


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
    cases = (("a batch (4, 2, 3, 4)", images, rates[0]), ("a batch (5, 3)", table, rates[1]))
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
        return [Fact("whether the shape is kept (1: yes)", 0, 1, 0)]
    factor = (draws / added).reshape(len(draws), len(added), -1)  # (n, B, numbers)
    kept = factor != 0
    whole = float((kept == kept[..., :1]).all())
    channels = kept.reshape(len(draws), *added.shape[:2], -1)
    scale = factor[kept].mean() if kept.any() else np.nan
    n, b = kept.shape[:2]
    agree = rate**2 + (1 - rate) ** 2
    return [
        Fact("whether rows go or stay as a whole (1: yes, 0: no)", whole, 1, 0),
        Fact(
            "whether the numbers of a channel fare alike (1: yes, 0: no)",
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
