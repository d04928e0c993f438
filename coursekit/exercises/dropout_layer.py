"""Exercises to lesson 04: dropout in both bookkeepings."""

import numpy as np
import torch
from torch import nn

from coursekit.exercises.comparing import Fact
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.regularizers import dropout as ours

# --- inverted dropout ------------------------------------------------------------------------


def _inverted_probes(rng: np.random.Generator) -> list[Probe]:
    x = rng.normal(2.0, 1.0, (3, 40)).astype(np.float32)
    rates = [*rng.permutation([0.2, 0.35, 0.7]).tolist(), 0.95]
    seed = int(rng.integers(2**31))
    fixed = [
        Probe("training=False", {"x": x, "rate": rates[0], "training": False}),
        Probe("rate=0", {"x": x, "rate": 0.0, "training": True}),
        Probe("rate=1", {"x": x, "rate": 1.0, "training": True}),
    ]
    return fixed + [
        Probe(f"rate={r}", {"x": x, "rate": r, "training": True}, draws=150, seed=seed + 7 * i)
        for i, r in enumerate(rates[1:])
    ]


def _inverted_facts(inputs: dict, draws: np.ndarray) -> list[Fact]:
    x, rate = inputs["x"].astype(float), inputs["rate"]
    n, units = draws.shape[0], x.size
    kept = draws != 0
    zeros = 1 - kept.mean()
    scale = (draws / x)[kept].mean() if kept.any() else np.nan
    # Two rows of one batch: under independent masks they agree as often as two coins do.
    together = (kept[:, 0] == kept[:, 1]).mean()
    agree = rate**2 + (1 - rate) ** 2
    counts = kept.sum(2).var()
    spread = units / len(x) * rate * (1 - rate)
    return [
        Fact("the share of zeros", zeros, rate, np.sqrt(rate * (1 - rate) / (n * units))),
        Fact("the factor of the units that stay", scale, 1 / (1 - rate), 0.0),
        Fact(
            "the share of units on which two examples of a batch agree",
            together,
            agree,
            np.sqrt(agree * (1 - agree) / (n * x.shape[1])),
        ),
        Fact(
            "the variance of the number of units dropped in an example",
            counts,
            spread,
            spread * np.sqrt(2 / (n * len(x))),
        ),
    ]


inverted_dropout = Exercise(
    name="inverted_dropout",
    lesson="04",
    points=3,
    signature="(x, rate, training)",
    task="""
Dropout as PyTorch computes it. `x` is a tensor (batch, units), `rate` the probability, 0 to 1, to
**drop** a unit, `training` True or False. Return a tensor like `x`: in training, each unit of each
example is dropped independently and the survivors are scaled so that the mean stays the same; not
in training, `x` as it is. At `rate=1` nothing is left: return zeros, not NaN.
""",
    probes=_inverted_probes,
    reference=nn.functional.dropout,
    facts=_inverted_facts,
    hints=(
        "How many random numbers do you need? One for each entry of x.",
        "`torch.rand_like(x) >= rate` is True with probability 1 - rate: these stay.",
        "The survivors are divided by 1 - rate. What happens to that at rate=1, and at test time?",
    ),
    why="""\
A unit survives with probability 1 - rate, so dividing survivors by 1 - rate keeps the expected
value; then nothing is left to do at test time. Each entry gets its own coin: one mask for the whole
batch would be a far noisier gradient. At rate=1 the division would be 0/0, so it stands apart.""",
    variants=(
        Variant(
            "`rate` is the probability to **keep** a unit, as in Keras 1 and in the paper.",
            "plain(x, 1 - rate, training)",
        ),
    ),
)


@inverted_dropout.right
def by_mask(x, rate, training):
    if not training or rate == 0:
        return x
    if rate == 1:
        return torch.zeros_like(x)
    mask = torch.rand_like(x) >= rate
    return x * mask / (1 - rate)


@inverted_dropout.right
def by_where(x, rate, training):
    if not training:
        return x.clone()
    kept = torch.where(torch.rand(x.shape) < rate, torch.zeros_like(x), x)
    return kept / max(1 - rate, 1e-12)


@inverted_dropout.right
def by_layer(x, rate, training):
    return nn.Dropout(rate).train(training)(x)


@inverted_dropout.right
def by_bernoulli(x, rate, training):
    if training and rate < 1:
        return x * torch.bernoulli(torch.full_like(x, 1 - rate)).div(1 - rate)
    return x * (0 if training else 1)


@inverted_dropout.wrong(
    "You multiplied the survivors by 1 - rate; they must be divided by it, or the mean shrinks."
)
def multiplied(x, rate, training):
    return x * (torch.rand_like(x) >= rate) * (1 - rate) if training else x


@inverted_dropout.wrong(
    "You did not scale the survivors, so activations are smaller in training than at test time: "
    "divide by 1 - rate."
)
def unscaled(x, rate, training):
    return x * (torch.rand_like(x) >= rate) if training else x


@inverted_dropout.wrong(
    "You divided by rate; a unit survives with probability 1 - rate, so divide by that."
)
def divided_by_rate(x, rate, training):
    return x * (torch.rand_like(x) >= rate) / max(rate, 1e-6) if training else x


@inverted_dropout.wrong(
    "You kept units with probability rate and dropped the rest: here rate is the probability to "
    "drop."
)
def swapped(x, rate, training):
    return x * (torch.rand_like(x) < rate) / max(rate, 1e-6) if training and rate else x


@inverted_dropout.wrong(
    "The same units are dropped in all examples of the batch: draw a mask of the shape of x."
)
def shared_mask(x, rate, training):
    if not training:
        return x
    return x * (torch.rand(x.shape[1]) >= rate) / max(1 - rate, 1e-12)


@inverted_dropout.wrong(
    "Whole examples are dropped: draw a coin for each unit of each example, not one for each row."
)
def whole_examples(x, rate, training):
    if not training:
        return x
    return x * (torch.rand(len(x), 1) >= rate) / max(1 - rate, 1e-12)


@inverted_dropout.wrong("You drop units at test time too: with training=False return x unchanged.")
def always_on(x, rate, training):
    return nn.functional.dropout(x, rate, True)


@inverted_dropout.wrong(
    "You scaled at test time as well as in training: inverted dropout leaves the test alone."
)
def scaled_twice(x, rate, training):
    return nn.functional.dropout(x, rate, True) if training else x * (1 - rate)


@inverted_dropout.wrong("At rate=1 you divided 0 by 0: return zeros there.")
def not_a_number(x, rate, training):
    return x * (torch.rand_like(x) >= rate) / (1 - rate) if training else x


@inverted_dropout.wrong(
    "You always drop the same number of units; each must be dropped or kept by its own coin."
)
def exact_number(x, rate, training):
    if not training or rate == 0:
        return x
    n = round(rate * x.shape[1])
    kept = torch.rand_like(x).argsort(1) >= n
    return x * kept / max(1 - rate, 1e-12)


# --- classic weights -------------------------------------------------------------------------


def _classic_probes(rng: np.random.Generator) -> list[Probe]:
    w = rng.normal(size=(4, 7)).astype(np.float32)
    low, high = rng.uniform(0.1, 0.4), rng.uniform(0.6, 0.9)
    return [
        Probe(f"rate={rate:.2f}", {"weight": w, "rate": float(rate)}) for rate in (low, high, 0.0)
    ] + [Probe(f"rate={low:.2f}", {"weight": w, "rate": float(low)}, gradient="weight")]


classic_weights = Exercise(
    name="classic_weights",
    lesson="04",
    points=2,
    signature="(weight, rate)",
    task="""
The paper of 2014 drops units in training **without scaling** and scales the weights of the *next*
layer afterwards. Given that layer's trained `weight` (out, in) and the `rate` of dropping, return
the weights for the test, so that each pre-activation has the mean that it had in training.
""",
    probes=_classic_probes,
    reference=ours.convert_classic_weights,
    hints=(
        "With what probability was an input of this layer there during training?",
        "The mean of a unit that is kept with probability q is q times its value.",
        "Multiply by the probability to be kept, 1 - rate.",
    ),
    why="""\
In training an input reached this layer with probability 1 - rate. At test time it is always there,
so its weight is multiplied by 1 - rate. Multiplying by the drop rate is right at 0.5 only, which is
why the slip survives so often.""",
)


@classic_weights.right
def times_kept(weight, rate):
    return weight * (1 - rate)


@classic_weights.right
def minus_dropped(weight, rate):
    return weight - rate * weight


@classic_weights.right
def by_mul(weight, rate):
    return torch.mul(weight, 1.0 - rate)


@classic_weights.wrong(
    "You multiplied by the drop rate; an input was there with probability 1 - rate."
)
def times_rate(weight, rate):
    return weight * rate


@classic_weights.wrong(
    "You divided by 1 - rate: that is the scaling of inverted dropout, done in training instead."
)
def divided(weight, rate):
    return weight / (1 - rate)


@classic_weights.wrong(
    "Nothing is scaled: at test time all inputs are there, so the pre-activations are too large."
)
def untouched(weight, rate):
    return weight


@classic_weights.wrong("You divided by the drop rate; multiply by the probability to be kept.")
def divided_by_rate_of_drop(weight, rate):
    return weight / rate if rate else weight


@classic_weights.wrong(
    "You scaled by the square root, which keeps the variance; here the mean is to be kept."
)
def by_root(weight, rate):
    return weight * (1 - rate) ** 0.5


@classic_weights.wrong("You scaled in place: return new weights and leave the trained ones alone.")
def in_place(weight, rate):
    return weight.data.mul_(1 - rate)


@classic_weights.wrong(
    "The result is cut off from the weights: compute with the tensor itself, without detach."
)
def cut_off(weight, rate):
    return weight.detach() * (1 - rate)


@classic_weights.wrong("You dropped weights at random; at test time nothing is random.")
def at_random(weight, rate):
    return weight * torch.bernoulli(torch.full_like(weight, 1 - rate))
