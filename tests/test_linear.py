"""coursekit.linear against scikit-learn, against the conditions of a minimum, and classic slips."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

from coursekit import linear

SHAPES = [(60, 5), (30, 50), (100, 20), (40, 1), (25, 25), (12, 40)]
KINDS = ["independent", "correlated", "constant column", "mixed units", "twins"]
SEEDS = range(60)  # every shape meets every kind, twice


def problem(seed):
    """A random regression with a sparse truth and an offset: x (N, D), y (N,)."""
    rng = np.random.default_rng(seed)
    n, d = SHAPES[seed % len(SHAPES)]
    kind = KINDS[seed % len(KINDS)]
    x = rng.normal(size=(n, d))
    if kind == "correlated":
        x = 0.4 * x + rng.normal(size=(n, 1))
    if kind == "constant column" and d > 1:
        x[:, 0] = 0.1  # its mean is not exactly 0.1 in floating point
    if kind == "mixed units":
        x = x * 10 ** rng.uniform(-1, 1, size=d) + 2
    if kind == "twins":
        x[:, -1] = x[:, 0] + 0.1 * rng.normal(size=n)
    truth = rng.normal(size=d) * (rng.random(d) < 0.4)
    return x, x @ truth + rng.normal(size=n) + 3


def same(ours, reference, tolerance=1e-6):
    """Weights and intercept agree, relative to the largest weight."""
    scale = max(np.max(np.abs(reference.coef_)), 1e-3)
    far = np.max(np.abs(ours.coef - reference.coef_)) / scale
    return far < tolerance and np.isclose(
        ours.intercept, reference.intercept_, rtol=tolerance, atol=tolerance * scale
    )


def reference_fit(model, x, y):
    """scikit-learn's solver cannot certify gaps near machine precision, but it gets there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.set_params(tol=1e-13, max_iter=20_000).fit(x, y)


# References: scikit-learn


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("solver", ["svd", "cholesky"])
def test_ridge_equals_scikit_learn(solver, intercept):
    for seed in SEEDS:
        x, y = problem(seed)
        for alpha in [1e-3, 1.0, 100.0]:
            reference = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd").fit(x, y)
            ours = linear.ridge(x, y, alpha, intercept=intercept, solver=solver)
            assert same(ours, reference), (seed, alpha)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_lasso_and_elastic_net_equal_scikit_learn(l1_ratio, intercept):
    for seed in SEEDS:
        x, y = problem(seed)
        alpha = 0.15 * linear.alpha_max(x, y, intercept=intercept)
        model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, fit_intercept=intercept)
        ours = linear.elastic_net(x, y, alpha, l1_ratio, intercept=intercept)
        assert same(ours, reference_fit(model, x, y)), seed


def test_no_penalty_is_the_shortest_least_squares_fit():
    for seed in SEEDS[:30]:
        x, y = problem(seed)
        reference = LinearRegression().fit(x, y)
        fits = [linear.least_squares(x, y), linear.ridge(x, y, 0), linear.lasso(x, y, 0)]
        assert all(same(fit, reference) for fit in fits), seed


def test_predict_and_r2_equal_scikit_learn():
    x, y = load_diabetes(return_X_y=True)
    ours, reference = linear.ridge(x, y, 0.5), Ridge(alpha=0.5).fit(x, y)
    np.testing.assert_allclose(ours.predict(x), reference.predict(x), rtol=1e-10)
    assert ours.r2(x, y) == pytest.approx(reference.score(x, y), abs=1e-12)


def test_tensors_are_welcome():
    x, y = problem(0)
    fit = linear.lasso(torch.tensor(x), torch.tensor(y), 0.1)
    np.testing.assert_array_equal(fit.coef, linear.lasso(x, y, 0.1).coef)


# Laws


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_the_minimum_meets_its_first_order_conditions(l1_ratio):
    for seed in SEEDS:
        x, y = problem(seed)
        alpha = 0.1 * linear.alpha_max(x, y)
        fit = linear.elastic_net(x, y, alpha, l1_ratio)
        residual, l1 = y - fit.predict(x), alpha * l1_ratio
        pull = x.T @ residual / len(x) - alpha * (1 - l1_ratio) * fit.coef
        slack = 1e-7 * linear.alpha_max(x, y)
        on = fit.coef != 0
        np.testing.assert_allclose(pull[on], l1 * np.sign(fit.coef[on]), atol=slack, rtol=0)
        assert np.all(np.abs(pull[~on]) <= l1 + slack)
        assert abs(residual.mean()) < 1e-10 * np.abs(y).max()


def test_alpha_max_is_where_the_last_weight_vanishes():
    for seed in SEEDS:
        x, y = problem(seed)
        top = linear.alpha_max(x, y)
        assert not np.any(linear.lasso(x, y, top).coef)
        assert np.count_nonzero(linear.lasso(x, y, 0.999 * top).coef) >= 1
        assert linear.lasso(x, y, 100 * top).intercept == pytest.approx(y.mean())


@pytest.mark.parametrize("intercept", [True, False])
def test_filter_factors_are_what_ridge_keeps_in_the_svd_basis(intercept):
    for seed in SEEDS[:30]:
        x, y = problem(seed)
        centered = x - x.mean(0) * intercept
        factors = linear.filter_factors(x, 5.0, intercept=intercept)
        vt = np.linalg.svd(centered, full_matrices=False)[2][: len(factors)]
        full = linear.least_squares(x, y, intercept=intercept).coef
        kept = linear.ridge(x, y, 5.0, intercept=intercept).coef
        np.testing.assert_allclose(vt @ kept, factors * (vt @ full), atol=1e-9)
        assert np.all(np.diff(factors) <= 0)
        np.testing.assert_allclose(linear.filter_factors(x, 0.0), 1)
        assert len(factors) == np.linalg.matrix_rank(centered)


def test_ridge_is_least_squares_with_d_extra_rows():
    x, y = problem(1)
    d = x.shape[1]
    rows = np.vstack([x, np.sqrt(3.0) * np.eye(d)])
    augmented = linear.least_squares(rows, np.append(y, np.zeros(d)), intercept=False)
    ours = linear.ridge(x, y, 3.0, intercept=False)
    np.testing.assert_allclose(ours.coef, augmented.coef, atol=1e-10)


@pytest.mark.parametrize(
    ("path", "fit"), [(linear.ridge_path, linear.ridge), (linear.lasso_path, linear.lasso)]
)
def test_paths_equal_one_fit_at_a_time_in_any_order(path, fit):
    for seed in range(12):
        x, y = problem(seed)
        alphas = np.array([0.1, 0.8, 0.2]) * linear.alpha_max(x, y)
        expected = np.stack([fit(x, y, alpha).coef for alpha in alphas])
        found = path(x, y, alphas)
        assert found.shape == (3, x.shape[1])
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_shifting_y_moves_only_the_intercept():
    x, y = problem(2)
    for fit in [linear.ridge, linear.lasso]:
        here, there = fit(x, y, 0.5), fit(x, y + 1000, 0.5)
        np.testing.assert_allclose(there.coef, here.coef, atol=1e-9)
        assert there.intercept - here.intercept == pytest.approx(1000)


@pytest.mark.parametrize("fit", [linear.ridge, linear.lasso])
def test_a_constant_column_or_target_gets_no_weight(fit):
    x, y = problem(2)
    x[:, 3] = 123456.789
    assert abs(fit(x, y, 0.0).coef[3]) < 1e-12
    assert abs(fit(x, y, 0.1).coef[3]) < 1e-12
    assert linear.lasso(x, y, 0.1).coef[3] == 0
    flat = fit(x, np.full(len(y), 0.1), 0.1)
    assert not np.any(flat.coef)
    assert flat.intercept == 0.1


def test_elastic_net_without_l1_is_ridge_with_alpha_times_n():
    x, y = problem(0)
    ours, expected = linear.elastic_net(x, y, 0.3, 0.0), linear.ridge(x, y, 0.3 * len(x))
    np.testing.assert_allclose(ours.coef, expected.coef, atol=1e-12)
    # As MSE + l1 ||w||_1 + l2 ||w||^2, with the weights that the docstring names.
    fit = linear.elastic_net(x, y, 0.3, 0.4)
    l1, l2 = 2 * 0.3 * 0.4, 0.3 * 0.6
    slope = -2 * x.T @ (y - fit.predict(x)) / len(x) + 2 * l2 * fit.coef + l1 * np.sign(fit.coef)
    np.testing.assert_allclose(slope[fit.coef != 0], 0, atol=1e-8)


def test_the_printed_lasso_output_of_a_tutorial_cannot_come_from_its_code():
    """With ten informative columns and alpha 0.1 no weight is zero, whatever was printed."""
    x, y = make_regression(n_samples=100, n_features=10, noise=0.1, random_state=42)
    assert np.count_nonzero(linear.lasso(x, y, 0.1).coef) == 10


# Known wrong answers that must be caught


def penalized_intercept(x, y, alpha):
    """The column of ones pays the penalty too."""
    fit = linear.ridge(np.column_stack([x, np.ones(len(x))]), y, alpha, intercept=False)
    return linear.Linear(fit.coef[:-1], fit.coef[-1], 0)


def ridge_on_the_mean(x, y, alpha):
    return linear.ridge(x, y, alpha * len(x))


@pytest.mark.parametrize("mistake", [penalized_intercept, ridge_on_the_mean])
def test_the_comparison_catches_ridge_mistakes(mistake):
    x, y = problem(2)
    y = y + 1000
    reference = Ridge(alpha=10.0).fit(x, y)
    assert same(linear.ridge(x, y, 10.0), reference)
    assert not same(mistake(x, y, 10.0), reference)


def proximal(x, y, alpha, shrink, scale):
    x, centered = x - x.mean(0), y - y.mean()
    step, w = scale / np.linalg.norm(x, 2) ** 2, np.zeros(x.shape[1])
    for _ in range(2000):
        w = shrink(w, x.T @ (centered - x @ w) / scale, step, alpha)
    return w


def soft(w, pull, step, alpha):
    return linear.soft_threshold(w + step * pull, step * alpha)


def hard(w, pull, step, alpha):
    z = w + step * pull
    return z * (np.abs(z) > step * alpha)


def sign_lost(w, pull, step, alpha):
    return np.maximum(np.abs(w + step * pull) - step * alpha, 0)


def subgradient(w, pull, step, alpha):
    return w + step * (pull - alpha * np.sign(w))


def test_the_comparison_catches_lasso_mistakes():
    x, y = problem(2)
    n, alpha = len(x), 0.2
    reference = reference_fit(Lasso(alpha=alpha), x, y).coef_
    assert np.count_nonzero(reference == 0) > 5

    def agrees(coef):
        return np.allclose(coef, reference, atol=1e-6) and np.array_equal(coef == 0, reference == 0)

    assert agrees(linear.lasso(x, y, alpha).coef)
    assert agrees(proximal(x, y, alpha, soft, n))
    assert not agrees(proximal(x, y, alpha, soft, 1))  # 1/n forgotten
    assert not agrees(proximal(x, y, alpha, hard, n))
    assert not agrees(proximal(x, y, alpha, sign_lost, n))


def test_plain_subgradient_steps_have_no_exact_zero():
    x, y = problem(2)
    w = proximal(x, y, 0.2, subgradient, len(x))
    assert np.count_nonzero(w == 0) == 0
    assert np.count_nonzero(linear.lasso(x, y, 0.2).coef == 0) > 5


# Arguments

X, Y = problem(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear.ridge(Y, Y, 1.0), "reshape"),
        (lambda: linear.ridge(X, Y[:, None], 1.0), "ravel"),
        (lambda: linear.ridge(X, Y[:-1], 1.0), "one y per row"),
        (lambda: linear.ridge(X[:0], Y[:0], 1.0), "shape"),
        (lambda: linear.least_squares(X * np.nan, Y), "finite x"),
        (lambda: linear.lasso(X, Y * np.inf, 1.0), "finite y"),
        (lambda: linear.ridge(X, Y, -1.0), "alpha"),
        (lambda: linear.ridge(X, Y, np.nan), "alpha"),
        (lambda: linear.ridge(X, Y, [1.0, 2.0]), "alpha"),
        (lambda: linear.ridge(X, Y, 1.0, solver="qr"), "svd, cholesky"),
        (lambda: linear.ridge(X, Y, 0.0, solver="cholesky"), "svd"),
        (lambda: linear.ridge(X[:, [0, 0]], Y, 1e-300, solver="cholesky"), "svd"),
        (lambda: linear.ridge_path(X, Y, 1.0), "alphas"),
        (lambda: linear.ridge_path(X, Y, [1.0, -1.0]), "alphas"),
        (lambda: linear.lasso_path(X, Y, []), "alphas"),
        (lambda: linear.lasso_path(X, Y, [0.1, 0.0]), "least_squares"),
        (lambda: linear.lasso_path(X, Y, [0.1], solver="lars"), "cd, ista, fista"),
        (lambda: linear.lasso(X, Y, 0.0, solver="lars"), "cd, ista, fista"),
        (lambda: linear.lasso(X, Y, 0.1, tol=0.0), "tol"),
        (lambda: linear.lasso(X, Y, 0.1, max_iter=0), "max_iter"),
        (lambda: linear.elastic_net(X, Y, 0.1, 1.5), "l1_ratio"),
        (lambda: linear.elastic_net(X, Y, 0.1, np.nan), "l1_ratio"),
        (lambda: linear.filter_factors(X, -1.0), "alpha"),
        (lambda: linear.filter_factors(Y, 1.0), "reshape"),
        (lambda: linear.alpha_max(X, Y[:-1]), "one y per row"),
        (lambda: linear.ridge(X, Y, 1.0).predict(X[:, :2]), "columns"),
        (lambda: linear.ridge(X, Y, 1.0).r2(X, np.ones(len(Y))), "varies"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
