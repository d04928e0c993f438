"""Converted strengths share their minimum: against the objectives, the libraries and SGD."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, Ridge

from coursekit import linear
from coursekit.linear import strengths


def problem():
    """A random regression with a sparse truth and an offset: x (100, 20), y (100,)."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(100, 20))
    truth = rng.normal(size=20) * (rng.random(20) < 0.4)
    return x, x @ truth + rng.normal(size=100) + 3


# Conversions: the reference minimizes fit * SSE + size * value * penalty, written out here anew

L2 = {
    "MSE + lambda ||w||^2": lambda n: (1 / n, 1.0),
    "MSE + lambda/2 ||w||^2": lambda n: (1 / n, 0.5),
    "sklearn Ridge alpha": lambda n: (1.0, 1.0),
    "torch weight_decay": lambda n: (1 / n, 0.5),
    "keras L2": lambda n: (1 / n, 1.0),
}
L1 = {
    "MSE + lambda ||w||_1": lambda n: (1 / n, 1.0),
    "sklearn Lasso alpha": lambda n: (1 / (2 * n), 1.0),
    "keras L1": lambda n: (1 / n, 1.0),
}


def minimize_l2(x, y, fit, strength):
    """Where the gradient of fit * SSE + strength * ||w||^2 is zero, intercept free."""
    n, d = x.shape
    ones = np.column_stack([x, np.ones(n)])
    penalized = np.diag([*np.ones(d), 0.0])
    return np.linalg.solve(fit * ones.T @ ones + strength * penalized, fit * ones.T @ y)[:d]


def minimize_l1(x, y, fit, strength):
    """Proximal gradient on fit * SSE + strength * ||w||_1 with centered data."""
    x, y = x - x.mean(0), y - y.mean()
    step = 1 / (2 * fit * np.linalg.norm(x, 2) ** 2)
    w = np.zeros(x.shape[1])
    for _ in range(400):
        z = w + step * 2 * fit * x.T @ (y - x @ w)
        w = np.sign(z) * np.maximum(np.abs(z) - step * strength, 0)
    return w


@pytest.mark.parametrize(
    ("names", "minimize", "value"), [(L2, minimize_l2, 0.2), (L1, minimize_l1, 0.2)]
)
def test_converted_strengths_share_their_minimum_and_equal_numbers_do_not(names, minimize, value):
    x, y = problem()
    n = len(x)

    def solve(name, strength):
        fit, size = names[name](n)
        return minimize(x, y, fit, size * strength)

    for source, target in permutations(names, 2):
        converted = strengths.convert(value, source, target, n)
        expected = solve(source, value)
        np.testing.assert_allclose(solve(target, converted), expected, atol=1e-8)
        if converted != value:  # "alpha is lambda"
            assert np.max(np.abs(solve(target, value) - expected)) > 1e-3


def test_every_convention_is_tested():
    assert set(strengths.CONVENTIONS) == set(L1) | set(L2)


def test_conversions_are_those_of_the_libraries():
    x, y = problem()
    n = len(x)
    alpha = strengths.convert(0.2, "MSE + lambda ||w||^2", "sklearn Ridge alpha", n)
    assert alpha == pytest.approx(0.2 * n)
    ridge = Ridge(alpha=alpha).fit(x, y).coef_
    np.testing.assert_allclose(ridge, minimize_l2(x, y, 1 / n, 0.2), atol=1e-8)
    alpha = strengths.convert(0.2, "MSE + lambda ||w||_1", "sklearn Lasso alpha", n)
    assert alpha == pytest.approx(0.1)
    lasso = Lasso(alpha=alpha, tol=1e-12).fit(x, y).coef_
    np.testing.assert_allclose(lasso, minimize_l1(x, y, 1 / n, 0.2), atol=1e-8)


def sgd_move(x, y, fit, weight_decay):
    """How far one step of torch's SGD on nn.MSELoss leads away from a fit."""
    net = torch.nn.Linear(x.shape[1], 1, dtype=torch.float64)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(fit.coef)[None])
        net.bias.fill_(fit.intercept)
    groups = [
        {"params": [net.weight], "weight_decay": weight_decay},
        {"params": [net.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    torch.nn.MSELoss()(net(torch.tensor(x))[:, 0], torch.tensor(y)).backward()
    optimizer.step()
    return np.max(np.abs(net.weight.detach().numpy()[0] - fit.coef))


def test_sgd_with_the_converted_weight_decay_rests_at_ridge():
    x, y = problem()
    n, alpha = len(x), 20.0
    fit = linear.ridge(x, y, alpha)
    decay = strengths.convert(alpha, "sklearn Ridge alpha", "torch weight_decay", n)
    assert decay == pytest.approx(2 * alpha / n)
    assert sgd_move(x, y, fit, decay) < 1e-12
    for slip in [alpha, alpha / n, alpha / (2 * n)]:
        assert sgd_move(x, y, fit, slip) > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, "alpha", "keras L2", 10), "sklearn Ridge alpha"),
        ((1.0, "keras L1", "keras L2", 10), "one norm"),
        ((-1.0, "keras L1", "keras L1", 10), "value"),
        ((np.nan, "keras L1", "keras L1", 10), "value"),
        (([1.0, 2.0], "keras L1", "keras L1", 10), "value"),
        ((1.0, "keras L1", "keras L1", 0), "whole number"),
        ((1.0, "keras L1", "keras L1", np.nan), "whole number"),
        ((1.0, "keras L1", "keras L1", 10.5), "whole number"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        strengths.convert(*arguments)
