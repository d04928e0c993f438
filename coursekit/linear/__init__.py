"""Ridge, lasso and elastic net from scratch, in float64 numpy: the linear models of the course.

Every fit has three steps: center x and y, so that the intercept drops out and is never penalized;
solve for the weights; read the intercept off the means. `x` and `y` may be anything that holds
numbers: arrays, tables, tensors, and as `x` a sparse matrix, which is made dense. Several targets,
`y` (N, K), are fitted one by one, as scikit-learn does.

Axes: N examples, D features, K targets, A strengths along a path, R rank of x.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import nnls

from coursekit.datasets.values import expect, number
from coursekit.linear.proximal import check_solver, finite, minimize, soft_threshold

__all__ = [
    "Linear", "alpha_max", "elastic_net", "filter_factors", "lasso", "lasso_path",
    "least_squares", "ridge", "ridge_path", "soft_threshold",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Linear:
    """A fitted linear model, `x @ coef + intercept`.

    Examples
    --------
    >>> from coursekit import linear
    >>> fit = linear.least_squares([[0], [1], [2]], [1, 3, 5])
    >>> fit.predict([[3]]).round(6), round(fit.intercept, 6)
    (array([7.]), 1.0)
    >>> round(fit.r2([[0], [1], [2]], [1, 3, 5]), 6)
    1.0
    """

    coef: np.ndarray  # (D,), or (K, D) for several targets
    intercept: float | np.ndarray  # or (K,)
    n_iter: int  # 0 for a closed form; for several targets, the most that one took

    def predict(self, x) -> np.ndarray:
        """Predict (N,) or (N, K) targets from (N, D) inputs.

        ValueError if `x` has other columns or NaN.
        """
        x = finite("x", x, 2)
        n_features = self.coef.shape[-1]
        if x.shape[1] != n_features:
            want = f"x with the {n_features} columns of the fit"
            raise ValueError(f"expected {want}, got shape {x.shape}; select the same features")
        return x @ self.coef.T + self.intercept

    def r2(self, x, y, sample_weight=None) -> float:
        """Share of the variance of `y` explained: 1 is perfect, 0 is no better than its mean.

        Of several targets, the mean of their shares. ValueError if the shapes do not fit or a
        target is constant, for then nothing can be explained.
        """
        x, y = _checked(x, y)
        weight = _checked_weight(sample_weight, len(y))
        if np.any(np.ptp(y, axis=0) == 0):
            raise ValueError(f"expected y that varies, got {len(y)} equal value(s); R^2 needs two")
        predicted = self.predict(x)
        got, advice = f"{y.shape} for {predicted.shape}", "as many targets as were fitted"
        expect(y.shape == predicted.shape, "y shaped like the predictions", got, advice)
        if weight is None:
            error, total = (y - predicted) ** 2, (y - y.mean(axis=0)) ** 2
        else:
            mean = np.average(y, axis=0, weights=weight)
            error, total = weight @ (y - predicted) ** 2, weight @ (y - mean) ** 2
            error, total = error[None], total[None]
        return float(np.mean(1 - np.sum(error, axis=0) / np.sum(total, axis=0)))


def least_squares(
    x, y, *, intercept: bool = True, sample_weight=None, positive: bool = False
) -> Linear:
    """Fit without a penalty; of several best fits, take the one with the shortest weights.

    It is the limit of `ridge` as alpha goes to 0. Parameters as in `ridge`; with `positive`, any of
    several best fits.

    Raises
    ------
    ValueError
        If x or y has the wrong shape, holds NaN, or their lengths differ.

    Examples
    --------
    >>> from coursekit import linear
    >>> fit = linear.least_squares([[1, 1]], [2], intercept=False)  # one row, two features
    >>> fit.coef.round(6)
    array([1., 1.])
    """
    x, y, x_mean, y_mean = _centered(x, y, intercept, sample_weight)
    coef = _nonnegative(x, y) if positive else np.linalg.lstsq(x, y, rcond=None)[0].T
    return _linear(coef, x_mean, y_mean)


def ridge(
    x,
    y,
    alpha: float,
    *,
    intercept: bool = True,
    solver: str = "svd",
    sample_weight=None,
    positive: bool = False,
) -> Linear:
    """Minimize ||y - x w - b||^2 + alpha ||w||^2, scikit-learn's scale of `Ridge`.

    Parameters
    ----------
    x : (N, D) float, dense or sparse
        Inputs.
    y : (N,) or (N, K) float
        Targets.
    alpha : float >= 0
        Strength, in squared units of x. Against a *sum* of squares, so it must grow with N.
    intercept : bool
        False fixes b = 0. The intercept is never penalized.
    solver : {"svd", "cholesky"}
        "svd" also takes alpha = 0, where it gives the shortest of the best fits. "cholesky" solves
        the normal equations: faster, but it squares the condition number.
    sample_weight : (N,) float >= 0, optional
        How much the squared error of each row counts: 2 as if the row came twice.
    positive : bool
        Only weights of at least 0, by the method of Lawson and Hanson, whatever the solver.

    Raises
    ------
    ValueError
        If an argument is outside its range, has the wrong shape, or holds NaN.

    References
    ----------
    Hoerl & Kennard, Technometrics 12, 1970.

    Examples
    --------
    >>> from coursekit import linear
    >>> x = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    >>> y = [2, -2, 0.5, -0.5]
    >>> linear.ridge(x, y, alpha=0).coef.round(6)
    array([2. , 0.5])
    >>> linear.ridge(x, y, alpha=2).coef.round(6)
    array([1.  , 0.25])
    """
    alpha = _strength("alpha", alpha)
    if solver not in ("svd", "cholesky"):
        raise ValueError(f"expected a solver among svd, cholesky, got {solver!r}; try 'svd'")
    x, y, x_mean, y_mean = _centered(x, y, intercept, sample_weight)
    if positive:  # the penalty as rows of data: a target of 0 for each weight
        rows, d = np.sqrt(alpha) * np.eye(x.shape[1]), x.shape[1]
        coef = _nonnegative(np.vstack([x, rows]), np.concatenate([y, np.zeros((d, *y.shape[1:]))]))
        return _linear(coef, x_mean, y_mean)
    if solver == "svd":
        coef = ridge_path(x, y, [alpha], intercept=False)[0]  # x and y are centered already
        return _linear(coef, x_mean, y_mean)
    try:
        if alpha == 0:  # rounding may hide that the matrix is singular
            raise np.linalg.LinAlgError
        factor = cho_factor(x.T @ x + alpha * np.eye(x.shape[1]))
    except np.linalg.LinAlgError:
        message = f'cholesky expected a clearly positive alpha, got {alpha}; try solver="svd"'
        raise ValueError(message) from None
    return _linear(cho_solve(factor, x.T @ y).T, x_mean, y_mean)


def ridge_path(x, y, alphas, *, intercept: bool = True, sample_weight=None) -> np.ndarray:
    """Ridge weights for many strengths from a single SVD.

    Parameters
    ----------
    x, y, intercept, sample_weight
        As in `ridge`.
    alphas : (A,) float >= 0
        Strengths, in any order.

    Returns
    -------
    (A, D) float, or (A, K, D) for several targets
        One row of weights per strength.

    Raises
    ------
    ValueError
        As `ridge`, and if `alphas` is empty or not one row of numbers.

    Examples
    --------
    >>> from coursekit import linear
    >>> x = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    >>> y = [2, -2, 0.5, -0.5]
    >>> linear.ridge_path(x, y, [0, 2, 6]).round(6)
    array([[2.   , 0.5  ],
           [1.   , 0.25 ],
           [0.5  , 0.125]])
    """
    alphas = _checked_alphas(alphas)
    x, y, _, _ = _centered(x, y, intercept, sample_weight)
    u, s, vt = _thin_svd(x)
    kept = s / (s**2 + alphas[:, None])  # (A, R)
    kept = kept if y.ndim == 1 else kept[:, None]
    return (kept * (u.T @ y).T) @ vt  # (A, R) -> (A, D), or with K before the last


def filter_factors(x, alpha: float, *, intercept: bool = True) -> np.ndarray:
    """How much of least squares ridge keeps along each principal direction of x.

    The factor is s^2 / (s^2 + alpha): directions in which the data hardly vary (small s), which
    matter least for the loss, lose most. The sum is ridge's effective number of parameters.
    Parameters as in `ridge`.

    Returns
    -------
    (R,) float in (0, 1]
        Falling, for the nonzero singular values s of x (centered if `intercept`).

    Raises
    ------
    ValueError
        If an argument is outside its range, has the wrong shape, or holds NaN.

    References
    ----------
    Hastie, Tibshirani & Friedman, Elements of Statistical Learning, section 3.4, 2009.

    Examples
    --------
    >>> from coursekit import linear
    >>> x = [[3, 0], [-3, 0], [0, 1], [0, -1]]  # s^2 is 18 along the first axis, 2 along the second
    >>> linear.filter_factors(x, alpha=2).round(6)
    array([0.9, 0.5])
    """
    alpha = _strength("alpha", alpha)
    x = finite("x", x, 2)
    x, *_ = _centered(x, np.zeros(len(x)), intercept)
    _, s, _ = _thin_svd(x)
    return s**2 / (s**2 + alpha)


def lasso(x, y, alpha: float, **options) -> Linear:
    """Minimize ||y - x w - b||^2 / (2 N) + alpha ||w||_1, scikit-learn's scale of `Lasso`.

    It is `elastic_net` with `l1_ratio=1`, and takes its options.

    Raises
    ------
    ValueError
        As `elastic_net`.

    References
    ----------
    Tibshirani, Journal of the Royal Statistical Society B 58, 1996.

    Examples
    --------
    >>> from coursekit import linear
    >>> x = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    >>> y = [2, -2, 0.5, -0.5]
    >>> linear.lasso(x, y, alpha=0.25).coef.round(6)
    array([1.5, 0. ])
    """
    return elastic_net(x, y, alpha, 1.0, **options)


def elastic_net(
    x,
    y,
    alpha,
    l1_ratio,
    *,
    intercept=True,
    solver="cd",
    tol=1e-13,
    max_iter=20_000,
    sample_weight=None,
    positive=False,
) -> Linear:
    """Minimize ||y - x w - b||^2 / (2 N) + alpha (l1_ratio ||w||_1 + (1 - l1_ratio) ||w||^2 / 2).

    That is scikit-learn's scale of `ElasticNet`. In terms of "MSE + penalties" it stands for
    2 alpha l1_ratio ||w||_1 + alpha (1 - l1_ratio) ||w||^2.

    Parameters
    ----------
    x, y, intercept
        As in `ridge`.
    alpha : float >= 0
        Strength, in units of x times units of y for the L1 part.
    l1_ratio : float in [0, 1]
        Share of L1. Without any L1 the answer is that of `ridge(x, y, N * alpha)`.
    solver : {"cd", "ista", "fista"}
        Coordinate descent (with an exact step once the signs settle), proximal gradient, or
        proximal gradient with momentum.
    tol : float > 0
        Stop when the duality gap, a bound on how far the objective is from its minimum, is at most
        `tol` times the objective of all-zero weights. The error of the weights is of the order
        of its square root, so the default gives 6 digits, and "cd" mostly 10.
    max_iter : int >= 1
        Sweeps over all features ("cd") or gradient steps.
    sample_weight : (N,) float >= 0, optional
        How much the squared error of each row counts. Only their ratios matter: the errors are
        averaged, where `ridge` sums them.
    positive : bool
        Only weights of at least 0.

    Raises
    ------
    ValueError
        If an argument is outside its range, has the wrong shape, or holds NaN.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If `max_iter` is reached first; the last weights are returned.

    References
    ----------
    Zou & Hastie, Journal of the Royal Statistical Society B 67, 2005.

    Examples
    --------
    >>> from coursekit import linear
    >>> x = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    >>> y = [2, -2, 0.5, -0.5]
    >>> linear.elastic_net(x, y, alpha=0.5, l1_ratio=0.5).coef.round(6)
    array([1., 0.])
    """
    alpha = _strength("alpha", alpha)
    l1_ratio = float(number("l1_ratio", l1_ratio, "[0, 1]", "l1_ratio=1, the lasso"))
    check_solver(solver, tol, max_iter)  # here too: without L1 none will run
    x, y, x_mean, y_mean = _centered(x, y, intercept, sample_weight, mean=True)
    n, d = x.shape
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    if l1 == 0:
        coef = ridge(x, y, n * l2, intercept=False, positive=positive).coef
        return _linear(coef, x_mean, y_mean)
    # L2 only adds to the curvature, so an elastic net is a lasso with a ridge on its Gram matrix.
    gram, options = x.T @ x / n + l2 * np.eye(d), {"positive": positive}
    targets = y if y.ndim == 1 else y.T  # (N,) or (K, N)
    coefs, n_iters = [], []
    for target in np.atleast_2d(targets):
        corr, power = x.T @ target / n, target @ target / n
        w, n_iter = minimize(gram, corr, power, l1, np.zeros(d), solver, tol, max_iter, **options)
        coefs.append(w)
        n_iters.append(n_iter)
    coef = coefs[0] if y.ndim == 1 else np.stack(coefs)
    return _linear(coef, x_mean, y_mean, max(n_iters))


def lasso_path(
    x, y, alphas, *, intercept: bool = True, sample_weight=None, **options
) -> np.ndarray:
    """Lasso weights for many strengths, each fit starting from its stronger neighbor's weights.

    Parameters
    ----------
    x, y, intercept, sample_weight, **options
        As in `elastic_net`: `solver`, `tol`, `max_iter` and `positive`.
    alphas : (A,) float > 0
        Strengths, in any order. `alpha_max` tells where to begin.

    Returns
    -------
    (A, D) float, or (A, K, D) for several targets
        One row of weights per strength, in the order of `alphas`.

    Raises
    ------
    ValueError
        As `elastic_net`, and if a strength is 0.

    References
    ----------
    Friedman, Hastie & Tibshirani, Journal of Statistical Software 33, 2010.

    Examples
    --------
    >>> from coursekit import linear
    >>> x = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    >>> y = [2, -2, 0.5, -0.5]
    >>> strongest = linear.alpha_max(x, y)
    >>> linear.lasso_path(x, y, [strongest, strongest / 2, strongest / 10]).round(6) + 0.0
    array([[0. , 0. ],
           [1. , 0. ],
           [1.8, 0.3]])
    """
    alphas = _checked_alphas(alphas)
    if np.any(alphas == 0):
        raise ValueError("expected alphas > 0, got a zero; for no penalty try least_squares")
    x, y, _, _ = _centered(x, y, intercept, sample_weight, mean=True)
    gram, n_targets = x.T @ x / len(x), 1 if y.ndim == 1 else y.shape[1]
    path = np.empty((len(alphas), n_targets, x.shape[1]))
    for k, target in enumerate(y[None] if y.ndim == 1 else y.T):
        corr, power = x.T @ target / len(x), target @ target / len(x)
        coef = np.zeros(x.shape[1])
        for a in np.argsort(-alphas):
            coef, _ = minimize(gram, corr, power, alphas[a], coef, **options)
            path[a, k] = coef
    return path[:, 0] if y.ndim == 1 else path


def alpha_max(x, y, *, intercept: bool = True, sample_weight=None, positive: bool = False) -> float:
    """Smallest alpha at which every weight of the lasso is zero: max_j |x_j . y| / N, centered.

    For the elastic net, divide by `l1_ratio`. Parameters as in `elastic_net`; of several targets,
    the largest.

    Raises
    ------
    ValueError
        If x or y has the wrong shape, holds NaN, or their lengths differ.

    Examples
    --------
    >>> from coursekit import linear
    >>> x = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    >>> y = [2, -2, 0.5, -0.5]
    >>> linear.alpha_max(x, y)
    1.0
    """
    x, y, _, _ = _centered(x, y, intercept, sample_weight, mean=True)
    pull = x.T @ y / len(x)
    return float(np.max(np.maximum(pull, 0) if positive else np.abs(pull)))


def _thin_svd(x):
    """SVD without the directions that are zero up to rounding: u (N, R), s (R,), vt (R, D)."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    keep = s > s[0] * max(x.shape) * np.finfo(float).eps
    return u[:, keep], s[keep], vt[keep]


def _nonnegative(x, y) -> np.ndarray:
    """Weights of at least 0 with the least squared error, one target after the other."""
    coefs = [nnls(x, target)[0] for target in np.atleast_2d(y.T)]
    return coefs[0] if y.ndim == 1 else np.stack(coefs)


def _centered(x, y, intercept, sample_weight=None, *, mean=False):
    """x and y around their means, each row times the root of its weight; and the means."""
    x, y = _checked(x, y)
    weight = _checked_weight(sample_weight, len(x))
    x_mean, y_mean = np.zeros(x.shape[1]), np.zeros(y.shape[1:])
    if intercept:
        # Via the first row, a constant column becomes exactly zero, not rounding noise to be
        # fitted.
        x_mean, y_mean = (
            t[0] + (t - t[0]).mean(axis=0)
            if weight is None
            else t[0] + np.average(t - t[0], axis=0, weights=weight)
            for t in (x, y)
        )
        x, y = x - x_mean, y - y_mean
    if weight is not None:
        # Where errors are averaged, weights have the mean 1, so that N is their sum.
        root = np.sqrt(weight / weight.mean() if mean else weight)
        x, y = root[:, None] * x, (root * y.T).T
    return x, y, x_mean, y_mean


def _linear(coef, x_mean, y_mean, n_iter=0) -> Linear:
    intercept = y_mean - x_mean @ coef.T
    return Linear(coef, float(intercept) if coef.ndim == 1 else intercept, n_iter)


def _checked(x, y):
    x, y = finite("x", x, 2), finite("y", y, 1, 2)
    if len(x) != len(y):
        got, advice = f"{len(x)} rows and {len(y)} targets", "x[:len(y)]"
        raise ValueError(f"expected one y per row of x, got {got}; try {advice}")
    return x, y


def _checked_weight(sample_weight, n: int) -> np.ndarray | None:
    if sample_weight is None:
        return None
    weight = finite("sample_weight", sample_weight, 1)
    fits = len(weight) == n and weight.min() >= 0 and weight.sum() > 0
    got = f"{len(weight)} from {weight.min():g} to {weight.max():g}"
    expect(fits, f"{n} weights of at least 0, not all 0", got, "np.ones(len(y))")
    return weight


def _checked_alphas(alphas) -> np.ndarray:
    alphas = finite("alphas", alphas)
    if alphas.ndim != 1 or alphas.size == 0:
        raise ValueError(f"expected alphas of shape (A,), got {alphas.shape}; try np.geomspace")
    for alpha in alphas:
        _strength("alphas", alpha)
    return alphas


def _strength(name, value) -> float:
    return float(number(name, value, "[0, inf)", f"{name}=0 for no penalty"))
