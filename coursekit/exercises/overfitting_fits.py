"""An exercise to lesson 01: the shortest of all weights that fit best."""

import numpy as np
import torch

from coursekit import linear
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise


def _probes(rng: np.random.Generator) -> list[Probe]:
    wide, tall, square, twins = (
        rng.normal(size=shape) for shape in ((6, 11), (12, 4), (5, 5), (9, 4))
    )
    dead = wide.copy()
    dead[:, rng.integers(11)] = 0
    empty = tall.copy()
    empty[rng.integers(12)] = 0
    twins = np.concatenate([twins, twins[:, :2]], axis=1)
    square += 2 * np.eye(5)  # far from singular
    named = {
        "6 examples, 11 features, one of them always 0": dead,
        "12 examples, 4 features, one example with zeros only": empty,
        "9 examples and 6 features, two of them copies": twins,
        "5 examples and 5 features": square,
        # What is zero up to rounding depends on the units. (Powers of 2 round like 1.)
        "10 examples and 3 features, one of the size of 1e-3": rng.normal(size=(10, 3))
        * [1, 1, 1e-3],
        "6 features, two of them copies, all of the size of 1e-12": 2.0**-40 * twins,
        "6 features, two of them copies, all of the size of 1e9": 2.0**30 * twins,
    }
    return [Probe(name, {"x": x, "y": rng.normal(1.0, 1.0, len(x))}) for name, x in named.items()]


def _least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return linear.least_squares(x, y, intercept=False).coef


shortest_fit = Exercise(
    name="shortest_fit",
    lesson="01",
    points=3,
    arrays="numpy",
    signature="(x, y)",
    task="""
Least squares without a penalty and without an intercept, at any width. `x` is an array (examples,
features), `y` an array (examples,), both float64. Of all weights with the smallest
`||x @ w - y||`, return the **shortest** (smallest Euclidean length), an array (features,). There
may be more features than examples or fewer, features that are always 0 (dead units), and copies,
in units that make all numbers large or small.
""",
    probes=_probes,
    reference=_least_squares,
    tolerance=1e-7,
    hints=(
        "With more features than examples many weights fit perfectly. Which matrix has no inverse?",
        "NumPy has a generalized inverse that gives the shortest solution.",
        "`np.linalg.pinv(x) @ y`, or `np.linalg.lstsq`. By hand: divide by the singular values of "
        "x, and leave out those that are zero up to rounding.",
    ),
    why="""\
Directions in which the data do not vary have singular value zero. The normal equations divide by
its square; the pseudo-inverse leaves such directions at zero, which makes the solution the shortest
one. It is the limit of ridge as alpha goes to 0, and where gradient descent from zero ends. The
falling right-hand side of the peak in this lesson belongs to this choice, not to just any perfect
fit.""",
)


@shortest_fit.right
def by_pinv(x, y):
    return np.linalg.pinv(x) @ y


@shortest_fit.right
def by_lstsq(x, y):
    return np.linalg.lstsq(x, y, rcond=None)[0]


@shortest_fit.right
def by_singular_values(x, y):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    real = s > 1e-10 * s[0]
    return vt[real].T @ ((u.T @ y)[real] / s[real])


@shortest_fit.right
def by_descent_in_torch(x, y):
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    q, r = torch.linalg.eigh(a.T @ a)
    kept = q > 1e-10 * q.max()
    basis = r[:, kept]
    return (basis @ ((basis.T @ a.T @ b) / q[kept])).numpy()


@shortest_fit.wrong(
    "You solved the normal equations: with a dead feature, or fewer examples than features, x.T @ "
    "x has no inverse. Where it has one up to rounding only, the answer is garbage without a word."
)
def normal_equations(x, y):
    return np.linalg.solve(x.T @ x, x.T @ y)


@shortest_fit.wrong(
    "You solved for the examples, x @ x.T: right with more features than examples, but singular "
    "the other way round. A pseudo-inverse covers both."
)
def dual_equations(x, y):
    return x.T @ np.linalg.solve(x @ x.T, y)


@shortest_fit.wrong("A little ridge moves the weights: asked is its limit, with no penalty at all.")
def a_little_ridge(x, y):
    return np.linalg.solve(x.T @ x + 1e-3 * np.eye(x.shape[1]), x.T @ y)


@shortest_fit.wrong(
    "You fitted with as many features as there are examples and left the rest at 0: perfect on the "
    "training set, but there is a shorter solution that uses all."
)
def first_features(x, y):
    w = np.zeros(x.shape[1])
    w[: len(x)] = np.linalg.lstsq(x[:, : len(x)], y, rcond=None)[0]
    return w


@shortest_fit.wrong("You centered x and y, which fits an intercept: here there is none.")
def with_an_intercept(x, y):
    return np.linalg.pinv(x - x.mean(0)) @ (y - y.mean())


@shortest_fit.wrong(
    "You added a column of ones, so that an intercept takes part of the fit: here there is none."
)
def with_ones(x, y):
    return (np.linalg.pinv(np.column_stack([x, np.ones(len(x))])) @ y)[:-1]


@shortest_fit.wrong(
    "You cut off singular values that are small but real: only those that are zero up to rounding "
    "may go."
)
def cut_too_early(x, y):
    return np.linalg.pinv(x, rcond=0.5) @ y


@shortest_fit.wrong(
    "You multiplied by the transpose, which is an inverse only for orthonormal columns."
)
def transposed(x, y):
    return x.T @ y


@shortest_fit.wrong(
    "Gradient descent from zero goes to the right place, but it was stopped long before it arrived."
)
def stopped_early(x, y):
    w, step = np.zeros(x.shape[1]), 1 / np.linalg.norm(x, 2) ** 2
    for _ in range(20):
        w = w + step * x.T @ (y - x @ w)
    return w


@shortest_fit.wrong(
    "You started at ones, not at zero: the part of the start that no example sees stays in the "
    "weights, so they fit but are not the shortest."
)
def started_elsewhere(x, y):
    start = np.ones(x.shape[1])
    return start + np.linalg.pinv(x) @ (y - x @ start)
