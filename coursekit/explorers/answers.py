"""Data of the map of answers, and its formulas in Python: what two weights become under a penalty.

The inputs are orthonormal, so each weight has its own closed form. Only the thousand solutions that
are scattered over the map are stored: `even` covers it evenly, `noise` comes from least squares on
one set of inputs with a thousand draws of noise.
"""

import numpy as np
from scipy.special import ndtr

from coursekit import linear

N = 1000  # solutions
HALF = (3.0, 2.0)  # the map reaches from minus to plus this far, for each weight
STRONGEST = 1.5
ROWS, SD = 40, 0.5  # of the data sets behind `noise`


def answer(z, strength: float, ratio: float) -> np.ndarray:
    """Minimize (w - z)^2 / 2 + strength (ratio |w| + (1 - ratio) w^2 / 2), entry by entry."""
    return linear.soft_threshold(z, strength * ratio) / (1 + strength * (1 - ratio))


def areas(strength: float, ratio: float) -> list[float]:
    """Share of the map where both weights become zero, only the first, only the second, none."""
    return _four(*(min(1.0, strength * ratio / half) for half in HALF))


def chances(center, strength: float, ratio: float) -> list[float]:
    """Chance of the same four if the solution is `center` (2,) plus noise of the stored kind."""
    reach = strength * ratio
    return _four(*(ndtr((reach - c) / SD) - ndtr((-reach - c) / SD) for c in center))


def _four(first: float, second: float) -> list[float]:
    neither = (1 - first) * (1 - second)
    return [first * second, first * (1 - second), (1 - first) * second, neither]


def measure() -> dict:
    """Draw the solutions: what `answers.js` reads."""
    rng = np.random.default_rng(2)
    even = rng.uniform(-1, 1, (N, 2)) * HALF
    x = rng.normal(size=(ROWS, 2))
    x = np.linalg.qr(x - x.mean(0))[0]  # orthonormal, and each column has the mean 0
    noise = SD * rng.normal(size=(N, ROWS))
    fits = [linear.least_squares(x, y).coef for y in noise]  # the true weights are zero here
    return {
        "even": even.round(4).tolist(),
        "noise": np.round(fits, 4).tolist(),
        "half": HALF,
        "sd": SD,
        "strongest": STRONGEST,
        "recipe": (
            f"Over the whole map: {N:,} points with equal chances everywhere. Around the ring: "
            f"{N:,} least-squares fits on {ROWS} rows with the same two inputs, whose true weights "
            f"are where the ring lies, each with new normal noise of standard deviation {SD}."
        ),
    }
