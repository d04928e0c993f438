"""Measures against scikit-learn, literal definitions, closed forms and known wrong answers."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from coursekit import measure
from coursekit.measure import accuracy, bias_variance, brier, ece, nll

CALLS = [accuracy, nll, brier, ece]


def sample(seed, n=200, classes=4, nets=()):
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(*nets, n, classes)), rng.integers(classes, size=n)


def slow_ece(p, labels, bins):
    """Word by word: bins (low, high] of equal width, weighted by their number of examples."""
    confidence, predicted = p.max(1), p.argmax(1)
    total = 0.0
    for b in range(bins):
        inside = [
            i
            for i in range(len(p))
            if b / bins < confidence[i] <= (b + 1) / bins or (b == 0 and confidence[i] == 0)
        ]
        if inside:
            right = np.mean([predicted[i] == labels[i] for i in inside])
            total += len(inside) / len(p) * abs(right - np.mean([confidence[i] for i in inside]))
    return total


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_scikit_learn_and_definitions(seed):
    logits, labels = sample(seed)
    p = softmax(logits, axis=1)
    assert accuracy(logits, labels) == accuracy_score(labels, p.argmax(1))
    assert nll(logits, labels) == pytest.approx(log_loss(labels, p, labels=range(4)), rel=1e-12)
    expected = np.mean([((p[i] - np.eye(4)[y]) ** 2).sum() for i, y in enumerate(labels)])
    assert brier(logits, labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 100])
def test_ece_equals_its_definition(bins):
    for seed in range(5):
        logits, labels = sample(seed)
        expected = slow_ece(softmax(logits, axis=1), labels, bins)
        assert ece(logits, labels, bins=bins) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measured", CALLS)
def test_networks_side_by_side_equal_one_by_one(measured):
    logits, labels = sample(0, nets=(3, 2))
    together = measured(logits, labels)
    assert together.shape == (3, 2)
    np.testing.assert_allclose(
        together, [[measured(net, labels) for net in row] for row in logits], rtol=1e-12
    )
    assert np.ndim(measured(logits[0, 0], labels)) == 0


@pytest.mark.parametrize("measured", CALLS)
def test_tensors_are_welcome(measured):
    logits, labels = sample(1)
    tensor = torch.tensor(logits, requires_grad=True)
    assert measured(tensor, torch.tensor(labels)) == measured(logits, labels)


@pytest.mark.parametrize("measured", [nll, brier, ece])
def test_probabilities_are_refused_or_taken_as_they_are(measured):
    logits, labels = sample(1)
    p = softmax(logits, axis=-1)
    with pytest.raises(ValueError, match=r"expected logits, got rows that sum to 1.*probs=True"):
        measured(p, labels)
    with pytest.raises(ValueError, match=r"rows that sum to 1"):
        measured(torch.tensor(p).bfloat16(), labels)
    with pytest.raises(ValueError, match=r"rows that sum to 100, as percent"):
        measured(100 * p, labels)
    for wrong in (logits, 100 * p, np.abs(logits)):
        with pytest.raises(ValueError, match=r"probabilities in .* whose rows sum to 1, got"):
            measured(wrong, labels, probs=True)
    assert measured(p, labels, probs=True) == pytest.approx(measured(logits, labels), rel=1e-9)
    assert measured(np.log(p), labels) == pytest.approx(measured(logits, labels), rel=1e-9)
    assert measured(p, labels, probs=False) != pytest.approx(measured(logits, labels), rel=1e-3)


def test_a_label_of_probability_zero_costs_infinitely_much():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert nll(certain, [0, 1], probs=True) == 0
    assert nll(certain, [0, 0], probs=True) == np.inf
    assert brier(certain, [0, 0], probs=True) == 1


def two_class_logits(p):
    """Logits whose softmax is (p, 1 - p)."""
    return np.stack([np.log(p), np.log1p(-p)], axis=1)


@pytest.mark.parametrize("edge", [0.75, 0.875])
def test_bins_are_closed_on_the_right(edge):
    # Exact probabilities in place of logits: a softmax would blur the edge.
    p = np.array([[edge, 1 - edge]] * 2 + [[edge - 0.06, 1.06 - edge]] * 2)
    labels = np.array([0, 0, 1, 1])
    one_bin = abs(0.5 - p[:, 0].mean())
    apart = (1 - edge) / 2 + (edge - 0.06) / 2
    assert ece(p, labels, bins=8, probs=True) == pytest.approx(
        one_bin
    )  # (edge - 1/8, edge] holds all four
    assert one_bin != pytest.approx(apart)


def test_edges_survive_rounding(monkeypatch):
    # 0.07 * 100 is 7.000000000000001: rounding that up would put 0.07 into bin (0.07, 0.08].
    monkeypatch.setattr(measure, "softmax", lambda p, axis: p)
    p, labels = np.array([[0.07, 0.03], [0.065, 0.03]]), np.array([0, 1])
    assert ece(p, labels, bins=100) == pytest.approx(slow_ece(p, labels, 100))
    assert ece(p, labels, bins=100) == pytest.approx((1 - 0.135) / 2)


def calibrated(n, rng):
    """A predictor whose confidence is exactly its chance of being right."""
    p = rng.uniform(0.5, 1, size=n)
    return two_class_logits(p), (rng.random(n) > p).astype(int)


def test_ece_of_a_calibrated_predictor_falls_with_the_root_of_n():
    rng = np.random.default_rng(2)
    small, large = (np.mean([ece(*calibrated(n, rng)) for _ in range(60)]) for n in (400, 6400))
    assert 3.4 < small / large < 4.6  # 4 expected; each mean is known to about 3 %
    # A bin of m examples is off by |noise| of about 0.8 sqrt(p (1 - p) / m): 8 bins are in use.
    p = np.linspace(0.5, 1, 1001)
    expected = np.sqrt(2 / np.pi) * np.sqrt(p * (1 - p)).mean() * np.sqrt(7.5 / 400)
    assert small == pytest.approx(expected, rel=0.15)


def test_ece_of_an_overconfident_predictor_is_the_gap():
    rng = np.random.default_rng(3)
    labels = (rng.random(40_000) > 0.7).astype(int)
    value = ece(two_class_logits(np.full(40_000, 0.9)), labels)
    assert value == pytest.approx(0.2, abs=5 * np.sqrt(0.7 * 0.3 / 40_000))


def test_bins_without_weights_are_caught():
    p = np.array([0.97] * 99 + [0.55])
    labels = np.array([0] * 96 + [1] * 4)
    logits = two_class_logits(p)
    per_bin = [abs(96 / 99 - 0.97), 0.55]
    assert ece(logits, labels) == pytest.approx(0.99 * per_bin[0] + 0.01 * per_bin[1])
    assert ece(logits, labels) != pytest.approx(np.mean(per_bin), rel=0.5)


def test_large_logits_stay_finite():
    logits = np.array([[1e4, 0.0], [0.0, 1e4]])
    assert nll(logits, np.array([0, 0])) == pytest.approx(5000)
    assert brier(logits, np.array([0, 0])) == pytest.approx(1.0)


# Bias and variance


@pytest.mark.parametrize("shape", [(7,), (7, 3)])
def test_the_decomposition_is_an_identity(shape):
    rng = np.random.default_rng(4)
    predictions, truth = rng.normal(size=(20, *shape)), 5 * rng.normal(size=shape)
    parts = bias_variance(predictions, truth)
    assert abs(parts.error - parts.bias2 - parts.variance) < 1e-10
    one_hot = predictions.reshape(20, 7, -1), truth.reshape(7, -1)
    distances = ((one_hot[0] - one_hot[1]) ** 2).sum(-1)
    assert parts.error == pytest.approx(distances.mean())
    assert parts.variance == pytest.approx(
        predictions.reshape(20, 7, -1).var(0, ddof=0).sum(-1).mean()
    )


def ridge_study(n_sets=4000, strength=5.0, noise=1.0, seed=5):
    """Ridge on a fixed design: predictions (R, N), truth (N,), and the closed forms."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(30, 5)), rng.normal(size=5)
    hat = x @ np.linalg.solve(x.T @ x + strength * np.eye(5), x.T)
    truth = x @ w
    targets = truth + noise * rng.normal(size=(n_sets, 30))
    bias2 = np.mean((hat @ truth - truth) ** 2)
    variance = noise**2 * np.trace(hat @ hat.T) / 30
    return targets @ hat.T, truth, bias2, variance, targets


def test_ridge_agrees_with_its_closed_form():
    predictions, truth, bias2, variance, _ = ridge_study()
    parts = bias_variance(predictions, truth)
    per_set = ((predictions - predictions.mean(0)) ** 2).mean(1)
    assert abs(parts.variance - variance) < 5 * per_set.std() / np.sqrt(4000)
    # To first order the error of bias2 is 2 * bias * (error of the mean prediction).
    bias = predictions.mean(0) - truth
    noise = 2 * ((predictions - predictions.mean(0)) * bias).mean(1).std() / np.sqrt(4000)
    assert abs(parts.bias2 - bias2 - variance / 4000) < 5 * noise


def test_a_noisy_truth_would_be_counted_as_bias():
    predictions, truth, bias2, _, targets = ridge_study()
    assert bias_variance(predictions, truth).bias2 == pytest.approx(bias2, rel=0.1)
    fresh = truth + np.random.default_rng(6).normal(size=truth.shape)
    assert bias_variance(predictions, fresh).bias2 > bias2 + 0.5
    assert bias_variance(predictions, targets[0]).bias2 > bias2 + 0.5


# Errors


@pytest.mark.parametrize("measured", CALLS)
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((5, 3)), np.zeros(4, int), r"got \(5, 3\) and \(4,\)"),
        (np.zeros(5), np.zeros(5, int), r"logits \(..., N, C\)"),
        (np.zeros((2, 5, 3)), np.zeros((2, 5), int), r"labels \(N,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "expected logits"),
        (np.full((5, 3), np.nan), np.zeros(5, int), "did a network diverge"),
        (np.zeros((5, 3)), np.zeros(5), "integer labels from 0, got dtype float64"),
        (np.zeros((5, 3)), np.full(5, -1), "integer labels from 0"),
        (np.zeros((5, 3)), np.full(5, 3), "labels below 3, got 3"),
    ],
)
def test_wrong_arguments(measured, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        measured(logits, labels)


def test_ece_needs_a_bin():
    with pytest.raises(ValueError, match="bins, a whole number >= 1, got 0"):
        ece(*sample(0), bins=0)


@pytest.mark.parametrize(
    ("predictions", "truth", "message"),
    [
        (np.zeros((1, 5)), np.zeros(5), "R of at least 2"),
        (np.zeros(5), np.zeros(5), "expected predictions"),
        (np.zeros((4, 5)), np.zeros(6), r"got \(4, 5\) and \(6,\)"),
        (np.zeros((4, 5, 3)), np.zeros(5), "expected predictions"),
        (np.zeros((4, 5, 3, 2)), np.zeros((5, 3, 2)), "expected predictions"),
        (np.full((4, 5), np.inf), np.zeros(5), "finite"),
        (np.zeros((4, 5)), np.full(5, np.nan), "finite"),
    ],
)
def test_bias_variance_errors(predictions, truth, message):
    with pytest.raises(ValueError, match=message):
        bias_variance(predictions, truth)
