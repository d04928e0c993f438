"""Exercise to lesson 09: what stopping does to a linear model."""

import numpy as np
import torch
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Exercise, Variant
from coursekit.stopping import gd_filter


def _descent_probes(rng: np.random.Generator) -> list[Probe]:
    found = []
    for n, d, steps in (
        (6, 2, 0),
        (5, 3, 2),
        (8, 3, 3),
        (4, 6, int(rng.integers(5, 9))),
        (7, 3, 60),
    ):
        x = rng.normal(0.3, 1.0, (n, d)) * np.linspace(1.5, 0.5, d)
        y = x @ rng.normal(size=d) + rng.normal(0.5, 1.0, n)
        # So small that summed losses, too, converge with it.
        lr = float(rng.uniform(0.5, 0.9) / np.linalg.norm(x, 2) ** 2)
        name = f"{n} rows, {d} columns, lr={lr:.2g}, {steps} steps"
        found.append(Probe(name, {"x": x, "y": y, "lr": lr, "steps": steps}))
    # The slope is tiny from the start, and the path to least squares as long as ever.
    small = found[2].inputs | {"y": 1e-9 * found[2].inputs["y"]}
    return [*found, Probe(f"{found[2].name}, targets of the size of 1e-9", small)]


def _filtered(x, y, lr, steps):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return vt.T @ (gd_filter(s**2, 2 * lr / len(x), steps) * (u.T @ y) / s)


stopped_weights = Exercise(
    name="stopped_weights",
    lesson="09",
    points=3,
    arrays="numpy",
    signature="(x, y, lr, steps)",
    task="""
Full-batch gradient descent on least squares, stopped. `x` (n, d) and `y` (n,) are NumPy arrays of
float64. The loss is the **mean** over the n rows of the squared error, `np.mean((x @ w - y) ** 2)`,
as in `mse_loss`; there is no intercept. Start at `w = 0`, take `steps` steps (an int, 0 or more)
with the rate `lr`, and return the weights (d,) after the last one. A loop and a formula are both
fine.
""",
    probes=_descent_probes,
    reference=_filtered,
    hints=(
        "What is the gradient of (x @ w - y) ** 2 in one row? And of the mean over rows?",
        "`2 / n * x.T @ (x @ w - y)`. Where do the 2 and the n come from?",
        "Repeat `w = w - lr * gradient`, `steps` times. With 0 steps, w is 0.",
    ),
    why="""\
Along a singular direction a step multiplies the distance to least squares by 1 - 2 lr s^2 / n, so
after t steps a share 1 - (1 - 2 lr s^2 / n)^t is reached: strong directions first. Ridge with
alpha = n / (2 lr t) resembles it, for scikit-learn's loss. Which factors stand there, 2 and 1/n or
none, depends on the loss alone; forget one, and you stop at another place.""",
    variants=(
        Variant(
            "The loss is **half the sum** over the rows, `((x @ w - y) ** 2).sum() / 2`.",
            "plain(x, y, lr * len(x) / 2, steps)",
        ),
        Variant(
            "The loss is the **sum** over the rows, `((x @ w - y) ** 2).sum()`.",
            "plain(x, y, lr * len(x), steps)",
        ),
    ),
)


@stopped_weights.right
def by_a_loop(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * 2 / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.right
def by_filtering(x, y, lr, steps):
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    share = 1 - (1 - 2 * lr * s**2 / len(x)) ** steps
    return (share / s * (y @ u)) @ vt


@stopped_weights.right
def by_powers(x, y, lr, steps):
    # One step is a matrix: (w, 1) to (w', 1).
    n, d = x.shape
    step = np.eye(d + 1)
    step[:d, :d] -= 2 * lr / n * x.T @ x
    step[:d, d] = 2 * lr / n * x.T @ y
    return np.linalg.matrix_power(step, steps)[:d, d]


@stopped_weights.right
def by_autograd(x, y, lr, steps):
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(torch.from_numpy(x) @ w, torch.from_numpy(y)).backward()
        optimizer.step()
    return w.detach().numpy()


@stopped_weights.wrong("The gradient of a square has a factor of 2, which is missing.")
def without_two(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You follow the sum over the rows: the loss is their mean, so divide by n.")
def of_the_sum(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * 2 * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong(
    "You follow half the sum over the rows: the loss is the mean of the squares, which has the "
    "factor 2/n."
)
def of_half_the_sum(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You divide by the number of columns: the mean is over the n rows.")
def over_columns(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - lr * 2 / x.shape[1] * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You take one step too many: with steps=0 the weights are still 0.")
def one_step_more(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps + 1):
        w = w - lr * 2 / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("You climb: subtract the gradient, do not add it.")
def uphill(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w + lr * 2 / len(x) * x.T @ (x @ w - y)
    return w


@stopped_weights.wrong("These are the weights of least squares: so far you get without stopping.")
def without_stopping(x, y, lr, steps):
    return np.linalg.lstsq(x, y, rcond=None)[0]


@stopped_weights.wrong(
    "This is ridge with a strength of matching size: it resembles stopping, and is not the same."
)
def ridge_instead(x, y, lr, steps):
    if steps == 0:
        return np.zeros(x.shape[1])
    alpha = len(x) / (2 * lr * steps)
    return np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)


@stopped_weights.wrong(
    "You take a step for each row: here each step uses the gradient of all rows together."
)
def row_by_row(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        for row, target in zip(x, y, strict=True):
            w = w - lr * 2 * row * (row @ w - target) / len(x)
    return w


@stopped_weights.wrong(
    "Within a step, later weights see earlier ones already changed: compute the whole gradient "
    "first."
)
def weight_by_weight(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        for j in range(len(w)):
            w[j] -= lr * 2 / len(x) * x[:, j] @ (x @ w - y)
    return w


@stopped_weights.wrong("You return the mean of all weights on the way: return the last ones.")
def averaged(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    path = [w]
    for _ in range(steps):
        w = w - lr * 2 / len(x) * x.T @ (x @ w - y)
        path.append(w)
    return np.mean(path, axis=0)


@stopped_weights.wrong(
    "You stop by yourself where the slope is small: here exactly `steps` steps are taken, whatever "
    "the slope is."
)
def until_it_is_flat(x, y, lr, steps):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        gradient = 2 / len(x) * x.T @ (x @ w - y)
        if np.abs(gradient).max() < 1e-6:
            break
        w = w - lr * gradient
    return w
