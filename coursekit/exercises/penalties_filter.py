"""An exercise to lesson 02: ridge."""

import numpy as np

from coursekit import linear
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant


def _ridge_probes(rng: np.random.Generator) -> list[Probe]:
    probes = []
    for n, d in ((9, 4), (5, 8)):
        # Means far from 0 and unequal spreads: centering and scaling must show.
        x = rng.uniform(0.5, 3.0, d) * rng.normal(size=(n, d)) + rng.uniform(1.0, 3.0, d)
        y = x @ rng.normal(size=d) + rng.normal(20.0, 1.0, n)
        inputs = {"x": x, "y": y, "alpha": float(rng.uniform(2.0, 5.0))}
        probes.append(Probe(f"{n} examples and {d} features", inputs))
    return probes


def _fitted(answer, x, y, alpha) -> dict[str, object]:
    before = x.copy(), y.copy()
    result = answer(x, y, alpha)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(
            "expected the weights and the intercept to be returned, as in `return w, b`"
        )
    return {
        "the weights": result[0],
        "the intercept": result[1],
        "x afterwards": np.array_equal(x, before[0]),
        "y afterwards": np.array_equal(y, before[1]),
    }


def _ridge(x: np.ndarray, y: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    fit = linear.ridge(x, y, alpha)
    return fit.coef, fit.intercept


ridge = Exercise(
    name="ridge",
    lesson="02",
    points=3,
    arrays="numpy",
    signature="(x, y, alpha)",
    task="""
Ridge regression on scikit-learn's scale: minimize `||y - x @ w - b||^2 + alpha * ||w||^2` over `w`
**and** `b`. `x` is an array (examples, features), not centered, maybe with more features than
examples; `y` an array (examples,), `alpha` above 0. Return `(w, b)`: an array (features,) and a
number. The intercept `b` is not penalized.
""",
    probes=_ridge_probes,
    reference=_ridge,
    driver=_fitted,
    tolerance=1e-5,  # forgives an optimizer that stops at a small slope
    hints=(
        "Set the slope in b to zero first: what is b, given w?",
        "b = mean(y) - mean(x) @ w. Put it in: only centered x and y are left.",
        "Solve (xc.T @ xc + alpha * I) w = xc.T @ yc for centered xc, yc.",
    ),
    why="""\
At the minimum the slope in b is zero, so b = mean(y) - mean(x) @ w, and the problem that is left
lives in centered data, where no intercept is needed. Penalizing b would pull predictions toward 0,
so the answer would depend on whether targets are in Celsius or kelvin.""",
    variants=(
        Variant(
            "The loss is the **mean** squared error, and the penalty has a half, as with PyTorch's "
            "`weight_decay`: `||y - x @ w - b||^2 / n + alpha / 2 * ||w||^2` for n examples.",
            "plain(x, y, alpha * len(y) / 2)",
        ),
    ),
)


@ridge.right
def by_normal_equations(x, y, alpha):
    centered = x - x.mean(0)
    gram = centered.T @ centered + alpha * np.eye(x.shape[1])
    w = np.linalg.solve(gram, centered.T @ (y - y.mean()))
    return w, y.mean() - x.mean(0) @ w


@ridge.right
def by_more_rows(x, y, alpha):
    features = x.shape[1]
    rows = np.vstack([x - x.mean(0), np.sqrt(alpha) * np.eye(features)])
    targets = np.concatenate([y - y.mean(), np.zeros(features)])
    w = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return w, float(np.mean(y - x @ w))


@ridge.right
def by_filter(x, y, alpha):
    u, s, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    w = vt.T @ (s / (s**2 + alpha) * (u.T @ y))
    return w, y.mean() - x.mean(axis=0) @ w


@ridge.right
def by_sparing_the_ones(x, y, alpha):
    ones = np.column_stack([x, np.ones(len(x))])
    spare = np.diag([alpha] * x.shape[1] + [0.0])
    *w, b = np.linalg.solve(ones.T @ ones + spare, ones.T @ y)
    return np.array(w), b


@ridge.wrong(
    "You penalized the intercept with the column of ones: predictions are pulled toward 0. Leave b "
    "out of the penalty, or center first."
)
def penalized_intercept(x, y, alpha):
    ones = np.column_stack([x, np.ones(len(x))])
    w = np.linalg.solve(ones.T @ ones + alpha * np.eye(ones.shape[1]), ones.T @ y)
    return w[:-1], w[-1]


@ridge.wrong(
    "Your penalty is too strong by the number of examples: of sum and mean, take what the "
    "objective says."
)
def times_examples(x, y, alpha):
    centered = x - x.mean(0)
    gram = centered.T @ centered / len(y) + alpha * np.eye(x.shape[1])
    w = np.linalg.solve(gram, centered.T @ (y - y.mean()) / len(y))
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong(
    "Your penalty is too weak by the number of examples: of sum and mean, take what the objective "
    "says."
)
def divided_by_examples(x, y, alpha):
    centered = x - x.mean(0)
    gram = centered.T @ centered + alpha / len(y) * np.eye(x.shape[1])
    w = np.linalg.solve(gram, centered.T @ (y - y.mean()))
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong("You added alpha to every entry of the matrix; it belongs on the diagonal only.")
def on_every_entry(x, y, alpha):
    centered = x - x.mean(0)
    w = np.linalg.pinv(centered.T @ centered + alpha) @ centered.T @ (y - y.mean())
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong(
    "You solved for the weights without centering, as if b were 0, and read b off afterwards: "
    "center x and y first."
)
def not_centered(x, y, alpha):
    w = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong("There is no intercept in your fit: minimize over b as well.")
def no_intercept(x, y, alpha):
    return np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y), 0.0


@ridge.wrong(
    "Your intercept is the mean of y: right for centered x only. For x as given, take off "
    "mean(x) @ w."
)
def mean_of_targets(x, y, alpha):
    centered = x - x.mean(0)
    gram = centered.T @ centered + alpha * np.eye(x.shape[1])
    return np.linalg.solve(gram, centered.T @ (y - y.mean())), y.mean()


@ridge.wrong(
    "Your penalty is twice as strong as asked: look at the 2 of each slope, and at halves."
)
def doubled(x, y, alpha):
    centered = x - x.mean(0)
    gram = centered.T @ centered + 2 * alpha * np.eye(x.shape[1])
    w = np.linalg.solve(gram, centered.T @ (y - y.mean()))
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong("Your penalty is half as strong as asked: look at the 2 of each slope, and at halves.")
def halved(x, y, alpha):
    centered = x - x.mean(0)
    gram = centered.T @ centered + alpha / 2 * np.eye(x.shape[1])
    w = np.linalg.solve(gram, centered.T @ (y - y.mean()))
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong("Alpha does nothing here: this is least squares.")
def without_penalty(x, y, alpha):
    centered = x - x.mean(0)
    w = np.linalg.pinv(centered) @ (y - y.mean())
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong(
    "You divided the columns by their standard deviations: that is another penalty, one on the "
    "standardized weights."
)
def standardized(x, y, alpha):
    z = (x - x.mean(0)) / x.std(0)
    w = np.linalg.solve(z.T @ z + alpha * np.eye(x.shape[1]), z.T @ (y - y.mean())) / x.std(0)
    return w, y.mean() - x.mean(0) @ w


@ridge.wrong("You squared the strength: in rows added to x it stands as a square root.")
def alpha_squared(x, y, alpha):
    rows = np.vstack([x - x.mean(0), alpha * np.eye(x.shape[1])])
    targets = np.concatenate([y - y.mean(), np.zeros(x.shape[1])])
    w = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return w, y.mean() - x.mean(0) @ w
