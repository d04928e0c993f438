"""Mixup and CutMix against their definitions, against their law, and against classic slips."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from coursekit import data, models
from coursekit.engine.random import OwnDraws, Streams
from coursekit.regularizers import mixing
from coursekit.sweep import sweep
from coursekit.train import Recipe, fit

CLASSES = 3


def batch(n=8, seed=0):
    """Images that tell their own label: every pixel of channel c is the share of class c."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (n,), generator=draws)
    x = F.one_hot(y, CLASSES).double().view(n, CLASSES, 1, 1).expand(-1, -1, 6, 5)
    return x, y


def consistent(x, y):
    """Whether the label says what is in the picture."""
    return torch.allclose(x.mean((2, 3)), y.double(), atol=1e-6)


# Given the parameters


def test_blend_is_the_formula_in_values_and_gradients():
    draws = torch.Generator().manual_seed(0)
    a = torch.rand(5, 2, 3, generator=draws, dtype=torch.float64, requires_grad=True)
    share = torch.rand(5, generator=draws, dtype=torch.float64)
    order = torch.tensor([3, 0, 4, 1, 2])
    by_hand = torch.stack([share[i] * a[i] + (1 - share[i]) * a[order[i]] for i in range(5)])
    torch.testing.assert_close(mixing.blend(a, order, share), by_hand)
    lerp = torch.lerp(a[order], a, share.view(-1, 1, 1))  # PyTorch's own
    torch.testing.assert_close(mixing.blend(a, order, share), lerp)
    weights = torch.rand(a.shape, generator=draws, dtype=torch.float64)
    grads = [torch.autograd.grad((out * weights).sum(), a) for out in (by_hand, lerp)]
    mine = torch.autograd.grad((mixing.blend(a, order, share) * weights).sum(), a)
    for grad in grads:
        torch.testing.assert_close(mine, grad)


def test_the_loss_of_blended_labels_is_the_blended_loss():
    """As mixup is mostly written: share * loss(y) + (1 - share) * loss(y of the partner)."""
    x, y = batch()
    order, share = torch.randperm(8), torch.rand(8)
    logits = torch.randn(8, CLASSES)
    _, blended = mixing.mixup(x, mixing.shares(y, CLASSES), order, share)
    one, other = (F.cross_entropy(logits, t, reduction="none") for t in (y, y[order]))
    both = share * one + (1 - share) * other
    torch.testing.assert_close(F.cross_entropy(logits, blended, reduction="none"), both)


def two_orders(x, y, order, share):
    return mixing.blend(x, order, share), mixing.blend(y, order.roll(1), share)


def labels_stay(x, y, order, share):
    return mixing.blend(x, order, share), y


def shares_swapped(x, y, order, share):
    return mixing.blend(x, order, share), mixing.blend(y, order, 1 - share)


def test_label_and_picture_agree_and_the_check_catches_classic_mistakes():
    x, y = batch()
    order, share = torch.arange(8).roll(3), torch.linspace(0.1, 0.9, 8)
    hot = mixing.shares(y, CLASSES)
    assert consistent(*mixing.mixup(x, hot, order, share))
    for wrong in (two_orders, labels_stay, shares_swapped):
        assert not consistent(*wrong(x, hot, order, share))


def test_cutmix_pastes_one_rectangle_and_counts_what_is_inside():
    x, y = batch(4)
    order = torch.tensor([1, 2, 3, 0])
    corner = torch.tensor([0, -1, 4, 2]), torch.tensor([0, -2, 4, 1])
    sides = torch.tensor([2, 3, 3, 0]), torch.tensor([3, 4, 5, 0])
    mixed, label = mixing.cutmix(x, mixing.shares(y, CLASSES), order, *corner, *sides)
    assert consistent(mixed, label)
    area = torch.tensor([2 * 3, 2 * 2, 2 * 1, 0]) / 30
    expected = mixing.blend(mixing.shares(y, CLASSES), order, 1 - area)
    torch.testing.assert_close(label, expected)
    torch.testing.assert_close(mixed[0, :, :2, :3], x[1, :, :2, :3])
    torch.testing.assert_close(mixed[0, :, 2:], x[0, :, 2:])


# Drawn at random


def follows_beta(drawn, alpha):
    """Shares below seven points, each within 5 standard errors. (Near 1, float32 rounds to 1.)"""
    points = np.array([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    expected = stats.beta(alpha, alpha).cdf(points)
    below = (drawn.numpy()[:, None] < points).mean(0)
    error = np.sqrt(expected * (1 - expected) / len(drawn)) + 1 / len(drawn)
    return bool((abs(below - expected) < 5 * error).all())


def by_one_network(alpha, n):
    """As a hook draws them: each network from streams of its own."""
    with OwnDraws(Streams([0]), "mix"):
        return mixing.beta(alpha, n)


def ratio_of_floats(alpha, n):
    """As many libraries do it: with a small alpha, both variates are too small for a float."""
    a, b = (torch._standard_gamma(torch.full((n,), alpha)) for _ in range(2))
    return a / (a + b)


@pytest.mark.parametrize("draw", [mixing.beta, by_one_network])
@pytest.mark.parametrize("alpha", [1e-4, 1e-3, 0.01, 0.03, 0.1, 0.4, 1.0, 8.0])
def test_shares_follow_the_beta_distribution(alpha, draw):
    torch.manual_seed(0)
    assert follows_beta(draw(alpha, 5000), alpha)
    assert follows_beta(draw(torch.tensor(alpha), 5000), alpha)
    if alpha >= 0.1:  # smaller ones differ by less than the error of 5000 draws
        assert not follows_beta(draw(2 * alpha, 5000), alpha)
    assert follows_beta(ratio_of_floats(alpha, 5000), alpha) == (alpha > 0.01)


@pytest.mark.parametrize("draw", [mixing.beta, by_one_network])
def test_tiny_and_zero_alpha_mix_nothing_and_nothing_is_nan(draw):
    assert (draw(0.0, 50) == 1).all()
    assert (draw(torch.tensor(0.0), 50) == 1).all()
    tiny = draw(1e-3, 20_000)
    assert tiny.isfinite().all()
    assert ((tiny < 0.01) | (tiny > 0.99)).float().mean() > 0.98
    assert (tiny == 0.5).sum() <= 1
    assert abs(tiny.round().mean() - 0.5) < 5 * 0.5 / 20_000**0.5


@pytest.mark.parametrize("draw", [mixing.random_mixup, mixing.random_cutmix])
def test_mixing_keeps_label_and_picture_together(draw):
    torch.manual_seed(0)
    x, y = batch(200)
    mixed, label = draw(x, y, 1.0, CLASSES)
    assert consistent(mixed, label)
    torch.testing.assert_close(label.sum(1), torch.ones(200))
    assert len(label.unique(dim=0)) > 20  # one share per image
    assert torch.equal(draw(x, y, 0.0, CLASSES)[0], x)
    again = mixing.random_mixup(x, mixing.shares(y, CLASSES), 1.0, CLASSES)  # shares come back
    assert consistent(*mixing.random_mixup(*again, 1.0, CLASSES))


@pytest.mark.parametrize("draw", [mixing.random_mixup, mixing.random_cutmix])
def test_every_network_draws_its_own_partners(draw):
    """Inside the engine, with an alpha of its own; network 0 draws the same in any company."""
    x, y = batch(30)

    def mapped(seeds, alphas):
        streams = Streams(seeds)

        def one(member, alpha):
            with OwnDraws(streams, "mix", member):
                return draw(x, y, alpha, CLASSES)

        members = torch.arange(len(seeds))
        return torch.vmap(one, randomness="different")(members, torch.tensor(alphas))

    x3, y3 = mapped([5, 6, 7], [1.0, 1.0, 0.0])
    torch.testing.assert_close(x3[:1], mapped([5], [1.0])[0])
    assert all(consistent(*pair) for pair in zip(x3, y3, strict=True))
    assert not torch.equal(y3[0], y3[1])
    assert torch.equal(x3[2], x)


@pytest.mark.parametrize("draw", [mixing.random_mixup, mixing.random_cutmix])
def test_alpha_can_be_swept_and_zero_is_no_mixing(draw):
    task = data.load("digits", n_train=40, n_val=40)
    recipe = Recipe(epochs=2, batch_size=20, n_seeds=2)

    def mix(x, y, alpha):
        return draw(x, y, alpha, 10)

    study = sweep(models.linear, task, recipe, {"alpha": [0.0, 1.0]}, mix=mix)
    plain = fit(models.linear(task), task, recipe)
    one = fit(models.linear(task), task, recipe, mix=partial(draw, alpha=1.0, n_classes=10))
    for arm, alone in ((study.at(alpha=0.0), plain), (study.at(alpha=1.0), one)):
        np.testing.assert_allclose(arm.train_loss, alone.train_loss, rtol=1e-4)
    assert not np.allclose(plain.train_loss, one.train_loss)


def test_wrong_arguments_are_refused_in_a_sentence():
    x, y = batch()
    with pytest.raises(ValueError, match="alpha >= 0, got -1"):
        mixing.random_mixup(x, y, -1, CLASSES)
    with pytest.raises(ValueError, match=r"images x \(B, C, H, W\)"):
        mixing.random_cutmix(x.flatten(1), y, 1.0, CLASSES)
