"""What is true of L1 and L2 by arithmetic: printed outputs, formulas, single steps.

Axes: N rows, D features, A strengths.
"""

import numpy as np
import torch
from sklearn import datasets, linear_model, model_selection, preprocessing

from coursekit import linear
from coursekit.ledger.evidence import Exact
from coursekit.ledger.experiments import experiment

PRINTED = {  # by the article, beside its code
    "Lasso": np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0016]),
    "Ridge": np.array(
        [0.8221, 1.2457, -0.5070, 0.4690, -0.0634, 0.1985, 0.5052, 0.3835, -0.8253, 1.0729]
    ),
}


def article(random_state: int = 42) -> list[np.ndarray]:
    """The article's data: x_train, x_test, y_train, y_test."""
    made = datasets.make_regression(
        n_samples=100, n_features=10, noise=0.1, random_state=random_state
    )
    return model_selection.train_test_split(*made, test_size=0.2, random_state=random_state)


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """442 patients, 10 features of mean 0 and standard deviation 1; progress, centered."""
    x, y = datasets.load_diabetes(return_X_y=True)
    return preprocessing.scale(x), y - y.mean()


def _r2(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """R2 of weights with the best intercept that there is."""
    return float(1 - np.var(y - x @ w) / np.var(y))


@experiment("C18", "C19")
def printed_outputs():
    """The article's ten lines as they stand, at a thousand other strengths, and its numbers."""
    x, _, y, _ = article()
    lasso = linear_model.Lasso(alpha=0.1).fit(x, y).coef_
    ridge = linear_model.Ridge(alpha=0.1).fit(x, y).coef_
    zeros, sizes = int((lasso == 0).sum()), np.sort(np.abs(lasso))
    alphas = np.geomspace(1e-3, linear.alpha_max(x, y), 1000)
    nine = max(_r2(w, x, y) for w in linear.lasso_path(x, y, alphas) if (w == 0).sum() == 9)
    path = linear.ridge_path(x, y, np.geomspace(1e-3, 1e6, 1000))
    small = max(_r2(w, x, y) for w in path if np.abs(w).max() <= 1.2457)
    fits = {name: _r2(w, x, y) for name, w in PRINTED.items()}
    c18 = {
        "the code as it stands": Exact(
            zeros == 9 and abs(sizes[-1] - 1.0016) < 0.1,
            f"{zeros} zeros, weights of size {sizes[0]:.2f} to {sizes[-1]:.2f}",
        ),
        "the code with another alpha": Exact(
            nine > 0.9995, f"with nine zeros R2 is at most {nine:.2f}, and .9999 is printed"
        ),
        "the printed weights on these data": Exact(
            fits["Lasso"] > 0.9995, f"with the best intercept their R2 is {fits['Lasso']:.3f}"
        ),
    }
    c19 = {
        "the code as it stands": Exact(
            bool(ridge.min() >= -0.8253 and ridge.max() <= 1.2457),
            f"weights from {ridge.min():.2f} to {ridge.max():.2f}",
        ),
        "the code with another alpha": Exact(
            small > 0.9995, f"with weights that small R2 is at most {small:.2f}, and .9997 printed"
        ),
        "the printed weights on these data": Exact(
            fits["Ridge"] > 0.9995, f"with the best intercept their R2 is {fits['Ridge']:.3f}"
        ),
    }
    return {"C18": c18, "C19": c19}


@experiment("C21")
def conventions():
    """Whether the slope of MSE + lambda * penalty is 0 where scikit-learn ends with that alpha."""
    (x, y), strength = diabetes(), 3.0
    n = len(y)

    def slope(model) -> float:  # the largest, over the weights that are not 0
        w = model.fit(x, y).coef_
        own = np.sign(w) if isinstance(model, linear_model.Lasso) else 2 * w
        slopes = -2 * x.T @ (y - x @ w) / n + strength * own
        return float(np.abs(slopes[w != 0]).max())

    found = {}
    for name, kind, factor, told in (
        ("Ridge", linear_model.Ridge, n, "lambda N"),
        ("Lasso", linear_model.Lasso, 0.5, "lambda / 2"),
    ):
        off, exact = (slope(kind(a, tol=1e-14)) for a in (strength, factor * strength))
        found[f"{name}, diabetes"] = Exact(
            off < 1e-6, f"a slope of {off:.2g} is left; with alpha = {told}, {exact:.0e}"
        )
    return {"C21": found}


@experiment("C24", "S03")
def ridge_on_diabetes():
    """Ridge along the directions of the data, and weight by weight along its path."""
    x, y = diabetes()
    free = linear.least_squares(x, y).coef
    _, s, vt = np.linalg.svd(x, full_matrices=False)
    kept = vt @ linear.ridge(x, y, 50).coef / (vt @ free)
    off = float(np.abs(kept - s**2 / (s**2 + 50)).max())
    c24 = {
        "diabetes, the formula s2 / (s2 + alpha)": Exact(off < 1e-9, f"largest error {off:.0e}"),
        "diabetes, from direction to direction": Exact(
            bool((np.diff(kept) < 0).all()),
            f"kept {kept[0]:.0%} of the strongest direction, {kept[-1]:.0%} of the weakest",
        ),
    }
    path = linear.ridge_path(x, y, np.geomspace(1e-3, 1e9, 200))
    lengths = np.linalg.norm(path, axis=1)
    j, crossing, value = _crossing(x, y)
    s03 = {
        "diabetes, 200 strengths, the length of the weights": Exact(
            bool((np.diff(lengths) < 0).all()),
            f"it falls at every step, from {lengths[0]:.0f} to {lengths[-1]:.0e}",
        ),
        "diabetes, 200 strengths, each weight": Exact(
            bool((path != 0).all()), f"smallest size {np.abs(path).min():.0e}"
        ),
        "the article's data, 200 strengths, each weight": _no_zero(),
        "a weight that changes its sign": Exact(
            abs(value) > 1e-9,
            f"feature {j + 1} of diabetes passes through 0 at alpha = {crossing:.3f}: {value:.0e}",
        ),
    }
    return {"C24": c24, "S03": s03}


def _no_zero() -> Exact:
    x, _, y, _ = article()
    path = linear.ridge_path(x, y, np.geomspace(1e-3, 1e9, 200))
    return Exact(bool((path != 0).all()), f"smallest size {np.abs(path).min():.0e}")


def _crossing(x: np.ndarray, y: np.ndarray) -> tuple[int, float, float]:
    """A feature whose weight changes its sign along ridge's path, where, and what it is there."""
    low, high = 1e-3, 1e9
    signs = np.sign(linear.ridge_path(x, y, [low, high]))
    j = int(np.flatnonzero(signs[0] != signs[1])[0])
    for _ in range(200):  # halve the interval
        middle = np.sqrt(low * high)
        value = linear.ridge(x, y, middle).coef[j]
        low, high = (middle, high) if np.sign(value) == signs[0, j] else (low, middle)
    return j, float(middle), float(value)


@experiment("S04")
def one_step():
    """One step of PyTorch's SGD where the data have no slope, so that only the penalty acts."""
    start = torch.tensor([2.0, -1.0, 0.5])

    def moved(penalty=None, weight_decay=0.0) -> torch.Tensor:
        w = start.clone().requires_grad_()
        w.grad = torch.zeros(3)
        if penalty:
            penalty(w).backward()
        torch.optim.SGD([w], lr=0.1, weight_decay=weight_decay).step()
        return w.detach()

    share = moved(weight_decay=0.5) / start
    pull = start - moved(lambda w: 0.5 * w.abs().sum())
    return {
        "S04": {
            "PyTorch's SGD, weight decay": Exact(
                bool(torch.allclose(share, torch.tensor(0.95))),
                "each weight keeps " + ", ".join(f"{v:.2f}" for v in share.tolist()),
            ),
            "PyTorch's SGD, L1 in the loss": Exact(
                bool(torch.allclose(pull, 0.05 * start.sign())),
                "each weight loses " + ", ".join(f"{v:.2f}" for v in pull.tolist()),
            ),
        }
    }
