"""Data of the companions: one small network with batch norm, and digits to keep each other company.

In training, batch norm takes each unit's mean and spread from the batch, so what a network says of
one digit depends on the others in its batch. The browser computes the whole forward pass; here are
the training and the same pass, to compare with.

Axes: B batch (the digit that is asked about comes first), H hidden units, C classes, P pool.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from coursekit import data
from coursekit.explorers.masks import random

WIDTH, EPOCHS, BATCH, LR = 16, 60, 50, 3e-3
OF_EACH = 64  # digits of each kind in the pool
CANDIDATES = 20  # of each kind, among which the least steady one is shown
DRAWS, COMPANY = 200, 9  # companies that are tried, companions in each
MIXED = 10  # companions of all kinds


def network() -> nn.Sequential:
    """Two hidden layers with batch norm; biases in front of it would be useless."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(64, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
        *(nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()),
        nn.Linear(WIDTH, 10),
    )


def train(task: data.Task, epochs: int = EPOCHS) -> nn.Sequential:
    """Train one network on the 200 digits of seed 0, with PyTorch's own batch norm."""
    torch.manual_seed(0)
    net, rows = network(), task.deal([0]).train_rows[0]
    x, y = task.x[rows], task.y[rows]
    adam = torch.optim.Adam(net.parameters(), lr=LR)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(net(x[batch]), y[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net.eval()


def rounded(net: nn.Sequential) -> dict:
    """The network's numbers, rounded as they are stored; weights are (out, in), as in torch."""

    def told(values: torch.Tensor) -> list:
        return values.detach().double().numpy().round(4).tolist()

    hidden = [
        {
            "w": told(net[k].weight),
            "gain": told(norm.weight),
            "shift": told(norm.bias),
            "mean": told(norm.running_mean),
            "var": told(norm.running_var),
        }
        for k, norm in ((1, net[2]), (4, net[5]))
    ]
    return {"hidden": hidden, "w": told(net[7].weight), "b": told(net[7].bias)}


def forward(net: dict, x: np.ndarray, *, stored: bool) -> np.ndarray:
    """Logits (B, C) of a batch (B, 64), normalized by itself or by the stored statistics."""
    h = x
    for layer in net["hidden"]:
        z = h @ np.array(layer["w"]).T  # (B, H)
        mean, var = (layer["mean"], layer["var"]) if stored else (z.mean(0), z.var(0))
        z = (z - np.array(mean)) / np.sqrt(np.array(var) + 1e-5)
        h = np.maximum(z * np.array(layer["gain"]) + np.array(layer["shift"]), 0)
    return h @ np.array(net["w"]).T + np.array(net["b"])


def company(kinds: np.ndarray, own: int, kind: int, size: int, draw: int) -> list[int]:
    """Rows of a batch: the digit itself and the first `size - 1` of its companions in a new order.

    `kind` is the class of the companions, or `MIXED`; `kinds` (P,) are the classes of the pool. The
    order depends on the draw alone, so that a larger batch keeps the companions of a smaller one.
    """
    others = [i for i, c in enumerate(kinds) if i != own and kind in (c, MIXED)]
    coins = random(draw)
    for i in range(size - 1):
        j = i + int((len(others) - i) * next(coins))
        others[i], others[j] = others[j], others[i]
    return [own, *others[: size - 1]]


def pool(task: data.Task) -> np.ndarray:
    """Rows (P,) of the test set: the first `OF_EACH` digits of each kind, kind after kind."""
    y = task.y_test.numpy()
    return np.concatenate([np.flatnonzero(y == c)[:OF_EACH] for c in range(10)])


def answers(net: dict, x: np.ndarray, kinds: np.ndarray, own: int) -> np.ndarray:
    """What the network answers to one digit of the pool in `DRAWS` mixed companies of nine."""
    batches = (company(kinds, own, MIXED, COMPANY + 1, d) for d in range(1, DRAWS + 1))
    return np.array([forward(net, x[rows], stored=False)[0].argmax() for rows in batches])


def least_steady(net: dict, x: np.ndarray, kinds: np.ndarray) -> list[int]:
    """Of the first digits of each kind in the pool, the one whose answer changes most often.

    Only among those that the stored statistics read correctly; counted is how often the most
    frequent answer is *not* given.
    """

    def moods(own: int) -> int:
        return DRAWS - np.bincount(answers(net, x, kinds, own)).max()

    right = forward(net, x, stored=True).argmax(1) == kinds
    first = (np.flatnonzero(kinds == c)[:CANDIDATES] for c in range(10))
    return [int(max(rows[right[rows]], key=moods)) for rows in first]


def measure() -> dict:
    """Train, and collect digits: what `companions.js` reads. Takes half a minute on one core."""
    task = data.load("digits")
    net = rounded(train(task))
    rows = pool(task)
    kinds, pixels = task.y_test[rows].numpy(), (16 * task.x_test[rows]).round().int().flatten(1)
    x = pixels.double().numpy() / 16
    whole = forward(net, task.x_test.flatten(1).double().numpy(), stored=True)
    return {
        "net": net,
        "of_each": OF_EACH,
        "pixels": "".join("0123456789abcdefg"[v] for v in pixels.flatten().tolist()),
        "shown": least_steady(net, x, kinds),  # numbers in the pool, by kind
        "right": int((whole.argmax(1) == task.y_test.numpy()).sum()),  # stored statistics
        "n_test": len(task.y_test),
        "draws": DRAWS,
        "recipe": (
            f"one network, 64 inputs, two hidden layers of {WIDTH} units with batch norm, 10 "
            f"digits; trained on 200 handwritten digits of 8 x 8 pixels for {EPOCHS} epochs with "
            f"Adam at {LR} and batches of {BATCH}; companions are the first {OF_EACH} digits of "
            "each kind in the test set; the digits that can be asked about are not typical: of "
            f"the first {CANDIDATES} of each kind, and of those that the network reads correctly "
            f"with stored statistics, the one whose answer changed most often over {DRAWS} batches "
            f"of {COMPANY + 1}"
        ),
    }
