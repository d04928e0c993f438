"""A stopper for one's own loop: real copies, one owner of "best"; and filters against runs."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from coursekit import stopping
from coursekit.stopping import EarlyStopping, gd_filter, matching_strength, ridge_filter

NAN, INF = float("nan"), float("inf")


class ShallowCopy(EarlyStopping):
    """The published slip, for the check that has to catch it."""

    def update(self, value):
        before, stop = self.best_epoch, super().update(value)
        if self.best_epoch != before:
            self._state = self.model.state_dict().copy()
        return stop


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))


def change(net):
    """One step of training: weights by the optimizer, running statistics by the forward pass."""
    net.train()
    net(torch.randn(8, 3)).square().mean().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()


def follow(values, kind=EarlyStopping, **settings):
    """Train for the given validation values; return stopper, and all states after each epoch."""
    net, states = network(), []
    with kind(net, **settings) as stopper:
        for value in values:
            change(net)
            states.append(copy.deepcopy(net.state_dict()))
            if stopper.update(value):
                break
    return stopper, states


def holds_epoch(stopper, states, epoch):
    now = stopper.model.state_dict()
    return all(torch.equal(now[name], value) for name, value in states[epoch - 1].items())


@pytest.mark.parametrize(
    ("values", "settings", "best", "last"),
    [
        ([5, 4, 3, 4, 5, 6], {"patience": 2}, 3, 5),
        ([5, 4, 3, 4, 5, 6], {"patience": 10}, 3, 6),  # patience never runs out: restored too
        ([5, 4, 3, 4, 5, 6], {"patience": None}, 3, 6),
        ([0.1, 0.7, 0.6, 0.6], {"patience": 2, "mode": "max"}, 2, 4),
        ([3, 3, 3, 3], {"patience": 2}, 1, 3),  # a tie is no improvement
        ([1, NAN, 5, 5, 5], {"patience": 3}, 1, 4),  # a NaN does not wipe the memory
        ([INF, 2, 3], {"patience": 2}, 2, 3),
        ([100, 99.5, 98.9, 98.5], {"patience": 2, "min_delta": 0.01}, 3, 4),
        ([-1, -1.005, -1.02], {"patience": 2, "min_delta": 0.01}, 3, 3),
        ([0.5, 0.504, 0.51], {"patience": 2, "mode": "max", "min_delta": 0.01}, 3, 3),
    ],
)
def test_the_weights_of_the_best_epoch_come_back(values, settings, best, last):
    stopper, states = follow(values, **settings)
    assert (stopper.best_epoch, stopper.epoch, stopper.best_value) == (best, last, values[best - 1])
    assert holds_epoch(stopper, states, best)
    assert repr(stopper) == f"best epoch {best} of {last}, value {values[best - 1]:.4g}"


def test_the_check_catches_a_shallow_copy():
    stopper, states = follow([3, 2, 4, 5, 6], ShallowCopy, patience=3)
    assert stopper.best_epoch == 2
    assert not holds_epoch(stopper, states, 2)
    assert holds_epoch(stopper, states, 5)  # "the best weights" are the last ones


def test_nothing_is_restored_where_no_value_was_finite():
    stopper, states = follow([NAN, INF, NAN], patience=3)
    assert stopper.best_epoch == 0
    assert np.isnan(stopper.best_value)
    assert holds_epoch(stopper, states, 3)


def test_it_follows_the_same_rule_as_recorded_curves():
    rng = np.random.default_rng(0)
    curves = rng.normal(size=(30, 25)).round(1) + 3
    for wait, delta in ((1, 0.0), (4, 0.0), (4, 0.1), (None, 0.0)):
        expected = stopping.patience(curves, wait, min_delta=delta)
        for s, curve in enumerate(curves):
            stopper = EarlyStopping(nn.Linear(1, 1), wait, min_delta=delta)
            any(stopper.update(value) for value in curve)
            assert (stopper.best_epoch, stopper.epoch) == (expected.best[s], expected.last[s])


def test_an_interrupted_loop_keeps_the_best_weights_too():
    net, best = network(), {}

    def loop():
        with EarlyStopping(net) as stopper:
            stopper.update(1.0)
            best.update(copy.deepcopy(net.state_dict()))
            change(net)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert all(torch.equal(net.state_dict()[name], value) for name, value in best.items())


# Filter functions


def descend(x, y, lr, t):
    w = np.zeros(x.shape[1])
    for _ in range(t):
        w -= lr * x.T @ (x @ w - y)
    return w


def problem(seed=0, n=30, d=6):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)) * np.geomspace(1, 0.1, d), rng.normal(size=n)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    return x, y, s**2, vt, (u.T @ y) / s  # the last: least squares in the basis of vt


@pytest.mark.parametrize("t", [0, 1, 3, 50, 2000])
@pytest.mark.parametrize("speed", [0.05, 1.0, 1.9])
def test_the_filter_is_what_gradient_descent_does(t, speed):
    x, y, s2, vt, least_squares = problem()
    lr = speed / s2.max()
    filtered = vt.T @ (gd_filter(s2, lr, t) * least_squares)
    np.testing.assert_allclose(filtered, descend(x, y, lr, t), atol=1e-12)


@pytest.mark.parametrize("strength", [1e-3, 1.0, 1e3])
def test_the_filter_is_what_ridge_does(strength):
    x, y, s2, vt, least_squares = problem()
    ridge = np.linalg.solve(x.T @ x + strength * np.eye(len(s2)), x.T @ y)
    np.testing.assert_allclose(vt.T @ (ridge_filter(s2, strength) * least_squares), ridge)


def test_the_filters_agree_to_first_order_and_ridge_keeps_less_by_a_fifth_at_most():
    lr, t = 1e-4, 1000
    s2 = np.geomspace(1e-6, 1e4, 4001)[:-1]
    gap = gd_filter(s2, lr, t) - ridge_filter(s2, matching_strength(lr, t))
    weak, strong = s2 < 1e-4, s2 > 1e3
    assert abs(gap[weak]).max() < 1e-10
    assert abs(gap[strong]).max() < 0.01
    assert gap.min() > -1e-12
    # The largest 1 - exp(-z) - z / (1 + z): where (1 + z)^2 = exp(z), at z = 2.5129.
    assert gap.max() == pytest.approx(0.2036, abs=5e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EarlyStopping(nn.Linear(1, 1), mode="best"), "mode 'min' or 'max', got 'best'"),
        (lambda: EarlyStopping(nn.Linear(1, 1), 0), "patience of at least 1 or None, got 0"),
        (lambda: EarlyStopping(nn.Linear(1, 1), min_delta=1.0), r"fraction in \[0, 1\), got 1.0"),
        (lambda: gd_filter([1.0, 4.0], 0.5, 3), r"2 / max\(s2\) = 0.5\), got 0.5"),
        (lambda: gd_filter([1.0], 0.1, -1), "t >= 0 steps, got -1"),
        (lambda: gd_filter([-1.0], 0.1, 1), "singular values >= 0"),
        (lambda: gd_filter([], 0.1, 1), "singular values >= 0"),
        (lambda: ridge_filter([1.0], 0.0), "strength > 0, got 0.0"),
        (lambda: matching_strength(0.1, 0), "t >= 1 steps, got 0.1 and 0"),
        (lambda: matching_strength(0.0, 3), "got 0.0 and 3"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
