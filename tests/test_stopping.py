"""Stopping rules against curves drawn by hand and a literal second implementation."""

import itertools

import numpy as np
import pytest

from coursekit import stopping
from coursekit.stopping import Monitor, at, first_rise, lowest, patience

NAN, INF = np.nan, np.inf


def slow(curve, patience, min_delta):
    """The rule word by word, for one curve, with plain numbers."""
    best_loss, best_epoch, waited, last = None, 0, 0, 0
    for epoch, loss in enumerate(curve, start=1):
        last = epoch
        finite = loss == loss and abs(loss) != INF
        if finite and (best_loss is None or loss < best_loss - min_delta * abs(best_loss)):
            best_loss, best_epoch, waited = loss, epoch, 0
        else:
            waited += 1
        if patience is not None and waited == patience:
            break
    return best_epoch, last


@pytest.mark.parametrize(
    ("curve", "wait", "min_delta", "best", "last"),
    [
        ([5, 4, 3, 2, 1], 2, 0.0, 5, 5),
        ([5, 4, 3, 4, 5, 6], 2, 0.0, 3, 5),
        ([5, 4, 3, 4, 2, 6], 2, 0.0, 5, 6),
        ([5, 4, 3, 4, 5, 1], 2, 0.0, 3, 5),
        ([5, 4, 3, 4, 5, 1], None, 0.0, 6, 6),
        ([3, 3, 3, 3], 2, 0.0, 1, 3),
        ([3, 4], 1, 0.0, 1, 2),
        ([1, 2, 3], 9, 0.0, 1, 3),
        ([NAN, 2, 3, 4], 2, 0.0, 2, 4),
        ([2, NAN, NAN, 1], 2, 0.0, 1, 3),
        ([NAN, INF, NAN], 2, 0.0, 0, 2),
        ([INF, 2, -INF, 1], None, 0.0, 4, 4),
        ([100, 99.5, 99, 98.5], 2, 0.01, 1, 3),
        ([100, 99.5, 98.9, 98.5], 2, 0.01, 3, 4),
        ([-1, -1.005, -1.02], 2, 0.01, 3, 3),
    ],
)
def test_curves_drawn_by_hand(curve, wait, min_delta, best, last):
    stop = patience(np.array([curve], dtype=float), wait, min_delta=min_delta)
    assert (stop.best.tolist(), stop.last.tolist()) == ([best], [last])
    assert slow(curve, wait, min_delta) == (best, last)


def random_curves(seed, n=200, epochs=40):
    """Noisy curves that fall and rise again, coarse enough for ties, some broken."""
    rng = np.random.default_rng(seed)
    turn = rng.integers(1, epochs, size=(n, 1))
    curves = np.abs(np.arange(epochs) - turn) / 10 + rng.normal(size=(n, epochs)).round(1) / 2 + 2
    return np.where(rng.random((n, epochs)) < 0.05, rng.choice([NAN, INF, -INF]), curves)


@pytest.mark.parametrize("wait", [1, 3, 10, None])
@pytest.mark.parametrize("min_delta", [0.0, 0.05])
def test_patience_equals_the_rule_word_by_word(wait, min_delta):
    curves = random_curves(0)
    stop = patience(curves, wait, min_delta=min_delta)
    expected = [slow(curve, wait, min_delta) for curve in curves.tolist()]
    assert list(zip(stop.best.tolist(), stop.last.tolist(), strict=True)) == expected


def test_following_epoch_by_epoch_equals_seeing_the_whole_curve():
    curves = random_curves(1)
    monitor = Monitor(len(curves), 4, min_delta=0.01)
    kept = np.zeros(len(curves), dtype=int)
    for epoch, now in enumerate(curves.T, start=1):
        before = monitor.running.copy()
        improved = monitor.update(now)
        kept[improved] = epoch
        assert not (improved & ~before).any()  # a stopped seed never improves
        part = patience(curves[:, :epoch], 4, min_delta=0.01)
        np.testing.assert_array_equal(monitor.best, part.best)
        np.testing.assert_array_equal(monitor.last, part.last)
    np.testing.assert_array_equal(kept, monitor.best)
    assert not monitor.running.all()


@pytest.mark.parametrize("factor", [2.0**-20, 0.5, 2.0**30])
def test_the_threshold_does_not_depend_on_the_unit_of_the_loss(factor):
    curves = random_curves(2)
    plain, scaled = (patience(curves * f, 3, min_delta=0.1) for f in (1.0, factor))
    np.testing.assert_array_equal(plain.best, scaled.best)
    np.testing.assert_array_equal(plain.last, scaled.last)


def test_an_absolute_threshold_would_depend_on_it():
    curve = np.array([[1.0, 0.8, 0.6, 0.5]])
    absolute = [slow(list(map(float, c)), 2, 0.0)[0] for c in (curve[0], curve[0] / 1000)]
    assert absolute == [4, 4]
    with_threshold = [
        max([1] + [t + 1 for t in range(1, 4) if c[t] < c[:t].min() - 0.05])
        for c in (curve[0], curve[0] / 1000)
    ]
    assert with_threshold == [4, 1]  # the slip: nothing ever counts as an improvement
    assert [patience(c, 2, min_delta=0.05).best[0] for c in (curve, curve / 1000)] == [4, 4]


def test_longer_patience_never_keeps_a_worse_epoch():
    curves = np.random.default_rng(3).normal(size=(100, 30)) ** 2
    losses = [at(curves, patience(curves, wait).best) for wait in (1, 2, 4, 8, 16, None)]
    assert all((b <= a).all() for a, b in itertools.pairwise(losses))
    np.testing.assert_array_equal(losses[-1], curves.min(1))


def test_lowest_ignores_what_is_not_finite():
    curves = np.array([[3, 1, 2, 1], [NAN, 4, NAN, 5], [NAN, INF, -INF, NAN]])
    assert lowest(curves).tolist() == [2, 2, 0]


def test_first_rise():
    curves = np.array([[3, 2, 2, 4], [1, 2, 0, 0], [4, 3, 2, 1], [3, 2, NAN, NAN], [3, INF, 1, 0]])
    assert first_rise(curves).tolist() == [3, 1, 4, 2, 1]
    assert first_rise(np.array([[1.0]])).tolist() == [1]
    assert first_rise(np.array([[2.0, INF, INF]])).tolist() == [1]  # no warning about inf - inf


def test_noise_defeats_the_first_rise():
    # Each step falls by 0.1 with noise of 1: a rise comes after two or three epochs.
    rng = np.random.default_rng(4)
    curves = 10 - 0.1 * np.arange(60) + rng.normal(size=(400, 60))
    assert np.median(first_rise(curves)) <= 3
    assert np.median(patience(curves, 20).best) > 30


def test_at_reads_one_epoch_per_seed():
    curve = np.arange(12.0).reshape(3, 4)
    assert at(curve, np.array([1, 4, 2])).tolist() == [0, 7, 9]
    assert at(curve, -1).tolist() == [3, 7, 11]
    assert at(curve, np.array([-4, 4, -2])).tolist() == [0, 7, 10]
    assert at(curve, 3).tolist() == curve[:, 2].tolist()


@pytest.mark.parametrize("epoch", [0, 5, -5, np.array([1, 0, 2])])
def test_at_refuses_epochs_that_were_not_recorded(epoch):
    with pytest.raises(ValueError, match="expected epochs from 1 to 4, got"):
        at(np.zeros((3, 4)), epoch)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patience(np.ones(5), 2), r"\(seeds, epochs\), got \(5,\)"),
        (lambda: lowest(np.ones((3, 0))), r"got \(3, 0\)"),
        (lambda: first_rise(np.ones((2, 3, 4))), r"got \(2, 3, 4\)"),
        (lambda: patience(np.ones((2, 3)), 0), "patience of at least 1 or None, got 0"),
        (lambda: patience(np.ones((2, 3)), 1, min_delta=1.0), r"fraction in \[0, 1\), got 1.0"),
        (lambda: patience(np.ones((2, 3)), 1, min_delta=-0.1), "got -0.1"),
        (lambda: Monitor(2, 1, min_delta=NAN), "got nan"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_stop_is_a_pair():
    best, last = stopping.Stop(np.array([1]), np.array([2]))
    assert (best[0], last[0]) == (1, 2)
