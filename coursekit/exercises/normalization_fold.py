"""Exercise to lesson 06: batch norm folded away."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise
from coursekit.regularizers import normalization as ours


def _fold_probes(rng: np.random.Generator) -> list[Probe]:
    eps = float(rng.uniform(0.2, 0.6))  # so large that its place matters

    def probe(n_out: int, n_in: int) -> Probe:
        inputs = {
            "weight": rng.normal(size=(n_out, n_in)),
            "bias": rng.normal(size=n_out),
            "mean": rng.normal(size=n_out),
            "var": rng.uniform(1.5, 4, n_out),
            "gamma": rng.uniform(0.5, 2, n_out) * rng.choice([-1, 1], n_out),
            "beta": rng.normal(size=n_out),
            "eps": eps,
        }
        return Probe(f"a layer of {n_in} inputs and {n_out} units", inputs)

    # Square first: there, scaling columns raises no error.
    return [probe(4, 4), probe(2, 5), probe(6, 1)]


def _read_folded(answer, **inputs):
    before = {k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)}
    result = answer(*inputs.values())
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(f"expected two tensors, weight and bias, got a {type(result).__name__}")
    found = {f"{k} afterwards": bool(inputs[k].equal(old)) for k, old in before.items()}
    return found | {"the new weight": result[0], "the new bias": result[1]}


def _tested_fold(weight, bias, mean, var, gamma, beta, eps):
    layer = nn.Linear(*reversed(weight.shape), dtype=weight.dtype)
    norm = nn.BatchNorm1d(len(mean), eps=eps, dtype=weight.dtype)
    values = (weight, bias, mean, var, gamma, beta)
    places = (layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    for place, value in zip(places, values, strict=True):
        place.data = value
    folded = ours.fold(layer, norm)
    return folded.weight.detach(), folded.bias.detach()


fold_batch_norm = Exercise(
    name="fold_batch_norm",
    lesson="06",
    points=3,
    signature="(weight, bias, mean, var, gamma, beta, eps)",
    task="""
In evaluation, batch norm is an affine map, and so is the linear layer before it. Return
`(new_weight, new_bias)` of **one** linear layer that computes what both do together: first
`x @ weight.T + bias`, then batch norm in evaluation with the running `mean` and `var`, the scale
`gamma`, the shift `beta`, and `eps` added to the variance. `weight` is (out, in), the others are
(out,), all float64. Leave the inputs as they are.
""",
    probes=_fold_probes,
    reference=_tested_fold,
    tolerance=1e-6,  # forgives a constant in float32
    driver=_read_folded,
    hints=(
        "Write down what the second map does to one unit z: gamma * (z - mean) / root + beta.",
        "So z is multiplied by scale = gamma / (var + eps).sqrt(), one number per unit. Which "
        "axis of weight are the units?",
        "The old bias goes through the second map like everything in z: "
        "`(bias - mean) * scale + beta`.",
    ),
    why="""\
gamma * (Wx + b - mean) / root + beta = (scale * W) x + (b - mean) * scale + beta, where scale
belongs to the unit, a row of the weight. After training, batch norm behind a linear layer or a
convolution costs nothing: it is folded away.""",
)


@fold_batch_norm.right
def by_rows(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None], (bias - mean) * scale + beta


@fold_batch_norm.right
def by_diagonal(weight, bias, mean, var, gamma, beta, eps):
    scale = torch.diag(gamma * torch.rsqrt(var + eps))
    return scale @ weight, scale @ (bias - mean) + beta


@fold_batch_norm.right
def by_probing(weight, bias, mean, var, gamma, beta, eps):
    def both(x):
        return F.batch_norm(F.linear(x, weight, bias), mean, var, gamma, beta, eps=eps)

    n_in = weight.shape[1]
    shift = both(torch.zeros(1, n_in, dtype=weight.dtype))
    return (both(torch.eye(n_in, dtype=weight.dtype)) - shift).T, shift[0]


@fold_batch_norm.wrong(
    "You scaled the columns, which belong to inputs; the scale belongs to a unit, a row of weight."
)
def by_columns(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale, (bias - mean) * scale + beta


@fold_batch_norm.wrong("The old bias was not scaled; it passes through batch norm as Wx does.")
def bias_unscaled(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None], bias - mean * scale + beta


@fold_batch_norm.wrong("The running mean is missing in the bias: batch norm subtracts it first.")
def mean_forgotten(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None], bias * scale + beta


@fold_batch_norm.wrong(
    "You subtracted the running mean unscaled; it is subtracted before the division and is scaled "
    "too."
)
def mean_unscaled(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None], bias * scale - mean + beta


@fold_batch_norm.wrong("The old bias is missing: the layer before batch norm has one.")
def bias_forgotten(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None], beta - mean * scale


@fold_batch_norm.wrong("You scaled beta as well; it is added after the scaling.")
def beta_scaled(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None], (bias - mean + beta) * scale


@fold_batch_norm.wrong("You divided by the variance; divide by its root, the standard deviation.")
def by_variance(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps)
    return weight * scale[:, None], (bias - mean) * scale + beta


@fold_batch_norm.wrong("eps is missing: batch norm adds it to the variance before the root.")
def without_eps(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / var.sqrt()
    return weight * scale[:, None], (bias - mean) * scale + beta


@fold_batch_norm.wrong("You added eps to the standard deviation; it belongs under the root.")
def eps_outside(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var.sqrt() + eps)
    return weight * scale[:, None], (bias - mean) * scale + beta


@fold_batch_norm.wrong("gamma is missing: after the division, batch norm multiplies by it.")
def without_gamma(weight, bias, mean, var, gamma, beta, eps):
    scale = 1 / (var + eps).sqrt()
    return weight * scale[:, None], (bias - mean) * scale + beta


@fold_batch_norm.wrong("You added the running mean; batch norm subtracts it.")
def mean_added(weight, bias, mean, var, gamma, beta, eps):
    scale = gamma / (var + eps).sqrt()
    return weight * scale[:, None], (bias + mean) * scale + beta
