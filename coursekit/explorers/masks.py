"""Data of the masks: one small network per dropout rate, trained on digits by masks alone.

In training the hidden units are only silenced, never scaled up, as in the first papers; so at test
time a factor is needed, and the explorer shows what three rules for it do to one unit's input and
to the ten probabilities. Every network starts from the same weights and sees the same batches.
Only the first layer has biases: a factor behind it multiplies all outputs alike, so no rule changes
an answer, only how sure the network is of it.

Axes: R rates (networks side by side), N examples, M masks, H hidden units, C classes.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from coursekit import data
from coursekit.explorers import STATES

RATES = STATES["masks"]["rate"]  # percent
SIZES = (64, 16, 16, 10)
STEPS, BATCH, LR = 3000, 100, 3e-3


def train(task) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Train one network per rate: weights (R, in, out) and biases (R, 1, out) of three layers."""
    rng = torch.Generator().manual_seed(0)
    n = len(RATES)
    weights = [torch.randn(a, b, generator=rng) * (2 / a) ** 0.5 for a, b in pairwise(SIZES)]
    weights = [w.expand(n, -1, -1).clone().requires_grad_() for w in weights]
    biases = [torch.zeros(n, 1, b, requires_grad=True) for b in SIZES[1:]]
    keep = 1 - torch.tensor(RATES)[:, None, None] / 100
    adam = torch.optim.Adam([*weights, biases[0]], lr=LR)
    x, y = task.x.flatten(1), task.y
    for b in biases[1:]:
        b.requires_grad_(False)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,), generator=rng)
        h = x[rows].expand(n, -1, -1)
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            h = torch.baddbmm(b, h, w)  # (R, N, H)
            if i < 2:
                h = h.relu() * (torch.rand(h.shape[1:], generator=rng) < keep)
        loss = F.cross_entropy(h.flatten(0, 1), y[rows].repeat(n), reduction="sum") / BATCH
        adam.zero_grad()
        loss.backward()
        adam.step()
    return [w.detach() for w in weights], [b.detach() for b in biases]


def measure() -> dict:
    """Train everything: what `masks.js` reads. Takes about ten seconds on one core."""
    task = data.load("digits")
    weights, biases = train(task)
    x_test, y_test = task.x_test.flatten(1), task.y_test
    nets, right = {}, []
    for r, rate in enumerate(RATES):
        layers = [
            [w[r].double().numpy(), b[r, 0].double().numpy()]
            for w, b in zip(weights, biases, strict=True)
        ]
        most_active_first(layers, task.x.flatten(1).double().numpy(), 1 - rate / 100)
        nets[str(rate)] = [
            {"w": w.round(3).T.tolist(), "b": b.round(3).tolist()} for w, b in layers
        ]
        z, _ = forward(nets[str(rate)], x_test.double().numpy(), 1 - rate / 100)
        right.append(int((z.argmax(1) == y_test.numpy()).sum()))
    first = [int((y_test == c).nonzero()[0]) for c in range(10)]
    return {
        "nets": nets,  # by rate in percent; w (out, in), as in torch
        "digits": (16 * x_test[first]).round().int().tolist(),  # gray values, 0 to 16
        "right": right,  # of `n_test` digits, whole network, times 1 - rate
        "n_test": len(y_test),
        "recipe": (
            "for each rate one network, 64 inputs, two layers of 16 hidden units, 10 digits, "
            "no biases behind the first layer; "
            f"trained on {len(task.y)} handwritten digits of 8 x 8 pixels with {STEPS:,} steps of "
            f"Adam at {LR} and batches of {BATCH}, hidden units silenced and never scaled up; all "
            "start from the same weights and see the same batches and coins; the digits shown are "
            "the first of each kind in the test set"
        ),
    }


def most_active_first(layers: list, x: np.ndarray, factor: float) -> None:
    """Put the hidden units of each layer in order of their mean activation, in place."""
    h = x
    for i in range(2):
        (w, b), (w_next, _) = layers[i], layers[i + 1]
        h = np.maximum(h @ w + b, 0) * factor
        order = (-h.mean(0)).argsort(kind="stable")
        layers[i][:] = w[:, order], b[order]
        layers[i + 1][0] = w_next[order]
        h = h[:, order]


def forward(net: list, x: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) of the whole network, hidden units times a factor; input (N, H) of layer 2."""
    h, inputs = x, []
    for layer in net:
        z = h @ np.array(layer["w"]).T + layer["b"]
        inputs.append(z)
        h = np.maximum(z, 0) * factor
    return inputs[2], inputs[1]


def random(seed: int) -> Iterator[float]:
    """Yield the random numbers of kit.js (Mulberry32)."""
    whole, a = 2**32, seed
    while True:
        a = (a + 0x6D2B79F5) % whole
        t = (a ^ a >> 15) * (a | 1) % whole
        t ^= (t + (t ^ t >> 7) * (t | 61) % whole) % whole
        yield (t ^ t >> 14) / whole


def masks(rate: float, n: int) -> np.ndarray:
    """Return the first n masks of both hidden layers, (M, 2 H) of bool: True is alive."""
    coins = random(1)
    tossed = [[next(coins) for _ in range(SIZES[1] + SIZES[2])] for _ in range(n)]
    return np.array(tossed) >= rate


def unit_inputs(net: list, x: np.ndarray, unit: int, alive: np.ndarray) -> np.ndarray:
    """Input of one unit of the second hidden layer under masks (M, 2 H) of one example (64,)."""
    w, b = np.array(net[1]["w"])[unit], net[1]["b"][unit]
    h = np.maximum(np.array(net[0]["w"]) @ x + net[0]["b"], 0)  # (H,)
    return alive[:, : SIZES[1]] @ (w * h) + b
