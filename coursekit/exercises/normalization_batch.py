"""Exercise to lesson 06: batch norm with its two faces."""

import numpy as np
import torch
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant


def _batch_probes(rng: np.random.Generator) -> list[Probe]:
    momentum = float(rng.choice([0.2, 0.3, 0.7, 0.8]))  # far from 1 - momentum
    eps = float(rng.uniform(0.2, 0.6))  # so large that its place matters

    def probe(name: str, shape: tuple[int, int], training: bool) -> Probe:
        units = shape[1]
        inputs = {
            "x": rng.normal(size=shape) * rng.uniform(0.7, 3, units) + rng.normal(size=units),
            "gamma": rng.uniform(0.5, 2, units) * rng.choice([-1, 1], units),
            "beta": rng.normal(size=units),
            "running_mean": rng.normal(size=units),
            "running_var": rng.uniform(1.5, 3, units),
            "momentum": momentum,
            "training": training,
            "eps": eps,
        }
        return Probe(name, inputs)

    constant = probe("a unit that is constant over the batch", (4, 3), True)
    constant.inputs["x"][:, 1] = 2.0
    return [
        probe("training with a batch of 5 examples and 3 units", (5, 3), True),
        probe("evaluation", (5, 3), False),
        probe("evaluation of a single example", (1, 4), False),
        probe("training with a batch of 2", (2, 4), True),
        constant,
    ]


def _normalize(answer, x, gamma, beta, running_mean, running_var, **how):
    state = {"x": x, "running_mean": running_mean, "running_var": running_var}
    before = {name: value.clone() for name, value in state.items()}
    weights = gamma.clone().requires_grad_(), beta.clone().requires_grad_()
    given = x.clone().requires_grad_()
    result = answer(given, *weights, running_mean, running_var, *how.values())
    if not isinstance(result, tuple | list) or len(result) != 3:
        got = type(result).__name__
        raise TypeError(f"expected three tensors, y and the two running statistics, got a {got}")
    y, mean, var = result
    state["x"] = given.detach()
    found = {f"{name} afterwards": bool(state[name].equal(old)) for name, old in before.items()}
    found |= {"y": y, "the running mean": mean, "the running variance": var}
    if isinstance(y, torch.Tensor) and y.requires_grad:
        pull = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
        (y * pull).sum().backward()
    for name, value in zip(("x", "gamma", "beta"), (given, *weights), strict=True):
        found[f"the gradient by {name}"] = value.grad
    attached = [s for s in (mean, var) if isinstance(s, torch.Tensor) and s.requires_grad]
    found["running statistics that carry a gradient"] = len(attached)
    return found


def _as_torch(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean.clone(), running_var.clone()  # F.batch_norm moves them in place
    y = F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps)
    return y, mean, var


batch_norm = Exercise(
    name="batch_norm",
    lesson="06",
    points=5,
    signature="(x, gamma, beta, running_mean, running_var, momentum, training, eps)",
    task="""
Batch norm as PyTorch computes it. `x` is (batch, units), the next four are (units,), all
float64. In training, normalize each unit over the batch, with the variance divided by the batch
size; otherwise by the running statistics. Add `eps` to the variance; then scale by `gamma` and
shift by `beta`. Return `(y, running_mean, running_var)`. In training, the returned running
statistics have moved toward the batch: `momentum` is the weight of the **new** batch, and the
variance that goes in is divided by batch size - 1. Otherwise they are what they were. Inputs
stay as they are. Gradients flow through the statistics of the batch, but the returned running
statistics carry none (`detach`).
""",
    probes=_batch_probes,
    reference=_as_torch,
    tolerance=1e-6,  # forgives a constant in float32
    driver=_normalize,
    hints=(
        "Which axis is the batch? `x.mean(0)` has one number per unit.",
        "Two variances: `x.var(0, correction=0)` normalizes, `x.var(0)` goes into the memory.",
        "New memory: `(1 - momentum) * running_mean + momentum * mean.detach()`; in evaluation, "
        "memory goes in and comes out unchanged.",
        "The output in both cases is `gamma * (x - mean) / (var + eps).sqrt() + beta`; only mean "
        "and var differ.",
    ),
    why="""\
Training standardizes by the batch, so an output depends on its company, and gradients must pass
through mean and variance. For the test a second memory is collected. It estimates the variance
of the population, hence batch size - 1. PyTorch's momentum weighs the new batch, Keras' the old
memory.""",
    variants=(
        Variant(
            "`momentum` is as in Keras: the weight of the **old** running statistics.",
            "plain(x, gamma, beta, running_mean, running_var, 1 - momentum, training, eps)",
        ),
    ),
)


@batch_norm.right
def by_formula(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean = (1 - momentum) * running_mean + momentum * mean.detach()
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    y = gamma * (x - mean) / (var + eps).sqrt() + beta
    return y, running_mean, running_var


@batch_norm.right
def by_library(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    memory = running_mean.clone(), running_var.clone()
    y = F.batch_norm(
        x, *memory, weight=gamma, bias=beta, training=training, momentum=momentum, eps=eps
    )
    return y, *memory


@batch_norm.right
def by_sums(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    if not training:
        scale = gamma * (running_var + eps) ** -0.5
        return x * scale + (beta - running_mean * scale), running_mean, running_var
    n = x.shape[0]
    mean = torch.sum(x, dim=0, keepdim=True) / n
    centered = x - mean
    squares = torch.sum(centered * centered, dim=0)
    y = centered * torch.rsqrt(squares / n + eps) * gamma + beta
    with torch.no_grad():
        new_mean = torch.lerp(running_mean, mean[0], momentum)
        new_var = torch.lerp(running_var, squares / (n - 1), momentum)
    return y, new_mean, new_var


@batch_norm.wrong(
    "You weighed the old statistics by momentum, as Keras does; here it is the weight of the new "
    "batch."
)
def old_weight(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean = momentum * running_mean + (1 - momentum) * mean.detach()
        running_var = momentum * running_var + (1 - momentum) * x.detach().var(0)
    return gamma * (x - mean) / (var + eps).sqrt() + beta, running_mean, running_var


@batch_norm.wrong(
    "You normalized by the variance that divides by batch size - 1, the default of `var`; the "
    "output takes the one that divides by the batch size."
)
def normalizes_unbiased(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), x.var(0)
        running_mean = (1 - momentum) * running_mean + momentum * mean.detach()
        running_var = (1 - momentum) * running_var + momentum * var.detach()
    return gamma * (x - mean) / (var + eps).sqrt() + beta, running_mean, running_var


@batch_norm.wrong(
    "The running variance got the one divided by the batch size; it collects the one divided by "
    "batch size - 1."
)
def remembers_biased(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean = (1 - momentum) * running_mean + momentum * mean.detach()
        running_var = (1 - momentum) * running_var + momentum * var.detach()
    return gamma * (x - mean) / (var + eps).sqrt() + beta, running_mean, running_var


@batch_norm.wrong(
    "You normalized each example over its units: that is layer norm. Here each unit is normalized "
    "over the batch."
)
def over_units(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    y = gamma * (x - running_mean) / (running_var + eps).sqrt() + beta
    if training:
        mean, var = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
        y = gamma * (x - mean) / (var + eps).sqrt() + beta
        running_mean = (1 - momentum) * running_mean + momentum * x.detach().mean(0)
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    return y, running_mean, running_var


@batch_norm.wrong("You divided by the variance; divide by its root, the standard deviation.")
def by_variance(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean = (1 - momentum) * running_mean + momentum * mean.detach()
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    return gamma * (x - mean) / (var + eps) + beta, running_mean, running_var


@batch_norm.wrong("You added eps to the standard deviation; it belongs under the root.")
def eps_outside(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean = (1 - momentum) * running_mean + momentum * mean.detach()
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    return gamma * (x - mean) / (var.sqrt() + eps) + beta, running_mean, running_var


@batch_norm.wrong("You normalized by the batch in evaluation too; there the running ones count.")
def always_by_batch(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = x.mean(0), x.var(0, correction=0)
    if training:
        running_mean = (1 - momentum) * running_mean + momentum * mean.detach()
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    return gamma * (x - mean) / (var + eps).sqrt() + beta, running_mean, running_var


@batch_norm.wrong("You normalized by the running statistics in training; there the batch counts.")
def always_by_memory(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    y = gamma * (x - running_mean) / (running_var + eps).sqrt() + beta
    if training:
        running_mean = (1 - momentum) * running_mean + momentum * x.detach().mean(0)
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    return y, running_mean, running_var


@batch_norm.wrong(
    "You normalized by the running statistics after they had moved; in training the batch counts."
)
def by_moved_memory(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    if training:
        running_mean = (1 - momentum) * running_mean + momentum * x.detach().mean(0)
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    y = gamma * (x - running_mean) / (running_var + eps).sqrt() + beta
    return y, running_mean, running_var


@batch_norm.wrong("The running statistics moved in evaluation; only training moves them.")
def moves_in_evaluation(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = (x.mean(0), x.var(0, correction=0)) if training else (running_mean, running_var)
    y = gamma * (x - mean) / (var + eps).sqrt() + beta
    running_mean = (1 - momentum) * running_mean + momentum * x.detach().mean(0)
    running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    return y, running_mean, running_var


@batch_norm.wrong(
    "Mean and variance of the batch are cut off from the gradient, as if they were constants; only "
    "the running statistics are to be detached."
)
def constant_statistics(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.detach().mean(0), x.detach().var(0, correction=0)
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * x.detach().var(0)
    return gamma * (x - mean) / (var + eps).sqrt() + beta, running_mean, running_var


@batch_norm.wrong(
    "The running statistics keep the graph of every batch: detach what goes into them, or memory "
    "grows with each step."
)
def attached_memory(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), x.var(0, correction=0)
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * x.var(0)
    return gamma * (x - mean) / (var + eps).sqrt() + beta, running_mean, running_var


@batch_norm.wrong("The running statistics were moved in place: return new ones.")
def in_place(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    y = F.batch_norm(x, running_mean, running_var, gamma, beta, training, momentum, eps)
    return y, running_mean, running_var
