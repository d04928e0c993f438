"""Data of the explorer of weight decay: what Adam with an L2 penalty leaves of a weight.

Every weight starts at 1, and its gradients tell nothing: they are +s, -s, +s and so on. It is
trained twice, once with the signs turned round, and the mean of both is taken; the shaking then
cancels, and what remains is the decay. Adam divides by the size of what it is given, so only the
ratio of s to the strength counts, and one curve per number of steps is the whole map. What SGD and
AdamW leave needs no data: both leave (1 - lr * strength) ** steps, whatever s is.
"""

import numpy as np
import torch
from torch import nn

from coursekit.explorers import STATES

LR = 1e-3
STEPS = tuple(sorted(STATES["decay"]["steps"]))
DECADES = (-3.0, 6.0)  # of the ratio; nothing changes beyond
PER_DECADE = 20
KINDS = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}


def shares(kind: str, strength: float, sizes: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """What PyTorch's own optimizer leaves of weights of 1, (T, K), after T numbers of steps.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    strength : float
        `weight_decay`.
    sizes : (K,) array
        Size of each weight's gradients.
    steps : tuple of T int
        In rising order.

    Examples
    --------
    >>> import numpy as np
    >>> from coursekit.explorers import decay
    >>> decay.shares("Adam", 0.5, np.array([0.0001, 10.0]), (1000,)).round(2)
    array([[0.26, 0.95]])
    """
    signs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    gradient = signs * torch.as_tensor(np.asarray(sizes, dtype=float))  # (2, K)
    w = nn.Parameter(torch.ones_like(gradient))
    descent = KINDS[kind]([w], lr=LR, weight_decay=strength)
    left, done = [], 0
    for until in steps:
        for t in range(done, until):
            w.grad = gradient if t % 2 == 0 else -gradient
            descent.step()
        done = until
        left.append(w.detach().mean(0).numpy().copy())
    return np.array(left)


def measure() -> dict:
    """Run Adam on all ratios at once: what `decay.js` reads. Takes about ten seconds."""
    low, high = DECADES
    ratios = np.logspace(low, high, round((high - low) * PER_DECADE) + 1)
    left = shares("Adam", 1.0, ratios, STEPS)
    return {
        "lr": LR,
        "steps": STEPS,
        "strengths": sorted(STATES["decay"]["strength"]),
        "sizes": sorted(STATES["decay"]["quiet"]),
        "low": low,  # decade of the first ratio
        "per": PER_DECADE,
        "adam": (left.round(4) + 0.0).tolist(),  # (T, K); the sum turns -0 into 0
        "recipe": (
            "Each weight starts at 1. Its gradient has one size s and changes its sign at every "
            "step, so that it tells nothing; the weight is trained twice, once with all signs "
            "turned round, and the mean of both is shown. PyTorch's optimizers, learning rate "
            f"{LR}, no momentum in SGD, the usual betas 0.9 and 0.999 in Adam and AdamW"
        ),
    }
