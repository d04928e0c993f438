"""Exercise to lesson 07: noise on the inputs is a penalty."""

import numpy as np

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.linear import ridge


def _noise_probes(rng: np.random.Generator) -> list[Probe]:
    found = []
    for n, d, sigma in ((9, 3, 0.0), (12, 2, rng.uniform(0.3, 0.7)), (7, 5, rng.uniform(1.5, 2.5))):
        x = rng.normal(0.5, 1.0, (n, d)) * np.linspace(1, 2, d)
        y = x @ rng.normal(size=d) + rng.normal(1.0, 1.0, n)
        name = f"{n} rows, {d} columns, sigma={sigma:.2g}"
        found.append(Probe(name, {"x": x, "y": y, "sigma": float(sigma)}))
    return found


def _noisy_least_squares(x, y, sigma):
    return ridge(x, y, len(x) * sigma**2, intercept=False).coef


noise_as_ridge = Exercise(
    name="noise_as_ridge",
    lesson="07",
    points=2,
    arrays="numpy",
    signature="(x, y, sigma)",
    task="""
Least squares without an intercept, on inputs with noise that is drawn anew without end. `x` (n, d)
and `y` (n,) are NumPy arrays, `sigma` is the standard deviation of independent Gaussian noise `N`
(n, d) with mean 0. Return the weights `w` (d,) that minimize the *expected* sum of squares,
the mean of `|y - (x + N) w|^2` over the noise, exactly: without drawing anything. (n > d, and the
columns of x are independent.)
""",
    probes=_noise_probes,
    reference=_noisy_least_squares,
    tolerance=1e-5,  # forgives an optimizer that stops at a small slope
    hints=(
        "Write out |y - xw - Nw|^2. Which of the terms have mean 0?",
        "What is the mean of N.T @ N? It is d by d, and each entry is a sum over n rows.",
        "Solve (x.T @ x + n * sigma**2 * I) w = x.T @ y.",
    ),
    why="""\
The mixed term has mean 0, and the mean of N'N is n sigma^2 on the diagonal: each of the n rows adds
its own noise. So the expected loss is least squares plus n sigma^2 |w|^2, which is ridge.""",
    variants=(
        Variant(
            "`sigma` is the **variance** of the noise, not its standard deviation.",
            "plain(x, y, sigma ** 0.5)",
        ),
        Variant(
            "The noise is not Gaussian but **uniform between -sigma and sigma**.",
            "plain(x, y, sigma / 3 ** 0.5)",
        ),
    ),
)


@noise_as_ridge.right
def by_normal_equations(x, y, sigma):
    n, d = x.shape
    return np.linalg.solve(x.T @ x + n * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.right
def by_more_rows(x, y, sigma):
    # d further rows whose target is 0 are the penalty.
    n, d = x.shape
    rows = np.concatenate([x, np.sqrt(n) * sigma * np.eye(d)])
    return np.linalg.lstsq(rows, np.concatenate([y, np.zeros(d)]), rcond=None)[0]


@noise_as_ridge.right
def by_singular_values(x, y, sigma):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return vt.T @ (s / (s**2 + len(x) * sigma**2) * (u.T @ y))


@noise_as_ridge.right
def by_mean_moments(x, y, sigma):
    second = np.cov(x.T, bias=True) + np.outer(x.mean(0), x.mean(0))
    return np.linalg.inv(second + np.diag([sigma**2] * x.shape[1])) @ (x * y[:, None]).mean(0)


@noise_as_ridge.wrong(
    "You added sigma^2 once: each of the n rows has noise of its own, so it is n sigma^2."
)
def one_row_only(x, y, sigma):
    return np.linalg.solve(x.T @ x + sigma**2 * np.eye(x.shape[1]), x.T @ y)


@noise_as_ridge.wrong(
    "You added n^2 sigma^2: the variances of n rows add up, which gives n times one of them."
)
def squared_count(x, y, sigma):
    return np.linalg.solve(x.T @ x + (len(x) * sigma) ** 2 * np.eye(x.shape[1]), x.T @ y)


@noise_as_ridge.wrong(
    "You added n sigma: a sum of squares grows with the variance, so square the deviation."
)
def not_squared(x, y, sigma):
    return np.linalg.solve(x.T @ x + len(x) * sigma * np.eye(x.shape[1]), x.T @ y)


@noise_as_ridge.wrong(
    "You counted columns: N'N sums over the n rows, so the factor of sigma^2 is n, not d."
)
def columns_counted(x, y, sigma):
    d = x.shape[1]
    return np.linalg.solve(x.T @ x + d * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong(
    "You added half of n sigma^2: that belongs to a loss with 1/2 before the penalty alone. Loss "
    "and penalty must be scaled alike."
)
def halved(x, y, sigma):
    n, d = x.shape
    return np.linalg.solve(x.T @ x + n * sigma**2 / 2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong(
    "You subtracted n sigma^2: that undoes noise which the given x already has. Here x has none, "
    "and noise is added."
)
def noise_removed(x, y, sigma):
    n, d = x.shape
    return np.linalg.solve(x.T @ x - n * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong("This is plain least squares: the noise has mean 0, but its square has not.")
def noise_ignored(x, y, sigma):
    return np.linalg.lstsq(x, y, rcond=None)[0]


@noise_as_ridge.wrong(
    "You drew noise: what is asked for is the exact mean over all of it, which needs no draw."
)
def one_draw(x, y, sigma):
    return np.linalg.lstsq(x + sigma * np.random.normal(size=x.shape), y, rcond=None)[0]  # noqa: NPY002


@noise_as_ridge.wrong(
    "You centered the data, which fits an intercept: here there is none, and x and y stay as "
    "they are."
)
def centered(x, y, sigma):
    n, d = x.shape
    x, y = x - x.mean(0), y - y.mean()
    return np.linalg.solve(x.T @ x + n * sigma**2 * np.eye(d), x.T @ y)


@noise_as_ridge.wrong(
    "You shrank the least-squares weights all by one factor: noise shrinks weak directions more."
)
def shrunk_evenly(x, y, sigma):
    return np.linalg.lstsq(x, y, rcond=None)[0] / (1 + sigma**2)
