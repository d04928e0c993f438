"""The lasso's solvers: they agree with scikit-learn and each other, and their gap is honest."""

import warnings
from itertools import islice

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from coursekit.linear import proximal

SHAPES = [(60, 5), (30, 50), (100, 20), (40, 1), (25, 25)]


def problem(seed, share=0.2):
    """A random lasso without intercept: x (N, D), y (N,), and a share of the largest useful l1."""
    rng = np.random.default_rng(seed)
    n, d = SHAPES[seed % len(SHAPES)]
    x = rng.normal(size=(n, d))
    if seed % 3 == 1:
        x = x + rng.normal(size=(n, 1))  # correlation 1/2
    if seed % 3 == 2 and d > 1:
        x[:, -1] = 0  # what a constant column is after centering
    y = x @ (rng.normal(size=d) * (rng.random(d) < 0.4)) + rng.normal(size=n)
    return x, y, share * np.max(np.abs(x.T @ y)) / n


def moments(x, y):
    """What the solvers see: gram (D, D), corr (D,) and power."""
    return x.T @ x / len(x), x.T @ y / len(x), y @ y / len(x)


def objective(x, y, l1, w):
    return np.mean((y - x @ w) ** 2) / 2 + l1 * np.sum(np.abs(w))


def solve(x, y, l1, solver="cd", **options):
    return proximal.minimize(*moments(x, y), l1, np.zeros(x.shape[1]), solver, **options)


# The threshold


def test_soft_threshold_minimizes_its_own_objective():
    w = np.linspace(-4, 4, 80_001)
    for z, t in [(3.0, 1.0), (-3.0, 1.0), (0.5, 1.0), (-2.0, 0.0), (1.0, 1.0)]:
        best = w[np.argmin((w - z) ** 2 / 2 + t * np.abs(w))]
        assert proximal.soft_threshold(z, t) == pytest.approx(best, abs=2e-4)
    np.testing.assert_array_equal(proximal.soft_threshold([-3, 0.5, 2], [1, 1, 0]), [-2, 0, 2])


@pytest.mark.parametrize("solver", proximal.SOLVERS)
def test_an_orthonormal_design_soft_thresholds_least_squares(solver):
    rng = np.random.default_rng(0)
    n, d, l1 = 64, 12, 0.4
    q, _ = np.linalg.qr(rng.normal(size=(n, d)))
    x, y = q * np.sqrt(n), rng.normal(size=n) * 4
    expected = proximal.soft_threshold(x.T @ y / n, l1)
    assert 0 < np.count_nonzero(expected) < d
    np.testing.assert_allclose(solve(x, y, l1, solver)[0], expected, atol=1e-12)


# The solvers


@pytest.mark.parametrize("solver", proximal.SOLVERS)
def test_a_solver_equals_scikit_learn(solver):
    for seed in range(50):
        x, y, l1 = problem(seed)
        model = Lasso(alpha=l1, fit_intercept=False, tol=1e-13, max_iter=20_000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it cannot certify such a gap
            reference = model.fit(x, y).coef_
        ours, _ = solve(x, y, l1, solver)
        np.testing.assert_allclose(ours, reference, atol=2e-6 * np.abs(reference).max())
        np.testing.assert_array_equal(ours == 0, reference == 0)


def test_sweeps_alone_reach_the_minimum_that_the_jump_only_hastens():
    for seed in range(10):
        x, y, l1 = problem(seed)
        gram, corr, _ = moments(x, y)
        w = np.zeros(x.shape[1])
        for _ in range(500):
            w = proximal._sweep(gram, corr, l1, w)
        np.testing.assert_allclose(w, solve(x, y, l1)[0], atol=1e-6)


def test_no_iteration_of_coordinate_descent_raises_the_objective():
    for seed in range(20):
        x, y, l1 = problem(seed, share=0.02)
        gram, corr, _ = moments(x, y)
        steps = islice(proximal.SOLVERS["cd"](gram, corr, l1, np.zeros(x.shape[1])), 30)
        values = [objective(x, y, l1, w) for w in steps]
        assert np.all(np.diff(values) <= 1e-12 * values[0])


@pytest.mark.parametrize("solver", proximal.SOLVERS)
def test_iterates_are_separate_arrays_and_leave_the_start_alone(solver):
    x, y, l1 = problem(2)
    start = np.zeros(x.shape[1])
    steps = proximal.SOLVERS[solver](*moments(x, y)[:2], l1, start)
    first = next(steps)
    kept = first.copy()
    next(steps)
    assert not np.any(start)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("solver", proximal.SOLVERS)
def test_inputs_without_any_signal_give_zero_weights(solver):
    w, _ = solve(np.zeros((5, 2)), np.arange(5.0), 0.1, solver)
    assert not np.any(w)


def test_momentum_and_coordinates_need_fewer_steps_than_plain_steps():
    x, y, l1 = problem(7, share=0.02)
    steps = {solver: solve(x, y, l1, solver)[1] for solver in proximal.SOLVERS}
    assert steps["cd"] < steps["fista"] < steps["ista"]


# When to stop


def test_the_gap_is_the_distance_of_primal_and_dual():
    for seed in range(20):
        x, y, l1 = problem(seed)
        w = np.random.default_rng(seed).normal(size=x.shape[1])
        residual, n = y - x @ w, len(x)
        dual = residual * min(1, l1 * n / np.max(np.abs(x.T @ residual)))  # feasible
        lower = (y @ y - (y - dual) @ (y - dual)) / (2 * n)
        gap = proximal.duality_gap(*moments(x, y), l1, w)
        assert gap == pytest.approx(objective(x, y, l1, w) - lower, rel=1e-9)


@pytest.mark.parametrize("solver", proximal.SOLVERS)
def test_the_gap_bounds_the_distance_to_the_minimum(solver):
    x, y, l1 = problem(2, share=0.05)
    best = objective(x, y, l1, solve(x, y, l1)[0])
    for tol in [1e-2, 1e-4, 1e-6]:
        loose, _ = solve(x, y, l1, solver, tol=tol)
        assert -1e-12 <= objective(x, y, l1, loose) - best <= tol * np.mean(y**2) / 2


@pytest.mark.parametrize("solver", proximal.SOLVERS)
def test_too_few_iterations_warn_and_still_answer(solver):
    x, y, l1 = problem(1, share=0.01)
    with pytest.warns(ConvergenceWarning, match="duality gap.*larger max_iter"):
        w, n_iter = solve(x, y, l1, solver, max_iter=3)
    assert n_iter == 3
    assert np.all(np.isfinite(w))


# Arguments

GRAM, CORR, W = np.eye(2), np.ones(2), np.zeros(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: proximal.soft_threshold(1.0, -1.0), "threshold"),
        (lambda: proximal.soft_threshold(1.0, np.nan), "threshold"),
        (lambda: proximal.soft_threshold(np.nan, 1.0), "finite z"),
        (lambda: proximal.minimize(GRAM[0], CORR, 1.0, 0.1, W), "gram of shape"),
        (lambda: proximal.minimize(GRAM, CORR[:1], 1.0, 0.1, W), r"corr \(D,\)"),
        (lambda: proximal.minimize(GRAM, CORR, 1.0, 0.1, W[:1]), r"start \(D,\)"),
        (lambda: proximal.minimize(GRAM * np.nan, CORR, 1.0, 0.1, W), "finite gram"),
        (lambda: proximal.minimize(GRAM, CORR, np.nan, 0.1, W), "power >= 0"),
        (lambda: proximal.minimize(GRAM, CORR, 1.0, 0.0, W), "l1 > 0"),
        (lambda: proximal.check_solver("lars", 1e-3, 10), "cd, ista, fista"),
        (lambda: proximal.check_solver("cd", np.nan, 10), "tol"),
        (lambda: proximal.check_solver("cd", 1e-3, np.nan), "max_iter"),
        (lambda: proximal.check_solver("cd", 1e-3, 2.5), "max_iter"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
