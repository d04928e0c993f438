"""Data of the curve through twenty points, and its closed forms: the twin of `curve.js`.

The browser computes the curves itself. Stored is only what other sets of twenty points give.
Axes: N points, P parameters, G places on the axis, R singular values, S sets of points, A ridges.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from coursekit.explorers import STATES

N = 20  # points
GRID = np.linspace(-1, 1, 401)
N_SETS = 200
PARAMETERS, NOISE, RIDGE = (
    tuple(sorted(STATES["curve"][key])) for key in ("parameters", "noise", "ridge")
)


def truth(t: np.ndarray) -> np.ndarray:
    """What the points were drawn from, without noise."""
    return np.sin(3 * t)


def features(t: np.ndarray, parameters: int) -> np.ndarray:
    """Cosines, the faster the smaller, (N, P)."""
    k = np.arange(parameters)
    return np.cos(k * np.pi * (t[:, None] + 1) / 2) / np.maximum(1, k)


def even() -> np.ndarray:
    """Twenty evenly spaced places, (N,)."""
    return (2 * np.arange(N) + 1) / N - 1


class Parts(NamedTuple):
    """A design taken apart: its singular values, and what each direction does on the grid."""

    u: np.ndarray  # (N, R)
    s: np.ndarray  # (R,)
    basis: np.ndarray  # (G, R)


def take_apart(t: np.ndarray, parameters: int) -> Parts:
    """Singular value decomposition of the features at places t."""
    u, s, vt = np.linalg.svd(features(t, parameters), full_matrices=False)
    return Parts(u, s, features(GRID, parameters) @ vt.T)


def weights(parts: Parts, y: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of the smallest least-squares fit in the singular directions, (R,) or (R, S).

    Every direction's share of y is divided by s; with a ridge penalty, by s + ridge / s.
    """
    s = parts.s.reshape(-1, *[1] * (np.ndim(y) - 1))
    return s / (s**2 + ridge) * (parts.u.T @ y)


def curve(parts: Parts, y: np.ndarray, ridge: float) -> np.ndarray:
    """The fitted curve on the grid, (G,) or (G, S)."""
    return parts.basis @ weights(parts, y, ridge)


def bias_variance(parts: Parts, t: np.ndarray, noise: float, ridge: float) -> tuple[float, float]:
    """Squared bias and variance of the curve over all draws of the noise, in closed form."""
    bias2 = ((curve(parts, truth(t), ridge) - truth(GRID)) ** 2).mean()
    gain = parts.s / (parts.s**2 + ridge)  # (R,) what becomes of noise of size one
    return float(bias2), float(noise**2 * (parts.basis**2 * gain**2).sum(1).mean())


def errors(t: np.ndarray, draw: np.ndarray, parameters: int) -> np.ndarray:
    """Squared errors on the grid, (noises, ridges), of one set of places and one draw."""
    parts = take_apart(t, parameters)
    y = truth(t)[:, None] + draw[:, None] * np.array(NOISE)  # (N, noises)
    fits = np.stack([curve(parts, y, ridge) for ridge in RIDGE], axis=-1)  # (G, noises, ridges)
    return ((fits - truth(GRID)[:, None, None]) ** 2).mean(0)


def measure() -> dict:
    """Fit all sets of twenty points: what `curve.js` reads. Takes a minute on one core."""
    bands = {}
    for spaced in (0, 1):
        rng = np.random.default_rng(spaced)
        sets = [
            (even() if spaced else np.sort(rng.uniform(-1, 1, N)), rng.normal(size=N))
            for _ in range(N_SETS)
        ]
        found = np.array([[errors(t, e, p) for p in PARAMETERS] for t, e in sets])
        low, middle, high = np.quantile(found, [0.1, 0.5, 0.9], axis=0)  # (P, noises, ridges)
        rounded = np.round(100 * np.log10([low, middle, high])).astype(int)
        bands[str(spaced)] = {
            f"{NOISE[i]} {RIDGE[j]}": rounded[:, :, i, j].tolist()
            for i, j in product(range(len(NOISE)), range(len(RIDGE)))
        }
    return {
        "parameters": PARAMETERS,
        "noise": NOISE,
        "ridge": RIDGE,
        "sets": N_SETS,
        "bands": bands,  # 100 log10 of the error: 10 %, 50 % and 90 % of the sets
        "recipe": (
            f"{N} points at random places of [-1, 1], or evenly spaced, drawn from sin 3t with "
            "normal noise; least squares on cosines of k half waves, each divided by k, the "
            "smallest weights of all that fit best, or a ridge penalty on the sum of squares; "
            f"errors are mean squares against sin 3t at {len(GRID)} places; {N_SETS} sets of "
            f"{N} points"
        ),
    }


# The browser's own random numbers, for those who want to follow it.


def mulberry(seed: int):
    """Mulberry32 as in kit.js: an endless stream of numbers in [0, 1)."""
    whole = 2**32
    a = seed
    while True:
        a = (a + 0x6D2B79F5) % whole
        t = (a ^ a >> 15) * (a | 1) % whole
        t ^= (t + (t ^ t >> 7) * (t | 61) % whole) % whole
        yield (t ^ t >> 14) / whole


def places(draw: int) -> np.ndarray:
    """The random places of a draw, (N,)."""
    rand = mulberry(draw)
    return np.sort([2 * next(rand) - 1 for _ in range(N)])


def draws(draw: int, n_sets: int) -> np.ndarray:
    """Normal noise of size one, (N, S): the first column is the reader's own (Box and Muller)."""
    rand = mulberry(100_000 + draw)
    pairs = np.array([[next(rand), next(rand)] for _ in range(N * n_sets)])
    values = np.sqrt(-2 * np.log(1 - pairs[:, 0])) * np.cos(2 * np.pi * pairs[:, 1])
    return values.reshape(n_sets, N).T
