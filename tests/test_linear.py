"""coursekit.linear against scikit-learn, against the conditions of a minimum, and classic slips."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
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


def weights_of_rows(seed, n):
    """Weights of rows, some of them 0."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 3, size=n) * (rng.random(n) > 0.2)


def targets(seed):
    """x (N, D), y (N, 3): a regression with three targets of different size."""
    x, y = problem(seed)
    rng = np.random.default_rng(seed)
    return x, np.stack([y, -10 * y + rng.normal(size=len(y)), rng.normal(size=len(y))], 1)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
def test_weighted_and_positive_fits_equal_scikit_learn(intercept, positive):
    how = {"intercept": intercept, "positive": positive}
    for seed in SEEDS[:30]:
        x, y = problem(seed)
        weight = weights_of_rows(seed, len(y))
        model = {"fit_intercept": intercept, "positive": positive}
        if np.sum(weight > 0) > x.shape[1] + 1 and seed % len(KINDS) != 2:  # one best fit
            ours = linear.least_squares(x, y, sample_weight=weight, **how)
            assert same(ours, LinearRegression(**model).fit(x, y, weight)), seed
        # With `positive` theirs is L-BFGS, which stops a little earlier.
        ours = linear.ridge(x, y, 2.0, sample_weight=weight, **how)
        theirs = Ridge(alpha=2.0, tol=1e-12, max_iter=100_000, **model).fit(x, y, weight)
        assert same(ours, theirs, 1e-4 if positive else 1e-6), seed
        for l1_ratio in (1.0, 0.4):
            alpha = 0.15 * linear.alpha_max(x, y, intercept=intercept)
            model_ = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-13, max_iter=50_000, **model)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                theirs = model_.fit(x, y, sample_weight=weight)
            ours = linear.elastic_net(x, y, alpha, l1_ratio, sample_weight=weight, **how)
            assert same(ours, theirs, 1e-5), (seed, l1_ratio)
            assert not positive or (ours.coef >= 0).all()


@pytest.mark.parametrize("solver", ["cd", "ista", "fista"])
def test_every_solver_finds_the_positive_weights(solver):
    for seed in (0, 2, 5):
        x, y = problem(seed)
        alpha = 0.3 * linear.alpha_max(x, y, positive=True)
        how = {"positive": True, "tol": 1e-11, "max_iter": 200_000}
        ours = linear.lasso(x, y, alpha, solver=solver, **how)
        model = Lasso(alpha=alpha, positive=True, tol=1e-13, max_iter=50_000)
        assert same(ours, reference_fit(model, x, y), 1e-4), seed


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_several_targets_equal_scikit_learn_and_one_at_a_time(seed):
    x, y = targets(seed)
    weight = weights_of_rows(seed, len(y))
    alpha = 0.1 * linear.alpha_max(x, y)
    assert alpha == pytest.approx(0.1 * max(linear.alpha_max(x, t) for t in y.T))
    fits = {
        lambda y: linear.least_squares(x, y, sample_weight=weight): LinearRegression(),
        lambda y: linear.ridge(x, y, 2.0, sample_weight=weight): Ridge(alpha=2.0),
        lambda y: linear.ridge(x, y, 2.0, solver="cholesky", sample_weight=weight): Ridge(
            alpha=2.0
        ),
        lambda y: linear.lasso(x, y, alpha, sample_weight=weight): Lasso(
            alpha=alpha, tol=1e-13, max_iter=50_000
        ),
    }
    for fit, model in fits.items():
        ours = fit(y)
        assert ours.coef.shape == (3, x.shape[1])
        assert ours.intercept.shape == (3,)
        alone = [fit(target) for target in y.T]
        np.testing.assert_allclose(ours.coef, [a.coef for a in alone], atol=1e-9)
        np.testing.assert_allclose(ours.intercept, [a.intercept for a in alone], atol=1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs = model.fit(x, y, sample_weight=weight)
        scale = np.abs(theirs.coef_).max()
        np.testing.assert_allclose(ours.coef, theirs.coef_, atol=1e-5 * scale)
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-5 * np.abs(y).max())
        assert ours.r2(x, y) == pytest.approx(theirs.score(x, y), abs=1e-6)
        assert ours.r2(x, y, weight) == pytest.approx(theirs.score(x, y, weight), abs=1e-6)
    one = linear.ridge(x, y[:, :1], 2.0)
    theirs = Ridge(alpha=2.0).fit(x, y[:, :1])
    assert one.coef.shape == (1, x.shape[1])
    np.testing.assert_allclose(one.coef.ravel(), theirs.coef_.ravel(), atol=1e-9)


def test_weighted_paths_and_paths_of_several_targets_equal_one_fit_at_a_time():
    x, y = targets(2)
    weight, alphas = weights_of_rows(2, len(y)), np.array([0.5, 2.0])
    how = {"sample_weight": weight}
    for path, fit in ((linear.ridge_path, linear.ridge), (linear.lasso_path, linear.lasso)):
        expected = [fit(x, y, alpha, **how).coef for alpha in alphas]
        np.testing.assert_allclose(path(x, y, alphas, **how), expected, atol=1e-6)
        np.testing.assert_allclose(
            path(x, y[:, 1], alphas, **how), np.array(expected)[:, 1], atol=1e-6
        )
    positive = linear.lasso_path(x, y[:, 0], alphas, positive=True)
    expected = [linear.lasso(x, y[:, 0], alpha, positive=True).coef for alpha in alphas]
    np.testing.assert_allclose(positive, expected, atol=1e-6)
    top = linear.alpha_max(x, y[:, 0], sample_weight=weight, positive=True)
    how |= {"positive": True}
    assert not linear.lasso(x, y[:, 0], 1.001 * top, **how).coef.any()
    assert linear.lasso(x, y[:, 0], 0.99 * top, **how).coef.any()


def test_a_weight_of_two_counts_as_two_rows():
    x, y = problem(2)
    weight = np.arange(len(y)) % 3.0
    rows = np.repeat(np.arange(len(y)), weight.astype(int))
    for fit in (linear.ridge, linear.lasso):
        ours, twice = fit(x, y, 0.2, sample_weight=weight), fit(x[rows], y[rows], 0.2)
        np.testing.assert_allclose(ours.coef, twice.coef, atol=1e-7)
        assert ours.intercept == pytest.approx(twice.intercept)


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_matrix"])
def test_sparse_inputs_equal_scikit_learn(form):
    x, y = problem(2)
    x = x * (np.random.default_rng(0).random(x.shape) < 0.3)
    thin = getattr(sparse, form)(x)
    for ours, model in (
        (linear.ridge(thin, y, 2.0), Ridge(alpha=2.0, solver="sparse_cg", tol=1e-12)),
        (linear.lasso(thin, y, 0.1), Lasso(alpha=0.1, tol=1e-12, max_iter=50_000)),
    ):
        theirs = model.fit(sparse.csc_matrix(x), y)
        assert same(ours, theirs)
        np.testing.assert_allclose(ours.predict(thin), theirs.predict(thin), atol=1e-6)
        assert ours.r2(thin, y) == pytest.approx(theirs.score(sparse.csr_matrix(x), y))
    wide = sparse.csr_matrix((100_000, 100_000))
    with pytest.raises(ValueError, match="at most 4 GB as a dense one, got 75 GB"):
        linear.ridge(wide, np.zeros(100_000), 1.0)


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
        (lambda: linear.ridge(X, Y[:, None, None], 1.0), "ravel"),
        (lambda: linear.ridge(X, Y, 1.0, sample_weight=Y[:-1] ** 2), "weights of at least 0"),
        (lambda: linear.lasso(X, Y, 1.0, sample_weight=0 * Y), "not all 0"),
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
