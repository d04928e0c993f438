"""An exercise to lesson 02: the lasso by proximal gradient."""

import numpy as np
import torch

from coursekit import linear
from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise


def _lasso_probes(rng: np.random.Generator) -> list[Probe]:
    probes = []
    for n, d, share in ((30, 6, 0.2), (24, 9, 0.35), (20, 5, 1.2)):
        # What all columns share makes one direction strong: steps must be short, and so many.
        x = rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(n, 1)) + rng.uniform(0.5, 1.5, d)
        truth = rng.choice([-1, 1], d) * rng.uniform(1, 2, d) * (np.arange(d) % 3 == 0)
        truth[:2] = rng.permutation([1.5, -1.5])  # both signs
        y = x @ truth + rng.normal(size=n) + 4
        alpha = share * linear.alpha_max(x, y)
        name = f"{n} examples and {d} features" + (", a large alpha" if share > 1 else "")
        probes.append(Probe(name, {"x": x, "y": y, "alpha": float(alpha)}))
    return probes


def _zeros_too(answer, x, y, alpha) -> dict[str, object]:
    before = x.copy(), y.copy()
    w = answer(x, y, alpha)
    if not isinstance(w, np.ndarray):
        raise TypeError(f"expected an array of weights to be returned, got {type(w).__name__}")
    return {
        "being exactly 0 (1 means yes)": w == 0,
        "the weights": w,
        "x afterwards": np.array_equal(x, before[0]),
        "y afterwards": np.array_equal(y, before[1]),
    }


def _lasso(x: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    return linear.lasso(x, y, alpha).coef


lasso_ista = Exercise(
    name="lasso_ista",
    lesson="02",
    points=5,
    arrays="numpy",
    signature="(x, y, alpha)",
    task="""
The lasso, by your own loop: minimize `||y - x @ w - b||^2 / (2 * n) + alpha * ||w||_1` over the
weights and a free intercept `b` (center `x` and `y`, and it is gone). `x` is an array (n, features)
of random numbers with at most 9 features, which are correlated, `y` an array (n,). Return only the
weights, an array (features,), right to six digits, with the zeros **exactly** zero. A large `alpha`
gives zeros only. Some 2,000 steps are enough, and take a fraction of a second.
""",
    probes=_lasso_probes,
    reference=_lasso,
    driver=_zeros_too,
    tolerance=1e-6,
    hints=(
        "Two moves alternate: a gradient step on the squares, and the soft threshold.",
        "The slope of the squares is `-x.T @ (y - x @ w) / n`. A safe step is "
        "`n / np.linalg.norm(x, 2) ** 2`.",
        "After a gradient step of size `step`, the soft threshold moves by `step * alpha`.",
    ),
    why="""\
The gradient step looks at the squares only; the penalty is minimized exactly by the soft threshold,
which stops at zero. A (sub)gradient step on |w| has constant size, however small w is, so it
jumps to and fro over zero. The threshold is step * alpha because a step of that size is what the
penalty's slope, alpha, would have moved.""",
)


@lasso_ista.right
def proximal_gradient(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        z = w + step * x.T @ (y - x @ w) / n
        w = np.sign(z) * np.maximum(np.abs(z) - step * alpha, 0)
    return w


@lasso_ista.right
def weight_by_weight(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    w = np.zeros(x.shape[1])
    for _ in range(300):
        for j, column in enumerate(x.T):
            rest = y - x @ w + column * w[j]
            pull = column @ rest / n
            w[j] = np.sign(pull) * max(abs(pull) - alpha, 0) / (column @ column / n)
    return w


@lasso_ista.right
def with_momentum(x, y, alpha):
    a, b = torch.from_numpy(x - x.mean(0)), torch.from_numpy(y - y.mean())
    gram, corr = a.T @ a / len(b), a.T @ b / len(b)
    step = 1 / torch.linalg.eigvalsh(gram)[-1]
    w = ahead = torch.zeros_like(corr)
    for k in range(1500):
        z = ahead + step * (corr - gram @ ahead)
        new = torch.nn.functional.softshrink(z, float(step * alpha))
        ahead, w = new + k / (k + 3) * (new - w), new
    return w.numpy()


@lasso_ista.wrong(
    "Your squares are summed where the objective has half their mean: the penalty is too weak by "
    "the factor n. Divide the slope by n."
)
def without_mean(x, y, alpha):
    x, y = x - x.mean(0), y - y.mean()
    step, w = 1 / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        z = w + step * x.T @ (y - x @ w)
        w = np.sign(z) * np.maximum(np.abs(z) - step * alpha, 0)
    return w


@lasso_ista.wrong(
    "You took the slope of |w| in a plain gradient step: near zero it jumps to and fro and never "
    "gets there. Use the soft threshold."
)
def subgradient(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        w = w - step * (x.T @ (x @ w - y) / n + alpha * np.sign(w))
    return w


@lasso_ista.wrong("Your threshold is alpha; after a step of size `step` it is step * alpha.")
def threshold_without_step(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        z = w + step * x.T @ (y - x @ w) / n
        w = np.sign(z) * np.maximum(np.abs(z) - alpha, 0)
    return w


@lasso_ista.wrong(
    "You set small weights to zero but left large ones in place (a hard threshold): each step "
    "moves all of them by step * alpha."
)
def hard_threshold(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        z = w + step * x.T @ (y - x @ w) / n
        w = z * (np.abs(z) > step * alpha)
    return w


@lasso_ista.wrong("You did not center: the weights have to do the work of the intercept.")
def not_centered(x, y, alpha):
    n = len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        z = w + step * x.T @ (y - x @ w) / n
        w = np.sign(z) * np.maximum(np.abs(z) - step * alpha, 0)
    return w


@lasso_ista.wrong("You stopped after 20 steps, before the weights had settled.")
def too_few_steps(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(20):
        z = w + step * x.T @ (y - x @ w) / n
        w = np.sign(z) * np.maximum(np.abs(z) - step * alpha, 0)
    return w


@lasso_ista.wrong(
    "You minimized the mean squared error plus the penalty; here half the mean counts, so your "
    "penalty is half as strong as asked."
)
def without_half(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2 / 2, np.zeros(x.shape[1])
    for _ in range(4000):
        z = w + step * 2 * x.T @ (y - x @ w) / n
        w = np.sign(z) * np.maximum(np.abs(z) - step * alpha, 0)
    return w


@lasso_ista.wrong(
    "You moved the least-squares weights once, at the end: that is right for orthonormal columns "
    "only. The threshold belongs into every step."
)
def threshold_at_the_end(x, y, alpha):
    w = np.linalg.lstsq(x - x.mean(0), y - y.mean(), rcond=None)[0]
    return np.sign(w) * np.maximum(np.abs(w) - alpha, 0)


@lasso_ista.wrong("All your weights are at least 0: negative ones move up toward zero, no further.")
def never_negative(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        w = np.maximum(w + step * x.T @ (y - x @ w) / n - step * alpha, 0)
    return w


@lasso_ista.wrong(
    "You shrank the weights by a factor, which is the step of a squared penalty (ridge): L1 "
    "subtracts."
)
def ridge_steps(x, y, alpha):
    x, y, n = x - x.mean(0), y - y.mean(), len(y)
    step, w = n / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        w = (w + step * x.T @ (y - x @ w) / n) / (1 + step * alpha)
    return w
