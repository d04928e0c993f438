"""Exercise to lesson 06: a norm that needs no batch."""

import numpy as np
import torch
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant


def _group_probes(rng: np.random.Generator) -> list[Probe]:
    eps = float(rng.uniform(0.2, 0.6))

    def probe(name: str, shape: tuple, n_groups: int, gradient: str | None = None) -> Probe:
        x = rng.normal(size=shape) * rng.uniform(0.7, 3, shape[1:2] + (1,) * (len(shape) - 2))
        x += rng.normal(size=shape[:2] + (1,) * (len(shape) - 2))
        return Probe(name, {"x": x, "n_groups": n_groups, "eps": eps}, gradient=gradient)

    return [
        probe("x of shape (3, 6, 5) in 2 groups", (3, 6, 5), 2),
        probe("a batch of one example in 3 groups", (1, 6, 4), 3),
        probe("1 group", (2, 4, 3), 1),
        probe("as many groups as channels", (2, 4, 3), 4),
        probe("an image, x of shape (2, 4, 3, 5) in 2 groups", (2, 4, 3, 5), 2),
        probe("x of shape (3, 6, 5) in 3 groups", (3, 6, 5), 3, gradient="x"),
    ]


group_norm = Exercise(
    name="group_norm",
    lesson="06",
    points=3,
    signature="(x, n_groups, eps)",
    task="""
Group norm without scale and shift. `x` is float64, (batch, channels, ...) with one or more axes of
positions; `n_groups` divides the number of channels. Cut the channels into `n_groups` runs of
**neighboring** channels. For each example and group, subtract the mean and divide by the root of
variance plus `eps`, both taken over all channels of the group and all positions together, the
variance divided by their number. Return a tensor of the shape of `x`; gradients flow through
mean and variance. It has to work for a batch of one.
""",
    probes=_group_probes,
    reference=lambda x, n_groups, eps: F.group_norm(x, n_groups, eps=eps),
    tolerance=1e-6,  # forgives a constant in float32
    hints=(
        "In which shape is every group of an example one row?",
        "`x.reshape(len(x), n_groups, -1)` puts neighboring channels and all positions into one "
        "row.",
        "Normalize over the last axis with `keepdim=True` and `correction=0`, then reshape back.",
    ),
    why="""\
Batch norm, layer norm and group norm compute the same thing over different axes. Only batch norm
reads other examples; group norm needs none, so a batch of one is fine and no second memory exists.
With one group it is layer norm over channels and positions, with one channel per group instance
norm.""",
    variants=(
        Variant(
            "A group consists of every `n_groups`-th channel: channel c belongs to group "
            "c modulo `n_groups`.",
            "plain(x.unflatten(1, (-1, n_groups)).transpose(1, 2).flatten(1, 2), n_groups, eps)"
            ".unflatten(1, (n_groups, -1)).transpose(1, 2).flatten(1, 2)",
        ),
    ),
)


@group_norm.right
def by_rows_of_groups(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, -1)
    mean, var = rows.mean(-1, keepdim=True), rows.var(-1, correction=0, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).reshape(x.shape)


@group_norm.right
def by_loop(x, n_groups, eps):
    parts = []
    for part in x.chunk(n_groups, dim=1):
        axes = tuple(range(1, x.ndim))
        centered = part - part.mean(axes, keepdim=True)
        parts.append(centered * ((centered**2).mean(axes, keepdim=True) + eps).rsqrt())
    return torch.cat(parts, dim=1)


@group_norm.right
def by_layer_norm(x, n_groups, eps):
    rows = x.flatten(1).unflatten(1, (n_groups, -1))
    return F.layer_norm(rows, rows.shape[2:], eps=eps).view_as(x)


@group_norm.wrong(
    "Your groups take every n-th channel; here a group is a run of neighboring channels."
)
def strided(x, n_groups, eps):
    out = torch.empty_like(x)
    for g in range(n_groups):
        part = x[:, g::n_groups]
        axes = tuple(range(1, x.ndim))
        mean, var = part.mean(axes, keepdim=True), part.var(axes, correction=0, keepdim=True)
        out[:, g::n_groups] = (part - mean) / (var + eps).sqrt()
    return out


@group_norm.wrong(
    "You normalized all channels together: that is layer norm, the case of a single group."
)
def one_group(x, n_groups, eps):
    axes = tuple(range(1, x.ndim))
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + eps).sqrt()


@group_norm.wrong(
    "You normalized each channel by itself: that is instance norm; a group shares mean and "
    "variance."
)
def each_channel(x, n_groups, eps):
    rows = x.flatten(2)
    mean, var = rows.mean(-1, keepdim=True), rows.var(-1, correction=0, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).reshape(x.shape)


@group_norm.wrong("You normalized over the batch as well; each example is normalized by itself.")
def over_the_batch(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, -1)
    mean, var = rows.mean((0, 2), keepdim=True), rows.var((0, 2), correction=0, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).reshape(x.shape)


@group_norm.wrong(
    "Each position was normalized by itself; positions of a group share mean and variance."
)
def each_position(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, x.shape[1] // n_groups, -1)
    mean, var = rows.mean(2, keepdim=True), rows.var(2, correction=0, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).reshape(x.shape)


@group_norm.wrong("`n_groups` is the number of groups, not the number of channels in one.")
def size_of_a_group(x, n_groups, eps):
    rows = x.reshape(len(x), x.shape[1] // n_groups, -1)
    mean, var = rows.mean(-1, keepdim=True), rows.var(-1, correction=0, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).reshape(x.shape)


@group_norm.wrong(
    "The variance was divided by the number of values minus 1, the default of `var`; here it is "
    "their number."
)
def one_less(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, -1)
    mean, var = rows.mean(-1, keepdim=True), rows.var(-1, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).reshape(x.shape)


@group_norm.wrong("You added eps to the standard deviation; it belongs under the root.")
def eps_behind_the_root(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, -1)
    mean, sd = rows.mean(-1, keepdim=True), rows.std(-1, correction=0, keepdim=True)
    return ((rows - mean) / (sd + eps)).reshape(x.shape)


@group_norm.wrong("You divided by the variance; divide by its root, the standard deviation.")
def rootless(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, -1)
    mean, var = rows.mean(-1, keepdim=True), rows.var(-1, correction=0, keepdim=True)
    return ((rows - mean) / (var + eps)).reshape(x.shape)


@group_norm.wrong("The mean was not subtracted: that is RMS norm.")
def not_centered(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, -1)
    return (rows / (rows.square().mean(-1, keepdim=True) + eps).sqrt()).reshape(x.shape)


@group_norm.wrong("Mean and variance are cut off from the gradient, as if they were constants.")
def constants(x, n_groups, eps):
    rows = x.reshape(len(x), n_groups, -1)
    with torch.no_grad():
        mean, var = rows.mean(-1, keepdim=True), rows.var(-1, correction=0, keepdim=True)
    return ((rows - mean) / (var + eps).sqrt()).reshape(x.shape)
