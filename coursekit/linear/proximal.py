"""Solvers of the lasso: coordinate descent, and proximal gradient without and with momentum.

All minimize ||y - x w||^2 / (2 N) + l1 ||w||_1. They see the data only through
gram = x'x / N (D, D), corr = x'y / N (D,) and power = y'y / N, so an elastic net is a lasso too:
its L2 part is a ridge on the diagonal of `gram`. N examples, D features.
"""

import warnings
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from coursekit.datasets.values import expect, floats, number

__all__ = ["SOLVERS", "check_solver", "duality_gap", "finite", "minimize", "soft_threshold"]

Vector = np.ndarray  # (D,)
MOST_DENSE = 4  # GB that a sparse matrix may take as a dense one


def soft_threshold(z, t):
    """Move `z` toward zero by `t`, and stop at zero: the source of the lasso's exact zeros.

    It is the proximal step of the L1 norm, argmin_w (w - z)^2 / 2 + t |w|.

    Parameters
    ----------
    z : (...) float
        Values to shrink.
    t : float or (...) float, >= 0
        How far.

    Raises
    ------
    ValueError
        If `t` is negative or NaN, `z` is not finite, or their shapes do not fit.

    References
    ----------
    Donoho & Johnstone, Biometrika 81, 1994.

    Examples
    --------
    >>> from coursekit import linear
    >>> linear.soft_threshold([-3.0, 0.5, 2.0], 1.0)
    array([-2.,  0.,  1.])
    """
    z, t = finite("z", z), floats("t", t)
    if not np.all(t >= 0):
        raise ValueError(f"expected a threshold t >= 0, got {t}; the sign of z is kept by itself")
    fits = t.ndim == 0 or t.shape == z.shape
    expect(fits, f"one t, or one per value {z.shape}", f"shape {t.shape}", "np.broadcast_to")
    return _shrink(z, t)


def _shrink(z, t, positive=False):
    above = np.maximum(z - t, 0)
    return above if positive else above + np.minimum(z + t, 0)


# Each solver yields its weights after every iteration, for ever; `minimize` stops it.


def _ista(gram, corr, l1, w, positive=False) -> Iterator[Vector]:
    """A gradient step on the squares, then the proximal step of the L1 norm."""
    step = _safe_step(gram)
    while True:
        w = _shrink(w + step * (corr - gram @ w), step * l1, positive)
        yield w


def _fista(gram, corr, l1, w, positive=False) -> Iterator[Vector]:
    """Beck & Teboulle, SIAM J. Imaging Sciences 2, 2009; restart by O'Donoghue & Candes, 2015."""
    step, ahead, momentum = _safe_step(gram), w, 1.0
    while True:
        last, w = w, _shrink(ahead + step * (corr - gram @ ahead), step * l1, positive)
        if (ahead - w) @ (w - last) > 0:  # the momentum points uphill: it would only oscillate
            momentum = 1.0
        previous, momentum = momentum, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = w + (previous - 1) / momentum * (w - last)
        yield w


def _safe_step(gram) -> float:
    return 1 / (np.linalg.norm(gram, 2) or 1.0)  # 1 / largest curvature; any step if all is flat


def _coordinate_descent(gram, corr, l1, w, positive=False) -> Iterator[Vector]:
    """Sweep after sweep, and as soon as one leaves all signs alone, jump to their minimum."""
    while True:
        before, w = np.sign(w), _sweep(gram, corr, l1, w, positive)
        if np.array_equal(before, np.sign(w)):
            w = _jump(gram, corr, l1, w)  # saves thousands of sweeps on correlated columns
        yield w


def _sweep(gram, corr, l1, w, positive=False) -> Vector:
    """Minimize over one weight after the other: Friedman, Hastie & Tibshirani, 2010."""
    w = w.copy()
    downhill = corr - gram @ w  # anew in each sweep: updates alone would gather rounding
    for j, curvature in enumerate(gram.diagonal().tolist()):
        if curvature == 0:  # a constant column keeps weight 0
            continue
        z = downhill[j] + curvature * w[j]
        # _shrink, faster for one float
        new = (max(z - l1, 0.0) + (0.0 if positive else min(z + l1, 0.0))) / curvature
        if new != w[j]:
            downhill -= gram[j] * (new - w[j])
            w[j] = new
    return w


def _jump(gram, corr, l1, w) -> Vector:
    """Go to the minimum over the nonzero weights, if on the way there none changes its sign.

    While the signs stay, the lasso is a quadratic, and a linear system solves it exactly.
    """
    on = np.flatnonzero(w)
    block, signs = gram[np.ix_(on, on)], np.sign(w[on])
    uphill = (gram @ w - corr)[on] + l1 * signs
    try:
        step = -np.linalg.solve(block, uphill)
    except np.linalg.LinAlgError:  # more nonzero weights than examples: no single minimum
        return w
    falls = step @ uphill + step @ block @ step / 2 < 0  # a nearly singular block may mislead
    if not falls or np.any(np.sign(w[on] + step) != signs):
        return w
    moved = w.copy()
    moved[on] += step
    return moved


SOLVERS: dict[str, Callable[..., Iterator[Vector]]] = {
    "cd": _coordinate_descent,
    "ista": _ista,
    "fista": _fista,
}


def minimize(
    gram, corr, power, l1, start, solver="cd", tol=1e-13, max_iter=20_000, *, positive=False
):
    """Run a solver until the duality gap tells that it is there.

    Parameters
    ----------
    gram : (D, D) float
        x'x / N, with N times the ridge's share on its diagonal for an elastic net.
    corr : (D,) float
        x'y / N.
    power : float >= 0
        y'y / N: the gap is measured in halves of it.
    l1 : float > 0
        Strength of the L1 norm.
    start : (D,) float
        First weights; they stay as they are.
    solver, tol, max_iter, positive
        As in `coursekit.linear.elastic_net`.

    Returns
    -------
    w : (D,) float
    n_iter : int
        Sweeps ("cd") or gradient steps.

    Raises
    ------
    ValueError
        If an argument is outside its range, has the wrong shape, or holds NaN.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If `max_iter` is reached first; the last weights are returned.
    """
    check_solver(solver, tol, max_iter)
    gram, corr, start = finite("gram", gram, 2), finite("corr", corr, 1), finite("start", start, 1)
    if not gram.shape == corr.shape * 2 == start.shape * 2:
        got = f"{gram.shape}, {corr.shape} and {start.shape}"
        raise ValueError(f"expected gram (D, D), corr (D,) and start (D,), got {got}; try np.zeros")
    number("power", power, "[0, inf)", "y @ y / len(y)")
    number("l1", l1, "(0, inf)", "ridge, for no L1")
    start = np.maximum(start, 0) if positive else start
    goal = tol * power / 2
    iterates = islice(SOLVERS[solver](gram, corr, l1, start, positive), int(max_iter))
    for n_iter, w in enumerate(iterates, start=1):
        gap = _gap(gram, corr, power, l1, w, positive)
        if gap <= goal:
            return w, n_iter
    from sklearn.exceptions import ConvergenceWarning  # theirs, so that one filter silences both

    warnings.warn(
        f"expected a duality gap of at most {goal:.1e}, got {gap:.1e} after {max_iter} iterations "
        f"of {solver!r}; try a larger max_iter or tol, or columns of x on one scale",
        ConvergenceWarning,
        stacklevel=4,  # the line that calls `lasso`
    )
    return w, n_iter


def duality_gap(gram, corr, power, l1, w, *, positive=False) -> float:
    """How far the objective at `w` can be from its minimum, at most.

    It is the primal objective at w minus the dual one at the residual r, shrunk until feasible.
    Written as two terms that cannot be negative, it is free of the cancellation that a difference
    of two objectives would suffer. The second is zero where w meets the lasso's conditions.
    Arguments and errors as in `minimize`.

    References
    ----------
    Kim, Koh, Lustig, Boyd & Gorinevsky, IEEE J. Selected Topics in Signal Processing 1, 2007.
    """
    gram, corr, w = finite("gram", gram, 2), finite("corr", corr, 1), finite("w", w, 1)
    got, fits = (
        f"{gram.shape}, {corr.shape}, {w.shape}",
        gram.shape == corr.shape * 2 == w.shape * 2,
    )
    expect(fits, "gram (D, D), corr (D,) and w (D,)", got, "x.T @ x / len(x)")
    number("power", power, "[0, inf)", "y @ y / len(y)")
    number("l1", l1, "(0, inf)", "ridge, for no L1")
    return float(_gap(gram, corr, power, l1, w, positive))


def _gap(gram, corr, power, l1, w, positive):
    downhill = corr - gram @ w  # x'r / N
    # A weight that may not be negative does not care how much its slope pulls downward.
    largest = np.max(downhill) if positive else np.max(np.abs(downhill))
    scale = 1.0 if largest <= l1 else l1 / largest
    residual_power = power - w @ (corr + downhill)
    return (1 - scale) ** 2 * residual_power / 2 + np.sum(l1 * np.abs(w) - scale * w * downhill)


def check_solver(solver: str, tol: float, max_iter: int) -> None:
    """Raise ValueError if there is no such solver, or it could never stop or start."""
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise ValueError(f"expected a solver among {', '.join(SOLVERS)}, got {solver!r}; try 'cd'")
    number("max_iter", max_iter, "[1, inf)", "max_iter=1000", whole=True)
    number("tol", tol, "(0, 1)", "tol=1e-13, which gives 6 digits")


def finite(name: str, values, *axes: int) -> np.ndarray:
    """Values as a float64 array; ValueError if one is NaN, or if axes or entries are missing.

    `axes` are the numbers of axes that will do; a sparse matrix becomes a dense one.
    """
    if hasattr(values, "toarray"):
        size = np.prod(values.shape, dtype=float) * 8 / 2**30
        advice = "fewer columns, or sklearn.linear_model, which keeps it sparse"
        expect(size <= MOST_DENSE, f"sparse {name} of at most {MOST_DENSE} GB as a dense one",
               f"{size:.0f} GB", advice)  # fmt: skip
    values = floats(name, values)
    if axes and (values.ndim not in axes or values.size == 0):
        shapes = {1: "(N,)", 2: "(N, K)" if 1 in axes else "(N, D)"}
        hint = "reshape(-1, 1) makes one column" if axes == (2,) else "ravel() flattens a column"
        what = " or ".join(shapes[n] for n in axes)
        raise ValueError(f"expected {name} of shape {what}, got {values.shape}; {hint}")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"expected finite {name}, got NaN or infinity; drop or impute them")
    return values
